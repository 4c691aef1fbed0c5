"""Threads that read and decode ahead of the forward pass. Pillow lets go of the interpreter lock while it works."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from repdiag.encoders import Preprocessing
from repdiag.extraction.images import Pixels, Undecodable, augment, decode, preprocess
from repdiag.store import Shape
from repdiag.types import ImageSource

_AHEAD_BYTES = 512 * 2**20
"""Decoded pixels that may wait for the forward pass, all batches together (two batches always may)."""


@dataclass
class Batch:
    """Decoded rows start..stop as (B, size, size, channels) uint8, and V views (V, m, ...) of some of them.

    The rows in `corrupt` are black. `retry` says that the system could not read some: unlike an image that is
    damaged, that may be otherwise the next time.
    """

    start: int
    images: torch.Tensor
    views: torch.Tensor
    corrupt: dict[int, str] = field(default_factory=dict)
    retry: bool = False


Tasks = list[tuple[Future[None], range]]


@dataclass(frozen=True)
class Loader:
    """Turns row ranges of `source` into batches, in order, decoding ahead in `workers` threads."""

    source: ImageSource
    how: Preprocessing
    shape: Shape
    seed: int
    workers: int
    pin: bool

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[Batch, None, None]:
        """One batch per (start, stop), in order; a bounded number of them is decoded ahead."""
        if not spans:
            return
        largest = max(stop - start for start, stop in spans)
        pixels = self.how.size**2 * self.how.channels
        ahead = max(2, min(16, _AHEAD_BYTES // (largest * pixels)))
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="repdiag-decode")
        try:
            waiting: deque[tuple[Batch, Tasks]] = deque()
            for span in spans:
                waiting.append(self._submit(pool, *span))
                if len(waiting) >= ahead:
                    yield self._finished(*waiting.popleft())
            while waiting:
                yield self._finished(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, start: int, stop: int) -> tuple[Batch, Tasks]:
        span = self.shape.span(start, stop)
        side, channels = self.how.size, self.how.channels
        batch = Batch(
            start,
            torch.zeros(stop - start, side, side, channels, dtype=torch.uint8, pin_memory=self.pin),
            torch.zeros(
                self.shape.views,
                span.stop - span.start,
                side,
                side,
                channels,
                dtype=torch.uint8,
                pin_memory=self.pin,
            ),
        )
        # A few images per task: one each would cost as much in bookkeeping as a small image in decoding.
        size = max(1, min(16, (stop - start) // (2 * self.workers)))
        parts = [range(first, min(first + size, stop)) for first in range(start, stop, size)]
        return batch, [(pool.submit(self._decode, batch, part), part) for part in parts]

    def _finished(self, batch: Batch, tasks: Tasks) -> Batch:
        """Wait for a batch, and decode what nobody has begun meanwhile: then decoding is the bottleneck."""
        running = []
        for task, part in tasks:
            if task.cancel():
                self._decode(batch, part)
            else:
                running.append(task)
        for task in running:
            task.result()
        return batch

    def _decode(self, batch: Batch, rows: range) -> None:
        images: Pixels = batch.images.numpy()
        views: Pixels = batch.views.numpy()
        span = self.shape.span(batch.start, batch.start + len(images))
        wanted = {int(row): place for place, row in enumerate(self.shape.view_rows[span])}
        for row in rows:
            try:
                image = decode(self.source.read(row))
                images[row - batch.start] = preprocess(image, self.how)
            except OSError as error:
                batch.corrupt[row] = f"cannot be read: {error.strerror or error}"
                # Without an errno it is the source that refuses (damage, too large): the same the next time.
                batch.retry = batch.retry or error.errno is not None
                continue
            except Undecodable as error:
                batch.corrupt[row] = str(error)
                continue
            if row in wanted:
                # Seeded by sample, so that a view does not depend on the order, the batches or a restart.
                rng = np.random.default_rng((self.seed, row))
                for view in views:
                    view[wanted[row]] = augment(image, self.how, rng)


def default_workers(device: torch.device) -> int:
    """Decoding threads: half of the cores where the forward pass needs them too, else all, up to 16.

    More than half make both slower: torch's own threads spin while they wait for one another.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores // 2 if device.type == "cpu" else cores))
