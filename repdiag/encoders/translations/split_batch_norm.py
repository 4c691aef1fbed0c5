"""lightly's SplitBatchNorm keeps the statistics of several splits of a batch in one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from repdiag.encoders.translations import Shape, Source

if TYPE_CHECKING:
    import torch

NAME = "the splits of SplitBatchNorm averaged"


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """One mean and variance a channel: the splits' average, which lightly takes for evaluation too."""
    found, averaged = {}, False
    for name, shape in shapes.items():
        start, _, last = name.rpartition(".")
        channels = shapes.get(f"{start}.weight", ())
        together = last in ("running_mean", "running_var") and len(shape) == len(channels) == 1
        if together and channels[0] and shape[0] > channels[0] and shape[0] % channels[0] == 0:
            found[name] = Source(channels, (name,), _average(channels[0]))
            averaged = True
        else:
            found[name] = Source(shape, (name,))
    return found if averaged else None


def _average(channels: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda splits: splits.view(-1, channels).mean(dim=0)
