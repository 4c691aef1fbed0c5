"""Tables with the images in them: parquet files and Arrow files as Hugging Face's `datasets` writes both.

An image is a cell of encoded bytes, or a struct of `bytes` and `path`. Class names and splits are taken from the
metadata and the file names that `datasets` gives. Nothing of `datasets` itself is needed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repdiag.errors import DataError, ResourceError
from repdiag.sources.images import MAX_IMAGE_BYTES, Images, Listing, by_columns, too_large
from repdiag.sources.names import IDS, LABELS, PATHS, SPLITS, pick_column
from repdiag.sources.options import How
from repdiag.sources.roots import read_regular

IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "content", "data")
_GROUPS_KEPT = 4
_MAX_GROUP_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Part:
    """One file of records: the name of its split ("": none), its rows in blocks that begin at `starts`, what
    reads one block of a column as Arrow, and what reads a whole column (or `column.path` in a struct).
    """

    path: Path
    split: str
    schema: Any
    rows: int
    stamp: str
    starts: Sequence[int]
    block: Callable[[int, str], Any]
    column: Callable[[str], list[Any]]


def image_column(schema: Any, asked: str | None = None, where: str = "") -> str | None:
    """The column of `schema` that holds encoded images: the one `asked` for, else by its type and name."""
    import pyarrow as pa

    def encoded(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return "bytes" in {kind.field(i).name for i in range(kind.num_fields)}
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    names: list[str] = [name for name, kind in zip(schema.names, schema.types, strict=True) if encoded(kind)]
    if asked is not None:
        return asked if asked in names else None
    declared = [name for name in names if _features(schema).get(name, {}).get("_type") == "Image"]
    if len(declared) == 1:
        return declared[0]
    chosen = pick_column(names, IMAGES, None, "image", where)
    return chosen or (names[0] if len(names) == 1 and _is_struct(schema, names[0]) else None)


def _is_struct(schema: Any, name: str) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(schema.field(name).type))


def _features(schema: Any) -> Mapping[str, Any]:
    """What `datasets` says about the columns in the schema's metadata; {} when it says nothing."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: each for name, each in found.items() if isinstance(each, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def build(name: str, parts: Sequence[Part], how: How) -> Images:
    """The source of the records in `parts`, in order; ids are their file names where those are distinct.

    Raises DataError when no column holds images, or the parts differ.
    """
    how.only("records that hold the images", "path_column", "label_column", "root")
    parts = [part for part in parts if part.rows]
    if not parts:
        raise DataError("There are no images", where=name)
    schema = parts[0].schema
    image = image_column(schema, how.path_column, name)
    if image is None:
        shown = ", ".join(f"{each} ({kind})" for each, kind in zip(schema.names, schema.types, strict=True))
        do = "Name the column of encoded images with --path-column"
        raise DataError(f"No column is known to hold images: {shown[:300]}", where=name, do=do)
    for part in parts:
        if image not in part.schema.names or part.schema.field(image).type != schema.field(image).type:
            raise DataError(
                f"The column '{image}' is not of the same kind in all files", where=str(part.path)
            )
    others = [each for each in schema.names if each != image]
    label = pick_column(others, LABELS, how.label_column, "label", name)
    split = (
        pick_column(others, SPLITS, None, "split", name) if not any(part.split for part in parts) else None
    )
    notes, labels, class_names = [], None, None
    if how.labeled:
        if label is None:
            notes.append("No column of labels is known: read as unlabeled. --label-column names one.")
        else:
            labels = [value for part in parts for value in _values(part, label)]
            names = _features(schema).get(label, {}).get("names")
            class_names = [str(each) for each in names] if isinstance(names, list) else None
            more = [each for each in others if each.lower() in LABELS and each != label]
            if more and how.label_column is None:
                notes.append(f"Labels are the column '{label}', not {', '.join(more)} (--label-column).")
    splits = None
    if split is not None:
        splits = [str(value or "") for part in parts for value in _values(part, split)]
    elif any(part.split for part in parts):
        splits = [part.split for part in parts for _ in range(part.rows)]
    rows = sum(part.rows for part in parts)
    listed = Listing(_names(parts, image, others), [""] * rows, list(range(rows)))
    reader = _Reader(parts, image, Path(how.root) if how.root else None)
    return by_columns(
        name,
        listed,
        how=how,
        reader=reader.read,
        labels=labels,
        class_names=class_names,
        splits=splits,
        extra=[f"{part.path.name} {part.stamp}" for part in parts],
        notes=notes,
    )


def _values(part: Part, column: str) -> list[Any]:
    if column not in part.schema.names:
        raise DataError(f"There is no column '{column}'", where=str(part.path))
    return part.column(column)


def _names(parts: Sequence[Part], image: str, others: Sequence[str]) -> list[str]:
    """Distinct ids: the images' own paths, else an id column, else the number in the split."""
    schema = parts[0].schema
    candidates = [f"{image}.path"] if _is_struct(schema, image) and _has_path(schema, image) else []
    candidates += [found for known in (PATHS, IDS) if (found := pick_column(others, known, None, "id", ""))]
    for column in candidates:
        values = [value for part in parts for value in part.column(column)]
        texts = [str(value) for value in values if value is not None and value != ""]
        if len(set(texts)) == len(values):
            return texts
    total: Counter[str] = Counter()
    for part in parts:
        total[part.split] += part.rows
    width = len(str(max(total.values()) - 1))
    return [
        f"{split}/{row:0{width}d}" if split else f"{row:0{width}d}"
        for split, rows in total.items()
        for row in range(rows)
    ]


def _has_path(schema: Any, image: str) -> bool:
    kind = schema.field(image).type
    return "path" in {kind.field(i).name for i in range(kind.num_fields)}


class _Reader:
    """Reads images by row; the last few blocks stay in memory, as rows are mostly asked for in order."""

    def __init__(self, parts: Sequence[Part], image: str, root: Path | None) -> None:
        self._parts, self._image, self._root = parts, image, root
        self._first = np.cumsum([0, *(part.rows for part in parts)])
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, row: int) -> bytes:
        file = int(np.searchsorted(self._first, row, side="right")) - 1
        part, inside = self._parts[file], row - int(self._first[file])
        block = int(np.searchsorted(part.starts, inside, side="right")) - 1
        try:
            cell = self._block(file, block)[inside - part.starts[block]].as_py()
        except (IndexError, ValueError) as error:  # fewer rows than the file says; a text that is none
            raise OSError(f"damaged in {part.path.name} ({error})") from error
        content, path = (cell, None) if not isinstance(cell, dict) else (cell.get("bytes"), cell.get("path"))
        if content is None and path:
            return read_regular(str((self._root or part.path.parent) / path))
        if content is None:
            raise OSError("the table holds no bytes for it")
        if len(content) > MAX_IMAGE_BYTES:
            raise too_large(len(content))
        return bytes(content)

    def _block(self, file: int, block: int) -> Any:
        import pyarrow as pa

        with self._lock:
            if (file, block) in self._kept:
                self._kept.move_to_end((file, block))
                return self._kept[file, block]
            try:
                found = self._parts[file].block(block, self._image)
            except (pa.ArrowException, OSError, ValueError) as error:
                reason = str(error).splitlines()[0][:200]
                raise OSError(f"damaged in {self._parts[file].path.name} ({reason})") from error
            self._kept[file, block] = found
            if len(self._kept) > _GROUPS_KEPT:
                self._kept.popitem(last=False)
            return found


def parquet_part(path: Path, split: str) -> Part:
    """A parquet file; its blocks are its row groups. Raises DataError when it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = path.stat()
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        schema, rows = file.schema_arrow, file.metadata.num_rows
        twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged("parquet", path, error) from error
    if twice is not None:
        raise DataError(f"The column '{twice}' occurs twice", where=str(path))
    starts = np.cumsum([0, *(group.num_rows for group in groups)])[:-1]
    if sum(group.num_rows for group in groups) != rows:
        raise DataError("This is no whole parquet file: its row groups do not add up", where=str(path))
    largest = max((group.total_byte_size for group in groups), default=0)
    if largest > _MAX_GROUP_BYTES:
        raise ResourceError(
            f"It has row groups of {largest / 2**30:.0f} GB; a whole one must be in memory to read one image",
            where=str(path),
            do="Write it again with row_group_size=1000",
        )

    def block(index: int, column: str) -> Any:
        with pq.ParquetFile(path) as opened:
            return opened.read_row_group(index, columns=[column]).column(column)

    def column(name: str) -> list[Any]:
        try:
            with pq.ParquetFile(path) as opened:
                values = _listed(opened.read(columns=[name]), name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged("parquet", path, error) from error
        if len(values) != rows:
            raise DataError(f"The column '{name}' holds {len(values)} of {rows} rows", where=str(path))
        return values

    stamp = f"{found.st_size} {found.st_mtime_ns}"
    return Part(path, split, schema, rows, stamp, starts.tolist(), block, column)


def table_part(path: Path, split: str, table: Any, stamp: str) -> Part:
    """An Arrow table in memory or mapped; its blocks are its batches."""
    batches = [batch for batch in table.to_batches() if batch.num_rows]
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])[:-1]
    return Part(
        path,
        split,
        table.schema,
        table.num_rows,
        stamp,
        starts.tolist(),
        lambda index, name: batches[index].column(name),
        lambda name: _listed(table, name),
    )


def _listed(table: Any, name: str) -> list[Any]:
    """A column as Python values; `column.path` is the field of a struct."""
    if name in table.column_names:
        values: list[Any] = table.column(name).to_pylist()
        return values
    column, _, field = name.rpartition(".")
    return [value for chunk in table.column(column).chunks for value in chunk.field(field).to_pylist()]


def damaged(kind: str, path: Path, error: Exception) -> DataError:
    """The refusal of a file that is not whole."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(f"This is no whole {kind} file: {reason}", where=str(path))
