"""Checkpoints that are folders: Hugging Face models, and DINOv3's training through torch.distributed.checkpoint."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
)

from layouts.case import Case, Collection, Other, names, scrambled, under
from layouts.distillation import DINOV3_UNUSED, dinov3_vit, head

layout = Collection()


class Pooled(nn.Module):
    """A transformers model's features as the library pools them: the class token, or its pooler's output."""

    def __init__(self, model: PreTrainedModel, pooler: bool) -> None:
        super().__init__()
        self.model, self.pooler = model, pooler

    def forward(self, images: Tensor) -> Tensor:
        output = self.model(pixel_values=images)
        found: Tensor = output.pooler_output.flatten(1) if self.pooler else output.last_hidden_state[:, 0]
        return found


@layout("Hugging Face DINOv2, narrow", "folder with config.json")
def hf_dinov2() -> Case:
    config = Dinov2Config(
        hidden_size=128, num_hidden_layers=3, num_attention_heads=2, image_size=56, patch_size=14
    )
    model = Dinov2Model(config)
    scrambled(model)
    taken = names("", model)
    return Case(
        dict(model.state_dict()),
        Pooled(model, pooler=False),
        "transformers:Dinov2Model",
        128,
        "",
        taken,
        56,
        write=_save(model),
    )


@layout("Hugging Face ResNet-18", "folder with config.json")
def hf_resnet() -> Case:
    model = ResNetModel(
        ResNetConfig(layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512])
    )
    scrambled(model)
    return Case(
        dict(model.state_dict()),
        Pooled(model, pooler=True),
        "transformers:ResNetModel",
        512,
        "",
        names("", model),
        64,
        write=_save(model),
    )


def _save(model: PreTrainedModel) -> Any:
    return lambda contents, path: model.save_pretrained(path)


@layout("DINOv3 in training, torch.distributed.checkpoint", "model.teacher, model.student")
def dinov3_distributed() -> Case:
    """The teacher is an attribute twice, as `model_ema` too."""
    sides = {"teacher": dinov3_vit(), "student": dinov3_vit(seed=1)}
    model = {}
    for side, network in sides.items():
        state = under("backbone.", dict(network.state_dict())) | under("dino_head.", head(384))
        model |= under(f"{side}.", state)
        if side == "teacher":
            model |= under("model_ema.", state)
    prefix = "model.teacher.backbone."
    return Case(
        {"iteration": 999, "model": model},
        sides["teacher"],
        "timm:vit_small_patch16_dinov3_qkvb",
        384,
        prefix,
        names(prefix, sides["teacher"], but=DINOV3_UNUSED),
        256,
        Other(sides["student"], key="model.student"),
        write=_save_distributed,
    )


def _save_distributed(contents: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it saves from one process only is what is wanted
        dcp.save(contents, checkpoint_id=path, no_dist=True)


LAYOUTS = layout.layouts
