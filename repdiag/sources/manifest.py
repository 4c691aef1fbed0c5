"""A list of images: .csv, .tsv, .txt, .jsonl (or .parquet, see `records`) with a path and a label per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repdiag.errors import DataError
from repdiag.sources.images import Images, Listing, by_columns, printable, shown
from repdiag.sources.names import LABELS, PATHS, SPLITS, pick_column
from repdiag.sources.options import How
from repdiag.sources.roots import MISSING, open_root
from repdiag.sources.table import ENDINGS, Table, read_table


def matches(path: Path) -> bool:
    """Whether `path` is named as a text file that may list images."""
    return path.suffix.lower() in ENDINGS and path.is_file()


def read(path: Path, *, name: str, how: How) -> Images:
    """The images that the file lists, in its order. Raises DataError when none of them exists."""
    how.only("a list of images", "root", "path_column", "label_column")
    table = read_table(path, name, (how.path_column, how.label_column))
    return from_table(table, path, name, how)


def from_table(table: Table, path: Path, name: str, how: How) -> Images:
    """The images whose paths a table holds; relative ones begin at --root, else where the table lies."""
    columns = list(table.columns)
    chosen = pick_column(columns, PATHS, how.path_column, "path", name)
    if chosen is None:
        raise DataError(
            f"No column is known to hold paths: {', '.join(map(printable, columns[:12])) or 'there is none'}",
            where=name,
            do="Name it with --path-column",
        )
    paths = [_path(value, chosen, row, name) for row, value in enumerate(table.columns[chosen], 1)]
    others = [column for column in columns if column != chosen]
    label = pick_column(others, LABELS, how.label_column, "label", name)
    split = pick_column(others, SPLITS, None, "split", name)
    labels = None if label is None else table.columns[label]
    splits = None if split is None else [str(each or "") for each in table.columns[split]]
    notes = list(table.notes)
    if label is None and how.labeled:
        notes.append("No column of labels is known: read as unlabeled. --label-column names one.")
    unused = [each for each in others if each.lower() in LABELS and each != label]
    if unused and how.label_column is None:
        notes.append(f"Labels are the column '{label}', not {', '.join(unused)} (--label-column).")
    kept, said = _distinct(paths, labels if how.labeled else None, splits, name)
    root = open_root(Path(how.root) if how.root else path.parent, how.root or str(path.parent))
    found, more = root.find([paths[row] for row in kept], name)
    listed: Listing[Any] = Listing([paths[row] for row in kept])
    for stamp, place in found:
        listed.stamps.append(stamp)
        listed.places.append(place)
    gone = [each for each, (stamp, _) in zip(listed.names, found, strict=True) if stamp == MISSING]
    if gone and len(gone) == len(listed):
        raise DataError(
            f"None of the {len(gone)} listed images is in {root.name}: {shown(gone)}",
            where=name,
            do="Name the folder, .zip or .tar that the paths begin in with --root",
        )
    if gone:
        notes.append(f"{len(gone)} of {len(listed)} listed images do not exist: {shown(gone)}.")
    return by_columns(
        name,
        listed,
        how=how,
        reader=root.read,
        labels=None if labels is None else [labels[row] for row in kept],
        splits=None if splits is None else [splits[row] for row in kept],
        extra=root.extra,
        notes=(*notes, *said, *more),
    )


def _path(value: Any, column: str, row: int, where: str) -> str:
    """A path of the list in the form that all systems read."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise DataError(f"Row {row} has no path in the column '{column}'", where=where)
    return value.strip().removeprefix("./")


def _distinct(
    paths: Sequence[str], labels: Sequence[Any] | None, splits: Sequence[str] | None, where: str
) -> tuple[list[int], list[str]]:
    """The rows to keep: the first of each path. DataError where repeated rows contradict each other."""
    first: dict[str, int] = {}
    rows: list[int] = []
    for row, path in enumerate(paths):
        before = first.setdefault(path, row)
        if before == row:
            rows.append(row)
            continue
        for what, column in (("labels", labels), ("splits", splits)):
            if column is not None and column[before] != column[row]:
                raise DataError(
                    f"{printable(path)} is listed with two {what}, '{column[before]}' and '{column[row]}'",
                    where=where,
                    do="Keep one of the rows"
                    + (", or use no labels (--unlabeled)" if what == "labels" else ""),
                )
    repeated = len(paths) - len(rows)
    return rows, [
        f"{repeated} rows repeat a path that was listed before; each image counts once."
    ] if repeated else []
