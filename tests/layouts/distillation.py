"""Self-distillation: DINO, iBOT, DINOv2, DINOv3."""

from __future__ import annotations

import timm
import torch
from torch import nn

from layouts.case import (
    Case,
    Collection,
    Other,
    State,
    linear,
    mlp,
    names,
    namespace,
    optimizer,
    renamed,
    scrambled,
    under,
)
from layouts.resnets import resnet
from layouts.vits import Vit, vit

layout = Collection()


def head(dim: int, outputs: int = 1024, seed: int = 8) -> State:
    """DINO's projection head with its weight-normalized last layer."""
    last = linear(128, outputs, bias=False, seed=seed)["weight"]
    weights = {"last_layer.weight_g": torch.ones(outputs, 1), "last_layer.weight_v": last}
    return under("mlp.", mlp(dim, 256, 256, 128, norm=False, seed=seed)) | weights


@layout("DINO backbone, ViT-Ti/8", "bare")
def dino_backbone() -> Case:
    source = vit(patch=8)
    return Case(
        dict(source.state_dict()),
        source,
        "vit-192x12/8 (3 heads, 224 pixels)",
        192,
        "",
        names("", source),
        224,
    )


@layout("DINO backbone, XCiT nano", "bare")
def dino_xcit() -> Case:
    """The authors' names: a position encoder with one more e, and one matrix for the class attention's q, k, v."""
    source = timm.create_model("xcit_nano_12_p16_224", num_classes=0)
    scrambled(source)
    state = renamed(dict(source.state_dict()), ("pos_embed.", "pos_embeder."))
    for block in range(2):
        for kind in ("weight", "bias"):
            parts = [state.pop(f"cls_attn_blocks.{block}.attn.{letter}.{kind}") for letter in "qkv"]
            state[f"cls_attn_blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
    return Case(state, source, "timm:xcit_nano_12_p16_224", 128, "", names("", state), 224)


def _dino(teacher: nn.Module, student: nn.Module, dim: int, batch_norm: bool) -> dict[str, object]:
    """checkpoint.pth; a teacher with batch norms is wrapped by DistributedDataParallel too."""
    states = [
        under("backbone.", dict(n.state_dict())) | under("head.", head(dim)) for n in (teacher, student)
    ]
    return {
        "student": under("module.", states[1]),
        "teacher": under("module." if batch_norm else "", states[0]),
        "optimizer": optimizer(states[1], kind="adam"),
        "epoch": 100,
        "args": namespace(arch="vit_small", patch_size=16, use_fp16=True),
        "dino_loss": {"center": torch.zeros(1, 1024)},
        "fp16_scaler": {"scale": 65536.0, "_growth_tracker": 3},
    }


@layout("DINO, ViT-Ti/16", "teacher, student")
def dino_vit() -> Case:
    teacher, student = vit(), vit(seed=1)
    return Case(
        _dino(teacher, student, 192, batch_norm=False),
        teacher,
        "timm:vit_tiny_patch16_224",
        192,
        "teacher.backbone.",
        names("teacher.backbone.", teacher),
        224,
        Other(student, key="student"),
    )


@layout("DINO, ResNet-18", "teacher, student")
def dino_resnet() -> Case:
    teacher, student = resnet(18), resnet(18, seed=1)
    return Case(
        _dino(teacher, student, 512, batch_norm=True),
        teacher,
        "torchvision:resnet18",
        512,
        "teacher.module.backbone.",
        names("teacher.module.backbone.", teacher),
        other=Other(student, key="student"),
    )


# --------------------------------------------------------------------------------------------- iBOT


@layout("iBOT, ViT-Ti/16", "teacher, student")
def ibot() -> Case:
    """The student alone carries the embedding of masked patches; the head has a second last layer."""
    teacher, student = vit(), vit(seed=1)
    contents = _dino(teacher, student, 192, batch_norm=False)
    contents["ibot_loss"] = {"center": torch.zeros(1, 1024), "center2": torch.zeros(1, 1, 1024)}
    del contents["dino_loss"]
    two = head(192, seed=3)
    for side, wrapper in (("student", "module."), ("teacher", "")):
        state = contents[side]
        assert isinstance(state, dict)
        state |= {
            f"{wrapper}head.last_layer2.{n.partition('.')[2]}": t for n, t in two.items() if "last" in n
        }
    student_state = contents["student"]
    assert isinstance(student_state, dict)
    student_state["module.backbone.masked_embed"] = torch.randn(1, 192)
    return Case(
        contents,
        teacher,
        "timm:vit_tiny_patch16_224",
        192,
        "teacher.backbone.",
        names("teacher.backbone.", teacher),
        224,
        Other(student, key="student"),
    )


@layout("iBOT, extracted backbone, ViT-Ti/16", "state_dict")
def ibot_backbone() -> Case:
    source = vit()
    contents = {"state_dict": dict(source.state_dict())}
    return Case(
        contents, source, "timm:vit_tiny_patch16_224", 192, "state_dict.", names("state_dict.", source), 224
    )


# --------------------------------------------------------------------------------------------- DINOv2


@layout("DINOv2 hub, narrow", "bare")
def dinov2() -> Case:
    source = vit(depth=4, patch=14, size=518, mask_token="row", scaled=True)
    taken = names("", source, but=["mask_token"])
    return Case(dict(source.state_dict()), source, "vit-192x4/14 (3 heads, 518 pixels)", 192, "", taken, 518)


@layout("DINOv2 hub with registers, narrow", "bare")
def dinov2_registers() -> Case:
    source = vit(depth=4, patch=14, size=518, mask_token="row", scaled=True, registers="register_tokens")
    taken = names("", source, but=["mask_token"])
    return Case(
        dict(source.state_dict()),
        source,
        "vit-192x4/14 (3 heads, 518 pixels, 4 registers)",
        192,
        "",
        taken,
        518,
    )


def _dinov2_teacher(source: Vit, architecture: str) -> Case:
    state = under("backbone.", dict(source.state_dict()))
    state |= under("dino_head.", head(source.dim)) | under("ibot_head.", head(source.dim, seed=2))
    taken = names("teacher.backbone.", source, but=["mask_token"])
    return Case({"teacher": state}, source, architecture, source.dim, "teacher.backbone.", taken, source.size)


@layout("DINOv2 in training, ViT-Ti/14 at 224 pixels, 4 block chunks", "teacher")
def dinov2_chunks() -> Case:
    source = vit(patch=14, mask_token="row", scaled=True, chunks=4)
    return _dinov2_teacher(source, "vit-192x12/14 (3 heads, 224 pixels)")


@layout("DINOv2 in training, narrow giant with SwiGLU and registers", "teacher")
def dinov2_giant() -> Case:
    source = vit(
        192,
        depth=6,
        patch=14,
        mask_token="row",
        scaled=True,
        kind="packed swiglu",
        registers="register_tokens",
    )
    return _dinov2_teacher(source, "vit-192x6/14 (3 heads, 224 pixels, 4 registers)")


# --------------------------------------------------------------------------------------------- DINOv3


def dinov3_vit(seed: int = 0, **options: object) -> Vit:
    return vit(
        384,
        seed=seed,
        registers="storage_tokens",
        mask_token="row",
        scaled=True,
        rope=True,
        epsilon=1e-5,
        **options,
    )


DINOV3_UNUSED = ["mask_token", "rope_embed.periods"]


@layout("DINOv3 hub, ViT-S/16", "bare")
def dinov3() -> Case:
    source = dinov3_vit()
    taken = names("", source, but=DINOV3_UNUSED)
    return Case(dict(source.state_dict()), source, "timm:vit_small_patch16_dinov3_qkvb", 384, "", taken, 256)


@layout("DINOv3 in training, ViT-S+/16 (SwiGLU)", "teacher")
def dinov3_teacher() -> Case:
    source = dinov3_vit(kind="swiglu", ratio=6)
    state = under("backbone.", dict(source.state_dict()))
    state |= under("dino_head.", head(384)) | under("ibot_head.", head(384, seed=2))
    prefix = "teacher.backbone."
    taken = names(prefix, source, but=DINOV3_UNUSED)
    architecture = "timm:vit_small_plus_patch16_dinov3_qkvb"
    return Case({"teacher": state}, source, architecture, 384, prefix, taken, 256)


@layout("DINOv3 hub, ConvNeXt-T", "bare")
def dinov3_convnext() -> Case:
    """ConvNeXt's own names; the last norm is there twice."""
    source = timm.create_model("convnext_tiny", num_classes=0)
    scrambled(source)
    state: State = {}
    for name, tensor in source.state_dict().items():
        for old, new in (
            ("stem.", "downsample_layers.0."),
            (".blocks.", "."),
            ("conv_dw", "dwconv"),
            ("mlp.fc", "pwconv"),
            ("head.norm", "norm"),
        ):
            name = name.replace(old, new)
        parts = name.split(".")
        if len(parts) > 2 and parts[2] == "downsample":
            name = ".".join(["downsample_layers", parts[1], *parts[3:]])
        state[name] = tensor
    taken = names("", state)
    state |= {f"norms.3.{kind}": state[f"norm.{kind}"] for kind in ("weight", "bias")}
    return Case(state, source, "timm:convnext_tiny", 768, "", taken, 64)


LAYOUTS = layout.layouts
