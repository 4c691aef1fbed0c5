"""What stops a run: numbers that are none, features that collapse, memory that is too small."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from repdiag.errors import InputError, ResourceError
from repdiag.kernels import spectrum
from repdiag.metrics.spectrum import rank_me
from repdiag.training.config import TuneConfig

LOOKED_AT = 2048
"""Training images, spread evenly, on which collapse is looked for."""
STILL = 1e-3
"""A feature is out of use when its standard deviation fell below this share of what it was before training."""


def check_finite(values: Mapping[str, float], norm: float, place: str, folder: Path) -> None:
    """Raise InputError when a term of the loss or the gradient's norm is not a number: before the step is taken."""
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if not wrong and math.isfinite(norm):
        return
    what = f"the loss ({', '.join(wrong)})" if wrong else "the gradient"
    raise InputError(
        f"Training diverged in {place}: {what} is no longer finite. The step was not taken",
        where=str(folder),
        do="Lower --lr or the regularizer's weights, set --clip 1, or take --precision float32, in another folder;"
        " the last good state is kept in this one",
    )


@dataclass(frozen=True)
class Before:
    """What the features were like before training: RankMe, and each one's standard deviation (D,) float64."""

    rank: float
    spread: Tensor


@dataclass(frozen=True)
class Health:
    """What they are like now: RankMe, and the share of features that varied before and still do."""

    rank: float
    usage: float


def before(features: Tensor) -> Before:
    """Of (n, D) features of the untouched encoder."""
    return Before(effective_rank(features), features.double().std(0, correction=0))


def health(features: Tensor, was: Before) -> Health:
    """Of (n, D) features of the same images now. Where no feature varied before, the usage is 1.

    The usage does not see features that became copies of each other, nor the rank ones that shrank together with all
    others; both are looked at.
    """
    varied = was.spread > 1e-6 * was.spread.max()
    if not bool(varied.any()):
        return Health(effective_rank(features), 1.0)
    spread = features.double().std(0, correction=0)
    kept = (spread > STILL * was.spread) & varied
    return Health(effective_rank(features), float(kept.sum() / varied.sum()))


def effective_rank(features: Tensor) -> float:
    """RankMe (Garrido et al. 2023) of rows of unit length, in float64; 0 where all rows are zero, not finite: 0."""
    rows = features.double()
    if not bool(rows.isfinite().all()):
        return 0.0
    unit = torch.nn.functional.normalize(rows, dim=1)
    found = rank_me(next(iter(spectrum.moments(unit.numpy(), 1).spectra(centered=False))))
    return found if math.isfinite(found) else 0.0


def collapse(now: Health, was: Before, config: TuneConfig) -> str:
    """In plain words what collapsed; "" when nothing did."""
    if now.rank < config.collapse_rank * was.rank:
        return f"collapse: the effective rank of the features fell from {was.rank:.1f} to {now.rank:.1f}"
    if now.usage < config.collapse_usage:
        return f"collapse: only {now.usage:.0%} of the features that varied before training still do"
    return ""


@contextlib.contextmanager
def memory_errors(device: torch.device, batch: int, parts: int) -> Iterator[None]:
    """A sentence for too little memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        said = str(error).lower()
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and "out of memory" not in said and "can't allocate" not in said:
            raise
        way = f" in {parts} parts" if parts > 1 else ""
        raise ResourceError(
            f"The memory of {device} is too small for training with batches of {batch} images{way}",
            do="Lower --batch-size, or pass a batch in more parts (--accumulate; negatives are then those of a part)",
        ) from error
