"""Embeddings that can be had without running a network: those of a file, and those that the cache kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.store import Store
from repdiag.store.cache import CACHE_FORMAT
from repdiag.store.disk import JOURNAL, records
from repdiag.types import BoolArray, EmbeddingSet, FloatArray, IntArray, Report


@dataclass(frozen=True)
class Held:
    """`features` (N, D) float32, and which images their rows are.

    Either `ids` (N,), or `listing`, the fingerprint of the list of images in whose order they are. `usable` (N,) is
    False where an image could not be read.
    """

    features: FloatArray
    usable: BoolArray
    listing: str | None = None
    ids: npt.NDArray[np.str_] | None = None


def of_set(embeddings: EmbeddingSet) -> Held:
    """Embeddings that are there."""
    n = len(embeddings)
    return Held(embeddings.features, np.ones(n, np.bool_), ids=np.array(embeddings.ids, np.str_))


def of_cache(report: Report, store: Store) -> Held | str:
    """The embeddings that `report` was made from, as `store` keeps them, or why they cannot be had.

    Nothing is written and nothing locked. The journal says which rows were finished; rows that a process is writing
    right now are missing, not wrong.
    """
    said: Mapping[str, Any] = report.dataset.get("embedding") or {}
    key, listing = said.get("key"), report.dataset.get("fingerprint")
    if not isinstance(key, str) or not isinstance(listing, str):
        return "the report names no cached embeddings"
    if report.encoder.get("layer"):
        return "the report is of one layer of several, which the cache keeps together"
    folder = store.folder(key)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        rows, dim, version = int(meta["rows"]), int(meta["dim"]), meta["format"]
        usable = np.zeros(rows, np.bool_)
        corrupt: list[int] = []
        for _, record in records(folder / JOURNAL):
            if record is not None and record["rows"][1] <= rows:
                usable[slice(*record["rows"])] = True
                corrupt += [row for row, _ in record["corrupt"]]
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):
        return "its embeddings are not in the cache"
    if version != CACHE_FORMAT or features.shape != (rows, dim) or features.dtype != np.float32:
        return "its embeddings are not in the cache as this version keeps them"
    if not usable.all():
        return "its embeddings are not complete in the cache"
    usable[[row for row in corrupt if 0 <= row < rows]] = False
    return Held(features, usable, listing=listing)


def common(one: Held, other: Held) -> tuple[IntArray, IntArray] | str:
    """The rows of both that are the same images, in one order, or why that is not known."""
    if one.ids is not None and other.ids is not None:
        _, *rows = np.intersect1d(one.ids, other.ids, return_indices=True)
        first, second = (np.asarray(r, np.int64) for r in rows)
        return (first, second) if first.size else "they are of other images"
    if one.listing is None or one.listing != other.listing or one.usable.size != other.usable.size:
        return "they are of other images, or the images were listed anew in between"
    both = np.flatnonzero(one.usable & other.usable).astype(np.int64)
    return both, both
