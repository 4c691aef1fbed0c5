"""What accuracy remains after the riskiest samples are set aside?"""

from __future__ import annotations

import numpy as np

from repdiag import risk, scores
from repdiag.kernels import ranking, resample
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import interval, null
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Need, Row, Status
from repdiag.workspace import Skip, Workspace

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
SHOWN = SHARES.index(0.1)


@metric(
    MetricSpec(
        name="selective_accuracy",
        family="risk",
        title="Accuracy without the riskiest 10 %",
        meaning="high: few errors remain once the 10 % of samples with the highest risk are set aside",
        formula="accuracy of the out-of-fold probe on the 90 % with the lowest risk",
        source="accuracy at a coverage as in Geifman & El-Yaniv 2017, arXiv 1705.08500; the risk is ours",
        status=Status.ADAPTED,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=frozenset({Need.LABELS}),
        laws=frozenset({Law.PERMUTATION, Law.SCALE}),
        cost="O(B N) after the risk",
    ),
    rows=Rows.MIXED,
)
def selective_accuracy(ws: Workspace) -> MetricResult:
    """Accuracy that remains after the riskiest tenth is set aside; the table has 5, 10, 20, 30 and 50 %.

    acc(s) = share of correct among the (1 - s) N samples with the lowest risk; where equal risks lie across the
    border, its mean over the ways to break the tie. Risks come from folds without the sample (an unvalidated rank where
    errors are too few to learn from: then the note says so). Beside it stand, at each share: `random`, which is the
    plain accuracy; `oracle`, all errors set aside first: min(1, accuracy / (1 - s)); `confidence`, the probe's own
    (it needs labels: a ceiling); `q_score`, lowest and undefined ones set aside first (None where it is undefined for
    all). `gain` is acc(s) - random with its interval from the same draws.

    Range [0, 1], higher is better; the floor to compare with is the plain accuracy, not 0, which is what the null
    (outcomes permuted) gives. It mixes accuracy and ranking, so between encoders compare the gain, as a share of the
    oracle's. The area under the whole curve (AURC) is left out on purpose: docs/adr/0008. Skipped where no score or no
    probe is defined. Keeps under the order of samples and a common factor. Time O(B N), float64. Example: risks .9, .5,
    .1, .2 with the first wrong: setting one of four aside leaves accuracy 1.
    """
    found = risk.assess(ws)
    correct = ws.probe.correct
    own = ranking.Ranking(-found.values, correct)
    kept = 1 - np.array(SHARES)
    value, draws = own.precision(kept), own.resampled_precision(kept, ws.draws)
    plain = resample.weighted_means(correct.astype(np.float64), ws.draws)
    beside: dict[str, Doubles] = {"confidence": _kept(scores.BY_NAME["confidence"].values(ws), ws, kept)}
    try:
        quality = scores.BY_NAME["q_score"].values(ws)
        if np.isfinite(quality).any():
            beside["q_score"] = _kept(scores.as_rank(quality), ws, kept)
    except Skip:
        pass
    accuracy = float(correct.mean())
    rows: list[Row] = []
    for i, share in enumerate(SHARES):
        ends = resample.percentile_interval(draws[:, i])
        gain = resample.percentile_interval(draws[:, i] - plain)
        rows.append(
            {
                "set_aside": share,
                "accuracy": float(value[i]),
                "low": ends[0] if ends else None,
                "high": ends[1] if ends else None,
                "gain": float(value[i]) - accuracy,
                "gain_low": gain[0] if gain else None,
                "gain_high": gain[1] if gain else None,
                "random": accuracy,
                "oracle": min(1.0, accuracy / (1 - share)),
                "confidence": float(beside["confidence"][i]),
                "q_score": float(beside["q_score"][i]) if "q_score" in beside else None,
            }
        )
    low = rows[SHOWN]["gain_low"]
    said = (
        "Setting the riskiest aside is not shown to help more than setting any others aside."
        if low is not None and float(low) <= 0
        else None
    )
    return MetricResult(
        float(value[SHOWN]),
        interval(resample.percentile_interval(draws[:, SHOWN]), "bootstrap over samples", len(ws.draws)),
        null(
            "outcomes permuted",
            (float(ranking.Ranking(-found.values, correct[p]).precision(kept)[SHOWN]) for p in ws.permuted),
        ),
        table=tuple(rows),
        parameters={"set_aside": SHARES[SHOWN], "rests_on": found.score, "accuracy": accuracy},
        note=" ".join(filter(None, [None if found.validated else found.explanation, said])) or None,
    )


def _kept(quality: Doubles, ws: Workspace, kept: Doubles) -> Doubles:
    return ranking.Ranking(quality, ws.probe.correct).precision(kept)
