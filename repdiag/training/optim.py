"""Optimizers, the learning rate over the steps, and weights that follow others slowly."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from repdiag.errors import UsageError
from repdiag.training.config import TuneConfig

_NO_DECAY = 1e-30
"""What LARS gets for a weight decay of 0, which lightly's takes for "do not adapt": it changes no float32 weight."""


def optimizer(config: TuneConfig, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
    """The optimizer of all parameters that learn in `modules`, each once, at the rate `config.lr`.

    Biases and the parameters of norms (ndim <= 1) have no weight decay, and under LARS no adaptation either: they
    move as under SGD. LARS is lightly's (You et al. 2017, eq. 6, trust coefficient 0.001): a weight w with
    gradient g moves by lr * 0.001 * |w| / (|g| + decay |w|) * (g + decay w), with momentum. **A step thus never
    changes a weight by more than about 0.001 lr / (1 - momentum) of its length, however large the gradient:
    a rate that suits SGD hardly moves anything.** AdamW has torch's betas and does not use `config.momentum`.

    Raises UsageError where nothing learns, or LARS is wanted without lightly.
    """
    learned = _learned(modules)
    if not learned:
        raise UsageError("Nothing is left to train: no parameter of the encoder or its heads learns")
    decay = config.weight_decay
    if config.optimizer == "lars":
        decay = decay or _NO_DECAY
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return _lars(groups, config)


def _learned(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Every parameter that learns, once, in the modules' order."""
    found: dict[int, nn.Parameter] = {}
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                found.setdefault(id(parameter), parameter)
    return list(found.values())


def _lars(groups: list[dict[str, Any]], config: TuneConfig) -> torch.optim.Optimizer:
    try:
        lars: Any = importlib.import_module("lightly.utils.lars")  # lightly has no types
    except ImportError as error:
        raise UsageError(
            "LARS is lightly's, which is not installed", do="pip install 'repdiag[tune]', or --optimizer sgd"
        ) from error
    made: torch.optim.Optimizer = lars.LARS(groups, lr=config.lr, momentum=config.momentum)
    return made


def rate(step: int, steps: int, warmup: int, peak: float, least: float) -> float:
    """The learning rate of `step`, counted from 0, of `steps` in all.

    It rises linearly, peak / warmup in the first step and `peak` in step number `warmup` - 1, then falls along half
    a cosine to `least` in the last step. Without a warm-up the first step has `peak`. A warm-up of more than half of
    the steps is cut to that half, so that a short training reaches its peak too. Raises ValueError for a step
    outside 0 .. steps - 1.
    """
    if not 0 <= step < steps:
        raise ValueError(f"there is no step {step} of {steps}")
    warmup = min(warmup, steps // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    top = max(warmup - 1, 0)
    if steps - 1 <= top:
        return peak
    return least + (peak - least) * (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all groups of `optimizer` this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def drift(slow: nn.Module, online: nn.Module, momentum: float) -> None:
    """slow <- momentum * slow + (1 - momentum) * online for all parameters; buffers are copied.

    The statistics of batch norms are buffers, and averages already. Both are of one architecture and on one device;
    raises ValueError where their names differ.
    """
    for kind in ("named_parameters", "named_buffers"):
        behind, ahead = dict(getattr(slow, kind)()), dict(getattr(online, kind)())
        if behind.keys() != ahead.keys():
            raise ValueError(f"the two networks differ in {sorted(behind.keys() ^ ahead.keys())[:3]}")
        if not behind:
            continue
        if kind == "named_parameters":
            # The tensors themselves, not parameters: the slow ones may be marked as learning.
            torch._foreach_lerp_(
                [p.detach() for p in behind.values()], [p.detach() for p in ahead.values()], 1 - momentum
            )
        else:
            torch._foreach_copy_(list(behind.values()), list(ahead.values()))


def momentum_at(start: float, progress: float, constant: bool = False) -> float:
    """A slow network's momentum: `start` at progress 0, along half a cosine to 1 at progress 1 (BYOL's schedule).

    `progress` is the share of training done, in [0, 1]; `constant` keeps `start`.
    """
    return start if constant else 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
