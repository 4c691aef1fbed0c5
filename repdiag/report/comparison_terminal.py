"""A comparison in the terminal: the verdict, the numbers behind it, where the files are. No color is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from repdiag.comparison.types import Comparison, Difference, Effect
from repdiag.report.comparison_arms import Reading, multiplicity, skipped_reasons
from repdiag.report.comparison_tables import DESCRIPTIONS
from repdiag.report.comparison_words import (
    EFFECT_WORDS,
    delta_text,
    effect_counts,
    effect_word,
    interval_words,
)
from repdiag.report.numbers import WORDS, quantity
from repdiag.report.terminal import MAX_NAMED, Writer
from repdiag.types import Direction

MAX_ROWS = 10
STYLES = {Effect.HELPED: "bold blue", Effect.HURT: "bold yellow", Effect.NO_EVIDENCE: "bold"}
_TITLE, _GAP = (18, 40), 2  # narrowest and widest title column; spaces between columns
Row = tuple[Text, Sequence[str], Difference | None]  # title, numbers, difference


def terminal(comparison: Comparison, console: Console, out: Path | None = None) -> None:
    """Print `comparison` on `console`; what was written into the folder `out` is listed at the end."""
    writer, reading = Writer(console), Reading(comparison)
    word = EFFECT_WORDS[comparison.effect].upper()
    writer.beside(word, STYLES[comparison.effect], writer.styled((comparison.reason, "")), len(word) + 2)
    for arm in reading.stopped:
        for reason in arm.stopped:
            writer.line(f"{arm.name} ended early: {reason}", "yellow", indent=2, further=4)
    _numbers(reading, writer)
    _ablations(reading, writer)
    _rest(reading, writer)
    writer.warnings(comparison.warnings, "comparison.json")
    if out is not None:
        writer.blank()
        writer.line(Text("Written to ", "bold").append(writer.safe(out), "not bold"))
        writer.line(", ".join(("comparison.html", *DESCRIPTIONS)), indent=2, further=2)
        for name, what in comparison.files.items():
            writer.line(f"{name}: {what}", indent=2, further=4)


def _numbers(reading: Reading, writer: Writer) -> None:
    """Before, control, after and the difference of the quantities that tell most."""
    shown = reading.telling[:MAX_ROWS]
    if not shown:
        return
    subject, against = reading.comparison.subject, reading.comparison.against
    rows: list[Row] = []
    for metric in shown:
        d = reading.difference(metric, subject, against)
        assert d is not None
        unit = d.unit if d.unit in ("share", "%") else ""
        cells = [quantity(reading.value(arm, metric), unit) for arm in reading.main]
        title = f"{writer.arrows[d.direction]} {d.title}" + ("" if unit or not d.unit else f" ({d.unit})")
        rows.append((Text(writer.safe(title), "bold" if d.primary else ""), cells, d))
    heads = ["after" if arm.role == "subject" else arm.shown for arm in reading.main]
    writer.blank()
    table(heads, f"after minus {against}", rows, writer)
    used = {d.direction for *_, d in rows if d is not None}
    legend = ", ".join(f"{writer.arrows[way]} {WORDS[way]}" for way in Direction if way in used)
    level = next((f"{100 * d.interval.level:g}% intervals; " for *_, d in rows if d and d.interval), "")
    writer.line(f"after: {subject}; differences of percentages in points, in brackets {level}{legend}", "dim")


def _ablations(reading: Reading, writer: Writer) -> None:
    """The primary measure (or the first that tells) in the other arms, each against the same control."""
    metric = reading.primary or (reading.telling[0] if reading.telling else None)
    if not reading.others or metric is None:
        return
    rows: list[Row] = []
    for arm in (*reading.main, *reading.others):
        d = reading.difference(metric, arm.name, reading.comparison.against)
        unit = reading.specs[metric].unit if metric in reading.specs else d.unit if d is not None else ""
        value = reading.value(arm, metric)
        cell = quantity(value, unit if unit in ("share", "%") else "")
        rows.append((Text(writer.safe(arm.shown), "bold" if arm.role == "subject" else ""), [cell], d))
    title = reading.specs[metric].title if metric in reading.specs else metric
    writer.blank()
    writer.line(f"{title} in every arm", "bold")
    table(["value"], f"minus {reading.comparison.against}", rows, writer)


def _rest(reading: Reading, writer: Writer) -> None:
    """How the other metrics came out, in one line, and what was not compared."""
    pair = (reading.comparison.subject, reading.comparison.against)
    found = [d for metric in reading.metrics if (d := reading.difference(metric, *pair)) is not None]
    writer.blank()
    if found:
        counts = effect_counts(found)
        writer.line(
            f"All {len(found)} metrics, after against {reading.comparison.against}: {counts}. {multiplicity(reading)}",
            "dim",
        )
    for reason, titles in skipped_reasons(reading):
        more = f" and {len(titles) - MAX_NAMED} more" if len(titles) > MAX_NAMED else ""
        writer.line(f"- not compared: {', '.join(titles[:MAX_NAMED])}{more} ({reason})", "dim", further=2)


def table(heads: Sequence[str], last: str, rows: Sequence[Row], writer: Writer, fixed: bool = False) -> None:
    """Rows of a title, numbers, a difference and its effect; the difference goes below where a line is too short."""
    differences = [_difference(d, fixed) for *_, d in rows]
    heads = [_cut(head, 12, writer) for head in heads]
    widths = [max(cell_len(head), *(len(row[1][i]) for row in rows)) for i, head in enumerate(heads)]
    last = _cut(last, 24, writer)
    width = max(cell_len(last), *(cell_len(text) for text, _ in differences))
    word = max(len(effect) for _, effect in differences)
    numbers = sum(w + _GAP for w in widths)
    beside = writer.width - numbers - _GAP - width - (_GAP + word if word else 0)
    below = beside < _TITLE[0]
    longest = max(row[0].cell_len for row in rows)
    name = max(8, min(longest, _TITLE[1], writer.width - numbers if below else beside))
    head = Text(" " * name)
    for shown, w in zip(heads, widths, strict=True):
        head.append(" " * (_GAP + w - cell_len(shown)) + shown, "dim not bold")
    if not below:
        head.append(" " * _GAP + last, "dim not bold")
    _print(head, writer)
    for (left, cells, d), (text, effect) in zip(rows, differences, strict=True):
        line = Text(set_cell_size(_cut(left.plain, name, writer), name), left.style)
        for cell, w in zip(cells, widths, strict=True):
            line.append(" " * (_GAP + w - len(cell)) + writer.safe(cell), "not bold")
        if text and below:
            _print(line, writer)
            line = Text("    ")
        if text:
            line.append(" " * (0 if below else _GAP) + set_cell_size(writer.safe(text), width), "not bold")
            style = STYLES[d.effect] if d is not None else ""
            line.append(" " * _GAP + effect, style)
        _print(line, writer)


def _difference(d: Difference | None, fixed: bool = False) -> tuple[str, str]:
    """The difference and its interval as text, and its effect as a word ("" where nothing is proved)."""
    if d is None:
        return "", ""
    text = " ".join(part for part in (delta_text(d), interval_words(d)) if part)
    word = effect_word(d, fixed)
    return text, "" if d.effect is Effect.NO_EVIDENCE and word != "moved" else word


def _cut(text: str, width: int, writer: Writer) -> str:
    """Text that can be printed in at most `width` cells."""
    shown = writer.safe(text)
    if cell_len(shown) <= width:
        return shown
    dots = "..." if writer.ascii else "…"
    return set_cell_size(shown, max(0, width - len(dots))).rstrip() + dots


def _print(line: Text, writer: Writer) -> None:
    line.rstrip()
    writer.console.print(line, no_wrap=True, overflow="ellipsis")
