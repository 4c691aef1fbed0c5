"""Gradients over processes, and their norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from repdiag.objectives import processes


def averaged(learned: Sequence[nn.Parameter], asked: bool, device: torch.device) -> bool:
    """Bring every gradient to its mean over processes, in one collective; returns whether any was asked to stop.

    Not DistributedDataParallel: a step passes several views and parts before its one exchange, heads and
    regularizers are called by other methods than `forward`, and the loss has collectives of its own, whose order
    with DDP's buckets nothing would keep. The cost: no overlap with the backward pass, and the gradients once more
    in memory.
    """
    if processes.count() == 1:
        return asked
    gradients = [p.grad for p in learned if p.grad is not None]
    flag = torch.full((1,), float(asked), device=device)
    flat = torch.cat([*(g.flatten() for g in gradients), flag])
    dist.all_reduce(flat)
    flat /= processes.count()
    place = 0
    for gradient in gradients:
        gradient.copy_(flat[place : place + gradient.numel()].view_as(gradient))
        place += gradient.numel()
    return bool(flat[-1] > 0)


def clipped(gradients: Sequence[Tensor], most: float) -> Tensor:
    """The norm of all gradients together, which are then scaled to `most` where it is larger (0: never).

    Not finite where one of them is not; then nothing useful is left of them.
    """
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))
    if most:
        torch._foreach_mul_(list(gradients), (most / (norm + 1e-6)).clamp(max=1.0))
    return norm
