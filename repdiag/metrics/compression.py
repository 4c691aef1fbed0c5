"""How much accuracy is left with fewer features? (science section 1)"""

from __future__ import annotations

import numpy as np

from repdiag.kernels import resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import interval
from repdiag.metrics._curves import Curves, circumstances, curves, ends, note
from repdiag.scores import KALIBHAT
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Need, Null, Row, Status
from repdiag.workspace import Workspace

PARTNERS = {"variance": "top_variance", "pca": "pca", "lower": "lower_only", "upper": "upper_only"}
"""Paths beside ours and random, and the columns of the table that hold them."""


def _point(found: Curves, kept: float, draws: resample.Counts) -> dict[str, float | int | None]:
    """One row of the curve."""
    ours = found.correct["both", kept]
    if kept == 1.0:
        ((low, high),) = ends([ours], draws)
        accuracy = float(ours.mean())
        return {"kept": kept, "features": found.sizes[kept], "accuracy": accuracy, "low": low, "high": high}
    others = found.random(kept)
    gaps = {"gain": ours - np.mean(others, axis=0)}
    gaps |= {f"gain_over_{name}": ours - found.correct[path, kept] for path, name in PARTNERS.items()}
    (low, high), *limits = ends([ours, *gaps.values()], draws)
    means = np.array([o.mean() for o in others])
    row: dict[str, float | int | None] = {
        "kept": kept,
        "features": found.sizes[kept],
        "accuracy": float(ours.mean()),
        "low": low,
        "high": high,
        "random_mean": float(means.mean()),
        "random_std": float(means.std(ddof=1)),
        "pca_dimensions": found.pca_sizes[kept],
    }
    row |= {name: float(found.correct[path, kept].mean()) for path, name in PARTNERS.items()}
    for (name, gap), (low, high) in zip(gaps.items(), limits, strict=True):
        row |= {name: float(gap.mean()), f"{name}_low": low, f"{name}_high": high}
    return row


@metric(
    MetricSpec(
        name="compression",
        family="features",
        title="Accuracy with 60 % of the features",
        meaning="high: dropping the 40 % rarest and most generic features costs the linear probe little",
        formula="held-out probe accuracy on the middle 60 % of features by A_j; null: random 60 %, 4 seeds",
        source=f"{KALIBHAT}, Fig. 2",
        status=Status.ADAPTED,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=frozenset({Need.LABELS}),
        laws=frozenset({Law.PERMUTATION, Law.SCALE}),
        cost="56 probe fits and one eigendecomposition",
    ),
    rows=Rows.GIVEN,
)
def compression(ws: Workspace) -> MetricResult:
    """Accuracy of new linear probes on nested sets of features against random sets of equal size.

    Formula: the middle set keeps the features whose activation frequency A_j is neither among the lowest nor the
    highest; both limits move in together so that the path passes through S. Value: its held-out accuracy at 60 %
    kept. Null: four random sets of that size.

    Table, for each share kept (1, 0.8, 0.6, 0.4, 0.2, and 0.1, 0.05 where min(K, 8) features remain): `accuracy`
    with its interval; `random_mean`, `random_std` of four random sets; `top_variance`: the features of largest
    variance; `pca`: as many principal components (fitted on the training rows only); `lower_only`: only the lower
    limit raised; `upper_only`: only the upper limit cut; and after each `gain...`, the paired difference (ours less
    theirs) with its interval.

    Rows as given under --no-l2, else of unit length, float32; means in float64. In [0, 1], higher is better. One fold;
    at most 5,000 training rows, 10,000 held-out rows and 128 classes; the L2 strength of the full probe for all sets.
    Intervals: percentile bootstrap over held-out samples, the probes fixed (their training is not resampled).

    Source: Kalibhat et al., Fig. 2 (P); the path between its points is ours, and so are variance and PCA (O). For
    signed features, and where no feature is discriminative by the paper's rule, frequencies are those of the adapted
    rule (`rule` in the parameters). Skipped where no feature stands out by that rule either.
    Principal components are those of the standardized features, and not standardized again (their last ones are noise,
    which that would blow up): with all of them the probe would be the full one.
    Where `gain` does not differ from 0, activation frequency says nothing about which features matter: random ones
    do as well. Invariant to scale and order of samples; random sets depend on the order of features.
    Cost: about 20 probe fits' worth (each set starts from the weights of the one before) + O(min(n, D)^3).
    Example: classes in 10 of 50 features, noise in the others: "both" keeps the 10 where they fire moderately often.
    """
    found = curves(ws)
    draws = ws.draws[:, found.test]
    table: list[Row] = [_point(found, kept, draws) for kept in found.sizes]
    middle = next(row for row in table if row["kept"] == 0.6)
    low, high = middle["low"], middle["high"]
    limits = (float(low), float(high)) if low is not None and high is not None else None
    means = np.array([o.mean() for o in found.random(0.6)])
    return MetricResult(
        float(found.correct["both", 0.6].mean()),
        interval(limits, "bootstrap over samples", len(draws)),
        Null("random features", *resample.summary(means), len(means)),
        table=tuple(table),
        parameters={**circumstances(ws, found), "kept": 0.6},
        note=note(ws, found),
    )
