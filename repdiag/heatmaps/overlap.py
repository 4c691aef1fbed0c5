"""How much of a heat map lies on an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]

THRESHOLD = 0.5


@dataclass(frozen=True)
class Overlap:
    """Three numbers for each image, (B,) float64, all NaN where the heat map or the mask is empty.

    `iou` and `mass` in [0, 1], higher: more of the heat lies in the mask. `area` is what `mass` would be for a heat
    map that is the same everywhere: where the object fills the image, a high `mass` says nothing. Nor does a `mass`
    above `area` alone: heat and objects both gather in the middle of photographs. What other images' masks give for
    the same heat maps is the fairer thing to compare with.
    """

    iou: DoubleArray
    mass: DoubleArray
    area: DoubleArray

    def __post_init__(self) -> None:
        if not self.iou.shape == self.mass.shape == self.area.shape or self.iou.ndim != 1:
            raise ValueError(f"shapes {self.iou.shape}, {self.mass.shape}, {self.area.shape}")


def overlap(heat: Any, mask: Any, threshold: float = THRESHOLD) -> Overlap:
    """The overlap of heat maps (B, S, S) >= 0 with masks (B, S, S) in [0, 1], image by image.

    With A the heat map divided by its maximum, R = {A >= threshold} and M = {mask >= 0.5}:
    `iou` = s(R & M) / s(R | M), s the sum of A over a region (P, but for the threshold: the paper does not say how its
    region is cut; 0.5 is ours, O); `mass` = sum(A mask) / sum(A) (O); `area` = mean(mask) (O). As s weighs by the heat,
    iou is no plain intersection over union: cold parts of the mask count for little. Sums in float64. NaN where the
    heat map is 0 everywhere, or no pixel of the mask reaches 0.5. The scale of a heat map changes nothing.

    >>> found = overlap([[[2.0, 1.0], [0.0, 0.0]]], [[[1.0, 0.0], [0.0, 0.0]]])
    >>> round(float(found.iou[0]), 3), round(float(found.mass[0]), 3), float(found.area[0])
    (0.667, 0.667, 0.25)
    """
    values, masks = np.asarray(heat, np.float64), np.asarray(mask, np.float64)
    if values.ndim != 3 or values.shape != masks.shape:
        raise ValueError(f"heat maps {values.shape} and masks {masks.shape} must be (B, S, S) both")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], not {threshold}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("heat maps must be finite and not negative")
    if not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError("masks must be in [0, 1]")
    top = values.max((1, 2), initial=0)
    inside = masks >= 0.5
    there = (top > 0) & inside.any((1, 2))
    scaled = values / np.where(top > 0, top, 1)[:, None, None]
    hot = scaled >= threshold
    both = np.where(hot & inside, scaled, 0).sum((1, 2))
    either = np.where(hot | inside, scaled, 0).sum((1, 2))
    mass = (scaled * masks).sum((1, 2))
    whole = scaled.sum((1, 2))
    area = masks.mean((1, 2)) if values.size else np.zeros(len(values))

    def told(part: DoubleArray, whole: DoubleArray) -> DoubleArray:
        found: DoubleArray = np.divide(part, whole, out=np.full(len(values), np.nan), where=there)
        return found

    return Overlap(told(both, either), told(mass, whole), np.where(there, area, np.nan))
