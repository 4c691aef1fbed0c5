"""Rows of text files as columns: .csv, .tsv, .jsonl, and .txt lists of a path and a label."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repdiag.errors import DataError
from repdiag.sources.images import is_image, printable
from repdiag.sources.names import LABELS, PATHS, SPLITS

ENDINGS = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".ndjson"})
_WORD = re.compile(r"[\s,;]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name, in the file's order; `notes` are for the person."""

    columns: dict[str, list[Any]]
    notes: list[str] = field(default_factory=list)


def read_table(path: Path, name: str, asked: Sequence[str | None] = ()) -> Table:
    """The columns of a text file; `asked` are column names that make its first row a heading.

    Raises DataError when it is no such text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"This is no text in UTF-8 (byte {error.start})", where=name) from error
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror}", where=name) from error
    if "\0" in text:
        raise DataError("This is no text: it holds NUL bytes", where=name)
    ending = path.suffix.lower()
    if ending in {".jsonl", ".ndjson"}:
        return _json_lines(text, name)
    if ending in {".csv", ".tsv"}:
        return _separated(text, name, "\t" if ending == ".tsv" else _separator(text), asked)
    return _list(text, name)


def _separator(text: str) -> str:
    first = text.partition("\n")[0]
    return next((mark for mark in ",;\t" if mark in first), ",")


def _separated(text: str, name: str, separator: str, asked: Sequence[str | None]) -> Table:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        # strict: an unclosed quote would swallow the rest of the file as one field
        rows = [
            row for row in csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True) if row
        ]
    except csv.Error as error:
        raise DataError(f"This is no table: {error}", where=name) from error
    if not rows:
        raise DataError("The table is empty", where=name)
    heading = [cell.strip() for cell in rows[0]]
    known = {*PATHS, *LABELS, *SPLITS}
    if any(cell in asked or cell.lower() in known for cell in heading):
        rows = rows[1:]
    elif any(is_image(cell) for cell in heading):  # the first row is an image already
        heading = _guessed_heading(heading)
    else:
        raise DataError(
            f"No column is known to hold paths: {', '.join(heading[:12])}",
            where=name,
            do="Name it with --path-column, and the labels with --label-column",
        )
    twice = next((cell for cell in heading if cell and heading.count(cell) > 1), None)
    if twice is not None:
        raise DataError(f"The column '{twice}' occurs twice", where=name)
    for number, row in enumerate(rows, 1):
        if len(row) != len(heading):
            message = f"Row {number} has {len(row)} fields for {len(heading)} columns: {printable(','.join(row))[:60]}"
            raise DataError(message, where=name)
    return Table({cell: [row[i].strip() for row in rows] for i, cell in enumerate(heading)})


def _guessed_heading(first: Sequence[str]) -> list[str]:
    """Names for the columns of a table without a heading: the image is the path, a single other the label."""
    place = next(i for i, cell in enumerate(first) if is_image(cell))
    names = [str(i) for i in range(len(first))]
    names[place] = "path"
    if len(first) == 2:
        names[1 - place] = "label"
    return names


def _json_lines(text: str, name: str) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"Line {number} is no JSON: {printable(line)[:60]}", where=name) from error
        if not isinstance(row, dict):
            raise DataError(f"Line {number} is no JSON object: {printable(line)[:60]}", where=name)
        rows.append(row)
    names = list(dict.fromkeys(key for row in rows for key in row))
    return Table({key: [row.get(key) for row in rows] for key in names})


def _list(text: str, name: str) -> Table:
    """A path per line, or a path, a separator and a label. Paths may hold spaces: they end like an image's."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise DataError("The list is empty", where=name)
    paths, rests = zip(*map(_path_and_rest, lines), strict=True)
    bare = sum(not rest for rest in rests)
    if bare == len(lines):
        return Table({"path": list(paths)})
    if bare:
        line = printable(next(line for line, rest in zip(lines, rests, strict=True) if not rest))
        raise DataError(f"{bare} of {len(lines)} lines have no label: {line[:80]}", where=name)
    labels = [_label(rest) for rest in rests]
    cut = sum(label != rest for label, rest in zip(labels, rests, strict=True))
    notes = (
        ["The first column after the path is the label; the numbers after it were ignored."] if cut else []
    )
    return Table({"path": list(paths), "label": labels}, notes)


def _path_and_rest(line: str) -> tuple[str, str]:
    if "\t" in line:
        path, _, rest = line.partition("\t")
        return path.strip(), rest.strip()
    head, _, tail = line.rpartition(" ")
    if is_image(head) and not is_image(line):
        return head, tail  # what nearly every line looks like
    end = len(line)
    for gap in _WORD.finditer(line):  # the longest beginning that ends like an image
        if is_image(line[: gap.start()]):
            end = gap.start()
    if is_image(line):
        end = len(line)
    elif end == len(line):  # no ending tells: the label is the last word, if there are several
        words = line.rsplit(None, 1)
        return words[0], words[1] if len(words) > 1 else ""
    return line[:end], _WORD.sub("", line[end:], count=1)


def _label(rest: str) -> str:
    """The first field of `rest` where numbers (a box, say) follow it, else all of it."""
    words = rest.split("\t") if "\t" in rest else _WORD.split(rest)
    return (
        words[0].strip()
        if len(words) > 1 and all(_NUMBER.fullmatch(word.strip()) for word in words[1:])
        else rest
    )
