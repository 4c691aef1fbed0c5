"""Masked prediction: MAE and I-JEPA."""

from __future__ import annotations

import torch

from layouts.case import Case, Collection, Other, State, linear, names, namespace, optimizer, renamed, under
from layouts.vits import Vit, vit

layout = Collection()


def decoder(dim: int, patches: int) -> State:
    """MAE's decoder of one block, with its own position embedding."""
    blocks = {n: t for n, t in vit(dim, depth=1, seed=6).state_dict().items() if n.startswith("blocks.")}
    state = under("decoder_embed.", linear(dim, dim)) | under("decoder_", blocks)
    state |= {"mask_token": torch.randn(1, 1, dim), "decoder_pos_embed": torch.randn(1, patches + 1, dim)}
    norm = {
        n.partition(".")[2]: t
        for n, t in vit(dim, depth=0, seed=6).state_dict().items()
        if n.startswith("norm.")
    }
    return state | under("decoder_norm.", norm) | under("decoder_pred.", linear(dim, 768))


@layout("MAE in training, ViT-Ti/16", "model")
def mae() -> Case:
    source = vit()
    state = dict(source.state_dict()) | decoder(192, 196)
    contents = {
        "model": state,
        "optimizer": optimizer(state, kind="adam"),
        "epoch": 399,
        "scaler": {"scale": 65536.0},
        "args": namespace(model="mae_vit_tiny_patch16", mask_ratio=0.75),
    }
    return Case(contents, source, "timm:vit_tiny_patch16_224", 192, "model.", names("model.", source), 224)


@layout("MAE, encoder only, ViT-Ti/16", "model")
def mae_encoder() -> Case:
    source = vit()
    contents = {"model": dict(source.state_dict())}
    return Case(contents, source, "timm:vit_tiny_patch16_224", 192, "model.", names("model.", source), 224)


@layout("I-JEPA, ViT-Ti/16 without class token", "target_encoder, encoder")
def ijepa() -> Case:
    target, context = (vit(class_token=False, seed=seed) for seed in (0, 1))
    contents = {
        "encoder": under("module.", dict(context.state_dict())),
        "predictor": under("module.", predictor(target)),
        "target_encoder": under("module.", dict(target.state_dict())),
        "opt": optimizer(context.state_dict(), kind="adam"),
        "scaler": None,
        "epoch": 300,
        "loss": 0.12,
        "batch_size": 128,
        "world_size": 16,
        "lr": 1e-3,
    }
    prefix = "target_encoder.module."
    return Case(
        contents,
        target,
        "vit-192x12/16 (3 heads, 224 pixels, no class token)",
        192,
        prefix,
        names(prefix, target),
        224,
        Other(context, key="encoder"),
    )


def predictor(encoder: Vit) -> State:
    """I-JEPA's predictor: a narrower transformer between two projections."""
    own = renamed(dict(vit(64, depth=2, class_token=False, seed=7).state_dict()))
    parts = ("blocks.", "norm.", "pos_embed")
    state = {n.replace("pos_embed", "predictor_pos_embed"): t for n, t in own.items() if n.startswith(parts)}
    state = {
        n.replace("blocks.", "predictor_blocks.").replace("norm.", "predictor_norm.")
        if n.startswith(("blocks", "norm."))
        else n: t
        for n, t in state.items()
    }
    state |= under("predictor_embed.", linear(encoder.dim, 64)) | under(
        "predictor_proj.", linear(64, encoder.dim)
    )
    return state | {"mask_token": torch.randn(1, 1, 64)}


LAYOUTS = layout.layouts
