"""A tiny encoder, a few images in memory, and training jobs on them: milliseconds a step."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from repdiag.encoders import Encoder, Loading, Preprocessing
from repdiag.encoders.weights import OWN, Pooled, fingerprint, frozen
from repdiag.objectives.contract import REGULARIZERS, Needs, Outputs, Regularizer
from repdiag.objectives.parameters import NoneParameters, Parameters, QScoreParameters, number
from repdiag.sources import Images
from repdiag.training.config import TuneConfig
from repdiag.training.images import TrainingImages, training_images
from repdiag.training.job import TrainJob
from repdiag.types import Manifest

HOW = Preprocessing(8, 10, "bilinear", (0.5,) * 3, (0.25,) * 3, 3, "a test")
DIM = 20  # Q-Score needs more than 17


def network() -> nn.Module:
    """Two convolutions with batch norm and dropout; features of a ReLU."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(8, DIM, 3, stride=2, bias=False),
        nn.BatchNorm2d(DIM),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def encoder(made: nn.Module | None = None) -> Encoder:
    """It as an encoder."""
    made = frozen(network() if made is None else made)
    mark = fingerprint(made.state_dict(), "tiny", OWN)
    return Encoder(Pooled(made, OWN).eval(), "tiny", "tiny", DIM, HOW, mark, Loading("a test"))


def images(n: int = 28, seed: int = 0, labels: bool = False, memory: float = 1.0) -> TrainingImages:
    """n images of 12 pixels: a bright square somewhere on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (n, 12, 12, 3), dtype=np.uint8)
    for i, (x, y) in enumerate(rng.integers(0, 8, (n, 2))):
        pixels[i, x : x + 4, y : y + 4, i % 3] = 250
    coded = []
    for one in pixels:
        file = io.BytesIO()
        Image.fromarray(one).save(file, "png")
        coded.append(file.getvalue())
    truth = np.arange(n) % 3 if labels else None
    names = ("r", "g", "b") if labels else ()
    manifest = Manifest(tuple(f"{i}.png" for i in range(n)), truth, names, None, f"sample {n} {seed}")
    source = Images("sample", manifest, (), coded.__getitem__)
    return training_images(source, np.arange(n), HOW, memory=memory, workers=1)


def config(**changed: Any) -> TuneConfig:
    """Two epochs of 3 steps (28 images by 8), one of warm-up."""
    plain: dict[str, Any] = {
        "epochs": 2, "batch_size": 8, "optimizer": "sgd", "lr": 0.05, "warmup_epochs": 0.5, "blur": 0.0,
        "checkpoint_seconds": 3600.0, "collapse_rank": 0.0, "collapse_usage": 0.0,
    }  # fmt: skip
    return TuneConfig(**(plain | changed))


QSCORE = QScoreParameters(eps=1.5, lower=0.0, upper=100.0)
"""What 20 features of an untrained network have a Q-Score with."""


def job(folder: Path, regularizer: Parameters | None = None, **changed: Any) -> TrainJob:
    """A job; fields of TrainJob and of TuneConfig by name."""
    own = {one.name for one in dataclasses.fields(TrainJob)}
    fields: dict[str, Any] = {name: value for name, value in changed.items() if name in own}
    numbers = {name: value for name, value in changed.items() if name not in own}
    plain: dict[str, Any] = {
        "encoder": encoder(), "projector": None, "images": images(), "validation": images(9, seed=1),
        "config": config(**numbers), "regularizer": regularizer or NoneParameters(), "folder": folder,
        "device": torch.device("cpu"),
    }  # fmt: skip
    return TrainJob(**(plain | fields))


@dataclasses.dataclass(frozen=True)
class ProbeParameters(Parameters):
    """Of a regularizer made for tests."""

    name: ClassVar[str] = "probe"

    weight: float = number(0.0, "Weight.")
    reference: str = number("images", "images, views or nothing.")
    collapse: bool = number(False, "Pull all features to one place.")
    nan_at: int = number(10**9, "The step (with a gradient) at which a term is no number.")


class ProbeRegularizer(Regularizer):
    """Asks for everything and notes what it got; its one term is 0 unless told otherwise."""

    kind: ClassVar[type[Parameters]] = ProbeParameters
    title: ClassVar[str] = "probe"
    source: ClassVar[str] = "a test"
    numbers: ProbeParameters
    seen: ClassVar[list[Outputs]] = []
    epochs: ClassVar[list[tuple[int, Tensor]]] = []
    followed: ClassVar[list[float]] = []

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        super().__init__(parameters, **numbers)
        kind: Any = self.numbers.reference
        self.needs = Needs(images=True, reference=kind, momentum=0.9, weak_view=True)
        self.calls = 0  # a plain attribute: resuming must bring it back

    def begin_epoch(self, epoch: int, features: Iterable[Tensor]) -> None:
        type(self).epochs.append((epoch, torch.cat(list(features))))

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        type(self).seen.append(outputs)
        self.calls += 1
        both = outputs.both
        pull = (both - 1.0).square().sum(1).mean() if self.numbers.collapse else both.square().mean()
        wrong = float("nan") if self.calls > self.numbers.nan_at else 1.0
        return {"pull": self.numbers.weight * wrong * pull}

    def follow(self, momentum: float) -> None:
        type(self).followed.append(momentum)

    def facts(self) -> Mapping[str, float]:
        return {"calls": float(self.calls)}


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> type[ProbeRegularizer]:
    """The probe, registered for one test, with empty notes."""
    list(REGULARIZERS)
    monkeypatch.setitem(REGULARIZERS._items, "probe", ProbeRegularizer)
    for name in ("seen", "epochs", "followed"):
        monkeypatch.setattr(ProbeRegularizer, name, [])
    return ProbeRegularizer
