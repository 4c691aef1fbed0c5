"""Everything that a fine-tuning will do, opened and checked before the first image is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from repdiag.diagnosis import choose_metrics
from repdiag.encoders import Encoder, load_encoder
from repdiag.encoders.projectors import TrainableProjector, find_projector
from repdiag.errors import UsageError
from repdiag.extraction.config import EmbedConfig, choose_device
from repdiag.objectives import processes
from repdiag.objectives.contract import BASES, REGULARIZERS
from repdiag.objectives.parameters import NoneParameters, Parameters
from repdiag.sources import open_source
from repdiag.tuning.launch import local_rank
from repdiag.tuning.request import CONTROL, REGULARIZER, Request
from repdiag.tuning.split import parts, split
from repdiag.types import ImageSource, IntArray

if TYPE_CHECKING:
    from repdiag.objectives.contract import Base


@dataclass(frozen=True)
class Run:
    """One training: an arm and a seed, and the regularizer's numbers in it."""

    arm: str
    seed: int
    regularizer: Parameters
    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """`source` has a split; `rows` are trained on, `validation` are kept for the held-out loss."""

    request: Request
    encoder: Encoder
    source: ImageSource
    said_split: str
    rows: IntArray
    validation: IntArray
    device: torch.device
    base: type[Base]
    runs: tuple[Run, ...]
    projector: TrainableProjector | None = None

    @property
    def scored(self) -> int:
        """How many images every arm is scored on."""
        train = self.source.manifest.is_train
        assert train is not None
        return int((~train).sum())

    @property
    def said_projector(self) -> str:
        """Where training's projector comes from."""
        if self.projector is not None:
            return "the checkpoint's own: " + "; ".join(self.projector.notes)
        if self.request.config.projector == "fresh":
            return "a fresh one, as was asked for"
        return "a fresh one: none was found in the checkpoint"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results should know beforehand."""
        said = [*self.encoder.loading.warnings, *self.source.notes]
        if self.base.uses_labels:
            said.append(f"{self.base.title} trains with the labels: its gains are those of supervision")
        if len(self.rows) < self.request.config.batch_size:
            said.append(
                f"there are fewer images to train on ({len(self.rows)}) than in a batch: all are one batch"
            )
        return tuple(said)

    def describe(self) -> dict[str, Any]:
        """Everything the results depend on, ready for JSON."""
        request = self.request
        return {
            "model": self.encoder.describe(),
            "data": {
                "name": self.source.name,
                "fingerprint": self.source.manifest.fingerprint,
                "split": self.said_split,
                "trained_on": len(self.rows),
                "held_out_loss_on": len(self.validation),
                "scored_on": self.scored,
            },
            "projector": self.said_projector,
            "training": dataclasses.asdict(request.config),
            "regularizer": {"name": request.regularizer.name, **dataclasses.asdict(request.regularizer)},
            "arms": list(dict.fromkeys(run.arm for run in self.runs)),
            "seeds": sorted({run.seed for run in self.runs}),
            "score": dataclasses.asdict(request.score) | {"metrics": list(request.metrics)},
            "device": str(self.device),
            "processes": processes.count(),
        }


def make_plan(request: Request) -> Plan:
    """Open the model and the data, and find the runs; raises RepdiagErrors."""
    choose_metrics(request.metrics)
    base = BASES.get(request.config.base)
    model = request.model
    encoder = load_encoder(model, **request.loading) if isinstance(model, str) else model
    if len(encoder.outputs) > 1:
        raise UsageError("Several layers cannot be tuned at once", do="Choose one --layer, or none")
    if isinstance(request.dataset, str):
        source: ImageSource = open_source(request.dataset, labeled=request.use_labels, **request.data)
    else:
        source = request.dataset
    source, said = split(source, request.hold_out, request.use_labels)
    manifest = source.manifest
    if base.uses_labels and (manifest.labels is None or not (manifest.labels >= 0).any()):
        raise UsageError(
            f"{base.title} learns from labels, and the images have none", do="Choose another --base"
        )
    assert manifest.is_train is not None
    rows, validation = parts(manifest.is_train, request.config.validation)
    projector = find_projector(encoder) if request.config.projector == "checkpoint" else None
    return Plan(
        request,
        encoder,
        source,
        said,
        rows,
        validation,
        _device(request),
        base,
        tuple(_runs(request)),
        projector,
    )


def _device(request: Request) -> torch.device:
    """The device of this process: with several of CUDA the one of its local rank."""
    device = choose_device(EmbedConfig(device=request.device))
    if str(device) == "cuda" and processes.count() > 1:
        return torch.device("cuda", local_rank())
    return device


def _runs(request: Request) -> list[Run]:
    """All arms of a seed before the next, so that whoever stops early has whole seeds.

    The regularizer goes first: what it cannot do with this encoder is known before an hour went into the control.
    """
    arms: dict[str, Parameters] = {}
    if REGULARIZER in request.arms and not isinstance(request.regularizer, NoneParameters):
        arms[request.regularizer.name] = request.regularizer
    if CONTROL in request.arms or isinstance(request.regularizer, NoneParameters):
        arms[CONTROL] = NoneParameters()
    if request.ablate:
        arms |= ablated(request.regularizer)
    seeds = range(request.config.seed, request.config.seed + request.seeds)
    return [
        Run(arm, seed, numbers, request.out / "runs" / f"{arm}-seed{seed}")
        for seed in seeds
        for arm, numbers in arms.items()
    ]


def ablated(regularizer: Parameters) -> Mapping[str, Parameters]:
    """The arms of --ablate: the regularizer with one thing changed each. Raises UsageError where it has none."""
    kind = REGULARIZERS.get(regularizer.name)
    found = {
        name: dataclasses.replace(regularizer, **dict(changed)) for name, changed in kind.ablations().items()
    }
    if not found:
        raise UsageError(f"There is nothing to take apart in {regularizer.name}", do="Leave out --ablate")
    return found
