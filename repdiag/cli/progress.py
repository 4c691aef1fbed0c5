"""Progress on stderr: a bar with rate and remaining time on a terminal, a line now and then in a log."""

from __future__ import annotations

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


class ConsoleProgress:
    """Implements `repdiag.types.Progress`. Images have a bar each for what is done with them, all else shares one."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._step: dict[str, str] = {}
        self._logged: dict[str, float] = {}

    def __enter__(self) -> ConsoleProgress:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description:<24}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.fields[what]}"),
                console=Console(stderr=True),
                transient=True,
            )
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
        what = rest if group else step
        if self._bar is not None:
            if group not in self._tasks:
                self._tasks[group] = self._bar.add_task(title, total=total, rate="", what="")
            self._bar.update(self._tasks[group], completed=done, total=total, rate=rate, what=what)
            return
        if now - self._logged.get(group, -1e9) >= 10 or (done >= total and group in self._logged):
            self._logged[group] = now
            left = (
                f", {(total - done) * passed / (done - start):.0f} s left" if 0 < start < done < total else ""
            )
            tail = f" {what}" if what and done < total else ""
            print(f"{title}: {done}/{total}{tail} {rate}{left}".rstrip(), file=sys.stderr, flush=True)  # noqa: T201
