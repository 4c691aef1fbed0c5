"""Loaders and data sets of the user's own as streams: what a batch holds, in which order, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from repdiag.errors import DataError, UsageError
from repdiag.extraction.labels import column
from repdiag.extraction.stream import Piece, Stream, Told, Unpack

INPUTS = ("image", "images", "img", "imgs", "pixel_values", "x", "input", "inputs")
TARGETS = ("label", "labels", "target", "targets", "y", "fine_label")
_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def of_loader(loader: DataLoader[Any], told: Told) -> Stream:
    """The batches of a loader, as they are; notes say when their order or number is not that of the data."""
    sampler, count, notes = loader.sampler, _size(loader), []
    if isinstance(sampler, _SHUFFLING):
        notes.append(
            "The loader shuffles: ids are positions in the order delivered and name other samples the next time."
        )
    elif type(sampler).__name__ == "DistributedSampler":
        notes.append("The loader delivers this process's share of the data only (DistributedSampler).")
    elif not isinstance(sampler, SequentialSampler) and not isinstance(loader.dataset, IterableDataset):
        notes.append(f"Ids are positions in the order of the loader's {type(sampler).__name__}.")
    whole = len(sampler) if isinstance(sampler, Sized) and count is not None else None
    if loader.drop_last and count is not None and whole is not None and count < whole:
        notes.append(f"The loader leaves out the last {whole - count} of {whole} samples (drop_last).")
        count = count or None
    mine = (getattr(holder, "generator", None) for holder in (loader, sampler, loader.batch_sampler))
    return Stream(
        f"{type(loader.dataset).__name__} in a {type(loader).__name__}",
        lambda size: batches(loader, told.unpack),
        count,
        told.labels,
        told.class_names,
        told.is_train,
        _own_names(loader.dataset),
        notes=tuple(notes),
        generators=tuple({id(g): g for g in mine if isinstance(g, torch.Generator)}.values()),
    )


def _size(loader: DataLoader[Any]) -> int | None:
    """How many samples a loader will deliver, when that can be told."""
    if isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
        return None
    try:
        whole = len(loader.sampler)  # type: ignore[arg-type]
    except TypeError:
        return None
    return whole - whole % loader.batch_size if loader.drop_last else whole


def _own_names(dataset: object) -> Sequence[str] | None:
    """The class names that torchvision's and other data sets state as `classes`, Hugging Face's in `features`."""
    names = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((found for key in TARGETS if (found := getattr(features.get(key), "names", None))), None)
    return names if isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names) else None


def batches(loader: Any, unpack: Unpack | None) -> Iterator[Piece]:
    """Each batch of an iterable as a piece: a tensor of floats, and labels and ids where there are some."""
    number, waiting = 0, iter(loader)
    while True:
        try:
            batch = next(waiting)
        except StopIteration:
            return
        except Exception as error:  # the code that makes the batches is the user's
            raise DataError(f"The loader failed at batch {number}: {_short(error)}") from error
        inputs, labels, ids = opened(batch, unpack, f"batch {number}")
        if not isinstance(inputs, torch.Tensor):
            inputs = _stacked(inputs, f"batch {number}")
        if inputs.dim() < 2 or not len(inputs):
            raise DataError(f"Batch {number} has inputs of shape {tuple(inputs.shape)}, not (B, C, H, W)")
        if not inputs.is_floating_point():
            raise UsageError(
                f"Batch {number} holds {str(inputs.dtype).removeprefix('torch.')} inputs, which no network takes "
                "as they are",
                do="Convert and normalize them in the data set, or give the images themselves",
            )
        n = len(inputs)
        yield Piece(inputs, None if labels is None else column(labels, n), _names(ids, n))
        number += 1


def _stacked(inputs: object, where: str) -> torch.Tensor:
    if isinstance(inputs, np.ndarray):
        return torch.as_tensor(inputs)
    items = list(inputs) if isinstance(inputs, (list, tuple)) else []
    if items and all(isinstance(item, torch.Tensor) for item in items):
        shapes = {tuple(item.shape) for item in items}
        if len(shapes) > 1:
            raise DataError(
                f"The inputs of {where} differ in shape: {', '.join(map(str, sorted(shapes)[:3]))}",
                do="Resize and crop them to one size",
            )
        if items[0].dim() == 4:
            raise UsageError(
                f"{where.capitalize()} holds {len(items)} tensors of shape {items[0].shape}, several views perhaps",
                do="Say which is the input with unpack=, as in unpack=lambda batch: (batch[0][0], batch[1])",
            )
        return torch.stack(items)
    if items and all(isinstance(item, Image.Image) for item in items):
        raise UsageError(
            f"{where.capitalize()} holds PIL images", do="Give the data set itself, not its loader"
        )
    raise UsageError(
        f"{where.capitalize()} has inputs of type {type(inputs).__name__}, not a tensor",
        do="Say which part is the input with unpack=, as in unpack=lambda batch: (batch['image'], batch['label'])",
    )


def opened(batch: Any, unpack: Unpack | None, where: str) -> tuple[Any, Any, Any]:
    """(inputs, labels, ids) of a batch or an item: x, (x, y), a dict of both, or what `unpack` makes of it."""
    if unpack is not None:
        batch = unpack(batch)
        if isinstance(batch, tuple) and len(batch) == 3:
            return batch
    if isinstance(batch, Mapping):
        inputs = [key for key in INPUTS if key in batch]
        targets = [key for key in TARGETS if key in batch]
        if len(inputs) != 1 or len(targets) > 1:
            raise UsageError(
                f"It is unclear which of {', '.join(map(repr, batch))} is the input of {where}, and which the label",
                do="Say so with unpack=, as in unpack=lambda batch: (batch['image'], batch['label'])",
            )
        return batch[inputs[0]], batch[targets[0]] if targets else None, None
    if isinstance(batch, (tuple, list)):
        if len(batch) == 1:
            return batch[0], None, None
        if len(batch) == 2:
            return batch[0], batch[1], None
        raise UsageError(
            f"{where.capitalize()} has {len(batch)} parts, not inputs and labels",
            do="Say which they are with unpack=, as in unpack=lambda batch: (batch[0], batch[1])",
        )
    return batch, None, None


def _names(ids: object, n: int) -> tuple[str, ...] | None:
    return None if ids is None else tuple(map(str, column(ids, n, "ids").tolist()))


def of_dataset(data: Any, told: Told) -> Stream:
    """A map-style data set of (image, label), image, or a dict; images are tensors or PIL images."""
    n = len(data)
    if not n:
        raise DataError("The data set is empty", where=type(data).__name__)

    def item(index: int) -> tuple[Any, Any, Any]:
        try:
            found = data[index]
        except Exception as error:  # the code that makes the items is the user's
            raise DataError(f"The data set failed at item {index}: {_short(error)}") from error
        image, label, name = opened(found, told.unpack, f"item {index}")
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = Image.fromarray(image)
        if not isinstance(image, (torch.Tensor, Image.Image)):
            raise UsageError(
                f"Item {index} holds a {type(image).__name__}, not an image",
                do="Give (image, label) with PIL images or tensors, or say how with unpack=",
            )
        if isinstance(image, torch.Tensor) and not image.is_floating_point():
            raise UsageError(
                f"Item {index} is a tensor of {str(image.dtype).removeprefix('torch.')}, which no network takes as "
                "it is",
                do="Normalize it in the data set, or give PIL images",
            )
        return image, label, name

    def pieces(size: int) -> Iterator[Piece]:
        for start in range(0, n, size):
            images, labels, names = zip(*(item(i) for i in range(start, min(start + size, n))), strict=True)
            yield Piece(
                _gathered(images, start),
                column(labels, len(images)),  # -1 for None: of all samples, there are none
                _names(names, len(images)) if names[0] is not None else None,
            )

    picture = None
    if isinstance(item(0)[0], Image.Image):

        def picture(index: int) -> Image.Image:
            found: Image.Image = item(index)[0]
            return found

    return Stream(
        type(data).__name__,
        pieces,
        n,
        told.labels,
        told.class_names,
        told.is_train,
        _own_names(data),
        image=picture,
    )


def _gathered(images: Sequence[Any], start: int) -> torch.Tensor | list[Image.Image]:
    if all(isinstance(image, Image.Image) for image in images):
        return list(images)
    where = f"items {start} to {start + len(images) - 1}"
    if not all(isinstance(image, torch.Tensor) for image in images):
        raise DataError(f"The {where} are partly tensors, partly images")
    return _stacked(list(images), where)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:200]}"
