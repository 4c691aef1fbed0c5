"""Q-Score carried over to features of either sign: ours, and judged like every other score.

The paper defines Q-Score for features behind a ReLU and leaves ViTs out. The adapted score is defined for any encoder,
so that it can be held against the paper's own where both exist.
"""

from __future__ import annotations

import numpy as np

from repdiag import scores
from repdiag.adapted import adapted
from repdiag.kernels import ranking, resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import interval, null, sample_mean
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Skip, Workspace

ADAPTED = scores.BY_NAME["q_score_signed"]
SOURCE = f"ours, after {scores.KALIBHAT}, eq. 1"
FEATURE_LAWS = frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER})


def _note(ws: Workspace) -> str | None:
    return "The features are never negative: the paper's own is `qscore_auroc`." if ws.nonnegative else None


def _parameters(ws: Workspace) -> dict[str, float | int]:
    rule = adapted(ws)
    return {
        "eps": rule.eps,
        "features_in_s": int(rule.selected.sum()),
        "mean_frequency": float(rule.activation.frequency.mean()),
    }


@metric(
    MetricSpec(
        name="qscore_signed_auroc",
        family="risk",
        title="Adapted Q-Score ranks errors: AUROC",
        meaning="high: correctly classified samples have higher adapted Q-Scores; 0.5 is chance",
        formula="P(Q' of a correct sample > Q' of a misclassified one), undefined Q' lowest",
        source=SOURCE,
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=frozenset({Need.LABELS}),
        laws=FEATURE_LAWS,
        cost="O(ND + B N) after the probe",
    ),
    rows=Rows.MIXED,
)
def qscore_signed_auroc(ws: Workspace) -> MetricResult:
    """AUROC of the adapted Q-Score for the out-of-fold probe's correctness, 0.5 by chance.

    Formula: x_ij row i at unit length, c_j the mean of feature j over the reference rows, g_ij = x_ij - c_j, mu_i and
    sigma_i mean and population std of g_i over the D features; L'_i = {j : |g_ij - mu_i| > eps/2 sigma_i}; A'_j how
    often j is in L'_i over the reference rows; S' between the same percentiles of A' as Q-Score's S; Q'_i = mean over
    L'_i & S' of |g_ij - mu_i|, undefined (ranked lowest) where that is empty. float64 throughout.

    Three changes to eq. 1, all ours. Both sides count, for a signed feature says as much by being low. Features are
    centered, for the mean of a signed feature is an arbitrary offset: without it a few features with large offsets
    fire for every sample and nothing else stands out. And eps is halved (see `repdiag.adapted`). Standardizing the
    features as well did worse than centering alone, even below chance.

    What we saw: on signed features it hardly predicts errors. On an autoencoder's latents and on the features before
    the last ReLU of a ResNet-20 and of two Conv4 its AUROC stayed within 0.08 of chance, below kNN density or the norm
    on most of them and far below the probe's confidence. It is offered to be judged, not recommended. On the ReLU
    features of the same ResNet-20 it does far better than the paper's score, which is undefined for nearly all samples
    there: eps, not the idea, is what fails at 64 features.

    In [0, 1], higher is better. Null: outcomes permuted. Interval: percentile bootstrap over samples. Skipped when the
    probe gets all or none right, or when the score is undefined for all or the same. Invariant to scale and to the
    order of samples and features. Cost O(ND + B N) after the probe.
    Example: scores (0.3, 0.2, undefined) of samples (right, right, wrong) give 1.
    """
    values, correct = ADAPTED.values(ws), ws.probe.correct
    if not np.isfinite(values).any():
        raise Skip(
            "no sample has a feature that stands out by the adapted rule: the score is undefined for all"
        )
    if correct.all() or not correct.any():
        raise Skip(f"the probe gets {'every' if correct.all() else 'no'} sample right: nothing to tell apart")
    quality = scores.as_rank(values)
    if np.unique(quality).size < 2:
        raise Skip("the adapted Q-Score is the same for every sample")
    ranked = ranking.Ranking(quality, correct)
    draws = np.array([ranked.auroc(w) for w in ws.draws])
    return MetricResult(
        ranked.auroc(),
        interval(resample.percentile_interval(draws), "bootstrap over samples", draws.size),
        null("outcomes permuted", (ranking.auroc(quality, correct[p]) for p in ws.permuted)),
        parameters={
            **_parameters(ws),
            "prevalence_correct": float(correct.mean()),
            "samples": int(correct.size),
        },
        note=_note(ws),
    )


@metric(
    MetricSpec(
        name="qscore_signed_empty_rate",
        family="risk",
        title="Samples without an adapted Q-Score",
        meaning="high: most samples have no discriminative feature that stands out, even by the adapted rule",
        formula="share of samples with L'_i & S' empty",
        source=SOURCE,
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="share",
        needs=frozenset(),
        laws=FEATURE_LAWS,
        cost="O(ND)",
    )
)
def qscore_signed_empty_rate(ws: Workspace) -> MetricResult:
    """Share of evaluated samples whose adapted Q-Score is undefined, in [0, 1], lower is better.

    L' and S' as in `qscore_signed_auroc`. With D features no |z| can exceed sqrt(D - 1), so it is 1 for D <= 5 at the
    default eps / 2 = 2. Bootstrap over samples; no null: it is not a labeled measure. Invariances as there.
    """
    return sample_mean(
        ws,
        np.isnan(ADAPTED.values(ws)).astype(np.float64),
        per_class=True,
        parameters=_parameters(ws),
        note="No null: it is not a labeled measure.",
    )
