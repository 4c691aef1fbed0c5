"""Cosines of samples of the same class against those of different classes: how far the two distributions part.

Both numbers are read off all pairs of at most ROWS rows, whose cosines are kept as 16-bit bin numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from repdiag.kernels import classes
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics import metric
from repdiag.metrics._answers import PERMUTED, null, singletons
from repdiag.metrics._class_geometry import influence_interval
from repdiag.metrics.crowding import COSINE_LAWS, LABELS
from repdiag.types import Direction, IntArray, MetricResult, MetricSpec, Status
from repdiag.workspace import Skip, Workspace

ROWS = 4096
"""Rows whose pairs are taken: 8.4 million pairs, 32 MiB of bin numbers."""
FINE = 2**16
"""Bins of equal width between the smallest and the largest cosine."""
COARSE = 50
"""Bins of the overlap: each holds one fiftieth of the pooled distribution."""
TILE = 256


@dataclass(frozen=True)
class Pairs:
    """All pairs of M rows: `bins` (M, M) of their cosines, labels 0..K-1 (M,) and row numbers (M,)."""

    bins: npt.NDArray[np.uint16]
    labels: IntArray
    rows: IntArray
    classes: IntArray  # the class that each of the K labels stands for

    @cached_property
    def counts(self) -> Doubles:
        """How many ordered pairs, each row with itself included, are in each bin (FINE,)."""
        return self.weighted(None)

    def weighted(self, share: Doubles | None) -> Doubles:
        """As `counts`, a pair weighing the product of its rows' `share` (M,)."""
        out = np.zeros(FINE)
        for at in range(0, len(self.bins), TILE):
            weight = None if share is None else np.outer(share[at : at + TILE], share).ravel()
            out += np.bincount(self.bins[at : at + TILE].ravel(), weights=weight, minlength=FINE)
        return out


@dataclass(frozen=True)
class Histograms:
    """Distribution of the bin for pairs of the same class and of different ones, each of sum 1 (FINE,)."""

    same: Doubles
    different: Doubles


def _chosen(ws: Workspace) -> tuple[IntArray, IntArray]:
    """Rows of classes with two or more, equally many of each as far as they go, at most ROWS; and the classes."""
    rng = ws.rng(62)
    own = [rng.permutation(rows) for rows in classes.members(ws.labels, ws.k)]
    several = np.array([c for c in range(ws.k) if own[c].size > 1], np.int64)
    if several.size < 2:
        raise Skip("fewer than two classes have two samples")
    if several.size > ROWS // 2:
        several = np.sort(rng.permutation(several)[: ROWS // 2])
    sizes = np.array([own[c].size for c in several])
    quota = ROWS // several.size
    while np.minimum(sizes, quota + 1).sum() <= ROWS and quota < sizes.max():
        quota += 1
    return np.sort(np.concatenate([own[c][:quota] for c in several])), several


def _binned(x: Floats) -> npt.NDArray[np.uint16]:
    """Bin number of the cosine of each pair of unit rows (M, M); one bin for all where they are alike to 1e-6."""
    tiles = [slice(at, at + TILE) for at in range(0, len(x), TILE)]
    low, high = np.inf, -np.inf
    for t in tiles:
        cosine = x[t] @ x.T
        low, high = min(low, float(cosine.min())), max(high, float(cosine.max()))
    out = np.zeros((len(x), len(x)), np.uint16)
    if high - low > 1e-6:
        scale = np.float32((FINE - 1) / (high - low))
        for t in tiles:
            cosine = x[t] @ x.T
            cosine -= np.float32(low)
            cosine *= scale
            np.clip(cosine, 0, FINE - 1, out=cosine)
            out[t] = cosine
    return out


def _pairs(ws: Workspace) -> Pairs:
    def compute() -> Pairs:
        rows, present = _chosen(ws)
        return Pairs(_binned(ws.x[rows]), np.searchsorted(present, ws.labels[rows]), rows, present)

    return ws.once("same-class pairs", compute)


def _blocks(pairs: Pairs, labels: IntArray) -> list[IntArray]:
    return classes.members(labels, pairs.classes.size)


def _histograms(pairs: Pairs, labels: IntArray) -> Histograms:
    """Both distributions under `labels` (M,), every class, and every pair of classes, weighing the same."""
    own = _blocks(pairs, labels)
    k, sizes = len(own), np.array([rows.size for rows in own])
    equal = bool((sizes == sizes[0]).all())
    every = pairs.counts / sizes[0] ** 2 if equal else pairs.weighted(1 / sizes[labels])
    inside, same = np.zeros(FINE), np.zeros(FINE)
    for n, rows in zip(sizes, own, strict=True):
        block = pairs.bins[np.ix_(rows, rows)]
        inside += np.bincount(block.ravel(), minlength=FINE) / n**2
        same += np.bincount(block[~np.eye(n, dtype=bool)], minlength=FINE) / (n * (n - 1))
    return Histograms(same / k, np.maximum(every - inside, 0) / (k * (k - 1)))


def _influence(pairs: Pairs, in_same: Doubles, in_different: Doubles) -> tuple[Doubles, Doubles]:
    """Mean over each row's partners of the same class of `in_same` (FINE,) at the pair's bin, and of `in_different`
    over its partners of other classes, each class weighing alike; ((M,), (M,))."""
    own = _blocks(pairs, pairs.labels)
    sizes = np.array([rows.size for rows in own])
    share, table = 1 / sizes[pairs.labels], in_different.astype(np.float32)
    different = np.empty(len(share))
    for at in range(0, len(share), TILE):
        different[at : at + TILE] = table[pairs.bins[at : at + TILE]] @ share
    same = np.empty(len(share))
    for n, rows in zip(sizes, own, strict=True):
        block = pairs.bins[np.ix_(rows, rows)]
        different[rows] -= table[block].sum(1, dtype=np.float64) / n
        values = in_same[block]
        np.fill_diagonal(values, 0)
        same[rows] = values.sum(1) / (n - 1)
    return same, different / (len(own) - 1)


def _below(histogram: Doubles) -> Doubles:
    """Share of the distribution below each bin, its own share counted half."""
    return np.asarray(np.cumsum(histogram) - histogram / 2)


def _coarse(h: Histograms) -> IntArray:
    """Which of COARSE equally full bins of the pooled distribution each fine bin falls into (FINE,)."""
    middle = _below((h.same + h.different) / 2)
    return np.minimum(middle * COARSE, COARSE - 1).astype(np.int64)


def _auc(h: Histograms) -> float:
    return float(h.same @ _below(h.different))


def _overlap(h: Histograms) -> float:
    coarse = _coarse(h)
    both = [np.bincount(coarse, weights=side, minlength=COARSE) for side in (h.same, h.different)]
    return float(np.minimum(*both).sum())


def _measured(ws: Workspace) -> tuple[Pairs, Histograms, list[Histograms]]:
    """The pairs, their histograms, and those under labels permuted among the same rows."""

    def compute() -> tuple[Pairs, Histograms, list[Histograms]]:
        pairs, rng = _pairs(ws), ws.rng(63)
        sizes = np.bincount(pairs.labels)
        n = len(ws.permuted) if (sizes == sizes[0]).all() else min(5, len(ws.permuted))
        nulls = [_histograms(pairs, rng.permutation(pairs.labels)) for _ in range(n)]
        return pairs, _histograms(pairs, pairs.labels), nulls

    return ws.once("same-class histograms", compute)


def _answer(
    ws: Workspace,
    value: float,
    nulls: list[float],
    in_same: Doubles,
    in_different: Doubles,
    per_class: bool,
    parameters: dict[str, int],
) -> MetricResult:
    pairs = _measured(ws)[0]
    same, different = _influence(pairs, in_same, in_different)
    k, sizes = pairs.classes.size, np.bincount(pairs.labels)
    influence = 2 * (same + different) / (k * sizes[pairs.labels])
    by_class = np.full(ws.k, np.nan)
    by_class[pairs.classes] = np.bincount(pairs.labels, weights=same) / sizes
    notes = [singletons(ws) or ""]
    if len(pairs.rows) < len(ws):
        notes.append(f"Pairs of {len(pairs.rows)} of {len(ws)} samples, drawn class by class.")
    return MetricResult(
        value,
        influence_interval(value, influence, pairs.labels, k),
        null(PERMUTED, nulls),
        per_class=by_class if per_class else None,
        parameters={"samples": len(pairs.rows), "classes": k, **parameters},
        note=" ".join(filter(None, notes)) or None,
    )


@metric(
    MetricSpec(
        name="same_class_auc",
        family="crowding",
        title="Same class closer than different",
        meaning="high: two samples of one class are almost always more alike than two of different classes",
        formula="P(cos of a same-class pair > cos of a different-class pair), ties half; classes weigh alike",
        source="ours; panel of distinct-image similarity",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(M^2 D), M = min(N, 4096)",
    )
)
def same_class_auc(ws: Workspace) -> MetricResult:
    """AUC of the cosine as a test of "same class", over pairs of evaluated samples, in [0, 1]; chance is 0.5.

    The chance that a random pair of one class has a higher cosine than a random pair of two classes. Weights: first
    a class (or two different classes) is drawn, all alike, then two different samples of it (or one of each), so that
    large classes count no more than small ones. All pairs of M = min(N, 4096) rows, drawn so that classes are as
    equal as they can be (at 1,000 classes that is four of each: the interval shows it); above 2,048 classes, of as
    many. Cosines in float32, counted in 65,536 bins between the smallest and the largest, pairs that share a bin as
    ties. `per_class`: the same with the first pair from that class.

    It is one scale for all classes: an encoder with tight and wide classes can be perfect for a kNN and score below
    1 here. Classes with fewer than two samples are left out. Null: labels permuted among the rows taken. Interval:
    infinitesimal jackknife over the rows taken. O(M^2 D) time, O(M^2) memory at most 32 MiB. Two classes at e1 and
    e2 without spread: 1.
    """
    _, h, nulls = _measured(ws)
    return _answer(
        ws, _auc(h), [_auc(n) for n in nulls], _below(h.different), 1 - _below(h.same), True, {"bins": FINE}
    )


@metric(
    MetricSpec(
        name="same_class_overlap",
        family="crowding",
        title="Overlap of same and different pairs",
        meaning="high: cosines hardly tell whether two samples are of one class",
        formula="sum over 50 bins of min(p_same, p_different), bins of equal mass in the pooled distribution",
        source="overlap coefficient (Weitzman); its use here is ours",
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(M^2 D), M = min(N, 4096)",
    )
)
def same_class_overlap(ws: Workspace) -> MetricResult:
    """Overlap coefficient of the cosines of same-class and different-class pairs, in [0, 1]; lower is better.

    sum_b min(p_b, q_b) with p, q the two distributions over 50 bins that each hold 1/50 of (p + q)/2: no choice of
    width, the same under any increasing map of the cosine. Twice the error of the best rule on the cosine (in 50
    steps) that tells the two kinds of pairs apart. Pairs, weights and rows as in `same_class_auc`; unlike an AUC it
    sees any difference, one of spread too, and with few same-class pairs noise pulls it below 1: read it against the
    null. Interval: infinitesimal jackknife over the rows taken. O(M^2 D) time. Two classes at e1 and e2: 0.
    """
    _, h, nulls = _measured(ws)
    coarse = _coarse(h)
    p, q = (np.bincount(coarse, weights=side, minlength=COARSE) for side in (h.same, h.different))
    smaller = (np.sign(q - p)[coarse] + 1) / 2  # 1 where the same-class share is the smaller one
    nulls_ = [_overlap(n) for n in nulls]
    return _answer(ws, _overlap(h), nulls_, smaller, 1 - smaller, False, {"bins": COARSE})
