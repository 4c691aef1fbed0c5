"""IDX files, as MNIST and its relatives come: `train-images-idx3-ubyte` beside `train-labels-idx1-ubyte`, or .gz."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources import pixels
from repdiag.sources.images import Images
from repdiag.sources.options import How

Array = npt.NDArray[Any]
_IMAGES = re.compile(r"(?P<set>.*?)(?P<part>train|t10k|test)?-?images[.-]idx[34]-ubyte(\.gz)?", re.IGNORECASE)
_NAMED = re.compile(r".*[.-]idx[0-9]-u?byte(\.gz)?", re.IGNORECASE)
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MAX_BYTES = 16 * 2**30
"""What a file says it holds is read into memory; more than this is not believed."""


def matches(path: Path) -> bool:
    """Whether `path` is an IDX file, or a folder that holds IDX files of images, in itself or in `raw/`."""
    return (
        bool(_folder_files(path)) if path.is_dir() else bool(_NAMED.fullmatch(path.name)) and path.is_file()
    )


def read(path: Path, *, name: str, how: How) -> Images:
    """The images of one IDX file, or train and test of a folder, with the labels beside them. Raises DataError."""
    how.only("IDX files")
    files = _folder_files(path) if path.is_dir() else [path]
    found = [_IMAGES.fullmatch(file.name) for file in files]
    if not all(found):
        do = "Give the file of images (...-images-idx3-ubyte) or the folder"
        raise DataError("This IDX file is not named as one of images", where=name, do=do)
    sets = sorted({match["set"] for match in found if match})
    if len(sets) > 1:
        do = "Give one file of images, or a folder of one set"
        raise DataError(f"The folder holds several sets: {', '.join(sets)}", where=name, do=do)
    parts: list[pixels.Pixels] = []
    stamps: list[str] = []
    for file, match in zip(files, found, strict=True):
        assert match is not None
        images = read_idx(file)
        if images.dtype != np.uint8:
            raise DataError(f"Its numbers are of type {images.dtype}, which is no pixel", where=str(file))
        split = _SPLITS.get((match["part"] or "").lower(), "") if len(files) > 1 else ""
        labels = _labels_beside(file)
        if any(part.split == split for part in parts):
            raise DataError(f"Two files are both the {split or 'only'} part: {file.name} is one", where=name)
        parts.append(pixels.Pixels(split, images, None if labels is None else labels.tolist()))
        stamps += [
            hashlib.sha256(each.tobytes()).hexdigest() for each in (images, labels) if each is not None
        ]
    return pixels.build(name, parts, how, stamp=stamps)


def _labels_beside(images: Path) -> Array | None:
    """The labels that belong to a file of images, packed or not; None when there are none."""
    stem = re.sub(r"(?i)\.gz$", "", images.name)
    stem = re.sub(r"(?i)images([.-])idx[34]", r"labels\1idx1", stem)
    for name in (stem, f"{stem}.gz"):
        path = images.with_name(name)
        if path.is_file():
            labels = read_idx(path)
            if labels.ndim != 1:
                raise DataError(f"The labels are of shape {labels.shape}, not one per image", where=str(path))
            return labels
    return None


def _folder_files(path: Path) -> list[Path]:
    """The IDX files of images in a folder, else in its folder `raw`; of a packed and a plain copy the plain one."""
    for folder in (path, path / "raw", path / "MNIST" / "raw"):
        found: dict[str, Path] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _IMAGES.fullmatch(entry.name) and entry.is_file():
                        stem = entry.name.removesuffix(".gz")
                        if stem not in found or not entry.name.endswith(".gz"):
                            found[stem] = Path(entry.path)
        except OSError:
            continue
        if found:
            return [found[stem] for stem in sorted(found)]
    return []


def read_idx(path: Path) -> Array:
    """The array in an IDX file; raises DataError when it is damaged, cut off, or none."""
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            return _array(cast(BinaryIO, file), path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = "This is no whole .gz file; a download may have been cut off"
        raise DataError(message, where=str(path), do="Check it with: gzip -t") from error
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror or error}", where=str(path)) from error


def _array(file: BinaryIO, path: Path) -> Array:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 4:
        raise DataError(f"This is no IDX file: it begins with {magic.hex(' ') or 'nothing'}", where=str(path))
    dtype = np.dtype(_TYPES[magic[2]])
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError("The IDX file ends in its header", where=str(path))
    shape = tuple(int(each) for each in np.frombuffer(sizes, ">u4"))
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise DataError(f"It says it holds {size / 2**30:.0f} GB; the limit is 16 GB", where=str(path))
    content = bytearray()
    while len(content) <= size and (block := file.read(min(2**24, size + 1 - len(content)))):
        content += block
    if len(content) != size:
        held = "more" if len(content) > size else f"{len(content)}"
        raise DataError(f"Its header says {shape}, {size} bytes, but it holds {held}", where=str(path))
    array = np.frombuffer(content, dtype).reshape(shape)
    return array if dtype.itemsize == 1 else array.astype(dtype.newbyteorder("="))
