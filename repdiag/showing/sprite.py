"""Small pictures of all samples on the map in one JPEG."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import Sprite

MAX_BYTES = 1_500_000
GRAY = 128
TILES = ((1_500, 64), (3_000, 48))
SMALLEST = 32
"""Sides of a tile by how many there are; all are multiples of 16, a JPEG's block of color, so that none bleeds."""
WORST, BEST = 10, 85
"""JPEG qualities that are tried."""


def tile_side(count: int) -> int:
    """Pixels a side of each of `count` tiles: 64 up to 1,500, 48 up to 3,000, 32 beyond."""
    return next((side for most, side in TILES if count <= most), SMALLEST)


class Sheet:
    """The sprite while it is drawn: gray tiles of `tile_side` pixels a side, about as many across as down.

    Takes as much memory as its pixels: 31 MB for 10,000 tiles.
    """

    def __init__(self, ids: tuple[str, ...]) -> None:
        self.ids, self.tile = ids, tile_side(len(ids))
        self.columns = max(1, math.ceil(math.sqrt(len(ids))))
        down = -(-len(ids) // self.columns)
        self.pixels: npt.NDArray[np.uint8] = np.full(
            (down * self.tile, self.columns * self.tile, 3), GRAY, np.uint8
        )

    def put(self, number: int, picture: npt.NDArray[np.uint8]) -> None:
        """Center `picture` (h, w, 3), at most a tile's size, in tile `number`."""
        height, width = picture.shape[:2]
        row, column = divmod(number, self.columns)
        top, left = row * self.tile + (self.tile - height) // 2, column * self.tile + (self.tile - width) // 2
        self.pixels[top : top + height, left : left + width] = picture

    def finished(self) -> Sprite | None:
        """The Sprite, of the best JPEG quality at which it takes at most MAX_BYTES; None without tiles.

        Measured, 1.5 MB each: 10,000 tiles (32 pixels) of CIFAR-10 at quality 31, of Tiny-ImageNet at 27, and 1,500 of
        its tiles (64) at 50; 1,500 of CIFAR-10 take 0.6 MB at the best. Where even the worst quality takes more
        (noise), every second row and column of pixels is left out, and again.
        """
        if not self.ids:
            return None
        pixels, tile = self.pixels, self.tile
        while (content := _best(pixels)) is None:
            pixels, tile = np.ascontiguousarray(pixels[::2, ::2]), tile // 2
        return Sprite(self.ids, tile, self.columns, content)


def _best(pixels: npt.NDArray[np.uint8]) -> bytes | None:
    """The JPEG of the best quality that MAX_BYTES hold, found by halving; None where even WORST is too large."""
    from repdiag.extraction.images import jpeg  # here: it imports torch

    content = jpeg(pixels, BEST)
    if len(content) <= MAX_BYTES:
        return content
    content = jpeg(pixels, WORST)
    if len(content) > MAX_BYTES:
        return None
    low, high = WORST, BEST  # the one fits, the other does not
    while high - low > 1:
        middle = (low + high) // 2
        tried = jpeg(pixels, middle)
        if len(tried) <= MAX_BYTES:
            low, content = middle, tried
        else:
            high = middle
    return content
