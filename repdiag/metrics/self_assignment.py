"""What ReSA's self-assignment would make of a frozen encoder (science section 3). The readings are ours.

ReSA (Weng et al. 2025, arXiv 2501.18452; its released code) lets the encoder's own output h say which images of a
batch belong together: S = H H' (cosines of one view), A = Sinkhorn(S / eps), three iterations, eps = 0.05, rows that
sum to 1; the loss pulls image i towards j in proportion to A_ij. Here A is made from the clean images of a frozen
encoder. Everything depends on the size of the batch, which is stated: numbers of different sizes do not compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from repdiag.kernels import resample, rows
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics import metric
from repdiag.metrics._answers import GAUSSIAN, PERMUTED, interval, null
from repdiag.types import Direction, IntArray, Law, MetricResult, MetricSpec, Need, Row, Status
from repdiag.workspace import Skip, Workspace

RESA = "mechanism of Weng et al. 2025, arXiv 2501.18452 (its released code); read on a frozen encoder, ours"
EPS = (0.05, 0.1, 0.2)
ITERATIONS = 3
BATCH = 512
LEAST_BATCH = 16
BATCHES = 12
ALL_LAWS = frozenset({Law.PERMUTATION, Law.ROTATION, Law.SCALE, Law.FEATURE_ORDER})


def self_assignment(x: Floats, eps: float) -> Doubles:
    """A (b, b) of unit rows `x` (b, D): exp(x x' / eps) with columns, then rows scaled to sum 1, three times.

    Float64; cosines are at most 1, so nothing overflows. The diagonal stays: an image may be its own assignment.
    """
    h = x.astype(np.float64)
    a = np.exp((h @ h.T - 1) / eps)
    for _ in range(ITERATIONS):
        a /= a.sum(0)
        a /= a.sum(1, keepdims=True)
    return np.asarray(a)


def spread(a: Doubles) -> float:
    """Share of the assignment that goes to other images: 1 - mean diagonal."""
    return min(1.0, max(0.0, 1 - float(np.trace(a)) / len(a)))


def neighbors(a: Doubles) -> float:
    """Mean exp(entropy of a row): how many images, the image itself among them, an assignment covers."""
    logs = np.log(a, out=np.zeros_like(a), where=a > 0)
    return float(np.exp(-(a * logs).sum(1)).mean())


@dataclass(frozen=True)
class Batches:
    """Disjoint random batches of the evaluated rows, with what was read from each batch at each eps."""

    rows: tuple[IntArray, ...]
    spread: Doubles  # (E, R)
    neighbors: Doubles  # (E, R)
    purity: Doubles  # (E, R), NaN where unlabeled or nothing lies off the diagonal
    permuted: Doubles  # (E, P): mean over batches of the purity under each permutation
    by_class: Doubles  # (2, K): off-diagonal mass of each class's rows at eps 0.05, and what of it is pure


def _plan(ws: Workspace) -> tuple[int, int]:
    """(rows of a batch, number of batches): 512 rows, or half of fewer than 1,024; at most 12 batches."""
    size = min(BATCH, len(ws) // 2)
    if size < LEAST_BATCH:
        raise Skip(f"{len(ws)} samples do not make two batches of {LEAST_BATCH}")
    return size, min(BATCHES, len(ws) // size)


def _batches(ws: Workspace) -> Batches:
    size, count = _plan(ws)

    def compute() -> Batches:
        order = ws.rng(6201).permutation(len(ws))
        chosen = tuple(np.sort(order[i * size : (i + 1) * size]) for i in range(count))
        shape = (len(EPS), count)
        wide, many, pure = np.empty(shape), np.empty(shape), np.full(shape, np.nan)
        shuffled = [ws.labels[p] for p in ws.permuted] if ws.labeled else []
        permuted = np.full((len(EPS), len(shuffled), count), np.nan)
        by_class = np.zeros((2, ws.k))
        for i, some in enumerate(chosen):
            made = np.stack([self_assignment(ws.x[some], eps) for eps in EPS])
            wide[:, i], many[:, i] = [spread(a) for a in made], [neighbors(a) for a in made]
            if not ws.labeled:
                continue
            made[:, np.arange(size), np.arange(size)] = 0
            total, labels = made.sum((1, 2)), ws.labels[some]
            if (total == 0).any():
                continue
            pure[:, i] = _same(made, labels) / total
            for p, other in enumerate(shuffled):
                permuted[:, p, i] = _same(made, other[some]) / total
            own = (made[0] * (labels[:, None] == labels)).sum(1)
            by_class[0] += np.bincount(labels, weights=made[0].sum(1), minlength=ws.k)
            by_class[1] += np.bincount(labels, weights=own, minlength=ws.k)
        return Batches(chosen, wide, many, pure, permuted.mean(2), by_class)

    return ws.once("self-assignment", compute)


def _same(a: Doubles, labels: IntArray) -> Doubles:
    """Sum of each matrix of `a` (E, b, b) over pairs of one label (E,)."""
    same = (labels[:, None] == labels).astype(np.float64)
    return np.asarray(a.reshape(len(a), -1) @ same.ravel())


def _structureless(ws: Workspace) -> tuple[Doubles, Doubles]:
    """Spread and neighbors (E, draws) of one batch of Gaussian rows of equal mean and covariance, made unit."""
    size, _ = _plan(ws)

    def compute() -> tuple[Doubles, Doubles]:
        wide, many = (np.empty((len(EPS), ws.config.null_draws)) for _ in range(2))
        for d in range(ws.config.null_draws):
            x = rows.unit(ws.gaussian(d, size))
            for e, eps in enumerate(EPS):
                a = self_assignment(x, eps)
                wide[e, d], many[e, d] = spread(a), neighbors(a)
        return wide, many

    return ws.once("self-assignment structureless", compute)


def _answer(
    ws: Workspace,
    values: Doubles,
    nulls: Doubles,
    null_name: str,
    per_class: Doubles | None = None,
    note: str | None = None,
) -> MetricResult:
    """The mean over batches at eps 0.05 with a t interval over batches, and the table over eps."""
    table: list[Row] = []
    ends = [resample.mean_interval(row) for row in values]
    for eps, row, (low, high), draws in zip(EPS, values, ends, nulls, strict=True):
        table.append(
            {
                "eps": eps,
                "value": float(row.mean()),
                "low": float(low),
                "high": float(high),
                "null": float(draws.mean()),
            }
        )
    size, count = _plan(ws)
    return MetricResult(
        float(values[0].mean()),
        interval(ends[0], "t interval over batches", count),
        null(null_name, nulls[0]),
        per_class=per_class,
        table=tuple(table),
        parameters={"eps": EPS[0], "iterations": ITERATIONS, "batch": size, "batches": count},
        note=note,
    )


def _spec(name: str, title: str, meaning: str, formula: str, **more: object) -> MetricSpec:
    settings: dict[str, object] = {
        "direction": Direction.NEITHER,
        "low": 0,
        "high": 1,
        "unit": "share",
        "needs": frozenset(),
        "laws": ALL_LAWS,
        "cost": "O(batches * batch^2 (D + eps * iterations))",
    } | more
    return MetricSpec(name, "similarity", title, meaning, formula, RESA, Status.OURS, **settings)  # type: ignore[arg-type]


@metric(
    _spec(
        "self_assignment_spread",
        "Self-assignment to other images",
        "high: images of a batch look alike enough to be assigned to each other; 0: each to itself alone",
        "1 - mean_i A_ii, A = Sinkhorn(H H'/0.05) of a batch, rows sum to 1",
    )
)
def self_assignment_spread(ws: Workspace) -> MetricResult:
    """Share of the self-assignment that lies off the diagonal, in [0, 1 - 1/b]; no end is better.

    Near 0, A is the identity and ReSA's loss is plain instance discrimination on this encoder: so it is where the
    embeddings have no structure and D is in the hundreds. Near 1 - 1/b every image is assigned to the whole batch:
    so it is where all embeddings point one way. Unit rows of disjoint random batches of b = 512 (half of the
    samples when there are fewer than 1,024), at most 12; float64. The table has eps = 0.05, 0.1, 0.2.

    Features that share a mean direction (any encoder that ends in a ReLU) have large cosines everywhere and spread
    without any cluster: only the distance to the null is structure. Interval: t interval over batches. Null:
    Gaussian of equal mean and covariance, made unit; each draw is one batch, so its spread is that of a batch and z
    is cautious. Invariant to sample order, rotation, scale. O(b^2 D) time a batch, O(b^2) memory.

    b orthonormal rows: 1 - 1/(1 + (b - 1) e^-20), or 1.1e-6 at b = 512. b equal rows: 1 - 1/b.
    """
    found, nulls = _batches(ws), _structureless(ws)
    return _answer(ws, found.spread, nulls[0], GAUSSIAN)


@metric(
    _spec(
        "self_assignment_neighbors",
        "Images in a self-assignment",
        "high: an image is assigned to many images of its batch; 1: to itself alone",
        "mean_i exp(-sum_j A_ij log A_ij), A = Sinkhorn(H H'/0.05) of a batch, rows sum to 1",
        low=1,
        high=float("inf"),
        unit="images",
    )
)
def self_assignment_neighbors(ws: Workspace) -> MetricResult:
    """How many images of its batch an assignment covers, itself included, in [1, b]; no end is better.

    exp of the entropy of each row of A, averaged over rows and batches: the width of the target that ReSA would
    train towards. Near the number of a batch's images per class it matches the classes in size (not in kind: see
    `self_assignment_purity`). Batches, precision, interval, null and invariances as in `self_assignment_spread`.

    b orthonormal rows: 1. b equal rows: b. Pairs of equal rows, the pairs orthonormal: 2.
    """
    found, nulls = _batches(ws), _structureless(ws)
    return _answer(ws, found.neighbors, nulls[1], GAUSSIAN)


@metric(
    _spec(
        "self_assignment_purity",
        "Self-assignment to the same class",
        "high: what an image is assigned to besides itself is of its own class",
        "sum_{i != j} A_ij [y_i = y_j] / sum_{i != j} A_ij, A = Sinkhorn(H H'/0.05) of a batch",
        direction=Direction.HIGHER,
        needs=frozenset({Need.LABELS}),
    )
)
def self_assignment_purity(ws: Workspace) -> MetricResult:
    """Share of the off-diagonal assignment that goes to the image's own class, in [0, 1]; the mean over batches.

    Says whether ReSA's targets would pull classes together or mix them. Weighted by mass: images that are assigned
    to themselves alone hardly count, so it speaks of little where `self_assignment_spread` is near 0, which the note
    says. A batch of 512 holds few images of each of hundreds of classes: then even a perfect encoder's value is held
    down by the images that have no mate in their batch (their share is in the parameters). Per class: by the class
    of row i, over all batches, NaN where nothing was assigned.

    Batches, precision and invariances as in `self_assignment_spread`. Interval: t interval over batches. Null:
    labels permuted on the same assignments. O(b^2 D) time a batch and O(b^2) for each permutation.

    Two pairs of equal rows, orthogonal, labels a a b b: 1; labels a b a b: 2e-9 (e^-20).
    """
    found = _batches(ws)
    if not np.isfinite(found.purity).all():
        raise Skip("no image of a batch is assigned to another")
    mass, pure = found.by_class
    per_class = np.divide(pure, mass, out=np.full(ws.k, np.nan), where=mass > 0)
    off = float(found.spread[0].mean())
    note = f"Only {off:.2g} of the assignment lies off the diagonal." if off < 0.01 else None
    told = _answer(ws, found.purity, found.permuted, PERMUTED, per_class, note)
    mates = [(np.bincount(ws.labels[some])[ws.labels[some]] > 1).mean() for some in found.rows]
    more = {"off_diagonal_mass": off, "images_with_a_mate": float(np.mean(mates))}
    return replace(told, parameters={**told.parameters, **more})
