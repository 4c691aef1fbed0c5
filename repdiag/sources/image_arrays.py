""".npz and .npy files of images: arrays of three or four axes, where embeddings have two."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from repdiag.errors import DataError, ResourceError
from repdiag.sources import pixels
from repdiag.sources.arrays import open_npy, open_npz, refusal
from repdiag.sources.columns import FEATURES, LABELS
from repdiag.sources.images import Images
from repdiag.sources.options import How
from repdiag.sources.splits import EVALUATION, TRAIN

IMAGES = ("images", "image", "x", "X", "data", "imgs", "img", "pixels")
_SPLITS = "|".join(TRAIN + EVALUATION)
_SPLIT_FIRST = re.compile(rf"({_SPLITS})_(.+)")
_SPLIT_LAST = re.compile(rf"(.+)_({_SPLITS})")

Shapes = dict[str, tuple[tuple[int, ...], str]]
"""Shape and kind of the type of each array, by name."""


def matches(path: Path) -> bool:
    """Whether `path` is a numpy file of images."""
    return path.is_file() and holds_images(path)


def holds_images(path: Path) -> bool:
    """Whether a .npy or .npz holds images and not embeddings, as far as the headers in it tell.

    Raises DataError when it is damaged.
    """
    if path.suffix.lower() not in {".npz", ".npy"} or not path.is_file():
        return False
    try:
        shapes = _shapes(path)
    except Exception as error:  # numpy's header parser and zipfile raise nearly anything on damaged data
        raise _why(path, error) from error
    if any(name in FEATURES and len(shape) == 2 for name, (shape, _) in shapes.items()):
        return False
    return bool(_image_names(shapes))


def _why(path: Path, error: Exception) -> DataError:
    """What is wrong with a file whose headers cannot be read: numpy may know it by another name."""
    try:
        if path.suffix.lower() == ".npy":
            open_npy(path)
        else:
            open_npz(path, ())
    except DataError as known:
        return known
    except Exception as other:  # as above
        return refusal(path, other)
    return refusal(path, error)


def _image_names(shapes: Shapes) -> dict[str, str]:
    """The arrays of images by their split ("": no split in the name)."""
    found: dict[str, str] = {}
    many = {name for name, (shape, kind) in shapes.items() if len(shape) > 2 and kind in "bcfiu"}
    for name in sorted(many):
        split, base = _split_and_base(name)
        if base in IMAGES and (
            split not in found or IMAGES.index(base) < IMAGES.index(_split_and_base(found[split])[1])
        ):
            found[split] = name
    if not found and len(many) == 1:
        name = next(iter(many))
        if all(len(shape) != 2 or kind != "f" for shape, kind in shapes.values()) and name != "views":
            found[""] = name
    if len(found) > 1:
        found.pop("", None)
    return found


def _split_and_base(name: str) -> tuple[str, str]:
    """("train", "images") of `train_images` and of `images_train`; ("", name) of others."""
    if first := _SPLIT_FIRST.fullmatch(name):
        return first[1], first[2]
    if last := _SPLIT_LAST.fullmatch(name):
        return last[2], last[1]
    return "", name


def _shapes(path: Path) -> Shapes:
    def header(file: IO[bytes]) -> tuple[tuple[int, ...], str]:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        return shape, dtype.kind

    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return {"images": header(file)}
    shapes: Shapes = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    shapes[name.removesuffix(".npy")] = header(member)
    return shapes


def read(path: Path, *, name: str, how: How) -> Images:
    """The images of a .npy (mapped, unlabeled) or .npz (with `labels`, and `train_images`, ... as splits).

    Raises DataError when it is damaged or the arrays contradict each other.
    """
    how.only("arrays of images")
    try:
        found = path.stat()
        if path.suffix.lower() == ".npy":
            parts = [pixels.Pixels("", open_npy(path))]
            return pixels.build(name, parts, how, stamp=[f"{found.st_size} {found.st_mtime_ns}"])
        shapes = _shapes(path)
        chosen = _image_names(shapes)
        label_of = {split: _label_name(shapes, split) for split in chosen}
        wanted = {*chosen.values(), *(each for each in label_of.values() if each)}
        names = next((each for each in ("class_names", "classes") if each in shapes), None)
        arrays = open_npz(path, {*wanted, names} if names else wanted)
        with zipfile.ZipFile(path) as archive:
            stamp = [f"{each.filename} {each.CRC} {each.file_size}" for each in archive.infolist()]
    except DataError:
        raise
    except MemoryError as error:
        do = "Save the images as a .npy, which is read in place"
        raise ResourceError("It does not fit into memory", where=name, do=do) from error
    except Exception as error:
        raise refusal(path, error) from error
    class_names = [_text(each) for each in arrays[names].ravel().tolist()] if names else None
    parts = [
        pixels.Pixels(split, arrays[key], _labels(arrays, label_of[split], name))
        for split, key in chosen.items()
    ]
    return pixels.build(name, parts, how, stamp=stamp, class_names=class_names)


def _label_name(shapes: Shapes, split: str) -> str | None:
    named = {_split_and_base(name): name for name in shapes}
    return next((named[split, base] for base in LABELS if (split, base) in named), None)


def _labels(arrays: dict[str, Any], name: str | None, where: str) -> list[Any] | None:
    if name is None:
        return None
    labels = arrays[name]
    if labels.ndim == 2 and labels.shape[1] == 1:  # as MedMNIST and Keras write them
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"The labels '{name}' are of shape {labels.shape}, not one per image", where=where)
    return [_text(each) if isinstance(each, bytes) else each for each in labels.tolist()]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
