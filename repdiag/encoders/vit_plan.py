"""Vision transformers with timm's names in any size, read off a checkpoint's names and shapes.

How many heads the attention has no shape can tell: `Hints` may; else 64 channels a head are assumed, as in
every ViT of the papers, and said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repdiag.encoders.hints import Hints
from repdiag.encoders.sketch import Shape

if TYPE_CHECKING:
    from torch import nn

ANCHOR = "patch_embed.proj.weight"
HEAD_WIDTH = 64
MAX_DEPTH = 256


@dataclass(frozen=True)
class ViTPlan:
    """What a checkpoint's tensors say about a ViT of timm's `VisionTransformer`.

    `grid` is the side of the square of patches that the position embeddings are for; these are added to the
    class and register tokens too unless `patches_only`. `norm` is norm, fc_norm or "" (no final norm).
    """

    channels: int
    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    grid: int
    class_token: bool
    registers: int
    patches_only: bool
    qkv_bias: bool
    qk_norm: bool
    layer_scale: bool
    gated: bool
    pre_norm: bool
    norm: str
    readings: tuple[str, ...] = field(default=(), compare=False)
    assumptions: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """For instance vit-384x12/16 (6 heads, 224 pixels)."""
        parts = [f"{self.heads} heads", f"{self.grid * self.patch} pixels"]
        parts += [f"{self.registers} registers"] * bool(self.registers)
        parts += ["no class token"] * (not self.class_token)
        return f"vit-{self.width}x{self.depth}/{self.patch} ({', '.join(parts)})"

    @property
    def heeds(self) -> frozenset[str]:
        """The options that say what shapes cannot."""
        return frozenset({"--heads"})

    @property
    def usual(self) -> bool:
        """Whether the heads have the usual width."""
        return self.qk_norm or self.heads * HEAD_WIDTH == self.width

    @property
    def dim(self) -> int:
        """The width."""
        return self.width

    @property
    def input(self) -> Mapping[str, Any]:
        """The image size of the position embeddings; mean and std are a guess."""
        size = self.grid * self.patch
        origin = f"assumed for a ViT of {self.grid}x{self.grid} patches: {size}x{size} pixels, ImageNet's mean and std"
        return {"size": size, "resize": size, "channels": self.channels, "origin": origin}

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of every learned tensor."""
        wide = self.width
        prefix = 0 if self.patches_only else self.class_token + self.registers
        found: dict[str, Shape] = {
            "pos_embed": (1, self.grid**2 + prefix, wide),
            "patch_embed.proj.weight": (wide, self.channels, self.patch, self.patch),
        }
        if not self.pre_norm:  # timm leaves the bias out where a norm follows
            found["patch_embed.proj.bias"] = (wide,)
        if self.class_token:
            found["cls_token"] = (1, 1, wide)
        if self.registers:
            found["reg_token"] = (1, self.registers, wide)
        for name in ["norm_pre"] * self.pre_norm + [self.norm] * bool(self.norm):
            found |= {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}
        block = self._block()
        for number in range(self.depth):
            found |= {f"blocks.{number}.{name}": shape for name, shape in block.items()}
        return found

    def _block(self) -> dict[str, Shape]:
        wide, hidden = self.width, self.hidden
        inner = hidden // 2 if self.gated else hidden
        found: dict[str, Shape] = {
            "attn.qkv.weight": (3 * wide, wide),
            "attn.proj.weight": (wide, wide),
            "mlp.fc1.weight": (hidden, wide),
            "mlp.fc2.weight": (wide, inner),
        }
        for name in (
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
            "attn.proj.bias",
            "mlp.fc2.bias",
        ):
            found[name] = (wide,)
        found["mlp.fc1.bias"] = (hidden,)
        if self.qkv_bias:
            found["attn.qkv.bias"] = (3 * wide,)
        if self.qk_norm:
            each = (wide // self.heads,)
            found |= {f"attn.{n}_norm.{part}": each for n in "qk" for part in ("weight", "bias")}
        if self.layer_scale:
            found |= {"ls1.gamma": (wide,), "ls2.gamma": (wide,)}
        return found

    def build(self) -> nn.Module:
        """The network: (B, channels, H, W) -> (B, width)."""
        from repdiag.encoders.vit import build

        return build(self)


def read(prefix: str, shapes: Mapping[str, Shape], hints: Hints) -> ViTPlan | None:
    """The network under `prefix`, None when what is there is no such ViT. Nothing is verified here."""

    def shape(name: str) -> Shape:
        return shapes.get(prefix + name, ())

    patch, position = shape(ANCHOR), shape("pos_embed")
    if len(patch) != 4 or patch[2] != patch[3] or patch[1] not in (1, 3) or len(position) != 3:
        return None
    width, class_token = patch[0], bool(shape("cls_token"))
    registers = shape("reg_token")[1] if len(shape("reg_token")) == 3 else 0
    found = _grid(position[1], int(class_token) + registers)
    depth = 0
    while depth < MAX_DEPTH and shape(f"blocks.{depth}.norm1.weight"):
        depth += 1
    first, second = shape("blocks.0.mlp.fc1.weight"), shape("blocks.0.mlp.fc2.weight")
    if found is None or not depth or len(first) != 2 or len(second) != 2:
        return None
    grid, patches_only = found
    heads, readings, assumptions = _heads(width, shape("blocks.0.attn.q_norm.weight"), hints)
    if heads is None:
        return None
    return ViTPlan(
        channels=patch[1],
        patch=patch[2],
        width=width,
        depth=depth,
        heads=heads,
        hidden=first[0],
        grid=grid,
        class_token=class_token,
        registers=registers,
        patches_only=patches_only,
        qkv_bias=bool(shape("blocks.0.attn.qkv.bias")),
        qk_norm=bool(shape("blocks.0.attn.q_norm.weight")),
        layer_scale=bool(shape("blocks.0.ls1.gamma")),
        gated=first[0] == 2 * second[1],
        pre_norm=bool(shape("norm_pre.weight")),
        norm=next((name for name in ("norm", "fc_norm") if shape(f"{name}.weight")), ""),
        readings=readings,
        assumptions=assumptions,
    )


def _grid(tokens: int, extra: int) -> tuple[int, bool] | None:
    """The side of the patches' square, and whether the `extra` tokens have no position of their own."""
    for patches, patches_only in ((tokens - extra, False), (tokens, True)):
        if patches > 0 and math.isqrt(patches) ** 2 == patches:
            return math.isqrt(patches), patches_only and extra > 0
    return None


def _heads(width: int, per_head: Shape, hints: Hints) -> tuple[int | None, tuple[str, ...], tuple[str, ...]]:
    """The number of attention heads with what is to be said about it; None where no number fits."""
    if per_head and per_head[0] and width % per_head[0] == 0:  # the norm inside a head tells
        return width // per_head[0], (), ()
    if hints.heads is not None:
        heads = int(hints.heads.value)
        return (
            (heads, (f"{heads} attention heads: {hints.heads.because}",), ())
            if width % heads == 0
            else (None, (), ())
        )
    if width % HEAD_WIDTH:
        return None, (), ()
    heads = width // HEAD_WIDTH
    sentence = (
        f"{heads} attention heads of {HEAD_WIDTH} channels are assumed, which shapes cannot tell (--heads)"
    )
    return heads, (), (sentence,)
