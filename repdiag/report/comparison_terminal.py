"""A comparison in the terminal: the verdict, the numbers behind it, where the files are. No color is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from repdiag.comparison.types import Comparison, Difference, Effect
from repdiag.lines import GAP, HELD, Writer
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
from repdiag.report.terminal import MAX_NAMED
from repdiag.types import Direction

MAX_ROWS = 10
STYLES = {Effect.HELPED: "bold blue", Effect.HURT: "bold yellow", Effect.NO_EVIDENCE: "bold"}
_TITLE, _HEAD = (18, 40), 12  # narrowest and widest title column; widest head, which wraps
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
        writer.path("Written to", out)
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
    """Rows of a title, numbers, a difference and its effect.

    The difference goes below the numbers where a line is too short, and all of it into lines where the numbers alone
    do not fit. Nothing is cut.
    """
    differences = [_difference(d, fixed) for *_, d in rows]
    heads, last = [writer.safe(head) for head in heads], writer.safe(last)
    widths = [
        max(min(cell_len(head), _HEAD), *(len(row[1][i]) for row in rows)) for i, head in enumerate(heads)
    ]
    texts = [writer.safe(text) for text, _ in differences]
    width = max(min(cell_len(last), 2 * _HEAD), *map(cell_len, texts))
    word = max(len(effect) for _, effect in differences)
    numbers = sum(w + GAP for w in widths)
    beside = writer.width - numbers - GAP - width - (GAP + word if word else 0)
    below = beside < _TITLE[0]
    longest = max(row[0].cell_len for row in rows)
    room = writer.width - numbers if below else beside
    if room < min(_TITLE[0], longest):
        _in_lines(heads, rows, texts, writer, fixed)
        return
    sizes = [min(longest, _TITLE[1], room), *widths, *([] if below else [width, word])]
    right = frozenset(range(1, len(widths) + 1))
    shown = ["", *heads, *([] if below else [last, ""])]
    writer.row([Text(head, "dim") for head in shown], sizes, right)
    for (title, cells, d), text, (_, effect) in zip(rows, texts, differences, strict=True):
        style = STYLES[d.effect] if d is not None else ""
        found = [title, *(Text(writer.safe(cell)) for cell in cells)]
        writer.row([*found, *([] if below else [Text(text), Text(effect, style)])], sizes, right)
        if below and text:
            writer.line(Text(text).append("  " + effect if effect else "", style), indent=4, further=4)


def _in_lines(
    heads: Sequence[str], rows: Sequence[Row], texts: Sequence[str], writer: Writer, fixed: bool
) -> None:
    for (title, cells, d), text in zip(rows, texts, strict=True):
        writer.line(title, further=2)
        said = ", ".join(f"{head}{HELD}{writer.safe(cell)}" for head, cell in zip(heads, cells, strict=True))
        writer.line(Text(said), indent=2, further=4)
        if text:
            effect = _difference(d, fixed)[1]
            style = STYLES[d.effect] if d is not None else ""
            line = Text(f"difference {text}").append("  " + effect if effect else "", style)
            writer.line(line, indent=2, further=4)


def _difference(d: Difference | None, fixed: bool = False) -> tuple[str, str]:
    """The difference and its interval as text, and its effect as a word ("" where nothing is proved)."""
    if d is None:
        return "", ""
    text = " ".join(part for part in (delta_text(d), interval_words(d)) if part)
    word = effect_word(d, fixed)
    return text, "" if d.effect is Effect.NO_EVIDENCE and word != "moved" else word
