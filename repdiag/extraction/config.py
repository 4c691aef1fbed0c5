"""How images become embeddings, and the cache key of the result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import PIL
import torch

from repdiag.encoders import Encoder
from repdiag.errors import UsageError
from repdiag.extraction.images import AUGMENTATION
from repdiag.store import CACHE_FORMAT, Shape, key_of
from repdiag.types import Manifest


@dataclass(frozen=True)
class EmbedConfig:
    """How images become embeddings.

    `device` is auto, cpu, mps, cuda or cuda:1; `batch_size` None chooses one. `views` augmentations of
    `view_samples` evaluated samples are embedded too (0: none), drawn with `seed`. `precision` auto is bfloat16
    on CUDA and float32 elsewhere. `workers` threads decode. Up to a share of `max_corrupt` of the images (one
    always, unless it is 0) may be unreadable.
    """

    device: str = "auto"
    batch_size: int | None = None
    views: int = 2
    view_samples: int = 2048
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int | None = None
    max_corrupt: float = 0.01

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("views", 0), ("view_samples", 0), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
        if not 0 <= self.max_corrupt <= 1:
            raise UsageError(f"max_corrupt is a share from 0 to 1, not {self.max_corrupt}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UsageError(f"precision must be auto, float32 or bfloat16, not {self.precision}")


def choose_device(config: EmbedConfig) -> torch.device:
    """The device that `config` means on this machine; raises UsageError when torch cannot use it."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if config.device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    try:
        device = torch.device(config.device)
    except RuntimeError:
        device = None
    if device is None or device.type not in available:
        raise UsageError(f"There is no device '{config.device}'", do="Use auto, cpu, cuda, cuda:1 or mps")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not available[device.type] or (device.index or 0) >= count:
        raise UsageError(
            f"This machine has no device {config.device} that torch can use", do="Use auto or cpu"
        )
    return device


def choose_precision(config: EmbedConfig, device: torch.device) -> torch.dtype:
    """The number format of the forward pass."""
    if config.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def shape_of(encoder: Encoder, manifest: Manifest, config: EmbedConfig) -> Shape:
    """What the extraction makes; the view samples are drawn from the evaluated part without replacement."""
    views = config.views if config.view_samples else 0
    evaluated = np.arange(len(manifest)) if manifest.is_train is None else np.flatnonzero(~manifest.is_train)
    chosen = evaluated[:0]
    if views:
        count = min(config.view_samples, evaluated.size)
        chosen = np.sort(np.random.default_rng(config.seed).choice(evaluated, count, replace=False))
    return Shape(len(manifest), encoder.dim, views, chosen.astype(np.int64))


def key_parts(encoder: Encoder, manifest: Manifest, config: EmbedConfig) -> dict[str, Any]:
    """Everything that determines the embeddings, ready for JSON. The batch size is left out: it moves the
    last bits only. So are max_corrupt and workers, which change what is accepted and how fast.
    """  # fmt: skip
    device = choose_device(config)
    shape = shape_of(encoder, manifest, config)
    preprocessing = dataclasses.asdict(encoder.preprocessing)
    del preprocessing["origin"]  # where the numbers come from does not change the result
    plain = [output.name for output in encoder.outputs] == ["output"] and not encoder.l2
    chosen = {} if plain else {name: encoder.describe()[name] for name in ("features", "l2")}
    return {
        **chosen,  # part of the fingerprint; here for people
        "format": CACHE_FORMAT,
        "encoder": encoder.fingerprint,
        "architecture": encoder.architecture,
        "dim": encoder.dim,
        "preprocessing": preprocessing,
        "data": manifest.fingerprint,
        "device": device.type,
        "precision": str(choose_precision(config, device)).removeprefix("torch."),
        "views": {
            "count": shape.views,
            "samples": int(shape.view_rows.size),
            "seed": config.seed,
            "augmentation": AUGMENTATION,
        }
        if shape.views
        else None,
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "pillow": PIL.__version__.split(".")[0],
    }


def embedding_key(encoder: Encoder, manifest: Manifest, config: EmbedConfig) -> str:
    """SHA-256 (hex) of everything that determines the embeddings: the cache key."""
    return key_of(key_parts(encoder, manifest, config))
