"""Masks of what is core and what is spurious in an image: from a folder of pictures, or from bounding boxes.

A folder mirrors the data's paths (any image ending; gray, 0 to 255 meaning 0 to 1, soft values too):

    core/CLASS/NAME.png and spurious/CLASS/NAME.png     a folder core or spurious, at any level of the path
    CLASS/NAME_core.png and CLASS/NAME_spurious.png     or a suffix, with a number behind it (NAME_core_2.png)
    core/CLASS/feature_12/NAME.JPEG                     as Salient ImageNet: one soft mask for each feature
    CLASS/NAME.png                                      neither: core

Several masks of one image and kind are merged by their maximum. For boxes see `boxes.read`. A mask lies over the
image as it is seen (turned as its EXIF says); one of another size is resized to it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from repdiag.errors import DataError
from repdiag.extraction.images import bombs_are_errors
from repdiag.heatmaps import boxes as boxed
from repdiag.heatmaps.boxes import Region
from repdiag.heatmaps.matching import Matching, plain, stem
from repdiag.sources.folder import read_file
from repdiag.sources.images import printable
from repdiag.sources.listing import walk

FloatArray = npt.NDArray[np.float32]
Tell = Callable[[str, str], None]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_SUFFIX = re.compile(r"[._-](core|spurious)([._-]?\d+)?$", re.IGNORECASE)
_FEATURE = re.compile(r"feature[_-]?\d+", re.IGNORECASE)
_DEEP = 255.0 * 257
"""The largest value of 16 bits."""

_SAID = {
    "resized": "Masks of another size than their image, resized to it: {n} (first: {first})",
    "stretched": "Masks of other proportions than their image, stretched onto it: {n} (first: {first})",
    "binary": "Masks of only the values 0 and 1, taken for 0 and 255: {n} (first: {first})",
    "deep": "Masks of 16 bits, read with 65535 as 1: {n} (first: {first})",
    "unreadable": "Masks that cannot be read and are left out: {n} (first: {first})",
    "beyond": "Images with boxes that reach beyond them, cut off at their edge: {n} (first: {first}); boxes must be in "
    "pixels of these images",
    "outside": "Images whose boxes lie outside of them, so that they have no mask: {n} (first: {first})",
}


@dataclass(frozen=True)
class MaskPair:
    """Masks (H0, W0) float32 in [0, 1] over one image: of what belongs to its class, and of what only goes with it."""

    core: FloatArray | None
    spurious: FloatArray | None


class Drawing(Protocol):
    """What can be drawn over one image."""

    def mask(self, region: Region, size: tuple[int, int], tell: Tell) -> FloatArray | None:
        """The mask for an image of (width, height); `tell` takes a kind of remark and an example."""
        ...


@dataclass
class _Remarks:
    """Kinds of remarks with their distinct examples, in order."""

    found: dict[str, dict[str, None]] = field(default_factory=dict)

    def tell(self, kind: str, example: str) -> None:
        self.found.setdefault(kind, {})[example] = None

    def sentences(self) -> list[str]:
        return [
            _SAID[kind].format(n=f"{len(examples):,}", first=printable(next(iter(examples)))[:200]) + "."
            for kind, examples in self.found.items()
        ]


class Masks:
    """Masks by sample. `kind` is where they come from; `get` may be called in any order, and `notes` grow with it."""

    def __init__(
        self,
        kind: Literal["masks", "boxes"],
        drawings: dict[str, Drawing],
        notes: Sequence[str] = (),
        samples: Sequence[str] | None = None,
    ) -> None:
        self.kind: Literal["masks", "boxes"] = kind
        self._drawings, self._first = drawings, tuple(notes)
        self._remarks = _Remarks()
        self._matching = Matching(drawings, samples)

    def among(self, samples: Sequence[str]) -> Masks:
        """The same masks, matched to the data set's samples: `ids` and `notes` are then about those."""
        return Masks(self.kind, self._drawings, self._first, samples)

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples that have a mask, once these are known (`among`); what the masks are called, before."""
        return self._matching.matched

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, sentence by sentence: about the files, the matching, and what was drawn so far."""
        return (*self._first, *self._matching.sentences(), *self._remarks.sentences())

    def get(self, sample_id: str, size: tuple[int, int]) -> MaskPair | None:
        """The masks of one sample, whose image is (width, height) pixels; None where it has none.

        A mask belongs to the sample of the same path; else to the one of the same file name, or the same but for its
        ending, if only one is called so. A mask that cannot be read is left out and told in `notes`.
        """
        entry = self._matching.find(sample_id)
        if entry is None:
            return None
        drawing = self._drawings[entry]
        core, spurious = (
            drawing.mask("core", size, self._remarks.tell),
            drawing.mask("spurious", size, self._remarks.tell),
        )
        return None if core is None and spurious is None else MaskPair(core, spurious)


def open_masks(path: str | Path, samples: Sequence[str] | None = None) -> Masks:
    """The masks in a folder, or the boxes in a text file; `samples` are the ids of the data set, if they are known.

    Raises DataError where there is neither.
    """
    place = Path(path)
    if place.is_dir():
        return _folder(place, samples)
    if not place.is_file():
        raise DataError(
            "There are no such masks", where=str(place), do="Give a folder of masks or a CSV of boxes"
        )
    found = boxed.read(place)
    notes = []
    if found.empty:
        notes.append(
            f"Boxes that end before they begin, left out: {found.empty:,} (first: line {found.first})."
        )
    drawings: dict[str, Drawing] = {name: _Boxed(name, boxes) for name, boxes in found.by.items() if boxes}
    if not drawings:
        raise DataError("All boxes in it are empty", where=str(place))
    return Masks("boxes", drawings, notes, samples)


# --------------------------------------------------------------------------------------------- boxes


@dataclass(frozen=True)
class _Boxed:
    name: str
    boxes: tuple[boxed.Box, ...]

    def mask(self, region: Region, size: tuple[int, int], tell: Tell) -> FloatArray | None:
        own = [box for box in self.boxes if box.region == region]
        if not own:
            return None
        if any(box.beyond(size) for box in own):
            tell("beyond", self.name)
        found = boxed.drawn(own, size)
        if found is None:
            tell("outside", self.name)
        return found


# --------------------------------------------------------------------------------------------- pictures


def _folder(root: Path, samples: Sequence[str] | None) -> Masks:
    found: dict[str, dict[Region, list[str]]] = {}
    marked = unmarked = others = 0
    for folder in walk(str(root)):
        others += folder.others
        for image in folder.images:
            name, region = _meant(folder.path + image)
            found.setdefault(name, {}).setdefault(region or "core", []).append(folder.path + image)
            marked, unmarked = marked + (region is not None), unmarked + (region is None)
    if not found:
        raise DataError("There are no masks in this folder", where=str(root), do="Masks are gray PNG files")
    notes = []
    if marked and unmarked:
        notes.append(f"Masks called neither core nor spurious, taken for core: {unmarked:,}.")
    elif unmarked:
        notes.append("The masks are called neither core nor spurious: all were taken for core.")
    if others:
        notes.append(f"Files beside the masks that are no images: {others:,}.")
    drawings: dict[str, Drawing] = {
        name: _Pictures(str(root), {region: tuple(paths) for region, paths in files.items()})
        for name, files in found.items()
    }
    return Masks("masks", drawings, notes, samples)


def _meant(path: str) -> tuple[str, Region | None]:
    """The sample that a mask's path is about, without an ending, and what is masked (None: it does not say)."""
    *folders, name = plain(stem(path)).split("/")
    region: str | None = None
    suffix = _SUFFIX.search(name)
    if suffix is not None and suffix.start():
        region, name = suffix[1].lower(), name[: suffix.start()]
    kept = []
    for folder in folders:
        if region is None and folder.lower() in ("core", "spurious"):
            region = folder.lower()
        elif not _FEATURE.fullmatch(folder):
            kept.append(folder)
    return "/".join((*kept, name)), "spurious" if region == "spurious" else "core" if region else None


@dataclass(frozen=True)
class _Pictures:
    root: str
    files: dict[Region, tuple[str, ...]]

    def mask(self, region: Region, size: tuple[int, int], tell: Tell) -> FloatArray | None:
        merged: FloatArray | None = None
        for path in self.files.get(region, ()):
            try:
                one = _read(f"{self.root}/{path}", path, size, tell)
            except Exception as error:  # decoders raise nearly anything on damaged data
                tell("unreadable", f"{path}: {str(error) or type(error).__name__}")
                continue
            merged = one if merged is None else np.maximum(merged, one)
        return merged


def _read(file: str, path: str, size: tuple[int, int], tell: Tell) -> FloatArray:
    """One picture as a mask (height, width); raises what the decoder does, ValueError for colors."""
    with bombs_are_errors(), Image.open(io.BytesIO(read_file(file)), formats=_FORMATS) as image:
        image.load()
        values = _values(image, path, tell)
    height, width = values.shape
    if (width, height) != size:
        # within the rounding of a resize, the proportions are the same
        same = abs(width * size[1] - height * size[0]) <= max(width, height, *size)
        tell("resized" if same else "stretched", path)
        smooth = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
        resized: FloatArray = np.clip(np.asarray(smooth), 0, 1).astype(np.float32)
        return resized
    return values


def _values(image: Image.Image, path: str, tell: Tell) -> FloatArray:
    """The values of a decoded picture in [0, 1]."""
    if image.mode == "1":
        return np.asarray(image, np.float32)
    if image.mode.startswith("I"):
        tell("deep", path)
        deep = np.asarray(image).astype(np.float64)
        if deep.min() < 0 or deep.max() > _DEEP:
            raise ValueError("values outside of 16 bits")
        return (deep / _DEEP).astype(np.float32)
    pixels = np.asarray(image)
    if image.mode in ("LA", "RGBA", "RGB"):
        color = pixels[..., : 1 if image.mode == "LA" else 3].astype(np.int16)
        if image.mode != "RGB" and (pixels[..., -1] != 255).any():
            raise ValueError("it is transparent in places; a mask is gray")
        spread = color.max(2) - color.min(2)
        # JPEG's rounding may part equal colors by a few steps
        if spread.max(initial=0) > (8 if image.format == "JPEG" else 0):
            raise ValueError("it is colored; a mask is gray")
        pixels = color[..., 0].astype(np.uint8)
    elif image.mode != "L":
        raise ValueError(f"it is of the mode {image.mode} (a palette?); a mask is gray")
    if pixels.max(initial=0) == 1:
        tell("binary", path)
        return pixels.astype(np.float32)
    return pixels.astype(np.float32) / np.float32(255)
