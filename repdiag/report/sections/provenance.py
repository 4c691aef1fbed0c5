"""What the numbers depend on: what a colleague needs to get them again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repdiag.report.grids import MAX_ROWS, text
from repdiag.report.sections.section import Section, Written
from repdiag.report.views import words
from repdiag.types import Report

LONG = 24  # entries of a list beyond which it is folded
LONG_PART = 60  # of a part


@dataclass(frozen=True)
class Entry:
    """A name and its value in words; of a long list the number of its entries as well."""

    name: str
    words: str
    count: int | None = None


@dataclass(frozen=True)
class Group:
    """Entries under a heading of their own; the first group of a part has none."""

    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Part:
    """One part: encoder, data, ... `left_out` says how many entries only report.json has."""

    title: str
    groups: tuple[Group, ...]
    left_out: int

    @property
    def long(self) -> bool:
        """Whether it starts folded."""
        return sum(len(group.entries) for group in self.groups) > LONG_PART


@dataclass(frozen=True)
class View:
    """The command that made the report, where the report knows it, and the parts."""

    command: str | None
    parts: tuple[Part, ...]


def view(report: Report, written: Written) -> View:
    """Always there."""
    parts: dict[str, Mapping[str, Any]] = {
        "Encoder": report.encoder,
        "Data": report.dataset,
        "Configuration": report.config,
        "Environment": report.environment,
        "Risk": {} if not report.risk else {"score": report.risk.get("score"), **report.risk},
        "Time in seconds": report.timing,
    }
    return View(_command(report.config), tuple(part(title, held) for title, held in parts.items() if held))


def _command(config: Mapping[str, Any]) -> str | None:
    """The command line as the report holds it; none is put together here."""
    known = config.get("command")
    if isinstance(known, str):
        return text(known) or None
    return text(shlex.join(map(str, known))) if isinstance(known, list | tuple) and known else None


def part(title: str, held: Mapping[str, Any]) -> Part:
    """Plain values first, then each mapping in it as a group; deeper ones as dotted names."""
    plain = [_entry(str(key), value) for key, value in held.items() if not _nested(value)]
    groups = [Group("", tuple(plain))] if plain else []
    groups += [
        Group(_title(str(key)), tuple(_flat(value, ""))) for key, value in held.items() if _nested(value)
    ]
    room, kept = MAX_ROWS, []
    for group in groups:
        kept.append(Group(group.title, group.entries[:room]))
        room -= len(kept[-1].entries)
    left_out = sum(len(group.entries) for group in groups) - (MAX_ROWS - room)
    return Part(title, tuple(group for group in kept if group.entries), left_out)


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0


def _title(key: str) -> str:
    return text(key.replace("_", " "))


def _flat(value: Mapping[Any, Any], prefix: str) -> list[Entry]:
    found: list[Entry] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        found += _flat(item, f"{name}.") if _nested(item) else [_entry(name, item)]
    return found


def _entry(name: str, value: Any) -> Entry:
    if isinstance(value, float) and not isinstance(value, bool):
        value = float(f"{value:.6g}")
    count = len(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else 0
    return Entry(_title(name), words(value) or "none", count if count > LONG else None)


SECTION = Section("provenance", "Provenance", view, ("provenance.css",))
