"""What is known about an encoder's input, from the most to the least certain source."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import nn

from repdiag.encoders import zoo
from repdiag.encoders.types import Interpolation, Preprocessing
from repdiag.errors import CheckpointError, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAY_MEAN, GRAY_STD = (0.449,), (0.226,)  # the same, averaged over the colors


def doubt(known: Preprocessing, asked: Sequence[float] | None) -> tuple[str, ...]:
    """A warning where mean and std are a guess that the user did not replace."""
    if asked is not None or not known.origin.startswith("assumed"):
        return ()
    values = f"mean {known.mean}, std {known.std}"
    return (
        f"how images were normalized in training is not known; {values} were assumed (--mean, --std, --size)",
    )


def imagenet(size: int, resize: int, channels: int, origin: str) -> Preprocessing:
    """ImageNet's usual mean and std at the given size."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GRAY_MEAN, GRAY_STD)
    return Preprocessing(size, resize, "bilinear", mean, std, channels, origin)


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


def of_metadata(metadata: Mapping[str, str], where: str) -> Preprocessing | None:
    """What the file itself says under `repdiag.preprocessing`; CheckpointError when that is malformed.

    `size`, `mean` and `std` are needed; `resize` is `size`, `interpolation` bilinear where they are absent.
    """
    text = metadata.get("repdiag.preprocessing")
    if text is None:
        return None
    try:
        said: dict[str, Any] = json.loads(text)
        mean, std = tuple(map(float, said["mean"])), tuple(map(float, said["std"]))
        size = int(said["size"])
        return Preprocessing(
            size,
            int(said.get("resize", size)),
            said.get("interpolation", "bilinear"),
            mean,
            std,
            int(said.get("channels", len(mean))),
            "the file's metadata",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            f"The file's own 'repdiag.preprocessing' cannot be used: {detail}", where=where
        ) from error


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


def override(
    base: Preprocessing,
    *,
    size: int | None,
    resize: int | None,
    interpolation: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocessing:
    """`base` with the fields that the user set; a new size alone keeps the proportion of the crop.

    Raises UsageError when the result makes no sense.
    """
    changes: dict[str, Any] = {}
    if size is not None:
        changes |= {"size": size, "resize": max(size, round(size * base.resize / base.size))}
    if resize is not None:
        changes["resize"] = resize
    if interpolation is not None:
        changes["interpolation"] = interpolation
    for name, values, filler in (("mean", mean, 0.0), ("std", std, 1.0)):
        if values is not None:
            changes[name] = tuple(map(float, values))
            if len(values) != base.channels:  # the other one is of no use any more
                changes["channels"] = len(values)
                other = "std" if name == "mean" else "mean"
                changes.setdefault(other, (1.0 - filler,) * len(values))
    if not changes:
        return base
    given = {"size": size, "resize": resize, "interpolation": interpolation, "mean": mean, "std": std}
    names = ", ".join(name for name, value in given.items() if value is not None)
    rest = "" if all(v is not None for v in given.values()) else f"; the rest: {base.origin}"
    try:
        return dataclasses.replace(base, **changes, origin=f"{names} set by the user{rest}")
    except (TypeError, ValueError) as error:
        raise UsageError(f"The preprocessing makes no sense: {error}") from error
