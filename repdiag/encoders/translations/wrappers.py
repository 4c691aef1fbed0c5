"""FSDP, activation checkpointing and torch.compile put path components inside a network's names, not only before."""

from __future__ import annotations

from collections.abc import Mapping

from repdiag.encoders.prefixes import WRAPPERS
from repdiag.encoders.translations import Shape, Source

NAME = "wrappers inside the names"
INSIDE = WRAPPERS - {"module"}  # a network may have a part of that name


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """The checkpoint without those components; None when there are none, or two names would become one."""
    found = {}
    for name, shape in shapes.items():
        plain = ".".join(part for part in name.split(".") if part not in INSIDE)
        if plain in found:
            return None
        found[plain] = Source(shape, (name,))
    return found if found.keys() != shapes.keys() else None
