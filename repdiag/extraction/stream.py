"""Samples that come in order, once: what loaders, data sets and arrays of inputs have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from PIL import Image

from repdiag.types import CorruptImage, IntArray

Unpack = Callable[[Any], Any]


@dataclass(frozen=True)
class Piece:
    """Some samples: a tensor of inputs (B, ...) or B images, with labels and ids where they are known.

    `rows` are their positions in the stream (None: they go on where the last piece ended), `corrupt` those
    of these rows that could not be read and are not among the inputs.
    """

    inputs: torch.Tensor | list[Image.Image]
    labels: npt.NDArray[Any] | None = None
    ids: tuple[str, ...] | None = None
    rows: IntArray | None = None
    corrupt: tuple[CorruptImage, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Samples that come in order, once. `pieces(size)` gives them, `size` at a time where that can be chosen.

    `count` is how many there will be, when that is known. `labels` (one per sample, for those that the pieces
    bring none with; False: none at all), `class_names` and `is_train` are what the caller says, `own_names` the
    classes that the data set states, `parents` the coarse classes of `class_names`. `image(i)` is the i-th as a
    picture, where there is one. `generators` are drawn from on the way, and belong to others.
    """

    name: str
    pieces: Callable[[int], Iterator[Piece]]
    count: int | None = None
    labels: object = None
    class_names: Sequence[str] | None = None
    is_train: object = None
    own_names: Sequence[str] | None = None
    parents: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    generators: tuple[torch.Generator, ...] = ()
    image: Callable[[int], Image.Image] | None = None


@dataclass(frozen=True)
class Told:
    """What the caller says about the data: `labels` False means to use none, None those that the data bring."""

    labels: object = None
    class_names: Sequence[str] | None = None
    is_train: object = None
    unpack: Unpack | None = None
