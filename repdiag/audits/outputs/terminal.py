"""An audit in the terminal: what the list is worth, its largest groups, what is set apart. No color is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from repdiag.audits.outputs import words
from repdiag.audits.types import Audit, Group, Reviewed
from repdiag.lines import GAP, Writer
from repdiag.report.numbers import number

MAX_GROUPS = 6
MAX_SAMPLES = 5
_NUMBERS = (9, 6, 6, 9)  # widths of the columns behind the name
LEAST_NAME = 20  # narrowest column of names; below, a group takes lines
_HEADS = ("to review", "in all", "wrong", "mean risk")


def terminal(audit: Audit, console: Console, files: Sequence[Path] = ()) -> None:
    """Print `audit` on `console`; `files` are listed at the end."""
    writer = Writer(console)
    writer.line(words.worth(audit), "bold")
    for warning in audit.warnings:
        writer.line(warning, "yellow")
    _samples(audit.reviewed, writer)
    _groups("Label and prediction", audit.pairs, writer)
    _groups("k-means cluster", audit.clusters, writer)
    writer.blank()
    writer.beside("duplicates", "bold", writer.styled((words.copies(audit), "")), 15)
    writer.beside("label errors", "bold", writer.styled((words.suspects(audit), "")), 15)
    writer.written(files)


def _samples(reviewed: Sequence[Reviewed], writer: Writer) -> None:
    """The first of the list, with why."""
    writer.blank()
    writer.line("Riskiest", "bold")
    for one in reviewed[:MAX_SAMPLES]:
        said = writer.styled((one.id, "bold"), (f": {one.action.value}; " + "; ".join(one.reasons), ""))
        writer.beside(number(one.risk), "", said, 9, indent=2)
    if len(reviewed) > MAX_SAMPLES:
        writer.line(f"and {len(reviewed) - MAX_SAMPLES:,} more in review.csv", "dim", indent=2)


def _groups(title: str, groups: Sequence[Group], writer: Writer) -> None:
    """The groups with the most risk in all."""
    if not groups:
        return
    width = writer.width - sum(_NUMBERS) - GAP * len(_NUMBERS) - GAP
    wide, right = width >= LEAST_NAME, frozenset(range(1, len(_NUMBERS) + 1))
    writer.blank()
    if wide:
        writer.row([Text(title, "bold"), *(Text(h, "dim") for h in _HEADS)], [width + GAP, *_NUMBERS], right)
    else:
        writer.line(title, "bold")
    for group in groups[:MAX_GROUPS]:
        name = group.name + (f", mostly {group.majority}" if group.majority else "")
        wrong = "-" if group.wrong is None else f"{group.wrong:,}"
        values = (f"{group.samples:,}", f"{group.evaluated:,}", wrong, number(group.mean_risk))
        if wide:
            cells = [Text(writer.safe(value)) for value in (f"  {name}", *values)]
            writer.row(cells, [width + GAP, *_NUMBERS], right)
        else:
            writer.line(name, indent=1, further=2)
            said = ", ".join(f"{head} {value}" for head, value in zip(_HEADS, values, strict=True))
            writer.line(said, "dim", indent=2, further=2)
    if len(groups) > MAX_GROUPS:
        writer.line(f"and {len(groups) - MAX_GROUPS:,} more in audit.html", "dim", indent=2)
