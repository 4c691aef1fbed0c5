"""All choices behind a fine-tuning run, checked where they are made. No torch: the command line shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from repdiag.errors import UsageError
from repdiag.objectives import base_names
from repdiag.registry import did_you_mean


def choice(default: Any, help: str) -> Any:
    """A field with the text of its flag."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class TuneConfig:
    """What the tuned weights depend on besides the encoder, the images and the regularizer's own numbers.

    The defaults are those of the Q-Score paper where it says them (LARS, lr 1e-5, 50 epochs, warm-up and cosine; P);
    all others are ours. At that rate lightly's LARS, whose trust coefficient is 0.001, moves a weight by at most 1e-7
    of its length per step: on less than ImageNet hardly anything changes, and the presets for small data take SGD.
    `batch_size` is that of one optimizer step over all processes and accumulated parts.
    """

    base: str = choice("simclr", "Objective that training goes on with.")
    epochs: int = choice(50, "Passes over the training images.")
    batch_size: int = choice(256, "Images per optimizer step, over all processes and accumulated parts.")
    accumulate: int = choice(1, "Parts that a batch is passed in; negatives are those of a part.")
    optimizer: Literal["lars", "sgd", "adamw"] = choice(
        "lars", "LARS, SGD or AdamW; LARS needs rates far above SGD's."
    )
    lr: float = choice(1e-5, "Learning rate at its peak.")
    min_lr: float = choice(0.0, "Learning rate at the end of the cosine.")
    warmup_epochs: float = choice(5.0, "Epochs in which the learning rate rises, at most half of all.")
    head_epochs: float = choice(1.0, "Epochs for which new heads are trained alone first.")
    head_lr: float = choice(0.1, "Learning rate of that (SGD).")
    momentum: float = choice(0.9, "Momentum of LARS and SGD; AdamW has its own.")
    weight_decay: float = choice(1e-6, "Weight decay; none on biases and norms.")
    clip: float = choice(0.0, "Largest norm of the gradient; 0 leaves it.")
    ema: float = choice(0.0, "Keep an average of the weights with this momentum as the result; 0: none.")
    views: int = choice(2, "Views per image; those beyond two are small crops (swav and dino).")
    crop_min: float = choice(0.2, "Smallest share of the image's area in a crop.")
    small_crop_max: float = choice(0.3, "Largest share of the area in a small crop.")
    color: float = choice(0.5, "Strength of the color jitter; 0: none, and no gray views.")
    blur: float = choice(0.5, "Share of views that are blurred.")
    solarize: float = choice(0.0, "Share of second views that are solarized (BYOL has 0.2).")
    projector: Literal["checkpoint", "fresh"] = choice(
        "checkpoint", "The checkpoint's own projector, where it has one, or a fresh one."
    )
    batch_norm: Literal["train", "frozen"] = choice(
        "train", "Whether the encoder's batch norms learn, or keep their statistics."
    )
    validation: float = choice(0.1, "Share of the training images kept for the held-out loss; 0: none.")
    patience: int = choice(0, "Stop after so many epochs without a lower held-out loss; 0: never.")
    collapse_rank: float = choice(0.1, "Stop when RankMe falls below this share of what it was; 0: never.")
    collapse_usage: float = choice(
        0.5, "Stop when fewer than this share of the features used before vary; 0: never."
    )
    precision: Literal["auto", "float32", "bfloat16"] = choice("auto", "bfloat16 on CUDA, else float32.")
    image_memory: float = choice(
        4.0, "GB for images in each process; what does not fit is decoded in every epoch."
    )
    checkpoint_seconds: float = choice(60.0, "Time between saved states.")
    seed: int = choice(0, "Seed of order, views and new heads.")

    def __post_init__(self) -> None:
        if self.base not in base_names():
            raise UsageError(
                f"There is no base '{self.base}'", do=did_you_mean(self.base, list(base_names()))
            )
        for name, least in (
            ("epochs", 1), ("batch_size", 2), ("accumulate", 1), ("views", 2), ("patience", 0), ("min_lr", 0),
            ("warmup_epochs", 0), ("head_epochs", 0), ("momentum", 0), ("weight_decay", 0), ("clip", 0),
            ("color", 0), ("collapse_rank", 0), ("collapse_usage", 0), ("image_memory", 0),
            ("checkpoint_seconds", 0), ("seed", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if not math.isfinite(value) or value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
        for name in ("lr", "head_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be above 0, not {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(
                    f"There is no {name.replace('_', ' ')} '{getattr(self, name)}'",
                    do=did_you_mean(str(getattr(self, name)), list(choices)),
                )
        for name in (
            "momentum", "ema", "blur", "solarize", "validation", "collapse_rank", "collapse_usage",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.min_lr > self.lr:
            raise UsageError(f"min_lr, {self.min_lr:g}, is the end of a fall from lr, {self.lr:g}")
        if self.ema == 1 or self.momentum == 1 or self.validation > 0.5:
            raise UsageError("ema and momentum must be below 1, validation at most 0.5")
        for name in ("crop_min", "small_crop_max"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share above 0, not {getattr(self, name)}")
        if self.batch_size % self.accumulate:
            raise UsageError(
                f"{self.batch_size} images cannot be passed in {self.accumulate} equal parts",
                do="Choose an --accumulate that divides --batch-size",
            )
        if self.patience and not self.validation:
            raise UsageError("patience looks at the held-out loss, and validation is 0")


_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("lars", "sgd", "adamw"),
    "projector": ("checkpoint", "fresh"),
    "batch_norm": ("train", "frozen"),
    "precision": ("auto", "float32", "bfloat16"),
}

PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01, "warmup_epochs": 0.5, "head_epochs": 1.0,
        "weight_decay": 5e-4, "blur": 0.0,
    },
    "cifar": {
        "epochs": 50, "batch_size": 256, "optimizer": "sgd", "lr": 0.03, "warmup_epochs": 2.0,
        "weight_decay": 5e-4, "blur": 0.0,
    },
    "imagenet": {"epochs": 50, "batch_size": 1024, "crop_min": 0.08},
}  # fmt: skip
"""What differs from the defaults. "imagenet" keeps the paper's optimizer and rate; the others are ours."""
