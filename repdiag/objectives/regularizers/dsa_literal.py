"""DSA as released: the regularizer around the functions of `repdiag.objectives.dsa_literal`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives import dsa
from repdiag.objectives.contract import Heads, Needs, Outputs, Regularizer, regularizer
from repdiag.objectives.dsa_literal import LiteralArranging, literal_blocks, literal_scores
from repdiag.objectives.parameters import DSALiteralParameters, Parameters
from repdiag.objectives.rows import computing


@regularizer
class DSALiteralRegularizer(Regularizer):
    """What the released code computes, faults and all: for comparison with "dsa", not for use.

    Terms: "arrange" = lambda_w L_w with a gradient into M, "prior" = lambda_m sum_blocks ||M - Mp||_F, with Mp from the
    reference features of both views. What that does to M is told in `repdiag.objectives.dsa_literal`. It costs
    O(N^2 hidden), twice, and the start encoder on each view in every step.
    """

    kind: ClassVar[type[Parameters]] = DSALiteralParameters
    title: ClassVar[str] = "DSA as released"
    source: ClassVar[str] = "Song et al., arXiv 2407.13541: its released code (C), with another reference (O)"
    needs = Needs(reference="views")
    numbers: DSALiteralParameters

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        super().__init__(parameters, **numbers)
        self.arranging: LiteralArranging | None = None
        self._seen: dict[str, Tensor] = {}

    def attach(self, dim: int, heads: Heads, classes: int | None = None) -> None:
        """Make the arranging module for the projections' width."""
        z = heads.projections[0]
        self.arranging = LiteralArranging(z.shape[1], self.numbers.hidden, self.numbers.variant).to(z.device)

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """ "arrange" and "prior", weighted."""
        if len(outputs.reference) < 2:
            raise UsageError("dsa-literal needs what the encoder gave before training for each view")
        z1, z2 = outputs.heads.projections[:2]
        r1, r2 = outputs.reference[:2]
        with torch.autocast(z1.device.type, enabled=False):
            return self._terms(z1, z2, r1, r2)

    def forward(self, z1: Tensor, z2: Tensor, reference1: Tensor, reference2: Tensor) -> Tensor:
        """The sum of both terms, a scalar: projections (N, P) and reference features (N, R) of two views."""
        with torch.autocast(z1.device.type, enabled=False):
            return torch.stack(list(self._terms(z1, z2, reference1, reference2).values())).sum()

    def _terms(self, z1: Tensor, z2: Tensor, r1: Tensor, r2: Tensor) -> dict[str, Tensor]:
        how = self.numbers
        if self.arranging is None:
            raise UsageError("dsa-literal has no arranging module yet", do="Call attach() first")
        z1, z2 = computing(z1), computing(z2)
        with torch.no_grad():
            r = dsa.unit(torch.cat([r1, r2])).to(z1.dtype)
            scores = literal_scores(r[: len(r1)], how.eta, how.m)
            wanted = dsa.prior(dsa.distances(r), how.tau)
        m = literal_blocks(self.arranging(z1), self.arranging(z2))
        apart = dsa.distances(dsa.unit(torch.cat([z1, z2])))
        self._seen = {"mean_m": m.detach().mean(), "mean_prior": wanted.mean(), "mean_s": scores.mean()}
        return {
            "arrange": how.lambda_w * dsa.pair_loss(apart, m, scores, how.tau_prime),
            "prior": how.lambda_m * dsa.prior_gap(m, wanted),
        }

    def facts(self) -> Mapping[str, float]:
        """Of the last step: the means of M, Mp (all pairs) and s."""
        return {name: float(value) for name, value in self._seen.items()}
