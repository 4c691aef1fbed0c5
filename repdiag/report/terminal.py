"""The report in the terminal: what to read first, on one screen. `--full` and the files have everything.

At 80 columns or more it takes at most MAX_LINES lines, whatever the report holds: a report that has more to say is said
in fewer sentences, never in half ones, and the last line tells where the rest is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from repdiag.lines import GAP, MAX_WARNINGS, Writer
from repdiag.report.terminal_full import (
    LEVELS,
    MARKS,
    MAX_NAMED,
    Shown,
    command_for,
    everything,
    measured,
    shown,
)
from repdiag.report.text import sentence
from repdiag.report.views import words
from repdiag.types import Level, Report, Skipped

__all__ = ["MAX_LINES", "MAX_NAMED", "MAX_WARNINGS", "Writer", "render"]

MAX_LINES = 30
FULL_WIDTH = 80  # columns; a narrower terminal may take more lines, in proportion
MAX_SAID = 2  # warnings of which the first sentence is said
LEAST_TITLE = 20  # columns for a metric's name beside its numbers
WORST_FIRST = (Level.POOR, Level.WATCH, Level.UNDETERMINED, Level.GOOD)
MOST_BRIEF = 7
_END = re.compile(r"(?<=[^\s.][.!?])\s+(?=[A-Z\"'\d])")


def render(
    report: Report,
    console: Console,
    files: Mapping[str, Path] | None = None,
    full: bool = False,
) -> None:
    """Print `report` on `console`, on one screen or (`full`) whole; `files` (name -> path) are what was written.

    Columns beyond 120 are left empty. Below 80 columns there may be more lines in proportion; where even the shortest
    form takes more than that, it takes them.
    """
    writer = Writer(console)
    if full:
        everything(report, writer, files)
        return
    most = MAX_LINES * max(1.0, FULL_WIDTH / writer.width)
    for brief in range(MOST_BRIEF + 1):
        with console.capture() as captured:
            _screen(report, writer, files, brief)
        if captured.get().count("\n") <= most or brief == MOST_BRIEF:
            break
    _screen(report, writer, files, brief)


def first_sentence(text: str) -> str:
    """The first sentence of `text`, with its full stop."""
    return sentence(_END.split(text.strip(), maxsplit=1)[0])


def _screen(report: Report, writer: Writer, files: Mapping[str, Path] | None, brief: int) -> None:
    """All parts; each step of `brief` drops one kind of sentence, the least urgent first."""
    _what(report, writer, brief >= 1)
    _verdicts(report, writer, (Level.GOOD,) if brief < 4 else (Level.GOOD, Level.WATCH, Level.UNDETERMINED))
    _headline(report, writer)
    _cautions(report, writer, MAX_SAID if brief < 6 else 0)
    _next(report, writer, files, (3, 3, 2, 1, 1, 0, 0, 0)[brief], commands=brief < MOST_BRIEF)
    writer.blank()
    if files and "report.html" in files:
        writer.path("Report", files["report.html"], at=8)
    total = len(report.measurements)
    writer.line(f"All {total} numbers, warnings and files: the report, or --full", "dim")


def _what(report: Report, writer: Writer, names_only: bool) -> None:
    """Which encoder on which data."""
    name, data = (str(part.get("name") or "") for part in (report.encoder, report.dataset))
    if not names_only or not name:
        name = str(report.encoder.get("summary") or "") or _named(name, report.encoder, "architecture")
        data = str(report.dataset.get("summary") or "") or _named(data, report.dataset, "samples", "classes")
    elif count := report.dataset.get("evaluated") or report.dataset.get("samples"):
        data = f"{data}, {words(count)} samples"
    on = [(" on ", "dim"), (data, "")] if data else []
    if name == "-":  # embeddings without a model
        name, on = "embeddings", on and [(" in ", "dim"), *on[1:]]
    head, colon, rest = name.partition(": ")
    writer.line(writer.styled((head, "bold"), (colon + rest, ""), *on))


def _named(name: str, facts: Mapping[str, Any], *keys: str) -> str:
    said = ", ".join(
        f"{words(facts[k])} {k}" if k != "architecture" else words(facts[k]) for k in keys if facts.get(k)
    )
    return f"{name} ({said})" if name and said else name or said


def _verdicts(report: Report, writer: Writer, gathered: tuple[Level, ...]) -> None:
    """The worst first, with why; families of the levels `gathered` share a line."""
    if not report.verdicts:
        return
    writer.blank()
    marks = MARKS[writer.ascii]
    for level in WORST_FIRST:
        why: dict[str, list[str]] = {}  # families with one reason share its sentence
        for verdict in report.verdicts:
            if verdict.level is level:
                reason = "" if level in gathered else first_sentence(verdict.reason)
                why.setdefault(reason, []).append(verdict.family.replace("_", " ").capitalize())
        rows = [
            writer.styled((", ".join(names) + (": " if reason else ""), "bold"), (reason, ""))
            for reason, names in why.items()
        ]
        for said in rows:
            writer.beside(f"{marks[level]} {level.value}", LEVELS[level], said, 16)


def _headline(report: Report, writer: Writer) -> None:
    """A line per number: value, interval, null, and what it is; two lines where there is no room for one."""
    found = [shown(one) for one in measured(report) if one.spec.headline]
    missing = [
        m.spec.title for m in report.measurements if m.spec.headline and isinstance(m.outcome, Skipped)
    ]
    if not (found or missing):
        return
    writer.blank()
    if found:
        _numbers(found, writer)
    if missing:
        writer.line(f"Not measured: {', '.join(missing)}", "dim", further=2)
    skipped = Counter(m.outcome.reason for m in report.measurements if isinstance(m.outcome, Skipped))
    if skipped and missing:
        reason, count = skipped.most_common(1)[0]
        writer.line(
            f"{skipped.total()} of {len(report.measurements)} numbers were skipped, {count} because: {reason}",
            "dim",
            further=2,
        )


def _numbers(found: Sequence[Shown], writer: Writer) -> None:
    heads = ("value", "95% interval", "null")
    cells = [(one.value, one.interval, one.null) for one in found]
    cells = [(writer.safe(a), writer.safe(b), writer.safe(c)) for a, b, c in cells]
    widths = [max(len(row[i]) for row in (heads, *cells)) for i in range(3)]
    rest = writer.width - sum(widths) - 3 * GAP
    titles = [writer.styled((f"{writer.arrows[one.direction]} {one.title}", "")) for one in found]
    if rest < LEAST_TITLE:
        for title, one in zip(titles, found, strict=True):
            writer.line(title, further=2)
            writer.line(writer.styled((one.value, "bold"), (one.behind, "")), indent=2, further=2)
        return
    up, down = (writer.arrows[way] for way in list(writer.arrows)[:2])
    better = f"{up} higher, {down} lower is better" if rest > 30 else ""
    right = frozenset((0,))
    writer.row([Text(head, "dim") for head in (*heads, better)], [*widths, rest], right)
    for title, row in zip(titles, cells, strict=True):
        value, interval, null = row
        writer.row([Text(value, "bold"), Text(interval), Text(null, "dim"), title], [*widths, rest], right)


def _cautions(report: Report, writer: Writer, most: int) -> None:
    """What limits all that stands above: an unchecked risk, and warnings, in a sentence each."""
    said = [first_sentence(one) for one in report.warnings]
    unsure = bool(report.risk) and not report.risk.get("validated")
    if not (said or unsure):
        return
    writer.blank()
    if unsure:
        score = report.risk.get("title") or report.risk.get("score")
        writer.line(f"The risk of an image ({score}) is not validated here.", "yellow", further=2)
    for one in said[:most]:
        writer.line(writer.styled(("Warning: ", "bold yellow"), (one, "")), further=2)
    if left := len(said[most:]):
        more = f"{left} more warning{'s' * (left > 1)}" if most else f"{left} warning{'s' * (left > 1)}"
        writer.line(more, "yellow")


def _next(
    report: Report, writer: Writer, files: Mapping[str, Path] | None, reasons: int, commands: bool
) -> None:
    """What to do next: what, why, and the command."""
    if not report.exhibits.advice:
        return
    writer.blank()
    writer.line("Next", "bold")
    for number, one in enumerate(report.exhibits.advice, start=1):
        why = f" {first_sentence(one.reason)}" if number <= reasons else ""
        writer.line(writer.styled((f"{number} ", ""), (sentence(one.title), "bold"), (why, "")), further=2)
        if one.command and commands:
            writer.command(command_for(one.command, files), indent=4)
