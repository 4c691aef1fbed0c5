"""Which images are trained on, which of them are kept for the held-out loss, and on which every arm is scored."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from repdiag.errors import DataError
from repdiag.sources import Images
from repdiag.types import BoolArray, ImageSource, IntArray

LEAST = 4
"""Images on either side below which nothing can be trained or measured."""


def split(source: ImageSource, hold_out: float, use_labels: bool) -> tuple[ImageSource, str]:
    """`source` with a split into images to train on and to score on, and a sentence on where it comes from.

    A split of its own stays. Else a share of `hold_out` is kept from training, of each class alike where labels are
    known; the same for every seed and arm. Raises DataError where either side has too few images.
    """
    manifest = source.manifest
    if manifest.is_train is not None and 0 < manifest.is_train.sum() < len(manifest):
        said = "the data's own split: trained on its train part, scored on the rest"
        train = manifest.is_train
    else:
        labels = manifest.labels if use_labels else None
        train = drawn(len(manifest), labels, hold_out)
        said = f"no split in the data: {hold_out:.0%} of the images (of each class alike) were kept from training"
        digest = hashlib.sha256(f"{manifest.fingerprint} kept out {hold_out}".encode())
        manifest = dataclasses.replace(manifest, is_train=train, fingerprint=digest.hexdigest())
        source = Images(source.name, manifest, source.notes, source.read)
    if not use_labels and manifest.labels is not None:
        manifest = dataclasses.replace(manifest, labels=None, class_names=(), parents=())
        source = Images(source.name, manifest, source.notes, source.read)
    for count, what in ((int(train.sum()), "train on"), (int((~train).sum()), "score on")):
        if count < LEAST:
            raise DataError(
                f"Only {count} images are left to {what}", where=source.name, do="Give more images"
            )
    return source, said


def drawn(n: int, labels: IntArray | None, hold_out: float) -> BoolArray:
    """(N,) True for the images to train on: all but `hold_out` of each class, drawn with a fixed seed.

    A class of one image trains. Images without a label are a class of their own here.
    """
    rng = np.random.default_rng(0)
    train = np.ones(n, dtype=np.bool_)
    groups = np.zeros(n, dtype=np.int64) if labels is None else labels
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        count = min(round(hold_out * rows.size), rows.size - 1)
        train[rows[:count]] = False
    return train


def parts(train: BoolArray, validation: float) -> tuple[IntArray, IntArray]:
    """The rows to train on and those of the held-out loss: a share of `validation` of the train part."""
    rows = np.flatnonzero(train)
    count = round(validation * rows.size)
    if rows.size - count < 2:
        return rows, rows[:0]
    kept = np.random.default_rng(0).permutation(rows)
    return np.sort(kept[count:]), np.sort(kept[:count])
