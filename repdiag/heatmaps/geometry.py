"""From an image's pixels to the encoder's input and back to its heat map: masks and maps take the image's own way."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from repdiag.encoders import Preprocessing
from repdiag.extraction.images import bombs_are_errors, decode, preprocess

FloatArray = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def to_input(mask: npt.ArrayLike, how: Preprocessing) -> FloatArray:
    """(H0, W0) float32 in [0, 1] over the original image -> (S, S) float32 in [0, 1] over the encoder's input.

    The very resize and center crop of the images (`extraction.images.preprocess`), always bilinear: bicubic would
    leave [0, 1]. Where the image shrinks, the filter is as wide as the shrinking, so that a value is the share of the
    mask in the pixel's surroundings. Raises `extraction.images.Undecodable` for sides that are far too unequal.
    """
    values = np.asarray(mask, np.float32)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a mask of shape {values.shape}")
    # a picture of one channel of floats is resized and cropped as any other
    plain = dataclasses.replace(
        how, interpolation="bilinear", channels=3, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    found = cast(Any, preprocess(Image.fromarray(np.ascontiguousarray(values)), plain))
    return np.clip(np.asarray(found, np.float32), 0, 1)


def upsample(heat: Any, size: int) -> FloatArray:
    """(h, w) or (B, h, w) -> (size, size) or (B, size, size) float32, bilinear, corners not aligned.

    Each place of the grid is taken for an equal part of the input. That is not quite so where a network's strides
    leave a rest (Conv4 at 84 pixels: 5 places of 16 pixels see 80 of them).
    """
    values = torch.as_tensor(np.asarray(heat, np.float32))
    if values.dim() not in (2, 3):
        raise ValueError(f"a heat map of shape {tuple(values.shape)}")
    batch = values[None] if values.dim() == 2 else values
    if not len(batch):
        return np.zeros((0, size, size), np.float32)
    large = torch.nn.functional.interpolate(
        batch[:, None], (size, size), mode="bilinear", align_corners=False
    )[:, 0]
    found: FloatArray = (large[0] if values.dim() == 2 else large).numpy()
    return found


def view(content: bytes, how: Preprocessing) -> Pixels:
    """The picture as the encoder sees it, before normalization: (S, S, 3) uint8, gray in three equal channels.

    Raises `extraction.images.Undecodable` for what is no readable image.
    """
    with bombs_are_errors():
        pixels = preprocess(decode(content), how)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.array(pixels)


def ready(views: Pixels, how: Preprocessing) -> torch.Tensor:
    """(B, S, S, 3) uint8 as `view` gives them -> (B, C, S, S) float32, the encoder's input: (x / 255 - mean) / std."""
    pixels = torch.from_numpy(np.ascontiguousarray(views[..., : how.channels])).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (how.mean, how.std))
    return ((pixels / 255 - mean) / std).contiguous()
