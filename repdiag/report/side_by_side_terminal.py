"""Encoders side by side in the terminal: the verdicts, the numbers behind them, where the files are."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.types import Comparison
from repdiag.comparison.words import ENCODER_EFFECTS
from repdiag.lines import Writer
from repdiag.report.comparison_arms import Reading, multiplicity, skipped_reasons
from repdiag.report.comparison_terminal import STYLES, Row, table
from repdiag.report.comparison_words import effect_counts
from repdiag.report.numbers import WORDS, quantity
from repdiag.report.side_by_side_json import changed_counts
from repdiag.report.side_by_side_tables import side_by_side_tables
from repdiag.report.side_by_side_views import details as chosen
from repdiag.report.side_by_side_words import (
    best_words,
    crowding_counts,
    fall_words,
    likeness_words,
    names_of,
    turned_words,
)
from repdiag.report.terminal import MAX_NAMED
from repdiag.types import Direction

MAX_ROWS, MAX_SHOWN, MAX_CLASSES = 10, 3, 3


def terminal(made: SideBySide, console: Console, out: Path | None = None) -> None:
    """Print `made` on `console`; what was written into the folder `out` is listed at the end."""
    writer, whole = Writer(console), made.comparison
    word = ENCODER_EFFECTS[whole.effect].upper()
    writer.beside(word, STYLES[whole.effect], writer.styled((whole.reason, "")), len(word) + 2)
    shown = chosen(made)[:MAX_SHOWN]
    for one in shown:
        _numbers(one, writer)
    if len(made.details) > len(shown):
        writer.blank()
        left = ", ".join(one.subject for one in made.details if one not in shown)
        writer.line(f"Not shown here: {left}; compare.html and differences.csv have all", "dim")
    _trajectory(made, writer)
    _crowding(made, writer)
    _likeness(made, writer)
    _not_compared(whole, writer)
    writer.warnings(whole.warnings, "compare.json")
    if out is not None:
        writer.blank()
        writer.path("Written to", out)
        names = ", ".join(("compare.html", "compare.json", *side_by_side_tables(made)))
        writer.line(names, indent=2, further=2)


def _numbers(one: Comparison, writer: Writer) -> None:
    """One encoder against the other in the quantities that tell most, and what turned."""
    reading = Reading(one)
    shown = reading.telling[:MAX_ROWS]
    rows: list[Row] = []
    for metric in shown:
        d = reading.difference(metric, one.subject, one.against)
        assert d is not None
        unit = d.unit if d.unit in ("share", "%") else ""
        cells = [quantity(value, unit) for value in (d.other, d.value)]
        title = f"{writer.arrows[d.direction]} {d.title}" + ("" if unit or not d.unit else f" ({d.unit})")
        rows.append((Text(writer.safe(title), "bold" if d.primary else ""), cells, d))
    if not rows:
        return
    writer.blank()
    writer.line(f"{one.subject} against {one.against}", "bold")
    table([one.against, one.subject], "difference", rows, writer, fixed=True)
    used = {d.direction for *_, d in rows if d is not None}
    legend = ", ".join(f"{writer.arrows[way]} {WORDS[way]}" for way in Direction if way in used)
    level = next((f"{100 * d.interval.level:g}% intervals; " for *_, d in rows if d and d.interval), "")
    writer.line(f"differences of percentages in points, in brackets {level}{legend}", "dim")
    found = [d for m in reading.metrics if (d := reading.difference(m, one.subject, one.against)) is not None]
    writer.line(f"All {len(found)} metrics: {effect_counts(found, True)}. {multiplicity(reading)}", "dim")
    counts = changed_counts(one)
    if counts is not None:
        writer.line(turned_words(one, counts))
    _classes(one, writer)


def _classes(one: Comparison, writer: Writer) -> None:
    columns = one.classes.columns
    if "delta" not in columns:
        return
    for word, sign, end in (("worse", -1, columns["high"]), ("better", 1, columns["low"])):
        chosen = [i for i in (sign * columns["delta"]).argsort(kind="stable")[::-1] if sign * end[i] > 0]
        if chosen:
            named = ", ".join(
                f"{columns['class'][i]} {100 * columns['delta'][i]:+.1f}" for i in chosen[:MAX_CLASSES]
            )
            more = f" and {len(chosen) - MAX_CLASSES} more" if len(chosen) > MAX_CLASSES else ""
            writer.line(f"Classes told {word} (points): {named}{more}")


def _trajectory(made: SideBySide, writer: Writer) -> None:
    course = made.trajectory
    if course is None:
        return
    writer.blank()
    writer.line("Along the run", "bold")
    for best in course.best:
        writer.line(best_words(best, course), indent=2, further=4)
    for fall in course.falls:
        writer.line(fall_words(fall), "yellow", indent=2, further=4)
    stayed = names_of(course.followed, {f.difference.metric for f in course.falls}, Reading(made.comparison))
    if stayed:
        writer.line(f"never told worse than the best before: {stayed}", "dim", indent=2, further=4)


def _crowding(made: SideBySide, writer: Writer) -> None:
    if not made.crowding and not made.crowding_notes:
        return
    writer.blank()
    writer.line("Crowding", "bold")
    for line in crowding_counts(made):
        writer.line(line, indent=2, further=4)
    for note in made.crowding_notes:
        writer.line(note, "dim", indent=2, further=4)


def _likeness(made: SideBySide, writer: Writer) -> None:
    writer.blank()
    if made.likeness:
        writer.line("How alike the embeddings are", "bold")
    for one in made.likeness:
        writer.line(likeness_words(one), indent=2, further=4)
    if made.likeness_missing:
        writer.line(f"likeness of embeddings skipped: {made.likeness_missing}", "dim", further=2)


def _not_compared(whole: Comparison, writer: Writer) -> None:
    for reason, titles in skipped_reasons(Reading(whole)):
        more = f" and {len(titles) - MAX_NAMED} more" if len(titles) > MAX_NAMED else ""
        writer.line(f"- not compared: {', '.join(titles[:MAX_NAMED])}{more} ({reason})", "dim", further=2)
