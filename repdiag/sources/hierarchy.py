"""Classes of classes: which coarse class each fine one belongs to, and better names for classes, from a table."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from repdiag.errors import DataError, UsageError
from repdiag.registry import did_you_mean
from repdiag.sources.images import Images, shown

FINE = ("fine", "class", "label", "child", "subclass", "wnid", "name", "id")
COARSE = ("coarse", "parent", "superclass", "superclasses", "group", "supercategory", "category", "family")
NAMES = ("name", "title", "class_name", "readable", "description", "words")
LEVELS = ("fine", "coarse")


def with_parents(images: Images, parents: tuple[str, ...]) -> Images:
    """`images` that know the coarse class of each class."""
    return replace(images, manifest=replace(images.manifest, parents=parents))


def read_hierarchy(images: Images, path: str, columns: Sequence[str] | None) -> Images:
    """`images` with the parents that the table at `path` gives; `columns` are its fine and coarse column.

    Raises DataError when it does not cover every class, UsageError when there are no classes.
    """
    known = images.manifest.class_names
    if not known:
        raise UsageError("--hierarchy needs labels, and there are none", where=images.name)
    parent = _mapping(path, known, columns, COARSE, "--hierarchy-columns FINE,COARSE")
    empty = [name for name in known if not parent[name]]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(known)} classes have no coarse class: {shown(empty)}",
            where=path,
            do="Fill in that column for every class",
        )
    return with_parents(images, tuple(parent[name] for name in known))


def at_level(images: Images, level: str) -> Images:
    """`images` labeled by their classes (fine) or by the parents of these (coarse); raises UsageError."""
    if level not in LEVELS:
        raise UsageError(f"There is no level '{level}'", do=did_you_mean(level, list(LEVELS)))
    if level == "fine":
        return images
    manifest = images.manifest
    if not manifest.parents or manifest.labels is None:
        do = "Name a table of fine and coarse classes with --hierarchy"
        raise UsageError("No coarse classes are known", where=images.name, do=do)
    names = tuple(sorted(set(manifest.parents)))
    number = np.array([names.index(parent) for parent in manifest.parents], dtype=np.int64)
    digest = hashlib.sha256(f"{manifest.fingerprint} coarse {manifest.parents}".encode())
    coarse = replace(
        manifest,
        labels=np.where(manifest.labels < 0, -1, number[manifest.labels]),
        class_names=names,
        parents=(),
        fingerprint=digest.hexdigest(),
    )
    note = f"Labels are the {len(names)} coarse classes of {len(manifest.class_names)} fine ones."
    return replace(images, manifest=coarse, notes=(*images.notes, note))


def rename(images: Images, path: str, columns: Sequence[str] | None = None) -> Images:
    """`images` whose classes are called as the table at `path` says (a folder `n02124075`: "Egyptian cat").

    Two classes of one name keep their old one in brackets. Raises DataError when a class is not in the table.
    """
    manifest = images.manifest
    if not manifest.class_names:
        raise UsageError("--class-names needs labels, and there are none", where=images.name)
    title = _mapping(path, manifest.class_names, columns, NAMES, "a table of two columns")
    new = [title[name] or name for name in manifest.class_names]
    renamed = tuple(
        f"{name} ({old})" if new.count(name) > 1 and name != old else name
        for name, old in zip(new, manifest.class_names, strict=True)
    )
    digest = hashlib.sha256(f"{manifest.fingerprint} named {renamed}".encode()).hexdigest()
    return replace(images, manifest=replace(manifest, class_names=renamed, fingerprint=digest))


def _mapping(
    path: str, known: Sequence[str], columns: Sequence[str] | None, usual: Sequence[str], option: str
) -> dict[str, str]:
    """From each of the classes `known` to the other column's text; raises DataError where one is missing."""
    rows = _rows(path)
    heading, body, source = _key_column(rows, known, columns, path)
    lower = [cell.lower() for cell in heading]
    if columns is not None:
        target = _index(heading, columns[1], path)
    else:
        others = [i for i in range(len(rows[0])) if i != source]
        named = [lower.index(name) for name in usual if name in lower and lower.index(name) != source]
        if len(others) != 1 and not named:
            raise DataError(
                f"It is unclear which column to take: {', '.join(heading or rows[0])[:200]}",
                where=path,
                do=f"Use {option}",
            )
        target = named[0] if named else others[0]
    found: dict[str, str] = {}
    for row in body:
        before = found.setdefault(row[source], row[target])
        if before != row[target] and row[source] in known:
            raise DataError(f"'{row[source]}' is there twice, as '{before}' and '{row[target]}'", where=path)
    missing = [name for name in known if name not in found]
    if missing:
        message = f"{len(missing)} of {len(known)} classes are not in the table: {shown(missing)}"
        raise DataError(message, where=path, do="Add a row for each class")
    return found


def _key_column(
    rows: list[list[str]], known: Sequence[str], columns: Sequence[str] | None, path: str
) -> tuple[list[str], list[list[str]], int]:
    """The heading ([]: there is none), the rows below it, and the column that names the classes."""
    if columns is not None:
        return rows[0], rows[1:], _index(rows[0], columns[0], path)
    classes = set(known)
    hits = [sum(row[i] in classes for row in rows) for i in range(len(rows[0]))]
    source = max(range(len(hits)), key=hits.__getitem__)
    if not hits[source]:
        # None is a class: the sentence about the missing ones needs the column that should have named them.
        lower = [cell.lower() for cell in rows[0]]
        source = next((lower.index(name) for name in FINE if name in lower), 0)
    heading = rows[0][source] not in classes
    return (rows[0], rows[1:], source) if heading else ([], rows, source)


def _index(heading: Sequence[str], column: str, path: str) -> int:
    if column not in heading:
        raise DataError(f"There is no column '{column}'", where=path, do=did_you_mean(column, list(heading)))
    return list(heading).index(column)


def _rows(path: str) -> list[list[str]]:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"This is no text in UTF-8 (byte {error.start})", where=path) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"Cannot read it: {getattr(error, 'strerror', None) or error}", where=path) from error
    first = text.partition("\n")[0]
    separator = next((mark for mark in "\t,;" if mark in first), None)
    if separator is None or "\0" in text:
        raise DataError("This is no table of at least two columns", where=path, do="Write: fine,coarse")
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=separator, strict=True) if row]
    except csv.Error as error:
        raise DataError(f"This is no table: {error}", where=path) from error
    rows = [[cell.strip() for cell in row] for row in rows]
    uneven = next((row for row in rows if len(row) != len(rows[0])), None)
    if uneven is not None:
        raise DataError(
            f"A row has {len(uneven)} fields, not {len(rows[0])}: {','.join(uneven)[:60]}", where=path
        )
    return rows
