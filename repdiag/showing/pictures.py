"""Reading what is shown: each image once, for the galleries and the map together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import Sprite, placed_rows, shown_rows
from repdiag.showing.sprite import Sheet
from repdiag.types import Progress, ThumbnailReader

Pixels = npt.NDArray[np.uint8]

SIDE = 96
"""Most pixels a side of a gallery's picture; smaller images keep their size."""

MAX_GALLERY_BYTES = 700_000
"""JPEG bytes of all pictures of the galleries together."""

STEPS = ((96, 85), (96, 75), (96, 65), (80, 65), (64, 65), (64, 50), (48, 50), (32, 50))
"""Sides and JPEG qualities that are tried in turn until MAX_GALLERY_BYTES hold them."""

STEP = "read pictures for the report"


def read_pictures(
    samples: Mapping[str, npt.NDArray[Any]],
    gallery: Iterable[str],
    read: ThumbnailReader | None,
    most: int,
    progress: Progress,
) -> tuple[dict[str, bytes], Sprite | None]:
    """JPEGs by id of `gallery`, and the Sprite of the samples on the map.

    `samples` are the columns of the sample table, which say where the samples lie on the map. Each part shows at most
    `most` images, the gallery its first, the map evenly spaced ones of those that it shows; none at 0 or where there
    is no way to the images. Each image is read once. What cannot be read has a gray tile on the map, and no picture in
    a gallery. Memory: the sprite's pixels and at most some hundred small pictures.
    """
    if read is None or most <= 0:
        return {}, None
    listed = list(dict.fromkeys(gallery))[:most]
    on_map = shown_rows(shown_rows(placed_rows(samples)), most)
    sheet = Sheet(tuple(str(samples["id"][row]) for row in on_map))
    tile = {name: number for number, name in enumerate(sheet.ids)}
    wanted, kept = dict.fromkeys(listed), dict[str, Pixels]()
    union = sorted({**wanted, **tile})  # by name, as the files lie
    sides = [SIDE if name in wanted else sheet.tile for name in union]
    progress(STEP, 0, len(union))
    for done, (name, found) in enumerate(zip(union, read(union, sides), strict=True), 1):
        if found is not None:
            if name in wanted:
                kept[name] = found
            if name in tile:
                sheet.put(tile[name], shrunk(found, sheet.tile))
        if done % 100 == 0 or done == len(union):
            progress(STEP, done, len(union))
    return _fitting({name: kept[name] for name in listed if name in kept}), sheet.finished()


def remembering(read: ThumbnailReader) -> ThumbnailReader:
    """`read` for several reports on the same images: what it gave once, it need not read again.

    Keeps all that it gave: 31 MB for 10,000 pictures of 32 pixels a side.
    """
    kept: dict[tuple[str, int], Pixels | None] = {}

    def again(ids: Sequence[str], sides: Sequence[int]) -> Iterator[Pixels | None]:
        asked = list(zip(ids, sides, strict=True))
        new = [pair for pair in dict.fromkeys(asked) if pair not in kept]
        fresh = iter(read([name for name, _ in new], [side for _, side in new]))
        for pair in asked:
            if pair not in kept:
                kept[pair] = next(fresh)
            yield kept[pair]

    return again


def shrunk(picture: Pixels, side: int) -> Pixels:
    """`picture` (h, w, 3) with at most `side` pixels a side; as it is where it has no more."""
    if max(picture.shape[:2]) <= side:
        return picture
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _fitting(kept: Mapping[str, Pixels]) -> dict[str, bytes]:
    """JPEGs at the first of STEPS at which all together take at most MAX_GALLERY_BYTES, or at the last."""
    from repdiag.extraction.images import jpeg  # here: it imports torch

    made: dict[str, bytes] = {}
    for side, quality in STEPS:
        made = {name: jpeg(shrunk(picture, side), quality) for name, picture in kept.items()}
        if sum(map(len, made.values())) <= MAX_GALLERY_BYTES:
            break
    return made
