""".parquet files of embeddings: one column of lists, or one column per feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources.columns import FEATURES, IDS, LABELS, SPLIT, Columns, embedding_set, pick
from repdiag.types import EmbeddingSet

_NO_FEATURES = frozenset((*LABELS, *IDS, *SPLIT, "index", "__index_level_0__"))


def matches(path: Path) -> bool:
    """Whether `path` is named as a parquet file."""
    return path.suffix.lower() in {".parquet", ".pq"}


def read(path: Path) -> EmbeddingSet:
    """The embeddings of a parquet file: a column of lists named as in `columns.FEATURES`, or else every
    numeric column that is not a label, id, split or index, in the file's order. Raises DataError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"This is no whole parquet file: {reason}", where=str(path)) from error
    names = list(table.column_names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"The column '{twice[0]}' occurs twice", where=str(path))

    def get(known: tuple[str, ...]) -> npt.NDArray[Any] | None:
        found = pick(known, names)
        return None if found is None else _values(table.column(found))

    return embedding_set(
        Columns(path, _features(table, str(path)), labels=get(LABELS), ids=get(IDS), split=get(SPLIT))
    )


def _values(column: Any) -> npt.NDArray[Any]:
    import pyarrow as pa

    flat = column.combine_chunks()
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    values: npt.NDArray[Any] = flat.to_numpy(zero_copy_only=False)  # ints with nulls become floats with NaN
    return values


def _features(table: Any, where: str) -> npt.NDArray[Any]:
    import pyarrow as pa

    def numeric(kind: Any) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    lists = [
        name
        for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ]
    chosen = pick(FEATURES, lists) or (lists[0] if len(lists) == 1 else None)
    if chosen is not None:
        column = table.column(chosen).combine_chunks()
        flat = column.flatten()
        if column.null_count or flat.null_count or not numeric(flat.type):
            raise DataError(f"The column '{chosen}' holds nulls or no numbers", where=where)
        n = len(column)
        sizes = column.value_lengths() if not pa.types.is_fixed_size_list(column.type) else None
        if n and (len(flat) % n or (sizes is not None and len(sizes.unique()) > 1)):
            raise DataError(f"The lists in the column '{chosen}' differ in length", where=where)
        values: npt.NDArray[Any] = flat.to_numpy(zero_copy_only=False)
        return values.reshape(n, -1) if n else values.reshape(0, 0)
    numbers = [
        name
        for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        if numeric(kind) and name not in _NO_FEATURES
    ]
    if not numbers:
        do = f"It needs a column of lists named {' or '.join(FEATURES)}, or one numeric column per feature"
        raise DataError("There is no column of embeddings", where=where, do=do)
    return np.stack([np.asarray(_values(table.column(name)), dtype=np.float32) for name in numbers], axis=1)
