"""The architectures of timm and torchvision without their heads: (B, 3, H, W) -> pooled features."""

from __future__ import annotations

import functools
import urllib.error
from typing import Any

import torch
from torch import nn

from repdiag.errors import CheckpointError, UsageError
from repdiag.quiet import quiet
from repdiag.registry import did_you_mean

LIBRARIES = ("torchvision", "timm")
"""In the order in which they are preferred when both have the very same network."""


@functools.cache
def names(library: str) -> tuple[str, ...]:
    """All image classification architectures that the installed `library` can build."""
    if library == "timm":
        import timm

        return tuple(timm.list_models())
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


def split(name: str) -> tuple[str, str]:
    """`library:architecture` as a pair; a bare architecture belongs to the first library that has it.

    Raises UsageError with the closest name when there is no such architecture.
    """
    library, colon, architecture = name.partition(":")
    if not colon:
        for library in LIBRARIES:
            if name in names(library):
                return library, name
        known = [known for library in LIBRARIES for known in names(library)]
        raise UsageError(f"There is no architecture '{name}'", do=_suggestion(name, known))
    if library not in LIBRARIES:
        raise UsageError(f"There is no model library '{library}'", do="Use timm:NAME or torchvision:NAME")
    base = architecture.partition(".")[0] if library == "timm" else architecture
    if base not in names(library):
        do = _suggestion(base, list(names(library)))
        raise UsageError(f"{library} has no architecture '{architecture}'", do=do)
    return library, architecture


def _suggestion(name: str, known: list[str]) -> str:
    advice = did_you_mean(name, known)
    return advice if advice.startswith("Did") else "`timm.list_models()` lists what there is"


def build(name: str, *, pretrained: bool = False) -> nn.Module:
    """The headless network called `name` (see `split`), in eval mode, on the current default device.

    With `pretrained`, the library downloads its weights; CheckpointError when it cannot.
    """
    library, architecture = split(name)
    make = _timm if library == "timm" else _torchvision
    with quiet():  # deprecated aliases, slow-kernel hints, every retry of the hub
        try:
            return make(architecture, pretrained).eval()
        except (OSError, urllib.error.URLError) as error:
            raise CheckpointError(
                f"Cannot download the weights of {library}'s {architecture}: {_first_line(error)}",
                do="Check the network, or give a checkpoint file",
            ) from error
        except RuntimeError as error:
            if not pretrained:
                raise
            raise CheckpointError(
                f"{library} has no usable pretrained weights for {architecture}: {_first_line(error)}",
                do="Choose another name, or give a checkpoint file",
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _timm(architecture: str, pretrained: bool) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(architecture, pretrained=pretrained, num_classes=0)
    return network


def _torchvision(architecture: str, pretrained: bool) -> nn.Module:
    import torchvision

    options: dict[str, Any] = {"weights": first_weights(architecture) if pretrained else None}
    if architecture in ("googlenet", "inception_v3") and not pretrained:
        options |= {"aux_logits": False, "init_weights": False}  # auxiliary heads serve training only
    network: nn.Module = torchvision.models.get_model(architecture, **options)
    _remove_head(network)
    return network


def first_weights(architecture: str) -> Any:
    """torchvision's first published weights of an architecture (those of its paper), which name a preprocessing."""
    import torchvision

    return next(iter(torchvision.models.get_model_weights(architecture)))


def _remove_head(network: nn.Module) -> None:
    """Replace what follows the pooled features by nothing; what normalizes or pools them stays."""
    for attribute in ("fc", "head", "heads"):
        if isinstance(getattr(network, attribute, None), nn.Module):
            setattr(network, attribute, nn.Identity())
    classifier = getattr(network, "classifier", None)
    if isinstance(classifier, nn.Sequential):
        network.classifier = _before_first_weights(classifier)
    elif isinstance(classifier, nn.Module):
        network.classifier = nn.Identity()
    pool = getattr(network, "avgpool", None)
    if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size not in (1, (1, 1)):
        network.avgpool = nn.AdaptiveAvgPool2d(1)  # VGG, AlexNet: 7x7 maps feed their hidden layers


def _before_first_weights(classifier: nn.Sequential) -> nn.Sequential:
    """The part of a classifier that still belongs to the features (ConvNeXt's norm, MaxViT's pooling)."""
    kept: list[nn.Module] = []
    for layer in classifier:
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.Dropout)):
            break
        kept.append(layer)
    if not kept and any(isinstance(layer, nn.Conv2d) for layer in classifier):
        kept.append(nn.AdaptiveAvgPool2d(1))  # SqueezeNet pools behind its head
    return nn.Sequential(*kept)


def on_meta(name: str) -> nn.Module:
    """The network without memory for its weights: names and shapes only."""
    try:
        with torch.device("meta"):
            return build(name)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return build(name).to("meta")
