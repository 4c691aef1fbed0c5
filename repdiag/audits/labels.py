"""Probable label errors by what the report says alone: prediction, confidence and label of each sample."""

from __future__ import annotations

import numpy as np

from repdiag.audits.samples import Samples
from repdiag.audits.types import Suspect
from repdiag.types import DoubleArray

RULE = "the probe gives another class a probability of at least the mean that it gives that class where it is the label"
"""In one clause, for people."""


def class_limits(samples: Samples) -> dict[str, float]:
    """For each class the mean probability that the probe gives it among the samples labeled so, from above.

    Formula: t_j = mean over i with y_i = j of u_i, u_i = c_i where the prediction is j, else min(c_i, 1 - c_i), with
    c_i the confidence, i.e. the largest class probability. samples.csv holds no other probability; u_i is the largest
    that p_i(j) can be, so that t_j is never below confident learning's mean self-confidence, and equal to it with two
    classes.
    """
    sums: dict[str, list[float]] = {}
    for label, prediction, c in zip(
        samples.label.tolist(), samples.prediction.tolist(), samples.confidence.tolist(), strict=True
    ):
        if label is not None and prediction is not None and c == c:
            sums.setdefault(label, []).append(c if prediction == label else min(c, 1 - c))
    return {label: float(np.mean(values)) for label, values in sums.items()}


def suspects(samples: Samples, split: str) -> list[Suspect]:
    """Samples whose label is probably wrong, the most confident first (equal ones in the report's order).

    A sample with the label i is suspected where the probe predicts j != i with a confidence of at least t_j
    (`class_limits`). In the words of confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068) these lie
    off the diagonal of the confident joint; since t_j is taken from above, and only the prediction's probability is
    known, they are a subset of those that the whole probabilities would give. Status: adapted. A rare or hard image
    with a right label looks the same to it: a suspicion, for a person to settle. Confidences are held out, so that no
    sample's own label has taught them.
    """
    limits = class_limits(samples)
    confidence: DoubleArray = samples.confidence
    found = []
    for i in np.argsort(-np.nan_to_num(confidence, nan=-1.0), kind="stable").tolist():
        label, prediction, c = samples.label[i], samples.prediction[i], float(confidence[i])
        if (
            label is None
            or prediction is None
            or prediction == label
            or not c >= limits.get(prediction, np.inf)
        ):
            continue
        found.append(
            Suspect(
                samples.ids[i],
                label,
                prediction,
                c,
                limits[prediction],
                np.nan,
                others_against(samples, i),
                "test" if split == "train/test" else "",
                "repdiag",
            )
        )
    return found


def others_against(samples: Samples, row: int) -> int | None:
    """How many of kNN and nearest center did not give the sample's label either; None where neither is known."""
    known = [v for v in (samples.knn_correct[row], samples.center_correct[row]) if np.isfinite(v)]
    return sum(bool(v == 0) for v in known) if known else None
