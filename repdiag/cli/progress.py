"""Progress on stderr: a bar with rate and remaining time on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

UNITS = {
    "embed": ("Embedding images", "images"),
    "read": ("Reading images", "images"),
    "train": ("Training", "images"),
    "": ("Measuring", "steps"),
}
"""By the first word of a step: what it is called, and what is counted."""
EVERY = 10.0
"""Seconds between two lines of a log."""
WIDE, NARROW = 100, 60
"""Columns from which the bar names the step, and below which it says the percentage alone."""


def live() -> bool:
    """Whether stderr is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class ConsoleProgress:
    """Implements `repdiag.types.Progress`. Images have a bar each for what is done with them, all else shares one.

    On a terminal the bars go away when the work is done. Elsewhere (a pipe, a CI log, TERM=dumb) there are lines
    without control characters: one when a kind of work begins, at most one every 10 seconds, and one when it ends.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and live()
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._step: dict[str, str] = {}
        self._logged: dict[str, float] = {}

    def __enter__(self) -> ConsoleProgress:
        if self._live:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                ProgressColumn,
                TaskProgressColumn,
                TextColumn,
                TimeRemainingColumn,
            )

            from repdiag.cli.console import color

            console = Console(stderr=True, color_system=color(), highlight=False)  # type: ignore[arg-type]
            columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
            if console.width >= NARROW:
                columns += [
                    BarColumn(bar_width=None),
                    MofNCompleteColumn(),
                    TextColumn("{task.fields[rate]}", markup=False),
                    TimeRemainingColumn(),
                ]
            else:
                columns.append(TaskProgressColumn())
            if console.width >= WIDE:
                columns.append(TextColumn("{task.fields[what]}", style="dim", markup=False))
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` units of `step` are finished."""
        if self._quiet:
            return
        from repdiag.foreign import visible

        first_word, _, rest = step.partition(" ")
        group = first_word if first_word in UNITS else ""
        title, unit = UNITS[group]
        now = time.monotonic()
        if step != self._step.get(group) and group:  # other images, or the same by another encoder
            self._began.pop(group, None)
        self._step[group] = step
        first, start = self._began.setdefault(group, (now, done))
        passed = now - first
        rate = f"{(done - start) / passed:,.0f} {unit}/s" if group and passed > 0.5 and done > start else ""
        what = visible(rest if group else step, sys.stderr.encoding or "utf-8")
        if self._bar is not None:
            if group not in self._tasks:
                self._tasks[group] = self._bar.add_task(title, total=total, rate="", what="")
            self._bar.update(self._tasks[group], completed=done, total=total, rate=rate, what=what)
            return
        if now - self._logged.get(group, -1e9) >= EVERY or (done >= total and group in self._logged):
            self._logged[group] = now
            share = f" ({100 * done // total}%)" if 0 < done < total else ""
            left = f"{(total - done) * passed / (done - start):,.0f} s left" if start < done < total else ""
            parts = [f"{title}: {done:,}/{total:,}{share}", what if done < total else "", rate, left]
            print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)  # noqa: T201
