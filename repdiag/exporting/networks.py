"""The backbone inside an encoder, the names of its tensors, and the code that opens them elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from repdiag.encoders import Encoder, zoo
from repdiag.encoders.own_code import FORM
from repdiag.errors import UsageError

PROGRAMS = ("TorchScript program", "torch.export program")


@dataclass(frozen=True)
class Backbone:
    """A network whose tensors can be saved by name.

    `said` goes into the file as `repdiag.architecture` ("" where it cannot be rebuilt from a name), `code` are
    the lines of Python that open the file in another program; FILE stands for its name.
    """

    network: nn.Module
    said: str
    code: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...] = ()


def backbone(encoder: Encoder) -> Backbone:
    """The network of an encoder; UsageError for one that exists only as a program."""
    network = inner(encoder.module)
    name = encoder.architecture
    if name in PROGRAMS or not network.state_dict():
        raise UsageError(
            f"{encoder.name} is a {name}: its tensors fit no architecture that could be rebuilt",
            do="Choose another --format",
        )
    ours = (f'encoder = repdiag.load_encoder("FILE")  # {name}',)
    if FORM.fullmatch(name):
        ours = (f'encoder = repdiag.load_encoder("FILE", arch="{name}")',)
        return Backbone(network, "", ("import repdiag", *ours))
    library = name.partition(":")[0]
    if library in zoo.LIBRARIES and ":" in name:
        code = _timm(name, network) if library == "timm" else _torchvision(name, network)
        return Backbone(network, name, code or ("import repdiag", *ours))
    if re.match(r"cifar-resnet|resnet", name):
        return Backbone(network, "cifar-resnet", ("import repdiag", *ours))
    return Backbone(network, "", ("import repdiag", *ours))


def inner(module: nn.Module) -> nn.Module:
    """What repdiag's own pooling is wrapped around."""
    from repdiag.encoders.weights import Pooled

    while isinstance(module, Pooled):
        module = module.network
    return module


LOAD = 'net.load_state_dict(load_file("FILE"), strict=True)'


def _timm(name: str, network: nn.Module) -> tuple[str, ...]:
    """The lines for timm, () where the plain architecture has other tensors than this one."""
    architecture = zoo.split(name)[1]
    lines = (
        "import timm",
        "from safetensors.torch import load_file",
        f'net = timm.create_model("{architecture}", num_classes=0)',
        LOAD,
    )
    return lines if _shapes(zoo.on_meta(name)) == _shapes(network) else ()


def _torchvision(name: str, network: nn.Module) -> tuple[str, ...]:
    """The lines for torchvision: the full model, and what is to be taken off it."""
    import torchvision

    architecture = zoo.split(name)[1]
    extra = ", aux_logits=False" if architecture in ("googlenet", "inception_v3") else ""
    lines = [
        "import torch, torchvision",
        "from safetensors.torch import load_file",
        f'net = torchvision.models.get_model("{architecture}", weights=None{extra})',
    ]
    with torch.random.fork_rng(devices=[]):
        whole = torchvision.models.get_model(
            architecture, weights=None, **({"aux_logits": False} if extra else {})
        )
    for attribute, full in whole.named_children():
        ours = getattr(network, attribute)
        if isinstance(ours, nn.Identity) and not isinstance(full, nn.Identity):
            lines.append(f"net.{attribute} = torch.nn.Identity()")
        elif isinstance(ours, nn.AdaptiveAvgPool2d) and isinstance(full, nn.AdaptiveAvgPool2d):
            if ours.output_size != full.output_size:
                lines.append(f"net.{attribute} = torch.nn.AdaptiveAvgPool2d(1)")
        elif isinstance(ours, nn.Sequential) and isinstance(full, nn.Sequential) and len(ours) < len(full):
            pools = len(ours) == 1 and isinstance(ours[0], nn.AdaptiveAvgPool2d)
            kept = "torch.nn.AdaptiveAvgPool2d(1)" if pools else f"net.{attribute}[:{len(ours)}]"
            lines.append(f"net.{attribute} = {kept}")
    return (*lines, LOAD) if _shapes(zoo.on_meta(name)) == _shapes(network) else ()


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
