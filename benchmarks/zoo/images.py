"""Images as one uint8 array, read as `repdiag score` reads them, and the part of them that is trained on."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import train_test_split

from benchmarks.zoo.backbone import PREPROCESSING
from repdiag.encoders import Preprocessing
from repdiag.errors import DataError, UsageError
from repdiag.extraction.images import Undecodable, decode, preprocess
from repdiag.sources import open_source
from repdiag.types import ImageSource

HOW = Preprocessing.of(PREPROCESSING | {"origin": "the zoo"})


@dataclass(frozen=True)
class Pool:
    """Images (N, 3, 32, 32) uint8 to train on, their labels (N,) among `classes`; `digests` tell them apart."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: int
    digests: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A digest of the images in their order, and of their labels."""
        said = "".join(self.digests).encode() + self.labels.numpy().tobytes()
        return hashlib.sha256(said).hexdigest()[:16]


def read_pool(data: str, *, hold_out: float = 0.0, seed: int = 0, limit: int = 0) -> tuple[Pool, str]:
    """The images of `data` to train on, and a list (CSV) of those held out, "" for none.

    Of data with a split of its own the training part. `hold_out` is the share of each class that is kept from
    training; `limit` trains on so many images at most, as many of each class. Raises DataError.
    """
    source = open_source(data)
    manifest = source.manifest
    if manifest.labels is None:
        raise DataError("The images have no labels, which the supervised encoder needs", where=data)
    rows = np.arange(len(manifest)) if manifest.is_train is None else np.flatnonzero(manifest.is_train)
    listed = ""
    if hold_out:
        rows, out = divided(rows, manifest.labels[rows], hold_out, seed)
        listed = listing(source, out)
    if 0 < limit < len(rows):
        rows, _ = divided(rows, manifest.labels[rows], 1 - limit / len(rows), seed)
    pixels = read(source, rows)
    labels = torch.from_numpy(manifest.labels[rows])
    return Pool(torch.from_numpy(pixels), labels, len(manifest.class_names), digests(pixels)), listed


def divided(
    rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`rows` without a `share` of each class, and that share, both sorted; raises UsageError where none is left."""
    try:
        kept, out = train_test_split(rows, test_size=share, stratify=labels, random_state=seed)
    except ValueError as error:
        raise UsageError(f"{len(rows)} images cannot be divided: {error}") from error
    return np.sort(kept), np.sort(out)


def listing(source: ImageSource, rows: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """A CSV of `path` and `label`, which `repdiag score LIST.csv --root DATA` takes."""
    manifest, text = source.manifest, io.StringIO()
    assert manifest.labels is not None
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label"])
    table.writerows([manifest.paths[i], manifest.class_names[manifest.labels[i]]] for i in rows)
    return text.getvalue()


def read(source: ImageSource, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The images `rows` as (N, 3, 32, 32); raises DataError for the first that cannot be decoded."""

    def one(row: int) -> npt.NDArray[np.uint8]:
        try:
            return preprocess(decode(source.read(row)), HOW)
        except (OSError, Undecodable) as error:
            raise DataError(f"Cannot read an image: {error}", where=source.manifest.paths[row]) from error

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(one, rows.tolist()))
    return np.ascontiguousarray(np.stack(found).transpose(0, 3, 1, 2))


def digests(pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """16 hexadecimal digits per image that are the same for the same pixels only."""
    return tuple(hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in pixels)


def trained_on(data: str, root: str | None, known: frozenset[str]) -> float:
    """The share of the images of `data` that are scored and whose digests are `known` from training."""
    source = open_source(data, root=root)
    split = source.manifest.is_train
    rows = np.arange(len(source.manifest)) if split is None else np.flatnonzero(~split)
    return float(np.mean([d in known for d in digests(read(source, rows))]))
