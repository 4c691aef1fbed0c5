"""Which of a folder's tensors, and which of their elements, each tensor of a transformers model is made of.

transformers renames the tensors of its earlier versions, and joins or splits some; it does not say which. So it is
given numbered tensors of the same shapes, and what it makes of them is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from repdiag.checkpoints import TensorInfo
from repdiag.encoders.translations import Source

BASE = 4096  # positions are told in two digits of it: float32 has every whole number to 2^24
FIRST = 1000  # the first tensor's number; initial values are smaller

Fill = Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]


def learned(fill: Fill, infos: Mapping[str, TensorInfo]) -> dict[str, Source]:
    """The sources of the network's tensors, by its names. `fill` makes the network's tensors of the file's.

    Tensors that are no rearrangement of the file's are left out. Takes three times what `fill` takes.
    """
    names = list(infos)
    low, high = {}, {}
    numbers = {name: _filled_with(infos[name], FIRST + number) for number, name in enumerate(names)}
    for name, info in infos.items():
        order = torch.arange(numbers[name].numel()).view(info.shape)
        low[name] = (order % BASE).to(numbers[name].dtype)
        high[name] = (order // BASE).to(numbers[name].dtype)
    which, lower, upper = fill(numbers), fill(low), fill(high)
    found = {}
    for own, tensor in which.items():
        if own not in lower or own not in upper:
            continue
        number = tensor.double() - FIRST
        if not torch.equal(number, number.round()) or bool(((number < 0) | (number >= len(names))).any()):
            continue
        position = (upper[own].double() * BASE + lower[own].double()).round().long()
        source = _source(number.long(), position, names, infos)
        if source is not None:
            found[own] = source
    return found


def _filled_with(info: TensorInfo, value: int) -> torch.Tensor:
    dtype = getattr(torch, info.dtype)
    kind = torch.float32 if dtype.is_floating_point else torch.int64
    return torch.full(info.shape, value, dtype=kind)


def _source(
    number: torch.Tensor, position: torch.Tensor, names: list[str], infos: Mapping[str, TensorInfo]
) -> Source | None:
    """The source of a tensor whose elements are those at `position` of the tensors `number`."""
    shape = tuple(number.shape)
    parts = sorted(set(number.reshape(-1).tolist()))
    sizes = [int(torch.Size(infos[names[n]].shape).numel()) for n in parts]
    places = torch.empty_like(position)
    begin = 0
    for part, size in zip(parts, sizes, strict=True):
        inside = number == part
        if bool(((position[inside] < 0) | (position[inside] >= size)).any()):
            return None
        places[inside] = position[inside] + begin
        begin += size
    involved = tuple(names[n] for n in parts)
    straight = torch.equal(places.reshape(-1), torch.arange(begin))
    if len(parts) == 1 and straight and tuple(infos[involved[0]].shape) == shape:
        return Source(shape, involved)

    def make(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.cat([tensor.reshape(-1) for tensor in tensors])[places]

    return Source(shape, involved, make)
