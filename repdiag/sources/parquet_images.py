""".parquet files of images: bytes in a column, or a list of paths; one file, or a folder of them by split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from repdiag.sources import manifest, records
from repdiag.sources.images import Images, is_image
from repdiag.sources.listing import shallow
from repdiag.sources.names import LABELS, PATHS, pick_column
from repdiag.sources.options import How
from repdiag.sources.splits import is_split, split_word
from repdiag.sources.table import Table

ENDINGS = frozenset({".parquet", ".pq"})
_NUMBERED = re.compile(r"(.*?)[0-9]+")


def matches(path: Path) -> bool:
    """Whether `path` is a parquet file of images, or a folder with parquet files and without images."""
    return bool(_files(path)) if path.is_dir() else path.is_file() and holds_images(path)


def holds_images(path: Path) -> bool:
    """Whether a parquet file holds images or their paths, and not embeddings, as far as its schema tells.

    Raises DataError when it is damaged.
    """
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        if records.image_column(schema) is not None:
            return True
        if _has_features(schema):
            return False
        paths = pick_column(schema.names, PATHS, None, "path", "")
        if paths is None:  # then neither; the sentence about a list is the one that helps
            return not any(_is_number(kind) for kind in schema.types)
        with pq.ParquetFile(path) as file:
            first = next((batch for batch in file.iter_batches(1, columns=[paths])), None)
            return first is not None and is_image(str(first.column(0)[0].as_py()))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise records.damaged("parquet", path, error) from error


def _has_features(schema: Any) -> bool:
    """Whether the table has embeddings: a column of lists, or numbered columns of numbers (f0, f1, ...)."""
    import pyarrow as pa

    stems = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            return True
        if _is_number(kind) and name.lower() not in LABELS and (found := _NUMBERED.fullmatch(name)):
            stems.append(found[1])
    return len(stems) > 1 and len(set(stems)) == 1


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def read(path: Path, *, name: str, how: How) -> Images:
    """The images of a parquet file, or of all files of a folder. Raises DataError."""
    files = _files(path) if path.is_dir() else [(path, "")]
    parts = [records.parquet_part(file, _split_of(file, folder, how)) for file, folder in files]
    schema = parts[0].schema
    if records.image_column(schema, how.path_column, name) is not None or len(parts) > 1:
        return records.build(name, parts, how)
    how.only("a list of images", "root", "path_column", "label_column")
    plain = [each for each in schema.names if each in _wanted(schema, how)]
    table = Table({each: parts[0].column(each) for each in plain})
    return manifest.from_table(table, path, name, how)


def _wanted(schema: Any, how: How) -> set[str]:
    """The columns that may matter to a list of images: those of text and of numbers."""
    import pyarrow as pa

    def plain(kind: Any) -> bool:
        return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return {name for name, kind in zip(schema.names, schema.types, strict=True) if plain(kind)}


def _split_of(file: Path, folder: str, how: How) -> str:
    if folder and (is_split(folder) or folder in how.split_names):
        return folder
    return split_word(file.stem, how.split_names) or ""


def _files(path: Path) -> list[tuple[Path, str]]:
    """The parquet files of a folder, of `data/` in it or of a folder per split, with that folder's name; none
    where there are images or other folders beside them.
    """
    files, folders = shallow(path) or ([], [])
    found = [(path / each, "") for each in files if _is_parquet(each)]
    if found:
        return [] if folders else found
    if not folders or not all(each == "data" or is_split(each) for each in folders):
        return []
    for folder in folders:
        inside, _ = shallow(path / folder) or ([], [])
        split = "" if folder == "data" else folder
        own = [(path / folder / each, split) for each in inside if _is_parquet(each)]
        if not own:
            return []
        found += own
    return found


def _is_parquet(name: str) -> bool:
    return Path(name).suffix.lower() in ENDINGS
