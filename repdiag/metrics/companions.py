"""Do other layers, and earlier checkpoints, put the same samples together? (science section 3)

The null of an agreement between two embeddings of the same samples is not zero: two layers without any clusters agree
as far as one is a linear image of the other. It is taken from pairs of Gaussian rows with the joint covariance of both.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from repdiag.kernels import resample, rows
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import interval, null
from repdiag.metrics._clusters import CAP, ari, replicates, spec
from repdiag.types import Direction, DoubleArray, FloatArray, IntArray, MetricResult, Need, Row
from repdiag.workspace import Workspace

PAIR = "Gaussian pair of equal joint covariance"


def _seeds(ws: Workspace) -> int:
    """Seeds that companions are clustered from: three, or as many as configured where that is fewer."""
    return min(3, len(ws.clusterings))


def _labelings(ws: Workspace, kind: str) -> list[tuple[str, list[IntArray]]]:
    """(name, clusters from each seed) of each companion of `kind`; same k and seeds as the rows themselves."""

    def compute() -> list[tuple[str, list[IntArray]]]:
        first = ws.config.seed * 1000
        return [
            (name, [ws.cluster(x, first + s).labels for s in range(_seeds(ws))])
            for name, x in ws.companions(kind)
        ]

    return ws.once(("companions clustered", kind), compute)


def _agreement(one: list[IntArray], other: list[IntArray]) -> DoubleArray:
    """ARI of two embeddings' clusters from each seed (S,)."""
    return np.array([ari(a, b) for a, b in zip(one, other, strict=True)])


def _own_seed_ari(runs: list[IntArray]) -> float | None:
    found = [ari(a, b) for a, b in combinations(runs, 2)]
    return float(np.mean(found)) if found else None


def _facts(ws: Workspace, runs: list[IntArray]) -> Row:
    """How stable clusters of this embedding are by themselves, and how close to the labels."""
    out: dict[str, float | None] = {"seed_ari": _own_seed_ari(runs)}
    if ws.labeled:
        out["label_ari"] = float(np.mean([ari(ws.labels, r) for r in runs]))
    return out


def _root(x: FloatArray, z: FloatArray) -> tuple[DoubleArray, DoubleArray]:
    """Mean (D + D',) and lower Cholesky factor of the joint covariance of the rows of `x` and `z`.

    The diagonal is raised by 1e-9 of the total variance, which makes a singular covariance (D + D' > N, dead
    features) a factor all the same and moves nothing that k-means sees.
    """
    mean: DoubleArray = np.concatenate([x.mean(0, dtype=np.float64), z.mean(0, dtype=np.float64)])
    second = np.zeros((mean.size, mean.size))
    for b in rows.blocks(len(x), mean.size * 8):
        part = np.hstack([x[b], z[b]]).astype(np.float64) - mean
        second += part.T @ part
    second /= len(x)
    second[np.diag_indices_from(second)] += 1e-9 * max(float(np.trace(second)), 1e-12)
    return mean, np.asarray(np.linalg.cholesky(second), np.float64)


def _chance(ws: Workspace, kind: str) -> list[float]:
    """Mean ARI over companions between the clusters of Gaussian pairs, once per draw."""
    found = ws.companions(kind)
    n = min(len(ws), CAP)
    work = len(found) * max([ws.dim, *(x.shape[1] for _, x in found)])
    draws = replicates(n, work, ws.n_clusters, min(3, ws.config.null_draws), min(2, ws.config.null_draws))
    each = np.full((draws, len(found)), np.nan)
    for at, (_, z) in enumerate(found):
        mean, root = _root(ws.space, z)
        for d in range(draws):
            white = ws.rng(4300 + 50 * at + d).standard_normal((n, mean.size), dtype=np.float32)
            pair = white @ root.T.astype(np.float32) + mean.astype(np.float32)
            own, other = (np.ascontiguousarray(p) for p in (pair[:, : ws.dim], pair[:, ws.dim :]))
            each[d, at] = ari(ws.cluster(own, 2 * d).labels, ws.cluster(other, 2 * d).labels)
    return [float(v) for v in each.mean(1)]


def _result(ws: Workspace, kind: str, table: list[Row], each: list[DoubleArray]) -> MetricResult:
    """The mean of `each` companion's ARI per seed, with a t interval over seeds."""
    values = np.mean(each, axis=0)
    several = values.size > 1
    return MetricResult(
        float(values.mean()),
        interval(resample.mean_interval(values), "t over k-means seeds", values.size) if several else None,
        null(PAIR, _chance(ws, kind)),
        table=tuple(table),
        parameters={"k": ws.n_clusters, "seeds": values.size, "companions": len(each)},
        note="The interval covers seed noise, not the choice of samples."
        if several
        else "No interval: one k-means seed.",
    )


@metric(
    spec(
        "layer_ari",
        "Same clusters in other layers",
        "high: other layers put the same samples together as the layer that is measured",
        "ARI(k-means of the rows, k-means of another layer's rows), same k and seeds, mean over layers and seeds",
        "ours, after Weng et al. 2025, arXiv 2501.18452",
        "O(layers * seeds * iterations * NDk + layers (D + D')^2 N)",
        needs=frozenset({Need.LAYERS}),
        direction=Direction.NEITHER,
    ),
    rows=Rows.GIVEN,
)
def layer_ari(ws: Workspace) -> MetricResult:
    """High: other layers (a projector's, say) put the same samples together as the layer that is measured.

    For each layer l and seed s: ARI(c_s, c_s^l), c_s and c_s^l the k-means clusters of the rows and of that layer's
    unit rows, same k and seed, three seeds; mean over layers and seeds. In [-0.5, 1]; neither way is better. Ours,
    after the finding of Weng et al. 2025 (summary only) that the encoder's output clusters better and more stably
    than a projector's layers: that is in the table, which has for the measured rows and for each layer its own
    `seed_ari` (over the same three seeds) and, with labels, `label_ari`.

    ARI below 1 mixes two things: layers that group otherwise, and k-means that never ends in the same place twice;
    a layer cannot agree better than the two seed ARIs let it. t interval over seeds. Null: pairs of Gaussian rows with
    the joint covariance of both layers, clustered alike (at most 20,000 rows, up to 3 draws): layers without clusters
    agree as far as one is a linear image of the other. Order of samples only. Example: clusters {1,2},{3,4} in both
    layers: 1.
    """
    layers = _labelings(ws, "layer")
    own = [c.labels for c in ws.clusterings[: _seeds(ws)]]
    each = [_agreement(own, runs) for _, runs in layers]
    table: list[Row] = [{"layer": "(measured)", "ari": None, **_facts(ws, own)}]
    table += [
        {"layer": name, "ari": float(found.mean()), **_facts(ws, runs)}
        for (name, runs), found in zip(layers, each, strict=True)
    ]
    return _result(ws, "layer", table, each)


@metric(
    spec(
        "checkpoint_ari",
        "Same clusters in earlier checkpoints",
        "high: earlier checkpoints already put the same samples together",
        "ARI(k-means of the rows, k-means of an earlier checkpoint's rows), same k and seeds, mean over both",
        "ours",
        "O(checkpoints * seeds * iterations * NDk + checkpoints (D + D')^2 N)",
        needs=frozenset({Need.CHECKPOINTS}),
        direction=Direction.NEITHER,
    ),
    rows=Rows.GIVEN,
)
def checkpoint_ari(ws: Workspace) -> MetricResult:
    """High: earlier checkpoints of the run already put the same samples together.

    For each earlier checkpoint e and seed s: ARI(c_s^e, c_s), the k-means clusters of its unit rows and of the rows
    that are measured (the last checkpoint), same k and seed, three seeds; mean over checkpoints and seeds. In
    [-0.5, 1]; neither way is better, for it depends on which checkpoints were given. Ours. The table has them in
    order, the last one too: `ari_to_last`, `ari_to_next` (agreement with the checkpoint after), their own `seed_ari`
    and, with labels, `label_ari`. Agreement between consecutive checkpoints that rises towards their seed ARI says
    that the grouping has settled; a `label_ari` that falls meanwhile says that it settles elsewhere than the classes.

    t interval over seeds. Null: pairs of Gaussian rows with the joint covariance of both checkpoints, clustered alike
    (at most 20,000 rows, up to 3 draws). Order of samples only. Example: clusters {1,2},{3,4} in both: 1.
    """
    earlier = _labelings(ws, "checkpoint")
    own = [c.labels for c in ws.clusterings[: _seeds(ws)]]
    each = [_agreement(runs, own) for _, runs in earlier]
    following = [runs for _, runs in earlier[1:]] + [own]
    table: list[Row] = [
        {
            "checkpoint": name,
            "ari_to_last": float(found.mean()),
            "ari_to_next": float(_agreement(runs, after).mean()),
            **_facts(ws, runs),
        }
        for (name, runs), found, after in zip(earlier, each, following, strict=True)
    ]
    table.append({"checkpoint": "(measured)", "ari_to_last": None, "ari_to_next": None, **_facts(ws, own)})
    return _result(ws, "checkpoint", table, each)
