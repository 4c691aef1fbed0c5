"""A rules file (TOML) read with every word checked. docs/reference/gate-rules.md describes each key.

`[[rule]]` tables, each one claim with one limit, and `[gate]` with what holds for rules that do not say otherwise.
Whether a metric or column exists is known only beside a report (`repdiag.gate.evaluate`).
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repdiag.errors import InputError, UsageError
from repdiag.gate import words
from repdiag.gate.types import (
    CONFIDENCE,
    ClassValue,
    Kind,
    Limit,
    MetricValue,
    Outcome,
    Rule,
    Rules,
    SampleQuantile,
    SampleShare,
    Subject,
)
from repdiag.registry import did_you_mean

LIMITS: Mapping[str, tuple[Kind, bool]] = {
    "at_least": (Kind.VALUE, True),
    "at_most": (Kind.VALUE, False),
    "change_at_least": (Kind.CHANGE, True),
    "change_at_most": (Kind.CHANGE, False),
    "relative_change_at_least": (Kind.RELATIVE, True),
    "relative_change_at_most": (Kind.RELATIVE, False),
    "count_at_most": (Kind.VALUE, False),
    "share_at_most": (Kind.VALUE, False),
}
"""The keys that hold a limit; a rule has one of them."""

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "metric": (),
    "class": ("column",),
    "samples": ("quantile", "above", "below"),
}
"""The keys that say what a rule is about, and those that belong to each; a rule has one of them."""

COMMON = ("name", "confidence", "undetermined")
KEYS = (*SUBJECTS, *(key for keys in SUBJECTS.values() for key in keys), *LIMITS, *COMMON)
LARGEST = 2**20
"""Bytes of a rules file: one larger is no rules file."""


def read_rules(path: str | Path, *, confidence: float | None = None) -> Rules:
    """The rules of the file `path`. `confidence` takes the place of the file's default, not of what a rule says itself.

    Raises InputError (exit code 3) where the file cannot be read or is no TOML, UsageError (2) for a key, value or
    combination that means nothing, each with the file, the line and the rule.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        do = "`repdiag gate REPORT --init` writes one" if isinstance(error, FileNotFoundError) else None
        raise InputError(
            f"Cannot read the rules: {error.strerror or error}", where=str(path), do=do
        ) from error
    if len(raw) > LARGEST:
        raise InputError("More than 1 MiB: this is no rules file", where=str(path))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("The rules are not UTF-8 text", where=str(path)) from error
    return parse_rules(text, str(path), confidence=confidence)


def parse_rules(text: str, source: str = "", *, confidence: float | None = None) -> Rules:
    """The rules that `text` holds; `source` is what messages call it. Raises as `read_rules` does."""
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"This is no TOML: {error}", where=source or None) from error
    reader = _Reader(source, text)
    for key in said:
        if key not in ("rule", "gate"):
            raise reader.wrong(
                f"There is no table '{key}' in a rules file", do=did_you_mean(key, ["rule", "gate"])
            )
    tables = said.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise reader.wrong(
            "Rules are an array of tables", do="Begin each rule with [[rule]], in double brackets"
        )
    if not tables:
        raise reader.wrong(
            "There is no rule, and a gate without one would pass everything", do="Add a [[rule]]"
        )
    defaults = reader.defaults(said.get("gate", {}))
    if confidence is not None:
        defaults["confidence"] = reader.confidence(confidence, "--confidence")
    rules = [reader.rule(number, table, defaults) for number, table in enumerate(tables, 1)]
    first: dict[str, Rule] = {}
    for rule in rules:
        if rule.name in first:
            what = f"Two rules are called '{rule.name}' (the other one: {first[rule.name].where})"
            raise UsageError(what, where=rule.where, do="Give each rule a name of its own")
        first[rule.name] = rule
    return Rules(tuple(rules), source)


@dataclass(frozen=True)
class _Reader:
    """A file's name and text, to say where something is wrong."""

    source: str
    text: str

    def wrong(self, what: str, where: str = "", do: str | None = None) -> UsageError:
        return UsageError(what, where=where or self.source or None, do=do)

    def place(self, number: int) -> str:
        """Where rule `number`, from 1, begins: file, line and number."""
        headers = (
            i for i, line in enumerate(self.text.splitlines(), 1) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)
        )
        line = next((at for n, at in enumerate(headers, 1) if n == number), None)
        parts = [self.source, f"line {line}" if line else "", f"rule {number}"]
        return ", ".join(part for part in parts if part)

    def defaults(self, said: Any) -> dict[str, Any]:
        if not isinstance(said, dict):
            raise self.wrong("gate is a table of defaults", do="Write [gate] and below it confidence = 0.95")
        known = ["confidence", "undetermined"]
        for key in said:
            if key not in known:
                raise self.wrong(f"[gate] has no key '{key}'", do=did_you_mean(key, known))
        where = f"{self.source}, [gate]".lstrip(", ")
        return {
            "confidence": self.confidence(said.get("confidence", CONFIDENCE), where),
            "undetermined": self.undetermined(said.get("undetermined", "undetermined"), where),
        }

    def rule(self, number: int, said: Mapping[str, Any], defaults: Mapping[str, Any]) -> Rule:
        where = self.place(number)
        for key in said:
            if key not in KEYS:
                raise self.wrong(f"A rule has no key '{key}'", where, did_you_mean(key, list(KEYS)))
        limits = [key for key in LIMITS if key in said]
        if not limits:
            raise self.wrong("The rule has no limit", where, f"Add one of {', '.join(LIMITS)}")
        if len(limits) > 1:
            both = " and ".join(limits)
            raise self.wrong(f"The rule has more than one limit ({both})", where, "Make a rule of each")
        subject = self.subject(said, limits[0], where)
        limit = Limit(*LIMITS[limits[0]], self.number(said[limits[0]], limits[0], where))
        _check_limit(limits[0], limit.value, where)
        name = self.word(said["name"], "name", where) if "name" in said else words.name(subject, limit)
        level = self.confidence(said["confidence"], where) if "confidence" in said else defaults["confidence"]
        undetermined = defaults["undetermined"]
        if "undetermined" in said:
            undetermined = self.undetermined(said["undetermined"], where)
        return Rule(name, subject, limit, level, undetermined, where)

    def subject(self, said: Mapping[str, Any], limit: str, where: str) -> Subject:
        found = [key for key in SUBJECTS if key in said]
        if len(found) != 1:
            what = (
                f"The rule is about {' and '.join(found)}"
                if found
                else "The rule does not say what it is about"
            )
            do = "For a metric by class name it in column" if found == ["metric", "class"] else None
            raise self.wrong(what, where, do or f"Give it one of {', '.join(SUBJECTS)}")
        about = found[0]
        for other, keys in SUBJECTS.items():
            for key in keys:
                if key in said and other != about:
                    raise self.wrong(
                        f"{key} belongs to {other}, and the rule is about a {about}", where, "Remove it"
                    )
        if limit in ("count_at_most", "share_at_most") and about != "samples":
            raise self.wrong(
                f"{limit} counts samples, and the rule is about a {about}", where, "Write at_most"
            )
        if about == "metric":
            return MetricValue(self.word(said["metric"], "metric", where))
        if about == "class":
            if "column" not in said:
                do = 'Add one of classes.csv, such as column = "accuracy"'
                raise self.wrong("The rule does not say which column of the classes it is about", where, do)
            return ClassValue(
                self.word(said["class"], "class", where), self.word(said["column"], "column", where)
            )
        return self.samples(said, limit, where)

    def samples(self, said: Mapping[str, Any], limit: str, where: str) -> Subject:
        column = self.word(said["samples"], "samples", where)
        kinds = [key for key in SUBJECTS["samples"] if key in said]
        if len(kinds) != 1:
            what = (
                f"The rule has {' and '.join(kinds)}"
                if kinds
                else f"The rule does not say what of {column} it means"
            )
            raise self.wrong(what, where, "Give it one of quantile, above, below")
        (kind,) = kinds
        number = self.number(said[kind], kind, where)
        if kind == "quantile":
            if limit in ("count_at_most", "share_at_most"):
                raise self.wrong(
                    f"{limit} needs above or below, not a quantile", where, "Write at_least or at_most"
                )
            if not 0 < number < 1:
                raise self.wrong(f"quantile lies between 0 and 1, not at {number:g}", where)
            return SampleQuantile(column, number)
        if limit in ("at_least", "at_most"):
            do = f"Write share_at_most or count_at_most for the samples that lie {kind}"
            raise self.wrong(
                f"{limit} does not say whether samples are counted or a share of them is meant", where, do
            )
        return SampleShare(column, kind == "above", number, limit == "count_at_most")

    def word(self, value: Any, key: str, where: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{key} must be text, not {_shown(value)}", where)
        return value

    def number(self, value: Any, key: str, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(f"{key} must be a number, not {_shown(value)}", where)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong(f"{key} must be a finite number", where)
        return number

    def confidence(self, value: Any, where: str) -> float:
        number = self.number(value, "confidence", where)
        if number == 0 or 0.5 <= number < 1:
            return number
        do = f"Write {number / 100:g}" if 50 <= number < 100 else "0 lets the bare value decide"
        raise self.wrong(f"confidence is 0, or from 0.5 to below 1, not {number:g}", where, do)

    def undetermined(self, value: Any, where: str) -> Outcome:
        known = [outcome.value for outcome in Outcome]
        if not isinstance(value, str) or value not in known:
            raise self.wrong(f"undetermined counts as {', '.join(known)}, not as {_shown(value)}", where)
        return Outcome(value)


def _check_limit(key: str, value: float, where: str) -> None:
    """Raise UsageError for a number of samples or a share that cannot be."""
    if key == "share_at_most" and not 0 <= value <= 1:
        raise UsageError(f"share_at_most lies from 0 to 1, not at {value:g}", where=where, do="1 % is 0.01")
    if key == "count_at_most" and (value < 0 or value != int(value)):
        raise UsageError(f"count_at_most is a whole number of samples, not {value:g}", where=where)


def _shown(value: Any) -> str:
    if isinstance(value, bool | str):
        return json.dumps(value)
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else str(value)
