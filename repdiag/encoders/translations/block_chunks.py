"""DINOv2 trained with FSDP keeps its blocks in chunks: blocks.CHUNK.NUMBER. instead of blocks.NUMBER."""

from __future__ import annotations

import re
from collections.abc import Mapping

from repdiag.encoders.translations import Shape, Source

NAME = "DINOv2's block chunks"
CHUNKED = re.compile(r"((?:.*\.)?blocks\.)\d+\.(\d+\..*)")


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """Blocks under their own numbers, which count through all chunks; None when that makes two tensors one."""
    found: dict[str, Source] = {}
    for name, shape in shapes.items():
        chunked = CHUNKED.fullmatch(name)
        plain = chunked[1] + chunked[2] if chunked else name
        if plain in found:
            return None
        found[plain] = Source(shape, (name,))
    return found if found.keys() != shapes.keys() else None
