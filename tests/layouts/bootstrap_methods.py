"""Methods without negatives: SimSiam, the ports of BYOL, ReSA, ICCL and DSA."""

from __future__ import annotations

from torch import nn

from layouts.case import (
    Case,
    Collection,
    Other,
    State,
    linear,
    mlp,
    names,
    optimizer,
    renamed,
    scrambled,
    under,
)
from layouts.contrastive import CIFAR18
from layouts.resnets import Flat, Padded, as_sequence, resnet
from layouts.vits import vit

layout = Collection()


def _simsiam(wrapper: str) -> Case:
    source = resnet(18)
    state = under(
        "encoder.", dict(source.state_dict()) | under("fc.", mlp(512, 512, 512, 512, last_norm="plain"))
    )
    state = under(wrapper, state | under("predictor.", mlp(512, 128, 512)))
    prefix = f"state_dict.{wrapper}encoder."
    return Case(
        {"epoch": 100, "arch": "resnet18", "state_dict": state, "optimizer": optimizer(state)},
        source,
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, source),
    )


@layout("SimSiam, ResNet-18", "state_dict")
def simsiam() -> Case:
    return _simsiam("module.")


@layout("SimSiam trained on one device, ResNet-18", "state_dict")
def simsiam_single() -> Case:
    return _simsiam("")


# --------------------------------------------------------------------------------------------- BYOL


@layout("BYOL of sthalles, ResNet-18 as nn.Sequential", "online_network_state_dict")
def byol_sthalles() -> Case:
    networks = [as_sequence(resnet(18, seed)) for seed in (0, 1)]
    states = [
        under("encoder.", dict(n.state_dict())) | under("projetion.net.", mlp(512, 512, 128))
        for n in networks
    ]
    contents = {
        "online_network_state_dict": states[0],
        "target_network_state_dict": states[1],
        "optimizer_state_dict": optimizer(states[0]),
    }
    return Case(
        contents,
        Flat(networks[0]),
        "torchvision:resnet18",
        512,
        "online_network_state_dict.encoder.",
        names("online_network_state_dict.encoder.", networks[0]),
        other=Other(Flat(networks[1]), key="target_network_state_dict"),
    )


@layout("BYOL of lucidrains, ResNet-18", "bare")
def byol_lucidrains() -> Case:
    """The online encoder wraps the very network that is an attribute of its own."""
    source, target = resnet(18), resnet(18, seed=1)
    online = dict(source.state_dict()) | under("fc.", linear(512, 1000))
    away = dict(target.state_dict()) | under("fc.", linear(512, 1000, seed=3))
    state = under("net.", online)
    state |= under("online_encoder.net.", online) | under("online_encoder.projector.", mlp(512, 1024, 256))
    state |= under("target_encoder.net.", away) | under(
        "target_encoder.projector.", mlp(512, 1024, 256, seed=2)
    )
    state |= under("online_predictor.", mlp(256, 1024, 256))
    return Case(
        state,
        source,
        "torchvision:resnet18",
        512,
        "net.",
        names("net.", source),
        other=Other(target, prefix="target_encoder.net."),
    )


# --------------------------------------------------------------------------------------------- ReSA


def _resa(encoder: nn.Module, momentum: nn.Module, dim: int) -> tuple[dict[str, object], str]:
    parts: State = under("encoder.", dict(encoder.state_dict())) | under(
        "projector.", mlp(dim, 512, 512, 64, last_norm="plain")
    )
    parts |= under("predictor.", mlp(64, 512, 64))
    parts |= under("momentum_encoder.", dict(momentum.state_dict()))
    parts |= under("momentum_projector.", mlp(dim, 512, 512, 64, last_norm="plain", seed=4))
    state = under("module.", parts)
    return {
        "epoch": 100,
        "state_dict": state,
        "optimizer": optimizer(state),
    }, "state_dict.module.momentum_encoder."


@layout("ReSA, ResNet-18", "state_dict")
def resa() -> Case:
    """Its ImageNet stem pads by a layer of its own; the sum is torchvision's padding."""
    networks = [resnet(18, seed) for seed in (0, 1)]
    contents, prefix = _resa(networks[1], networks[0], 512)
    return Case(
        contents,
        Padded(networks[0], kernel_padding=2),
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, networks[0]),
        other=Other(Padded(networks[1], kernel_padding=2), prefix="state_dict.module.encoder."),
    )


@layout("backbone file of DINO, VICReg, Barlow Twins or ReSA, ResNet-50", "bare")
def backbone_only() -> Case:
    source = resnet(50)
    return Case(dict(source.state_dict()), source, "torchvision:resnet50", 2048, "", names("", source))


@layout("ReSA, ViT-Ti/16", "state_dict")
def resa_vit() -> Case:
    networks = [vit(seed=seed) for seed in (0, 1)]
    contents, prefix = _resa(networks[1], networks[0], 192)
    return Case(
        contents,
        networks[0],
        "timm:vit_tiny_patch16_224",
        192,
        prefix,
        names(prefix, networks[0]),
        224,
        Other(networks[1], prefix="state_dict.module.encoder."),
    )


# --------------------------------------------------------------------------------------------- ICCL, DSA


@layout("ICCL, ResNet-18 with norm1 to norm3", "state_dict")
def iccl() -> Case:
    """The online and target nets are lists that hold the same modules once more."""
    networks = [resnet(18, seed) for seed in (0, 1)]
    own = [renamed(dict(n.state_dict()), ("bn", "norm")) for n in networks]
    necks = [mlp(512, 512, 128, seed=seed) for seed in (2, 3)]
    state = under("backbone.", own[0]) | under("neck.", necks[0]) | under("head.proj.", mlp(128, 512, 128))
    state |= under("target_backbone.", own[1]) | under("target_neck.", necks[1])
    state |= under("online_net.0.", own[0]) | under("online_net.1.", necks[0])
    state |= under("target_net.0.", own[1]) | under("target_net.1.", necks[1])
    state = under("module.", state)
    prefix = "state_dict.module.backbone."
    return Case(
        {"epoch": 300, "state_dict": state, "optimizer": optimizer(state)},
        networks[0],
        "torchvision:resnet18",
        512,
        prefix,
        names(prefix, own[0]),
        other=Other(networks[1], prefix="state_dict.module.target_backbone."),
    )


@layout("DSA, CIFAR ResNet-18", "bare")
def dsa() -> Case:
    """The reference network inside has the same stem and shapes as the one that was trained."""
    source, reference = resnet(18, stem="cifar"), resnet(18, seed=1, stem="cifar")
    state = under("model.", dict(source.state_dict())) | under("head.", mlp(512, 1024, 128))
    state |= under("IL.pretrained.", dict(reference.state_dict()))
    state |= under("IL.discriminator.", mlp(256, 128, 1, norm=False))
    state |= under("IL.discriminator2.", mlp(128, 128, 1, norm=False))
    state |= under("bn_last.", dict(scrambled(nn.BatchNorm1d(128)).state_dict()))
    return Case(
        state,
        source,
        CIFAR18,
        512,
        "model.",
        names("model.", source),
        32,
        Other(reference, prefix="IL.pretrained."),
    )


LAYOUTS = layout.layouts
