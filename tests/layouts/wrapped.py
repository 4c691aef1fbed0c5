"""What DistributedDataParallel, torch.compile, FSDP and activation checkpointing do to names."""

from __future__ import annotations

import torch
from torch import nn

from layouts.case import Case, Collection, Other, State, mlp, names, under
from layouts.resnets import resnet
from layouts.vits import vit

layout = Collection()


@layout("torch.compile, ResNet-18", "model")
def compiled() -> Case:
    source = resnet(18)
    state = dict(torch.compile(source).state_dict())  # type: ignore[union-attr]
    assert all(name.startswith("_orig_mod.") for name in state)
    prefix = "model._orig_mod."
    return Case(
        {"model": state, "step": 9}, source, "torchvision:resnet18", 512, prefix, names(prefix, source)
    )


@layout("torch.compile around DistributedDataParallel, ResNet-18", "state_dict")
def compiled_ddp() -> Case:
    source = resnet(18)
    wrapped = {"module": source, "head": nn.Identity()}
    state = dict(torch.compile(nn.ModuleDict(wrapped)).state_dict())  # type: ignore[union-attr]
    prefix = "state_dict._orig_mod.module."
    return Case({"state_dict": state}, source, "torchvision:resnet18", 512, prefix, names(prefix, source))


@layout("torch.compile of the backbone alone inside DINO, ResNet-18", "teacher, student")
def compiled_inside() -> Case:
    """The wrapper is on one side only, and inside the prefix."""
    teacher, student = resnet(18), resnet(18, seed=1)
    contents = {
        "teacher": under("backbone.", dict(teacher.state_dict())),
        "student": under("module.backbone._orig_mod.", dict(student.state_dict())),
    }
    prefix = "teacher.backbone."
    return Case(
        contents,
        teacher,
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, teacher),
        other=Other(student, key="student"),
    )


@layout("activation checkpointing and FSDP inside, ViT-Ti/16", "teacher")
def checkpointed_blocks() -> Case:
    """The wrappers' components stand inside the backbone's own names."""
    source = vit()
    state: State = {}
    for name, tensor in source.state_dict().items():
        if name.startswith("blocks."):
            first, number, rest = name.split(".", 2)
            name = f"{first}.{number}._fsdp_wrapped_module._checkpoint_wrapped_module.{rest}"
        state[name] = tensor
    state = under("backbone._fsdp_wrapped_module.", state) | under(
        "dino_head.mlp.", mlp(192, 64, 64, norm=False)
    )
    prefix = "teacher.backbone."
    architecture = "timm:vit_tiny_patch16_224"
    names_in_file = frozenset(f"teacher.{n}" for n in state if n.startswith("backbone."))
    return Case({"teacher": state}, source, architecture, 192, prefix, names_in_file, 224)


LAYOUTS = layout.layouts
