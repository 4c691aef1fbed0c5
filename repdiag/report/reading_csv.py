"""The CSV tables of a report, read back: what `write_csv` wrote, with its types."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.report.columns import EMPTY_HEADERS
from repdiag.report.tables import TableFile, unescaped
from repdiag.types import Table

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = frozenset(
    (
        *("id", "path", "label", "prediction"),  # of samples
        *("class", "parent", "most_confused_with", "nearest_class"),  # of classes
        *("class_a", "class_b"),  # of pairs
        *("category", "majority_class"),  # of clusters
    )
)
"""Columns that are text whatever their cells look like: a class may be called 7 or true."""

RESTORE = "Copy the whole folder that `repdiag score` wrote, or score again"


def read_csv(path: Path, declared: TableFile | None = None) -> Table:
    """The table that `write_csv` wrote to `path`.

    Text columns come back as objects (str, or None where missing), with the apostrophe in front of would-be formulas
    taken off; numbers as int64, or as float64 (NaN where missing) where any is missing or has a fraction; true and
    false as bool, or as objects (True, False or None) where any is missing. float32 comes back as the float64 of the
    same shortest digits, so that writing the table again gives the same bytes. A column without any value is NaN, or
    None where it is text. A table that has its headings only, as one without columns is written, has no columns.

    `declared` is what report.json says of the file: DataError where the bytes are others (line ends aside, which
    version control may change), as when a spreadsheet saved the file or it is another report's. DataError also for
    a file that is missing or is no such table. Memory goes with the size of the file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing", where=str(path.parent), do=RESTORE) from error
    except OSError as error:
        raise DataError(f"Cannot read {path.name}: {error.strerror or error}", where=str(path)) from error
    data = _as_declared(data, path, declared)
    table = _parsed(data, path, TEXT_COLUMNS)
    if declared is not None and len(table) != declared.rows:
        said = f"{path.name} has {len(table)} rows and report.json says {declared.rows}"
        raise DataError(said, where=str(path.parent), do=RESTORE)
    if not len(table) and tuple(table.columns) == EMPTY_HEADERS.get(path.name):
        return Table({})
    return table


def _as_declared(data: bytes, path: Path, declared: TableFile | None) -> bytes:
    if declared is None or not declared.sha256 or hashlib.sha256(data).hexdigest() == declared.sha256:
        return data
    data = data.replace(b"\r\n", b"\n")  # a checkout on Windows
    if hashlib.sha256(data).hexdigest() == declared.sha256:
        return data
    raise DataError(
        f"{path.name} is not the file that report.json was written with: it was changed, or is another report's",
        where=str(path.parent),
        do=RESTORE,
    )


def _parsed(data: bytes, path: Path, text: Collection[str]) -> Table:
    import pyarrow as pa
    from pyarrow import csv

    try:
        found = csv.read_csv(
            pa.BufferReader(data),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in text},
                null_values=[""],
                true_values=["true"],
                false_values=["false"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path.name} is no table: {said[:200]}", where=str(path.parent), do=RESTORE
        ) from error
    names = found.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path.name} has two columns called '{twice}'", where=str(path.parent), do=RESTORE)
    guessed = {field.name for field in found.schema if not _expected(field.type)}
    if guessed - set(text):  # text that looks like dates
        return _parsed(data, path, {*text, *guessed})
    return Table({name: _column(found[name], name in text) for name in names})


def _expected(kind: pa.DataType) -> bool:
    import pyarrow as pa

    wanted = (
        pa.types.is_int64,
        pa.types.is_float64,
        pa.types.is_boolean,
        pa.types.is_null,
        pa.types.is_string,
    )
    return any(is_kind(kind) for is_kind in wanted)


def _column(values: pa.ChunkedArray, text: bool) -> npt.NDArray[Any]:
    import pyarrow as pa

    kind, n = values.type, len(values)
    if pa.types.is_null(kind):
        return np.full(n, None, dtype=object) if text else np.full(n, np.nan)
    if pa.types.is_string(kind):
        return _objects([None if cell is None else unescaped(cell) for cell in values.to_pylist()])
    if pa.types.is_boolean(kind):
        return _objects(values.to_pylist()) if values.null_count else _joined(values, np.bool_)
    if pa.types.is_int64(kind) and not values.null_count:
        return _joined(values, np.int64)
    numbers = _joined(values, np.int64 if pa.types.is_int64(kind) else np.float64).astype(np.float64)
    numbers[~(_joined(values, None) & np.isfinite(numbers))] = np.nan
    return numbers


def _joined(values: pa.ChunkedArray, dtype: Any) -> npt.NDArray[Any]:
    """All values as `dtype` (anything where missing); None: whether each is there. Arrow's own way loads pandas."""
    parts = [_buffer(chunk, dtype) for chunk in values.chunks if len(chunk)]
    return np.concatenate(parts) if parts else np.empty(0, np.bool_ if dtype is None else dtype)


def _buffer(chunk: pa.Array, dtype: Any) -> npt.NDArray[Any]:
    valid, data = chunk.buffers()
    end = chunk.offset + len(chunk)
    if dtype is None and valid is None:
        return np.ones(len(chunk), np.bool_)
    if dtype in (None, np.bool_):  # one bit each
        bits = np.frombuffer(valid if dtype is None else data, np.uint8)
        return np.unpackbits(bits, count=end, bitorder="little")[chunk.offset :].astype(np.bool_)
    return np.frombuffer(data, dtype, count=end)[chunk.offset :].copy()


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
