"""A gate's results in the terminal: the verdict, a row per rule, why. Readable at 80 columns and without color."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from repdiag.gate.outputs.words import Line, headline, line, named, warnings
from repdiag.gate.types import GateResult, Outcome
from repdiag.report.terminal import Writer

STYLES = {Outcome.PASS: "bold green", Outcome.FAIL: "bold red", Outcome.UNDETERMINED: "bold yellow"}
LEAST_NAME, GAP = 20, 2  # narrowest column of names; spaces between columns
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
    if wide:
        sizes = (widths[0], name, widths[2], widths[3])
        _print(_columns(HEADS, sizes, ("dim",) * 4, writer), writer)
    for one, row in zip(lines, cells, strict=True):
        style = STYLES[one.outcome]
        if wide:
            _print(_columns(row, sizes, (style, "bold", "", ""), writer), writer)
        else:
            writer.beside(one.word, style, writer.styled((one.name, "bold")), left)
            writer.line(one.short, indent=left, further=left)
        if one.why:
            writer.line(one.why, "dim", indent=left, further=left)


def _columns(cells: tuple[str, ...], sizes: tuple[int, ...], styles: tuple[str, ...], writer: Writer) -> Text:
    row = Text()
    for cell, size, style in zip(cells, sizes, styles, strict=True):
        row.append(" " * (GAP if row.cell_len else 0))
        row.append(set_cell_size(_cut(cell, size, writer), size), style)
    return row


def _cut(text: str, width: int, writer: Writer) -> str:
    """Text in at most `width` cells, with an ellipsis where it is cut."""
    if cell_len(text) <= width:
        return text
    dots = "..." if writer.ascii else "…"
    return set_cell_size(text, max(0, width - len(dots))).rstrip() + dots


def _print(row: Text, writer: Writer) -> None:
    row.rstrip()
    writer.console.print(row, no_wrap=True, overflow="ellipsis")
