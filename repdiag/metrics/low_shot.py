"""Low-shot probes: what a linear classifier reads out of the embeddings when few labels are known."""

from __future__ import annotations

import math

import numpy as np

from repdiag.kernels import logistic, resample, rows
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, class_means, null
from repdiag.metrics.probes import LABELS
from repdiag.types import (
    Direction,
    IntArray,
    Interval,
    Law,
    MetricResult,
    MetricSpec,
    Row,
    Status,
)
from repdiag.workspace import Skip, Workspace

ITERATIONS = 50
FEWEST_TO_CHOOSE = 100  # labels from which a fifth, held out, can choose L2, where they are also
FEWEST_PER_CLASS = 5
LAWS = frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER})


def drawn(labels: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Rows that `share` of the labels names: that share of each class, at least one of each present; sorted."""
    taken = []
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        taken.append(members[: max(1, round(share * members.size))])
    return np.sort(np.concatenate(taken))


def interval_of(accuracies: Doubles, over_samples: Doubles) -> Interval | None:
    """t interval of the mean accuracy (R draws of labels), which adds two variances.

    That between the draws, over R, and that of bootstrap replicates `over_samples` (B,) of the mean; degrees of
    freedom by Welch and Satterthwaite.
    """
    from scipy.stats import t

    finite = over_samples[np.isfinite(over_samples)]
    if finite.size < 20 or accuracies.size < 2:
        return None
    parts = np.array([accuracies.var(ddof=1) / accuracies.size, finite.var(ddof=1)])
    freedom = np.array([accuracies.size - 1, finite.size - 1])
    total = float(parts.sum())
    value = float(accuracies.mean())
    degrees = total**2 / float((parts**2 / freedom).sum()) if total > 0 else 1.0
    margin = float(t.ppf(0.975, degrees)) * math.sqrt(total)
    draws = accuracies.size
    return Interval(
        value - margin, value + margin, f"{draws} draws of labels and bootstrap over samples", draws
    )


def _standard(ws: Workspace) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature over all reference rows: no label is needed for these."""

    def compute() -> tuple[Floats, Floats]:
        x, total, square = ws.reference_space, np.zeros(ws.dim), np.zeros(ws.dim)
        for block in rows.blocks(len(x), ws.dim * 8):
            total += x[block].sum(0, dtype=np.float64)
        mean = total / len(x)
        for block in rows.blocks(len(x), ws.dim * 8):
            square += ((x[block] - mean) ** 2).sum(0)
        scale = np.sqrt(square / len(x))
        scale[scale < 1e-12] = 1
        return mean.astype(np.float32), scale.astype(np.float32)

    return ws.once("standard of the reference", compute)


def _fit(
    ws: Workspace, some: IntArray, l2: float, start: logistic.LinearModel | None = None
) -> logistic.LinearModel:
    x, y = ws.reference_space[some], ws.reference_labels[some]
    return logistic.fit(
        x, y, ws.k, l2, start=start, standard=_standard(ws), iterations=ITERATIONS, device=ws.device
    )


def choose_l2(ws: Workspace, some: IntArray, rng: np.random.Generator) -> tuple[float, tuple[Row, ...]]:
    """L2 from a fifth of the drawn labels, held out; the strongest of the path where there are too few to hold any."""
    classes = np.unique(ws.reference_labels[some]).size
    if some.size < max(FEWEST_TO_CHOOSE, FEWEST_PER_CLASS * classes):
        return ws.config.probe_l2[0], ()
    held = np.isin(np.arange(some.size), rng.permutation(some.size)[: some.size // 5])
    path: list[Row] = []
    best, chosen, model = -1.0, ws.config.probe_l2[0], None
    worse = 0
    for l2 in ws.config.probe_l2:
        model = _fit(ws, some[~held], l2, model)
        right = model.logits(ws.reference_space[some[held]]).argmax(1) == ws.reference_labels[some[held]]
        accuracy = float(right.mean())
        path.append({"l2": l2, "validation_accuracy": accuracy})
        best, chosen, worse = (accuracy, l2, 0) if accuracy > best else (best, chosen, worse + 1)
        if worse == 2:
            break
    return chosen, tuple({**row, "chosen": row["l2"] == chosen} for row in path)


def low_shot(ws: Workspace, share: float, draws: int) -> MetricResult:
    """The mean over `draws` of the accuracy of a probe that knows the labels of `share` of the reference rows."""
    labels = ws.reference_labels
    rng = ws.rng(4300 + round(100 * share))
    known = drawn(labels, share, rng)
    if known.size == labels.size and not ws.has_split:
        raise Skip("one label per class leaves no sample to test on")
    l2, path = choose_l2(ws, known, rng)

    # without a split reference and evaluated rows are the same ones: those whose label was known are not tested
    right = np.full((draws, len(ws)), np.nan)
    chance = np.full((draws, len(ws.permuted)), np.nan)
    for r in range(draws):
        known = known if r == 0 else drawn(labels, share, rng)
        answer = _fit(ws, known, l2).logits(ws.space).argmax(1)
        tested = np.ones(len(ws), bool)
        if not ws.has_split:
            tested[known] = False
        right[r, tested] = answer[tested] == ws.labels[tested]
        for p, order in enumerate(ws.permuted):
            chance[r, p] = (answer[tested] == ws.labels[order][tested]).mean()
    accuracies = np.nanmean(right, axis=1)
    over_samples = _replicates(ws, right)
    tested = np.isfinite(right).any(0)
    per_sample = np.full(len(ws), np.nan)
    per_sample[tested] = np.nanmean(right[:, tested], axis=0)
    real = known.size / labels.size
    return MetricResult(
        float(accuracies.mean()),
        interval_of(accuracies, over_samples),
        null(PERMUTED, chance.mean(0)),
        per_class=class_means(ws, per_sample),
        per_sample=per_sample,
        table=path,
        parameters={
            "labels": int(known.size),
            "share": real,
            "draws": draws,
            "l2": l2,
            "accuracies": [float(a) for a in accuracies],
        },
        note=f"At least one label per class makes it {real:.1%} of the labels."
        if real > 1.2 * share
        else None,
    )


def _replicates(ws: Workspace, right: Doubles) -> Doubles:
    """Bootstrap replicates (B,) of the mean over draws of the accuracy, from `right` (R, N), NaN where not tested."""
    return np.asarray(np.mean([resample.weighted_means(r, ws.draws) for r in right], axis=0))


@metric(
    MetricSpec(
        name="low_shot_1",
        family="probes",
        title="Linear probe with 1 % of the labels",
        meaning="high: very few labels are enough to find the classes",
        formula="held-out accuracy of a logistic regression on 1 % of the training labels (one per class at least), "
        "mean of 5 draws",
        source="semi-supervised protocol of the SSL literature, on frozen embeddings",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=LAWS,
        cost="5 probes on N/100 rows, O(NDK) each to test",
    ),
    rows=Rows.GIVEN,
)
def low_shot_1(ws: Workspace) -> MetricResult:
    """Top-1 accuracy in [0, 1] of a linear probe that knows 1 % of the labels; higher is better.

    Of every class 1 % of the reference rows, rounded, and at least one: with few samples per class that is more than
    1 %, and `share` says how much it was. Skipped where it would be 10 % or more: then `low_shot_10` is the answer.
    Five draws of labels. Tested on the evaluated part, or, without a split, on all samples whose label was not drawn.
    Features are standardized over all reference rows (their labels are not used), L-BFGS in float32, at most 50
    iterations. L2: the strongest of the path, or, from 100 labels and five per class on, chosen on a fifth of the
    first draw's labels (the table). Nothing is fine-tuned, unlike in the protocol of that name. Null: the same
    predictions against permuted labels. Interval: t over the draws' variance plus the bootstrap over samples.

    The choice of L2 matters little: on three real encoders, from 10 to 1e-4, the value stayed within six points.
    """
    labels = ws.reference_labels
    if np.unique(labels).size >= 0.1 * labels.size:
        raise Skip("one label per class is 10 % of the labels or more: see low_shot_10")
    return low_shot(ws, 0.01, 5)


@metric(
    MetricSpec(
        name="low_shot_10",
        family="probes",
        title="Linear probe with 10 % of the labels",
        meaning="high: a tenth of the labels is enough to find the classes",
        formula="held-out accuracy of a logistic regression on 10 % of the training labels (one per class at least), "
        "mean of 3 draws",
        source="semi-supervised protocol of the SSL literature, on frozen embeddings",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=LAWS,
        cost="3 probes on N/10 rows and up to 5 to choose L2",
    ),
    rows=Rows.GIVEN,
)
def low_shot_10(ws: Workspace) -> MetricResult:
    """Top-1 accuracy in [0, 1] of a linear probe that knows 10 % of the labels; as `low_shot_1`, with three draws.

    Against `linear_probe_accuracy`: a small gap means that the classes lie ready, a large one that the probe had to
    learn them.
    """
    return low_shot(ws, 0.1, 3)
