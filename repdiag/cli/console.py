"""The console for results: like rich's own, but a reader that goes away early is an ordinary end."""

from __future__ import annotations

from rich.console import Console


class ResultConsole(Console):
    """Prints to stdout; raises BrokenPipeError where rich would exit with code 1."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        """Called by rich when stdout is closed."""
        raise BrokenPipeError
