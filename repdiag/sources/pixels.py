"""Images held as arrays of pixels: which axis is which, and the pixels of one as bytes that any decoder reads."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources.images import Images, Listing, by_columns
from repdiag.sources.options import How

Array = npt.NDArray[Any]
_CHANNELS = (1, 3, 4)
_CHECKED = 64
"""So many images are looked at when the data set is opened: enough to tell that the numbers are no pixels."""


@dataclass(frozen=True)
class Pixels:
    """The images of one split ("": there is none): (N, H, W), (N, H, W, C) or (N, C, H, W), and their labels."""

    split: str
    images: Array
    labels: Sequence[Any] | None = None


def check(images: Array, what: str, where: str) -> Array:
    """`images` with channels last; raises DataError when they are no images."""
    if images.dtype != np.uint8 and images.dtype.kind not in "bf":
        do = "Save uint8, or floats from 0 to 1"
        raise DataError(f"The {what} are of type {images.dtype}, which is no pixel", where=where, do=do)
    shape = images.shape
    if 0 in shape[1:]:
        raise DataError(f"The {what} are of shape {shape}: images without pixels", where=where)
    if images.ndim == 3:
        return images
    if images.ndim != 4:
        raise DataError(
            f"The {what} are of shape {shape}, not (N, H, W), (N, H, W, C) or (N, C, H, W)", where=where
        )
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first and last:
        message = f"The {what} are of shape {shape}: it is unclear which axis holds the channels"
        raise DataError(
            message, where=where, do="Leave out an axis of 1, or give images of at least 5 pixels"
        )
    if not first and not last:
        raise DataError(f"The {what} are of shape {shape}: no axis holds 1, 3 or 4 channels", where=where)
    return images if last else images.transpose(0, 2, 3, 1)


def build(
    name: str,
    parts: Sequence[Pixels],
    how: How,
    *,
    stamp: Sequence[str],
    class_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Images:
    """The source of the images in `parts`; ids are numbers, with the split before them where there is one.

    `stamp` are words that change with the content.
    """
    checked = [check(part.images, "images", name) for part in parts]
    listed: Listing[tuple[Array, int]] = Listing()
    labels: list[Any] = []
    splits: list[str] = []
    width = len(str(max((len(part.images) for part in parts), default=1) - 1))
    for part, images in zip(parts, checked, strict=True):
        n = len(images)
        if part.labels is not None and len(part.labels) != n:
            raise DataError(f"There are {len(part.labels)} labels for {n} images", where=name)
        begin = f"{part.split}/" if part.split else ""
        listed.names += [f"{begin}{row:0{width}d}" for row in range(n)]
        listed.places += [(images, row) for row in range(n)]
        splits += [part.split] * n
        labels += [None] * n if part.labels is None else list(part.labels)
        for row in range(0, n, max(1, n // _CHECKED)):
            if images.dtype.kind == "f" and not _in_range(images[row]):
                low, high = float(np.min(images[row])), float(np.max(images[row]))
                message = f"Image {row} holds floats from {low:.4g} to {high:.4g}"
                raise DataError(message, where=name, do="Save uint8, or floats from 0 to 1")
    listed.stamps = [""] * len(listed)
    known = any(part.labels is not None for part in parts)
    said = list(notes)
    if not known and how.labeled:
        said.append("There are no labels beside the images: read as unlabeled.")
    return by_columns(
        name,
        listed,
        how=how,
        reader=lambda place: encode(place[0][place[1]]),
        labels=labels if known else None,
        class_names=class_names,
        splits=splits if any(splits) else None,
        extra=stamp,
        notes=said,
    )


def _in_range(values: Array) -> bool:
    return bool(np.min(values) >= 0 and np.max(values) <= 1)  # NaN compares as false


def encode(pixels: Array) -> bytes:
    """One image, (H, W) or (H, W, C), as an uncompressed PGM or PPM (a TIFF with transparency).

    Raises OSError for floats outside 0 to 1.
    """
    if pixels.dtype.kind == "f":
        if not _in_range(pixels):
            raise OSError("it holds floats outside 0 to 1")
        pixels = np.rint(np.asarray(pixels, dtype=np.float64) * 255)
    elif pixels.dtype.kind == "b":
        pixels = np.where(pixels, 255, 0)
    values = np.ascontiguousarray(pixels, dtype=np.uint8)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim == 3 and values.shape[2] == 4:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "TIFF")
        return buffer.getvalue()
    kind = "P5" if values.ndim == 2 else "P6"
    return f"{kind}\n{values.shape[1]} {values.shape[0]}\n255\n".encode() + values.tobytes()
