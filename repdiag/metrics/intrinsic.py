"""Local geometry: how many dimensions a neighborhood has, and whether few samples are everybody's neighbor.

Label-free, on unit rows, from the neighbor graph that the workspace has already. (science section 5)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repdiag.kernels import neighbors, resample, rows
from repdiag.kernels.rows import Doubles
from repdiag.metrics import metric
from repdiag.metrics._answers import GAUSSIAN, interval, null
from repdiag.metrics.spectrum import ALL_LAWS, values_only
from repdiag.types import Direction, FloatArray, IntArray, MetricResult, MetricSpec, Status
from repdiag.workspace import Skip, Workspace

KEPT = 0.9
FEWEST = 10
FEWEST_GROUPS = 20
HUB_NEIGHBORS = 10
NULL_ROWS = 5000
NULL_DRAWS = 2


def _draws(ws: Workspace) -> resample.Counts:
    """Bootstrap draws (B, N) that know no labels: within classes of one sample nothing would be drawn."""
    n = len(ws.draws)
    return ws.once(
        "draws without labels",
        lambda: (
            resample.stratified_counts(np.zeros(len(ws), np.int64), n, ws.rng(41)) if ws.labeled else ws.draws
        ),
    )


def _draws_of_groups(ws: Workspace, nearest: IntArray) -> resample.Counts:
    """Bootstrap draws (B, N) of whole components of the graph that joins each row with its `nearest` (N,) other.

    No draw (B = 0) where there are fewer than 20 components.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    every = np.arange(len(ws))
    graph = csr_matrix((np.ones(len(ws)), (every, nearest)), shape=(len(ws), len(ws)))
    groups, member = connected_components(graph, directed=False)
    some = len(ws.draws) if groups >= FEWEST_GROUPS else 0
    drawn = resample.stratified_counts(np.zeros(groups, np.int64), some, ws.rng(42))
    return np.asarray(drawn[:, member])


# ------------------------------------------------------------------------------------------ TwoNN


def _distances(x: FloatArray, of: IntArray, to: IntArray) -> Doubles:
    """Euclidean distances (M, k) of rows `of` (M,) to rows `to` (M, k), in float64.

    From differences, not from cosines: near 1 a float32 cosine has no digits left for a small distance.
    """
    out = np.empty(to.shape)
    for block in rows.blocks(len(of), x.shape[1] * 8 * to.shape[1]):
        gap = x[to[block]].astype(np.float64)
        gap -= x[of[block], None]
        out[block] = np.sqrt(np.einsum("nkd,nkd->nk", gap, gap))
    return out


def _two_nearest(x: FloatArray, of: IntArray, to: IntArray) -> tuple[Doubles, Doubles, np.ndarray]:
    """r1, r2 (M,), the two smallest distinct distances above zero (inf where there are none), and whether a row is
    the first of its copies (M,)."""
    distance = _distances(x, of, to)
    first = ~((distance == 0) & (to < of[:, None])).any(1)
    away = np.where(distance > 0, distance, np.inf)
    r1 = away.min(1)
    with np.errstate(invalid="ignore"):
        r2 = np.where(away > r1[:, None] * (1 + 1e-9), away, np.inf).min(
            1
        )  # copies of a neighbor tie with it
    return r1, r2, first


def neighbor_ratios(x: FloatArray, nearest: IntArray) -> tuple[Doubles, IntArray]:
    """r2 / r1 (M,), each row's second against its first distance to another row, and the M rows.

    `nearest` (N, k) are the nearest other rows, best first. Copies of a row count once: one row of each group of
    copies is kept, and none is its own group's neighbor. Rows whose k neighbors are all copies are left out.
    """
    every = np.arange(len(x))
    r1, r2, first = _two_nearest(x, every, nearest[:, :4])
    again = np.flatnonzero(~np.isfinite(r2))  # four neighbors held too many copies: look at all of them
    if again.size:
        r1[again], r2[again], first[again] = _two_nearest(x, again, nearest[again])
    known = np.flatnonzero(first & np.isfinite(r2))
    return r2[known] / r1[known], known


def two_nn(log_ratio: Doubles, counts: Doubles | None = None) -> float:
    """Slope through 0 of -log(1 - F) against log(r2/r1), F = i/n over the sorted ratios, the largest tenth dropped.

    `log_ratio` (n,) must be sorted; `counts` (n,) says how often each is taken (a bootstrap draw).
    """
    if counts is None:
        share = np.arange(1, log_ratio.size + 1) / log_ratio.size
        counts = np.ones(log_ratio.size)
    else:  # copies of one ratio take ranks in a row: their mean rank
        upper = np.cumsum(counts)
        share = (upper - (counts - 1) / 2) / max(upper[-1], 1.0)
    keep = share <= KEPT
    x, y, w = log_ratio[keep], -np.log1p(-share[keep]), counts[keep]
    square = float((w * x * x).sum())
    return float((w * x * y).sum()) / square if square > 0 else float("nan")


@metric(
    MetricSpec(
        name="twonn_dimension",
        family="spectrum",
        title="Intrinsic dimension (TwoNN)",
        meaning="high: seen from one sample, the others lie in many directions; low: on a curve or a thin sheet",
        formula="slope through 0 of -log(1 - F(mu)) against log mu, mu = r2/r1, F its empirical distribution, "
        "the largest 10 % of mu dropped",
        source="Facco et al. 2017, Scientific Reports 7:12140",
        status=Status.PUBLISHED,
        direction=Direction.NEITHER,
        low=0,
        high=float("inf"),
        unit="dimensions",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(ND) beside the neighbors",
        by_size=True,
    )
)
def twonn_dimension(ws: Workspace) -> MetricResult:
    """How many dimensions a small neighborhood has: where density is locally even, P(r2/r1 > t) = t^-d.

    r1 and r2 are the distances to the two nearest other samples, on the unit sphere, in float64 from differences
    (the neighbors come from float32 cosines; of the nearest four the nearest two are taken). Copies count once.
    At least 10 ratios are needed. Scale is gone: rows that spread over a d-dimensional cone give d - 1.

    In [0, inf); neither direction is better: noise has many dimensions, a collapse few. Of d above about 20 it says
    too little: no affordable N fills such a space, and the number climbs with N (`by_size`). Interval: bootstrap of
    groups of nearest neighbors, whose ratios hang together (single samples would give 0.7 of the true spread), the
    neighbors held fixed; none with fewer than 20 groups. Ties among distances (quantized embeddings) break its
    assumption. Ratios 2, 4, 8 (F = 1/3, 2/3, and 1 dropped):
    (log 1.5 log 2 + log 3 log 4) / (log^2 2 + log^2 4) = 0.75.
    """
    ratio, known = neighbor_ratios(ws.x, ws.neighbors[1])
    if known.size < FEWEST:
        raise Skip(f"only {known.size} samples have two neighbors that are not copies; {FEWEST} are needed")
    order = np.argsort(ratio, kind="stable")
    log_ratio, at = np.log(ratio[order]), known[order]
    value = two_nn(log_ratio)
    if not np.isfinite(value):
        raise Skip("the distances to the first and the second neighbor are equal everywhere")
    draws = _draws_of_groups(ws, ws.neighbors[1][:, 0])
    replicates = np.array([two_nn(log_ratio, counts[at].astype(np.float64)) for counts in draws])
    ends = resample.normal_interval(value, replicates)
    return MetricResult(
        value,
        interval(ends, "bootstrap over groups of nearest neighbors", len(draws)),
        parameters={
            "kept": KEPT,
            "ratios": int(known.size),
            "copies_or_undefined": len(ws) - int(known.size),
        },
        note="Moves with N, and says too little above about 20: compare at equal N only."
        + ("" if ends else f" No interval: fewer than {FEWEST_GROUPS} groups of nearest neighbors."),
    )


# ------------------------------------------------------------------------------------------ hubs


def occurrence(graph: IntArray, n: int) -> Doubles:
    """How often each of `n` rows is among the neighbors that `graph` (N, k) lists; the mean is k."""
    return np.bincount(graph.ravel(), minlength=n).astype(np.float64)


def skewness(mean: Doubles, second: Doubles, third: Doubles) -> Doubles:
    """Standardized third central moment from raw moments; NaN where there is no spread."""
    variance = second - mean**2
    central = third - 3 * mean * second + 2 * mean**3
    known = variance > 1e-12 * np.maximum(second, 1e-300)
    return np.asarray(np.where(known, central / np.where(known, variance, 1.0) ** 1.5, np.nan))


def _skew(counts: Doubles) -> float:
    moments = [np.array([(counts**p).mean()]) for p in (1, 2, 3)]
    return float(skewness(*moments)[0])


def _robin_hood(counts: Doubles) -> float:
    return float(np.abs(counts - counts.mean()).sum() / (2 * counts.sum()))


def _hub_counts(ws: Workspace) -> tuple[Doubles, int]:
    """(k-occurrence of each evaluated row (N,), k)."""
    cosine, index = ws.neighbors
    k = min(HUB_NEIGHBORS, index.shape[1])
    if k >= len(ws) - 1:
        raise Skip(
            f"{len(ws)} samples are too few: all of them are everybody's neighbor at k = {HUB_NEIGHBORS}"
        )
    if float(cosine[:, 0].min()) > 1 - 1e-6 and float(cosine[:, -1].min()) > 1 - 1e-6:
        raise Skip("all neighbors are ties: the embeddings point the same way")
    return ws.once("k-occurrence", lambda: occurrence(index[:, :k], len(ws))), k


def _structureless(ws: Workspace, k: int) -> Sequence[Doubles]:
    """k-occurrences of Gaussian rows: at most two draws of at most 5,000 rows."""

    def compute() -> list[Doubles]:
        n, found = min(len(ws), NULL_ROWS), []
        for draw in range(min(NULL_DRAWS, ws.config.null_draws)):
            x = rows.unit(ws.gaussian(draw, n))
            found.append(occurrence(neighbors.others(x, k, ws.device)[1], n))
        return found

    return () if values_only(ws) else ws.once("k-occurrence of Gaussians", compute)


def _hub_facts(ws: Workspace, counts: Doubles, k: int) -> dict[str, float | int]:
    return {
        "k": k,
        "null_rows": min(len(ws), NULL_ROWS),
        "largest": int(counts.max()),
        "never_a_neighbor": float((counts == 0).mean()),
    }


def _hub_note(ws: Workspace) -> str:
    small = f" The null has {NULL_ROWS:,} rows, fewer than the data." if len(ws) > NULL_ROWS else ""
    return f"Interval: samples are drawn, the graph stays.{small}"


@metric(
    MetricSpec(
        name="hubness_skew",
        family="spectrum",
        title="Hubness (skew of k-occurrence)",
        meaning="high: few samples are the neighbors of very many others",
        formula="E[(n - k)^3] / std(n)^3, n = how often a sample is among the k = 10 nearest of the others",
        source="Radovanović et al. 2010, JMLR 11:2487",
        status=Status.PUBLISHED,
        direction=Direction.LOWER,
        low=float("-inf"),
        high=float("inf"),
        unit="",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(Nk) beside the neighbors; null O(min(N, 5000)^2 D)",
        by_size=True,
    )
)
def hubness_skew(ws: Workspace) -> MetricResult:
    """Skewness of the k-occurrence n, k = 10 (population moments), from exact cosine neighbors, in float64.

    Near 0: everybody is chosen about as often; far above: hubs are in the lists of very many samples, others in
    none, and kNN votes hang on the hubs. Its range is (-inf, sqrt(N)); lower is better. Noise in many dimensions has
    hubs of its own: the null is the Gaussian of equal mean and covariance, at most two draws of at most 5,000 rows.
    `largest` is the strongest hub's n, `never_a_neighbor` the share of samples with n = 0; n of each sample is per
    sample. Undefined (skipped) where all n are equal, all neighbors are ties, or N <= 11. Counts 0, 0, 0, 4: 1.15.
    """
    counts, k = _hub_counts(ws)
    value = _skew(counts)
    if not np.isfinite(value):
        raise Skip("every sample is a neighbor equally often")
    powers = [resample.weighted_means(counts**p, _draws(ws)) for p in (1, 2, 3)]
    ends = resample.normal_interval(value, skewness(*powers))
    return MetricResult(
        value,
        interval(ends, "bootstrap over samples", len(ws.draws)),
        null(GAUSSIAN, [_skew(c) for c in _structureless(ws, k)]),
        per_sample=counts,
        parameters=_hub_facts(ws, counts, k),
        note=_hub_note(ws),
    )


@metric(
    MetricSpec(
        name="hubness_robin_hood",
        family="spectrum",
        title="Hubness (Robin Hood index)",
        meaning="high: a large share of all neighbor places would have to move for all samples to have equally many",
        formula="sum |n - k| / (2 N k), n = how often a sample is among the k = 10 nearest of the others",
        source="Hoover 1936; for hubness Feldbauer & Flexer 2019",
        status=Status.PUBLISHED,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="share",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(Nk) beside the neighbors; null O(min(N, 5000)^2 D)",
        by_size=True,
    )
)
def hubness_robin_hood(ws: Workspace) -> MetricResult:
    """Hoover's index of inequality of the k-occurrence n, in [0, 1): half its mean absolute deviation over its mean.

    Less driven by the single strongest hub than the skew, and bounded; lower is better. A random graph has about
    0.125 at k = 10 (Poisson), so no real graph reaches 0. Null, interval and skipped cases as `hubness_skew`.
    Counts 0, 0, 0, 4: 0.75.
    """
    counts, k = _hub_counts(ws)
    moved = np.abs(counts - k) / (2 * k)  # the mean of n is k
    ends = resample.percentile_interval(resample.weighted_means(moved, _draws(ws)))
    return MetricResult(
        float(moved.mean()),
        interval(ends, "bootstrap over samples", len(ws.draws)),
        null(GAUSSIAN, [_robin_hood(c) for c in _structureless(ws, k)]),
        per_sample=moved,
        parameters=_hub_facts(ws, counts, k),
        note=_hub_note(ws),
    )
