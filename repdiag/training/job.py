"""What is to be trained, what came of it, and what tells one run from another."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repdiag.encoders import Encoder
from repdiag.encoders.weights import fingerprint
from repdiag.objectives.parameters import Parameters
from repdiag.training.config import TuneConfig
from repdiag.training.images import TrainingImages
from repdiag.types import Table

FORMAT = 1
"""Rises when the same job would give other weights, so that no run goes on from a state of the old kind."""
_NO_MATTER = ("checkpoint_seconds",)
"""Choices that the weights do not depend on."""


@dataclass(frozen=True, eq=False)
class TrainJob:
    """One training run. `encoder` and `projector` (the checkpoint's, or None) are copied and stay as they are.

    `validation` are the images of the held-out loss (None: none is measured). `folder` holds the run's state, log and
    result, and belongs to it alone. `classes` tells regularizers how many classes are known. `name` is for people
    (by default the regularizer's), `identity` further text that must be equal for a run to go on.
    """

    encoder: Encoder
    projector: nn.Module | None
    images: TrainingImages
    validation: TrainingImages | None
    config: TuneConfig
    regularizer: Parameters
    folder: Path
    device: torch.device
    loggers: tuple[str, ...] = ("csv",)
    classes: int | None = None
    name: str = ""
    identity: str = ""

    @property
    def title(self) -> str:
        """The run's name for people."""
        return self.name or self.regularizer.name


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run gave. `encoder` is a new one: tuned, in eval mode, frozen, on the CPU.

    `state` are the tensors of its network by the network's own names, float32 where they are floats; `projector`
    likewise those of the base's projector, where it has one child of that name. `log` has one row per epoch (0: the
    start, after the warm-up of new heads), see `repdiag.training.course`. `facts` say in JSON's types what happened.
    """

    encoder: Encoder
    state: Mapping[str, Tensor]
    projector: Mapping[str, Tensor] | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: Table = field(default_factory=lambda: Table({}))


def identity(job: TrainJob) -> dict[str, str]:
    """All that the weights depend on, by a word for people; the device and the number of processes are left out.

    On another device, or with other processes, a run may go on; it is then the same up to rounding only.
    """
    config = {k: v for k, v in dataclasses.asdict(job.config).items() if k not in _NO_MATTER}
    numbers = {"name": job.regularizer.name, **dataclasses.asdict(job.regularizer)}
    how = dataclasses.asdict(job.encoder.preprocessing)
    del how["origin"]
    projector = "" if job.projector is None else fingerprint(job.projector.state_dict(), repr(job.projector))
    held_out = "" if job.validation is None else job.validation.fingerprint
    said = {
        "configuration": json.dumps(config, sort_keys=True),
        "regularizer": json.dumps(numbers, sort_keys=True),
        "encoder": job.encoder.fingerprint,
        "preprocessing": json.dumps(how, sort_keys=True),
        "projector": projector,
        "training images": f"{job.images.fingerprint} {job.images.labels is not None}",
        "held-out images": held_out,
        "classes": str(job.classes),
        "libraries": f"format {FORMAT}, torch {torch.__version__}, lightly {_version('lightly')}",
    }
    return said | ({"identity": job.identity} if job.identity else {})


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
