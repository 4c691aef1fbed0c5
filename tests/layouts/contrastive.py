"""MoCo and the ports of SimCLR."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from layouts.case import (
    Case,
    Collection,
    Other,
    State,
    linear,
    mlp,
    names,
    optimizer,
    scrambled,
    under,
    uninitialized,
)
from layouts.resnets import Flat, as_sequence, resnet, widened
from layouts.vits import vit

layout = Collection()


def _moco(depth: int, query: ResNet, key: ResNet, head: dict[str, State], arch: str) -> Case:
    q = under("module.encoder_q.", dict(query.state_dict()) | head["q"])
    k = under("module.encoder_k.", dict(key.state_dict()) | head["k"])
    queue = {
        "module.queue": nn.functional.normalize(torch.randn(128, 1024), dim=0),
        "module.queue_ptr": torch.tensor([512]),
    }
    return Case(
        {"epoch": 200, "arch": arch, "state_dict": q | k | queue, "optimizer": optimizer(q)},
        query,
        f"torchvision:{arch}",
        2048 if depth >= 50 else 512,
        "state_dict.module.encoder_q.",
        names("state_dict.module.encoder_q.", query),
        other=Other(key, prefix="state_dict.module.encoder_k."),
    )


@layout("MoCo v1, ResNet-18", "state_dict")
def moco_v1() -> Case:
    heads = {"q": under("fc.", linear(512, 128)), "k": under("fc.", linear(512, 128, seed=5))}
    return _moco(18, resnet(18), resnet(18, seed=1), heads, "resnet18")


@layout("MoCo v2, ResNet-50", "state_dict")
def moco_v2() -> Case:
    heads = {c: under("fc.", mlp(2048, 2048, 128, norm=False, seed=s)) for c, s in (("q", 1), ("k", 2))}
    return _moco(50, resnet(50), resnet(50, seed=1), heads, "resnet50")


def _moco_v3(base: nn.Module, momentum: nn.Module, head: str, dim: int, arch: str, size: int) -> Case:
    projector = under(head, mlp(dim, 512, 512, 64, last_norm="plain", bias=False))
    state = under("module.base_encoder.", dict(base.state_dict()) | projector)
    state |= under("module.momentum_encoder.", dict(momentum.state_dict()) | projector)
    state |= under("module.predictor.", mlp(64, 512, 64, last_norm="plain", bias=False))
    contents = {
        "epoch": 300,
        "arch": arch,
        "state_dict": state,
        "optimizer": optimizer(state, kind="adam"),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 12},
    }
    return Case(
        contents,
        base,
        "vit-384x12/16 (12 heads, 224 pixels)" if arch == "vit_small" else f"torchvision:{arch}",
        dim,
        "state_dict.module.base_encoder.",
        names("state_dict.module.base_encoder.", base),
        size,
        Other(momentum, prefix="state_dict.module.momentum_encoder."),
    )


@layout("MoCo v3, ResNet-18", "state_dict")
def moco_v3_resnet() -> Case:
    return _moco_v3(resnet(18), resnet(18, seed=1), "fc.", 512, "resnet18", 64)


@layout("MoCo v3, ViT-S/16 (12 heads)", "state_dict")
def moco_v3_vit() -> Case:
    return _moco_v3(vit(384, heads=12), vit(384, heads=12, seed=1), "head.", 384, "vit_small", 224)


# --------------------------------------------------------------------------------------------- SimCLR


@layout("SimCLR of sthalles, ResNet-18", "state_dict")
def simclr_sthalles() -> Case:
    source = resnet(18)
    state = under("backbone.", dict(source.state_dict()) | under("fc.", mlp(512, 512, 128, norm=False)))
    return Case(
        {"epoch": 100, "arch": "resnet18", "state_dict": state, "optimizer": optimizer(state, kind="adam")},
        source,
        "torchvision:resnet18",
        512,
        "state_dict.backbone.",
        names("state_dict.backbone.", source),
    )


@layout("SimCLR of Spijkervet, ResNet-18", "bare")
def simclr_spijkervet() -> Case:
    source = resnet(18)
    projector = under("projector.", mlp(512, 512, 64, norm=False, bias=False))
    state = under("encoder.", dict(source.state_dict())) | projector
    return Case(state, source, "torchvision:resnet18", 512, "encoder.", names("encoder.", source))


@layout("SimCLR with enc. and a CIFAR stem, ResNet-18", "bare")
def simclr_enc() -> Case:
    source = resnet(18, stem="cifar")
    projector = under("projector.", mlp(512, 2048, 128, norm=False))
    state = under("enc.", dict(source.state_dict())) | projector
    return Case(state, source, CIFAR18, 512, "enc.", names("enc.", source), size=32)


CIFAR18 = "cifar-resnet18 (basic, 64-128-256-512)"


@layout("SimCLR of leftthomas, ResNet-18 without max-pooling", "bare")
def simclr_leftthomas() -> Case:
    network = resnet(18, stem="cifar")
    encoder = as_sequence(network, without=("maxpool", "fc"))
    head = {"0": linear(512, 512, bias=False), "3": linear(512, 128)}
    norm = dict(scrambled(nn.BatchNorm1d(512)).state_dict())
    state = under("f.", dict(encoder.state_dict()))
    state |= under("g.0.", head["0"]) | under("g.1.", norm) | under("g.3.", head["3"])
    return Case(state, Flat(encoder), CIFAR18, 512, "f.", names("f.", encoder), size=32)


@layout("SimCLR converted from TensorFlow (tonylins), w4 of two stages", "state_dict")
def simclr_converter() -> Case:
    source = widened(4, [1, 1])
    state = dict(source.state_dict()) | under("fc.", linear(2048, 1000))
    return Case(
        {"state_dict": state},
        source,
        "resnet8 (bottleneck, 256-512)",
        2048,
        "state_dict.",
        names("state_dict.", source),
    )


class SimClr2Block(nn.Module):
    """A bottleneck of Separius' port; the convolutions and norms alternate in one Sequential."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        if project:
            self.projection = nn.Module()
            self.projection.shortcut = _conv(inputs, 4 * width, 1, stride)
            self.projection.bn = _norm_relu(4 * width, relu=False)
        self.net = nn.Sequential(
            _conv(inputs, width, 1, 1), _norm_relu(width), _conv(width, width, 3, stride), _norm_relu(width),
            _conv(width, 4 * width, 1, 1), _norm_relu(4 * width, relu=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if hasattr(self, "projection"):
            shortcut = self.projection.bn(self.projection.shortcut(x))  # type: ignore[operator]
        return nn.functional.relu(self.net(x) + shortcut)


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=False)


def _norm_relu(width: int, relu: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU() if relu else nn.Identity())


class SimClr2Stage(nn.Module):
    def __init__(self, count: int, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        first = SimClr2Block(inputs, width, stride, project=True)
        self.blocks = nn.ModuleList(
            [first, *(SimClr2Block(4 * width, width, 1, project=False) for _ in range(count - 1))]
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class SimClr2(nn.Module):
    """Separius' ResNet without selective kernels."""

    def __init__(self, layers: list[int]) -> None:
        super().__init__()
        stem = nn.Sequential(_conv(3, 64, 7, 2), _norm_relu(64), nn.MaxPool2d(3, 2, padding=1))
        stages, inputs = [], 64
        for number, count in enumerate(layers):
            width = 64 * 2**number
            stages.append(SimClr2Stage(count, inputs, width, 1 if number == 0 else 2))
            inputs = 4 * width
        self.net = nn.Sequential(stem, *stages)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images).mean(dim=(2, 3))
        return out


@layout("SimCLRv2 converted from TensorFlow (Separius), ResNet-152", "resnet, head")
def simclr_v2() -> Case:
    with uninitialized():
        source = SimClr2([3, 8, 36, 3])
    scrambled(source)
    head = {}
    for i in range(3):
        width = 128 if i == 2 else 2048
        head |= under(f"layers.{3 * i}.", linear(2048, width, bias=False))
        head |= under(f"layers.{3 * i + 1}.", dict(scrambled(nn.BatchNorm1d(width)).state_dict()))
    contents = {"resnet": dict(source.state_dict()) | under("fc.", linear(2048, 1000)), "head": head}
    return Case(contents, source, "torchvision:resnet152", 2048, "resnet.", names("resnet.", source))


LAYOUTS = layout.layouts
