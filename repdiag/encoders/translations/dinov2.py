"""DINOv2's own names for registers and SwiGLU layers, put under timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from repdiag.encoders.translations import Shape, Source

if TYPE_CHECKING:
    import torch

NAME = "DINOv2's own names"
PACKED = re.compile(r"((?:.*\.)?mlp\.)(w12|w3)\.(weight|bias)")
TIMM = {"w12": "fc1", "w3": "fc2"}


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """timm's names: reg_token, and mlp.fc1 and fc2 for the packed w12 and w3.

    timm adds no position to the class token of a network with registers: DINOv2's goes into the token itself,
    the sum being the same numbers.
    """
    found = {}
    for name, shape in shapes.items():
        packed = PACKED.fullmatch(name)
        if packed and f"{packed[1]}w12.weight" in shapes:
            found[f"{packed[1]}{TIMM[packed[2]]}.{packed[3]}"] = Source(shape, (name,))
        else:
            found[name] = Source(shape, (name,))
    for name in shapes:
        if name.rpartition(".")[2] == "register_tokens":
            _registers(name[: -len("register_tokens")], shapes, found)
    return found if found.keys() != shapes.keys() else None


def _registers(prefix: str, shapes: Mapping[str, Shape], found: dict[str, Source]) -> None:
    token, position = shapes.get(prefix + "cls_token", ()), shapes.get(prefix + "pos_embed", ())
    if len(token) != 3 or len(position) != 3 or position[1] < 2 or token[2] != position[2]:
        return
    found[prefix + "reg_token"] = found.pop(prefix + "register_tokens")
    both = (prefix + "cls_token", prefix + "pos_embed")
    found[both[0]] = Source(token, both, _first)
    found[both[1]] = Source((1, position[1] - 1, position[2]), both[1:], _others)


def _first(token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    return token + position[:, :1]


def _others(position: torch.Tensor) -> torch.Tensor:
    return position[:, 1:]
