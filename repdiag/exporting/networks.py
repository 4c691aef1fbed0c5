"""The backbone inside an encoder, the names of its tensors, and the code that opens them elsewhere."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass

import torch
from torch import nn

from repdiag.encoders import Encoder, zoo
from repdiag.encoders.features import network_of
from repdiag.encoders.huggingface.vision import Vision
from repdiag.encoders.own_code import FORM
from repdiag.errors import UsageError
from repdiag.exporting.description import packed

READ_OFF = {"cifar-resnet": "resnet", "resnet": "resnet", "vit-": "vit", "conv": "convnet"}
"""How the names of networks that are read off the shapes begin, and what --arch calls them."""

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
    network = network_of(encoder.module)
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
        if not code and isinstance(getattr(network, "blocks", None), nn.Sequential):  # resampled positions
            return Backbone(network, "vit", ("import repdiag", *ours), _hints(_heads(network)))
        code = code or ("import repdiag", *ours)
        if library == "timm" and _takes_class_token(name, network):  # not what the name alone gives
            hints = _hints({"class_token": True, "family": zoo.split(name)[1]})
            return Backbone(network, "", (*code, 'net.global_pool = "token"'), hints)
        return Backbone(network, name, code)
    if isinstance(network, Vision):
        return _transformers(name, network)
    family = next((kind for start, kind in READ_OFF.items() if name.startswith(start)), "")
    untold = {"resnet": _stem, "vit": _heads}.get(family)
    return Backbone(network, family, ("import repdiag", *ours), _hints(untold(network)) if untold else ())


def _hints(untold: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return (("repdiag.hints", packed(untold)),)


def _stem(network: nn.Module) -> dict[str, object]:
    """What the shapes of a ResNet of ours do not tell."""
    convolution, pool = network.get_submodule("conv1"), network.get_submodule("maxpool")
    assert isinstance(convolution, nn.Conv2d)
    said: dict[str, object] = {
        "stem_padding": int(convolution.padding[0]),
        "max_pool": isinstance(pool, nn.MaxPool2d),
    }
    return said | {"stem_relu": isinstance(network.relu, nn.ReLU)}


def _heads(network: nn.Module) -> dict[str, object]:
    """What the shapes of a ViT of ours do not tell."""
    return {"heads": network.get_submodule("blocks.0.attn").num_heads}


def _takes_class_token(name: str, network: nn.Module) -> bool:
    """Whether the network was told to give its class token where timm's averages the patches."""
    usual = getattr(zoo.on_meta(name), "global_pool", None)
    return getattr(network, "global_pool", None) == "token" != usual


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
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initializations, which are not used
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


def _transformers(name: str, network: Vision) -> Backbone:
    """The model inside, under the names of the installed version of transformers."""
    config = packed(network.config)
    pooler = any(part == "pooler" for part, _ in network.model.named_children())
    accepts = "add_pooling_layer" in inspect.signature(type(network.model).__init__).parameters
    without = ", add_pooling_layer=False" if accepts and not pooler else ""
    code = (
        "import json, transformers",
        "from safetensors import safe_open",
        "from safetensors.torch import load_file",
        'config = json.loads(safe_open("FILE", "pt").metadata()["repdiag.config"])',
        "config = transformers.AutoConfig.for_model(**config)",
        f"net = transformers.{name.partition(':')[2]}(config{without})",
        LOAD,
    )
    return Backbone(network.model, name, code, (("repdiag.config", config),))


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
