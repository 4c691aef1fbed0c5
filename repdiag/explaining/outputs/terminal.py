"""An explanation in the terminal: what was explained, whether it is the object, and the first samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from repdiag.explaining.outputs import words
from repdiag.explaining.types import Explained, Explanation, Overlaps, Region
from repdiag.lines import Writer
from repdiag.report.numbers import number
from repdiag.types import Skipped

MOST_SAMPLES = 5
STYLES = {"holds": "bold green", "does not hold": "bold red", "not decided": "dim", "not tested": "dim"}


def terminal(found: Explanation, console: Console, files: Sequence[Path] = ()) -> None:
    """Print `found` on `console`; `files` are listed at the end."""
    writer = Writer(console)
    writer.line(words.explained(found), "bold")
    writer.line(f"{words.target(found)} {words.place(found)}.", "dim")
    if isinstance(found.overlaps, Skipped):
        if found.parameters.get("masks"):
            writer.line(words.masks(found), "yellow")
    else:
        _overlaps(found, found.overlaps, writer)
    _samples(found.samples, writer)
    if found.features:
        named = ", ".join(str(one.card.feature) for one in found.features)
        writer.blank()
        writer.line(f"Top features ({found.features[0].card.worth_name}): {named}")
    writer.warnings(found.warnings, "explain.json")
    if files:
        writer.blank()
        writer.line("Written", "bold")
        for path in files:
            writer.line(str(path), indent=2, further=2)


def _overlaps(found: Explanation, overlaps: Overlaps, writer: Writer) -> None:
    """Each claim with its verdict, then the means: one line each, which wraps where the terminal is narrow."""
    writer.blank()
    writer.line("Is it the object?", "bold")
    writer.line(words.masks(found), "dim")
    for claim in overlaps.claims:
        said = writer.styled((f"{claim.said}: ", ""), (claim.sentence, "dim"))
        writer.beside(claim.word, STYLES[claim.word], said, 16, indent=2)
    seen: tuple[str, Region] | None = None
    for q in overlaps.quantities:
        if (q.measure, q.region) != seen:
            seen = (q.measure, q.region)
            writer.blank()
            writer.line(words.heading(q.measure, q.region), "bold")
        beside = [f"n = {q.n:,}"]
        beside += [f"other masks {words.null(q)}"] if q.null is not None else []
        beside += [f"uniform {number(q.uniform)}"] if q.uniform is not None else []
        said = writer.styled((words.quantity(q), "bold"), (f"  {', '.join(beside)}", "dim"))
        writer.beside(words.title(q), "", said, 20, indent=2)
    for note in overlaps.notes:
        writer.line(note, "dim", indent=2, further=2)


def _samples(samples: Sequence[Explained], writer: Writer) -> None:
    """The first of them."""
    if not samples:
        return
    writer.blank()
    writer.line("Samples", "bold")
    for one in samples[:MOST_SAMPLES]:
        seen = ""
        if one.prediction is not None:
            seen = f"{one.label or 'no label'}, predicted {'as labeled' if one.correct else one.prediction}; "
        elif one.label is not None:
            seen = f"{one.label}; "
        summed = f"; features {words.summed(one)}" if one.features else ""
        said = writer.styled((one.id, "bold"), (f": {seen}{words.described(one.tile)}{summed}", ""))
        writer.beside(number(one.risk), "", said, 9, indent=2)
    if len(samples) > MOST_SAMPLES:
        writer.line(f"and {len(samples) - MOST_SAMPLES:,} more in explain.html", "dim", indent=2)
