"""Bounding boxes of objects, from a CSV file or Tiny-ImageNet's text files, drawn as masks."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources.images import printable
from repdiag.sources.names import IDS, PATHS

Region = Literal["core", "spurious"]

_SIDES: tuple[tuple[str, ...], ...] = (
    ("x0", "xmin", "x_min", "left"),
    ("y0", "ymin", "y_min", "top"),
    ("x1", "xmax", "x_max", "right"),
    ("y1", "ymax", "y_max", "bottom"),
)
_KINDS = ("kind", "region")
_TINY = 6
"""Fields of a line of Tiny-ImageNet's annotations: file, wnid, x0, y0, x1, y1."""


@dataclass(frozen=True)
class Box:
    """The pixels from (x0, y0) to (x1, y1) of an image, both ends included; fractions cover part of a pixel."""

    x0: float
    y0: float
    x1: float
    y1: float
    region: Region = "core"

    @property
    def empty(self) -> bool:
        """Whether an end lies before its beginning."""
        return self.x1 < self.x0 or self.y1 < self.y0

    def beyond(self, size: tuple[int, int]) -> bool:
        """Whether it reaches out of an image of (width, height) by more than its last pixel's end."""
        return self.x0 < 0 or self.y0 < 0 or self.x1 > size[0] or self.y1 > size[1]


@dataclass(frozen=True)
class Boxes:
    """The boxes of each image, by what the file calls it; `empty` counts those that were left out, from `first` on."""

    by: dict[str, tuple[Box, ...]]
    empty: int = 0
    first: int = 0


@dataclass
class _Reading:
    where: str
    by: dict[str, list[Box]] = field(default_factory=dict)
    empty: int = 0
    first: int = 0

    def add(self, line: int, name: str, sides: Sequence[str], region: str = "") -> None:
        """One line's box."""
        if not name:
            raise DataError(f"Line {line} names no image", where=self.where)
        chosen = region.strip().lower() or "core"
        if chosen not in ("core", "spurious"):
            raise DataError(
                f"Line {line} has the kind '{printable(region)[:40]}'",
                where=self.where,
                do="A box is core or spurious; an empty field means core",
            )
        x0, y0, x1, y1 = (_number(text, line, self.where) for text in sides)
        box = Box(x0, y0, x1, y1, cast(Region, chosen))
        kept = self.by.setdefault(name, [])
        if box.empty:
            self.empty, self.first = self.empty + 1, self.first or line
        else:
            kept.append(box)


def _number(text: str, line: int, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"Line {line} has '{printable(text)[:40]}' for a coordinate", where=where, do="Give pixels"
        )
    return value


def read(path: Path) -> Boxes:
    """The boxes in a text file, coordinates in pixels of the original image, both ends included.

    A table with a heading (separated by commas, semicolons or tabs): the image (path, file, id, ...), x0, y0, x1, y1
    (or xmin ..., left ...), and perhaps a `kind` of core or spurious; other columns are passed over. Or Tiny-ImageNet's
    form without a heading: file, wnid, x0, y0, x1, y1, separated by tabs. Several lines for one image are several
    boxes. Names are only compared with the samples', never opened. Raises DataError naming the line.
    """
    where = str(path)
    reading = _Reading(where)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(2**20)
            mark = max("\t,;", key=first.count)
            file.seek(0)
            rows = _rows(csv.reader(file, delimiter=mark, strict=True))
            _fill(reading, rows, mark)
    except UnicodeDecodeError as error:
        raise DataError(f"This is no text in UTF-8 (byte {error.start})", where=where) from error
    except csv.Error as error:
        raise DataError(f"This is no table: {error}", where=where) from error
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror or error}", where=where) from error
    if not reading.by:
        raise DataError("There are no boxes in it", where=where)
    return Boxes({name: tuple(boxes) for name, boxes in reading.by.items()}, reading.empty, reading.first)


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, stripped, with their lines' numbers."""
    for row in reader:
        stripped = [cell.strip() for cell in row]
        if any(stripped):
            yield getattr(reader, "line_num", 0), stripped


def _fill(reading: _Reading, rows: Iterator[tuple[int, list[str]]], mark: str) -> None:
    line, first = next(rows, (0, []))
    if not first:
        return
    if mark == "\t" and len(first) == _TINY and _is_number(first[2]):
        _without_heading(reading, line, first, rows)
        return
    columns = _heading(first, reading.where)
    for line, row in rows:
        if len(row) != len(first):
            raise DataError(
                f"Line {line} has {len(row)} fields for {len(first)} columns", where=reading.where
            )
        name, *sides = (row[at] for at in columns[:5])
        reading.add(line, name, sides, row[columns[5]] if columns[5] >= 0 else "")


def _without_heading(
    reading: _Reading, line: int, row: list[str], rows: Iterator[tuple[int, list[str]]]
) -> None:
    reading.add(line, row[0], row[2:])
    for line, row in rows:
        if len(row) != _TINY:
            raise DataError(f"Line {line} has {len(row)} fields, not {_TINY}", where=reading.where)
        reading.add(line, row[0], row[2:])


def _heading(cells: list[str], where: str) -> tuple[int, ...]:
    """The columns of the image, x0, y0, x1, y1 and the kind (-1 where there is none)."""
    lower = [cell.lower() for cell in cells]

    def at(names: Sequence[str]) -> int:
        return next((lower.index(name) for name in names if name in lower), -1)

    found = (at((*PATHS, *IDS, "sample", "name")), *map(at, _SIDES), at(_KINDS))
    lacking = [names[0] for names, place in zip((("path",), *_SIDES), found[:5], strict=True) if place < 0]
    if lacking:
        shown = printable(", ".join(cells))[:120]
        raise DataError(
            f"The first line names no column {' and no '.join(lacking)}: {shown}",
            where=where,
            do="Boxes need a heading such as path,x0,y0,x1,y1 (pixels of the original image)",
        )
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def drawn(boxes: Sequence[Box], size: tuple[int, int]) -> npt.NDArray[np.float32] | None:
    """The boxes in one mask (height, width) float32 in [0, 1]: the share of each pixel that one of them covers.

    What lies outside of the image is cut off; None where nothing is left.
    """
    mask = np.zeros((size[1], size[0]), np.float32)
    for box in boxes:
        across, down = _covered(box.x0, box.x1, size[0]), _covered(box.y0, box.y1, size[1])
        if across.any() and down.any():
            rows, columns = np.flatnonzero(down), np.flatnonzero(across)
            part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.maximum(part, np.outer(down[rows], across[columns]), out=part)
    return mask if mask.any() else None


def _covered(begin: float, end: float, count: int) -> npt.NDArray[np.float32]:
    """How much of each of `count` pixels lies in begin .. end + 1."""
    at = np.arange(count, dtype=np.float64)
    found: npt.NDArray[np.float32] = np.clip(
        np.minimum(at + 1, end + 1) - np.maximum(at, begin), 0, 1
    ).astype(np.float32)
    return found
