"""Batch norm over all processes, on the CPU too, where torch's own refuses.

A base loss on the global batch is that of one process only if batch norm sees the global batch as well.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from repdiag.errors import UsageError
from repdiag.objectives import processes

Network = TypeVar("Network", bound=nn.Module)


def synchronized(network: Network) -> Network:
    """`network` with every batch norm normalizing over the rows of all processes; the very same object.

    Each norm changes its class where it stands: parameters, buffers and their names stay, so that an optimizer, a
    state_dict and a reference from elsewhere go on to fit, and `plain` turns it back. With one process nothing
    happens. timm's norms with an activation are known; a batch norm with a forward pass of its own that nobody knows
    is a UsageError, before anything is changed.
    """
    if processes.count() == 1:
        return network
    norms = [(m, _class_for(m)) for m in network.modules() if isinstance(m, _BatchNorm)]
    for norm, kind in norms:
        if isinstance(norm, Synchronized):
            continue
        norm.__dict__.update(before=type(norm), process_group=norm.__dict__.get("process_group"))
        norm.__class__ = kind
    return network


def plain(network: Network) -> Network:
    """`network` with the batch norms that it had before `synchronized`; the very same object."""
    for norm in network.modules():
        if isinstance(norm, Synchronized):
            kind = norm.__dict__.pop("before")
            norm.__class__ = kind
            if not issubclass(kind, nn.SyncBatchNorm):
                del norm.process_group
    return network


def _class_for(norm: nn.Module) -> type[Synchronized]:
    from timm.layers.norm_act import BatchNormAct2d

    if isinstance(norm, Synchronized):
        return type(norm)
    if type(norm) is BatchNormAct2d:
        return SynchronizedAct
    if type(norm).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward):
        return Synchronized
    raise UsageError(
        f"The encoder's batch norm {type(norm).__name__} cannot be synchronized over processes",
        do="Train with one process, or with --batch-norm frozen",
    )


class Synchronized(nn.SyncBatchNorm):
    """Batch norm over all processes: torch's SyncBatchNorm on accelerators, the same in plain torch on the CPU.

    In training, x (n, C, ...) of this process is normalized by mean and (biased) variance per channel over all
    processes' rows; running statistics take the unbiased variance. In evaluation, and with one process, it is what
    the norm was (one without running statistics then sees the rows of its own process, as torch's does). Processes
    may have unequally many rows. Statistics are kept in float32 at least and put together from each process's own mean
    and sum of squared deviations (Chan et al. 1979), which does not cancel as sums of squares do. One collective
    forward, one backward.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(n, C, ...) -> the same shape and dtype."""
        if not self.training or processes.count() == 1:
            return _BatchNorm.forward(self, input)
        if input.device.type != "cpu":
            return super().forward(input)
        mean, variance, rows = _moments(input)
        self._remember(mean.detach(), variance.detach() * (rows / max(rows - 1, 1)))
        shape = (1, -1, *(1 for _ in range(input.ndim - 2)))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        y = (input - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            y = y + self.bias.view(shape)
        return y.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if factor is None:
                factor = 1 / float(self.num_batches_tracked)
        factor = 0.0 if factor is None else factor
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
            self.running_var.lerp_(variance.to(self.running_var.dtype), factor)


class SynchronizedAct(Synchronized):
    """timm's BatchNormAct2d over all processes: norm, drop, activation."""

    def forward(self, input: Tensor) -> Tensor:
        """(n, C, H, W) -> the same shape."""
        drop, act = (self.get_submodule(name) for name in ("drop", "act"))
        activated: Tensor = act(drop(super().forward(input)))
        return activated


def _moments(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean (C,) and biased variance (C,) over all processes' x (n, C, ...), and how many values each is of."""
    values = x.transpose(0, 1).flatten(1)
    values = values if values.dtype == torch.float64 else values.float()
    own = values.mean(1)
    deviations = (values - own[:, None]).square().sum(1)
    size = values.new_full((1,), values.shape[1])
    parts = processes.gather(torch.cat([size, own, deviations])[None])
    sizes, means, squares = torch.split(parts, [1, len(own), len(own)], dim=1)
    rows = float(sizes.detach().sum(dtype=torch.float64))
    mean = (sizes * means).sum(0) / rows
    return mean, (squares + sizes * (means - mean).square()).sum(0) / rows, rows
