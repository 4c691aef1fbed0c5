"""The views of each part of each step, on the device, one part ahead of the step that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from repdiag.training.augment import augmentations, small_side, weak
from repdiag.training.draws import Augmentation, Draws, draw
from repdiag.training.job import TrainJob
from repdiag.training.schedule import Phase, Schedule
from repdiag.training.seeds import seed_of
from repdiag.training.sight import Sight


@dataclass(frozen=True, eq=False)
class Part:
    """`rows` are the places of a part's images in all processes, `views` and `weak` those of this process's."""

    rows: Tensor
    views: list[Tensor]
    weak: Tensor | None


class Feed:
    """Makes parts. `weak_view`: the regularizer wants one view more.

    Views are drawn for the global batch, on the CPU, from the seed and the step's number; each process takes its rows.
    So one process and several see the same views, and a run goes on without a stored random state.
    """

    def __init__(self, job: TrainJob, sight: Sight, plan: Schedule, weak_view: bool) -> None:
        self.job, self.sight, self.plan = job, sight, plan
        how, config = job.encoder.preprocessing, job.config
        small = small_side(job.encoder.module, how) if config.views > 2 else None
        self.how: tuple[Augmentation, ...] = augmentations(config, how, small)
        self.weak = weak(how) if weak_view else None

    def parts(self, phase: Phase, start: int, rows: Tensor) -> Ahead:
        """Those of the steps from number `start` on whose global batches are `rows` (steps, B)."""
        return Ahead(self._parts(phase, start, rows))

    def _parts(self, phase: Phase, start: int, rows: Tensor) -> Iterator[Part]:
        slices = list(self.plan.slices())
        squares = self.job.images.batches(one[own] for one in rows for _, own in slices)
        for step, batch in enumerate(rows, start):
            draws, weak_draws = self._draw(phase, step)
            for part, own in slices:
                pixels = next(squares).to(self.sight.device, non_blocking=True)
                views = self.sight.views(pixels, [d.rows(own) for d in draws], self.how)
                seen = None
                if weak_draws is not None and self.weak is not None:
                    (seen,) = self.sight.views(pixels, [weak_draws.rows(own)], [self.weak])
                yield Part(batch[part], views, seen)

    def _draw(self, phase: Phase, step: int) -> tuple[list[Draws], Draws | None]:
        """For the global batch; the weak view has a generator of its own, so that all arms see the same views."""
        seed, batch = self.job.config.seed, self.plan.batch
        generator = torch.Generator().manual_seed(seed_of(seed, "views", phase, step))
        draws = [draw(batch, how, generator) for how in self.how]
        if self.weak is None:
            return draws, None
        generator.manual_seed(seed_of(seed, "weak view", phase, step))
        return draws, draw(batch, self.weak, generator)


class Ahead:
    """An iterator of parts whose next one can be made early: while an accelerator still works on the last one."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._made: list[Part] = []

    def prepare(self) -> None:
        """Make the next part now, if there is one and it is not made yet."""
        if not self._made:
            self._made.extend(part for part in [next(self._parts, None)] if part is not None)

    def __next__(self) -> Part:
        return self._made.pop() if self._made else next(self._parts)

    def close(self) -> None:
        """Let go of what is being read."""
        self._made.clear()
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()
