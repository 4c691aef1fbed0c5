"""Several processes as one: batches gathered with their gradients, sums over all.

With one process every function gives back what it got.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def gather(own: Tensor) -> Tensor:
    """The rows (n, ...) of all processes, (count * n, ...), in rank order and with gradient to every one's own.

    The backward pass sums the gradients that all processes have for a row, so that with the same loss everywhere and
    gradients averaged over processes (DistributedDataParallel), parameters get the loss's gradient exactly.
    """
    if count() == 1:
        return own
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(own.contiguous()))  # type: ignore[no-untyped-call]


def total(own: Tensor) -> Tensor:
    """The sum over all processes, without gradient."""
    if count() == 1:
        return own
    summed = own.detach().clone()
    dist.all_reduce(summed)
    return summed
