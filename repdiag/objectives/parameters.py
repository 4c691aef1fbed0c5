"""The numbers of each regularizer, with the paper's or code's defaults. No torch: the command line shows them.

Every field is a flag (`--dsa-eta`) and an entry of a configuration file (`[dsa] eta = 20`). `help` is the flag's
text. Checked where they are made.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from repdiag.errors import UsageError


def number(default: Any, help: str) -> Any:
    """A field with the text of its flag."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Parameters:
    """Base of all: floats are finite, and what is a weight, a temperature or a count is not negative."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value) or value < 0:
                raise UsageError(f"{self.name}: {one.name} must be a number from 0, not {value}")


def _positive(what: Parameters, *names: str) -> None:
    for name in names:
        value = getattr(what, name)
        if value is not None and value <= 0:
            raise UsageError(f"{what.name}: {name} must be above 0, not {value}")


@dataclass(frozen=True)
class NoneParameters(Parameters):
    """The control has no numbers."""

    name = "none"


@dataclass(frozen=True)
class QScoreParameters(Parameters):
    """Kalibhat et al. 2024, eq. 2 and 3."""

    name = "qscore"

    lambda1: float = number(1e-4, "Weight of the term that raises Q-Scores below alpha.")
    lambda2: float = number(1e-4, "Weight of the penalty on features whose L1 norm is above beta.")
    eps: float = number(4.0, "A feature is active this many standard deviations above the sample's mean.")
    lower: float = number(50.0, "Lower percentile of activation frequency that bounds S.")
    upper: float = number(95.0, "Upper percentile of activation frequency that bounds S.")
    alpha: float | None = number(None, "Scores below it are raised; by default the batch's mean score.")
    beta: float | None = number(None, "L1 norms above it are lowered; by default the batch's mean norm.")
    refresh: int = number(1, "Epochs after which S is found again; 0 keeps that of the start.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "eps")
        if not 0 <= self.lower < self.upper <= 100:
            raise UsageError("qscore: lower and upper must be percentiles with lower below upper")


@dataclass(frozen=True)
class LassoParameters(Parameters):
    """The paper's control: an L1 penalty on the features, which hurts there."""

    name = "lasso"

    weight: float = number(1e-4, "Weight of the mean L1 norm of the features (rows of unit length).")


@dataclass(frozen=True)
class DSAParameters(Parameters):
    """DSA, repaired; what the released code leaves open or breaks is ours (see `repdiag.objectives.dsa`)."""

    name = "dsa"

    lambda_w: float = number(1.0, "Weight of the arranging loss L_w.")
    lambda_m: float = number(0.01, "Weight of the distance of M from its prior.")
    eta: int = number(20, "Nearest neighbors in the batch; at most N / (2K) of a batch of N with K clusters.")
    m: int | None = number(
        None, "Shared neighbors above which a neighbor confirms an anchor; by default a random graph's."
    )
    tau: float | None = number(
        None, "Bandwidth of the prior; by default a quantile of the reference distances."
    )
    quantile: float = number(0.1, "That quantile.")
    tau_prime: float = number(0.5, "Temperature of L_w.")
    hidden: int = number(64, "Hidden units of the arranging module.")
    arranging: str = number("module", "What M is: module, prior, or zero (pure repulsion).")
    anchor_scores: bool = number(True, "Whether anchors are weighted by their score s (else s = 1).")
    uniformity: bool = number(False, "Replace L_w by plain uniformity (ablation).")

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "eta", "tau", "tau_prime", "hidden")
        if not 0 < self.quantile < 1:
            raise UsageError(f"dsa: quantile must be between 0 and 1, not {self.quantile}")
        if self.arranging not in ("module", "prior", "zero"):
            raise UsageError(f"dsa: arranging must be module, prior or zero, not {self.arranging}")


@dataclass(frozen=True)
class DSALiteralParameters(Parameters):
    """DSA as the released code has it, for comparison only; the reference is the frozen encoder itself."""

    name = "dsa-literal"

    lambda_w: float = number(1.0, "Weight of L_w.")
    lambda_m: float = number(0.01, "Weight of the distance of M from its prior.")
    eta: int = number(20, "Nearest neighbors in the batch.")
    m: int = number(1, "Shared neighbors above which a neighbor confirms an anchor.")
    tau: float = number(0.5, "Bandwidth of the prior.")
    tau_prime: float = number(0.5, "Temperature of L_w.")
    hidden: int = number(64, "Hidden units of the arranging module.")
    variant: str = number("difference", "Input of the arranging module: difference or concatenated.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "eta", "tau", "tau_prime", "hidden")
        if self.variant not in ("difference", "concatenated"):
            raise UsageError(f"dsa-literal: variant must be difference or concatenated, not {self.variant}")


@dataclass(frozen=True)
class ReSAParameters(Parameters):
    """ReSA's loss as the released code has it."""

    name = "resa"

    weight: float = number(1.0, "Weight of the loss.")
    momentum: float = number(0.996, "Momentum of the slow encoder at the start; it rises to 1.")
    eps: float = number(0.05, "Sinkhorn's temperature.")
    iterations: int = number(3, "Sinkhorn's iterations.")
    temperature: float = number(0.4, "Temperature of the predicted assignment.")
    hidden: int = number(2048, "Hidden units of projector and predictor.")
    out: int = number(512, "Outputs of projector and predictor.")
    predictor: bool = number(True, "Whether a predictor follows the projector (the code has none on CIFAR).")

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "eps", "iterations", "temperature", "hidden", "out")
        if self.momentum > 1:
            raise UsageError(f"resa: momentum must be at most 1, not {self.momentum}")


@dataclass(frozen=True)
class ICCLParameters(Parameters):
    """ICCL's hand-over from similarity to clustering, as the released code has it."""

    name = "iccl"

    weight: float = number(1.0, "Weight of the loss.")
    t1: float = number(0.1, "Temperature of the prediction.")
    t2: float = number(0.07, "Temperature of the target.")
    lambda_uniform: float = number(5.0, "Weight of the uniform use of the coordinates.")
    start: float = number(0.5, "Share of training at which the hand-over begins (150 of 300 epochs).")
    end: float = number(0.6, "Share of training at which it is complete (180 of 300 epochs).")
    similarity: str = number("mse", "L_sim: mse or cosine.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "t1", "t2")
        if not 0 <= self.start <= self.end <= 1:
            raise UsageError("iccl: start and end must be shares with start before end")
        if self.similarity not in ("mse", "cosine"):
            raise UsageError(f"iccl: similarity must be mse or cosine, not {self.similarity}")


PARAMETERS: dict[str, type[Parameters]] = {
    kind.name: kind
    for kind in (
        NoneParameters,
        QScoreParameters,
        LassoParameters,
        DSAParameters,
        DSALiteralParameters,
        ReSAParameters,
        ICCLParameters,
    )
}
"""By the name that --regularizer takes."""
