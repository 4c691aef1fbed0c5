"""An encoder and images in, an explanation out: which samples and features, where they look, and is it the object."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from repdiag import __version__
from repdiag.cautions import with_enough_labels
from repdiag.config import ScoreConfig
from repdiag.encoders import Encoder
from repdiag.errors import UsageError
from repdiag.explaining import shown
from repdiag.explaining.columns import sample_table
from repdiag.explaining.heating import Heater
from repdiag.explaining.overlaps import overlaps
from repdiag.explaining.request import Wanted, rows_of
from repdiag.explaining.run import Run
from repdiag.explaining.types import Explanation
from repdiag.extraction import EmbedConfig, embed
from repdiag.extraction.config import choose_device
from repdiag.heatmaps.masks import Masks, open_masks
from repdiag.risk import Risk
from repdiag.store import Store
from repdiag.types import ImageSource, Progress, silent

COARSE = 4
"""Places a side below which heat maps cannot show objects. Ours."""


def explain(
    encoder: Encoder,
    source: ImageSource,
    wanted: Wanted | None = None,
    *,
    config: ScoreConfig | None = None,
    embed_config: EmbedConfig | None = None,
    store: Store | None = None,
    use_labels: bool = True,
    progress: Progress = silent,
) -> Explanation:
    """Heat maps of chosen samples and of the top features of `encoder` on `source`, and their overlap with masks.

    Embeds all images as `repdiag score` does (the same cache), so that features, Q-Scores, probe answers and risks are
    the report's. Deterministic but for `created` and `timing`. Raises UsageError for an unknown sample, an encoder of
    several layers or one whose activations cannot be seen, DataError for masks of no evaluated sample.
    """
    wanted, config = wanted or Wanted(), config or ScoreConfig()
    embed_config = embed_config or EmbedConfig(seed=config.seed)
    if len(encoder.outputs) > 1:
        names = ", ".join(output.name for output in encoder.outputs)
        raise UsageError(f"The layers {names} have heat maps of their own", do="Choose one layer")
    rows_of(wanted.samples, source.manifest.paths, {})  # a mistyped name shows before the work
    masks = open_masks(wanted.masks) if wanted.masks is not None else None
    began = time.perf_counter()
    heater = Heater(encoder, source, choose_device(embed_config), wanted.method, embed_config.workers)
    embeddings = embed(encoder, source, embed_config, store=store, progress=progress)
    warnings = [*encoder.loading.warnings, *source.notes, *embeddings.provenance.get("notes", ())]
    if embeddings.corrupt:
        warnings.append(f"{len(embeddings.corrupt):,} images cannot be read and are left out.")
    if not use_labels:
        embeddings = replace(embeddings, labels=None, class_names=(), parents=())
    embeddings, said = with_enough_labels(embeddings)
    masks = masks.among(embeddings.ids) if masks is not None else None
    timing = {"embed": time.perf_counter() - began}
    run = Run(source, wanted, config, embeddings, heater, progress)
    made = _explanation(run, [*warnings, *said], masks, timing)
    return replace(made, timing={**made.timing, "total": time.perf_counter() - began})


def _explanation(
    run: Run, warnings: Sequence[str], masks: Masks | None, timing: dict[str, float]
) -> Explanation:
    """All parts, in the order in which they are worked out."""
    clock = time.perf_counter()
    asked = rows_of(
        run.wanted.samples, run.embeddings.ids, {c.path: c.reason for c in run.embeddings.corrupt}
    )
    run.progress("risk of each sample", 0, 3)
    risk, no_risk = run.risk
    run.progress("features that stand out", 1, 3)
    target = run.target
    run.progress("explained", 3, 3)
    timing["probe, risk and features"] = time.perf_counter() - clock
    clock = time.perf_counter()
    found, per = overlaps(run, masks)
    timing["heat maps against masks"] = time.perf_counter() - clock
    clock = time.perf_counter()
    table = sample_table(run, per, asked)
    samples = shown.explained(run, shown.chosen(run, asked), table, masks)
    features, notes = shown.features(run)
    timing["heat maps that are shown"] = time.perf_counter() - clock
    return Explanation(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        encoder=run.heater.encoder.describe(),
        dataset=_dataset(run),
        parameters=_parameters(run),
        environment={
            "repdiag": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
            "device": str(run.heater.device),
            "precision": "float32",
        },
        target=target,
        place=run.heater.described,
        samples=samples,
        features=features,
        overlaps=found,
        table=table,
        risk=_risk(risk),
        notes=notes,
        warnings=(*warnings, *([no_risk] if no_risk else ()), *_cautions(run)),
        timing=timing,
    )


def _cautions(run: Run) -> list[str]:
    """What to keep in mind about these heat maps."""
    said = []
    h, w = run.heater.place.grid
    if min(h, w) < COARSE:
        said.append(f"The heat maps have only {h} x {w} places: they tell parts of the picture, not objects.")
    if run.wanted.count and not np.isfinite(run.columns["risk"]).any():
        said.append("No sample has a risk, so there is no riskiest one: name samples with --sample.")
    return said


def _dataset(run: Run) -> dict[str, Any]:
    name = run.source.name
    return {
        "name": name.rstrip("/").rpartition("/")[2] or name,
        "location": name,
        "fingerprint": run.source.manifest.fingerprint,
        "samples": len(run.embeddings),
        "evaluated": len(run.everyone),
        "labeled": run.ws.labeled,
        "classes": run.ws.k,
    }


def _parameters(run: Run) -> dict[str, Any]:
    """What was asked for, and the choices of the configuration that matter here."""
    asked, masks, config = asdict(run.wanted), run.wanted.masks, run.config
    chosen = {"seed": config.seed, "eps": config.eps, "lower": config.lower, "upper": config.upper}
    return {
        **asked,
        "riskiest": run.wanted.count,
        "masks": None if masks is None else str(masks),
        **chosen,
        "bootstrap": config.bootstrap,
    }


def _risk(risk: Risk | None) -> dict[str, Any]:
    if risk is None:
        return {}
    names = ("score", "title", "validated", "auroc", "explanation")
    return {name: getattr(risk, name) for name in names}
