"""What a built network tells about its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from repdiag.encoders import zoo
from repdiag.encoders.input import Interpolation, Preprocessing
from repdiag.errors import UsageError


def of_library(name: str, network: nn.Module) -> Preprocessing:
    """What timm or torchvision say about one of their networks."""
    library, architecture = zoo.split(name)
    return _timm(network) if library == "timm" else _torchvision(architecture)


def _timm(network: nn.Module) -> Preprocessing:
    from timm.data.config import resolve_model_data_config

    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    channels, size = int(config["input_size"][0]), int(config["input_size"][-1])
    interpolation = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return Preprocessing(
        size,
        max(size, math.floor(size / config["crop_pct"])),
        cast(Interpolation, interpolation),
        tuple(map(float, config["mean"])),
        tuple(map(float, config["std"])),
        channels,
        "timm's pretrained config",
    )


def _torchvision(architecture: str) -> Preprocessing:
    transform = zoo.first_weights(architecture).transforms()
    size = int(transform.crop_size[0])
    return Preprocessing(
        size,
        max(size, int(transform.resize_size[0])),
        cast(Interpolation, transform.interpolation.value),
        tuple(transform.mean),
        tuple(transform.std),
        3,
        "torchvision's weights",
    )


def of_module(network: nn.Module, channels: int) -> Preprocessing | None:
    """What a network of the user's own says about itself in plain attributes, None when it says nothing.

    `input_size` is an int or (..., H, W), 224 without; `mean` and `std` are sequences of numbers, and without
    them the images stay in [0, 1]; `resize` and `interpolation` may be there. Raises UsageError when they do
    not fit together.
    """
    size: Any = getattr(network, "input_size", None)
    if isinstance(size, Sequence) and size:
        size = size[-1]
    mean, std = _numbers(network, "mean"), _numbers(network, "std")
    if size is None and mean is None and std is None:
        return None
    size = 224 if size is None else size
    channels = len(mean or std or (0.0,) * channels)
    try:
        return Preprocessing(
            size,
            getattr(network, "resize", size),
            getattr(network, "interpolation", "bilinear"),
            mean or (0.0,) * channels,
            std or (1.0,) * channels,
            channels,
            "the architecture file",
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"The preprocessing in the architecture file does not fit: {error}") from error


def _numbers(network: nn.Module, name: str) -> tuple[float, ...] | None:
    value = getattr(network, name, None)
    if isinstance(value, (tuple, list)) and value and all(isinstance(v, (int, float)) for v in value):
        return tuple(map(float, value))
    return None  # a buffer called `mean` belongs to a network that normalizes by itself


def input_channels(network: nn.Module) -> int:
    """1 or 3, from the first convolution; 3 where it does not tell."""
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3
