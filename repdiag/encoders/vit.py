"""Vision transformers, built as a `ViTPlan` says from timm's own layers."""

from __future__ import annotations

from typing import Any

from timm.layers import SwiGLUPacked  # type: ignore[attr-defined]
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from repdiag.encoders.vit_plan import ViTPlan


def build(plan: ViTPlan) -> nn.Module:
    """timm's `VisionTransformer` without a head: (B, C, H, W) -> (B, width), the class token or the patches' mean.

    Activations and epsilons are timm's defaults (GELU, 1e-6), a gated MLP is SwiGLU, as in the papers.
    """
    options: dict[str, Any] = {}
    if plan.gated:  # both halves in fc1, as timm has DINOv2's giant
        options["act_layer"] = nn.SiLU
        options["mlp_layer"] = SwiGLUPacked
    network: nn.Module = VisionTransformer(
        img_size=plan.grid * plan.patch,
        patch_size=plan.patch,
        in_chans=plan.channels,
        num_classes=0,
        global_pool="token" if plan.class_token and plan.norm != "fc_norm" else "avg",
        embed_dim=plan.width,
        depth=plan.depth,
        num_heads=plan.heads,
        mlp_ratio=(plan.hidden + 0.5) / plan.width,  # int(width * ratio) must not fall one short
        qkv_bias=plan.qkv_bias,
        qk_norm=plan.qk_norm,
        init_values=1.0 if plan.layer_scale else None,
        class_token=plan.class_token,
        no_embed_class=plan.patches_only,
        reg_tokens=plan.registers,
        pre_norm=plan.pre_norm,
        final_norm=bool(plan.norm),
        fc_norm=plan.norm == "fc_norm",
        **options,
    )
    return network
