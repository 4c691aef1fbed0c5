"""Probes: how much a simple classifier reads out of the frozen embeddings."""

from __future__ import annotations

import numpy as np

from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, sample_mean
from repdiag.types import Direction, IntArray, Law, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Workspace

LABELS = frozenset({Need.LABELS})


def _agreement(ws: Workspace, prediction: IntArray) -> list[float]:
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
    first fold's training rows. Null: its predictions against permuted labels. Interval: bootstrap over samples.
    """
    probe = ws.probe
    return sample_mean(
        ws,
        probe.correct.astype(np.float64),
        null_draws=_agreement(ws, probe.prediction),
        null_name=PERMUTED,
        per_class=True,
        parameters={
            "l2": probe.l2,
            "folds": len(ws.folds),
            "path": {str(l2): accuracy for l2, accuracy in probe.validation},
        },
    )


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
        null_draws=_agreement(ws, votes),
        per_class=True,
        parameters={"k": min(ws.config.knn, ws.reference_neighbors[1].shape[1])},
    )
