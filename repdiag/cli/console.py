"""The console for results: like rich's own, but what NO_COLOR and closed pipes ask for is done to the letter."""

from __future__ import annotations

import os

from rich.console import Console


def color() -> str | None:
    """What rich is told about colors: none where NO_COLOR is set to anything, not even bold, else what it finds.

    rich looks at FORCE_COLOR, TERM and whether a terminal reads.
    """
    return None if os.environ.get("NO_COLOR") else "auto"


class ResultConsole(Console):
    """Prints to stdout; raises BrokenPipeError where rich would exit with code 1."""

    def __init__(self) -> None:
        super().__init__(highlight=False, color_system=color())  # type: ignore[arg-type]

    def on_broken_pipe(self) -> None:
        """Called by rich when stdout is closed."""
        raise BrokenPipeError


def print_lines(*lines: str) -> None:
    """Lines on stdout, unbroken, with nothing in them for a terminal to obey and nothing that its encoding lacks."""
    import sys

    import typer

    from repdiag.foreign import visible

    for line in lines:
        typer.echo(visible(line, sys.stdout.encoding or "utf-8"))


def print_json(text: str) -> None:
    r"""A JSON document on stdout, alone. Characters that stdout's encoding lacks become JSON's own escapes (\u4e2d)."""
    import json
    import sys

    import typer

    text = text.rstrip("\n")
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # outside its strings a document is ASCII
        text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    typer.echo(text)
