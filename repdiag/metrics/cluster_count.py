"""Stability at half, once and twice as many clusters: does the answer hang on k? (science section 3)"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from repdiag.kernels import resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, interval, known_mean, null
from repdiag.metrics._clusters import (
    ari,
    cluster_into,
    column_means,
    replicates,
    some_rows,
    spec,
    z_score,
)
from repdiag.metrics.prediction_strength import lowest, strengths
from repdiag.metrics.stability import structureless
from repdiag.types import DoubleArray, FloatArray, IntArray, MetricResult, Row
from repdiag.workspace import Skip, Workspace

LONGEST = 20e9
"""Rows * features * clusters of one k-means beyond which a k is left out."""


def _counts(ws: Workspace, n: int) -> tuple[list[int], str]:
    """The k to try (half, once and twice the k of this report), and which are left out and why."""
    c = ws.n_clusters
    keep, notes = [], []
    for k in sorted({max(2, c // 2), c, 2 * c}):
        if k != c and n < 10 * k:
            notes.append(f"k = {k} is left out: fewer than 10 rows per cluster.")
        elif k != c and n * ws.dim * k > LONGEST:
            notes.append(f"k = {k} is left out: too long at {n} rows of {ws.dim} features.")
        else:
            keep.append(k)
    return keep, " ".join(notes)


def _runs(ws: Workspace, x: FloatArray, k: int, seeds: int) -> list[IntArray]:
    """Clusters of `x` into k from each of several seeds."""
    if len(x) == len(ws) and k == ws.n_clusters:
        return [c.labels for c in ws.clusterings[:seeds]]
    first = ws.config.seed * 1000
    return [cluster_into(ws, x, k, first + s).labels for s in range(seeds)]


def _chance(ws: Workspace, n: int, k: int, draws: int) -> DoubleArray:
    """ARI between two seeds on each structureless draw of n rows (draws,)."""
    found = []
    for d in range(draws):
        if n == len(ws):
            draw = structureless(ws)[d]
            if k == ws.n_clusters:
                found.append(ari(draw.runs[0].labels, draw.runs[1].labels))
                continue
            x = draw.rows(ws)
        else:
            x = ws.gaussian(d, n)
        found.append(ari(cluster_into(ws, x, k, 2 * d).labels, cluster_into(ws, x, k, 2 * d + 1).labels))
    return np.array(found)


def _mean_ari(runs: list[IntArray]) -> tuple[float, DoubleArray]:
    """Mean ARI over pairs of runs, and the same without each run (of at least three)."""
    pair = {(i, j): ari(runs[i], runs[j]) for i, j in combinations(range(len(runs)), 2)}
    without = [np.mean([v for p, v in pair.items() if s not in p]) for s in range(len(runs))]
    return float(np.mean(list(pair.values()))), np.array(without)


@metric(
    spec(
        "cluster_count_sweep",
        "Steadier than no structure, at some number of clusters",
        "high: at half, once or twice the number of clusters, k-means is steadier than on structureless data",
        "max over k in {C/2, C, 2C} of (mean ARI between seeds - the same on Gaussian rows)",
        "ours; ARI: Hubert & Arabie 1985; prediction strength: Tibshirani & Walther 2005",
        "O(3 * (seeds + 2 draws) * iterations * min(N, 20000) D 2C)",
        low=-1.5,
        high=1.5,
    ),
    rows=Rows.GIVEN,
)
def cluster_count_sweep(ws: Workspace) -> MetricResult:
    """High: at one of three numbers of clusters, k-means is steadier than on structureless data.

    For k in {C/2, C, 2C}, C the k of this report: s_k = mean ARI over pairs of k-means seeds, g_k = mean over draws
    of the ARI between two seeds on Gaussian rows of equal mean and covariance. The value is the largest excess
    max_k (s_k - g_k), in ARI, within [-1.5, 1.5]; higher is better. Ours. No z: a standard deviation over a few draws
    of the null is no unit. The largest of three flatters, so the null takes the largest of three as well. The least
    would punish structure: asked for half as many clusters as there are, k-means joins them at random, and is then
    *less* steady than on a Gaussian cloud, whose long axes it halves again and again.

    **Do not choose k by stability alone**: too few clusters are stable too, and the table, not the value, is what to
    read. It has for each k: seed_ari, the null's mean and standard deviation, z (an order of magnitude), label_ari
    against the labels as they are (k need not be their number), prediction strength (mean and minimum, one split).
    Tibshirani & Walther take the largest k whose prediction strength is at least 0.8 to 0.9; it is shown, not applied.

    At most 20,000 rows; seeds and draws fall, to 3 and 2 at least, where N D k exceeds 10^9 at the largest k; a k other
    than C below 10 rows per cluster, or above 2 * 10^10 for N D k, is left out and named. Interval: jackknife over
    seeds, the maximum taken anew each time, the null held fixed. Null: each draw's own excess over the other draws,
    maximum over k. Skipped below three seeds or two draws. Order of samples only. Example: seed ARI 0.5, 0.6, 0.4
    against 0.1, 0.2, 0.3: 0.4.
    """
    if len(ws.clusterings) < 3:
        raise Skip("needs at least three k-means seeds")
    if ws.config.null_draws < 2:
        raise Skip("needs at least two draws of the null")
    some = some_rows(ws, 4003)
    x = ws.space if some.size == len(ws) else ws.space[some]
    counts, left_out = _counts(ws, len(x))
    draws = replicates(len(x), ws.dim, counts[-1], min(3, ws.config.null_draws))
    seeds = replicates(len(x), ws.dim, counts[-1], len(ws.clusterings), least=3)
    table: list[Row] = []
    excess, without, chance = [], [], []
    for k in counts:
        runs, g = _runs(ws, x, k, seeds), _chance(ws, len(x), k, draws)
        value, each = _mean_ari(runs)
        mean, std = float(g.mean()), float(g.std(ddof=1))
        excess.append(value - mean)
        without.append(each - mean)
        chance.append((g - mean) * draws / (draws - 1))  # a draw less the mean of the others
        row: dict[str, float | int | None] = {
            "k": k,
            "seed_ari": value,
            "null_mean": mean,
            "null_std": std,
            "z": z_score(value, mean, std),
        }
        if ws.labeled:
            row["label_ari"] = float(np.mean([ari(ws.labels[some], r) for r in runs]))
        table.append(row | _predicted(ws, x, k))
    value = max(excess)
    return MetricResult(
        value,
        interval(
            resample.jackknife_interval(value, np.max(without, axis=0)), "jackknife over k-means seeds", seeds
        ),
        null(GAUSSIAN, np.max(chance, axis=0)),
        table=tuple(table),
        parameters={"k": counts, "samples": len(x), "seeds": seeds, "null_draws": draws},
        note=" ".join(filter(None, ["Do not choose k by stability alone.", left_out])),
    )


def _predicted(ws: Workspace, x: FloatArray, k: int) -> dict[str, float | None]:
    """Prediction strength of one split at k: mean and minimum over clusters, mean over both halves."""
    if len(x) < 4 * k:
        return {"prediction_strength": None, "prediction_strength_min": None}
    own = strengths(ws, x, k, range(2000, 2001))[0]
    found = known_mean(column_means(own.T)), known_mean(lowest(own))
    mean, least = (v if np.isfinite(v) else None for v in found)
    return {"prediction_strength": mean, "prediction_strength_min": least}
