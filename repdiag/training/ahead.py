"""Work done ahead in threads, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Task = Callable[[], None]


def in_order(
    pool: ThreadPoolExecutor, jobs: Iterable[tuple[T, Sequence[Task]]], ahead: Callable[[T], int]
) -> Iterator[T]:
    """Each job's thing once its tasks are done; of the later jobs `ahead`, 1 to 4, are begun meanwhile."""
    waiting: deque[tuple[T, list[tuple[Future[None], Task]]]] = deque()
    for thing, tasks in jobs:
        waiting.append((thing, [(pool.submit(task), task) for task in tasks]))
        if len(waiting) > max(1, min(4, ahead(thing))):
            yield _done(*waiting.popleft())
    while waiting:
        yield _done(*waiting.popleft())


def _done(thing: T, tasks: Sequence[tuple[Future[None], Task]]) -> T:
    """Wait for the tasks, and do those that nobody has begun: then they are the bottleneck."""
    running = []
    for future, task in tasks:
        if future.cancel():
            task()
        else:
            running.append(future)
    for future in running:
        future.result()
    return thing
