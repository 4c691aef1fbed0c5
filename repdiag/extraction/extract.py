"""The extraction: decode ahead, forward, keep what is done, and put the embedding set together."""

from __future__ import annotations

import contextlib
import platform
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from repdiag.encoders import Encoder
from repdiag.errors import DataError
from repdiag.extraction.config import (
    EmbedConfig,
    choose_device,
    choose_precision,
    key_parts,
    shape_of,
)
from repdiag.extraction.forward import Forward, choose_batch_size
from repdiag.extraction.images import AUGMENTATION, bombs_are_errors
from repdiag.extraction.loader import Batch, Loader, default_workers
from repdiag.store import Entry, MemoryEntry, Store, key_of
from repdiag.types import (
    BoolArray,
    CorruptImage,
    EmbeddingSet,
    FloatArray,
    ImageSource,
    IntArray,
    Manifest,
    Progress,
    Views,
    silent,
)


def embed(
    encoder: Encoder,
    source: ImageSource,
    config: EmbedConfig,
    *,
    store: Store | None,
    progress: Progress = silent,
) -> EmbeddingSet:
    """The embeddings of every readable image of `source`, those in `store` (None: no cache) not made again.

    Batches are cut from a fixed grid of rows, so that a resumed run computes what an uninterrupted one would,
    to the bit on one machine. `provenance["run"]` is what may differ between two runs (time, rows reused).

    Raises DataError when too many images are unreadable (what was done is kept) or embeddings are not finite,
    ResourceError when not even one image fits into memory, OutputError when the cache cannot be used.
    """
    manifest, device = source.manifest, choose_device(config)
    precision = choose_precision(config, device)
    size = config.batch_size or choose_batch_size(encoder, device)
    shape = shape_of(encoder, manifest, config)
    parts = key_parts(encoder, manifest, config)
    key, began = key_of(parts), time.perf_counter()

    def waiting() -> None:
        progress("waiting for another repdiag that makes the same embeddings", 0, 1)

    opened = store.open(key, shape, parts, waiting) if store else contextlib.nullcontext(MemoryEntry(shape))
    with opened as entry:
        reused = int(entry.done.sum())
        spans = [
            (start, min(start + size, shape.rows))
            for start in range(0, shape.rows, size)
            if not entry.done[start : start + size].all()
        ]
        progress("embed", reused, shape.rows)
        limit = size
        if spans:
            workers = config.workers or default_workers(device)
            loader = Loader(source, encoder.preprocessing, shape, config.seed, workers, device.type == "cuda")
            forward = Forward(encoder, device, precision, size)
            with bombs_are_errors():
                _extract(loader, forward, spans, entry, manifest, progress)
            limit = forward.limit
        features, views = entry.arrays()
        corrupt = dict(sorted(entry.corrupt.items()))
    _tolerate(corrupt, manifest, config, source.name)
    seconds = time.perf_counter() - began
    provenance = {
        "key": key,
        "cache": str(store.folder(key)) if store else None,
        "made_of": parts,
        "device": _describe(device),
        "batch_size": limit,
        "run": {
            "seconds": seconds,
            "images_per_second": (shape.rows - reused) / seconds,
            "rows_reused": reused,
        },
    }
    return _assemble(features, views if shape.views else None, shape.view_rows, corrupt, manifest, provenance)


def _extract(
    loader: Loader,
    forward: Forward,
    spans: list[tuple[int, int]],
    entry: Entry,
    manifest: Manifest,
    progress: Progress,
) -> None:
    """Fill `entry`. A device that works on its own gets its next batch before the last one is fetched."""
    lag = 0 if forward.device.type == "cpu" else 1
    with contextlib.closing(loader.batches(spans)) as batches:
        launched = ((batch, forward(batch.images), _views(forward, batch)) for batch in batches)
        for batch, features, views in _lagging(launched, lag):
            _keep(entry, batch, features.cpu().numpy(), views.cpu().numpy(), manifest)
            progress("embed", int(entry.done.sum()), len(manifest))


Launched = tuple[Batch, torch.Tensor, torch.Tensor]


def _lagging(items: Iterable[Launched], lag: int) -> Iterator[Launched]:
    """The items in order, each once `lag` more have been asked for."""
    queue: deque[Launched] = deque()
    for item in items:
        queue.append(item)
        if len(queue) > lag:
            yield queue.popleft()
    yield from queue


def _views(forward: Forward, batch: Batch) -> torch.Tensor:
    count, samples = batch.views.shape[:2]
    features = forward(batch.views.flatten(0, 1))
    return features.view(count, samples, features.shape[1])


def _keep(entry: Entry, batch: Batch, features: FloatArray, views: FloatArray, manifest: Manifest) -> None:
    """Write a batch down; raises DataError when an embedding of a readable image is not finite."""
    stop = batch.start + len(features)
    seen = entry.shape.view_rows[entry.shape.span(batch.start, stop)]
    finite: BoolArray = np.asarray(np.isfinite(features).all(axis=1))
    finite[seen - batch.start] &= np.isfinite(views).all(axis=(0, 2))
    readable = np.array([row not in batch.corrupt for row in range(batch.start, stop)])
    bad = np.flatnonzero(~finite & readable)
    if bad.size:
        shown = ", ".join(manifest.paths[batch.start + row] for row in bad[:3]) + (
            ", ..." if bad.size > 3 else ""
        )
        every = bad.size == readable.sum()
        raise DataError(
            f"The encoder gives NaN or infinity for {'every one' if every else bad.size} of {readable.sum()} images: "
            f"{shown}",
            do="Look at its weights and its preprocessing"
            if every
            else "Try --precision float32, or leave them out",
        )
    entry.write(
        batch.start,
        np.where(readable[:, None], features, 0),
        np.where(readable[seen - batch.start][None, :, None], views, 0),
        batch.corrupt,
        final=not batch.retry,
    )


def _tolerate(corrupt: dict[int, str], manifest: Manifest, config: EmbedConfig, where: str) -> None:
    """Raise DataError when more images are corrupt than `config` accepts, or nearly all evaluated ones are."""
    n = len(manifest)
    allowed = max(1, int(config.max_corrupt * n)) if config.max_corrupt else 0
    evaluated = np.ones(n, dtype=np.bool_) if manifest.is_train is None else ~manifest.is_train
    evaluated[list(corrupt)] = False
    few = int(evaluated.sum()) < 2
    if len(corrupt) <= allowed and not few:
        return
    shown = "; ".join(f"{manifest.paths[row]} ({corrupt[row]})" for row in list(corrupt)[:3])
    raise DataError(
        f"{len(corrupt)} of {n} images cannot be read: {shown}{'; ...' if len(corrupt) > 3 else ''}",
        where=where,
        do="Repair them: fewer than two are left to evaluate"
        if few
        else f"Repair or remove them, or accept more than {config.max_corrupt:.3g} of all with --max-corrupt",
    )


def _assemble(
    features: FloatArray,
    views: FloatArray | None,
    view_rows: IntArray,
    corrupt: dict[int, str],
    manifest: Manifest,
    provenance: dict[str, Any],
) -> EmbeddingSet:
    """The embedding set without the corrupt rows; with none of those `features` stays the memory map."""
    kept = np.ones(len(manifest), dtype=np.bool_)
    kept[list(corrupt)] = False
    rows = np.flatnonzero(kept)
    whole = rows.size == kept.size
    found = None
    if views is not None and (fine := kept[view_rows]).any():
        found = Views(
            views if fine.all() else views[:, fine],
            (np.cumsum(kept) - 1)[view_rows[fine]],
            f"{len(views)} views of {int(fine.sum())} samples: {AUGMENTATION}",
        )
    return EmbeddingSet(
        features=features if whole else features[rows],
        ids=manifest.paths if whole else tuple(manifest.paths[row] for row in rows),
        labels=manifest.labels if whole or manifest.labels is None else manifest.labels[rows],
        class_names=manifest.class_names,
        is_train=manifest.is_train if whole or manifest.is_train is None else manifest.is_train[rows],
        views=found,
        corrupt=tuple(CorruptImage(manifest.paths[row], reason) for row, reason in corrupt.items()),
        provenance=provenance,
        parents=manifest.parents,
    )


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
