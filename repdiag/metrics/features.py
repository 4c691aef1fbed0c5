"""Which features carry the meaning, and how far can the space be compressed? (science section 1)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.adapted import adapted
from repdiag.kernels import resample, rows
from repdiag.metrics import metric
from repdiag.metrics._answers import interval
from repdiag.scores import KALIBHAT
from repdiag.types import BoolArray, Direction, IntArray, Law, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Activation, Skip, Workspace

NONNEGATIVE = frozenset({Need.NONNEGATIVE})
QUANTILES = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)


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

    The table is the curve of A_j: for some percentiles the frequency there (over the reference rows, from which S
    is made) and whether a feature of that frequency is in S.
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
        table=_frequency_curve(ws.activation),
        parameters={"eps": ws.config.eps, "never_fire": int((ws.activation.frequency == 0).sum())},
        note="No null: the bound 100 / (1 + eps^2) is the reference.",
    )


def _frequency_curve(found: Activation) -> tuple[dict[str, float | bool], ...]:
    """Percentiles of the activation frequencies."""
    values = np.percentile(found.frequency, QUANTILES)
    return tuple(
        {"percentile": float(q), "frequency": float(v), "in_s": bool(found.low <= v <= found.high and v > 0)}
        for q, v in zip(QUANTILES, values, strict=True)
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


@dataclass(frozen=True)
class Order:
    """Features from the rarest to the most generic (D,), by Q-Score's rule ("paper") or the adapted one."""

    features: IntArray
    rule: str
    why: str | None  # what a reader should know about the rule


def frequency_order(ws: Workspace) -> Order:
    """Features by activation frequency; ties by their mean (paper's rule) or their spread (adapted).

    The paper's frequencies for features that are never negative, where any of them is discriminative; else those
    of the adapted rule (`repdiag.adapted`), which is ours. Skip where hardly any feature ever stands out by either.
    """

    def compute() -> Order:
        mean = ws.reference.mean(0, dtype=np.float64)
        if ws.nonnegative and ws.activation.selected.any():
            return Order(np.lexsort((mean, ws.activation.frequency)), "paper", None)
        rule = adapted(ws)
        if not rule.selected.any():
            raise Skip(
                "there is no discriminative feature: hardly any ever stands out, or the same few always do"
            )
        spread = np.zeros(ws.dim)
        for b in rows.blocks(len(ws.reference), ws.dim * 8):
            spread += ((ws.reference[b] - mean) ** 2).sum(0)
        cause = (
            "no feature is discriminative by Q-Score's rule" if ws.nonnegative else "the features are signed"
        )
        why = (
            f"Adapted rule (ours), since {cause}: frequencies count |z| > {rule.eps:g} on either side, of features"
            " less their mean."
        )
        return Order(np.lexsort((spread, rule.activation.frequency)), "adapted", why)

    return ws.once("frequency order", compute)


def nested_features(ws: Workspace, kept: float, path: str = "both") -> IntArray:
    """The `kept` share of features in the middle of the frequency order: both limits move in together.

    Straight line from all features (percentiles 0..100) through S (50..95) and on: ours, the paper gives no
    path. `path` "lower" raises only the lower limit (the most generic stay), "upper" cuts only the upper one (the
    rarest stay). At least one feature.
    """
    order = frequency_order(ws).features
    outside = ws.config.lower + 100 - ws.config.upper
    cut_low = ws.config.lower / outside if outside else 0.5  # share of the cut that is taken below
    size = max(1, round(kept * ws.dim))
    start = round((ws.dim - size) * {"both": cut_low, "lower": 1.0, "upper": 0.0}[path])
    return np.sort(order[start : start + size])


def keep(ws: Workspace, features: IntArray) -> None:
    """Remember the features that `smallest_subset` chose."""
    mask = np.zeros(ws.dim, bool)
    mask[features] = True
    _kept(ws)["mask"] = mask


def _kept(ws: Workspace) -> dict[str, BoolArray]:
    return ws.once("kept features", dict)


def kept_features(ws: Workspace) -> BoolArray | None:
    """The smallest subset within a point of the full accuracy (D,), as the metric `smallest_subset` chose it.

    None where that metric was not run or was skipped: asking trains nothing.
    """
    return _kept(ws).get("mask")
