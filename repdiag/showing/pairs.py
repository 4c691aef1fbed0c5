"""Images from the border of the pairs of classes that crowd each other most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import PairPictures
from repdiag.kernels.rows import Doubles, Floats, Ints
from repdiag.workspace import Workspace

MAX_PAIRS = 10
PER_SIDE = 4


def crowded_first(pairs: Mapping[str, npt.NDArray[Any]]) -> Ints:
    """Rows of the pairs table by nearer_ab + nearer_ba, largest first; ties (all, where none crowds) by distance.

    The table is sorted by the distance of centers, and that is not what crowds: with a ResNet on CIFAR-10 the ten
    nearest pairs hold 96 % of the crowding of the ten that crowd most (Spearman of distance and crowding -0.93), with a
    Conv4 on Tiny-ImageNet's 200 classes 33 %, only two of the ten in common.
    """
    if "nearer_ab" not in pairs:
        return np.empty(0, np.int64)
    share = np.nan_to_num(np.asarray(pairs["nearer_ab"], np.float64)) + np.nan_to_num(
        np.asarray(pairs["nearer_ba"], np.float64)
    )
    return np.argsort(-share, kind="stable")


def pair_pictures(ws: Workspace, pairs: Mapping[str, npt.NDArray[Any]]) -> tuple[PairPictures, ...]:
    """The PairPictures of the ten pairs of the pairs table that crowd most, four images a side; () without pairs.

    On a's side the samples of class a with the smallest d(b) - d(a), Euclidean distances to the two centers: those
    over the border (below 0) first, the farthest over it first. The centers are those of `nearest_center_error`, out
    of fold. Ties in the order of the ids. Reads the rows of at most twenty classes.
    """
    number = {name: c for c, name in enumerate(ws.class_names)}
    chosen = crowded_first(pairs)[:MAX_PAIRS]
    named = [(str(pairs["class_a"][i]), str(pairs["class_b"][i])) for i in chosen]
    if not named:
        return ()
    wanted = sorted({number[name] for pair in named for name in pair})
    centers = _Centers(ws, wanted)
    found = []
    for a, b in named:
        sides = [
            _nearest_the_border(ws, centers, number[own], number[other]) for own, other in ((a, b), (b, a))
        ]
        found.append(PairPictures(a, b, *(tuple(str(ws.ids[row]) for row in side) for side in sides)))
    return tuple(found)


def _nearest_the_border(ws: Workspace, centers: _Centers, own: int, other: int) -> Ints:
    rows = np.flatnonzero(ws.labels == own)
    gap = centers.distance(rows, other) - centers.distance(rows, own)
    order = np.argsort(np.where(np.isfinite(gap), gap, np.inf), kind="stable")
    return rows[order[: min(PER_SIDE, int(np.isfinite(gap).sum()))]]


class _Centers:
    """Centers of a few classes for each fold, made from the fold's train rows only."""

    def __init__(self, ws: Workspace, wanted: list[int]) -> None:
        self._space, self._at = ws.space, {c: i for i, c in enumerate(wanted)}
        self._fold = np.zeros(len(ws), np.int64)
        for f, fold in enumerate(ws.folds):
            self._fold[fold.test] = f
        self._means = np.full((len(ws.folds), len(wanted), ws.dim), np.nan)
        for i, c in enumerate(wanted):
            rows = np.flatnonzero(ws.reference_labels == c)
            if ws.has_split:
                if rows.size:
                    self._means[0, i] = _sums(ws.reference_space, rows) / rows.size
                continue
            part = self._fold[rows]  # what is evaluated is also learned from
            sums = np.stack([_sums(ws.space, rows[part == f]) for f in range(len(ws.folds))])
            count = np.bincount(part, minlength=len(ws.folds))
            left = rows.size - count
            some = left > 0
            self._means[some, i] = (sums.sum(0) - sums[some]) / left[some, None]

    def distance(self, rows: Ints, c: int) -> Doubles:
        """Euclidean distance of evaluated `rows` to the center of class `c` (n,); NaN where a fold has none."""
        out = np.empty(rows.size)
        for at in range(0, rows.size, _STEP):
            some = rows[at : at + _STEP]
            difference = self._space[some] - self._means[self._fold[some], self._at[c]]
            out[at : at + _STEP] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
        return out


_STEP = 1024  # rows that are held in float64 at a time


def _sums(x: Floats, rows: Ints) -> Doubles:
    total = np.zeros(x.shape[1])
    for at in range(0, rows.size, _STEP):
        total += x[rows[at : at + _STEP]].sum(0, dtype=np.float64)
    return total
