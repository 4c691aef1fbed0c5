"""A gate's results in the terminal: the verdict, a row per rule, why. Readable at 80 columns and without color."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from repdiag.gate.outputs.words import Line, headline, line, named, warnings
from repdiag.gate.types import GateResult, Outcome
from repdiag.lines import GAP, Writer

STYLES = {Outcome.PASS: "bold green", Outcome.FAIL: "bold red", Outcome.UNDETERMINED: "bold yellow"}
LEAST_NAME = 20  # narrowest column of names
HEADS = ("outcome", "rule", "value", "limit")


def terminal(result: GateResult, console: Console) -> None:
    """Print `result` on `console`."""
    writer = Writer(console)
    word = result.outcome.value.upper()
    writer.beside(word, STYLES[result.outcome], writer.styled((headline(result), "")), len(word) + GAP)
    judged = {
        "judged": named(result.report),
        "baseline": "" if result.baseline is None else named(result.baseline),
        "rules": result.rules_source,
    }
    writer.blank()
    for name, said in judged.items():
        if said:
            writer.beside(name, "dim", writer.styled((said, "")), 10)
    writer.blank()
    _rows([line(one) for one in result.results], writer)
    level = {one.interval.level for one in result.results if one.interval is not None}
    if len(level) == 1:
        writer.blank()
        bound = f"{100 * (1 + min(level)) / 2:g}"
        writer.line(f"in brackets: both one-sided {bound} % bounds; past the limit they decide", "dim")
    if beware := warnings(result):
        writer.blank()
        writer.line("Warnings", "bold yellow")
        for warning in beware:
            writer.line(f"- {warning}", indent=2, further=4)


def _rows(lines: list[Line], writer: Writer) -> None:
    """In columns where they fit; otherwise value and limit go on a line of their own, for all rules alike."""
    cells = [
        (
            writer.safe(one.word),
            writer.safe(one.name),
            writer.safe(one.value or "none"),
            writer.safe(one.limit),
        )
        for one in lines
    ]
    widths = [max(cell_len(row[i]) for row in (*cells, HEADS)) for i in range(4)]
    left = widths[0] + GAP
    name = min(widths[1], writer.width - left - widths[2] - widths[3] - 2 * GAP)
    wide = name >= min(LEAST_NAME, widths[1])
    sizes = (widths[0], name, widths[2], widths[3])
    if wide:
        writer.row([Text(head, "dim") for head in HEADS], sizes)
    for one, row in zip(lines, cells, strict=True):
        style = STYLES[one.outcome]
        if wide:
            styles = (style, "bold", "", "")
            writer.row([Text(cell, of) for cell, of in zip(row, styles, strict=True)], sizes)
        else:
            writer.beside(one.word, style, writer.styled((one.name, "bold")), left)
            writer.line(one.short, indent=left, further=left)
        if one.why:
            writer.line(one.why, "dim", indent=left, further=left)
