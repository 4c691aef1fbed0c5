"""Which features carry the meaning, and how far can the space be compressed? (science section 1)"""

from __future__ import annotations

import numpy as np

from repdiag.kernels import logistic, resample, rows
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import interval
from repdiag.scores import KALIBHAT
from repdiag.types import Direction, IntArray, Law, MetricResult, MetricSpec, Need, Null, Status
from repdiag.workspace import Skip, Workspace

NONNEGATIVE = frozenset({Need.NONNEGATIVE})
KEPT = (0.8, 0.6, 0.4, 0.2)
RANDOM_SEEDS = 4
PROBE_ROWS = 5000
"""Training rows of the compression probes: 21 fits; the comparison is at equal rows, so a cap is fair."""


def _demand_reach(ws: Workspace) -> None:
    """Skip where no feature can stand out: among D numbers the largest possible z-score is sqrt(D - 1)."""
    if ws.config.eps**2 >= ws.dim - 1:
        raise Skip(
            f"with {ws.dim} features no z-score can exceed {ws.config.eps:g} (the largest is sqrt(D - 1))"
        )


@metric(
    MetricSpec(
        name="activation_frequency",
        family="features",
        title="How often a feature stands out",
        meaning="high: features fire often; near 0: hardly any feature ever stands out of its sample",
        formula="mean over features of A_j = 100/N * #{i: h_ij > mu_i + eps sigma_i}, eps = 4",
        source=KALIBHAT,
        status=Status.PAPER,
        direction=Direction.NEITHER,
        low=0,
        high=100,
        unit="%",
        needs=NONNEGATIVE,
        laws=frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER}),
        cost="O(ND)",
    )
)
def activation_frequency(ws: Workspace) -> MetricResult:
    """Mean activation frequency in percent, over the evaluated samples; Cantelli bounds it by 100 / (1 + eps^2).

    That is 5.88 % at eps = 4: one sample can have at most D/17 features that far out. With D <= 17 no feature
    can reach z = 4 at all and the metric is skipped. Invariant to the scale of each sample.
    """
    _demand_reach(ws)
    share = np.empty(len(ws))
    for b in rows.blocks(len(ws), ws.dim * 16):
        share[b] = 100 * ws.fires(ws.x[b]).mean(1)
    means = resample.weighted_means(share, ws.draws)
    return MetricResult(
        float(share.mean()),
        interval(resample.percentile_interval(means), "bootstrap over samples", len(ws.draws)),
        per_sample=share,
        parameters={"eps": ws.config.eps, "never_fire": int((ws.activation.frequency == 0).sum())},
        note="No null: the bound 100 / (1 + eps^2) is the reference.",
    )


@metric(
    MetricSpec(
        name="discriminative_features",
        family="features",
        title="Discriminative features",
        meaning="high: many features fire neither too rarely nor too often",
        formula="|S|/D, S = features whose A_j is between the 50th and 95th percentile, and not 0",
        source=KALIBHAT,
        status=Status.ADAPTED,
        direction=Direction.NEITHER,
        low=0,
        high=1,
        unit="share",
        needs=NONNEGATIVE,
        laws=frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER}),
        cost="O(ND + B N sqrt(D))",
    )
)
def discriminative_features(ws: Workspace) -> MetricResult:
    """Share of features in S. About 0.45 by construction; much less means that most features never fire.

    Our change: a feature that never fires is not in S, even where the percentile is 0. Reference rows; without
    labels. The interval redraws the reference rows.
    """
    _demand_reach(ws)
    from scipy.sparse import csr_matrix, vstack

    fires = vstack(
        [
            csr_matrix(ws.fires(ws.reference[b]), dtype=np.float32)
            for b in rows.blocks(len(ws.reference), ws.dim * 16)
        ]
    )
    rng, n = ws.rng(11), min(200, ws.config.bootstrap)
    value = float(ws.activation.selected.mean())
    shares = np.empty(n)
    for i in range(n):
        weight = np.bincount(rng.integers(fires.shape[0], size=fires.shape[0]), minlength=fires.shape[0])
        frequency = np.asarray(fires.T @ weight.astype(np.float64))
        shares[i] = ws.select(frequency).selected.mean()
    return MetricResult(
        value,
        interval(resample.normal_interval(value, shares), "bootstrap standard error", n),
        parameters={
            "count": int(ws.activation.selected.sum()),
            "of": ws.dim,
            "lower_percentile": ws.config.lower,
            "upper_percentile": ws.config.upper,
            "frequency_low": ws.activation.low,
            "frequency_high": ws.activation.high,
        },
        note="No null: S is defined by percentiles; whether it carries meaning is what `compression` tests.",
    )


def nested_features(ws: Workspace, kept: float) -> IntArray:
    """The `kept` share of features in the middle of the frequency order: both limits move in together.

    Straight line from all features (percentiles 0..100) through S (50..95) and on: ours, the paper gives no
    path. Ties in frequency are ordered by the feature's mean. At least one feature.
    """
    order = np.lexsort((ws.reference.mean(0, dtype=np.float64), ws.activation.frequency))
    outside = ws.config.lower + 100 - ws.config.upper
    cut_low = ws.config.lower / outside if outside else 0.5  # share of the cut that is taken below
    size = max(1, round(kept * ws.dim))
    start = round((ws.dim - size) * cut_low)
    return np.sort(order[start : start + size])


def _subset_correct(ws: Workspace, columns: IntArray, train: IntArray, test: IntArray, l2: float) -> Doubles:
    x, y = ws.reference_space[train][:, columns], ws.reference_labels[train]
    model = logistic.fit(x, y, ws.k, l2, iterations=50, device=ws.device)
    return np.asarray(model.logits(ws.space[test][:, columns]).argmax(1) == ws.labels[test], np.float64)


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
        needs=frozenset({Need.NONNEGATIVE, Need.LABELS}),
        laws=frozenset({Law.PERMUTATION, Law.SCALE}),
        cost="21 probe fits",
    ),
    rows=Rows.GIVEN,
)
def compression(ws: Workspace) -> MetricResult:
    """Accuracy of new linear probes on nested sets of features against random sets of equal size.

    The table is the whole curve: for each share kept the accuracy with its interval, the mean and spread of four
    random sets, and the paired difference with its interval. One fold, at most 5,000 training rows, the full
    probe's L2. Value: accuracy at 60 % kept, the null: random sets of that size.
    """
    if not ws.activation.selected.any():
        raise Skip(
            "there is no discriminative feature: hardly any ever stands out, or the same few always do"
        )
    fold, (l2, _) = ws.folds[0], ws.probe_l2
    rng = ws.rng(12)
    train = np.sort(rng.permutation(fold.train)[:PROBE_ROWS])
    draws = ws.draws[:, fold.test]
    table, found = [], None
    for kept in (1.0, *KEPT):
        chosen = nested_features(ws, kept)
        ours = _subset_correct(ws, chosen, train, fold.test, l2)
        others = [
            _subset_correct(ws, np.sort(rng.permutation(ws.dim)[: chosen.size]), train, fold.test, l2)
            for _ in range(RANDOM_SEEDS if kept < 1 else 0)
        ]
        ends = resample.percentile_interval(resample.weighted_means(ours, draws))
        row: dict[str, float | int | None] = {
            "kept": kept,
            "features": int(chosen.size),
            "accuracy": float(ours.mean()),
            "low": ends[0] if ends else None,
            "high": ends[1] if ends else None,
        }
        if others:
            means = np.array([o.mean() for o in others])
            gap = ours - np.mean(others, axis=0)
            gap_ends = resample.percentile_interval(resample.weighted_means(gap, draws))
            row |= {
                "random_mean": float(means.mean()),
                "random_std": float(means.std(ddof=1)),
                "gain": float(gap.mean()),
                "gain_low": gap_ends[0] if gap_ends else None,
                "gain_high": gap_ends[1] if gap_ends else None,
            }
            if kept == 0.6:
                found = (
                    float(ours.mean()),
                    ends,
                    Null("random features", *resample.summary(means), len(means)),
                )
        table.append(row)
    assert found is not None
    value, ends, random = found
    return MetricResult(
        value,
        interval(ends, "bootstrap over samples", len(draws)),
        random,
        table=tuple(table),
        parameters={"l2": l2, "train_rows": int(train.size), "test_rows": int(fold.test.size), "kept": 0.6},
    )
