"""Sentences about a file that got other weights: what was lost, what changed along, what is out of step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from repdiag.checkpoints.storages import same_bits
from repdiag.encoders.origin import Returned, Sources
from repdiag.encoders.prefixes import show

MAX_PARTS = 12


def rounding(state: Mapping[str, Tensor], back: Returned, sources: Sources) -> tuple[str, ...]:
    """For each type that is narrower than the weights: how far rounding moved them."""
    worst: dict[str, list[float]] = {}
    for name, made in back.made.items():
        dtype = back.tensors[sources[name].names[0]].dtype
        wanted = state[name].detach().cpu()
        if name in back.indirect or not dtype.is_floating_point or dtype.itemsize >= wanted.dtype.itemsize:
            continue
        largest = float(wanted.abs().max()) if wanted.numel() else 0.0
        gap = float((made.double() - wanted.double()).abs().max()) / largest if largest else 0.0
        worst.setdefault(str(dtype).removeprefix("torch."), []).append(gap)
    return tuple(
        f"{_counted(gaps)} stored as {kind}: rounding moved weights by up to {max(gaps):.1e} of the largest of"
        " their tensor"
        for kind, gaps in sorted(worst.items())
    )


def _counted(names: Sequence[object]) -> str:
    return "1 tensor is" if len(names) == 1 else f"{len(names):,} tensors are"


def indirect(names: Sequence[str]) -> tuple[str, ...]:
    """About tensors that are computed from the file's."""
    if not names:
        return ()
    return (
        f"{_counted(names)} computed from the file's by a sum, an average or a mask (first: {names[0]}): the file's"
        " were changed as little as gives them, up to rounding",
    )


def along(names: Sequence[str]) -> tuple[str, ...]:
    """About tensors that share numbers with the replaced ones."""
    if not names:
        return ()
    return (
        f"{_counted(names)} changed along, as they share their numbers with the replaced ones (first: {names[0]})",
    )


def copies(rest: Mapping[str, Tensor], name: str, before: Tensor) -> tuple[str, ...]:
    """About copies of the old weights in storages of their own; `name` and `before` are one replaced tensor."""
    found = [other for other, tensor in rest.items() if same_bits(tensor, before)]
    if not found:
        return ()
    places = ", ".join(show(_without_common_end(other, name)) for other in found)
    return (f"The weights from before are still in the file, as a copy: {places}",)


def _without_common_end(name: str, other: str) -> str:
    mine, theirs = name.split("."), other.split(".")
    while mine and theirs and mine[-1] == theirs[-1]:
        mine.pop()
        theirs.pop()
    return ".".join(mine)


def optimizer(rest: Sequence[str]) -> tuple[str, ...]:
    """About an optimizer's state, which belongs to the weights from before."""
    if not any(part.startswith("opt") for name in rest for part in name.split(".")[:2]):
        return ()
    return ("The optimizer's state in the file is that of the original training",)


def parts(names: Sequence[str], prefix: str) -> tuple[str, ...]:
    """The parts of the file that tensors belong to, and how many each has.

    They are as deep as the parts beside the backbone, or less deep where these would be many.
    """
    for depth in range(prefix.count(".") + 1, 0, -1):
        counts = Counter(".".join(name.split(".")[:depth]) for name in names)
        if len(counts) <= MAX_PARTS or depth == 1:
            return tuple(
                name if count == 1 else f"{name} ({count} tensors)" for name, count in counts.items()
            )
    return ()
