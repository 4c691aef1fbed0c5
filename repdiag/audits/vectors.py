"""The embeddings behind a report: from a file that was named, or from the cache by the key that the report holds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repdiag.audits.samples import Samples
from repdiag.errors import DataError, RepdiagError
from repdiag.sources import read_embeddings
from repdiag.store import Store
from repdiag.types import BoolArray, FloatArray, ImageSource, Report, Skipped

NO_KEY = "the report names no embeddings; give --embeddings"


@dataclass(frozen=True)
class Vectors:
    """Embeddings (N, D) float32 of the report's samples and of those that taught (`is_train`; None: no split).

    `labels` are the classes' names (None: not known, or no labels at all), `source` says where this is from.
    """

    features: FloatArray
    ids: tuple[str, ...]
    labels: tuple[str | None, ...] | None
    is_train: BoolArray | None
    source: str


def from_file(path: str, samples: Samples, report: Report) -> Vectors:
    """The embeddings in `path`; DataError where any of the report's samples is not in it."""
    found = read_embeddings(path)
    known = set(found.ids)
    missing = [str(name) for name in samples.ids.tolist() if name not in known]
    if missing:
        raise DataError(
            f"The embeddings lack {len(missing)} of the report's {len(samples)} samples: '{missing[0]}'"
            + (", ..." if len(missing) > 1 else ""),
            where=path,
            do="Give the file that was scored, or one with the same ids",
        )
    return Vectors(
        found.features,
        found.ids,
        _names(found.labels, found.class_names, report),
        found.is_train,
        Path(path).name,
    )


def from_cache(
    report: Report, samples: Samples, images: ImageSource | None, cache: Path | None
) -> Vectors | Skipped:
    """The embeddings that `repdiag score` kept, or why they are not at hand; only read, nothing is changed or made.

    The cache names rows by their number, so that the data set (`images`) is needed to tell which sample is which. It
    is not where all samples were evaluated, none was left out, and the rows have the lengths in samples.csv.
    """
    embedding = report.dataset.get("embedding")
    key = embedding.get("key") if isinstance(embedding, Mapping) else None
    if not isinstance(embedding, Mapping) or not _is_key(key):
        return Skipped(NO_KEY)
    store = Store(cache)
    try:
        status = store.status(str(key))
    except RepdiagError as error:
        return Skipped(f"the cache of embeddings cannot be read ({error.what}); give --cache or --embeddings")
    if status is None or status[0] < status[1]:
        return Skipped(
            "the embeddings are not in the cache (any more); score again, or give --cache or --embeddings"
        )
    features = _features(store.folder(str(key)) / "features.npy", status[1])
    if features is None:
        return Skipped("the embeddings in the cache are damaged; score again, or give --embeddings")
    layer = _layer(report, embedding, features.shape[1])
    if layer is None:
        return Skipped("the report does not say which columns of the cached embeddings are its layer's")
    features = features[:, layer]
    corrupt = _corrupt(report)
    if images is None:
        if len(features) != len(samples) or corrupt or not _same_lengths(features, samples, report):
            return Skipped("the cache does not name its rows; give the data set with --data, or --embeddings")
        labels = tuple(samples.label.tolist())
        ids = tuple(str(name) for name in samples.ids.tolist())
        return Vectors(
            features, ids, labels if any(label is not None for label in labels) else None, None, "the cache"
        )
    manifest = images.manifest
    if manifest.fingerprint != report.dataset.get("fingerprint") or len(manifest) != len(features):
        return Skipped(
            "the data set is not as it was when it was scored, or is read in another way; "
            "give it with the options of then, or --embeddings"
        )
    kept = np.array([path not in corrupt for path in manifest.paths], np.bool_)
    labels_of = _names(manifest.labels, manifest.class_names, report)
    return Vectors(
        features if kept.all() else features[kept],
        tuple(np.array(manifest.paths, dtype=object)[kept].tolist()),
        None
        if labels_of is None
        else tuple(name for name, keep in zip(labels_of, kept, strict=True) if keep),
        None if manifest.is_train is None else manifest.is_train[kept],
        "the cache",
    )


def _is_key(key: Any) -> bool:
    """Whether it is a SHA-256 in hex, and thus no path that a stranger's report leads elsewhere."""
    return isinstance(key, str) and len(key) == 64 and set(key) <= set("0123456789abcdef")


def _features(path: Path, rows: int) -> FloatArray | None:
    with contextlib.suppress(OSError, ValueError):
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.ndim == 2 and found.dtype == np.float32 and len(found) == rows:
            return np.asarray(found)
    return None


def _layer(report: Report, embedding: Mapping[str, Any], width: int) -> slice | None:
    """The columns of the report's layer; None where that is not known."""
    name, dim = report.encoder.get("layer"), report.dataset.get("features")
    if name is None:
        return slice(0, width) if dim in (None, width) else None
    made = embedding.get("made_of")
    listed: Sequence[Any] = made.get("features") or () if isinstance(made, Mapping) else ()
    start = 0
    with contextlib.suppress(KeyError, TypeError, ValueError):  # a report that was written by hand
        for one in listed:
            if one["layer"] == name:
                return slice(start, start + int(one["dim"])) if one["dim"] == dim else None
            start += int(one["dim"])
    return None


def _corrupt(report: Report) -> set[str]:
    listed = report.dataset.get("corrupt") or ()
    return {str(one["path"]) for one in listed if isinstance(one, Mapping) and "path" in one}


def _same_lengths(features: FloatArray, samples: Samples, report: Report) -> bool:
    """Whether the rows have the lengths that samples.csv says: the order is then the same."""
    from repdiag.kernels.rows import norms

    said = report.samples.columns.get("feature_norm")
    if said is None:
        return False
    return bool(np.allclose(norms(features), np.asarray(said, np.float64), rtol=1e-4, atol=1e-6))


def _names(labels: Any, class_names: Sequence[str], report: Report) -> tuple[str | None, ...] | None:
    """Names of the labels; None without labels, and for a report that did not use them."""
    if labels is None or report.dataset.get("labels_used") is False:
        return None
    return tuple(None if label < 0 else class_names[label] for label in labels.tolist())
