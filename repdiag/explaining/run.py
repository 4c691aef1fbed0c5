"""What the parts of one explanation share, each worked out once: workspace, target, the report's table of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from repdiag.config import ScoreConfig
from repdiag.errors import DataError
from repdiag.explaining import targets
from repdiag.explaining.heating import Heater
from repdiag.explaining.request import Wanted
from repdiag.explaining.types import Target
from repdiag.kernels import rows
from repdiag.risk import Risk, assess
from repdiag.tables import Columns, sample_columns
from repdiag.types import EmbeddingSet, FloatArray, ImageSource, IntArray, Progress
from repdiag.workspace import Skip, Workspace


@dataclass(frozen=True)
class Run:
    """One explanation on its way: what was asked of which embeddings, and where heat maps come from."""

    source: ImageSource
    wanted: Wanted
    config: ScoreConfig
    embeddings: EmbeddingSet
    heater: Heater
    progress: Progress

    @cached_property
    def ws(self) -> Workspace:
        """The labeled evaluated samples, or everyone without labels; raises DataError where they are too few."""
        device = str(self.heater.device)
        found = Workspace(self.embeddings, self.config, device if device.startswith("cuda") else "cpu")
        if len(found) < 4:
            raise DataError(f"Only {len(found)} samples are left to evaluate", do="Give at least 4")
        return found

    @property
    def everyone(self) -> Workspace:
        """All evaluated samples."""
        return self.ws.whole

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each image in the source, by id."""
        return {path: i for i, path in enumerate(self.source.manifest.paths)}

    @cached_property
    def target(self) -> Target:
        """What heat maps of samples explain."""
        return targets.choose(self.everyone, self.wanted.target)

    @property
    def counts(self) -> IntArray:
        """How many features each evaluated sample's heat map sums (N,)."""
        return targets.counts(self.target.kind, self.everyone)

    @cached_property
    def risk(self) -> tuple[Risk | None, str]:
        """The risk of the samples, or None and why."""
        try:
            return assess(self.ws), ""
        except Skip as skip:
            return None, f"No risk: {skip.reason}."

    @cached_property
    def columns(self) -> Columns:
        """The report's table of samples, a row for everyone evaluated."""
        return sample_columns(self.ws, self.risk[0])

    def unit(self, which: Sequence[int]) -> FloatArray:
        """Rows of the embedding set, of unit length."""
        return rows.unit(np.asarray(self.embeddings.features[list(which)], np.float32))

    def label(self, row: int) -> str | None:
        """The class of a row of the embedding set, None where it is not known."""
        labels = self.embeddings.labels
        return None if labels is None or labels[row] < 0 else self.embeddings.class_names[labels[row]]
