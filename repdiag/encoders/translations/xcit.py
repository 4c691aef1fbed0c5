"""XCiT under its authors' names, which DINO's XCiT files have too, put under timm's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from repdiag.encoders.translations import Shape, Source

if TYPE_CHECKING:
    import torch

NAME = "XCiT's own names"
POSITION = re.compile(r"((?:.*\.)?)pos_embeder\.(.+)")
TOGETHER = re.compile(r"((?:.*\.)?cls_attn_blocks\.\d+\.attn\.)qkv\.(weight|bias)")


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """timm's names: pos_embed, and the class attention's queries, keys and values in three matrices."""
    found: dict[str, Source] = {}
    for name, shape in shapes.items():
        position, together = POSITION.fullmatch(name), TOGETHER.fullmatch(name)
        if position:
            found[f"{position[1]}pos_embed.{position[2]}"] = Source(shape, (name,))
        elif together and shape and shape[0] % 3 == 0:
            third = (shape[0] // 3, *shape[1:])
            for number, letter in enumerate("qkv"):
                source = Source(third, (name,), _third(number))
                found[f"{together[1]}{letter}.{together[2]}"] = source
        else:
            found[name] = Source(shape, (name,))
    return found if found.keys() != shapes.keys() else None


def _third(number: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda together: together.chunk(3)[number]
