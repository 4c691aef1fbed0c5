"""Which class's center each sample lies nearest to, out of fold (for `crowding` and `neural_collapse`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from repdiag.kernels import classes
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics._class_geometry import some_permuted
from repdiag.types import IntArray
from repdiag.workspace import Fold, Workspace


def nearest(x: Floats, means: Doubles) -> IntArray:
    """Number of the nearest of the centers `means` (K, D) to each row; centers that are NaN are nobody's."""
    known = np.isfinite(means[:, 0])
    means = np.where(known[:, None], means, 0)
    offset = np.where(known, (means**2).sum(1) / 2, np.inf)
    score = x @ means.astype(np.float32).T - offset
    return np.asarray(score.argmax(1), np.int64)


def _fold_centers(ws: Workspace, reference_labels: IntArray) -> Iterator[tuple[Fold, Doubles]]:
    """Each fold with the class centers (K, D) of its train rows; the rows are read once."""
    if ws.has_split:
        (fold,) = ws.folds
        yield fold, classes.class_means(ws.reference_space, reference_labels, ws.k)[0]
        return
    n, part = len(ws.folds), np.empty(len(ws), np.int64)
    for f, fold in enumerate(ws.folds):  # their test rows part the whole
        part[fold.test] = f
    means, total = classes.class_means(ws.space, reference_labels * n + part, ws.k * n)
    counts = total.reshape(ws.k, n)
    means[total == 0] = 0
    sums = (means * total[:, None]).reshape(ws.k, n, ws.dim)
    every, size = sums.sum(1), counts.sum(1)
    for f, fold in enumerate(ws.folds):
        left = (size - counts[:, f])[:, None]
        centers = np.full((ws.k, ws.dim), np.nan)
        yield fold, np.divide(every - sums[:, f], left, out=centers, where=left > 0)


def _nearest_of(ws: Workspace, reference_labels: IntArray) -> IntArray:
    out = np.empty(len(ws), np.int64)
    for fold, centers in _fold_centers(ws, reference_labels):
        out[fold.test] = nearest(ws.space[fold.test], centers)
    return out


def nearest_centers(ws: Workspace) -> IntArray:
    """Class of the nearest center for each evaluated row (N,); no row helps to make a center it is compared with."""
    return ws.once("nearest centers", lambda: _nearest_of(ws, ws.reference_labels))


def permuted_errors(ws: Workspace) -> list[float]:
    """Share of rows nearer to another class's center under permuted labels, for as many as the budget allows."""
    rng, found = ws.rng(7), []
    for p in some_permuted(ws, float(len(ws)) * ws.dim * ws.k):
        shuffled = ws.labels[p]
        reference = rng.permutation(ws.reference_labels) if ws.has_split else shuffled
        found.append(float((_nearest_of(ws, reference) != shuffled).mean()))
    return found
