"""Reports read back from the files that `write_report` wrote; nothing is computed again and no torch is loaded.

A report may be older than this version (fields that came later get defaults), hold metrics that were renamed or
removed since (what a metric says of itself is taken from the file), or come from a stranger: whatever is wrong with
the files is said in one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repdiag.errors import DataError
from repdiag.report.reading_csv import read_csv
from repdiag.report.reading_exhibits import read_exhibits
from repdiag.report.reading_fields import REWRITE, Fields, read_document
from repdiag.report.tables import TableFile
from repdiag.types import (
    SCHEMA_VERSION,
    Direction,
    Finding,
    Interval,
    Law,
    Level,
    Measurement,
    MetricResult,
    MetricSpec,
    Need,
    Null,
    Outcome,
    Report,
    SizePoint,
    Skipped,
    Status,
    Table,
    Verdict,
)

TABLES = ("samples.csv", "classes.csv", "features.csv", "pairs.csv", "clusters.csv")
"""Files that hold the tables of a `Report`."""


def read_report(path: str | Path, *, tables: bool | Collection[str] = True) -> Report:
    """The report in the folder `path`, or whose report.json `path` is, with the CSV tables beside it.

    The inverse of `write_report` but for pictures (which only the page holds), values by sample that are in no
    column of samples.csv, and dtypes (float32 comes back as float64, text as objects): written again, report.json and
    the CSV files have the same bytes.

    `tables`: True for every table that report.json lists, False for none, or the names of files ("samples.csv").
    A table that is not read, or not listed, has no columns; but `classes` then names the classes of the metrics'
    values by class, where there are any. Where report.json lists no tables at all, those that lie beside it are read.

    What is read of a report from another version: a metric's description comes from the file. Fields that nobody
    knows are left alone. A status that is not known counts as ours, a direction as neither, a verdict's level as
    undetermined; unknown needs and laws are left out. Missing: verdicts, risk, exhibits, warnings, timing, values by
    size, and what describes a metric (but not its name, family, title, unit and direction) have defaults.

    Raises DataError (exit code 3), one sentence that names the field or the file, for what cannot be read, is
    malformed, hostile (NaN, over 64 MiB of JSON, nested deeply), changed, or of a later schema.
    """
    file = report_file(path)
    document = Fields(read_document(file), source=str(file))
    check_version(document)
    listed = document.part("tables") if document.has("tables") else None
    wanted = set(TABLES) if tables is True else set() if tables is False else set(tables)
    if not wanted <= set(TABLES):
        raise ValueError(f"tables are {TABLES}, not {sorted(wanted - set(TABLES))}")
    found = {name: _table(file.parent / name, listed) for name in TABLES if name in wanted}
    parts = document.parts("measurements")
    timing = document.part("timing") if document.has("timing") else Fields({}, "timing", str(file))
    seconds = timing.numbers("metrics", {})
    classes = found.get("classes.csv", Table({}))
    names = _texts(classes, "class") or _classes_of(parts)
    measurements = tuple(_measurement(part, names, seconds) for part in parts)
    _check_unique(document, measurements)
    return Report(
        created=document.text("created"),
        encoder=document.mapping("encoder"),
        dataset=document.mapping("dataset"),
        config=document.mapping("config"),
        environment=document.mapping("environment"),
        measurements=measurements,
        samples=found.get("samples.csv", Table({})),
        classes=classes if classes.columns or not names else Table({"class": np.array(names, dtype=object)}),
        features=found.get("features.csv", Table({})),
        risk=document.mapping("risk", {}),
        warnings=document.texts("warnings", []),
        timing={name: value or 0.0 for name, value in timing.numbers("steps", {}).items()},
        pairs=found.get("pairs.csv", Table({})),
        clusters=found.get("clusters.csv", Table({})),
        verdicts=tuple(_verdict(part) for part in document.parts("verdicts", [])),
        exhibits=read_exhibits(document),
    )


def report_file(path: str | Path) -> Path:
    """The report.json that `path`, a folder or the file itself, stands for; DataError where there is none."""
    path = Path(path)
    try:
        file = path / "report.json" if path.is_dir() else path
        if file.is_file():
            return file
        beside = file.exists()
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise DataError(f"Cannot read the report: {error}", where=str(path)) from error
    if path.is_dir():
        raise DataError("There is no report.json in this folder", where=str(path), do=REWRITE)
    what = "Not a file" if beside else "There is no such report"
    raise DataError(
        what, where=str(path), do="Give a folder that `repdiag score --out` wrote, or its report.json"
    )


def check_version(document: Fields) -> int:
    """The schema_version of a document; DataError where it has none, or a later one than this version reads."""
    version = document.whole("schema_version")
    if version > SCHEMA_VERSION:
        raise DataError(
            f"This report was made by a newer repdiag: its schema_version is {version}, and {SCHEMA_VERSION} is the "
            "latest that this version reads",
            where=document.source,
            do="Update: pip install --upgrade repdiag",
        )
    return version


def measurement(document: Mapping[str, Any], class_names: Sequence[str] | None = None) -> Measurement:
    """One entry of `measurements` in report.json, back in its type; `seconds` is 0, which is kept elsewhere.

    `class_names` gives the order of `per_class` (NaN for a class without a value; DataError for a value without a
    class); None: the order of the file. Raises DataError that names the field.
    """
    part = Fields(document)
    names = _classes_of((part,)) if class_names is None else tuple(class_names)
    return _measurement(part, names, {})


# ------------------------------------------------------------------------------------ tables


def _table(path: Path, listed: Fields | None) -> Table:
    if listed is None:
        return read_csv(path) if path.is_file() else Table({})
    if not listed.has(path.name):
        return Table({})
    said = listed.part(path.name)
    return read_csv(path, TableFile(said.whole("rows"), said.text("sha256", "")))


def _texts(table: Table, name: str) -> tuple[str, ...]:
    return tuple(str(value) for value in table.columns.get(name, ()))


# ------------------------------------------------------------------------------------ measurements


def _classes_of(parts: Sequence[Fields]) -> tuple[str, ...]:
    """Names of the classes that have values, in the order of the file."""
    names: dict[str, None] = {}
    for part in parts:
        outcome = part.part("outcome")
        if outcome.has("per_class"):
            names |= dict.fromkeys(outcome.mapping("per_class"))
    return tuple(names)


def _check_unique(document: Fields, measurements: Sequence[Measurement]) -> None:
    seen: set[str] = set()
    for i, one in enumerate(measurements):
        if one.spec.name in seen:
            raise document.wrong(f"measurements[{i}].name", f"is a second '{one.spec.name}'")
        seen.add(one.spec.name)


def _measurement(
    part: Fields, class_names: tuple[str, ...], seconds: Mapping[str, float | None]
) -> Measurement:
    points = tuple(
        SizePoint(p.whole("samples", 1), p.number("value"), p.whole("parts", 1))
        for p in part.parts("by_size", [])
    )
    spec = _spec(part, bool(points))
    outcome = part.part("outcome")
    found: Outcome = (
        Skipped(outcome.text("skipped")) if outcome.has("skipped") else _result(outcome, class_names)
    )
    return Measurement(spec, found, seconds.get(spec.name) or 0.0, points)


def _spec(part: Fields, by_size: bool) -> MetricSpec:
    return MetricSpec(
        name=part.text("name"),
        family=part.text("family"),
        title=part.text("title"),
        meaning=part.text("meaning", ""),
        formula=part.text("formula", ""),
        source=part.text("source", ""),
        status=part.choice("status", Status, Status.OURS),  # the least that can be claimed
        direction=_direction(part),
        low=part.number("low", -math.inf),
        high=part.number("high", math.inf),
        unit=part.text("unit"),
        needs=part.choices("needs", Need),
        laws=part.choices("laws", Law),
        cost=part.text("cost", ""),
        headline=part.flag("headline", default=False),
        by_size=by_size,
    )


def _direction(part: Fields) -> Direction:
    part.text("direction")  # which way is better is not guessed
    return part.choice("direction", Direction, Direction.NEITHER)


def _result(part: Fields, class_names: tuple[str, ...]) -> MetricResult:
    per_class = None
    if part.has("per_class"):
        values = part.numbers("per_class")
        foreign = sorted(set(values) - set(class_names))
        if foreign:
            raise part.wrong("per_class", f"has a class '{foreign[0]}' that classes.csv does not have")
        per_class = np.array([_or_nan(values.get(name)) for name in class_names], np.float64)
    return MetricResult(
        part.number("value"),
        _interval(part.part("interval")) if part.has("interval") else None,
        _null(part.part("null")) if part.has("null") else None,
        per_class=per_class,
        table=part.rows("table"),
        parameters=part.mapping("parameters", {}),
        note=part.text("note") if part.has("note") else None,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _interval(part: Fields) -> Interval:
    low, high, level = part.number("low"), part.number("high"), part.number("level", 0.95)
    if low > high:
        raise part.wrong("low", f"is above high: {low:g} and {high:g}")
    if not 0 < level < 1:
        raise part.wrong("level", f"must lie between 0 and 1, not at {level:g}")
    return Interval(low, high, part.text("method"), part.whole("n"), level)


def _null(part: Fields) -> Null:
    std = part.number("std")
    if std < 0:
        raise part.wrong("std", f"must not be negative: {std:g}")
    return Null(part.text("name"), part.number("mean"), std, part.whole("n"))


def _verdict(part: Fields) -> Verdict:
    findings = tuple(
        Finding(f.text("rule"), f.choice("level", Level, Level.UNDETERMINED), f.text("reason"))
        for f in part.parts("findings", [])
    )
    level = part.choice("level", Level, Level.UNDETERMINED)
    return Verdict(part.text("family"), level, part.text("reason"), findings)
