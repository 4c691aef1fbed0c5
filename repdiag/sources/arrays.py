""".npz and .npy files of embeddings. Pickled objects in them are never loaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources.columns import FEATURES, IDS, LABELS, SPLIT, Columns, embedding_set, pick
from repdiag.types import EmbeddingSet


def matches(path: Path) -> bool:
    """Whether `path` is named as numpy's own files."""
    return path.suffix.lower() in {".npz", ".npy"}


def read(path: Path) -> EmbeddingSet:
    """The embeddings of a .npy (an (N, D) array) or .npz file.

    Keys of a .npz, those in brackets optional: `embeddings`, `features`, `X` or `x` (N, D), else its only
    array of two axes and floats; [`labels`, `targets` or `y`] ints or text; [`ids` or `paths`]; [`split`] text or
    [`is_train`] booleans; [`class_names`] (K,); [`views`] (V, M, D) with [`view_rows`] (M,). Raises DataError.
    """
    try:
        columns = _load(path)
    except DataError:
        raise
    except Exception as error:  # numpy's header parser and zipfile raise nearly anything on damaged data
        raise refusal(path, error) from error
    return embedding_set(columns)


def refusal(path: Path, error: Exception) -> DataError:
    """What to say of a file that numpy cannot read."""
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        message = "It holds pickled Python objects, which repdiag never loads"
        do = "Save plain arrays: numbers, and text as arr.astype(str)"
        return DataError(message, where=str(path), do=do)
    message = f"This is no whole {path.suffix} file: {str(error) or type(error).__name__}"
    return DataError(message, where=str(path))


def _load(path: Path) -> Columns:
    if path.suffix.lower() == ".npy":
        return Columns(path, open_npy(path))
    return _columns(path, open_npz(path))


def open_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy, mapped into memory; raises DataError for an archive, and what numpy raises."""
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise DataError("This .npy is an archive of arrays", where=str(path), do="Rename it to .npz")
    return loaded


def open_npz(path: Path, wanted: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a .npz, all or those `wanted`; raises DataError for a single array, and what numpy raises."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        raise DataError("This .npz is a single array", where=str(path), do="Rename it to .npy")
    with loaded as archive:
        members = {name: archive[name] for name in archive.files if wanted is None or name in wanted}
    # numpy hands out a member that is no array as bytes
    return {name: each for name, each in members.items() if isinstance(each, np.ndarray)}


def _columns(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> Columns:
    names = list(arrays)
    features = pick(FEATURES, names)
    if features is None:
        candidates = [name for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "f"]
        if len(candidates) != 1:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
            do = f"Name the (samples, features) array one of {', '.join(FEATURES)}"
            raise DataError(
                f"It is unclear which array holds the embeddings: {shapes}", where=str(path), do=do
            )
        features = candidates[0]

    def get(*known: str) -> npt.NDArray[Any] | None:
        found = pick(known, names)
        return None if found is None else arrays[found]

    return Columns(
        path,
        arrays[features],
        labels=get(*LABELS),
        ids=get(*IDS),
        split=get(*SPLIT),
        class_names=get("class_names", "classes"),
        views=get("views"),
        view_rows=get("view_rows"),
    )
