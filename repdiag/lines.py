"""Text on a terminal or in a log: text as text, whole, within the width, in what the encoding has.

What is said here holds for every command. Nothing foreign is obeyed (markup, escapes, direction marks). Lines break
between words, never inside an interval nor between a number and its unit. A table whose columns do not fit becomes
lines. Commands and paths are to be copied, so they are never broken but where a shell allows it; one that is longer
than the terminal is wide is left to the terminal to wrap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from repdiag.foreign import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repdiag.types import Direction

MAX_WIDTH = 120  # longer lines are hard to read
MAX_WARNINGS = 20
GAP = 2  # spaces between columns
LEAST = 24  # columns beside a name below which the text goes under the name
ARROWS = {"higher": "↑", "lower": "↓", "neither": "·"}
ASCII_ARROWS = {"higher": "^", "lower": "v", "neither": "."}
_ASCII = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "±": "+-", "…": "...", "×": "x", "²": "2", "α": "alpha", "λ": "lambda", "·": "."}
    | {"→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≈": "~", "µ": "u", "“": '"', "”": '"', "‘": "'", "’": "'"}
    | {"↑": "^", "↓": "v", "✓": "+", "✗": "x", "∈": "in", "√": "sqrt", "∞": "inf", "\u00a0": " "}
)  # fmt: skip
_NUMBER = r"[+\-~<>=]?\d[\d.,]*(?<![.,])(?:e[+-]\d+)?%?"
_TOGETHER = re.compile(
    rf"(?<![\w.])(?:\[{_NUMBER}, {_NUMBER}\]|{_NUMBER}(?: (?:±|\+-) {_NUMBER})?(?: (?:%|[^\W\d_]{{1,12}}\b))?)"
)
HELD = "\ufdd0"  # stands for a space at which no line breaks; no character, so that no text means it
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")


class Writer:
    """Prints text as text: no markup, no control characters, nothing that the console's encoding lacks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ascii = console.options.ascii_only
        self.width = max(1, min(console.width, MAX_WIDTH))

    @property
    def arrows(self) -> Mapping[Direction, str]:
        """The sign of each direction. Looked up here, for the module that has them brings numpy."""
        from repdiag.types import Direction

        signs = ASCII_ARROWS if self.ascii else ARROWS
        return {way: signs[way.value] for way in Direction}

    def safe(self, value: Any) -> str:
        """Foreign text that can be printed."""
        text = str(value).translate(_ASCII) if self.ascii else str(value)
        return visible(text, self.console.encoding)

    def exact(self, value: Any) -> str:
        """The same for what is copied from the terminal: no character is replaced by one that looks like it."""
        return visible(str(value), self.console.encoding)

    def styled(self, *parts: tuple[str, str]) -> Text:
        """Parts of (text, style) one after the other."""
        return Text.assemble(*((self.safe(text), style) for text, style in parts))

    def lines(self, text: Text, width: int) -> list[Text]:
        """`text` in lines of at most `width` cells; numbers stay with their units and intervals are whole."""
        held = text.copy()
        held.plain = _TOGETHER.sub(
            lambda m: m[0].replace(" ", HELD) if len(m[0]) <= width else m[0], held.plain
        )
        found = list(held.wrap(self.console, max(1, width)))
        for line in found:
            line.rstrip()
            line.plain = line.plain.replace(HELD, " ")
        return found

    def hung(self, text: Text, indent: int, further: int, width: int) -> Text:
        """`text` within `width`, its first line indented by `indent`, the others by `further`."""
        most = max(0, min(width // 8, width - 12)) if width < 2 * LEAST else width
        indent, further = min(indent, most), min(further, most)
        return Text("\n").join(
            Text(" " * (further if i else indent)).append_text(line)
            for i, line in enumerate(self.lines(text, width - max(indent, further)))
        )

    def line(self, value: str | Text, style: str = "", indent: int = 0, further: int | None = None) -> None:
        """One paragraph."""
        text = value if isinstance(value, Text) else self.styled((value, style))
        self.put(self.hung(text, indent, indent if further is None else further, self.width))

    def put(self, text: Text) -> None:
        """`text` as it is: its lines are broken already, or must not be."""
        self.console.print(text, soft_wrap=True)

    def beside(self, name: str, style: str, text: Text, at: int, indent: int = 0) -> None:
        """A paragraph that begins in column `at`, with a name to its left, or above it where there is no room."""
        left = Text(" " * indent).append(self.safe(name), style)
        if self.width - at < LEAST:
            if name.strip():
                self.line(left.plain.strip(), style, indent=min(indent, 1))
            self.line(text, indent=min(indent, 1) + 1)
            return
        first, *others = self.lines(text, self.width - at) or [Text()]
        left.append(" " * max(1, at - left.cell_len))
        whole = Text("\n").join([left.append_text(first), *(Text(" " * at).append_text(o) for o in others)])
        whole.rstrip()
        self.put(whole)

    def row(self, cells: Sequence[Text], widths: Sequence[int], right: frozenset[int] = frozenset()) -> None:
        """Cells side by side in columns of `widths`, those of `right` right-aligned; what is too long takes lines."""
        columns = [self.lines(cell, width) for cell, width in zip(cells, widths, strict=True)]
        for at in range(max(map(len, columns), default=0)):
            made = Text()
            for i, (lines, width) in enumerate(zip(columns, widths, strict=True)):
                cell = lines[at] if at < len(lines) else Text()
                blank = " " * max(0, width - cell.cell_len)
                made.append(" " * (GAP if i else 0))
                made.append_text(Text(blank).append_text(cell) if i in right else cell.append(blank))
            made.rstrip()
            self.put(made)

    def command(self, words: str, indent: int = 0) -> None:
        r"""A command for a shell; where it is too long, lines end in " \", so that it can be copied whole."""
        indent = min(indent, self.width // 8)
        lines, here = [], " " * indent
        for word in _WORD.findall(self.exact(words)):
            if here.strip() and cell_len(f"{here} {word}") + 2 > self.width:
                lines.append(f"{here} \\")
                here = " " * (indent + 2)
            here = f"{here} {word}" if here.strip() else here + word
        self.put(Text("\n".join([*lines, here])))

    def path(self, name: str, path: Any, at: int = 0, indent: int = 0) -> None:
        """A path in one piece, behind a name where both fit, else below it."""
        shown = Text(self.exact(path))
        left = Text(" " * indent).append(self.safe(name), "bold" if name else "")
        if name:
            left.append(" " * max(1, at - left.cell_len))
            if left.cell_len + shown.cell_len > self.width:
                left.rstrip()
                self.put(left)
                left = Text(" " * min(2, self.width // 8))
        self.put(left.append_text(shown))

    def written(self, files: Sequence[Any]) -> None:
        """What was written, a path a line; nothing when nothing was."""
        if files:
            self.blank()
            self.line("Written", "bold")
            for path in files:
                self.path("", path, indent=min(2, self.width // 12))

    def warnings(self, said: Sequence[str], more_in: str) -> None:
        """The first of them under a heading, and where the others are; nothing when there are none."""
        if not said:
            return
        self.blank()
        self.line("Warnings", "bold yellow")
        for warning in said[:MAX_WARNINGS]:
            self.line(f"- {warning}", indent=2, further=4)
        if len(said) > MAX_WARNINGS:
            self.line(f"- and {len(said) - MAX_WARNINGS} more in {more_in}", indent=2)

    def blank(self) -> None:
        """An empty line."""
        self.console.print()
