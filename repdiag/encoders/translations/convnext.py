"""ConvNeXt under its authors' names (also DINOv3's ConvNeXts and V2), put under timm's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from repdiag.encoders.translations import Shape, Source
from repdiag.encoders.translations.naming import innermost, renamed, rules

if TYPE_CHECKING:
    import torch

NAME = "ConvNeXt's own names"
MARK = "downsample_layers.0.0.weight"
RULES = rules(
    (r"downsample_layers\.0\.(.+)", r"stem.\1"),
    (r"downsample_layers\.(\d+)\.(.+)", r"stages.\1.downsample.\2"),
    (r"stages\.(\d+)\.(\d+)\.dwconv\.(.+)", r"stages.\1.blocks.\2.conv_dw.\3"),
    (r"stages\.(\d+)\.(\d+)\.pwconv([12])\.(.+)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
    (r"stages\.(\d+)\.(\d+)\.grn\.gamma", r"stages.\1.blocks.\2.mlp.grn.weight"),
    (r"stages\.(\d+)\.(\d+)\.grn\.beta", r"stages.\1.blocks.\2.mlp.grn.bias"),
    (r"stages\.(\d+)\.(\d+)\.(.+)", r"stages.\1.blocks.\2.\3"),
    (r"norm\.(.+)", r"head.norm.\1"),
    (r"head\.(weight|bias)", r"head.fc.\1"),
)


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """timm's names for every network with downsampling layers of its own; V2's response norms become vectors."""
    starts = [name[: -len(MARK)] for name in shapes if name == MARK or name.endswith(f".{MARK}")]
    if not starts:
        return None
    found = {}
    for name, shape in shapes.items():
        start = innermost(name, starts)
        new = name if start is None else start + renamed(name[len(start) :], RULES)
        flat = ".mlp.grn." in new and ".grn." in name and len(shape) > 1
        found[new] = Source((math.prod(shape),), (name,), _flat) if flat else Source(shape, (name,))
    return found


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)
