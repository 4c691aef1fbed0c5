"""A JSON document that somebody may have broken: read field by field, and every complaint names the field."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from repdiag.errors import DataError
from repdiag.report.json_form import plain

MOST_BYTES = 64 * 2**20
"""Largest report.json that is read; one on 21,841 classes has about 16 MiB."""
MOST_CONTAINERS = 2_000_000
"""Most brackets and braces: they take some 200 bytes each once parsed. With `MOST_BYTES`, about 1 GiB at worst."""
DEEPEST = 64
"""Deepest nesting; a report of ours has less than ten."""

REWRITE = "Score again, or give the report.json that `repdiag score` wrote"

E = TypeVar("E", bound=enum.Enum)


def read_document(path: Path) -> dict[str, Any]:
    """The object in the JSON file `path`, strict: no NaN, valid Unicode, and neither huge nor deep.

    Raises DataError in one sentence for a file that cannot be read, is larger than 64 MiB, is no JSON, or holds
    something else than an object.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"Cannot read the report: {error.strerror or error}", where=str(path)) from error
    if len(raw) > MOST_BYTES:
        raise DataError(
            f"Too large for a report.json: over {MOST_BYTES // 2**20} MiB", where=str(path), do=REWRITE
        )
    if raw.count(b"[") + raw.count(b"{") > MOST_CONTAINERS:
        raise DataError("Not a report.json: millions of lists and objects", where=str(path), do=REWRITE)
    try:
        document = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise DataError("Not a report.json: it is no UTF-8 text", where=str(path), do=REWRITE) from error
    except RecursionError as error:
        raise DataError("Not a report.json: nested too deeply", where=str(path), do=REWRITE) from error
    except ValueError as error:
        raise DataError(f"Not valid JSON: {_brief(error)}", where=str(path), do=REWRITE) from error
    if not isinstance(document, dict):
        raise DataError(
            f"Not a report.json: it holds {_kind(document)}, not an object", where=str(path), do=REWRITE
        )
    if _deeper(document, DEEPEST):
        raise DataError("Not a report.json: nested too deeply", where=str(path), do=REWRITE)
    return {str(key): value for key, value in plain(document).items()}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def _brief(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return str(error).split(";")[0]


def _deeper(document: Any, limit: int) -> bool:
    """Whether containers are nested more than `limit` deep."""
    level: list[Any] = [document]
    for _ in range(limit):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [child for values in inner for child in values if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _kind(value: Any) -> str:
    """What `value` is, in JSON's words."""
    if value is None:
        return "null"
    names = {bool: "true or false", str: "text", dict: "an object", list: "a list"}
    return names.get(type(value), "a number")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


@dataclass(frozen=True)
class Fields:
    """An object of a document: `values`, at the place `at`, of the file `source`.

    Every getter raises DataError with the field's place when the field is of another type, or missing without a
    `default`. null counts as missing. Fields that nobody asks for are left alone.
    """

    values: Mapping[str, Any]
    at: str = ""
    source: str | None = None

    def place(self, name: str) -> str:
        """Where the field `name` is, such as `measurements[3].outcome.value`."""
        return f"{self.at}.{name}" if self.at else name

    def wrong(self, name: str, what: str) -> DataError:
        """The complaint about the field `name`."""
        return DataError(f"Not a report.json: {self.place(name)} {what}", where=self.source, do=REWRITE)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def _take(self, name: str, kind: Any, words: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise self.wrong(name, "is missing")
            return default
        if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind):
            raise self.wrong(name, f"must be {words}, not {_kind(value)}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        return str(self._take(name, str, "text", default))

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        return bool(self._take(name, bool, "true or false", default))

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number, as it was written: 3 stays an int."""
        value = self._take(name, int | float, "a number", default)
        if value is not default and not is_number(value):
            raise self.wrong(name, "is too large a number")
        return value  # type: ignore[no-any-return]

    def whole(self, name: str, least: int = 0) -> int:
        """A whole number from `least` to 2^63 - 1."""
        value = self.number(name)
        if value != int(value) or not least <= value < 2**63:
            raise self.wrong(name, f"must be a whole number from {least}, not {value:g}")
        return int(value)

    def mapping(self, name: str, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """An object of any form."""
        return dict(self._take(name, dict, "an object", default))

    def part(self, name: str) -> Fields:
        """An object that is read field by field."""
        return Fields(self._take(name, dict, "an object", None), self.place(name), self.source)

    def parts(self, name: str, default: list[Any] | None = None) -> tuple[Fields, ...]:
        """A list of objects."""
        values = self._take(name, list, "a list", default)
        for i, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.wrong(f"{name}[{i}]", f"must be an object, not {_kind(value)}")
        return tuple(Fields(v, f"{self.place(name)}[{i}]", self.source) for i, v in enumerate(values))

    def texts(self, name: str, default: list[Any] | None = None) -> tuple[str, ...]:
        """A list of strings."""
        values = self._take(name, list, "a list", default)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise self.wrong(f"{name}[{i}]", f"must be text, not {_kind(value)}")
        return tuple(values)

    def numbers(self, name: str, default: Mapping[str, Any] | None = None) -> dict[str, float | None]:
        """An object of finite numbers and nulls."""
        found = self.mapping(name, default)
        for key, value in found.items():
            if value is not None and not is_number(value):
                raise self.wrong(f"{name}.{key}", f"must be a number, not {_kind(value)}")
        return dict(found)

    def rows(self, name: str) -> tuple[Mapping[str, float | int | str | bool | None], ...]:
        """A list of objects that hold plain values; empty where the field is missing."""
        parts = self.parts(name, [])
        for row in parts:
            for key, value in row.values.items():
                if isinstance(value, dict | list):
                    raise row.wrong(key, f"must be a plain value, not {_kind(value)}")
        return tuple(row.values for row in parts)

    def choice(self, name: str, kind: type[E], unknown: E) -> E:
        """A member of `kind` by its value; `unknown` for one that this version does not have, or none."""
        try:
            return kind(self.text(name, str(unknown.value)))
        except ValueError:
            return unknown

    def choices(self, name: str, kind: type[E]) -> frozenset[E]:
        """Members of `kind` by their values; those that this version does not have are left out."""
        known = {member.value: member for member in kind}
        return frozenset(known[value] for value in self.texts(name, []) if value in known)
