"""The Python interface: what `repdiag` offers under its own name, for models and data of any kind."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from repdiag.companions import columns
from repdiag.config import ScoreConfig
from repdiag.diagnosis import choose_metrics
from repdiag.encoders import Encoder, Preprocessing, load_encoder
from repdiag.encoders.types import Output
from repdiag.errors import UsageError
from repdiag.extraction import EmbedConfig
from repdiag.extraction.job import Job, Model, Wishes, opened
from repdiag.extraction.prepare import ViewTransform, encoded
from repdiag.extraction.stream import Stream, Told, Unpack
from repdiag.files import output_errors
from repdiag.kernels import rows
from repdiag.pipeline import Request, make_plan, reader, reports, run
from repdiag.registry import did_you_mean
from repdiag.report import write_report
from repdiag.report.layers import folders, layer_row, write_layers
from repdiag.showing.pictures import remembering
from repdiag.sources import Images, open_source
from repdiag.types import EmbeddingSet, Manifest, Progress, Report, ThumbnailReader, silent

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

    `labels` (N) numbers or text, -1, NaN, None or "" where not known; False uses none. `is_train` (N) marks what
    probes may learn from. `preprocessing`, a `Preprocessing` or a function from a PIL image to a tensor, is needed for
    images when the model is a module. `output` picks the features from what a module gives. `layer` (one)
    and `pool` choose features, as for `load_encoder`; `l2` gives rows unit length.

    `device` and `precision` as in `EmbedConfig`; a module stays on its own device. `views` augmentations of
    `view_samples` samples are embedded too, by `view_transform` (of one tensor a tensor, of a PIL image either)
    or, of images, as files are augmented. `cache` None keeps embeddings when model and data are paths, True
    always, False never, a path there. `options` are further keywords of `load_encoder` and, for a path, of
    `open_source`.

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
    earlier: Sequence[str | Path | Encoder | EmbeddingSet] = (),
    progress: Progress = silent,
    **options: Any,
) -> Report:
    """Embed `data` with `model`, measure the embeddings, and return the `Report`; `out` is a folder to write it to.

    Model, data and their keywords are those of `embed`. `metrics` limits the run to metrics or families by name,
    `draw_map` draws the maps, UMAP and PCA. `options` may also be fields of `ScoreConfig`: folds, bootstrap, neighbors,
    clusters, thumbnails (most images with a small picture on the map; 0: no picture anywhere), ... `l2` None leaves the
    length of rows to each metric's definition. `earlier` are checkpoints of the same run, first to last, as files or
    `Encoder`s loaded like the model, or as embeddings of the same samples: clusters are compared with theirs. Equal
    seeds on one machine give equal reports. A `Request` alone is carried out as it is.

    Raises what `embed` raises, UsageError for an unknown metric, OutputError when `out` cannot be written.
    """
    stated = locals()
    if isinstance(model, Request):
        defaults = (score.__kwdefaults__ or {}).items()
        changed = [n for n, value in defaults if n not in ("out", "progress") and stated[n] is not value]
        if data is not None or options or changed:
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
        request = _request(wishes, numbers, l2, metrics, draw_map, labels is not False, out, earlier)
        with opened(model, data, wishes) as job:
            _single(job)
            report = next(_reports(job, request, progress))
    if out is not None:
        write_report(report, Path(out))
    return report


def embed_layers(
    model: Model, data: object, layers: Sequence[str], *, progress: Progress = silent, **keywords: Any
) -> dict[str, EmbeddingSet]:
    """As `embed`, of several layers by name: the images pass through the model once.

    `layers` are those of `load_encoder`'s `layer`, `keywords` those of `embed`. The features of one layer are
    columns of an array that all share.
    """
    l2 = keywords.pop("l2", None)
    wishes, numbers = _wishes_of(embed, layers, keywords)
    if numbers:
        raise UsageError(f"{', '.join(numbers)} belong to repdiag.score_layers", do="Leave them out")
    with opened(model, data, wishes) as job:
        found = job.embeddings(progress)
        outputs = _outputs(job)
        parts = {output.name: columns(found, output, outputs) for output in outputs}
    return {name: _unit(part) if l2 else part for name, part in parts.items()}


def score_layers(
    model: Model,
    data: object,
    layers: Sequence[str],
    *,
    metrics: Sequence[str] = (),
    out: str | Path | None = None,
    draw_map: bool = True,
    progress: Progress = silent,
    **keywords: Any,
) -> dict[str, Report]:
    """As `score`, a report for each of several layers by name: the images pass through the model once.

    `layers` are those of `load_encoder`'s `layer`, `keywords` those of `score`. `out` gets a folder per layer and
    `layers.csv`.
    """
    l2, labels, earlier = keywords.pop("l2", None), keywords.get("labels"), keywords.pop("earlier", ())
    wishes, numbers = _wishes_of(score, layers, keywords)
    request = _request(wishes, numbers, l2, metrics, draw_map, labels is not False, out, earlier)
    with opened(model, data, wishes) as job:
        outputs = _outputs(job)
        found = dict(zip((output.name for output in outputs), _reports(job, request, progress), strict=True))
    if out is not None:
        names = folders(found)
        for name, report in found.items():
            write_report(report, Path(out) / names[name])
        table = [layer_row(o.name, names[o.name], o.pooling, found[o.name]) for o in outputs]
        write_layers(table, Path(out))
    return found


def _reports(job: Job, request: Request, progress: Progress) -> Iterator[Report]:
    """A report for each output: of images on disk and the like by the pipeline alone, else of the embeddings."""
    request = dataclasses.replace(request, embed=job.config)
    if isinstance(job.data, EmbeddingSet):
        yield run(make_plan(dataclasses.replace(request, dataset=job.data)), progress)
        return
    if not isinstance(job.data, Stream):
        assert job.encoder is not None
        request = dataclasses.replace(request, model=job.encoder, dataset=job.data, use_cache=False)
        if job.store is not None:
            request = dataclasses.replace(request, cache=job.store.root, use_cache=True)
        yield from reports(make_plan(request), progress)
        return
    embeddings = job.embeddings(progress)
    outputs = job.encoder.outputs if job.encoder is not None else ()
    pictures = _pictures(job.data, embeddings)
    for output in outputs if len(outputs) > 1 else (None,):
        part = embeddings if output is None else columns(embeddings, output, outputs)
        plan = make_plan(dataclasses.replace(request, dataset=part))
        report = run(dataclasses.replace(plan, pictures=pictures), progress)
        yield _of_stream(job, job.data, part, output, report)


def _of_stream(job: Job, stream: Stream, part: EmbeddingSet, output: Output | None, report: Report) -> Report:
    """The report on a stream's embeddings with what is known about the model and the data they came from."""
    seconds, name = part.provenance["run"]["seconds"], stream.name
    said = str(report.dataset["summary"]).removeprefix("embeddings")
    warned = job.encoder.loading.warnings if job.encoder is not None else ()
    return dataclasses.replace(
        report,
        encoder=job.facts(part, output),
        dataset={**report.dataset, "name": name, "location": name, "summary": name + said},
        warnings=(*warned, *report.warnings),
        timing={**report.timing, "embed": seconds, "total": report.timing["total"] + seconds},
    )


def _pictures(stream: Stream, embeddings: EmbeddingSet) -> ThumbnailReader | None:
    """A way to small pictures of the samples, where the data can show them; one at a time, as data sets expect it."""
    if stream.image is None:
        return None
    image = stream.image
    manifest = Manifest(embeddings.ids, None, (), None, "")
    return remembering(reader(Images(stream.name, manifest, (), lambda row: encoded(image(row))), workers=1))


def _unit(found: EmbeddingSet) -> EmbeddingSet:
    """The same with rows of unit length; rows of zeros stay zeros."""
    views = found.views
    if views is not None:
        views = dataclasses.replace(views, features=np.stack([rows.unit(one) for one in views.features]))
    return dataclasses.replace(found, features=rows.unit(found.features), views=views)


def _single(job: Job) -> None:
    """Refuse an encoder with several outputs: one set of embeddings and one report are returned."""
    if job.encoder is not None and len(job.encoder.outputs) > 1:
        raise UsageError("Several layers give several results", do="Use embed_layers or score_layers")


def _outputs(job: Job) -> tuple[Output, ...]:
    if job.encoder is None:
        raise UsageError("Ready embeddings have no layers", do="Give a model and images")
    return job.encoder.outputs


def _request(
    wishes: Wishes,
    numbers: Mapping[str, Any],
    l2: bool | None,
    metrics: Sequence[str],
    draw_map: bool,
    use_labels: bool,
    out: str | Path | None,
    earlier: Sequence[str | Path | Encoder | EmbeddingSet],
) -> Request:
    """The request whose model and data are still to be put in; metrics and `out` are checked before the work."""
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    choose_metrics(names)
    if out is not None:
        with output_errors(Path(out)):
            Path(out).mkdir(parents=True, exist_ok=True)
    return Request(
        "-",
        "",
        config=ScoreConfig(seed=wishes.config.seed, l2=l2, **numbers),
        use_labels=use_labels,
        metrics=names,
        draw_map=draw_map,
        earlier=tuple(earlier),
        loading={**wishes.loading, **wishes.features} if earlier else {},
    )


def _wishes_of(
    function: Callable[..., Any], layers: Sequence[str], keywords: Mapping[str, Any]
) -> tuple[Wishes, dict[str, Any]]:
    """As `_wishes`, of the keywords that `function` takes and its defaults."""
    if isinstance(layers, str) or not layers:
        raise UsageError("layers is a list of names", do="For one layer use layer= of embed or score")
    own = {"progress", "l2", "layer", "metrics", "out", "draw_map", "earlier"}
    known = {name: value for name, value in (function.__kwdefaults__ or {}).items() if name not in own}
    if "layer" in keywords:
        raise UsageError("The layers are given twice: as layers and as layer=")
    given = {name: keywords.get(name, value) for name, value in known.items()}
    options = {name: value for name, value in keywords.items() if name not in known}
    return _wishes(options, layer=list(layers), **given)


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
