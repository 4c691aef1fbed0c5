"""Which samples will a linear classifier get wrong? Q-Score and everything else that claims to know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from repdiag import risk, scores
from repdiag.kernels import ranking, resample
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, interval, null, sample_mean
from repdiag.types import BoolArray, Direction, Law, MetricResult, MetricSpec, Need, Row, Status
from repdiag.workspace import Skip, Workspace

Q_SCORE = scores.BY_NAME["q_score"]
FEATURE_LAWS = frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER})
BOTH = frozenset({Need.NONNEGATIVE, Need.LABELS})


def _defined_q(ws: Workspace) -> Doubles:
    values = Q_SCORE.values(ws)
    if not np.isfinite(values).any():
        raise Skip("no sample has a discriminative feature that stands out: Q-Score is undefined for all")
    return values


@metric(
    MetricSpec(
        name="qscore_mean",
        family="risk",
        title="Mean Q-Score",
        meaning="high: samples have few features that stand far out, which the paper links to correctness",
        formula="mean of Q_i = 1/|L_i & S| sum over L_i & S of (h_ij - mu_i)",
        source=f"{scores.KALIBHAT}, eq. 1",
        status=Status.PAPER,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=frozenset({Need.NONNEGATIVE}),
        laws=FEATURE_LAWS,
        cost="O(ND)",
    )
)
def qscore_mean(ws: Workspace) -> MetricResult:
    """Mean Q-Score over the samples where it is defined, in [0, 1); depends on D, so compare at equal D only.

    h has unit length; mu_i and sigma_i are the mean and population std over the D features of one sample. NaN where
    L_i & S is empty (our convention; the paper is silent): see `qscore_empty_rate`.
    """
    return sample_mean(
        ws,
        _defined_q(ws),
        per_class=True,
        parameters={"eps": ws.config.eps, "features_in_s": int(ws.activation.selected.sum())},
        note=_with_trust(
            ws, "No null: it is not a labeled measure. Whether it predicts errors is `qscore_auroc`."
        ),
    )


@metric(
    MetricSpec(
        name="qscore_empty_rate",
        family="risk",
        title="Samples without a Q-Score",
        meaning="high: most samples have no discriminative feature that stands out, so Q-Score cannot speak of them",
        formula="share of samples with L_i & S empty",
        source="ours; the paper does not say what happens then",
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="share",
        needs=frozenset({Need.NONNEGATIVE}),
        laws=FEATURE_LAWS,
        cost="O(ND)",
    )
)
def qscore_empty_rate(ws: Workspace) -> MetricResult:
    """Share of evaluated samples whose Q-Score is undefined, in [0, 1]."""
    return sample_mean(ws, np.isnan(Q_SCORE.values(ws)).astype(np.float64), per_class=True)


def _judge(ws: Workspace, score: scores.Score) -> tuple[BoolArray, dict[str, Doubles]]:
    """[value, bootstrap replicates...] of AUROC and both average precisions of a score, and on which rows.

    An undefined score is ranked lowest, except where only some samples have augmented views: those are judged.
    """

    def compute() -> tuple[BoolArray, dict[str, Doubles]]:
        values = score.values(ws)
        part = np.isfinite(values) if score.partial else np.ones(len(ws), bool)
        correct = ws.probe.correct[part]
        if correct.all() or not correct.any():
            which = "every" if correct.all() else "no"
            raise Skip(f"the probe gets {which} sample right: nothing to tell apart")
        quality, draws = scores.as_rank(values[part]), ws.draws[:, part]
        if np.unique(quality).size < 2:
            raise Skip(f"{score.title} is undefined or the same for every sample")
        right, wrong = ranking.Ranking(quality, correct), ranking.Ranking(-quality, ~correct)
        up, down = right.resample(draws), wrong.resample(draws)
        return part, {
            "auroc": np.append(right.auroc(), up[:, 0]),
            "auprc_correct": np.append(right.average_precision(), up[:, 1]),
            "auprc_error": np.append(wrong.average_precision(), down[:, 1]),
        }

    return ws.once(("judged", score.name), compute)


JUDGES: dict[str, Callable[[Doubles, BoolArray], float]] = {
    "auroc": ranking.auroc,
    "auprc_correct": ranking.average_precision,
    "auprc_error": lambda quality, correct: ranking.average_precision(-quality, ~correct),
}


def _with_trust(ws: Workspace, note: str | None) -> str | None:
    """What speaks against Q-Score here, before `note`."""
    return " ".join(filter(None, (scores.trust(ws), note))) or None


def _q_metric(ws: Workspace, which: str, note: str | None = None) -> MetricResult:
    quality = scores.as_rank(_defined_q(ws))
    correct, found = ws.probe.correct, _judge(ws, Q_SCORE)[1][which]
    return MetricResult(
        float(found[0]),
        interval(resample.percentile_interval(found[1:]), "bootstrap over samples", found.size - 1),
        null("outcomes permuted", (JUDGES[which](quality, correct[p]) for p in ws.permuted)),
        parameters={
            "prevalence_correct": float(correct.mean()),
            "defined": float(np.isfinite(_defined_q(ws)).mean()),
            "samples": int(correct.size),
        },
        note=_with_trust(ws, note),
    )


def _q_spec(name: str, title: str, meaning: str, formula: str, status: Status) -> MetricSpec:
    return MetricSpec(
        name=name,
        family="risk",
        title=title,
        meaning=meaning,
        formula=formula,
        source=f"{scores.KALIBHAT}, section 4",
        status=status,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=BOTH,
        laws=FEATURE_LAWS,
        cost="O(B N) after the probe",
    )


@metric(
    _q_spec(
        "qscore_auroc",
        "Q-Score ranks errors: AUROC",
        "high: correctly classified samples have higher Q-Scores; 0.5 is chance",
        "P(Q of a correct sample > Q of a misclassified one), undefined Q lowest",
        Status.PAPER,
    ),
    rows=Rows.MIXED,
)
def qscore_auroc(ws: Workspace) -> MetricResult:
    """AUROC of Q-Score for the out-of-fold probe's correctness, in [0, 1], 0.5 by chance.

    The note says why Q-Score is not to be trusted here where it is not: hardly defined for any sample, too few features
    to speak, no better than chance (`repdiag.scores.trust`).
    """
    return _q_metric(ws, "auroc")


@metric(
    _q_spec(
        "qscore_auprc_correct",
        "Q-Score finds the correct: AUPRC",
        "high: the samples with the highest Q-Scores are classified correctly; chance is the probe's accuracy",
        "average precision with correct as the positive class, as the paper (by inference) has it",
        Status.OURS,
    ),
    rows=Rows.MIXED,
)
def qscore_auprc_correct(ws: Workspace) -> MetricResult:
    """Average precision of Q for *correct* samples; its chance level is the accuracy, so read it against the null."""
    return _q_metric(ws, "auprc_correct", "Chance is the probe's accuracy, not 0.5.")


@metric(
    _q_spec(
        "qscore_auprc_error",
        "Q-Score finds the errors: AUPRC",
        "high: the samples with the lowest Q-Scores are the misclassified; chance is the error rate",
        "average precision of -Q with misclassified as the positive class",
        Status.OURS,
    ),
    rows=Rows.MIXED,
)
def qscore_auprc_error(ws: Workspace) -> MetricResult:
    """Average precision of -Q for *misclassified* samples: what someone who looks for errors cares about."""
    return _q_metric(ws, "auprc_error", "Chance is the probe's error rate, not 0.5.")


@metric(
    MetricSpec(
        name="score_comparison",
        family="risk",
        title="Best label-free predictor of errors",
        meaning="high: some label-free score tells the misclassified samples; the table compares all of them",
        formula="largest AUROC among the label-free scores; the table has AUROC and both AUPRC of all, MSP too",
        source="ours",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=frozenset({Need.LABELS}),
        laws=frozenset({Law.PERMUTATION, Law.SCALE}),
        cost="O(S B N)",
    ),
    rows=Rows.MIXED,
)
def score_comparison(ws: Workspace) -> MetricResult:
    """AUROC and AUPRC of every per-sample score for the probe's correctness; value: the best label-free AUROC.

    The value is the largest of several and therefore optimistic (winner's curse): `risk_auroc` is the honest,
    cross-fitted one. Scores defined on some samples only (augmented views) are judged on those, with their n.
    """
    rows: list[Row] = []
    reason = "no label-free score is defined here"
    best: tuple[float, Doubles] | None = None
    for score in scores.SCORES:
        try:
            part, judged = _judge(ws, score)
        except Skip as skip:
            reason = skip.reason
            continue
        auroc = judged["auroc"]
        ends = resample.percentile_interval(auroc[1:])
        rows.append(
            {
                "score": score.name,
                "title": score.title,
                "auroc": float(auroc[0]),
                "low": ends[0] if ends else None,
                "high": ends[1] if ends else None,
                **{k: float(judged[k][0]) for k in ("auprc_correct", "auprc_error")},
                "prevalence_error": float((~ws.probe.correct[part]).mean()),
                "n": int(part.sum()),
                "labelled": score.labeled,
            }
        )
        if not score.labeled and (best is None or auroc[0] > best[0]):
            best = float(auroc[0]), auroc[1:]
    if best is None:
        raise Skip(reason)
    rows.sort(key=lambda r: -float(r["auroc"] or 0))
    return MetricResult(
        best[0],
        interval(resample.percentile_interval(best[1]), "bootstrap over samples", best[1].size),
        null(PERMUTED, _best_by_chance(ws)),
        table=tuple(rows),
        note="The best of several: the null takes the best of as many on permuted outcomes.",
    )


def _best_by_chance(ws: Workspace) -> list[float]:
    found = list(risk.candidates(ws).values())
    return [max(ranking.auroc(s, ws.probe.correct[p]) for s in found) for p in ws.permuted]


@metric(
    MetricSpec(
        name="risk_auroc",
        family="risk",
        title="Risk column: AUROC",
        meaning="high: the samples with the highest risk are the misclassified; 0.5 is chance",
        formula="AUROC of the cross-fitted risk for misclassification",
        source="ours",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=frozenset({Need.LABELS}),
        laws=frozenset({Law.PERMUTATION, Law.SCALE}),
        cost="O(folds^2 * S^2 N), S scores",
        headline=True,
    ),
    rows=Rows.MIXED,
)
def risk_auroc(ws: Workspace) -> MetricResult:
    """AUROC with which the risk column finds the misclassified, in [0, 1], 0.5 by chance.

    In each of five folds a logistic regression on the ranks of all label-free scores stands against one on the single
    best of them, on the other four; what does better there answers for the fold. Selection, strength of the penalty and
    calibration are inside the cross-fit, so this number does not flatter. `folds` says how many chose what, `weights`
    the mean log odds that one standard deviation of a score's rank adds (below zero: a high score is a low risk;
    scores that go together share a weight, so that none tells how well its score does alone: `score_comparison` does).
    """
    found = risk.assess(ws)
    if not found.validated or found.auroc is None:
        raise Skip(found.explanation.rstrip("."))
    wrong = ~ws.probe.correct
    return MetricResult(
        found.auroc,
        interval(found.interval, "bootstrap over samples", len(ws.draws)),
        null("outcomes permuted", (ranking.auroc(found.values, wrong[p]) for p in ws.permuted)),
        per_sample=found.values,
        parameters={"rests_on": found.score, "folds": found.choices, "weights": found.weights},
        note=found.explanation,
    )
