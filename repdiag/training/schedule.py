"""How the images are divided into epochs, steps, parts of a step, and the rows of each process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from repdiag.errors import DataError, UsageError
from repdiag.training.config import TuneConfig
from repdiag.training.seeds import seed_of

Phase = Literal["heads", "train"]
"""First new heads alone, then everything."""


@dataclass(frozen=True)
class Schedule:
    """Steps of `batch` images each, passed in `parts` parts that `processes` processes share.

    Only full batches: a last, smaller one would upset batch norm and the number of negatives. Which images they
    leave out changes from epoch to epoch. Order depends on the seed, the phase and the epoch alone.
    """

    images: int
    batch: int
    parts: int
    processes: int
    rank: int
    epochs: int
    head_steps: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return self.images // self.batch

    @property
    def part(self) -> int:
        """Images whose losses are computed together."""
        return self.batch // self.parts

    @property
    def own(self) -> int:
        """Images of a part that this process encodes."""
        return self.part // self.processes

    def steps(self, phase: Phase) -> int:
        """Steps of the whole phase."""
        return self.head_steps if phase == "heads" else self.epochs * self.per_epoch

    def rows(self, phase: Phase, start: int, stop: int) -> Tensor:
        """(stop - start, batch): the rows of the steps start .. stop - 1, which are of one epoch."""
        epoch, place = divmod(start, self.per_epoch)
        assert stop <= (epoch + 1) * self.per_epoch
        generator = torch.Generator().manual_seed(seed_of(self.seed, "order", phase, epoch))
        order = torch.randperm(self.images, generator=generator)
        return order[place * self.batch : (place + stop - start) * self.batch].view(-1, self.batch)

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """For each part of a batch: where it is in the batch, and where this process's rows of it are."""
        for number in range(self.parts):
            begin = number * self.part
            own = begin + self.rank * self.own
            yield slice(begin, begin + self.part), slice(own, own + self.own)


def schedule(config: TuneConfig, images: int, processes: int, rank: int, warm_up: bool) -> Schedule:
    """The steps of a run over `images` images; `warm_up`: there is something to train alone first.

    Fewer images than a batch are one batch. Raises UsageError where the batch cannot be divided, DataError where
    there are too few images for any.
    """
    unit = config.accumulate * processes
    if config.batch_size % unit:
        raise UsageError(
            f"{config.batch_size} images cannot be divided into {config.accumulate} part(s) for {processes} processes",
            do=f"Choose a --batch-size that is a multiple of {unit}",
        )
    batch = min(config.batch_size, images // unit * unit)
    if batch < max(2 * config.accumulate, unit):
        least = max(2 * config.accumulate, unit)
        raise DataError(
            f"There are {images} image(s) to train on, and a step needs {least} at least",
            do="Give more images, or a lower --accumulate",
        )
    per_epoch = images // batch
    heads = max(1, round(config.head_epochs * per_epoch)) if warm_up and config.head_epochs else 0
    return Schedule(images, batch, config.accumulate, processes, rank, config.epochs, heads, config.seed)
