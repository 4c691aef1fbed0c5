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

from repdiag import __version__, maps
from repdiag.cautions import cautions, with_enough_labels
from repdiag.config import ScoreConfig
from repdiag.errors import DataError, UsageError
from repdiag.metrics import Metric, all_metrics
from repdiag.metrics._class_tables import pair_columns
from repdiag.metrics.cluster_table import cluster_columns
from repdiag.registry import did_you_mean
from repdiag.risk import Risk, assess
from repdiag.showing import exhibits
from repdiag.showing.advice import advise
from repdiag.sizes import by_size
from repdiag.tables import class_rows, feature_columns, sample_columns
from repdiag.types import (
    EmbeddingSet,
    Measurement,
    Progress,
    Report,
    Table,
    ThumbnailReader,
    silent,
)
from repdiag.verdicts import verdicts
from repdiag.workspace import Skip, Workspace


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
    are computed ("cpu" or "cuda"). `encoder` and `dataset` are carried into the report as provenance. `draw_map` draws
    the maps, UMAP and PCA. `thumbnails` reads small pictures of samples, for a report that shows images. Raises
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
    explained: tuple[float, float] | None = None
    for done, metric in enumerate(chosen):
        progress(metric.spec.title, done, steps)
        found.append(metric.run(ws))
    if config.by_size:
        began = time.perf_counter()
        points = by_size(embeddings, config, device, chosen)
        found = [replace(m, by_size=points.get(m.spec.name, ())) for m in found]
        timing["on halves and quarters of the samples"] = time.perf_counter() - began
    notes = [*warnings, *said, *cautions(ws)]

    progress("risk of each sample", len(chosen), steps)
    began = time.perf_counter()
    risk: Risk | None = None
    try:
        risk = assess(ws)
    except Skip as skip:
        notes.append(f"No risk column: {skip.reason}.")
    samples = sample_columns(ws, risk)
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
        began = time.perf_counter()
        with contextlib.suppress(Skip):  # where nothing varies there is no UMAP map either, and that was said
            flat, explained = maps.pca_map(everyone)
            samples["pca_x"], samples["pca_y"] = flat[:, 0], flat[:, 1]
        timing["PCA map"] = time.perf_counter() - began
    progress("measured", steps, steps)

    began = time.perf_counter()
    families = {m.spec.family for m in chosen}
    pairs = pair_columns(ws) if "crowding" in families else {}
    classes = class_rows(ws, found, samples, risk)
    features = feature_columns(everyone)
    clusters = cluster_columns(everyone) if "stability" in families else {}
    timing["tables"] = time.perf_counter() - began

    began = time.perf_counter()
    shown, pictures = exhibits(ws, samples, pairs, thumbnails, progress)
    timing["exhibits and pictures"] = time.perf_counter() - began
    report = Report(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        encoder=dict(encoder or {"name": "-", "note": "embeddings were given, no encoder was run"}),
        dataset={**_dataset_facts(ws, embeddings), **(dataset or {})},
        config={**asdict(config), "metrics": [m.spec.name for m in chosen]},
        environment=_environment(device),
        measurements=tuple(found),
        samples=Table(samples),
        classes=Table(classes),
        features=Table(features),
        risk=_risk_facts(risk),
        warnings=tuple(notes),
        thumbnails=pictures,
        timing=timing,
        pairs=Table(pairs),
        clusters=Table(clusters),
        verdicts=verdicts(found),
    )
    advice = advise(
        report.measurements,
        report.verdicts,
        encoder=report.encoder,
        dataset=report.dataset,
        warnings=report.warnings,
        pairs=report.pairs,
        risk=report.risk,
        classes=report.classes,
    )
    return replace(report, exhibits=replace(shown, advice=advice, pca_explained=explained))


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
