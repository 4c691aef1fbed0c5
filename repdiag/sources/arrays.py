""".npz and .npy files of embeddings. Pickled objects in them are never loaded."""

from __future__ import annotations

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
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            message = "It holds pickled Python objects, which repdiag never loads"
            do = "Save plain arrays: numbers, and text as arr.astype(str)"
            raise DataError(message, where=str(path), do=do) from error
        message = f"This is no whole {path.suffix} file: {str(error) or type(error).__name__}"
        raise DataError(message, where=str(path)) from error
    return embedding_set(columns)


def _load(path: Path) -> Columns:
    loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
    named, found = path.suffix.lower(), ".npy" if isinstance(loaded, np.ndarray) else ".npz"
    if named != found:
        holds = "a single array" if found == ".npy" else "an archive of arrays"
        raise DataError(f"This {named} is {holds}", where=str(path), do=f"Rename it to {found}")
    if isinstance(loaded, np.ndarray):
        return Columns(path, loaded)
    with loaded as archive:
        members = {name: archive[name] for name in archive.files}
    # numpy hands out a member that is no array as bytes
    return _columns(path, {name: each for name, each in members.items() if isinstance(each, np.ndarray)})


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
