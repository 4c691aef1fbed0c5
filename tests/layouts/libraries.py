"""Training libraries: solo-learn, lightly, stable-pretraining, VISSL, MMSelfSup and MMPretrain, timm."""

from __future__ import annotations

import re
from typing import Any

import timm
import torch
from lightly.models import ResNetGenerator
from lightly.models.modules import (
    DINOProjectionHead,
    MaskedVisionTransformerTIMM,
    MoCoProjectionHead,
    SimCLRProjectionHead,
)
from torch import Tensor, nn

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
    randomize,
    scrambled,
    under,
)
from layouts.contrastive import CIFAR18
from layouts.masked import decoder
from layouts.resnets import Flat, as_sequence, resnet
from layouts.vits import vit

layout = Collection()


def lightning(state: State, **hyper_parameters: Any) -> dict[str, Any]:
    """What Lightning's Trainer saves around a module's state."""
    return {
        "epoch": 99,
        "global_step": 9900,
        "pytorch-lightning_version": "2.1.2",
        "state_dict": state,
        "loops": {
            "fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 100, "completed": 100}}}
        },
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.9), "last_model_path": ""}
        },
        "optimizer_states": [optimizer(state)],
        "lr_schedulers": [{"last_epoch": 100, "_last_lr": [0.001]}],
        "hparams_name": "cfg",
        "hyper_parameters": hyper_parameters,
    }


# --------------------------------------------------------------------------------------------- solo-learn


@layout("solo-learn, CIFAR ResNet-18 (padding 2)", "state_dict (Lightning)")
def solo_cifar() -> Case:
    source, momentum = (resnet(18, seed, stem="cifar", padding=2) for seed in (0, 1))
    state = under("backbone.", dict(source.state_dict())) | under("classifier.", linear(512, 10))
    state |= under("projector.", mlp(512, 512, 128)) | under("predictor.", mlp(128, 512, 128))
    state |= under("momentum_backbone.", dict(momentum.state_dict()))
    state |= under("momentum_projector.", mlp(512, 512, 128, seed=3)) | under(
        "momentum_classifier.", linear(512, 10)
    )
    prefix = "state_dict.backbone."
    return Case(
        lightning(state, method="byol", backbone={"name": "resnet18"}, data={"dataset": "cifar10"}),
        source,
        CIFAR18.replace(")", ", stem padding 2)"),
        512,
        prefix,
        names(prefix, source),
        32,
        Other(momentum, prefix="state_dict.momentum_backbone."),
    )


@layout("solo-learn before backbones (encoder.), ResNet-18", "state_dict (Lightning)")
def solo_encoder() -> Case:
    source = resnet(18)
    state = under("encoder.", dict(source.state_dict())) | under("classifier.", linear(512, 100))
    state |= under("projector.", mlp(512, 512, 128))
    prefix = "state_dict.encoder."
    return Case(lightning(state), source, "torchvision:resnet18", 512, prefix, names(prefix, source))


@layout("solo-learn before backbones (encoder.) with momentum, CIFAR ResNet-18", "state_dict (Lightning)")
def solo_momentum_encoder() -> Case:
    """The same two names as in ReSA, but here the online encoder is the one that is evaluated."""
    source, momentum = (resnet(18, seed, stem="cifar", padding=2) for seed in (0, 1))
    state = under("encoder.", dict(source.state_dict())) | under("classifier.", linear(512, 10))
    state |= under("projector.", mlp(512, 512, 128)) | under("predictor.", mlp(128, 512, 128))
    state |= under("momentum_encoder.", dict(momentum.state_dict()))
    state |= under("momentum_projector.", mlp(512, 512, 128, seed=3))
    prefix = "state_dict.encoder."
    return Case(
        lightning(state),
        source,
        CIFAR18.replace(")", ", stem padding 2)"),
        512,
        prefix,
        names(prefix, source),
        32,
        Other(momentum, prefix="state_dict.momentum_encoder."),
    )


# --------------------------------------------------------------------------------------------- lightly


def own(module: nn.Module, seed: int = 0) -> State:
    return dict(scrambled(module, seed).state_dict())


@layout("lightly SimCLR, ResNet-18 as nn.Sequential", "state_dict (Lightning)")
def lightly_simclr() -> Case:
    network = as_sequence(resnet(18))
    state = under("backbone.", dict(network.state_dict()))
    state |= under("projection_head.", own(SimCLRProjectionHead(512, 2048, 128)))
    prefix = "state_dict.backbone."
    return Case(lightning(state), Flat(network), "torchvision:resnet18", 512, prefix, names(prefix, network))


@layout("lightly MoCo, ResNetGenerator ResNet-18", "state_dict (Lightning)")
def lightly_moco() -> Case:
    """lightly's CIFAR ResNet: its ReLU is no module, so that the Sequential of its children has none in the stem.

    The batch norms keep statistics of 8 splits, which differ while it trains and are averaged by eval().
    """
    networks, states = [], []
    for seed in (0, 1):
        whole = ResNetGenerator("resnet-18", num_splits=8)
        network = nn.Sequential(*list(whole.children())[:-1], nn.AdaptiveAvgPool2d(1))
        states.append(dict(network.train().state_dict()))
        randomize(states[-1], seed)
        networks.append(network.eval())
    prefix = "state_dict.backbone."
    state = under("backbone.", states[0]) | under("backbone_momentum.", states[1])
    state |= under("projection_head.", own(MoCoProjectionHead(512, 512, 128)))
    state |= under("projection_head_momentum.", own(MoCoProjectionHead(512, 512, 128), 1))
    state |= {
        "criterion.memory_bank.bank": torch.randn(128, 512),
        "criterion.memory_bank.bank_ptr": torch.tensor([0]),
    }
    return Case(
        lightning(state),
        Flat(networks[0]),
        CIFAR18.replace(")", ", no ReLU in the stem)"),
        512,
        prefix,
        names(prefix, networks[0]),
        32,
        Other(Flat(networks[1]), prefix="state_dict.backbone_momentum."),
    )


@layout("lightly DINO, ResNet-18", "state_dict (Lightning)")
def lightly_dino() -> Case:
    teacher, student = (as_sequence(resnet(18, seed)) for seed in (0, 1))
    state = under("student_backbone.", dict(student.state_dict()))
    state |= under("student_head.", own(DINOProjectionHead(512, 256, 64, 256)))
    state |= under("teacher_backbone.", dict(teacher.state_dict()))
    state |= under("teacher_head.", own(DINOProjectionHead(512, 256, 64, 256), 1))
    state |= {"criterion.center": torch.zeros(1, 256)}
    state |= under("online_classifier.classification_head.", linear(512, 10))
    prefix = "state_dict.teacher_backbone."
    return Case(
        lightning(state),
        Flat(teacher),
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, teacher),
        other=Other(Flat(student), prefix="state_dict.student_backbone."),
    )


@layout("lightly MAE, timm ViT-Ti/16", "state_dict (Lightning)")
def lightly_mae() -> Case:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    backbone = MaskedVisionTransformerTIMM(vit=network)
    state = under("backbone.", own(backbone)) | under("decoder.", decoder(192, 196))
    prefix = "state_dict.backbone.vit."
    architecture = "timm:vit_tiny_patch16_224"
    return Case(lightning(state), network, architecture, 192, prefix, names(prefix, network), 224)


@layout("stable-pretraining, ResNet-18", "state_dict (Lightning)")
def stable_pretraining() -> Case:
    source = resnet(18)
    state = under("backbone.", dict(source.state_dict())) | under("projector.", mlp(512, 2048, 256))
    state |= under("callbacks_modules.linear_probe.", linear(512, 10))
    state |= {"callbacks_metrics.linear_probe._val.top1.tp": torch.zeros(10, dtype=torch.long)}
    prefix = "state_dict.backbone."
    return Case(lightning(state), source, "torchvision:resnet18", 512, prefix, names(prefix, source))


# --------------------------------------------------------------------------------------------- VISSL


@layout("VISSL, ResNet-101", "classy_state_dict.base_model.model.trunk")
def vissl() -> Case:
    source = resnet(101)
    trunk = under("_feature_blocks.", dict(source.state_dict()))
    model = {"trunk": trunk, "heads": under("0.clf.", mlp(2048, 512, 128, norm=False))}
    classy = {
        "base_model": {"model": model, "meta": {}},
        "optim": {"optim": optimizer(trunk)},
        "loss": {},
        "train_phase_idx": 99,
        "hooks": {},
        "amp": None,
    }
    contents = {
        "phase_idx": 99,
        "iteration": 100000,
        "loss": {"info_criterion.pos_mask": torch.ones(8, 8)},
        "classy_state_dict": classy,
        "type": "checkpoint",
    }
    prefix = "classy_state_dict.base_model.model.trunk._feature_blocks."
    return Case(contents, source, "torchvision:resnet101", 2048, prefix, names(prefix, source))


@layout("VISSL, extracted weights, ResNet-18", "model_state_dict")
def vissl_extracted() -> Case:
    source = resnet(18)
    contents = {"model_state_dict": under("base_model._feature_blocks.", dict(source.state_dict()))}
    prefix = "model_state_dict.base_model._feature_blocks."
    return Case(contents, source, "torchvision:resnet18", 512, prefix, names(prefix, source))


# --------------------------------------------------------------------------------------------- OpenMMLab


def openmmlab(state: State) -> dict[str, Any]:
    return {
        "meta": {"mmselfsup_version": "0.11.0", "epoch": 200, "hook_msgs": {}},
        "state_dict": state,
        "optimizer": optimizer(state),
    }


@layout("MMSelfSup BYOL, ResNet-18", "state_dict")
def mmselfsup_byol() -> Case:
    """The networks of the momentum side are a Sequential of backbone and neck."""
    source, target = resnet(18), resnet(18, seed=1)
    state = under("backbone.", dict(source.state_dict())) | under("neck.", _neck(512))
    state |= under("target_net.module.0.", dict(target.state_dict())) | under(
        "target_net.module.1.", _neck(512, 2)
    )
    state |= {"target_net.steps": torch.tensor(100)}
    state |= under("head.predictor.", _neck(128))
    prefix = "state_dict.backbone."
    return Case(
        openmmlab(state),
        source,
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, source),
        other=Other(target, prefix="state_dict.target_net.module.0."),
    )


@layout("MMSelfSup MoCo, ResNet-18", "state_dict")
def mmselfsup_moco() -> Case:
    source, target = resnet(18), resnet(18, seed=1)
    state = {"queue": torch.randn(128, 512), "queue_ptr": torch.zeros(1, dtype=torch.long)}
    state |= under("backbone.", dict(source.state_dict())) | under(
        "neck.mlp.", mlp(512, 512, 128, norm=False)
    )
    state |= under("encoder_k.0.", dict(target.state_dict()))
    state |= under("encoder_k.1.mlp.", mlp(512, 512, 128, norm=False, seed=4))
    prefix = "state_dict.backbone."
    return Case(
        openmmlab(state),
        source,
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, source),
        other=Other(target, prefix="state_dict.encoder_k.0."),
    )


def _neck(inputs: int, seed: int = 1) -> State:
    bn = own(nn.BatchNorm1d(256), seed)
    return under("fc0.", linear(inputs, 256)) | under("bn0.", bn) | under("fc1.", linear(256, 128))


OPENMMLAB_VIT = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.(\d+)\.norm(\d)\.", r"layers.\1.ln\2."),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (r"^blocks\.", "layers."),
    (r"^norm\.", "ln1."),
)


@layout("MMPretrain MAE, ViT-Ti/16", "state_dict")
def mmpretrain_vit() -> Case:
    source = vit()
    translated: dict[str, Tensor] = {}
    for name, tensor in source.state_dict().items():
        for pattern, replacement in OPENMMLAB_VIT:
            name = re.sub(pattern, replacement, name)
        translated[name] = tensor
    state = under("backbone.", translated) | under("neck.", decoder(192, 196))
    state |= {"data_preprocessor.mean": torch.zeros(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
    prefix = "state_dict.backbone."
    architecture = "timm:vit_tiny_patch16_224"
    return Case(openmmlab(state), source, architecture, 192, prefix, names(prefix, translated), 224)


# --------------------------------------------------------------------------------------------- timm


class WithoutHead(nn.Module):
    """A timm network's pooled features, its head left in place."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return out


@layout("timm with averaged weights, ConvNeXt atto", "state_dict_ema")
def timm_ema() -> Case:
    source, raw = (timm.create_model("convnext_atto", num_classes=10) for _ in range(2))
    states = [own(source), own(raw, 1)]
    contents = {
        "epoch": 100,
        "arch": "convnext_atto",
        "state_dict": states[1],
        "optimizer": optimizer(states[1]),
        "version": 2,
        "args": namespace(model="convnext_atto", data_dir="."),
        "amp_scaler": {"scale": 1024.0},
        "state_dict_ema": states[0],
        "metric": 77.7,
    }
    taken = names("state_dict_ema.", states[0], but=["head.fc.weight", "head.fc.bias"])
    return Case(
        contents,
        WithoutHead(source),
        "timm:convnext_atto",
        320,
        "state_dict_ema.",
        taken,
        64,
        Other(WithoutHead(raw), key="state_dict"),
    )


LAYOUTS = layout.layouts
