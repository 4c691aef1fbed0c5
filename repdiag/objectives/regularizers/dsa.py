"""DSA, repaired: the regularizer around the functions of `repdiag.objectives.dsa`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives import dsa
from repdiag.objectives.contract import Heads, Needs, Outputs, Regularizer, regularizer
from repdiag.objectives.parameters import DSAParameters, Parameters


@regularizer
class DSARegularizer(Regularizer):
    """Arranges pairs of images as the encoder saw them before training: near ones attract, far ones repel.

    Terms, smaller is better: "arrange" = lambda_w L_w and "prior" = lambda_m sum_blocks ||M - Mp||_F (formulas and
    sources in `repdiag.objectives.dsa`), on the unit projections of the two full views. The prior Mp and the anchor
    scores s come from r, the unit features that the encoder gave for the clean images before training (no label is
    used; the released code has a supervised ResNet-18 there), the same for both views.

    M is a constant in L_w; only "prior" trains the arranging module. The module's parameters get the gradient of the
    mean over the blocks of the root mean square gap, sum_blocks ||M - Mp||_F / (4 N), whatever lambda_m and N are,
    while projections get that of the term as it is (O): the Frobenius norm's gradient grows with N, and what trains
    the module well with 64 images makes M swing, or fall to 0 for good, with 1,024. `facts` show whether `mean_m` has
    come to `mean_prior`; with a learning rate like 1e-5 it does so in the warm-up of the heads, or never.

    Ablations: M = 0 and M = Mp for pairs of different images (no module, no "prior"), s = 1, and the term
    "uniformity" = lambda_w times Wang & Isola's in place of both.

    In your own loop: `reg = DSARegularizer(); reg.attach(dim, Heads((z1, z2)))` once, its parameters into the
    optimizer, and `loss = ssl + reg(z1, z2, reference)`.
    """

    kind: ClassVar[type[Parameters]] = DSAParameters
    title: ClassVar[str] = "DSA, repaired"
    source: ClassVar[str] = "Song et al., arXiv 2407.13541: its released code (C), repaired (O)"
    needs = Needs(reference="images")
    numbers: DSAParameters

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        super().__init__(parameters, **numbers)
        if self._learns and not self.numbers.lambda_m:
            raise UsageError(
                "dsa: with lambda_m = 0 nothing trains the arranging module",
                do="Set arranging to prior or zero",
            )
        self.arranging: dsa.Arranging | None = None
        self.classes: int | None = None
        self._seen: dict[str, Tensor | float] = {}

    @property
    def _learns(self) -> bool:
        return self.numbers.arranging == "module" and not self.numbers.uniformity

    def attach(self, dim: int, heads: Heads, classes: int | None = None) -> None:
        """Make the arranging module for the projections' width; `classes` limits eta."""
        self.classes = classes
        if self._learns:
            z = heads.projections[0]
            self.arranging = dsa.Arranging(z.shape[1], self.numbers.hidden).to(z.device)

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """ "arrange" and "prior" (or those of an ablation), weighted."""
        if len(outputs.reference) == 0:
            raise UsageError(
                "dsa compares with what the encoder gave before training, and this step has no reference features"
            )
        z1, z2 = outputs.heads.projections[:2]
        with torch.autocast(z1.device.type, enabled=False):
            return self._terms(z1, z2, outputs.reference[0])

    def forward(self, z1: Tensor, z2: Tensor, reference: Tensor) -> Tensor:
        """The sum of all terms, a scalar: projections (N, P) of two views, reference features (N, R)."""
        with torch.autocast(z1.device.type, enabled=False):
            return torch.stack(list(self._terms(z1, z2, reference).values())).sum()

    def _terms(self, z1: Tensor, z2: Tensor, reference: Tensor) -> dict[str, Tensor]:
        how, n = self.numbers, len(reference)
        if n < 2 or len(z1) != n or len(z2) != n:
            raise UsageError(
                f"dsa compares at least two images, with a projection for each view and a reference feature; it got "
                f"{len(z1)}, {len(z2)} and {n}"
            )
        z = dsa.unit(torch.cat([z1, z2]))
        apart = dsa.distances(z)
        if how.uniformity:
            return {"uniformity": how.lambda_w * dsa.uniformity(apart)}
        scores, wanted = self._reference(reference)
        terms = {}
        if how.arranging == "module":
            if self.arranging is None:
                raise UsageError("dsa has no arranging module yet", do="Call attach() first")
            m = dsa.arranged(self.arranging(z, rate=1 / (4 * n * how.lambda_m)))
            terms["prior"] = how.lambda_m * dsa.prior_gap(m, wanted.to(m.dtype))
        else:
            given = wanted if how.arranging == "prior" else torch.eye(n, dtype=z.dtype, device=z.device)
            m = given.repeat(2, 2).to(z.dtype)
        self._seen["mean_m"] = (m.detach().sum() - 4 * n) / (4 * n * (n - 1))
        arrange = how.lambda_w * dsa.arranging_loss(apart, m, scores.to(z.dtype), how.tau_prime)
        return {"arrange": arrange, **terms}

    @torch.no_grad()
    def _reference(self, reference: Tensor) -> tuple[Tensor, Tensor]:
        """s (N,) and Mp (N, N), with 1 for an image and itself."""
        how, r = self.numbers, dsa.unit(reference)
        n = len(r)
        eta = dsa.neighbors_used(how.eta, n, self.classes)
        threshold = dsa.chance_threshold(n, eta) if how.m is None else how.m
        scores = dsa.anchor_scores(r, eta, threshold) if how.anchor_scores else torch.ones_like(r[:, 0])
        apart = dsa.distances(r)
        tau = dsa.bandwidth(apart, how.quantile) if how.tau is None else apart.new_tensor(how.tau)
        wanted = dsa.prior(apart, tau).fill_diagonal_(1)
        self._seen = {
            "mean_m": 0.0,
            "mean_prior": (wanted.sum() - n) / (n * (n - 1)),
            "mean_s": scores.mean(),
            "eta": float(eta),
            "m": float(threshold),
            "tau": tau,
        }
        return scores, wanted

    def facts(self) -> Mapping[str, float]:
        """Of the last step: `mean_m`, `mean_prior` (M and Mp over different images), `mean_s`, `eta`, `m`, `tau`."""
        return {name: float(value) for name, value in self._seen.items()}

    @classmethod
    def ablations(cls) -> Mapping[str, Mapping[str, object]]:
        """One part of DSA replaced at a time."""
        return {
            "M=0": {"arranging": "zero"},
            "M=prior": {"arranging": "prior"},
            "s=1": {"anchor_scores": False},
            "uniformity": {"uniformity": True},
        }
