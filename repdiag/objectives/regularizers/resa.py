"""ReSA as a regularizer, with its own projector, predictor and slow projector."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.objectives.contract import Heads, Needs, Outputs, Regularizer, regularizer
from repdiag.objectives.parameters import Parameters, ReSAParameters
from repdiag.objectives.resa import resa_loss, self_assignment


def projector(dim: int, hidden: int, out: int) -> nn.Sequential:
    """dim -> hidden -> hidden -> out, batch norm after each layer, ReLU after the first two, the last norm not affine
    (C)."""
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, out),
        nn.BatchNorm1d(out, affine=False),
    )


def predictor(out: int, hidden: int) -> nn.Sequential:
    """out -> hidden -> out, batch norm and ReLU between (C)."""
    return nn.Sequential(nn.Linear(out, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


@regularizer
class ReSARegularizer(Regularizer):
    """weight * ReSA's loss on the base's views, beside the base's own loss (see `repdiag.objectives.resa`).

    A = Sinkhorn(H H' / eps) of the weak view's features, detached; the loss is the cross-entropy between A and
    softmax(p z' / temperature) over the batch, p of the predictor, z of the slow projector on the slow encoder's
    features. The heads are as large as the code's (2048 and 512 by default) whatever the encoder's D: 8.4 million
    weights at D = 512, which is more than a small encoder has; lower `hidden` and `out` for one.

    Differences from the code (O): it is a term beside another loss, not the loss; the weak view is one more view and
    not the first of the two; both sides of A are the trained encoder's; the slow heads follow after a step, not before
    the next forward pass. Batch norms see the global batch, each view on its own.

    In a loop of one's own: `attach(dim)`, then `loss = ssl_loss + reg((h1, h2), (slow1, slow2), weak)` and, after each
    step, `reg.follow(momentum)`.
    """

    kind: ClassVar[type[Parameters]] = ReSAParameters
    title: ClassVar[str] = "ReSA"
    source: ClassVar[str] = "Weng et al. 2025, arXiv 2501.18452, released code"
    numbers: ReSAParameters

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        super().__init__(parameters, **numbers)
        self.needs = Needs(momentum=self.numbers.momentum, weak_view=True)
        self.projector: nn.Module | None = None
        self.predictor: nn.Module | None = None
        self.slow: nn.Module | None = None
        self._spread: Tensor | None = None

    def attach(self, dim: int, heads: Heads | None = None, classes: int | None = None) -> None:
        """Make the heads for D features; the slow projector starts as a copy."""
        n = self.numbers
        self.projector = projector(dim, n.hidden, n.out)
        self.predictor = predictor(n.out, n.hidden) if n.predictor else None
        self.slow = copy.deepcopy(self.projector).requires_grad_(False)

    def forward(self, features: Sequence[Tensor], slow: Sequence[Tensor], weak: Tensor) -> Tensor:
        """The weighted loss: V x (N, D) of the trained encoder, 2 x (N, D) of the slow one, (N, D) of a weak view."""
        if self.projector is None or self.slow is None:
            raise UsageError("resa: the heads are not made yet", do="Call attach(number of features) first")
        n = self.numbers
        predictions = [self.projector(h) for h in features]
        if self.predictor is not None:
            predictions = [self.predictor(z) for z in predictions]
        with torch.no_grad():
            targets = [self.slow(h) for h in slow]
            goal = self_assignment(weak, None, n.eps, n.iterations)
            self._spread = 1 - goal.diagonal().mean()
        return n.weight * resa_loss(predictions, targets, goal, n.temperature)

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """{"resa": the loss}."""
        if outputs.weak is None or len(outputs.momentum) != 2:
            raise UsageError("resa needs the slow encoder's features of two views and those of a weak view")
        return {"resa": self(outputs.features, outputs.momentum, outputs.weak)}

    def follow(self, momentum: float) -> None:
        """slow <- momentum * slow + (1 - momentum) * projector; batch statistics are the slow projector's own (C)."""
        if self.projector is None or self.slow is None:
            return
        with torch.no_grad():
            for mine, its in zip(self.slow.parameters(), self.projector.parameters(), strict=True):
                mine.lerp_(its, 1 - momentum)

    def facts(self) -> Mapping[str, float]:
        """`assigned_to_others`: share of A that lies off the diagonal, of the last step; 0: plain instance
        discrimination."""
        return {} if self._spread is None else {"assigned_to_others": float(self._spread)}
