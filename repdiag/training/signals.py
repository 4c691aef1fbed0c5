"""Being told to stop: noted at once, obeyed where nothing is half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """Whether somebody asked to stop (Ctrl-C, SIGTERM)."""

    asked: bool = False


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Inside, the first Ctrl-C or SIGTERM only sets `asked`; a second Ctrl-C interrupts as usual.

    In a thread other than the main one nothing can be listened to, and nothing is.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
