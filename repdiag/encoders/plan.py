"""Networks that are read off a checkpoint's names and shapes rather than known by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from repdiag.encoders.hints import Hints
from repdiag.encoders.sketch import Shape

if TYPE_CHECKING:
    from torch import nn


class Plan(Protocol):
    """What the tensors under one prefix say about a network of some family; equal plans are equal networks.

    Making one builds nothing and imports no torch; only `build` does.
    """

    @property
    def name(self) -> str:
        """The architecture for people, with all that tells it from others of the family."""
        ...

    @property
    def usual(self) -> bool:
        """Whether it computes what other networks of these shapes do as a rule."""
        ...

    @property
    def dim(self) -> int:
        """D of the pooled output."""
        ...

    @property
    def input(self) -> Mapping[str, Any]:
        """The fields of its Preprocessing."""
        ...

    @property
    def readings(self) -> tuple[str, ...]:
        """What shapes could not tell but the user or the layout did, and which was taken."""
        ...

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What shapes could not tell and nobody did: each a sentence with the option that changes it."""
        ...

    @property
    def heeds(self) -> frozenset[str]:
        """The command-line options that it listens to."""
        ...

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of every learned tensor."""
        ...

    def build(self) -> nn.Module:
        """The network, on the current default device: (B, C, H, W) -> (B, D)."""
        ...


Reader = Callable[[str, Mapping[str, Shape], Hints], Plan | None]
"""Reads a plan off the tensors under a prefix; None when what is there is not of the family."""


def readers() -> tuple[tuple[str, Reader], ...]:
    """For each family the end of a name that only its networks have, and its reader."""
    from repdiag.encoders import convnet_plan, resnet_plan, vit_plan

    return (
        (resnet_plan.ANCHOR, resnet_plan.read),
        (vit_plan.ANCHOR, vit_plan.read),
        *((anchor, convnet_plan.read) for anchor in convnet_plan.ANCHORS),
    )


def read_plans(shapes: Mapping[str, Shape], hints: Hints) -> list[Plan]:
    """Every plan that can be read anywhere in the checkpoint, each once."""
    found: list[Plan] = []
    for anchor, read in readers():
        ends = "." + anchor
        prefixes = {n[: -len(anchor)] for n in shapes if n == anchor or n.endswith(ends)}
        for prefix in sorted(prefixes):
            plan = read(prefix, shapes, hints)
            if plan is not None and plan not in found:
                found.append(plan)
    return found
