"""Random views of a batch, as `repdiag finetune` makes them."""

from __future__ import annotations

import torch
from torch import Tensor

from repdiag.training.augment import Augmentation, apply, draw


def view(images: Tensor, generator: torch.Generator) -> Tensor:
    """One random view of each of (N, 3, S, S) uint8 images: the same shape, float32 in [0, 1].

    A crop of 20-100 % of the area resized to the whole, a flip, jitter of brightness, contrast and saturation by 0.4
    and of hue by 0.1 (for 80 % of the images), gray (20 %), Gaussian blur (50 %).
    """
    how = Augmentation(images.shape[-1])
    return apply(images, draw(len(images), how, generator), how)
