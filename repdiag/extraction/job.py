"""A model and data of any kind, brought together: what is to be run on what, prepared how, kept where."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from repdiag.encoders import Encoder, Preprocessing, load_encoder
from repdiag.encoders.features import select
from repdiag.encoders.types import Output
from repdiag.encoders.untouched import own_randomness, plain_torch, undrawn, untouched
from repdiag.encoders.wrap import Guest, Pick, said_by, wrap
from repdiag.errors import DataError, UsageError
from repdiag.extraction.config import EmbedConfig, choose_device
from repdiag.extraction.extract import embed
from repdiag.extraction.given import of_source, understand
from repdiag.extraction.loader import default_workers
from repdiag.extraction.prepare import Custom, Prepare, Standard, ViewTransform
from repdiag.extraction.stream import Piece, Stream, Told
from repdiag.extraction.tensors import BATCH, embed_stream, inputs_of
from repdiag.sources import is_embeddings, open_source, read_embeddings
from repdiag.store import Store
from repdiag.types import EmbeddingSet, ImageSource, Progress

Model = str | Path | Encoder | nn.Module | None
Data = EmbeddingSet | ImageSource | Stream
_HOW = "Give preprocessing=: a repdiag.Preprocessing, or a function from a PIL image to a tensor (C, H, W)"


@dataclass(frozen=True)
class Wishes:
    """What a caller says beside the model and the data.

    `features` are the keywords layer and pool; `loading` further ones of `load_encoder`, `reading` of
    `open_source`. `cache` None: the default place when model and data are files, else none.
    """

    told: Told = field(default_factory=Told)
    preprocessing: Preprocessing | Callable[[Image.Image], Any] | None = None
    view_transform: ViewTransform | None = None
    output: Pick | None = None
    features: Mapping[str, Any] = field(default_factory=dict)
    config: EmbedConfig = field(default_factory=EmbedConfig)
    cache: bool | str | Path | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """What is done: `encoder` runs on an image source, `network` on a stream; embeddings are there already."""

    data: Data
    config: EmbedConfig
    encoder: Encoder | None = None
    network: nn.Module | None = None
    prepare: Prepare | None = None
    view_transform: ViewTransform | None = None
    store: Store | None = None

    def embeddings(self, progress: Progress) -> EmbeddingSet:
        """The embeddings, made where they are not there yet; raises RepdiagErrors as both extractions do."""
        if isinstance(self.data, EmbeddingSet):
            return self.data
        if not isinstance(self.data, Stream):
            assert self.encoder is not None
            return embed(self.encoder, self.data, self.config, store=self.store, progress=progress)
        assert self.network is not None
        device = choose_device(self.config)
        return embed_stream(
            self.network.to(device),  # of a guest, which stays where it is, this moves nothing
            device,
            self.data,
            self.config,
            prepare=self.prepare,
            view_transform=self.view_transform,
            progress=progress,
        )

    def facts(self, embeddings: EmbeddingSet, output: Output | None = None) -> dict[str, Any]:
        """What a report says about the model that was run on a stream, ready for JSON; of one output of several."""
        inputs = {"summary": embeddings.provenance["inputs"]}
        if self.encoder is not None:
            said = self.encoder.describe()
            container = self.encoder.loading.container
            if output is not None:
                own = [layer for layer in said["features"] if layer["layer"] == output.name]
                said |= {"layer": output.name, "dim": output.dim, "features": own}
            elif len(self.encoder.outputs) == 1:
                output = self.encoder.outputs[0]
        else:
            assert isinstance(self.network, Guest)
            loading = self.network.loading()
            said = {
                "name": self.network.name,
                "architecture": self.network.name,
                "dim": embeddings.dim,
                "fingerprint": self.network.fingerprint(),
                "loading": loading.describe(),
            }
            container = loading.container
        what = (
            f" of {output.name} ({output.pooling})" if output is not None and output.name != "output" else ""
        )
        summary = f"{said['name']}: {embeddings.dim} features{what} ({container})"
        return {"summary": summary, **said, "preprocessing": inputs}


@contextlib.contextmanager
def opened(model: Model, data: object, wishes: Wishes) -> Iterator[Job]:
    """The job, to be done inside the block: a network in memory is in eval mode there, and what is random comes
    from the seed; afterwards the network, everyone's random numbers and torch's modes are as they were.
    Raises RepdiagErrors when model and data do not go together.
    """  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_randomness(wishes.config.seed))
        stack.enter_context(plain_torch())
        known = _data(data, wishes)
        if isinstance(known, Stream):
            stack.enter_context(undrawn(known.generators))
        if model is None or (isinstance(model, str) and model == "-"):
            yield _ready(known, data, wishes)
            return
        if isinstance(known, EmbeddingSet):
            raise UsageError(
                "The data are ready embeddings, on which no model is run", do="Give None as model"
            )
        if isinstance(model, nn.Module):
            guest = Guest(model, wishes.output)
            stack.enter_context(untouched(guest.network))
            yield _of_guest(guest, known, wishes)
        else:
            if not isinstance(model, (str, Path, Encoder)):
                raise UsageError(
                    f"repdiag cannot run a model of type {type(model).__name__}",
                    do="Give a path or name, an Encoder, a torch.nn.Module, or None for embeddings",
                )
            if wishes.output is not None:
                raise UsageError("output= picks from what a torch.nn.Module gives; this model is none")
            yield _of_encoder(_encoder(model, wishes), known, wishes, _store(wishes, model, data))


def _data(data: object, wishes: Wishes) -> Data:
    """`data` opened: paths here, everything else by `understand`."""
    if not isinstance(data, (str, Path)):
        if wishes.reading:
            raise UsageError(f"{_named(wishes.reading)} tell how a path is read; these data are in memory")
        return understand(data, wishes.told)
    told, path = wishes.told, str(data)
    if told.unpack is not None or told.class_names is not None or told.is_train is not None:
        raise UsageError("class_names=, is_train= and unpack= are for data in memory, not for a path")
    if told.labels is not None and told.labels is not False:
        raise UsageError("A path brings its own labels; labels=False ignores them")
    if is_embeddings(path):
        if wishes.reading:
            raise UsageError(
                f"{_named(wishes.reading)} tell how images are read; these are embeddings", where=path
            )
        found = read_embeddings(path)
        return replace(found, labels=None, class_names=(), parents=()) if told.labels is False else found
    return open_source(path, labeled=told.labels is not False, **wishes.reading)


def _ready(known: Data, data: object, wishes: Wishes) -> Job:
    """The job of no model."""
    if not isinstance(known, EmbeddingSet):
        said = f"'{data}'" if isinstance(data, (str, Path)) else known.name
        raise UsageError(f"There is no model, and {said} does not hold embeddings", do="Give a model")
    given = {"loading keywords": wishes.loading, "layer=": wishes.features.get("layer")}
    given |= {"pool=": wishes.features.get("pool"), "preprocessing=": wishes.preprocessing}
    given |= {"output=": wishes.output, "view_transform=": wishes.view_transform, "cache=": wishes.cache}
    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(f"{', '.join(wrong)} need a model, and these are ready embeddings")
    return Job(known, wishes.config)


def _encoder(model: str | Path | Encoder, wishes: Wishes) -> Encoder:
    chosen = {name: value for name, value in wishes.features.items() if value is not None}
    if isinstance(model, Encoder):
        if wishes.loading:
            raise UsageError(f"{_named(wishes.loading)} tell how a file is loaded; this encoder is")
        encoder = select(model, **chosen)
    else:
        encoder = load_encoder(str(model), **wishes.loading, **chosen)
    how = wishes.preprocessing
    return replace(encoder, preprocessing=how) if isinstance(how, Preprocessing) else encoder


def _store(wishes: Wishes, model: object, data: object) -> Store | None:
    files = isinstance(model, (str, Path)) and isinstance(data, (str, Path))
    if wishes.cache is None or isinstance(wishes.cache, bool):
        return Store() if wishes.cache or (wishes.cache is None and files) else None
    return Store(Path(wishes.cache))


def _of_encoder(encoder: Encoder, known: ImageSource | Stream, wishes: Wishes, store: Store | None) -> Job:
    """The job of an encoder with a preprocessing of its own."""
    how, config = wishes.preprocessing, wishes.config
    custom = Custom(how) if how is not None and not isinstance(how, Preprocessing) else None
    if isinstance(known, Stream) or custom is not None or wishes.view_transform is not None:
        stream = _stream(known, wishes)
        prepare = custom or Standard(encoder.preprocessing)
        return Job(stream, config, encoder, encoder.module, prepare, wishes.view_transform)
    return Job(known, config, encoder, store=store)


def _of_guest(guest: Guest, known: ImageSource | Stream, wishes: Wishes) -> Job:
    """The job of a network in memory."""
    if wishes.loading:
        raise UsageError(
            f"{_named(wishes.loading)} tell how a file is loaded; this model is in memory",
            do="Say how images are prepared with preprocessing=",
        )
    asked, config = wishes.config.device, replace(wishes.config, device=str(guest.device))
    chosen_device = guest.device if asked == "auto" else choose_device(wishes.config)
    if (chosen_device.type, chosen_device.index or 0) != (guest.device.type, guest.device.index or 0):
        raise UsageError(
            f"The model is on {guest.device}, not on {asked}",
            do="Move it there yourself, or leave device= out",
        )
    how = wishes.preprocessing
    standard = how if isinstance(how, Preprocessing) else said_by(guest.network) if how is None else None
    chosen = {name: value for name, value in wishes.features.items() if value is not None}
    if not isinstance(known, Stream) and standard is not None and wishes.view_transform is None:
        encoder = wrap(guest, standard)
        return Job(known, config, select(encoder, **chosen), store=_store(wishes, None, None))
    if not isinstance(known, Stream) and how is None and standard is None:
        raise UsageError("It is not known how this model wants images prepared", do=_HOW)
    stream = _stream(known, wishes)
    prepare: Prepare | None = None
    if standard is not None:
        prepare = Standard(standard)
    elif how is not None and not isinstance(how, Preprocessing):
        prepare = Custom(how)
    if not chosen:
        return Job(stream, config, None, guest, prepare, wishes.view_transform)
    stream, shape = _peeked(stream, config, prepare)
    encoder = select(wrap(guest, _stand_in(shape)), **chosen)
    return Job(stream, config, encoder, encoder.module, prepare, wishes.view_transform)


def _stream(known: ImageSource | Stream, wishes: Wishes) -> Stream:
    if wishes.cache:
        raise UsageError(
            "Only embeddings of image files, lists and arrays made as a Preprocessing says can be cached: what "
            "a loader or a function does cannot be recognized",
            do="Leave cache= out",
        )
    if isinstance(known, Stream):
        return known
    workers = wishes.config.workers or default_workers(torch.device("cpu"))
    return of_source(known, Told(), workers)


def _peeked(stream: Stream, config: EmbedConfig, prepare: Prepare | None) -> tuple[Stream, tuple[int, ...]]:
    """The stream, and the shape of its first input; the stream's first piece is not asked for twice."""
    pieces = stream.pieces(config.batch_size or BATCH)
    before: list[Piece] = []
    for piece in pieces:
        before.append(piece)
        if len(piece.inputs):
            shape = tuple(inputs_of(piece, prepare)[0].shape[1:])
            return replace(stream, pieces=lambda size: itertools.chain(before, pieces)), shape
    raise DataError("The data delivered nothing", where=stream.name)


def _stand_in(shape: tuple[int, ...]) -> Preprocessing:
    """A preprocessing that gives inputs of this shape, only for trying the network on them."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[0] not in (1, 3):
        raise UsageError(
            f"layer= and pool= need square inputs of 1 or 3 channels, not {shape}",
            do="Wrap the model in one that returns the features you want",
        )
    ones = (1.0,) * shape[0]
    return Preprocessing(shape[1], shape[1], "bilinear", (0.0,) * shape[0], ones, shape[0], "the data")


def _named(keywords: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}=" for name in keywords)
