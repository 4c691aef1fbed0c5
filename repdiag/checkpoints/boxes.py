"""Parts of a tensor: boxes of its elements, whether they make up the whole, and how it is put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_COMPARISONS = 2_000_000


@dataclass(frozen=True)
class Box:
    """The elements from `offsets` on, `sizes` of them in each dimension."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def volume(self) -> int:
        """How many elements there are."""
        return math.prod(self.sizes)

    def within(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of that shape has all of them."""
        if not len(self.offsets) == len(self.sizes) == len(shape):
            return False
        return all(
            o >= 0 and n >= 0 and o + n <= s for o, n, s in zip(self.offsets, self.sizes, shape, strict=True)
        )

    def overlaps(self, other: Box) -> bool:
        """Whether they share an element."""
        pairs = zip(self.offsets, self.sizes, other.offsets, other.sizes, strict=True)
        return all(a < b + m and b < a + n for a, n, b, m in pairs)

    @staticmethod
    def tile(shape: tuple[int, ...], boxes: Sequence[Box]) -> bool:
        """Whether the boxes make up a tensor of that shape: each element in exactly one of them."""
        if any(n < 0 for n in shape) or not all(box.within(shape) for box in boxes):
            return False
        if sum(box.volume for box in boxes) != math.prod(shape):
            return False
        ordered = sorted((box for box in boxes if box.volume), key=lambda box: box.offsets)
        comparisons = 0
        for index, box in enumerate(ordered):
            for other in ordered[index + 1 :]:
                if box.offsets and other.offsets[0] >= box.offsets[0] + box.sizes[0]:
                    break  # sorted by the first dimension: all others begin later still
                comparisons += 1
                if comparisons > MAX_COMPARISONS or box.overlaps(other):
                    return False
        return True


def fill(shape: tuple[int, ...], parts: Sequence[tuple[Box, torch.Tensor]]) -> torch.Tensor:
    """The tensor that the parts make up (`Box.tile` has seen them); its only part itself where there is one."""
    import torch

    if len(parts) == 1 and parts[0][0].sizes == shape:
        return parts[0][1]
    dtype = parts[0][1].dtype if parts else torch.float32
    whole = torch.empty(shape, dtype=dtype)
    for box, part in parts:
        window = whole
        for dimension, (begin, length) in enumerate(zip(box.offsets, box.sizes, strict=True)):
            window = window.narrow(dimension, begin, length)
        window.copy_(part)
    return whole
