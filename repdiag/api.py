"""The Python interface: what `repdiag` offers under its own name, for models and data of any kind."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from repdiag.config import ScoreConfig
from repdiag.diagnosis import SHOWN_SAMPLES
from repdiag.encoders import Preprocessing, load_encoder
from repdiag.errors import UsageError
from repdiag.extraction import EmbedConfig, thumbnails
from repdiag.extraction.job import Job, Model, Wishes, opened
from repdiag.extraction.prepare import ViewTransform, encoded
from repdiag.extraction.stream import Stream, Told, Unpack
from repdiag.kernels import rows
from repdiag.pipeline import Request, make_plan, run
from repdiag.registry import did_you_mean
from repdiag.report import write_report
from repdiag.sources import Images, open_source
from repdiag.types import EmbeddingSet, Manifest, Progress, Report, silent

if TYPE_CHECKING:
    from PIL import Image

    from repdiag.exporting import export as export  # for the package's own names, which take it from here


def embed(
    model: Model,
    data: object,
    *,
    labels: object = None,
    class_names: Sequence[str] | None = None,
    is_train: object = None,
    unpack: Unpack | None = None,
    preprocessing: Preprocessing | Callable[[Image.Image], Any] | None = None,
    output: Callable[[Any], torch.Tensor] | None = None,
    layer: str | None = None,
    pool: str | None = None,
    l2: bool | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    views: int = 0,
    view_samples: int = 2048,
    view_transform: ViewTransform | None = None,
    workers: int | None = None,
    max_corrupt: float = 0.01,
    seed: int = 0,
    cache: bool | str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> EmbeddingSet:
    """The embeddings (N, D) float32 that `model` gives for `data`, with what is known about each sample.

    `model` is a checkpoint's path or a name as for `load_encoder`, an `Encoder`, any `torch.nn.Module` that
    maps (B, C, H, W) to (B, D), (B, C, h, w) (averaged) or (B, T, D) (first token), or None when the data are
    embeddings already. A module comes back exactly as it was: modes, buffers, hooks, device, random numbers.

    `data` is a path, a list of paths or of PIL images, an array ((N, H, W) or (N, H, W, C) uint8: images;
    (N, C, H, W) floats: ready inputs; (N, D) floats: embeddings), an (array, labels) tuple, a DataFrame with
    `path` and `label`, a torch or Hugging Face data set of PIL images or tensors, a DataLoader or any iterable
    of batches, an `ImageSource` or an `EmbeddingSet`. Tensors are used as they are; of batches that
    are not x, (x, y) or a dict, `unpack` makes (x, y) or (x, y, ids).

    `labels` (N) numbers or text, -1 for all: none; False uses none. `is_train` (N) marks what probes may learn
    from. `preprocessing`, a `Preprocessing` or a function from a PIL image to a tensor, is needed for
    images when the model is a module. `output` picks the features from what a module gives. `layer` (one)
    and `pool` choose features, as for `load_encoder`; `l2` gives rows unit length.

    `device` and `precision` as in `EmbedConfig`; a module stays on its own device. `views` augmentations of
    `view_samples` samples are embedded too, of tensors by `view_transform` (tensor to tensor). `cache` None
    keeps embeddings when model and data are paths, True always, False never, a path there.
    `options` are further keywords of `load_encoder` and, for a path, of `open_source`.

    Raises UsageError where model and data do not go together, else as `load_encoder` and the extraction do.
    """
    wishes, numbers = _wishes(
        options,
        labels=labels, class_names=class_names, is_train=is_train, unpack=unpack,
        preprocessing=preprocessing, output=output, layer=layer, pool=pool,
        device=device, precision=precision, batch_size=batch_size, workers=workers, max_corrupt=max_corrupt,
        views=views, view_samples=view_samples, view_transform=view_transform, seed=seed, cache=cache,
    )  # fmt: skip
    if numbers:
        raise UsageError(f"{', '.join(numbers)} belong to repdiag.score", do="Leave them out")
    with opened(model, data, wishes) as job:
        _single(job)
        found = job.embeddings(progress)
    return _unit(found) if l2 else found


def score(
    model: Model | Request,
    data: object = None,
    *,
    metrics: Sequence[str] = (),
    out: str | Path | None = None,
    draw_map: bool = True,
    labels: object = None,
    class_names: Sequence[str] | None = None,
    is_train: object = None,
    unpack: Unpack | None = None,
    preprocessing: Preprocessing | Callable[[Image.Image], Any] | None = None,
    output: Callable[[Any], torch.Tensor] | None = None,
    layer: str | None = None,
    pool: str | None = None,
    l2: bool | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    views: int = 2,
    view_samples: int = 2048,
    view_transform: ViewTransform | None = None,
    workers: int | None = None,
    max_corrupt: float = 0.01,
    seed: int = 0,
    cache: bool | str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Report:
    """Embed `data` with `model`, measure the embeddings, and return the `Report`; `out` is a folder to write it to.

    Model, data and their keywords are those of `embed`. `metrics` limits the run to metrics or families by name,
    `draw_map` draws the UMAP map. `options` may also be fields of `ScoreConfig`: folds, bootstrap, neighbors,
    clusters, ... `l2` None leaves the length of rows to each metric's definition. Equal seeds on one machine give
    equal reports. A `Request` alone is carried out as it is.

    Raises what `embed` raises, UsageError for an unknown metric, OutputError when `out` cannot be written.
    """
    if isinstance(model, Request):
        if data is not None or options or metrics:
            raise UsageError("A Request says everything itself", do="Give it alone, with progress= and out=")
        report = run(make_plan(model), progress)
    else:
        wishes, numbers = _wishes(
            options,
            labels=labels, class_names=class_names, is_train=is_train, unpack=unpack,
            preprocessing=preprocessing, output=output, layer=layer, pool=pool,
            device=device, precision=precision, batch_size=batch_size, workers=workers, max_corrupt=max_corrupt,
            views=views, view_samples=view_samples, view_transform=view_transform, seed=seed, cache=cache,
        )  # fmt: skip
        request = Request(
            "-",
            "",
            config=ScoreConfig(seed=seed, l2=l2, **numbers),
            use_labels=labels is not False,
            metrics=(metrics,) if isinstance(metrics, str) else tuple(metrics),
            draw_map=draw_map,
        )
        with opened(model, data, wishes) as job:
            _single(job)
            report = _report(job, request, progress)
    if out is not None:
        write_report(report, Path(out))
    return report


def _report(job: Job, request: Request, progress: Progress) -> Report:
    """The report of a job: of images on disk and the like by the pipeline alone, else of their embeddings."""
    request = dataclasses.replace(request, embed=job.config)
    if isinstance(job.data, EmbeddingSet):
        return run(make_plan(dataclasses.replace(request, dataset=job.data)), progress)
    if not isinstance(job.data, Stream):
        assert job.encoder is not None
        request = dataclasses.replace(request, model=job.encoder, dataset=job.data, use_cache=False)
        if job.store is not None:
            request = dataclasses.replace(request, cache=job.store.root, use_cache=True)
        return run(make_plan(request), progress)
    embeddings = job.embeddings(progress)
    report = run(make_plan(dataclasses.replace(request, dataset=embeddings)), progress)
    seconds = embeddings.provenance["run"]["seconds"]
    name = job.data.name
    said = str(report.dataset["summary"]).removeprefix("embeddings")
    return dataclasses.replace(
        report,
        encoder=job.facts(embeddings),
        dataset={**report.dataset, "name": name, "location": name, "summary": name + said},
        thumbnails=_thumbnails(job.data, embeddings, report),
        timing={**report.timing, "embed": seconds, "total": report.timing["total"] + seconds},
    )


def _thumbnails(stream: Stream, embeddings: EmbeddingSet, report: Report) -> Mapping[str, bytes]:
    """JPEGs of the riskiest samples by id, where the data can show them."""
    risk = report.samples.columns["risk"]
    if stream.image is None or not (risk == risk).any():
        return {}
    image = stream.image
    source = Images(
        stream.name, Manifest(embeddings.ids, None, (), None, ""), (), lambda row: encoded(image(row))
    )
    places = {name: row for row, name in enumerate(embeddings.ids)}
    riskiest = report.samples.columns["id"][(-risk).argsort(kind="stable")[:SHOWN_SAMPLES]]
    return thumbnails(source, [places[str(name)] for name in riskiest])


def _unit(found: EmbeddingSet) -> EmbeddingSet:
    """The same with rows of unit length; rows of zeros stay zeros."""
    views = found.views
    if views is not None:
        views = dataclasses.replace(views, features=np.stack([rows.unit(one) for one in views.features]))
    return dataclasses.replace(found, features=rows.unit(found.features), views=views)


def _single(job: Job) -> None:
    """Refuse an encoder with several outputs: one set of embeddings and one report are returned."""
    if job.encoder is not None and len(job.encoder.outputs) > 1:
        raise UsageError("Several layers give several results", do="Give one layer per call")


def _wishes(options: Mapping[str, Any], **given: Any) -> tuple[Wishes, dict[str, Any]]:
    """The keywords of `embed` as it works with them, and the fields of `ScoreConfig` among the options."""
    loading, reading, numbers = _sorted(options)
    parts = [
        {field.name: given.pop(field.name) for field in dataclasses.fields(kind) if field.name in given}
        for kind in (Told, EmbedConfig)
    ]
    features = {name: given.pop(name) for name in ("layer", "pool")}
    told, config = Told(**parts[0]), EmbedConfig(**parts[1])
    return Wishes(
        told=told, config=config, features=features, loading=loading, reading=reading, **given
    ), numbers


@functools.cache
def keywords() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The further keywords of `load_encoder`, `open_source` and `ScoreConfig`, which are distinct."""
    loading = set(inspect.signature(load_encoder).parameters) - {"model", "layer", "pool", "l2"}
    reading = set(inspect.signature(open_source).parameters) - {"path", "labeled"}
    numbers = {field.name for field in dataclasses.fields(ScoreConfig)} - {"seed", "l2"}
    return frozenset(loading), frozenset(reading), frozenset(numbers)


def _sorted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The options by whom they are for; raises UsageError for a keyword that nobody takes."""
    groups = keywords()
    known = sorted(frozenset().union(*groups))
    for name in options:
        if name not in known:
            raise UsageError(f"There is no keyword '{name}'", do=did_you_mean(name, known))
    found = [{name: value for name, value in options.items() if name in group} for group in groups]
    return found[0], found[1], found[2]
