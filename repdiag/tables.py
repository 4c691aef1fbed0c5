"""The rows of a report's tables: one per sample, per class, per feature."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.kernels import rows
from repdiag.metrics._answers import class_means
from repdiag.metrics._centers import nearest_centers
from repdiag.metrics._class_tables import class_columns
from repdiag.metrics.features import kept_features
from repdiag.metrics.probes import knn_votes
from repdiag.risk import Risk, answers
from repdiag.scores import BY_NAME, score_values
from repdiag.types import Measurement, MetricResult, Need
from repdiag.workspace import Skip, Workspace

Columns = dict[str, npt.NDArray[Any]]
"""A table while it grows."""


def sample_columns(ws: Workspace, risk: Risk | None) -> Columns:
    """A row for everyone; `label` and what is right or wrong are empty for the samples without a label.

    `correct`, `knn_correct` and `nearest_center_correct` are the values by sample of linear_probe_accuracy,
    knn_accuracy and nearest_center_accuracy: with them two reports can be compared sample by sample.
    """
    everyone = ws.whole
    partial = everyone is not ws
    out: Columns = {"id": everyone.ids, "path": everyone.ids}
    names = np.asarray(ws.class_names, dtype=np.str_)
    if ws.k:
        out["label"] = _spread(ws, names[ws.labels])
    with contextlib.suppress(Skip):  # the probe cannot always be trained
        BY_NAME["confidence"].values(ws)
        probabilities = answers(ws)
        out["prediction"] = names[probabilities.argmax(1)]
        out["correct"] = _spread(ws, ws.probe.correct)
        out["confidence"] = probabilities.max(1)
    with contextlib.suppress(Skip):
        ws.demand(frozenset({Need.LABELS}))
        out["knn_correct"] = _spread(ws, knn_votes(ws) == ws.labels)
        out["nearest_center_correct"] = _spread(ws, nearest_centers(ws) == ws.labels)
    values = score_values(everyone)
    values.pop("confidence", None)
    out["q_score"] = values.pop("q_score", np.full(len(everyone), np.nan))
    column = None if risk is None else risk.everyone if partial else risk.values
    out["risk"] = np.full(len(everyone), np.nan) if column is None else column
    out |= values
    with contextlib.suppress(Skip):
        out["cluster"] = everyone.clusterings[0].labels
    return out


def _spread(ws: Workspace, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`values` of the labeled (N,) as a column of everyone: None for the others."""
    if ws.whole is ws:
        return values
    out = np.full(len(ws.whole), None, dtype=object)
    out[ws.place] = values.tolist()
    return out


def class_rows(ws: Workspace, found: list[Measurement], samples: Columns, risk: Risk | None) -> Columns:
    """One row per class: how many, how well told, how wide, and what it is taken for; {} without labels."""
    if not ws.labeled:
        return {}
    samples = _of_labeled(ws, samples)
    names = np.asarray(ws.class_names, dtype=np.str_)
    counts = np.bincount(ws.labels, minlength=ws.k)
    out: Columns = {"class": names, "n": counts}
    if ws.parents:
        out["parent"] = np.asarray(ws.parents, dtype=np.str_)
    if "correct" in samples:
        out["accuracy"] = class_means(ws, samples["correct"].astype(np.float64))
        out["most_confused_with"] = _confused(ws, names)
    with contextlib.suppress(Skip):
        out |= class_columns(ws)
    for m in found:
        if (
            m.spec.name == "knn_purity"
            and isinstance(m.outcome, MetricResult)
            and m.outcome.per_class is not None
        ):
            out["knn_purity"] = m.outcome.per_class
    out["mean_q_score"] = class_means(ws, samples["q_score"])
    if risk:
        out["mean_risk"] = class_means(ws, risk.values)
    return out


def _confused(ws: Workspace, names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """The class that each class's misclassified samples are taken for most often ('' when none is)."""
    out = np.full(ws.k, "", dtype=names.dtype)
    for c in range(ws.k):
        wrong = ws.probe.prediction[(ws.labels == c) & ~ws.probe.correct]
        if wrong.size:
            out[c] = names[np.bincount(wrong).argmax()]
    return out


def feature_columns(ws: Workspace) -> Columns:
    """One row per feature: its moments, how often it stands out, and whether it was kept."""
    total, square, active = (np.zeros(ws.dim) for _ in range(3))
    for b in rows.blocks(len(ws), ws.dim * 24):
        x = ws.x[b].astype(np.float64)
        total += x.sum(0)
        square += (x**2).sum(0)
        active += (ws.raw[b] > 0).sum(0)
    mean = total / len(ws)
    out: Columns = {
        "feature": np.arange(ws.dim),
        "mean": mean,
        "std": np.sqrt(np.maximum(square / len(ws) - mean**2, 0)),
        "active_share": active / len(ws),
    }
    if ws.nonnegative:
        out["activation_frequency"] = ws.activation.frequency
        out["in_s"] = ws.activation.selected
    kept = kept_features(ws)
    if kept is not None:
        out["kept"] = kept
    return out


def _of_labeled(ws: Workspace, samples: Columns) -> Columns:
    """The rows of the sample table that have a label, known to be right or wrong."""
    if ws.whole is ws:
        return samples
    found = {name: column[ws.place] for name, column in samples.items()}
    if "correct" in found:
        found["correct"] = found["correct"].astype(np.bool_)
    return found
