"""Pairs that similarity learning takes for positives: an image's views, and its nearest neighbors (section 4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from repdiag.kernels import resample, rows
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics import metric
from repdiag.metrics._answers import PERMUTED, sample_mean
from repdiag.metrics.similarity import COORDINATE_LAWS, ICCL, ONLINE, TARGET, log_assignment
from repdiag.types import Direction, IntArray, Law, MetricResult, MetricSpec, Need, Row, Status
from repdiag.workspace import Skip, Workspace

PAIR_ROWS = 1024


@metric(
    MetricSpec(
        name="cross_view_cross_entropy",
        family="similarity",
        title="Cross-entropy between views (ICCL)",
        meaning="high: an image and its augmentations stress different coordinates, or none stands out",
        formula="-1/2 mean[sum m(x) log n(v) + sum m(v) log n(x)], m = softmax(f/0.07), n = softmax(f/0.1)",
        source=ICCL,
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=float("inf"),
        unit="nats",
        needs=frozenset({Need.IMAGES}),
        laws=COORDINATE_LAWS,
        cost="O(VMD)",
    )
)
def cross_view_cross_entropy(ws: Workspace) -> MetricResult:
    """ICCL's cross-entropy between the image x and its views v, averaged over views, in nats.

    It is H(m) + KL(m || n): how flat the assignment is, which says nothing of the views, plus how far the two differ.
    The table has both, and the KL of each image with itself: the two temperatures alone make that more than 0, so
    only what exceeds it is the views' doing. Float64, from unit features (M, D). Range [0, inf); ICCL lowers
    it, and so does a collapse onto one coordinate: read it beside `cluster_usage_kl`. With hundreds of features H(m)
    is nearly log D and outweighs the rest: never compare it across different D.

    Interval: bootstrap over samples. Null: views of other images (the rows shifted, at most 1,024, first view).
    Invariant to sample order, scale and feature order, not to rotation. O(VMD) time.

    Two coordinates, x = v = (1, 1)/sqrt(2): m = n = (1/2, 1/2), cross-entropy log 2 = 0.693, all of it H(m).
    """
    if ws.dim < 2:
        raise Skip("one feature alone is no choice between clusters")
    views, at = ws.views
    parts = np.full((4, len(ws)), np.nan)  # cross-entropy, H(m), KL(m || n), KL of the image with itself
    for block in rows.blocks(at.size, ws.dim * 64):
        parts[:, at[block]] = _parts(ws.x[at[block]], views[:, block])
    names = ("cross-entropy", "H(m)", "KL(m || n)", "KL(m || n) of an image with itself")
    table: list[Row] = []
    for name, values in zip(names, parts, strict=True):
        ends = resample.percentile_interval(resample.weighted_means(values, ws.draws))
        low, high = ends or (None, None)
        table.append({"part": name, "value": float(np.nanmean(values)), "low": low, "high": high})
    found = sample_mean(ws, parts[0], null_draws=_strangers(ws, views, at), null_name="views of other images")
    parameters = {"t1": ONLINE, "t2": TARGET, "views": len(views), "samples": int(at.size)}
    return replace(found, table=tuple(table), parameters=parameters)


def _parts(x: Floats, views: Floats) -> Doubles:
    """(4, M): cross-entropy, H(m), KL(m || n) and KL of x with itself, each the mean over V views of M images."""
    m_log, n_log = log_assignment(x, TARGET), log_assignment(x, ONLINE)
    m = np.exp(m_log)
    own = -(m * m_log).sum(1)
    out = np.zeros((4, len(x)))
    out[3] = -own - (m * n_log).sum(1)
    for view in views:
        v_log = log_assignment(view, TARGET)
        v = np.exp(v_log)
        h = (own - (v * v_log).sum(1)) / 2
        cross = -((m * log_assignment(view, ONLINE)).sum(1) + (v * n_log).sum(1)) / 2
        out[:3] += np.stack([cross, h, cross - h]) / len(views)
    return out


def _strangers(ws: Workspace, views: Floats, at: IntArray) -> list[float]:
    """The cross-entropy between images and the first views of others, for a few shifts of the rows."""
    rng = ws.rng(6101)
    some = rng.permutation(at.size)[:PAIR_ROWS]
    x, v = ws.x[at[some]], views[0][some]
    m, n_log = np.exp(log_assignment(x, TARGET)), log_assignment(x, ONLINE)
    w, w_log = np.exp(log_assignment(v, TARGET)), log_assignment(v, ONLINE)
    found = []
    for shift in rng.integers(1, some.size, ws.config.null_draws):
        other = np.roll(np.arange(some.size), shift)
        cross = np.einsum("nd,nd->", m, w_log[other]) + np.einsum("nd,nd->", w[other], n_log)
        found.append(float(-cross / 2 / some.size))
    return found


@metric(
    MetricSpec(
        name="neighbor_agreement_excess",
        family="similarity",
        title="Nearest neighbor beyond chance",
        meaning="high: the nearest other image would be a good positive, as it is of the same class",
        formula="P@1 - sum_c n_c (n_c - 1) / (N (N - 1)); P@k for k = 5, 10, 20 in the table",
        source="ours; nearest neighbors as positives are what several similarity losses rest on",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=-1,
        high=1,
        unit="",
        needs=frozenset({Need.LABELS}),
        laws=COORDINATE_LAWS | {Law.ROTATION},
        cost="O(N^2 D), tiled",
        by_size=True,
    )
)
def neighbor_agreement_excess(ws: Workspace) -> MetricResult:
    """Share of samples whose nearest other sample (cosine) has their label, minus what a random other one gives.

    What methods that take nearest neighbors for positive pairs rest on. The sample itself is masked before the
    cut to k. Chance is the chance that a random *other* sample has the label, (n_c - 1)/(N - 1) for a sample of class
    c, taken off sample by sample; so per class each class has its own chance taken off. Range [-1, 1], below 1 by
    the chance. Grows with N, as neighbors come closer: compare at equal N. A class of one sample counts as 0.

    The table has k = 1, 5, 10, 20 as far as neighbors were searched. Interval: bootstrap over samples on a fixed
    graph. Null: labels permuted on the same graph (near 0). Invariant to sample order, rotation and scale.
    O(N^2 D) time, shared with the other neighbor measures.

    Four samples in two far pairs, each pair of one class: P@1 = 1, chance 1/3, value 2/3.
    """
    graph = ws.neighbors[1]
    n = len(ws)

    def agreement(labels: IntArray, k: int) -> Doubles:
        return np.asarray((labels[graph[:, :k]] == labels[:, None]).mean(1))

    chance = (np.bincount(ws.labels, minlength=ws.k)[ws.labels] - 1) / (n - 1)
    table: list[Row] = []
    for k in (k for k in (1, 5, 10, 20) if k <= graph.shape[1]):
        hits = agreement(ws.labels, k)
        ends = resample.percentile_interval(resample.weighted_means(hits - chance, ws.draws))
        low, high = ends or (None, None)
        mean, by_chance, excess = (float(v.mean()) for v in (hits, chance, hits - chance))
        table.append(
            {"k": k, "agreement": mean, "chance": by_chance, "excess": excess, "low": low, "high": high}
        )
    found = sample_mean(
        ws,
        agreement(ws.labels, 1) - chance,
        null_draws=[float((agreement(ws.labels[p], 1) - chance[p]).mean()) for p in ws.permuted],
        null_name=PERMUTED,
        per_class=True,
        note=_lonely(ws),
    )
    parameters = {"k": 1, "chance": float(chance.mean()), "samples": n}
    return replace(found, table=tuple(table), parameters=parameters)


def _lonely(ws: Workspace) -> str | None:
    small = int((np.bincount(ws.labels, minlength=ws.k) == 1).sum())
    return f"{small} classes have a single sample, which no neighbor can match." if small else None
