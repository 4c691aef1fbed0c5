"""ICCL's view of an embedding: every coordinate acts as a cluster (science section 4). What is read here is ours.

ICCL (Ge et al. 2023, arXiv 2301.03041; its released code) turns a vector into an assignment to its own coordinates,
P = softmax(f / t), with t = 0.1 on the online side and t = 0.07 on the target side, and asks that two views agree in
it and that all coordinates are used. The panel measures the same on a frozen encoder's unit features f, which were
not trained for it: it says how much of ICCL's aim they meet as they are. Two limits belong beside every number.
A unit vector's coordinates are of the size 1/sqrt(D), so that with hundreds of features P is close to uniform for any
encoder: read each value against its null, never against 0 or log D. And the coordinates are the encoder's own: none
of these numbers survives a rotation, and none compares across different D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from repdiag.kernels import resample, rows
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics import metric
from repdiag.metrics._answers import GAUSSIAN, interval, null, sample_mean
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Row, Status
from repdiag.workspace import Skip, Workspace

ICCL = "Ge et al. 2023, arXiv 2301.03041 (its released code); read on a frozen encoder, ours"
ONLINE, TARGET = 0.1, 0.07
"""t1, of n, and t2, of m."""
GROUPS = 10
NULL_ROWS = 1024
COORDINATE_LAWS = frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER})


def log_assignment(x: Floats | Doubles, t: float) -> Doubles:
    """log softmax(x / t) of each row of `x` (N, D), float64."""
    z = x.astype(np.float64) / t
    z -= z.max(1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(1, keepdims=True)))


def entropy(p: Doubles) -> float:
    """-sum p log p in nats."""
    known = p[p > 0]
    return float(-(known * np.log(known)).sum())


@dataclass(frozen=True)
class Assignments:
    """What the panel needs of P = softmax(x / t): its sum over each of G groups of rows, and each row's entropy."""

    sums: Doubles  # (G, D)
    counts: Doubles  # (G,)
    entropies: Doubles  # (N,)

    def mean(self, without: int | None = None) -> Doubles:
        """The mean assignment (D,), of all rows or without one group."""
        keep = np.arange(len(self.counts)) != (-1 if without is None else without)
        return np.asarray(self.sums[keep].sum(0) / self.counts[keep].sum())

    def usage(self, without: int | None = None) -> float:
        """KL(Uniform || mean P)."""
        p = self.mean(without)
        return max(0.0, float(-np.log(p.size) - np.log(p).mean()))

    def information(self, without: int | None = None) -> float:
        """H(mean P) - mean H(P)."""
        group = np.arange(self.entropies.size) % len(self.counts)
        kept = self.entropies if without is None else self.entropies[group != without]
        return max(0.0, entropy(self.mean(without)) - float(kept.mean()))


def assign(x: Floats, t: float) -> Assignments:
    """Assignments of the rows of `x` (N, D), summed in float64 over ten interleaved groups; O(ND)."""
    g = min(GROUPS, len(x))
    sums, entropies = np.zeros((g, x.shape[1])), np.empty(len(x))
    for block in rows.blocks(len(x), x.shape[1] * 32):
        logs = log_assignment(x[block], t)
        p = np.exp(logs)
        entropies[block] = -(p * logs).sum(1)
        for i in range(g):
            sums[i] += p[(i - block.start) % g :: g].sum(0)
    counts = np.bincount(np.arange(len(x)) % g, minlength=g).astype(np.float64)
    return Assignments(sums, counts, entropies)


def _assignments(ws: Workspace, t: float) -> Assignments:
    if ws.dim < 2:
        raise Skip("one feature alone is no choice between clusters")
    return ws.once(("iccl assignments", t), lambda: assign(ws.x, t))


def _structureless(ws: Workspace) -> tuple[Assignments, ...]:
    """Assignments (t = 0.1) of Gaussian rows of equal mean and covariance, made unit, at most 1,024 a draw."""

    def compute() -> tuple[Assignments, ...]:
        n = min(len(ws), NULL_ROWS)
        return tuple(assign(rows.unit(ws.gaussian(d, n)), ONLINE) for d in range(ws.config.null_draws))

    return ws.once("iccl structureless", compute)


def _jackknifed(ws: Workspace, which: str, table: tuple[Row, ...], note: str | None = None) -> MetricResult:
    found = _assignments(ws, ONLINE)
    of = getattr(Assignments, which)
    value, g = of(found), len(found.counts)
    ends = resample.jackknife_interval(value, np.array([of(found, i) for i in range(g)]))
    return MetricResult(
        value,
        interval(ends, f"jackknife over {g} groups", g),
        null(GAUSSIAN, (of(draw) for draw in _structureless(ws))),
        table=table,
        parameters={"t": ONLINE, "features": ws.dim, "null_rows": min(len(ws), NULL_ROWS)},
        note=note,
    )


@metric(
    MetricSpec(
        name="cluster_usage_kl",
        family="similarity",
        title="Unequal use of coordinates (ICCL)",
        meaning="high: a few coordinates take most of the assignments; 0: all are used alike",
        formula="KL(Uniform || mean_i P_i) = -log D - mean_k log (mean P)_k, P = softmax(f/0.1)",
        source=ICCL,
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=float("inf"),
        unit="nats",
        needs=frozenset(),
        laws=COORDINATE_LAWS,
        cost="O(ND + draws * 1024 D^2)",
    )
)
def cluster_usage_kl(ws: Workspace) -> MetricResult:
    """ICCL's L_uniform of the unit features (N, D), in nats; 0 when the mean assignment is uniform.

    Sums in float64. Range [0, inf); lower is more even. The table has it for both temperatures with the perplexity
    exp H(mean P), the number of coordinates in effective use, which is at most D. Embeddings that are all zeros or
    have all coordinates equal reach 0 as well, and so does an encoder whose assignments are all flat: read
    `assignment_information` beside it. The mean feature vector decides most of it, which is why the
    null, with the same mean, often comes close.

    Interval: jackknife over ten groups of rows. Null: Gaussian of equal mean and covariance, made unit, at most
    1,024 rows. Invariant to sample order, scale and feature order, not to rotation. O(ND) time, O(D) memory.

    Half of the rows (1, 0), half (0, 1): mean P = (1/2, 1/2), KL 0. All rows (1, 0): P = (0.99995, 0.00005),
    KL = 4.31 nats.
    """
    table = []
    for t in (ONLINE, TARGET):
        found = _assignments(ws, t)
        perplexity = float(np.exp(entropy(found.mean())))
        table.append({"t": t, "kl": found.usage(), "perplexity": perplexity, "of": ws.dim})
    return _jackknifed(ws, "usage", tuple(table))


@metric(
    MetricSpec(
        name="assignment_information",
        family="similarity",
        title="Information in assignments (ICCL)",
        meaning="high: which coordinate stands out says much about which image it is",
        formula="I = H(mean_i P_i) - mean_i H(P_i), P = softmax(f/0.1)",
        source=ICCL,
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=float("inf"),
        unit="nats",
        needs=frozenset(),
        laws=COORDINATE_LAWS,
        cost="O(ND + draws * 1024 D^2)",
    )
)
def assignment_information(ws: Workspace) -> MetricResult:
    """Mutual information between a random image and the coordinate it is assigned to, in nats, in [0, log D].

    High when single assignments are sharp and their mean is even: what ICCL's two terms want together, and what
    neither reaches alone, as both kinds of collapse (all rows alike, all assignments flat) give 0. From unit features
    (N, D), float64. The plug-in falls short by about I/N. Under equal length the number depends on D: the more
    features, the flatter every assignment. The table has both temperatures and both entropies.

    Interval: jackknife over ten groups of rows. Null: Gaussian of equal mean and covariance, made unit, at most
    1,024 rows. Invariant to sample order, scale and feature order, not to rotation. O(ND) time.

    The rows (1, 0) and (0, 1) in equal number: log 2 - 0.0005 = 0.693. All rows alike: 0.
    """
    table = []
    for t in (ONLINE, TARGET):
        found = _assignments(ws, t)
        table.append(
            {
                "t": t,
                "information": found.information(),
                "entropy_of_mean": entropy(found.mean()),
                "mean_entropy": float(found.entropies.mean()),
                "log_d": float(np.log(ws.dim)),
            }
        )
    return _jackknifed(ws, "information", tuple(table))


@metric(
    MetricSpec(
        name="assignment_confidence",
        family="similarity",
        title="Flatness of the assignments (ICCL)",
        meaning="high (near 1): no coordinate stands out of an embedding; low: a few carry it",
        formula="mean_i H(P_i) / log D, P = softmax(f/0.1); without structure 1 - 1/(2 D t^2 log D)",
        source=ICCL,
        status=Status.OURS,
        direction=Direction.NEITHER,
        low=0,
        high=1,
        unit="",
        needs=frozenset(),
        laws=COORDINATE_LAWS,
        cost="O(ND + draws * 1024 D^2)",
    )
)
def assignment_confidence(ws: Workspace) -> MetricResult:
    """Mean entropy of the assignments over its largest value, in [0, 1]; the lower, the surer each assignment.

    From unit features (N, D), float64; per class and per sample too. 1 means a uniform assignment. A unit vector in a
    random direction gives about 1 - 1/(2 D t^2 log D), K of the formula being the number of coordinates D; this
    is an expansion for many coordinates, so the table has beside it (`structureless`) what 1,000 random directions
    really give (`random_directions`), at both temperatures. Trust the latter where they differ: at D = 64 and
    t = 0.07 they do. Neither end is good: one feature that is always on makes each assignment sure.

    Interval: bootstrap over samples. Null: Gaussian of equal mean and covariance, made unit, at most 1,024 rows.
    Invariant to sample order, scale and feature order, not to rotation. O(ND) time.

    D = 2, row (1, 0): P = (0.99995, 0.00005), H = 0.0005, value 0.0007. Row (1, 1)/sqrt(2): 1.
    """
    table = []
    isotropic = rows.unit(ws.rng(6102).standard_normal((1000, ws.dim), dtype=np.float32))
    for t in (ONLINE, TARGET):
        mean = _assignments(ws, t).entropies.mean()
        table.append(
            {
                "t": t,
                "value": float(mean / np.log(ws.dim)),
                "structureless": structureless_confidence(ws.dim, t),
                "random_directions": float(assign(isotropic, t).entropies.mean() / np.log(ws.dim)),
            }
        )
    nulls = [float(draw.entropies.mean() / np.log(ws.dim)) for draw in _structureless(ws)]
    found = sample_mean(
        ws,
        np.clip(_assignments(ws, ONLINE).entropies / np.log(ws.dim), 0, 1),
        null_draws=nulls,
        null_name=GAUSSIAN,
        per_class=True,
    )
    parameters = {"t": ONLINE, "features": ws.dim, "null_rows": min(len(ws), NULL_ROWS)}
    return replace(found, table=tuple(table), parameters=parameters)


def structureless_confidence(d: int, t: float) -> float | None:
    """1 - 1/(2 D t^2 log D), the entropy share of random directions to second order; None where that is no share."""
    value = 1 - 1 / (2 * d * t**2 * np.log(d))
    return float(value) if value > 0 else None
