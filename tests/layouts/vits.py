"""A Vision Transformer of our own that can bear the names of every project: the independent source of features.

It computes what DINO, iBOT, DINOv2, DINOv3, MAE, MoCo v3 and I-JEPA compute at inference (attention through
torch's fused kernel), written without timm so that a wrong translation has something to differ from.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layouts.case import scrambled


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class PackedSwiGlu(nn.Module):
    """DINOv2's: both halves of the first layer in one matrix."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        self.w12, self.w3 = nn.Linear(dim, 2 * hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(gate) * value)
        return out


class SwiGlu(nn.Module):
    """DINOv3's: three matrices."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        self.w1, self.w2, self.w3 = nn.Linear(dim, hidden), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w3(F.silu(self.w1(x)) * self.w2(x))
        return out


class MaskedBias(nn.Linear):
    """DINOv3's qkv layer, whose key bias a buffer switches off."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        mask = torch.ones(outputs)
        mask[outputs // 3 : 2 * outputs // 3] = 0
        self.register_buffer("bias_mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias * self.get_buffer("bias_mask"))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, masked_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = MaskedBias(dim, 3 * dim) if masked_bias else nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        images, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(images, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        if rope is not None:
            q, k = rotated(q, *rope), rotated(k, *rope)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(images, tokens, dim)
        out: Tensor = self.proj(x)
        return out


def rotated(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """DINOv3's rotation of the patch tokens; class and register tokens, which come first, stay."""
    first = x.shape[-2] - len(sin)
    prefix, patches = x[..., :first, :], x[..., first:, :]
    left, right = patches.chunk(2, dim=-1)
    return torch.cat([prefix, patches * cos + torch.cat([-right, left], dim=-1) * sin], dim=-2)


class Rope(nn.Module):
    """DINOv3's position encoding: centers of patches in [-1, 1], periods from 1 to 100."""

    periods: Tensor

    def __init__(self, head: int) -> None:
        super().__init__()
        exponents = 2.0 * torch.arange(head // 4, dtype=torch.float32) / (head // 2)
        self.register_buffer("periods", 100.0**exponents)

    def forward(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        y, x = ((torch.arange(n, dtype=torch.float32) + 0.5) / n for n in (rows, columns))
        coordinates = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1) * 2.0 - 1.0
        angles = 2 * math.pi * coordinates[:, :, None] / self.periods[None, None, :]
        angles = angles.flatten(1, 2).tile(2)
        return angles.sin(), angles.cos()


class Block(nn.Module):
    def __init__(self, vit: Vit) -> None:
        super().__init__()
        dim, hidden = vit.dim, vit.ratio * vit.dim
        self.norm1 = nn.LayerNorm(dim, eps=vit.epsilon)
        self.attn = Attention(dim, vit.heads, masked_bias=vit.rope_embed is not None)
        self.norm2 = nn.LayerNorm(dim, eps=vit.epsilon)
        self.mlp = {"mlp": Mlp, "packed swiglu": PackedSwiGlu, "swiglu": SwiGlu}[vit.kind](dim, hidden)
        self.ls1 = LayerScale(dim) if vit.scaled else nn.Identity()
        self.ls2 = LayerScale(dim) if vit.scaled else nn.Identity()

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rope))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class Chunk(nn.ModuleList):
    """DINOv2's block chunks: every chunk counts from 0 of the whole network, absent blocks are identities."""

    def __init__(self, blocks: list[nn.Module], first: int) -> None:
        super().__init__([*(nn.Identity() for _ in range(first)), *blocks])


class Vit(nn.Module):
    """(B, 3, size, size) -> (B, dim): the class token after the last norm, or the mean of the patches without one.

    `registers` is the name of the register tokens; rope replaces position embeddings as in DINOv3.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        depth: int = 12,
        patch: int = 16,
        size: int = 224,
        class_token: bool = True,
        registers: Literal["", "register_tokens", "storage_tokens"] = "",
        mask_token: Literal["", "row", "token"] = "",
        scaled: bool = False,
        kind: Literal["mlp", "packed swiglu", "swiglu"] = "mlp",
        rope: bool = False,
        epsilon: float = 1e-6,
        ratio: int = 4,
        chunks: int = 0,
    ) -> None:
        super().__init__()
        self.dim, self.heads, self.scaled, self.kind, self.epsilon = dim, heads, scaled, kind, epsilon
        self.size, self.registers, self.ratio = size, registers, ratio
        grid = size // patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self.pos_embed = None if rope else nn.Parameter(torch.zeros(1, grid**2 + class_token, dim))
        if registers:
            setattr(self, registers, nn.Parameter(torch.zeros(1, 4, dim)))
        if mask_token:
            self.mask_token = nn.Parameter(torch.zeros(*((1, dim) if mask_token == "row" else (1, 1, dim))))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
        self.rope_embed = Rope(dim // heads) if rope else None
        blocks: list[nn.Module] = [Block(self) for _ in range(depth)]
        if chunks:
            length = depth // chunks
            blocks = [Chunk(blocks[i * length : (i + 1) * length], i * length) for i in range(chunks)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=epsilon)

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.patch_embed.proj(images)  # type: ignore[operator]
        rope = None if self.rope_embed is None else self.rope_embed(*x.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        if self.registers:
            tokens: Tensor = getattr(self, self.registers).expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], tokens, x[:, 1:]], dim=1)
        for block in self.modules():
            if isinstance(block, Block):
                x = block(x, rope)
        x = self.norm(x)
        return x[:, 0] if self.cls_token is not None else x.mean(dim=1)


def vit(dim: int = 192, heads: int | None = None, seed: int = 0, **options: object) -> Vit:
    """A scrambled `Vit`, by default of the width of ViT-Ti; heads of 64 numbers where not told."""
    network = Vit(dim, heads or dim // 64, **options)  # type: ignore[arg-type]
    periods = None if network.rope_embed is None else network.rope_embed.periods.clone()
    masks = {n: b.clone() for n, b in network.named_buffers() if n.endswith("bias_mask")}
    scrambled(network, seed)
    if network.rope_embed is not None and periods is not None:
        network.rope_embed.periods.copy_(periods)
    for name, mask in masks.items():
        network.get_buffer(name).copy_(mask)
    return network
