"""ICCL as a regularizer on a base's heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.objectives.contract import Heads, Outputs, Regularizer, regularizer
from repdiag.objectives.iccl import handover, iccl_terms
from repdiag.objectives.parameters import ICCLParameters, Parameters

NARROWING, LEAST = 4, 16
"""The predictor's hidden layer is a quarter of its input, as in the code (2048 -> 512 -> 2048), and at least 16 (O)."""


@regularizer
class ICCLRegularizer(Regularizer):
    """weight * (s (lambda_uniform L_uniform + L_aug) + (1 - s) L_sim), s going from 0 to 1 in the middle of training.

    Terms and sources: `repdiag.objectives.iccl`. p are the base's predictions, or where it has none those of a
    two-layer predictor of its own on the base's projections; q are the base's targets (a slow encoder's), or where it
    has none its projections without gradient. So with a base like BYOL, L_sim is the base's own loss once more (O:
    ICCL is a method by itself; here it is a term beside another).

    In a loop of one's own: `loss = ssl_loss + reg(p1, p2, q1, q2, progress=step / steps)`.
    """

    kind: ClassVar[type[Parameters]] = ICCLParameters
    title: ClassVar[str] = "ICCL"
    source: ClassVar[str] = "Ge et al. 2023, arXiv 2301.03041, released code"
    numbers: ICCLParameters

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        super().__init__(parameters, **numbers)
        self.predictor: nn.Module | None = None
        self._share: float | None = None

    def attach(self, dim: int, heads: Heads, classes: int | None = None) -> None:
        """Make a predictor if the base has none; a base whose predictions and targets differ in width is refused."""
        inside = heads.projections[0].shape[1]
        width = (heads.targets or heads.projections)[0].shape[1]
        if not heads.predictions:
            hidden = max(inside // NARROWING, LEAST)
            self.predictor = nn.Sequential(
                nn.Linear(inside, hidden, bias=False),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Linear(hidden, width),
            )
        elif heads.predictions[0].shape[1] != width:
            raise UsageError(
                f"iccl compares predictions with targets, but this base's are {heads.predictions[0].shape[1]} and "
                f"{width} wide",
                do="Choose another base",
            )

    def weighted(
        self, p1: Tensor, p2: Tensor, q1: Tensor, q2: Tensor, progress: float
    ) -> Mapping[str, Tensor]:
        """The three terms with their weights, as they are added to a loss."""
        n = self.numbers
        share = self._share = handover(progress, n.start, n.end)
        made = iccl_terms(p1, p2, q1, q2, n.t1, n.t2, n.similarity)
        return {
            "sim": n.weight * (1 - share) * made.sim,
            "aug": n.weight * share * made.aug,
            "uniform": n.weight * share * n.lambda_uniform * made.uniform,
        }

    def forward(self, p1: Tensor, p2: Tensor, q1: Tensor, q2: Tensor, progress: float = 1.0) -> Tensor:
        """The weighted sum for predictions p and targets q (N, K) of two views, at this share of the training."""
        made = self.weighted(p1, p2, q1, q2, progress)
        return made["sim"] + made["aug"] + made["uniform"]

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """{"sim", "aug", "uniform"}."""
        heads = outputs.heads
        if heads.predictions:
            p1, p2 = heads.predictions[:2]
        elif self.predictor is not None:
            p1, p2 = (self.predictor(z) for z in heads.projections[:2])
        else:
            raise UsageError("iccl: the predictor is not made yet", do="Call attach first")
        q1, q2 = (heads.targets or heads.projections)[:2]
        return self.weighted(p1, p2, q1, q2, outputs.progress)

    def facts(self) -> Mapping[str, float]:
        """`handover`: s of the last step."""
        return {} if self._share is None else {"handover": self._share}
