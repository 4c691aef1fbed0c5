"""Embeddings while they are being made, in memory: what an extraction without a cache fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from repdiag.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Shape:
    """N samples of D features, and V views of the M samples `view_rows` (sorted)."""

    rows: int
    dim: int
    views: int
    view_rows: IntArray

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The arrays and their shapes."""
        return {"features": (self.rows, self.dim), "views": (self.views, self.view_rows.size, self.dim)}

    def span(self, start: int, stop: int) -> slice:
        """Which of the M view samples lie among the rows start..stop."""
        first, last = np.searchsorted(self.view_rows, [start, stop])
        return slice(int(first), int(last))


class Entry:
    """`done` (N,) says which rows are there; `corrupt` maps rows without an embedding to the reason."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.done: BoolArray = np.zeros(shape.rows, dtype=np.bool_)
        self.corrupt: dict[int, str] = {}

    def write(
        self,
        start: int,
        features: FloatArray,
        views: FloatArray,
        corrupt: Mapping[int, str],
        *,
        final: bool = True,
    ) -> None:
        """Take the rows from `start` on: features (B, D), views (V, m, D) of the view samples among them.

        `final=False` keeps the rows for this run only: the next one makes them again.
        """
        raise NotImplementedError

    def arrays(self) -> tuple[FloatArray, FloatArray]:
        """Features (N, D) and views (V, M, D), read-only; complete once all rows are done."""
        raise NotImplementedError


class MemoryEntry(Entry):
    """An entry that is gone with the process."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._features, self._views = (np.zeros(size, dtype=np.float32) for size in shape.sizes.values())

    def write(
        self,
        start: int,
        features: FloatArray,
        views: FloatArray,
        corrupt: Mapping[int, str],
        *,
        final: bool = True,
    ) -> None:
        """As `Entry.write`; `final` means nothing here."""
        stop = start + len(features)
        self._features[start:stop] = features
        self._views[:, self.shape.span(start, stop)] = views
        self.done[start:stop] = True
        self.corrupt.update(corrupt)

    def arrays(self) -> tuple[FloatArray, FloatArray]:
        """The arrays themselves, from now on read-only."""
        self._features.flags.writeable = self._views.flags.writeable = False
        return self._features, self._views
