"""Neural collapse: has each class shrunk to a point, and do the points form a simplex? (science section 2)

Papyan, Han & Donoho 2020 describe four limits of a *supervised* network trained past zero error, on its training
data. Here they are distances from those limits, of a frozen encoder, on evaluated rows: an encoder trained without
labels is not expected to reach them, and nearer is not better for transfer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.kernels import classes
from repdiag.kernels.rows import Doubles, Floats, blocks
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, null, sample_mean, singletons
from repdiag.metrics._centers import nearest_centers
from repdiag.metrics._class_geometry import from_geometry, influence_interval, known_rows, some_permuted
from repdiag.metrics._duality import duality, permuted_probes, probe_weights
from repdiag.metrics.crowding import COSINE_LAWS, LABELS
from repdiag.types import Direction, IntArray, Law, MetricResult, MetricSpec, Status
from repdiag.workspace import Skip, Workspace

PAPYAN = "Papyan, Han & Donoho 2020, arXiv 2008.08186"
PROBE_LAWS = frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER})
FLOOR = 1e-10
"""Directions in which centers vary less than this share of the largest are rounding of float32 rows, and left out."""


@dataclass(frozen=True)
class Between:
    """pinv(S_B) = V diag(1/values) V' from class `means` (K, D) around their mean `grand` (D,)."""

    means: Doubles
    grand: Doubles
    vectors: Doubles  # V (D, r), orthonormal
    values: Doubles  # (r,)


def _between(means: Doubles) -> Between | None:
    """Eigenvectors of S_B = mean_c (mu_c - mu_G)(mu_c - mu_G)'; None where all centers coincide."""
    grand = means.mean(0)
    spread = (means - grand) / np.sqrt(len(means))
    wide = len(means) <= means.shape[1]
    values, vectors = np.linalg.eigh(spread @ spread.T if wide else spread.T @ spread)
    least = max(FLOOR * values[-1], classes.COINCIDENT**2 * float((means**2).sum(1).max()))
    kept = values > least
    if not kept.any():
        return None
    values, vectors = values[kept], vectors[:, kept]
    return Between(means, grand, spread.T @ vectors / np.sqrt(values) if wide else vectors, values)


def _traces(x: Floats, y: IntArray, b: Between) -> Doubles:
    """||pinv(S_B)^(1/2) (x_i - mu_c)||^2 for each row (N,)."""
    out = np.empty(len(x))
    half = b.vectors / np.sqrt(b.values)
    thin = half.astype(np.float32)
    own = (b.means - b.grand) @ half
    grand = b.grand.astype(np.float32)
    for block in blocks(len(x), (x.shape[1] + 4 * half.shape[1]) * 4):
        out[block] = (((x[block] - grand) @ thin - own[y[block]]) ** 2).sum(1)
    return out


def _influence(x: Floats, y: IntArray, b: Between, traces: Doubles, sizes: Doubles) -> Doubles:
    """How tr(S_W pinv(S_B)) moves with each row's weight (N,), up to a constant within each class.

    The row moves S_W, and, through its class's center, S_B; pinv is differentiated at constant rank.
    """
    k, v = len(b.means), b.vectors
    within = np.zeros_like(v)  # S_W V
    thin, grand = v.astype(np.float32), b.grand.astype(np.float32)
    at = (b.means - b.grand) @ v
    for block in blocks(len(x), (x.shape[1] + 4 * v.shape[1]) * 4):
        relative = x[block] - grand
        off = ((relative @ thin - at[y[block]]) / sizes[y[block], None]).astype(np.float32)
        within += (
            relative.T @ off / k
        )  # rows are relative to mu_G, `off` sums to 0 in each class: same as x - mu_c
    inside = v.T @ within
    toward = (at / b.values**2) @ within.T  # S_W pinv(S_B)^2 (mu_c - mu_G), by rows
    move = toward - toward @ v @ v.T - (at / b.values) @ inside.T / b.values @ v.T
    return (traces + 2 * _own_dot(x, y, move)) / (k * sizes[y])


def _own_dot(x: Floats, y: IntArray, vectors: Doubles) -> Doubles:
    """x_i' v_c with c the row's class (N,)."""
    out = np.empty(len(x))
    for block in blocks(len(x), x.shape[1] * 16):
        out[block] = np.einsum("nd,nd->n", x[block], vectors[y[block]])
    return out


@metric(
    MetricSpec(
        name="nc1",
        family="crowding",
        title="NC1: spread within / between",
        meaning="high: samples spread, along the directions in which centers differ, more than the centers do",
        formula="tr(S_W pinv(S_B)) / K",
        source=PAPYAN,
        status=Status.PUBLISHED,
        direction=Direction.LOWER,
        low=0,
        high=float("inf"),
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(NDK + K^2 D)",
        by_size=True,
    ),
    rows=Rows.GIVEN,
)
def nc1(ws: Workspace) -> MetricResult:
    """Within-class over between-class covariance, in [0, inf); lower is more collapsed, 0 is full collapse.

    S_W = mean_c Sigma_c (population form) and S_B = mean_c (mu_c - mu_G)(mu_c - mu_G)', mu_G the mean of the centers,
    of the K classes with two evaluated samples or more; classes weigh alike. The /K is a convention that keeps the
    number from growing with the rank K - 1 of S_B; published numbers exist with and without it. pinv drops directions
    below 1e-10 of the largest eigenvalue; products of rows in float32, sums in float64.

    The direction in which centers differ *least* weighs most (1/eigenvalue), and there the noise of the centers, about
    Sigma_c / n_c, takes the place of their distances. So with few samples per class NC1 saturates: random labels give
    about N / D where rows vary alike in all directions, more where they do not (the null), and weak encoders come near
    it. Read the cross-fitted `directional_cdnv` beside it, and compare at equal N and K only. Skipped when D >= N - 1,
    where the centers explain anything.
    `per_class`: tr(Sigma_c pinv(S_B)) / K. Interval: infinitesimal jackknife. O(NDK + K^2 D + K^3) time. Classes of
    no spread: 0.
    """
    chosen = known_rows(ws)
    x, y = (ws.space, ws.labels) if chosen is None else (ws.space[chosen], ws.labels[chosen])
    n, d = x.shape
    if d >= n - 1:
        raise Skip(f"{d} features of {n} samples: NC1 needs more samples than features")
    present = np.unique(y)
    if present.size < 2:
        raise Skip("fewer than two classes have two samples")
    y, k = np.searchsorted(present, y), int(present.size)
    sizes = np.bincount(y).astype(np.float64)

    def class_values(labels: IntArray) -> tuple[Between, Doubles, Doubles] | None:
        between = _between(classes.class_means(x, labels, k)[0])
        if between is None:
            return None
        traces = _traces(x, labels, between)
        return between, traces, np.bincount(labels, weights=traces) / sizes / k

    found = class_values(y)
    if found is None:
        raise Skip("all class centers coincide")
    between, traces, by_class = found
    value = float(by_class.mean())
    rng, nulls = ws.rng(64), []
    for _ in some_permuted(ws, float(n) * d * k):
        drawn = class_values(rng.permutation(y))
        nulls.append(float("nan") if drawn is None else float(drawn[2].mean()))
    per_class = np.full(ws.k, np.nan)
    per_class[present] = by_class
    return MetricResult(
        value,
        influence_interval(value, _influence(x, y, between, traces, sizes) / k, y, k),
        null(PERMUTED, nulls),
        per_class=per_class,
        parameters={"classes": k, "rank": int(between.values.size), "samples": n},
        note=singletons(ws),
    )


@metric(
    MetricSpec(
        name="nc2_equinorm",
        family="crowding",
        title="NC2: unequal lengths of centers",
        meaning="high: some class centers lie much further from the middle than others",
        formula="std_c ||mu_c - mu_G|| / mean_c ||mu_c - mu_G||",
        source=PAPYAN,
        status=Status.PUBLISHED,
        direction=Direction.NEITHER,
        low=0,
        high=float("inf"),
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
    ),
    rows=Rows.GIVEN,
)
def nc2_equinorm(ws: Workspace) -> MetricResult:
    """Coefficient of variation of the centers' distances from their mean mu_G, in [0, inf); 0 in a simplex.

    Population std, float64; classes weigh alike, those with fewer than two evaluated samples are left out. It says
    nothing of how far apart classes are: random labels, whose centers are noise of equal size, score near 0, *better*
    than real classes. So a low value means something only beside a low `nc1`, and no direction is declared. With
    unequal classes the noise in the centers of small ones lengthens those. Skipped for two classes (always 0) and when
    all centers coincide. Interval: bootstrap standard error. O(ND + K^2 D) time. Centers at 0, 3, 3 on a line lie 2, 1
    and 1 from the middle: std 0.471 over mean 1.333 = 0.354.
    """
    return from_geometry(
        ws, "nc2_equinorm", given=True, undefined="needs three classes of two samples whose centers differ"
    )


@metric(
    MetricSpec(
        name="nc2_equiangle",
        family="crowding",
        title="NC2: unequal angles of centers",
        meaning="high: some pairs of class centers point in much the same direction, seen from the middle",
        formula="mean over c != c' of |cos(mu_c - mu_G, mu_c' - mu_G) + 1/(K - 1)|",
        source=PAPYAN,
        status=Status.PUBLISHED,
        direction=Direction.NEITHER,
        low=0,
        high=2,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
    ),
    rows=Rows.GIVEN,
)
def nc2_equiangle(ws: Workspace) -> MetricResult:
    """Mean distance of the cosines between centered class means from a simplex's -1/(K - 1), in [0, 2]; 0 in a simplex.

    K classes with two evaluated samples or more, weighing alike; float64. Skipped when D < K - 1, where no simplex of
    K corners fits into the space; for two classes, where it is always 0; and where a center is at their mean. As for
    `nc2_equinorm` random labels come near 0 once D is large (noise has nearly orthogonal directions), so the null is
    *below* the value of a real encoder whose classes have a hierarchy: no direction is declared. Interval: bootstrap
    standard error. O(ND + K^2 D) time. Three centers on a circle at 0, 120, 240 degrees: 0; at 0, 90, 180: 0.22.
    """
    present = ws.space_geometry.known.size
    if ws.dim < present - 1:
        raise Skip(f"a simplex of {present} classes needs {present - 1} features, and there are {ws.dim}")
    return from_geometry(
        ws,
        "nc2_equiangle",
        given=True,
        undefined="needs three classes of two samples whose centers differ, none of them at the mean of all",
    )


@metric(
    MetricSpec(
        name="nc3",
        family="crowding",
        title="NC3: probe weights against centers",
        meaning="high: the linear probe separates classes along other directions than those of their centers",
        formula="||W'/||W||_F - M/||M||_F||_F^2, W the probe's weights, M the centered class means",
        source=PAPYAN,
        status=Status.ADAPTED,
        direction=Direction.NEITHER,
        low=0,
        high=4,
        unit="",
        needs=LABELS,
        laws=PROBE_LAWS,
        cost="one probe, and two small ones for the null",
    ),
    rows=Rows.GIVEN,
)
def nc3(ws: Workspace) -> MetricResult:
    """Squared distance of the probe's weights from the class means, both of norm 1, in [0, 4]; 0 is self-dual.

    2 - 2 cos of the two as vectors of K x D numbers. W belongs to a linear probe fitted once on all reference rows at
    the L2 strength of the `linear_probe` metrics; M holds the means of the evaluated rows' classes minus their mean;
    W is centered over classes as well, which changes none of its answers. Ours: the source has the network's own last
    layer, here it is a probe; and both are taken in features standardized as the probe sees them, for its L2 penalty
    acts there (the reason why a rotation changes it).

    A strong L2 penalty drives W to M on *any* data, so the number tells as much of the penalty as of the encoder: read
    it with `parameters["l2"]`, and beside the null, probes at the same strength on permuted labels of at most 2,000
    rows of at most 50 classes. Not comparable where the strengths differ; no direction is declared. Classes with fewer
    than two evaluated samples are left out. Interval: infinitesimal jackknife of the means, the probe held. Cost: one
    probe on the reference rows (about a fifth of what the cross-fitted probe takes). A simplex without spread: 0.
    """
    model, l2 = probe_weights(ws)
    chosen = known_rows(ws)
    x, y = (ws.space, ws.labels) if chosen is None else (ws.space[chosen], ws.labels[chosen])
    if np.unique(y).size < 2:
        raise Skip("fewer than two classes have two samples")
    found = duality(model, x, y, ws.k)
    if found is None:
        raise Skip("the probe's weights, or the differences of the class means, are all zero")
    move = found.gradient / model.scale
    influence = _own_dot(x, y, move) / np.bincount(y, minlength=ws.k)[y]
    return MetricResult(
        found.value,
        influence_interval(found.value, influence, y, ws.k),
        null(PERMUTED, (drawn.duality for drawn in permuted_probes(ws))),
        parameters={"l2": l2, "classes": int(np.unique(y).size)},
        note=singletons(ws),
    )


@metric(
    MetricSpec(
        name="nc4",
        family="crowding",
        title="NC4: probe agrees with centers",
        meaning="high: the linear probe decides as if it looked for the nearest class center",
        formula="share of samples for which argmax of the probe = nearest class center, both out of fold",
        source=PAPYAN,
        status=Status.ADAPTED,
        direction=Direction.NEITHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=PROBE_LAWS,
        cost="the linear probe, and two small ones for the null",
    ),
    rows=Rows.GIVEN,
)
def nc4(ws: Workspace) -> MetricResult:
    """Share of evaluated samples that the linear probe and the nearest class center give the same class, in [0, 1].

    Both learn from the train part, or out of fold without a split, and are asked about rows they have not seen: the
    adaptation of a limit that the source measures on training data with the network's own last layer. Two bad rules
    may agree, and agreement is not accuracy: 1 means that a probe adds nothing to the centers, lower values that it
    finds directions beyond them; no direction is declared. Samples weigh alike. `per_class`: the share within a
    class. Null: probes at the same L2 strength and centers from permuted labels of at most 2,000 rows of at most 50
    classes, asked about other rows. Interval: bootstrap over samples. Cost: that of the probe. A simplex: 1.
    """
    agree = (ws.probe.prediction == nearest_centers(ws)).astype(np.float64)
    return sample_mean(
        ws,
        agree,
        null_draws=[drawn.agreement for drawn in permuted_probes(ws)],
        per_class=True,
        parameters={"l2": ws.probe.l2},
    )
