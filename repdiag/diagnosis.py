"""Embeddings in, report out: run the metrics, then lay out what they found as tables."""

from __future__ import annotations

import contextlib
import datetime
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag import __version__, maps
from repdiag.config import ScoreConfig
from repdiag.errors import DataError, UsageError
from repdiag.kernels import rows
from repdiag.metrics import Metric, all_metrics
from repdiag.metrics._answers import class_means
from repdiag.metrics._class_tables import class_columns, pair_columns
from repdiag.metrics.cluster_table import cluster_columns
from repdiag.metrics.features import kept_features
from repdiag.registry import did_you_mean
from repdiag.risk import Risk, answers, assess
from repdiag.scores import BY_NAME, score_values
from repdiag.sizes import by_size
from repdiag.types import (
    EmbeddingSet,
    Measurement,
    MetricResult,
    Progress,
    Report,
    Table,
    ThumbnailReader,
    silent,
)
from repdiag.verdicts import verdicts
from repdiag.workspace import Skip, Workspace

SHOWN_SAMPLES = 24
"""How many of the riskiest samples get a thumbnail in the report."""

FEWEST_LABELED = 20
"""Labeled samples below which a partly labeled data set counts as unlabeled."""

Columns = dict[str, npt.NDArray[Any]]


def choose_metrics(names: Sequence[str] | None) -> list[Metric]:
    """The metrics or families called `names`, in reporting order; all of them for None."""
    every = all_metrics()
    if not names:
        return every
    known = {m.spec.name for m in every} | {m.spec.family for m in every}
    for name in names:
        if name not in known:
            raise UsageError(f"There is no metric or family '{name}'", do=did_you_mean(name, list(known)))
    return [m for m in every if m.spec.name in names or m.spec.family in names]


def diagnose(
    embeddings: EmbeddingSet,
    config: ScoreConfig | None = None,
    *,
    device: str = "cpu",
    encoder: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    metrics: Sequence[str] | None = None,
    draw_map: bool = True,
    thumbnails: ThumbnailReader | None = None,
    warnings: Sequence[str] = (),
    progress: Progress = silent,
) -> Report:
    """Measure `embeddings` and return the whole report.

    `metrics` limits the run to metrics or families by name. `device` is where neighbors, k-means and probes
    are computed ("cpu" or "cuda"). `encoder` and `dataset` are carried into the report as provenance. Raises
    DataError when there is nothing to measure, UsageError for an unknown metric.
    """
    config = config or ScoreConfig()
    chosen = choose_metrics(metrics)
    embeddings, said = with_enough_labels(embeddings)
    ws = Workspace(embeddings, config, device)
    everyone = ws.whole
    if len(ws) < 4:
        raise DataError(
            f"Only {len(ws)} samples are left to evaluate",
            do="Give at least 4 (some hundreds for numbers that mean something)",
        )
    timing: dict[str, float] = {}
    found: list[Measurement] = []
    steps = len(chosen) + (2 if draw_map else 1)
    for done, metric in enumerate(chosen):
        progress(metric.spec.title, done, steps)
        found.append(metric.run(ws))
    if config.by_size:
        began = time.perf_counter()
        points = by_size(embeddings, config, device, chosen)
        found = [replace(m, by_size=points.get(m.spec.name, ())) for m in found]
        timing["on halves and quarters of the samples"] = time.perf_counter() - began
    notes = [*warnings, *said, *_cautions(ws)]

    progress("risk of each sample", len(chosen), steps)
    began = time.perf_counter()
    risk: Risk | None = None
    try:
        risk = assess(ws)
    except Skip as skip:
        notes.append(f"No risk column: {skip.reason}.")
    samples = _sample_columns(ws, risk)
    timing["risk and sample table"] = time.perf_counter() - began

    if draw_map:
        progress("UMAP map", len(chosen) + 1, steps)
        began = time.perf_counter()
        try:
            flat = maps.umap_map(everyone)
            samples["umap_x"], samples["umap_y"] = flat[:, 0], flat[:, 1]
        except Skip as skip:
            notes.append(f"No map: {skip.reason}.")
        timing["UMAP map"] = time.perf_counter() - began
    progress("measured", steps, steps)

    began = time.perf_counter()
    families = {m.spec.family for m in chosen}
    report = Report(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        encoder=dict(encoder or {"name": "-", "note": "embeddings were given, no encoder was run"}),
        dataset={**_dataset_facts(ws, embeddings), **(dataset or {})},
        config={**asdict(config), "metrics": [m.spec.name for m in chosen]},
        environment=_environment(device),
        measurements=tuple(found),
        samples=Table(samples),
        classes=Table(_class_columns(ws, found, _of_labeled(ws, samples), risk)),
        features=Table(_feature_columns(everyone)),
        risk=_risk_facts(risk),
        warnings=tuple(notes),
        thumbnails=_thumbnails(samples, thumbnails),
        timing=timing,
        pairs=Table(pair_columns(ws) if "crowding" in families else {}),
        clusters=Table(cluster_columns(everyone) if "stability" in families else {}),
        verdicts=verdicts(found),
    )
    timing["tables and thumbnails"] = time.perf_counter() - began
    return report


def with_enough_labels(embeddings: EmbeddingSet) -> tuple[EmbeddingSet, list[str]]:
    """`embeddings` fit to be measured where some labels are missing, and what to say about it.

    Labeled measures need FEWEST_LABELED labeled samples of two classes in the evaluated part. Where that part has too
    few the split is set aside, so that all labeled samples are cross-fitted and the others get what they learned;
    where all together are too few no label is used.
    """
    labels, split = embeddings.labels, embeddings.is_train
    if labels is None or (labels >= 0).all():
        return embeddings, []
    known = labels >= 0

    def enough(part: npt.NDArray[np.bool_]) -> bool:
        return int(part.sum()) >= FEWEST_LABELED and np.unique(labels[part]).size >= 2

    counted = f"Labels are known for {known.sum():,} of {known.size:,} samples"
    if not enough(known):
        bare = replace(embeddings, labels=None, class_names=(), parents=())
        return bare, [
            f"{counted}, fewer than {FEWEST_LABELED} or of one class only: they are not used, all count as unlabeled."
        ]
    said = [
        f"{counted} (-1, NaN and blank are none). Labeled measures are about those, the others about everyone; a "
        "sample without a label has the prediction of a probe that learned from the labeled, and the risk that these "
        "teach."
    ]
    if split is not None and split.any() and not split.all():
        if not enough(known & ~split):
            said.append(
                f"The test part has {(known & ~split).sum():,} labels, too few to evaluate: the split is set aside. "
                "Labeled measures are cross-fitted over all labeled samples, and what the risk learned there, mostly "
                "on training samples, is carried over to the test part: that holds if both are alike."
            )
            return replace(embeddings, is_train=None), said
        if not (known & split).any():
            said.append("The train part has no labels: labeled measures are cross-fitted over the test part.")
    return embeddings, said


def _of_labeled(ws: Workspace, samples: Columns) -> Columns:
    """The rows of the sample table that have a label, known to be right or wrong."""
    if ws.whole is ws:
        return samples
    found = {name: column[ws.place] for name, column in samples.items()}
    if "correct" in found:
        found["correct"] = found["correct"].astype(np.bool_)
    return found


def _cautions(ws: Workspace) -> list[str]:
    """What a careful reader of this report should know before the first number."""
    notes = []
    zero = int((ws.lengths == 0).sum())
    if zero:
        notes.append(f"{zero} embeddings are all zeros and point nowhere; they count as they are.")
    copies = len(ws) - np.unique(np.ascontiguousarray(ws.x).view(np.dtype((np.void, ws.dim * 4)))).size
    if copies:
        notes.append(
            f"{copies} of {len(ws)} embeddings are exact copies of another: duplicates flatter neighbor and "
            "cross-fitted measures."
        )
    if not ws.labeled:
        notes.append(
            "No labels: labeled measures are skipped and the risk column is not validated."
            if ws.k < 2
            else "All evaluated samples are of one class: labeled measures are skipped."
        )
        if ws.config.clusters is None:
            notes.append("k = 10 clusters is a guess; set --clusters to what you expect.")
    else:
        counts = np.bincount(ws.labels, minlength=ws.k)
        present = counts[counts > 0]
        if present.min() < 10:
            notes.append(
                f"{int((present < 10).sum())} of {present.size} classes have fewer than 10 evaluated samples: "
                "their per-class numbers are noise."
            )
        if present.max() > 10 * present.min():
            notes.append(
                f"Classes are unbalanced ({present.min()} to {present.max()} samples): accuracies follow the "
                "large ones, crowding measures weigh classes alike."
            )
    if len(ws) < 200:
        notes.append(f"Only {len(ws)} samples are evaluated: expect wide intervals.")
    return notes


def _sample_columns(ws: Workspace, risk: Risk | None) -> Columns:
    """A row for everyone; where labels are missing `label` and `correct` are empty for the samples without one."""
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


def _class_columns(ws: Workspace, found: list[Measurement], samples: Columns, risk: Risk | None) -> Columns:
    if not ws.labeled:
        return {}
    names = np.asarray(ws.class_names, dtype=np.str_)
    counts = np.bincount(ws.labels, minlength=ws.k)
    out: Columns = {"class": names, "n": counts}
    if ws.parents:
        out["parent"] = np.asarray(ws.parents, dtype=np.str_)
    if "correct" in samples:
        out["accuracy"] = class_means(ws, samples["correct"].astype(np.float64))
        out["most_confused_with"] = _confused(ws, names)
    try:
        out |= class_columns(ws)
        filled = np.where(np.isfinite(ws.geometry.distance), ws.geometry.distance, np.inf)
        nearest = names[filled.argmin(1)]
        out["nearest_class"] = np.where(np.isfinite(filled.min(1)), nearest, "")
    except Skip:
        pass
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


def _feature_columns(ws: Workspace) -> Columns:
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


def _risk_facts(risk: Risk | None) -> dict[str, Any]:
    if risk is None:
        return {}
    low, high = risk.interval or (None, None)
    said = {
        "score": risk.score,
        "title": risk.title,
        "validated": risk.validated,
        "auroc": risk.auroc,
        "low": low,
        "high": high,
        "explanation": risk.explanation,
        "fold_choices": risk.choices,
    }
    if risk.calibration is not None:
        held = risk.calibration
        said |= {
            "weights": risk.weights,
            "brier": held.brier,
            "brier_of_error_rate": held.base,
            "skill": held.skill,
            "ece": held.ece,
        }
    return said


def _thumbnails(samples: Columns, read: ThumbnailReader | None) -> Mapping[str, bytes]:
    if read is None or not np.isfinite(samples["risk"]).any():
        return {}
    riskiest = np.argsort(-samples["risk"], kind="stable")[:SHOWN_SAMPLES]
    return read([str(i) for i in samples["id"][riskiest]])


def _dataset_facts(ws: Workspace, embeddings: EmbeddingSet) -> dict[str, Any]:
    return {
        "samples": len(embeddings),
        "evaluated": len(ws.whole),
        **({} if ws.whole is ws else {"labeled_samples": len(ws)}),
        "reference": len(ws.reference),
        "split": "train/test" if ws.has_split else "none: labeled measures are cross-fitted",
        "features": ws.dim,
        "classes": ws.k,
        "labeled": ws.labeled,
        "corrupt": [{"path": c.path, "reason": c.reason} for c in embeddings.corrupt],
        "views": embeddings.views.description if embeddings.views is not None else None,
        "embedding": dict(embeddings.provenance),
    }


def _environment(device: str) -> dict[str, Any]:
    packages = {}
    for name in (
        "torch",
        "torchvision",
        "timm",
        "numpy",
        "scikit-learn",
        "umap-learn",
        "faiss-gpu",
        "faiss-cpu",
    ):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "repdiag": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "device": device,
        "packages": packages,
    }
