"""From the columns of a file of embeddings to an EmbeddingSet, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources.labels import number_labels
from repdiag.sources.splits import EVALUATION, TRAIN
from repdiag.types import BoolArray, EmbeddingSet, FloatArray, IntArray, Views

Column = npt.NDArray[Any]
FEATURES = ("embeddings", "embedding", "features", "X", "x")
LABELS = ("labels", "label", "targets", "target", "y")
IDS = ("ids", "id", "paths", "path")
SPLIT = ("split", "is_train")
_ROWS_AT_ONCE = 65536


@dataclass(frozen=True)
class Columns:
    """What was found in the file `path`; None: not there. Labels are ints or strings, one per row."""

    path: Path
    features: Column
    labels: Column | None = None
    ids: Column | None = None
    split: Column | None = None
    class_names: Column | None = None
    views: Column | None = None
    view_rows: Column | None = None


def embedding_set(columns: Columns) -> EmbeddingSet:
    """The embeddings of `columns` as float32 with integer labels; raises DataError where they contradict."""
    where = str(columns.path)
    features = _floats(columns.features, "embeddings", 2, where)
    n, dim = features.shape
    if n < 2 or dim < 1:
        raise DataError(f"It holds {n} embeddings of {dim} features; two rows are the least", where=where)
    notes: list[str] = []
    ids = _ids(columns.ids, n, notes, where)
    _finite(features, ids, where)
    labels, class_names = _labels(columns.labels, columns.class_names, n, where)
    with columns.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EmbeddingSet(
        features=features,
        ids=ids,
        labels=labels,
        class_names=class_names,
        is_train=_is_train(columns.split, n, where),
        views=_views(columns, n, dim, where),
        provenance={
            "file": where,
            "sha256": digest,
            "dtype": str(columns.features.dtype),
            "notes": tuple(notes),
        },
    )


def pick(known: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of the `known` names that occurs among `names`."""
    return next((name for name in known if name in names), None)


def _floats(array: Column, what: str, ndim: int, where: str) -> FloatArray:
    if array.dtype.kind not in "fiu":
        raise DataError(f"The {what} are of type {array.dtype}, not numbers", where=where)
    if array.ndim != ndim:
        form = {2: "(samples, features)", 3: "(views, samples, features)"}[ndim]
        raise DataError(f"The {what} are of shape {array.shape}, not {form}", where=where)
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as not finite below
        return np.require(array, np.float32, "C")


def _finite(features: FloatArray, ids: Sequence[str], where: str) -> None:
    bad: list[int] = []
    for start in range(0, len(features), _ROWS_AT_ONCE):
        rows = np.isfinite(features[start : start + _ROWS_AT_ONCE]).all(axis=1)
        bad.extend((np.flatnonzero(~rows) + start).tolist())
    if bad:
        shown = ", ".join(ids[row] for row in bad[:3]) + (", ..." if len(bad) > 3 else "")
        message = f"{len(bad)} of {len(features)} embeddings hold NaN or infinity: {shown}"
        raise DataError(message, where=where, do="Leave these rows out")


def _column(column: Column, what: str, n: int, where: str) -> Column:
    """One value per row; bytes become text, and objects too (parquet's strings; None becomes "")."""
    if column.shape != (n,):
        raise DataError(f"The {what} are of shape {column.shape} for {n} embeddings", where=where)
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "replace")
    if column.dtype.kind == "O":
        return np.array([_text(value) for value in column])
    return column


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _labels(
    column: Column | None, names: Column | None, n: int, where: str
) -> tuple[IntArray | None, tuple[str, ...]]:
    """Labels that index the class names: those given, or the sorted distinct values."""
    if column is None:
        return None, ()
    if names is not None:
        if names.ndim != 1:
            raise DataError(f"The class names are of shape {names.shape}, not (classes,)", where=where)
        names = _column(names, "class names", len(names), where)
    values = _column(column, "labels", n, where)
    return number_labels(values, names, where)


def _ids(column: Column | None, n: int, notes: list[str], where: str) -> tuple[str, ...]:
    """Distinct ids: a repeated one gets its occurrence as a suffix; without a column, the row numbers."""
    if column is None:
        width = len(str(n - 1))
        return tuple(f"{row:0{width}d}" for row in range(n))
    ids = _column(column, "ids", n, where).astype(str).tolist()
    taken = set(ids)
    if len(taken) == n:
        return tuple(ids)
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in seen:
            count = counts.get(name, 1)
            while (fresh := f"{name}#{(count := count + 1)}") in taken:
                pass
            counts[name], ids[row] = count, fresh
            taken.add(fresh)
        seen.add(name)
    notes.append(
        f"{sum(count - 1 for count in counts.values())} ids occurred before; they got a suffix (#2, ...)."
    )
    return tuple(ids)


def _is_train(column: Column | None, n: int, where: str) -> BoolArray | None:
    """True for the train part: from booleans, 0 and 1, or names of splits; None when all are one part."""
    if column is None:
        return None
    values = _column(column, "split", n, where)
    if values.dtype.kind == "U":
        words = np.char.lower(np.char.strip(values))
        train = np.isin(words, TRAIN)
        strange = ~(train | np.isin(words, EVALUATION))
        if strange.any():
            message = f"The split '{values[strange][0]}' is unknown"
            raise DataError(message, where=where, do=f"Known: {', '.join(TRAIN + EVALUATION)}")
    elif values.dtype.kind in "biu" and np.isin(values, (0, 1)).all():
        train = values.astype(bool)
    else:
        raise DataError("The split is neither text nor true and false", where=where)
    return None if train.all() or not train.any() else train


def _views(columns: Columns, n: int, dim: int, where: str) -> Views | None:
    if columns.views is None:
        return None
    features = _floats(columns.views, "views", 3, where)
    count = features.shape[1]
    rows = np.arange(n) if columns.view_rows is None else columns.view_rows
    if features.shape[2] != dim or rows.shape != (count,) or rows.dtype.kind not in "iu":
        message = f"The views of shape {features.shape} do not fit {n} embeddings of {dim} features"
        raise DataError(
            message, where=where, do="They need (views, samples, features) and the samples' view_rows"
        )
    if not features.size:
        raise DataError(f"The views of shape {features.shape} hold nothing", where=where, do="Leave them out")
    if len(set(rows.tolist())) < count or not 0 <= rows.min() <= rows.max() < n:
        raise DataError(f"The view_rows must be distinct and below {n}", where=where)
    if not np.isfinite(features).all():
        raise DataError("The views hold NaN or infinity", where=where)
    order = np.argsort(rows)
    return Views(features[:, order], rows[order].astype(np.int64), "views from the file")
