"""SwAV, VICReg and Barlow Twins."""

from __future__ import annotations

from layouts.case import Case, Collection, linear, mlp, names, optimizer, under
from layouts.resnets import Padded, resnet, widened

layout = Collection()


@layout("SwAV, ResNet-50", "bare")
def swav() -> Case:
    """The released file; its stem leaves one pixel of padding to a layer before it."""
    network = resnet(50)
    state = dict(network.state_dict()) | under("projection_head.", mlp(2048, 2048, 128))
    state = under("module.", state | under("prototypes.", linear(128, 3000, bias=False)))
    source = Padded(network, kernel_padding=2)
    return Case(state, source, "torchvision:resnet50", 2048, "module.", names("module.", network))


@layout("SwAV in training, w2 of two stages", "state_dict")
def swav_training() -> Case:
    network = widened(2, [1, 1])
    state = dict(network.state_dict()) | under("projection_head.", mlp(1024, 512, 128))
    prototypes = under("prototypes0.", linear(128, 300, bias=False)) | under(
        "prototypes1.", linear(128, 300, bias=False)
    )
    state = under("module.", state | under("prototypes.", prototypes))
    amp = {"loss_scaler0": {"loss_scale": 65536.0, "unskipped": 30}}
    prefix = "state_dict.module."
    return Case(
        {"epoch": 400, "state_dict": state, "optimizer": optimizer(state), "amp": amp},
        Padded(network, kernel_padding=2),
        "resnet8 (bottleneck, 128-256)",
        1024,
        prefix,
        names(prefix, network),
    )


@layout("VICReg, ResNet-34", "model")
def vicreg() -> Case:
    network = resnet(34)
    state = under("module.backbone.", dict(network.state_dict()))
    state |= under("module.projector.", mlp(512, 1024, 1024, 1024))
    prefix = "model.module.backbone."
    return Case(
        {"epoch": 100, "model": state, "optimizer": optimizer(state)},
        Padded(network, kernel_padding=2),
        "torchvision:resnet34",
        512,
        prefix,
        names(prefix, network),
    )


@layout("Barlow Twins, ResNet-50", "model")
def barlow_twins() -> Case:
    source = resnet(50)
    state = under("backbone.", dict(source.state_dict()))
    state |= under("projector.", mlp(2048, 512, 512, 512, bias=False))
    bn = {n: t for n, t in mlp(8, 512, last_norm="plain").items() if n.startswith("1.")}
    state = under("module.", state | {n.replace("1.", "bn."): t for n, t in bn.items()})
    prefix = "model.module.backbone."
    return Case(
        {"epoch": 1000, "model": state, "optimizer": optimizer(state)},
        source,
        "torchvision:resnet50",
        2048,
        prefix,
        names(prefix, source),
    )


LAYOUTS = layout.layouts
