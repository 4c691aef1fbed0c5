"""What the user asked of `finetune`, checked where it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repdiag.config import ScoreConfig
from repdiag.errors import UsageError
from repdiag.objectives.parameters import NoneParameters, Parameters, QScoreParameters
from repdiag.training.config import TuneConfig
from repdiag.types import ImageSource

if TYPE_CHECKING:
    from repdiag.encoders import Encoder

BEFORE, CONTROL, REGULARIZER = "before", "control", "regularizer"
METRICS = (
    "linear_probe_accuracy", "knn_accuracy", "nearest_center_accuracy", "low_shot_10",
    "intra_class_variance", "inter_class_distance", "r2_separation", "cdnv", "directional_cdnv",
    "nearest_center_error", "same_class_auc",
    "seed_ari", "subsample_ari", "augmentation_ari", "flip_rate", "label_ari",
    "activation_frequency", "discriminative_features", "qscore_mean", "qscore_empty_rate", "qscore_auroc",
    "risk_auroc", "rankme", "participation_ratio", "alignment", "uniformity",
)  # fmt: skip
"""What every arm is scored by: a choice of each family that costs seconds; --metrics takes another."""


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    `arms` are of "control" (the same training without the regularizer) and "regularizer". `seeds` runs of each
    arm are made, from `config.seed` on. Data without a split of its own keep a share of `hold_out` of each
    class from training, on which every arm is scored.
    """

    model: str | Encoder
    dataset: str | ImageSource
    out: Path
    config: TuneConfig = field(default_factory=TuneConfig)
    regularizer: Parameters = field(default_factory=QScoreParameters)
    arms: tuple[str, ...] = (CONTROL, REGULARIZER)
    seeds: int = 3
    ablate: bool = False
    hold_out: float = 0.2
    metrics: tuple[str, ...] = METRICS
    score: ScoreConfig = field(default_factory=lambda: ScoreConfig(by_size=False))
    device: str = "auto"
    workers: int | None = None
    max_corrupt: float = 0.01
    loggers: tuple[str, ...] = ("csv",)
    use_labels: bool = True
    loading: Mapping[str, Any] = field(default_factory=dict)  # keywords of `load_encoder`
    data: Mapping[str, Any] = field(default_factory=dict)  # keywords of `open_source`
    cache: Path | None = None  # of the untouched encoder's embeddings; None: the default place

    def __post_init__(self) -> None:
        if not self.arms or not set(self.arms) <= {CONTROL, REGULARIZER}:
            raise UsageError(
                f"--arms '{','.join(self.arms)}' must be control, regularizer, or both between a comma"
            )
        if self.seeds < 1:
            raise UsageError(f"seeds must be at least 1, not {self.seeds}")
        if not 0 < self.hold_out < 1:
            raise UsageError(f"hold_out must be a share between 0 and 1, not {self.hold_out}")
        if self.ablate and isinstance(self.regularizer, NoneParameters):
            raise UsageError("--ablate takes a regularizer apart, and there is none")

    @property
    def name(self) -> str:
        """The arm that is judged: the regularizer's name, or the control alone."""
        plain = isinstance(self.regularizer, NoneParameters) or REGULARIZER not in self.arms
        return CONTROL if plain else self.regularizer.name

    @property
    def against(self) -> str:
        """What it is judged against: the control where there is one."""
        return CONTROL if CONTROL in self.arms and self.name != CONTROL else BEFORE
