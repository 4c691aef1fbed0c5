"""Several processes as one: batches gathered with their gradients, sums over all.

With one process every function gives back what it got (`total` without its gradient). Every process must make the
same calls in the same order, as with all collectives; a call on one of them alone waits for ever.
"""

from __future__ import annotations

from typing import Any

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

    All processes give equally many rows. The backward pass sums the gradients that all processes have for a row, so
    that with the same loss everywhere and gradients averaged over processes (DistributedDataParallel), parameters get
    the loss's gradient exactly.
    """
    if count() == 1:
        return own
    gathered: Tensor = _Gathered.apply(own)
    return gathered


def total(own: Tensor) -> Tensor:
    """The sum over all processes, without gradient."""
    if count() == 1:
        return own.detach()
    summed = own.detach().clone()
    dist.all_reduce(summed)
    return summed


class _Gathered(torch.autograd.Function):
    """`gather`. torch.distributed.nn has one too, whose backward pass gloo may lack, and which is deprecated."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(count())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return total(grads[0].contiguous()).chunk(count())[rank()]
