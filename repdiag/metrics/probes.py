"""Probes: how much a simple classifier reads out of the frozen embeddings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, class_means, sample_mean, singletons
from repdiag.metrics._centers import nearest_centers
from repdiag.types import Direction, IntArray, Law, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Workspace

LABELS = frozenset({Need.LABELS})


def agreement(ws: Workspace, prediction: IntArray) -> list[float]:
    """Accuracy of the same predictions against permuted labels: what a blind classifier of this bias gets."""
    return [float((prediction == ws.labels[p]).mean()) for p in ws.permuted]


@metric(
    MetricSpec(
        name="linear_probe_accuracy",
        family="probes",
        title="Linear probe accuracy",
        meaning="high: a linear classifier on the frozen embeddings finds the classes",
        formula="held-out accuracy of multinomial logistic regression (L-BFGS), L2 chosen on a validation part",
        source="standard linear evaluation protocol, on L2-normalized embeddings",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER}),
        cost="O(iterations * NDK)",
        headline=True,
    ),
    rows=Rows.GIVEN,
)
def linear_probe_accuracy(ws: Workspace) -> MetricResult:
    """Top-1 accuracy in [0, 1] of a linear classifier on samples it was not trained on.

    Unit rows, features standardized on the training rows, full-batch L-BFGS in float32; trained on the train part,
    or on four of five stratified folds in turn. One L2 strength for all folds, chosen on a held-out fifth of the
    first fold's training rows; the table is the path that was tried, strongest first. `fold_std`: the accuracies'
    standard deviation over the folds (absent with a split), which holds the noise of training and of the test rows.
    Null: its predictions against permuted labels. Interval: bootstrap over samples, the trained probes held fixed.
    """
    probe = ws.probe
    by_fold = np.array([probe.correct[fold.test].mean() for fold in ws.folds if fold.test.size])
    found = sample_mean(
        ws,
        probe.correct.astype(np.float64),
        null_draws=agreement(ws, probe.prediction),
        null_name=PERMUTED,
        per_class=True,
        parameters={
            "l2": probe.l2,
            "folds": len(ws.folds),
            "path": {str(l2): accuracy for l2, accuracy in probe.validation},
            **({"fold_std": float(by_fold.std(ddof=1))} if by_fold.size > 1 else {}),
        },
    )
    return replace(
        found,
        table=tuple(
            {"l2": l2, "validation_accuracy": accuracy, "chosen": l2 == probe.l2}
            for l2, accuracy in probe.validation
        ),
    )


@metric(
    MetricSpec(
        name="macro_accuracy",
        family="probes",
        title="Linear probe accuracy, classes weighed alike",
        meaning="high: the linear probe finds every class, the small ones too",
        formula="mean over classes of the linear probe's held-out accuracy within the class",
        source="balanced accuracy, standard; of the probe of `linear_probe_accuracy`",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=frozenset({Law.PERMUTATION, Law.SCALE, Law.FEATURE_ORDER}),
        cost="O(N) beside the probe",
    ),
    rows=Rows.GIVEN,
)
def macro_accuracy(ws: Workspace) -> MetricResult:
    """Mean over the classes present of the share of their samples that the linear probe names rightly, in [0, 1].

    `linear_probe_accuracy` follows the large classes; here a class of 5 samples counts as one of 500. Equal to it when
    all classes have as many samples. Null: the same predictions against permuted labels, near 1/K whatever the
    imbalance. Interval: bootstrap over samples within classes. With classes of 90 and 10 samples and the large one
    always guessed: 0.5, where the accuracy is 0.9.
    """
    probe = ws.probe
    size = np.bincount(ws.labels, minlength=ws.k)
    weight = len(ws) / ((size > 0).sum() * np.maximum(size, 1))  # of a sample of each class; their mean is 1

    def macro(labels: IntArray) -> float:
        return float(((probe.prediction == labels) * weight[labels]).mean())

    found = sample_mean(
        ws,
        probe.correct * weight[ws.labels],
        null_draws=[macro(ws.labels[p]) for p in ws.permuted],
        parameters={"classes": int((size > 0).sum()), "smallest": int(size[size > 0].min())},
        note=singletons(ws),
    )
    return replace(found, per_class=class_means(ws, probe.correct.astype(np.float64)), per_sample=None)


def knn_votes(ws: Workspace) -> IntArray:
    """Predictions of the weighted kNN classifier for the evaluated rows (N,)."""
    cosine, index = ws.reference_neighbors
    k = min(ws.config.knn, index.shape[1])
    weight = np.exp(cosine[:, :k].astype(np.float64) / ws.config.knn_temperature)
    votes = np.zeros((len(ws), ws.k))
    rows = np.arange(len(ws))
    neighbor_labels = ws.reference_labels[index[:, :k]]
    for j in range(k):
        votes[rows, neighbor_labels[:, j]] += weight[:, j]
    return np.asarray(votes.argmax(1), np.int64)


@metric(
    MetricSpec(
        name="knn_accuracy",
        family="probes",
        title="kNN accuracy",
        meaning="high: the nearest neighbors of a sample name its class",
        formula="held-out accuracy of the vote of the k = 20 nearest, weighted by exp(cosine / 0.07)",
        source="Wu et al. 2018, arXiv 1805.01978",
        status=Status.PUBLISHED,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=frozenset({Law.PERMUTATION, Law.ROTATION, Law.SCALE, Law.FEATURE_ORDER}),
        cost="O(N^2 D), tiled",
        by_size=True,
    )
)
def knn_accuracy(ws: Workspace) -> MetricResult:
    """Top-1 accuracy in [0, 1] of the weighted kNN vote.

    Neighbors come from the train part, or, without a split, from all other samples (leave one out). Exact
    search by cosine. Null: its predictions against permuted labels. O(N^2 D) time, tiled.
    """
    votes = knn_votes(ws)
    return sample_mean(
        ws,
        (votes == ws.labels).astype(np.float64),
        null_draws=agreement(ws, votes),
        per_class=True,
        parameters={"k": min(ws.config.knn, ws.reference_neighbors[1].shape[1])},
    )


@metric(
    MetricSpec(
        name="nearest_center_accuracy",
        family="probes",
        title="Nearest class center accuracy",
        meaning="high: a class is one compact group around its center",
        formula="share of samples whose nearest class center (out of fold, Euclidean) is their class's",
        source="standard; Mensink et al. 2013 for the classifier",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=frozenset({Law.PERMUTATION, Law.ROTATION, Law.SCALE, Law.FEATURE_ORDER}),
        cost="O(NDK)",
        by_size=True,
    ),
    rows=Rows.GIVEN,
)
def nearest_center_accuracy(ws: Workspace) -> MetricResult:
    """Top-1 accuracy in [0, 1] of the simplest classifier there is: the nearest class mean.

    Means come from the train part, or from the other folds without a split. It has nothing to tune; where a linear
    probe is far better, classes are separable but not compact. 1 - `nearest_center_error` of the crowding family, whose
    answers it takes, with the other probes' null: its predictions against permuted labels. Interval: bootstrap over
    samples. O(NDK) time.
    """
    prediction = nearest_centers(ws)
    return sample_mean(
        ws,
        (prediction == ws.labels).astype(np.float64),
        null_draws=agreement(ws, prediction),
        per_class=True,
        parameters={"folds": len(ws.folds)},
    )
