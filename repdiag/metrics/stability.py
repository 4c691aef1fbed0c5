"""Does k-means find the same clusters again: from another start, and from other samples? (science section 3)

Stable is not correct, and one cluster too few is stable too: every number stands beside what a structureless
Gaussian of the same mean and covariance gives. k-means with one initialization per seed, on unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from repdiag.kernels import kmeans, resample, rows
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, interval, null
from repdiag.metrics._clusters import CAP, ari, replicates, spec, z_score
from repdiag.types import FloatArray, IntArray, MetricResult, Null, Row
from repdiag.workspace import Skip, Workspace

KEEP = 2**29
"""Bytes of Gaussian rows that are kept for the metrics after; beyond, each draws them again."""

ISOTROPIC = "isotropic Gaussian of equal mean and total variance"

Pair = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class Draw:
    """One Gaussian draw without clusters, clustered from two seeds."""

    number: int
    runs: tuple[kmeans.Clustering, kmeans.Clustering]
    kept: FloatArray | None

    def rows(self, ws: Workspace) -> FloatArray:
        """Its rows (N, D): kept, or the same ones drawn again."""
        return ws.gaussian(self.number) if self.kept is None else self.kept


def structureless(ws: Workspace) -> tuple[Draw, ...]:
    """Gaussian null draws of the mean and covariance of the rows, each clustered from two seeds."""

    def compute() -> tuple[Draw, ...]:
        keep = ws.config.null_draws * len(ws) * ws.dim * 4 <= KEEP
        draws = []
        for d in range(ws.config.null_draws):
            x = ws.gaussian(d)
            runs = ws.cluster(x, 2 * d), ws.cluster(x, 2 * d + 1)
            draws.append(Draw(d, runs, x if keep else None))
        return tuple(draws)

    return ws.once("structureless", compute)


def _isotropic(ws: Workspace) -> list[float]:
    """ARI between two seeds on each draw of Gaussian rows that spread alike in all directions."""
    n = min(len(ws), CAP)
    mean = ws.space.mean(0, dtype=np.float64)
    square = sum(float(((ws.space[b] - mean) ** 2).sum()) for b in rows.blocks(len(ws), ws.dim * 8))
    std, center = np.float32(np.sqrt(square / (len(ws) * ws.dim))), mean.astype(np.float32)
    found = []
    for d in range(replicates(n, ws.dim, ws.n_clusters, min(3, ws.config.null_draws), least=0)):
        x = center + std * ws.rng(4000 + d).standard_normal((n, ws.dim), dtype=np.float32)
        found.append(ari(ws.cluster(x, 2 * d).labels, ws.cluster(x, 2 * d + 1).labels))
    return found


def _beside(value: float, found: Null | None) -> list[Row]:
    if found is None:
        return []
    z = z_score(value, found.mean, found.std)
    return [{"null": found.name, "mean": found.mean, "std": found.std, "z": z, "draws": found.n}]


@metric(
    spec(
        "seed_ari",
        "Same clusters from another seed",
        "high: k-means finds the same clusters whatever its start",
        "mean adjusted Rand index over pairs of k-means seeds, n_init = 1",
        "von Luxburg 2010, arXiv 1007.1075; ARI: Hubert & Arabie 1985",
        "O(seeds * iterations * NDk)",
        headline=True,
    ),
    rows=Rows.GIVEN,
)
def seed_ari(ws: Workspace) -> MetricResult:
    """High: k-means ends in the same clusters whatever its start.

    Mean of ARI(c_s, c_t) over all pairs of seeds s < t, c_s the clusters of the N rows from k rows drawn with seed
    s. Labels (N,) int64, sums in float64. In [-0.5, 1]; 1 is perfectly stable, higher is steadier.
    von Luxburg 2010 argues what stability can tell (summary only); the protocol is ours.

    The interval is a jackknife over seeds (pairs share runs): it covers the start, not the choice of samples. Null:
    the same for two seeds on Gaussian rows of equal mean and covariance. The table adds isotropic Gaussian rows (same
    mean and total variance, at most 20,000 of them, up to 3 draws): k-means splits an elongated cloud without
    clusters along its long axes, and does so again and again, which only the covariance-matched null tells from
    clusters. The matched null has a limit too: two clusters make one long axis, which a Gaussian of their covariance
    has as well, so that with k = 2 it shows nothing left over. z over so few draws is an order of magnitude, no test.

    A stable answer can be stably wrong (see `label_ari`). Skipped below three seeds and for N < 2k. Rotation, scale
    and order of features leave all distances alone, yet rounding moves ties. Example: clusters {1,2},{3,4} from one
    seed and {1,2},{3,4} from the next: 1; {1,3},{2,4} from the next: -0.5.
    """
    runs = [c.labels for c in ws.clusterings]
    if len(runs) < 3:
        raise Skip("needs at least three k-means seeds")
    pair = {(i, j): ari(runs[i], runs[j]) for i, j in combinations(range(len(runs)), 2)}
    value = float(np.mean(list(pair.values())))
    without = np.array([np.mean([v for p, v in pair.items() if s not in p]) for s in range(len(runs))])
    matched = null(GAUSSIAN, (ari(a.labels, b.labels) for a, b in (d.runs for d in structureless(ws))))
    return MetricResult(
        value,
        interval(resample.jackknife_interval(value, without), "jackknife over k-means seeds", len(runs)),
        matched,
        table=(*_beside(value, matched), *_beside(value, null(ISOTROPIC, _isotropic(ws)))),
        parameters={"k": ws.n_clusters, "seeds": len(runs)},
    )


def _pair(ws: Workspace, x: FloatArray, draw: int, share: float = 0.8) -> Pair:
    """Clusters of the rows that two random parts of `x` share, each part clustered on its own."""
    rng = ws.rng(200 + draw)
    parts = [np.sort(rng.choice(len(x), int(share * len(x)), replace=False)) for _ in range(2)]
    labels = []
    for s, part in enumerate(parts):
        full = np.full(len(x), -1)
        full[part] = ws.cluster(x[part], 2 * draw + s).labels
        labels.append(full)
    both = (labels[0] >= 0) & (labels[1] >= 0)
    return labels[0][both], labels[1][both]


def _pairs(ws: Workspace) -> tuple[list[Pair], list[Pair]]:
    """Pairs of labelings on shared samples: of the rows, and of structureless ones."""

    def compute() -> tuple[list[Pair], list[Pair]]:
        found = [_pair(ws, ws.space, d) for d in range(max(2, ws.config.kmeans_seeds))]
        return found, [_pair(ws, draw.rows(ws), 50 + draw.number) for draw in structureless(ws)]

    if int(0.8 * len(ws)) < 2 * ws.n_clusters:
        raise Skip(f"{len(ws)} samples are too few to subsample for {ws.n_clusters} clusters")
    return ws.once("subsample pairs", compute)


def _over_pairs(ws: Workspace, agreement: Callable[[IntArray, IntArray], float]) -> MetricResult:
    found, chance = _pairs(ws)
    values = np.array([agreement(a, b) for a, b in found])
    return MetricResult(
        float(values.mean()),
        interval(resample.mean_interval(values), "t over pairs of subsamples", values.size),
        null(GAUSSIAN, (agreement(a, b) for a, b in chance)),
        parameters={"k": ws.n_clusters, "share": 0.8, "pairs": values.size},
    )


@metric(
    spec(
        "subsample_ari",
        "Same clusters from other samples",
        "high: clusters found on one random part of the data are found on another",
        "mean ARI on the intersection of two 80 % subsamples, clustered separately",
        "Ben-Hur, Elisseeff & Guyon 2002",
        "O(pairs * iterations * NDk)",
    ),
    rows=Rows.GIVEN,
)
def subsample_ari(ws: Workspace) -> MetricResult:
    """High: clusters found on one random part of the data are found again on another.

    Two subsamples of 80 % without replacement, each clustered from a seed of its own; ARI of the two labelings on
    the samples they share (64 % of N), mean over as many pairs as k-means seeds. In [-0.5, 1], higher is steadier.
    Ben-Hur et al. 2002 (summary only), with ARI for their similarity. The parts differ in samples *and* seed: the
    number holds both kinds of noise. t interval over pairs; null: Gaussian draws, one pair each. Skipped when 80 %
    are fewer than 2k rows. Example: both parts put the shared samples 1, 2 | 3 apart alike: 1.
    """
    return _over_pairs(ws, ari)


@metric(
    spec(
        "subsample_fowlkes_mallows",
        "Same clusters from other samples (Fowlkes-Mallows)",
        "high: two samples together in a cluster of one random part are together in that of another",
        "TP / sqrt((TP + FP)(TP + FN)) over pairs of shared samples, mean over pairs of 80 % subsamples",
        "Fowlkes & Mallows 1983; Ben-Hur, Elisseeff & Guyon 2002",
        "O(N) after subsample_ari",
        low=0,
    ),
    rows=Rows.GIVEN,
)
def subsample_fowlkes_mallows(ws: Workspace) -> MetricResult:
    """High: samples that share a cluster on one random part of the data share one on another.

    On the samples that two 80 % subsamples have in common, TP pairs are together in both clusterings, FP only in the
    second, FN only in the first: TP / sqrt((TP + FP)(TP + FN)), the geometric mean of the two shares of pairs that
    stay together; mean over the pairs of subsamples of `subsample_ari`. In [0, 1], higher is steadier.

    Fowlkes & Mallows 1983 (first paper not re-read). **Not corrected for chance**: it is about 1/k for unrelated
    clusters of equal size and rises to 1 when one cluster holds nearly all, so never compare it across k, and read it
    against the null. t interval over pairs; null: Gaussian draws. 0 where no pair is together. Example: clusters
    {1,2},{3} and {1,2,3} on shared samples: TP 1, FP 2, FN 0: 1 / sqrt(3) = 0.577.
    """
    from sklearn.metrics import fowlkes_mallows_score

    return _over_pairs(ws, lambda a, b: float(fowlkes_mallows_score(a, b)))
