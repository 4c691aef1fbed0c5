"""`repdiag score`: plan what is to be done, then do it. Model and data in, report out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repdiag import companions
from repdiag.config import ScoreConfig
from repdiag.diagnosis import choose_metrics, diagnose
from repdiag.errors import UsageError
from repdiag.showing.pictures import remembering
from repdiag.sources import is_embeddings, open_source, read_embeddings
from repdiag.types import (
    EmbeddingSet,
    ImageSource,
    MetricSpec,
    Need,
    Progress,
    Report,
    ThumbnailReader,
    silent,
)

if TYPE_CHECKING:
    from repdiag.encoders import Encoder
    from repdiag.encoders.types import Output
    from repdiag.extraction import EmbedConfig
    from repdiag.store import Store


@dataclass(frozen=True)
class Request:
    """What the user asked for. `model` is a file or a name, or "-" when `dataset` holds embeddings.

    Either may also be the thing itself: an `Encoder`, an `ImageSource`, an `EmbeddingSet` (model "-").
    `earlier` are loaded as the model is; clusters are compared with theirs.
    """

    model: str | Encoder
    dataset: str | ImageSource | EmbeddingSet
    config: ScoreConfig = field(default_factory=ScoreConfig)
    embed: EmbedConfig | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)  # keywords of `load_encoder`
    data: Mapping[str, Any] = field(default_factory=dict)  # keywords of `open_source`
    cache: Path | None = None  # None: the default place
    use_cache: bool = True
    use_labels: bool = True
    metrics: tuple[str, ...] = ()
    draw_map: bool = True
    earlier: tuple[
        str | Path | Encoder | EmbeddingSet, ...
    ] = ()  # checkpoints of the same run, first to last


@dataclass(frozen=True)
class Step:
    """One step of a plan: what, how much of it, how much is there already, and its cost in seconds."""

    name: str
    detail: str
    done: int = 0
    total: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that `run` will do, opened and checked: making one reads no image and trains nothing."""

    request: Request
    device: str
    embeddings: EmbeddingSet | None
    encoder: Encoder | None
    source: ImageSource | None
    store: Store | None
    metrics: tuple[MetricSpec, ...]
    earlier: tuple[Encoder | EmbeddingSet, ...] = ()
    pictures: ThumbnailReader | None = None  # where embeddings are given; of images `run` reads its own

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The layers that are scored, each in a report of its own; () for ready embeddings."""
        return self.encoder.outputs if self.encoder is not None else ()

    @property
    def labeled(self) -> bool:
        """Whether at least two classes are known."""
        if not self.request.use_labels:
            return False
        holder = self.embeddings or (self.source.manifest if self.source else None)
        return holder is not None and holder.labels is not None and len(holder.class_names) >= 2

    def steps(self) -> list[Step]:
        """The steps in order; measures one small forward pass to estimate the extraction."""
        steps = []
        if self.encoder is not None:
            steps.append(self._embedding("embed", self.encoder))
            names = companions.named(self.request.earlier)
            steps += [
                self._embedding(f"embed {name}", one)
                for name, one in zip(names, self.earlier, strict=True)
                if not isinstance(one, EmbeddingSet)
            ]
        absent = self._missing()
        for spec in self.metrics:
            missing = [need.value for need in spec.needs if need in absent]
            steps.append(Step(spec.name, f"skipped: needs {' and '.join(missing)}" if missing else spec.cost))
        if self.request.draw_map:
            steps.append(Step("map", "UMAP of at most " + str(self.request.config.map_samples) + " samples"))
        return steps

    def _embedding(self, name: str, encoder: Encoder) -> Step:
        """Passing all images through `encoder`."""
        from repdiag.extraction import embedding_key

        assert self.source is not None
        total = len(self.source.manifest)
        key = embedding_key(encoder, self.source.manifest, _embed_config(self.request))
        status = self.store.status(key) if self.store else None
        done = status[0] if status else 0
        rate = _forward_rate(encoder, self.device)
        return Step(name, f"{total} images, {rate:.0f} images/s forward", done, total, (total - done) / rate)

    def _missing(self) -> set[Need]:
        missing = set() if self.labeled else {Need.LABELS}
        holder = self.embeddings or (self.source.manifest if self.source else None)
        if holder is None or not holder.parents or not self.request.use_labels:
            missing.add(Need.HIERARCHY)
        beside = {c.kind for c in self.embeddings.companions} if self.embeddings else set()
        if len(self.outputs) < 2 and "layer" not in beside:
            missing.add(Need.LAYERS)
        if not self.earlier and "checkpoint" not in beside:
            missing.add(Need.CHECKPOINTS)
        views = (
            self.embeddings.views is not None if self.embeddings else _embed_config(self.request).views > 0
        )
        return missing if views else missing | {Need.IMAGES}


def make_plan(request: Request) -> Plan:
    """Open the model and the data set, check that they fit the request; raises RepdiagErrors."""
    metrics = tuple(m.spec for m in choose_metrics(request.metrics))
    dataset = request.dataset
    if isinstance(dataset, EmbeddingSet) or (isinstance(dataset, str) and is_embeddings(dataset)):
        if request.model != "-":
            raise UsageError(
                f"'{_name(dataset)}' holds ready embeddings, so no model is run on it",
                do="Give '-' as MODEL",
            )
        if asked := [f"--{name}" for name in ("layer", "pool") if request.loading.get(name) is not None]:
            raise UsageError(
                f"{' and '.join(asked)} choose features of an encoder, and '{_name(dataset)}' holds ready"
                " embeddings",
                do="Leave them out",
            )
        embeddings = read_embeddings(dataset) if isinstance(dataset, str) else dataset
        earlier = companions.opened(request.earlier, False, {})
        return Plan(request, _device(request), embeddings, None, None, None, metrics, earlier)
    if request.model == "-":
        raise UsageError(
            f"MODEL is '-', but '{_name(dataset)}' does not hold embeddings",
            do="Give a .npz, .npy or .parquet file of embeddings, or name the model",
        )
    source = (
        open_source(dataset, labeled=request.use_labels, **request.data)
        if isinstance(dataset, str)
        else dataset
    )
    from repdiag.encoders import load_encoder
    from repdiag.store import Store

    model = request.model
    encoder = load_encoder(model, **request.loading) if isinstance(model, str) else model
    if encoder.l2 and request.config.l2 is not True:
        if request.config.l2 is False:
            raise UsageError(
                "The encoder gives rows of unit length (l2), so there are none as given to measure on",
                do="Load it without l2",
            )
        request = replace(request, config=replace(request.config, l2=True))
    store = (Store(request.cache) if request.cache else Store()) if request.use_cache else None
    earlier = companions.opened(request.earlier, True, dict(request.loading))
    return Plan(request, _device(request), None, encoder, source, store, metrics, earlier)


def _name(dataset: str | ImageSource | EmbeddingSet) -> str:
    """The data set as a person would call it."""
    if isinstance(dataset, str):
        return dataset
    return "embeddings" if isinstance(dataset, EmbeddingSet) else dataset.name


def run(plan: Plan, progress: Progress = silent) -> Report:
    """Carry out `plan`: embed (or take what the cache holds), measure, and return the report.

    Raises UsageError for an encoder of several layers, which has several (`reports`).
    """
    if len(plan.outputs) > 1:
        names = ", ".join(output.name for output in plan.outputs)
        raise UsageError(
            f"The layers {names} have a report each, and one was asked for", do="Choose one layer"
        )
    return next(reports(plan, progress))


def reports(plan: Plan, progress: Progress = silent) -> Iterator[Report]:
    """As `run`, one report for each of the plan's outputs, in order: all images pass through the encoder once.

    What a layer's report says of the encoder has the key "layer" where there are several.
    """
    began = time.perf_counter()
    embeddings, warnings, thumbnails = _embedded(plan, progress)
    seconds = time.perf_counter() - began
    if len(plan.outputs) < 2:
        yield _measured(plan, embeddings, None, seconds, warnings, thumbnails, progress)
        return
    if thumbnails is not None:
        thumbnails = remembering(thumbnails)
    for output in plan.outputs:

        def told(step: str, done: int, total: int, layer: str = output.name) -> None:
            progress(f"{layer}: {step}", done, total)

        part = companions.columns(embeddings, output, plan.outputs)
        yield _measured(plan, part, output, seconds, warnings, thumbnails, told)


def _embedded(plan: Plan, progress: Progress) -> tuple[EmbeddingSet, tuple[str, ...], ThumbnailReader | None]:
    """The embeddings of all outputs, what a reader should be warned of, and a way to the images."""
    request, embeddings = plan.request, plan.embeddings
    thumbnails = plan.pictures
    warnings: list[str] = []
    if embeddings is None:
        assert plan.encoder is not None
        assert plan.source is not None
        from repdiag.extraction import embed

        embeddings = embed(
            plan.encoder, plan.source, _embed_config(request), store=plan.store, progress=progress
        )
        warnings += [*plan.encoder.loading.warnings, *plan.source.notes]
        thumbnails = reader(plan.source, request.embed.workers if request.embed else None)
    if plan.earlier:
        embeddings = companions.beside(
            embeddings,
            companions.named(request.earlier),
            plan.earlier,
            plan.source,
            _embed_config(request),
            plan.store,
            progress,
        )
    if not request.use_labels:
        embeddings = replace(embeddings, labels=None, class_names=(), parents=())
    warnings += embeddings.provenance.get("notes", ())
    if embeddings.corrupt:
        warnings.append(
            f"{len(embeddings.corrupt)} images cannot be read and are left out: "
            + "; ".join(f"{c.path} ({c.reason})" for c in embeddings.corrupt[:3])
            + ("; ..." if len(embeddings.corrupt) > 3 else "")
        )
    return embeddings, tuple(warnings), thumbnails


def reader(source: ImageSource, workers: int | None = None) -> ThumbnailReader:
    """A way to small pictures of the images of `source`, by path, in `workers` threads."""
    from repdiag.extraction import small_pictures

    row = {path: i for i, path in enumerate(source.manifest.paths)}
    return lambda ids, sides: small_pictures(source, [row[i] for i in ids], sides, workers)


def _measured(
    plan: Plan,
    embeddings: EmbeddingSet,
    output: Output | None,
    embedded: float,
    warnings: Sequence[str],
    thumbnails: ThumbnailReader | None,
    progress: Progress,
) -> Report:
    """The report on `embeddings`, those of `output` where there are several; `embedded` is what they took."""
    request, began = plan.request, time.perf_counter()
    location = _name(plan.source or request.dataset)
    name = Path(location).name or location
    report = diagnose(
        embeddings,
        request.config,
        device=plan.device if plan.device.startswith("cuda") else "cpu",  # MPS has no float64
        encoder=_facts(plan.encoder, output) | _location(request) if plan.encoder else None,
        dataset={
            "name": name,
            "location": location,
            "summary": _data_summary(name, embeddings),
            "fingerprint": plan.source.manifest.fingerprint if plan.source else None,
            "labels_used": request.use_labels,
        },
        metrics=request.metrics,
        draw_map=request.draw_map,
        thumbnails=thumbnails,
        warnings=warnings,
        progress=progress,
    )
    timing = {"embed": embedded, **report.timing}
    # How fast this run was, and what it found in the cache, is no part of what the report says.
    extraction = dict(report.dataset["embedding"])
    timing["extraction"] = dict(extraction.pop("run", {})).get("seconds", 0.0)
    extraction.pop("cache", None)
    timing["total"] = embedded + time.perf_counter() - began
    return replace(report, dataset={**report.dataset, "embedding": extraction}, timing=timing)


def _location(request: Request) -> dict[str, str]:
    """What the user gave as the model, where that is text: with it the report's advice names whole commands."""
    return {"location": request.model} if isinstance(request.model, str) else {}


def _facts(encoder: Encoder, output: Output | None) -> dict[str, Any]:
    """What a report says of the encoder; of several outputs only the one that it is about."""
    said = {"summary": _summary(encoder, output), **encoder.describe()}
    if output is None:
        return said
    (own,) = (layer for layer in said["features"] if layer["layer"] == output.name)
    return said | {"layer": output.name, "dim": output.dim, "features": [own]}


def _summary(encoder: Encoder, output: Output | None = None) -> str:
    found, taken = encoder.loading, output or encoder.outputs[0]
    inside = f", {found.prefix}*" if found.prefix else ""
    said = f"{encoder.name}: {encoder.architecture}, {taken.dim} features"
    if taken.name != "output" or not taken.pooling.startswith("the network"):
        said += f" of {taken.name} ({taken.pooling})"
    unit = ", unit length" if encoder.l2 else ""
    return f"{said}{unit} ({found.container}{inside})"


def _data_summary(name: str, embeddings: EmbeddingSet) -> str:
    said = f"{name}: {len(embeddings):,} samples"
    if embeddings.labels is not None:
        said += f" in {len(embeddings.class_names):,} classes"
    train = 0 if embeddings.is_train is None else int(embeddings.is_train.sum())
    if 0 < train < len(embeddings):
        return (
            said + f"; {len(embeddings) - train:,} test samples are evaluated, {train:,} train samples teach"
        )
    return said + ("; no split, cross-fitted" if embeddings.labels is not None else ", unlabeled")


def score(request: Request, progress: Progress = silent) -> Report:
    """Plan and run in one call."""
    return run(make_plan(request), progress)


def _embed_config(request: Request) -> EmbedConfig:
    from repdiag.extraction import EmbedConfig

    return request.embed or EmbedConfig(seed=request.config.seed)


def _device(request: Request) -> str:
    from repdiag.extraction.config import choose_device

    return str(choose_device(_embed_config(request)))


def _forward_rate(encoder: Encoder, device: str) -> float:
    """Images per second of one small forward pass: an estimate, good to a factor of two."""
    import torch

    shape = encoder.preprocessing
    batch = torch.zeros(8, shape.channels, shape.size, shape.size, device=device)
    module = encoder.module.to(device)
    with torch.inference_mode():
        module(batch)
        began = time.perf_counter()
        module(batch)
    return 8 / max(time.perf_counter() - began, 1e-9)
