"""Where a run is and what it has seen so far: plain values and tensors, so that a state file holds all of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from repdiag.training.guards import Before
from repdiag.training.schedule import Phase
from repdiag.training.step import Took
from repdiag.types import Table

Value = float | int
WHOLE = ("epoch", "step")
CLOCK = ("images_per_second", "seconds")
"""Columns of the log that no two runs share."""


@dataclass
class Sums:
    """What the steps since the epoch began add up to."""

    steps: int = 0
    norm: float = 0.0
    lr: float = 0.0
    seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    def add(self, took: Took, seconds: float) -> None:
        """One more step."""
        self.steps += 1
        self.norm += took.norm
        self.lr = took.lr
        self.seconds += seconds
        for name, value in took.values.items():
            self.values[name] = self.values.get(name, 0.0) + value

    def row(self, batch: int) -> dict[str, Value]:
        """The columns of the log that are means over the steps; `lr` is the last step's. None without a step."""
        if not self.steps:
            return {}
        means = {name: value / self.steps for name, value in self.values.items()}
        rate = self.steps * batch / self.seconds if self.seconds else float("nan")
        return {
            "loss": sum(means.values()),
            **means,
            "lr": self.lr,
            "gradient_norm": self.norm / self.steps,
            "images_per_second": rate,
        }


@dataclass(frozen=True)
class Kept:
    """What would be the result if the run ended now: tensors on the CPU, of the epoch's end."""

    epoch: int
    encoder: dict[str, Tensor]
    projector: dict[str, Tensor] | None
    held_out: float


@dataclass
class Course:
    """`step` steps of `phase` are done. `rows` are the log's: one per epoch, number 0 the start.

    A row has `epoch` and `step` (of training, done so far), `loss` = `base` + each `term.NAME` (means over the epoch's
    steps; row 0: over the warm-up's), `lr` (of its last step), `gradient_norm` (mean, before clipping), `held_out`
    (loss of the base), `rank` (RankMe) and `usage` of the clean features, `images_per_second`, `seconds` since the run
    began, and `fact.NAME` of the regularizer's last step. What there is not is NaN.
    """

    phase: Phase = "heads"
    step: int = 0
    seconds: float = 0.0
    stopped: str = ""
    sums: Sums = field(default_factory=Sums)
    rows: list[dict[str, Value]] = field(default_factory=list)
    before: Before | None = None
    kept: Kept | None = None

    def pack(self) -> dict[str, Any]:
        """For a file of tensors and plain values."""
        return {
            "phase": self.phase,
            "step": self.step,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "sums": dataclasses.asdict(self.sums),
            "rows": [dict(row) for row in self.rows],
            "before": None
            if self.before is None
            else {"rank": self.before.rank, "spread": self.before.spread},
            "kept": pack_kept(self.kept),
        }

    @classmethod
    def unpack(cls, said: Mapping[str, Any]) -> Course:
        """From what `pack` gave."""
        return cls(
            phase=said["phase"],
            step=said["step"],
            seconds=said["seconds"],
            stopped=said["stopped"],
            sums=Sums(**said["sums"]),
            rows=list(said["rows"]),
            before=None if said["before"] is None else Before(**said["before"]),
            kept=None if said["kept"] is None else Kept(**said["kept"]),
        )


def pack_kept(kept: Kept | None) -> dict[str, Any] | None:
    """Its fields, the tensors themselves."""
    return None if kept is None else {one.name: getattr(kept, one.name) for one in dataclasses.fields(kept)}


def table(rows: list[dict[str, Value]]) -> Table:
    """The log as columns: int64 for epoch and step, else float64 with NaN for what there is not."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    order = [
        *(n for n in names if n not in CLOCK and not n.startswith("fact.")),
        *(n for n in CLOCK if n in names),
    ]
    order += [name for name in names if name.startswith("fact.")]
    kinds = {name: np.int64 if name in WHOLE else np.float64 for name in order}
    return Table({n: np.array([row.get(n, np.nan) for row in rows], dtype=kinds[n]) for n in order})
