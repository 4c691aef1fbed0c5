"""ViTs of MMSelfSup and MMPretrain, whose blocks are layers and whose MLP is an FFN, under timm's names."""

from __future__ import annotations

from collections.abc import Mapping

from repdiag.encoders.translations import Shape, Source
from repdiag.encoders.translations.naming import innermost, renamed, rules

NAME = "OpenMMLab's names of a ViT"
MARK = "patch_embed.projection.weight"
RULES = rules(
    (r"patch_embed\.projection\.(.+)", r"patch_embed.proj.\1"),
    (r"layers\.(\d+)\.(?:ln|norm)([12])\.(.+)", r"blocks.\1.norm\2.\3"),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"layers\.(\d+)\.ffn\.layers\.1\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (r"layers\.(\d+)\.attn\.gamma1\.weight", r"blocks.\1.ls1.gamma"),
    (r"layers\.(\d+)\.ffn\.gamma2\.(?:weight|scale)", r"blocks.\1.ls2.gamma"),
    (r"layers\.(\d+)\.(.+)", r"blocks.\1.\2"),
    (r"(?:ln|norm)1\.(.+)", r"norm.\1"),
)


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """timm's names for every network with a projection in its patch embedding and an FFN in its layers."""
    starts = [
        name[: -len(MARK)]
        for name in shapes
        if name.endswith(MARK) and f"{name[: -len(MARK)]}layers.0.ffn.layers.0.0.weight" in shapes
    ]
    if not starts:
        return None
    found = {}
    for name, shape in shapes.items():
        start = innermost(name, starts)
        new = name if start is None else start + renamed(name[len(start) :], RULES)
        found[new] = Source(shape, (name,))
    return found
