"""DINOv3's own names, put under those of timm's `Eva`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from repdiag.encoders.hints import Hint, Hints
from repdiag.encoders.translations import Shape, Source
from repdiag.encoders.translations.naming import innermost, renamed, rules
from repdiag.errors import CheckpointError

if TYPE_CHECKING:
    import torch

NAME = "DINOv3's own names"
MARK = "storage_tokens"
RENAMED = rules(
    (r"(blocks\.\d+\.)ls([12])\.gamma", r"\1gamma_\2"),
    (r"(blocks\.\d+\.mlp\.)w1\.(weight|bias)", r"\1fc1_g.\2"),
    (r"(blocks\.\d+\.mlp\.)w2\.(weight|bias)", r"\1fc1_x.\2"),
    (r"(blocks\.\d+\.mlp\.)w3\.(weight|bias)", r"\1fc2.\2"),
)
BIAS = re.compile(r"(blocks\.\d+\.attn\.)qkv\.bias")
CLASS_TOKEN = Hint(True, "DINOv3's features are the class token (timm's network averages the patches)")


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """timm's names wherever there are storage tokens; the bias of the queries and values is taken apart.

    The periods of the rotary encoding stay aside: timm computes them in float32, while the released files
    hold them rounded to bfloat16.
    """
    prefixes = [name[: -len(MARK)] for name in shapes if name == MARK or name.endswith(f".{MARK}")]
    if not prefixes:
        return None
    found: dict[str, Source] = {}
    for name, shape in shapes.items():
        start = innermost(name, prefixes)
        if start is None:
            found[name] = Source(shape, (name,))
        else:
            found |= _one(start, name[len(start) :], shape, shapes)
    return found


def hints(shapes: Mapping[str, Shape]) -> Hints:
    """DINOv3's own network among those of equal tensors, and its own feature."""
    return Hints(family="dinov3", class_token=CLASS_TOKEN)


def _one(start: str, name: str, shape: Shape, shapes: Mapping[str, Shape]) -> dict[str, Source]:
    """What becomes of one tensor of the network under `start`."""
    full = start + name
    if name == MARK:
        return {start + "reg_token": Source(shape, (full,))}
    if name.endswith(".qkv.bias_mask"):
        return {}  # part of the bias
    bias = BIAS.fullmatch(name)
    if bias and shapes.get(full + "_mask") == shape and len(shape) == 1 and shape[0] % 3 == 0:
        third, both = (shape[0] // 3,), (full, full + "_mask")
        at = start + bias[1]
        return {at + "q_bias": Source(third, both, _third(0)), at + "v_bias": Source(third, both, _third(2))}
    return {start + renamed(name, RENAMED): Source(shape, (full,))}


def _third(number: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The queries' (0) or the values' (2) part of the bias, as the mask leaves it."""

    def part(bias: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        parts = (bias * mask).chunk(3)
        if not bool((parts[1] == 0).all()):  # NaN, the mask's untrained state, is refused too
            raise CheckpointError(
                "The mask of DINOv3's qkv bias leaves a bias for the keys, for which timm's network has no place",
                do="Load the official release of the weights",
            )
        return parts[number]

    return part
