"""Network x stream of samples -> EmbeddingSet: for data in memory and loaders, in one pass and without a cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from repdiag.encoders.wrap import try_on
from repdiag.errors import DataError, UsageError
from repdiag.extraction.config import EmbedConfig, choose_precision
from repdiag.extraction.labels import class_labels, column, split
from repdiag.extraction.prepare import Prepare, ViewTransform, described, rgb, view_of
from repdiag.extraction.stream import Piece, Stream
from repdiag.types import BoolArray, CorruptImage, EmbeddingSet, FloatArray, IntArray, Progress, Views, silent

BATCH = 64
"""Samples per forward pass where the data leave the choice."""


def embed_stream(
    network: nn.Module,
    device: torch.device,
    stream: Stream,
    config: EmbedConfig,
    *,
    prepare: Prepare | None = None,
    view_transform: ViewTransform | None = None,
    progress: Progress = silent,
) -> EmbeddingSet:
    """The embeddings of everything `stream` delivers, with the labels and ids that come with it.

    `network` maps (B, ...) to (B, D) on `device`; images are made its inputs by `prepare`. `config.views` views
    of up to `config.view_samples` samples are embedded too where they can be made: of images, or of anything by
    `view_transform`. Raises DataError when fewer than two samples come, embeddings are not finite or
    labels do not fit; UsageError when the network refuses or its number of features changes.
    """
    began = time.perf_counter()
    forward = _Forward(network, device, config)
    found, images = _Found(stream.count), False
    drawn = _Drawn(stream, config, forward, prepare, view_transform)
    for piece in stream.pieces(config.batch_size or BATCH):
        if not len(piece.inputs):
            found.skip(piece)
            continue
        inputs, samples = inputs_of(piece, prepare)
        images = images or not isinstance(piece.inputs, torch.Tensor)
        first, places = found.rows, found.positions(piece)
        features = forward(inputs, f"samples {first} to {first + len(inputs) - 1}")
        drawn.add(samples, first, places)
        found.add(piece, features)
        progress("embed", found.rows, stream.count or found.rows)
    n = found.rows
    if n < 2:
        delivered = "nothing" if n == 0 else "one sample"
        raise DataError(
            f"The data delivered {delivered}",
            where=stream.name,
            do="Two samples are the least; an iterator that was used up delivers nothing",
        )
    found.tolerate(config, stream.name)
    labels, class_names = found.labels(stream)
    is_train = split(stream.is_train, found.seen)
    views, note = drawn.views()
    seconds = time.perf_counter() - began
    return EmbeddingSet(
        features=found.features[:n],
        ids=found.names(stream.name),
        labels=labels,
        class_names=class_names,
        is_train=None if is_train is None else is_train[found.places],
        views=views,
        corrupt=tuple(found.corrupt),
        parents=stream.parents,
        provenance={
            "inputs": prepare.describe()["summary"]
            if images and prepare
            else "ready inputs, used as they are",
            "device": str(device),
            "precision": str(forward.precision).removeprefix("torch."),
            "notes": (*stream.notes, *note),
            "run": {"seconds": seconds, "images_per_second": n / seconds, "rows_reused": 0},
        },
    )


def inputs_of(piece: Piece, prepare: Prepare | None) -> tuple[torch.Tensor, list[Any]]:
    """The network's inputs, and the samples one by one as views are made of them."""
    if isinstance(piece.inputs, torch.Tensor):
        return piece.inputs, list(piece.inputs)
    if prepare is None:
        raise UsageError(
            "The data are images, and it is not known how the model wants them prepared",
            do="Give preprocessing=: a repdiag.Preprocessing, or a function of a PIL image that gives a tensor",
        )
    images = [rgb(image) for image in piece.inputs]
    inputs = [prepare(image) for image in images]
    shapes = {tuple(one.shape) for one in inputs}
    if len(shapes) > 1:
        raise DataError(
            f"preprocessing= gives tensors of different shapes: {', '.join(map(str, sorted(shapes)[:3]))}",
            do="Let it resize and crop to one size",
        )
    return torch.stack(inputs), images


class _Forward:
    """The network on its device: inputs to float32 features of one number, all finite."""

    def __init__(self, network: nn.Module, device: torch.device, config: EmbedConfig) -> None:
        self._network, self._device = network, device
        weight = next((p for p in network.parameters() if p.is_floating_point()), None)
        self._dtype = None if weight is None else weight.dtype  # None: a guest, which casts by itself
        self.precision, self.dim = choose_precision(config, device), 0

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor, where: str) -> FloatArray:
        """(B, ...) -> (B, D); `where` says which samples they are."""
        inputs = inputs.to(self._device, self._dtype or inputs.dtype, non_blocking=True)
        with torch.autocast(
            self._device.type,
            dtype=self.precision,
            enabled=self.precision != torch.float32,
            cache_enabled=False,
        ):
            features = try_on(self._network, inputs)
        found: FloatArray = features.float().cpu().numpy()
        if len(found) != len(inputs):
            raise UsageError(
                f"The model gives {len(found)} rows of features for {len(inputs)} inputs ({where})"
            )
        if self.dim and found.shape[1] != self.dim:
            raise UsageError(
                f"The model gives {found.shape[1]} features for {where}, but {self.dim} for those before",
                do="Its number of features must not depend on the input",
            )
        self.dim = found.shape[1]
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if bad.size:
            raise DataError(
                f"The model gives NaN or infinity for {bad.size} of {len(found)} {where.partition(' ')[0]} "
                f"({where})",
                do="Look at its weights and its inputs, or try precision='float32'",
            )
        return found


class _Found:
    """What has come so far: features grow in place, everything else in pieces."""

    def __init__(self, count: int | None) -> None:
        self._count, self.rows, self.seen = count, 0, 0
        self.features: FloatArray = np.zeros((0, 0), np.float32)
        self.corrupt: list[CorruptImage] = []
        self._labels: list[npt.NDArray[Any] | None] = []
        self._ids: list[tuple[str, ...] | None] = []
        self._places: list[IntArray] = []

    @property
    def places(self) -> IntArray:
        """The positions in the stream of the rows that are there (N,)."""
        return np.concatenate(self._places)

    def positions(self, piece: Piece) -> IntArray:
        """Where the samples of the next piece stand in the stream."""
        return np.arange(self.seen, self.seen + len(piece.inputs)) if piece.rows is None else piece.rows

    def skip(self, piece: Piece) -> None:
        """A piece in which nothing could be read."""
        self.corrupt += piece.corrupt
        self.seen += len(piece.corrupt)

    def add(self, piece: Piece, features: FloatArray) -> None:
        """One more piece."""
        n = len(features)
        if len(self.features) < self.rows + n:
            size = max(self._count or 0, self.rows + n, 2 * self.rows)
            grown = np.zeros((size, features.shape[1]), np.float32)
            if self.rows:
                grown[: self.rows] = self.features[: self.rows]
            self.features = grown
        self.features[self.rows : self.rows + n] = features
        self._labels.append(piece.labels)
        self._ids.append(piece.ids)
        self._places.append(self.positions(piece))
        self.rows += n
        self.skip(piece)
        self.seen += n

    def tolerate(self, config: EmbedConfig, where: str) -> None:
        """Raise DataError when more images are corrupt than `config` accepts."""
        allowed = max(1, int(config.max_corrupt * self.seen)) if config.max_corrupt else 0
        if len(self.corrupt) > allowed:
            shown = "; ".join(f"{c.path} ({c.reason})" for c in self.corrupt[:3])
            raise DataError(
                f"{len(self.corrupt)} of {self.seen} images cannot be read: {shown}"
                + ("; ..." if len(self.corrupt) > 3 else ""),
                where=where,
                do="Repair or remove them, or accept more with max_corrupt=",
            )

    def labels(self, stream: Stream) -> tuple[IntArray | None, tuple[str, ...]]:
        """The class numbers of all rows, and the classes' names."""
        if stream.labels is False:
            return None, ()
        if stream.labels is not None:
            values = column(stream.labels, self.seen)[self.places]
            return class_labels(values, stream.class_names, stream.name)
        there = [part for part in self._labels if part is not None]
        if not there:
            return None, ()
        if len(there) < len(self._labels):
            raise DataError("Some batches come with labels and others without", where=stream.name)
        values, names = np.concatenate(there), stream.class_names
        own = stream.own_names or ()
        if names is None and values.dtype.kind in "iu" and -1 <= values.min() <= values.max() < len(own):
            names = own
        return class_labels(values, names, stream.name)

    def names(self, where: str) -> tuple[str, ...]:
        """The ids: those that came with the samples, else their positions in the stream."""
        if all(part is None for part in self._ids):
            width = len(str(self.seen - 1))
            return tuple(f"{place:0{width}d}" for place in self.places)
        if any(part is None for part in self._ids):
            raise DataError("Some batches come with ids and others without", where=where)
        names = tuple(name for part in self._ids if part is not None for name in part)
        if len(set(names)) < len(names):
            raise DataError("The ids are not distinct", where=where)
        return names


class _Drawn:
    """The views of some samples, embedded beside them."""

    def __init__(
        self,
        stream: Stream,
        config: EmbedConfig,
        forward: _Forward,
        prepare: Prepare | None,
        transform: ViewTransform | None,
    ) -> None:
        self._count, self._forward, self._prepare, self._transform = config.views, forward, prepare, transform
        self._seed, self._size, self._unable = config.seed, config.view_samples, False
        self._found: list[FloatArray] = []
        self._rows: list[int] = []
        self._first = stream.count is None
        self._wanted: BoolArray | None = None
        if stream.count is not None:
            train = split(stream.is_train, stream.count)
            evaluated = np.arange(stream.count) if train is None else np.flatnonzero(~train)
            size = min(config.view_samples, evaluated.size)
            self._wanted = np.zeros(stream.count, np.bool_)
            self._wanted[np.random.default_rng(config.seed).choice(evaluated, size, replace=False)] = True

    def add(self, samples: list[Any], first: int, places: IntArray) -> None:
        """Views of those of the samples (rows first, ...; `places` in the stream) that are to have some."""
        if not self._count:
            return
        if self._transform is None and not isinstance(samples[0], Image.Image):
            self._unable = True
            return
        chosen = [i for i, place in enumerate(places.tolist()) if self._chosen(place)]
        if not chosen:
            return
        # seeded by sample, so that a view does not depend on the batches
        drawn = [self._views(samples[i], np.random.default_rng((self._seed, int(places[i])))) for i in chosen]
        for_each = [torch.stack(one) for one in zip(*drawn, strict=True)]
        self._found.append(np.stack([self._forward(one, "views of the samples") for one in for_each]))
        self._rows += [first + i for i in chosen]

    def _views(self, sample: Image.Image | torch.Tensor, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        for _ in range(self._count):
            yield view_of(sample, self._prepare, self._transform, rng)

    def _chosen(self, place: int) -> bool:
        if self._wanted is None:
            return place < self._size
        return place < self._wanted.size and bool(self._wanted[place])

    def views(self) -> tuple[Views | None, tuple[str, ...]]:
        """All of them, and what a person should know about them."""
        if self._unable:
            return None, (
                "The data are ready inputs, of which repdiag makes no augmented views: measures that need views "
                "are skipped (view_transform= can make them).",
            )
        if not self._found:
            return None, ()
        which = f"the first {len(self._rows)}" if self._first else f"{len(self._rows)}"
        words = f"{self._count} views of {which} samples: {described(self._transform)}"
        return Views(np.concatenate(self._found, axis=1), np.asarray(self._rows, np.int64), words), ()
