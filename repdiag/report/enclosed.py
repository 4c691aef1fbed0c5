"""Files that the page itself holds, so that it can be sent alone: compressed, and cut where they are too large.

A table goes past here while it is written, and what gets larger than its budget is dropped at once; of such a table
some rows are packed instead. Compressed bytes hold no time and no name: equal tables give equal pages.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import MAX_SHOWN, placed_rows, shown_rows
from repdiag.types import Table

BUDGETS = {"samples.csv": 1_300_000, "report.json": 600_000}
"""Bytes, compressed, that a file may take; in the page, as base64, they are a third more."""

BUDGET = 400_000
"""The same for every other file."""

_STEP = 1 << 20  # bytes that are compressed between two looks at the budget


@dataclass(frozen=True)
class Enclosed:
    """A file in the page: its name, rows (None: no table), bytes (`size` of them) as gzip has them.

    `of` is how many rows the whole table has; where that is more, the file holds some of them, and its name says so.
    """

    name: str
    rows: int | None
    of: int | None
    size: int
    packed: bytes


class Packer:
    """Takes a file's bytes as they are written and compresses them, until they are more than `budget` (None: all)."""

    def __init__(self, budget: int | None) -> None:
        self._budget, self._size = budget, 0
        self._buffer: io.BytesIO | None = io.BytesIO()
        self._zip = gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=self._buffer, mtime=0)

    def write(self, data: Any) -> None:
        """The next bytes."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        for start in range(0, len(view), _STEP):
            if self._buffer is None:
                return
            self._zip.write(view[start : start + _STEP])
            self._look()

    def _look(self) -> None:
        if self._buffer is not None and self._budget is not None and self._buffer.tell() > self._budget:
            self._buffer = None

    def done(self, name: str, rows: int | None, of: int | None = None) -> Enclosed | None:
        """The packed file; None where it was larger than the budget."""
        self._zip.close()
        self._look()
        if self._buffer is None:
            return None
        return Enclosed(name, rows, rows if of is None else of, self._size, self._buffer.getvalue())


def budget_of(name: str) -> int:
    """Bytes, compressed, that the file of that name may take."""
    return BUDGETS.get(name, BUDGET)


def pack(name: str, data: bytes) -> Enclosed | None:
    """These bytes as a file in the page; None where they are too many."""
    packer = Packer(budget_of(name))
    packer.write(data)
    return packer.done(name, None)


def some_rows(name: str, table: Table, most: int = MAX_SHOWN) -> npt.NDArray[np.int64]:
    """At most `most` rows of a table that is too large: of samples.csv those that the map shows (evenly spaced, of
    all where there is no map), of other tables the first, for these are in an order that means something."""
    if name != "samples.csv":
        return np.arange(min(most, len(table)))
    placed = placed_rows(table.columns)
    return shown_rows(placed if placed.size else np.arange(len(table)), most)


def of_rows(table: Table, rows: npt.NDArray[np.int64]) -> Table:
    """The table with these rows only."""
    return Table({name: column[rows] for name, column in table.columns.items()})


def cut_name(name: str, rows: int, of: int) -> str:
    """What a file with some of the rows is called."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}-{rows}-of-{of}.{suffix}"
