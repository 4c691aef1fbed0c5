"""Is the risk column a probability? Brier score, skill and expected calibration error, all on held-out folds."""

from __future__ import annotations

import numpy as np

from repdiag import risk
from repdiag.kernels import calibration, resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import interval, null
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Need, Null, Status
from repdiag.workspace import Skip, Workspace

LAWS = frozenset({Law.PERMUTATION, Law.SCALE})


def validated(ws: Workspace) -> tuple[risk.Risk, risk.Calibration]:
    """The risk and how it holds; Skip where it is a mere rank."""
    found = risk.assess(ws)
    if not found.validated or found.calibration is None:
        raise Skip(found.explanation.rstrip("."))
    return found, found.calibration


@metric(
    MetricSpec(
        name="risk_brier",
        family="risk",
        title="Risk as a probability: Brier score",
        meaning="high: the risks are far from what happened; the null is the plain error rate said of every sample",
        formula="mean of (risk_i - 1[sample i is misclassified])^2, risks from folds without the sample",
        source="Brier 1950, Monthly Weather Review 78; the risk is ours",
        status=Status.PUBLISHED,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="",
        needs=frozenset({Need.LABELS}),
        laws=LAWS,
        cost="O(B N) after the risk",
    ),
    rows=Rows.MIXED,
)
def risk_brier(ws: Workspace) -> MetricResult:
    """Brier score of the cross-fitted risk: *high is bad*, 0 for an oracle, e (1 - e) for the plain error rate e.

    BS = 1/N sum_i (r_i - w_i)^2, r_i the risk of sample i from the folds without it, w_i 1 where the out-of-fold
    probe is wrong, else 0; float64. The null is the same with the error rate of the other folds in place of r_i, which
    any risk must beat to be of use as a probability; `parameters` has the skill 1 - BS / BS_null with its interval from
    the same bootstrap draws (paired: far tighter than to compare the two intervals). The table is the reliability
    curve: ten bins of equal count from the lowest risk up, mean risk, share of errors with Wilson's interval. Equal
    risks share a bin, so there may be fewer.

    In [0, 1], no unit, lower is better. Murphy's decomposition says what it mixes: calibration, resolution and
    e (1 - e), so it never compares encoders of unequal accuracy; the skill does so better. Skipped where the probe has
    fewer than ten errors or fewer than ten correct answers, and where no score is defined. Keeps under the order of
    samples and a common factor. Time O(B N), memory O(B N). Example: risks .1, .1, .8 and outcomes 0, 0, 1 give
    (.01 + .01 + .04) / 3 = .02; the null at e = 1/3 gives 2/9.
    """
    found, judged = validated(ws)
    low, high = judged.skill_interval or (None, None)
    return MetricResult(
        judged.brier,
        interval(judged.brier_interval, "bootstrap over samples", len(ws.draws)),
        Null(
            "error rate of the other folds, said of every sample", judged.base, judged.base_std, len(ws.draws)
        ),
        per_sample=(found.values - ~ws.probe.correct) ** 2,
        table=tuple(
            {
                "predicted": b.predicted,
                "observed": b.observed,
                "low": b.low,
                "high": b.high,
                "n": b.n,
            }
            for b in judged.bins
        ),
        parameters={
            "rests_on": found.score,
            "skill": judged.skill,
            "skill_low": low,
            "skill_high": high,
            "bins": len(judged.bins),
            "error_rate": float((~ws.probe.correct).mean()),
        },
        note=_skill(judged),
    )


def _skill(judged: risk.Calibration) -> str:
    ends = judged.skill_interval
    said = f"Skill {judged.skill:.1%} against the plain error rate"
    if ends is None:
        return f"{said}."
    said += f" [{ends[0]:.1%}, {ends[1]:.1%}]"
    if ends[0] > 0:
        return f"{said}."
    return f"{said}: not shown to say more than the error rate does."


@metric(
    MetricSpec(
        name="risk_ece",
        family="risk",
        title="Risk as a probability: calibration error",
        meaning="high: among samples of equal risk, another share is misclassified than the risk says",
        formula="mean over samples of |mean risk - share of errors| of the sample's bin, ten bins of equal count",
        source="Naeini et al. 2015 (AAAI), with bins of equal count as in Nguyen & O'Connor 2015; the risk is ours",
        status=Status.ADAPTED,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="",
        needs=frozenset({Need.LABELS}),
        laws=LAWS,
        cost="O(B N) after the risk",
    ),
    rows=Rows.MIXED,
)
def risk_ece(ws: Workspace) -> MetricResult:
    """Expected calibration error of the cross-fitted risk: *high is bad*, 0 where every bin errs as often as it says.

    ECE = sum_b n_b / N |mean risk of b - share of errors in b| over ten bins of equal count (fewer where risks are
    equal), risks from folds without the sample, float64. The plug-in is biased upward: a perfectly calibrated risk does
    not reach 0 on N samples. So the null is the ECE of outcomes *drawn from the risks themselves*, which is what
    perfect calibration gives at this N; a value within the null's spread shows no miscalibration. The interval is
    value +- 1.96 standard errors of bootstrap draws (percentiles would be shifted up by the same bias), the bins kept.

    In [0, 1], no unit, lower is better; it says nothing about usefulness: the plain error rate said of everyone has an
    ECE of nearly 0. Read it beside `risk_brier`. It depends on the number of bins and on N. Skipped as `risk_brier`.
    Keeps under the order of samples and a common factor. Time O(B N). Example: two bins of two samples, risks .2, .2,
    .7, .7, outcomes 0, 0, 1, 0: 1/2 |.2 - 0| + 1/2 |.7 - .5| = .2.
    """
    found, judged = validated(ws)
    number = calibration.equal_bins(found.values, risk.BINS)
    gap = found.values - ~ws.probe.correct
    draws = np.array([calibration.calibration_error(number, gap, w) for w in ws.draws])
    rng = ws.rng(61)
    perfect = [
        calibration.calibration_error(number, found.values - (rng.random(len(ws)) < found.values))
        for _ in range(max(20, ws.config.permutations))
    ]
    drawn = null("outcomes drawn from the risks: perfectly calibrated", perfect)
    assert drawn is not None
    beyond = judged.ece > drawn.mean + 2 * drawn.std
    return MetricResult(
        judged.ece,
        interval(resample.normal_interval(judged.ece, draws), "normal, bootstrap over samples", draws.size),
        drawn,
        parameters={"bins": len(judged.bins), "binning": "equal count", "rests_on": found.score},
        note="Beyond what chance gives a calibrated risk: read the risks as an order first."
        if beyond
        else "No more than chance gives a perfectly calibrated risk at this number of samples.",
    )
