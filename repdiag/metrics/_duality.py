"""A linear probe's weights against class means, and both under permuted labels (for `neural_collapse`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.kernels import classes, logistic
from repdiag.kernels.logistic import LinearModel
from repdiag.kernels.rows import Doubles, Floats
from repdiag.metrics._centers import nearest
from repdiag.types import IntArray
from repdiag.workspace import Workspace

NULL_PROBES = 3
NULL_ROWS = 2000
NULL_CLASSES = 50


@dataclass(frozen=True)
class Duality:
    """NC3, and its derivative in the standardized mean of each class (K, D), zero for absent ones."""

    value: float
    gradient: Doubles


@dataclass(frozen=True)
class Permuted:
    """NC3 and NC4 of one probe on permuted labels."""

    duality: float
    agreement: float


def probe_weights(ws: Workspace) -> tuple[LinearModel, float]:
    """A probe fitted on all reference rows at the workspace's L2 strength, and that strength."""

    def compute() -> tuple[LinearModel, float]:
        l2, _ = ws.probe_l2
        return logistic.fit(ws.reference_space, ws.reference_labels, ws.k, l2, device=ws.device), l2

    return ws.once("probe weights", compute)


def duality(model: LinearModel, x: Floats, y: IntArray, k: int) -> Duality | None:
    """||W'/||W|| - M/||M||||^2 with M from rows `x` (N, D), labels `y`; None where W or M is zero."""
    means, total = classes.class_means(x, y, k)
    known = total > 0
    means = (means[known] - model.mean) / model.scale
    means -= means.mean(0)
    weight = model.weight.T[known].astype(np.float64)
    weight -= weight.mean(0)
    long, wide = np.linalg.norm(weight), np.linalg.norm(means)
    rounding = classes.COINCIDENT * float(np.abs(model.mean / model.scale).max() + 1)
    if not long > 0 or not wide > rounding:
        return None
    weight /= long
    cosine = float((weight * means).sum() / wide)
    gradient = np.zeros((k, x.shape[1]))
    gradient[known] = -2 * (weight / wide - cosine * means / wide**2)
    return Duality(min(4.0, max(0.0, 2 - 2 * cosine)), gradient)


def permuted_probes(ws: Workspace) -> list[Permuted]:
    """NC3 and NC4 under permuted labels, on a part of the rows that keeps this cheap.

    The probe and the centers learn from at most NULL_ROWS reference rows of NULL_CLASSES permuted classes, at the L2
    strength chosen for the true labels; NC4 is asked about at most as many other evaluated rows.
    """

    def compute() -> list[Permuted]:
        l2, _ = ws.probe_l2
        rng, found = ws.rng(65), []
        for _ in range(NULL_PROBES):
            labels = rng.permutation(ws.reference_labels)
            present = rng.permutation(np.unique(labels))[:NULL_CLASSES]
            number = np.full(ws.k, -1)
            number[present] = np.arange(present.size)
            rows = rng.permutation(np.flatnonzero(number[labels] >= 0))
            half = min(NULL_ROWS, rows.size if ws.has_split else rows.size // 2)
            fit, left = rows[:half], rows[half : half + NULL_ROWS]
            asked = rng.permutation(len(ws))[:NULL_ROWS] if ws.has_split else left
            x, y, k = ws.reference_space[fit], number[labels[fit]], int(present.size)
            if np.unique(y).size < 2 or not asked.size:
                continue
            model = logistic.fit(x, y, k, l2, iterations=50, device=ws.device)
            drawn = duality(model, x, y, k)
            probe = model.logits(ws.space[asked]).argmax(1)
            centers = classes.class_means(x, y, k)[0]
            agreement = float((probe == nearest(ws.space[asked], centers)).mean())
            found.append(Permuted(float("nan") if drawn is None else drawn.value, agreement))
        return found

    return ws.once("permuted probes", compute)
