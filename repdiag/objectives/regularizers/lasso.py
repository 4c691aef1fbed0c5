"""The lasso as a regularizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from repdiag.objectives.contract import Outputs, Regularizer, regularizer
from repdiag.objectives.lasso import lasso_loss
from repdiag.objectives.parameters import LassoParameters, Parameters


@regularizer
class LassoRegularizer(Regularizer):
    """weight * mean_i ||u_i||_1 over the features of both views, rows of unit length (see `lasso_loss`).

    In a loop of one's own: `loss = ssl_loss + reg(h1, h2)`.
    """

    kind: ClassVar[type[Parameters]] = LassoParameters
    title: ClassVar[str] = "lasso"
    source: ClassVar[str] = "control of Kalibhat et al. 2024, arXiv 2203.01881v6; unit rows are ours"
    numbers: LassoParameters

    def forward(self, *features: Tensor) -> Tensor:
        """The weighted loss of views (N, D) each."""
        return self.numbers.weight * lasso_loss(torch.cat(features))

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """{"lasso": the loss}."""
        return {"lasso": self(*outputs.features[:2])}
