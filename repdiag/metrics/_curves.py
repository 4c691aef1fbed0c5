"""The linear probes behind `compression` and `smallest_subset`: one run, shared.

All probes of one run share their rows, classes and L2 strength, so that the comparison is fair; each set on a path
lies in the one before it, and its probe starts from that one's weights (the problem is convex: a start changes the
time, not the answer). Held-out rows are never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repdiag.kernels import logistic, resample
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics.features import frequency_order, nested_features
from repdiag.types import IntArray
from repdiag.workspace import Skip, Workspace

KEPT = (0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
FEWEST = 8
"""The shares 0.1 and 0.05 are left out where fewer features (or fewer than K, if that is less) would remain."""

RANDOM_SEEDS = 4
TRAIN_ROWS, TEST_ROWS, CLASSES = 5000, 10_000, 128
"""Caps of the probes' training rows, held-out rows and classes (drawn at random): every set is judged on the same
ones, so caps are fair, and 56 fits stay affordable at K = 1,000. 40 rows of 128 classes tell more than 5 of 1,000."""

ITERATIONS = 50, 15  # of L-BFGS: from zero, and from the weights of the set before
RANDOM = tuple(f"random {seed}" for seed in range(RANDOM_SEEDS))


@dataclass(frozen=True)
class Curves:
    """Correctness (n,) of the held-out rows `test`, by path and share kept; "both" has the full set under 1.0.

    `sizes` counts the features of each share, `pca_sizes` those of PCA (no more than its rank).
    """

    correct: Mapping[tuple[str, float], Doubles]
    sizes: Mapping[float, int]
    pca_sizes: Mapping[float, int]
    train: IntArray
    test: IntArray
    classes: int
    l2: float

    @property
    def full(self) -> Doubles:
        """Correctness with all features."""
        return self.correct["both", 1.0]

    def random(self, kept: float) -> list[Doubles]:
        """Correctness with each random set of that size."""
        return [self.correct[name, kept] for name in RANDOM]


def shares(dim: int, k: int) -> tuple[float, ...]:
    """The shares that are measured: fewer than 20 % only where min(K, 8) features remain."""
    return tuple(kept for kept in KEPT if kept >= 0.2 or round(kept * dim) >= min(k, FEWEST))


def curves(ws: Workspace) -> Curves:
    """All probes, fitted once; Skip where there is nothing to order the features by."""
    return ws.once("compression curves", lambda: _curves(ws))


def _curves(ws: Workspace) -> Curves:
    frequency_order(ws)  # Skip before anything is trained
    fold, (l2, _) = ws.folds[0], ws.probe_l2
    rng = ws.rng(12)
    train, test = rng.permutation(fold.train), rng.permutation(fold.test)
    present = np.unique(ws.reference_labels[train])
    if present.size > CLASSES:
        present = np.sort(rng.permutation(present)[:CLASSES])
        train = train[np.isin(ws.reference_labels[train], present)]
        test = test[np.isin(ws.labels[test], present)]
    train, test = np.sort(train[:TRAIN_ROWS]), np.sort(test[:TEST_ROWS])
    if test.size < 2 or np.unique(ws.reference_labels[train]).size < 2:
        raise Skip("too few held-out samples, or training samples of one class only")
    known = np.union1d(present, ws.labels[test])
    y = np.searchsorted(known, ws.reference_labels[train])
    x, held, truth = ws.reference_space[train], ws.space[test], np.searchsorted(known, ws.labels[test])

    def fit(
        a: Floats, b: Floats, start: logistic.LinearModel | None, as_they_are: bool = False
    ) -> tuple[logistic.LinearModel, Doubles]:
        d = a.shape[1]
        standard = (np.zeros(d, np.float32), np.ones(d, np.float32)) if as_they_are else None
        model = logistic.fit(
            a, y, known.size, l2,
            start=start, iterations=ITERATIONS[start is not None], device=ws.device, standard=standard,
        )  # fmt: skip
        return model, np.asarray(model.logits(b).argmax(1) == truth, np.float64)

    chosen = shares(ws.dim, known.size)
    sizes = {kept: max(1, round(kept * ws.dim)) for kept in (1.0, *chosen)}
    whole, right = fit(x, held, None)
    correct = {("both", 1.0): right}
    for name, order in _orders(ws, x, rng):
        model, columns = whole, np.arange(ws.dim)
        for kept in chosen:
            smaller = nested_features(ws, kept, name) if order is None else np.sort(order[: sizes[kept]])
            model = _restricted(model, np.flatnonzero(np.isin(columns, smaller)))
            columns = smaller
            model, correct[name, kept] = fit(x[:, columns], held[:, columns], model)
    # Components of the standardized features, not standardized again: that would blow up the noise of the last ones.
    x, held = (x - whole.mean) / whole.scale, (held - whole.mean) / whole.scale
    axes = _principal(x, sizes[chosen[0]])
    a, b = x @ axes, held @ axes
    width = axes.shape[1]
    model = logistic.LinearModel(
        axes.T @ whole.weight, whole.bias, np.zeros(width, np.float32), np.ones(width, np.float32)
    )
    for kept in chosen:
        d = min(sizes[kept], width)
        model, correct["pca", kept] = fit(
            a[:, :d], b[:, :d], _restricted(model, np.arange(d)), as_they_are=True
        )
    ranks = {kept: min(size, axes.shape[1]) for kept, size in sizes.items()}
    return Curves(correct, sizes, ranks, train, test, int(known.size), l2)


def _orders(ws: Workspace, x: Floats, rng: np.random.Generator) -> Iterator[tuple[str, IntArray | None]]:
    """Paths and the order in which their features are kept (None: nested by frequency)."""
    yield from (("both", None), ("lower", None), ("upper", None))
    yield "variance", np.argsort(-x.var(0, dtype=np.float64), kind="stable")
    for name in RANDOM:
        yield name, rng.permutation(ws.dim)


def _restricted(model: logistic.LinearModel, rows: IntArray) -> logistic.LinearModel:
    """The model on fewer of its features: a start for the next fit."""
    return logistic.LinearModel(model.weight[rows], model.bias, model.mean[rows], model.scale[rows])


def _principal(x: Floats, most: int) -> Floats:
    """Leading principal axes (D, d) of the rows `x` (n, D), d <= `most` and <= their rank.

    From the smaller of the covariance (D, D) and the Gram matrix (n, n), in float64: O(min(n, D)^3).
    """
    centered = x - x.mean(0, dtype=np.float64)
    n, d = centered.shape
    wide = d > n
    values, vectors = np.linalg.eigh(centered @ centered.T if wide else centered.T @ centered)
    found = np.flatnonzero(values > values[-1] * 1e-10)[::-1][:most]
    axes = vectors[:, found]
    if wide:
        axes = centered.T @ axes / np.sqrt(values[found])
    return np.ascontiguousarray(axes if axes.shape[1] else np.eye(d)[:, :1], np.float32)


Ends = tuple[float | None, float | None]


def ends(columns: Sequence[Doubles], draws: resample.Counts) -> list[Ends]:
    """Percentile interval of the mean of each column (n,) under the draws (B, n), by one matrix product."""
    weights = draws.astype(np.float64)
    total = weights.sum(1, keepdims=True)
    means = weights @ np.stack(columns, axis=1) / np.where(total > 0, total, np.nan)
    return [resample.percentile_interval(column) or (None, None) for column in means.T]


def circumstances(ws: Workspace, found: Curves) -> dict[str, float | int | str]:
    return {
        "rule": frequency_order(ws).rule,
        "l2": found.l2,
        "train_rows": int(found.train.size),
        "test_rows": int(found.test.size),
        "classes": found.classes,
        "random_seeds": RANDOM_SEEDS,
    }


def note(ws: Workspace, found: Curves, more: str | None = None) -> str | None:
    capped = (
        f"Probes of {found.classes} of {ws.k} classes, drawn at random: not to be compared with other accuracies."
        if found.classes < np.unique(ws.labels).size
        else None
    )
    return " ".join(filter(None, [more, capped, frequency_order(ws).why])) or None
