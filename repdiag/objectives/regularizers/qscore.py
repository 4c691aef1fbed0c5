"""Q-Score's regularizer: lift the samples that stand out too little, without a few features that are always on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives import processes
from repdiag.objectives.contract import Heads, Needs, Outputs, Regularizer, regularizer
from repdiag.objectives.parameters import Parameters, QScoreParameters
from repdiag.objectives.qscore import QScoreTerms, activation_counts, discriminative, qscore_terms

NEVER = -1


@regularizer
class QScoreRegularizer(Regularizer):
    """-lambda1 mean_i 1[Q_i < alpha] Q_i ("lambda1") and lambda2 sum_k 1[||H_:k||_1 > beta] ||H_:k||_1 ("lambda2").

    Formulas, source and what is ours: `repdiag.objectives.qscore`. The paper maximizes (eq. 2 and 3), a loop
    minimizes: hence the signs. H (2N, D) holds both views' features with rows of unit length. S, the discriminative
    features, comes from the clean training images and is found again every `refresh` epochs (O; the paper does not
    say). In a loop of one's own:

        reg = QScoreRegularizer()
        reg.fit(encoder(images) for images in clean_batches)  # before the first epoch, and again after each
        loss = ssl_loss + reg(h1, h2)                         # h: the encoder's pooled output, before any projector

    S and the counts that it comes from are buffers, so `state_dict` brings them back. No feature can be active where
    eps^2 >= D - 1 (D <= 17 at eps = 4), and an S may be empty: both are UsageErrors, not a term that is always zero.

    Look at `facts`: with few features lambda1 has little to act on. At eps = 4, of self-supervised encoders of D = 128
    and 1600, 96 % and 15 % of the images have no Q-Score, of a supervised one of D = 64, 99 %. At the paper's weights
    lambda2's term is four to five orders larger than lambda1's. Signed features are outside the paper's scope.
    """

    kind: ClassVar[type[Parameters]] = QScoreParameters
    title: ClassVar[str] = "Q-Score"
    source: ClassVar[str] = "Kalibhat et al. 2024, arXiv 2203.01881v6, eq. 2 and 3"
    needs = Needs(images=True)
    numbers: QScoreParameters
    selected: Tensor  # (D,) bool: S
    active: Tensor  # (D,) int64: in how many images each feature was active
    images: Tensor  # () int64: of how many images that is
    found: Tensor  # () int64: the epoch at which S was found, NEVER before

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        super().__init__(parameters, **numbers)
        self.register_buffer("selected", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("active", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("images", torch.tensor(0))
        self.register_buffer("found", torch.tensor(NEVER))
        self._ready = False  # what `found` says, without asking the device in every step
        self._last: QScoreTerms | None = None

    def attach(self, dim: int, heads: Heads | None = None, classes: int | None = None) -> None:
        """Refuse a D at which no feature can be active; make room for S."""
        if self.numbers.eps**2 >= dim - 1:
            raise UsageError(
                f"qscore: with {dim} features none can be more than {self.numbers.eps:g} standard deviations above "
                "its sample's mean, so there is no Q-Score",
                do=f"Lower eps below {max(dim - 1, 0) ** 0.5:.3g}, or choose another regularizer",
            )
        if len(self.selected) != dim:
            self.selected = self.selected.new_zeros(dim)
            self.active = self.active.new_zeros(dim)
            self.images = torch.zeros_like(self.images)
            self.found = torch.full_like(self.found, NEVER)
            self._ready = False

    def fit(self, features: Iterable[Tensor], epoch: int = 0) -> QScoreRegularizer:
        """Find S from features (B, D) of the clean training images, as the metric does; returns itself.

        A_j is counted over all processes. What was known before stays if this raises.
        """
        active, images = activation_counts(features, self.numbers.eps, len(self.selected) or None)
        if not images:
            active = active.to(self.active.device)  # a process without images of its own still counts along
        summed = processes.total(torch.cat([active, active.new_tensor([images])]))
        active, seen = summed[:-1], summed[-1]
        if not seen:
            raise UsageError("qscore: there are no features to find the discriminative ones in")
        self.attach(len(active))
        selected = discriminative(100.0 * active / seen, self.numbers.lower, self.numbers.upper)
        if not bool(selected.any()):
            raise UsageError(
                f"qscore: of {len(active)} features, none that is ever active lies between the percentiles "
                f"{self.numbers.lower:g} and {self.numbers.upper:g} of activation frequency, so S is empty "
                f"({int((active > 0).sum())} features are ever active)",
                do="Lower eps, widen the percentiles, or choose another regularizer",
            )
        self.selected, self.active, self.images = selected, active, seen
        self.found, self._ready = torch.full_like(seen, epoch), True
        return self

    def begin_epoch(self, epoch: int, features: Iterable[Tensor]) -> None:
        """Find S at the first epoch and `refresh` epochs after it was last found; otherwise look at nothing."""
        if self._ready and not 0 < self.numbers.refresh <= epoch - int(self.found):
            return
        self.fit(features, epoch)

    def step(self, *features: Tensor) -> QScoreTerms:
        """What the terms are made of, of views (N, D) each; raises UsageError before `fit`."""
        if not self._ready:
            raise UsageError(
                "qscore: the discriminative features S are not known yet",
                do="Call fit(batches of the clean training images' features) first",
            )
        h = features[0] if len(features) == 1 else torch.cat(features)
        n = self.numbers
        if self.selected.device != h.device:
            self.selected = self.selected.to(h.device)
        made = qscore_terms(h, self.selected, n.eps, n.alpha, n.beta)
        self._last = replace(
            made, low=made.low.detach(), columns=made.columns.detach()
        )  # or it holds the graph
        return made

    def forward(self, *features: Tensor) -> Tensor:
        """The sum of both terms, to be added to a loss, of views (N, D) each."""
        made = self.step(*features)
        return self.numbers.lambda2 * made.columns - self.numbers.lambda1 * made.low

    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """{"lambda1": at most 0 for non-negative scores, "lambda2": at least 0}."""
        made = self.step(*outputs.features[:2])
        return {
            "lambda1": -self.numbers.lambda1 * made.low,
            "lambda2": self.numbers.lambda2 * made.columns,
        }

    def facts(self) -> Mapping[str, float]:
        """Of the last step: `below_alpha`, `no_q_score` (shares of rows), mean `q_score` (NaN where no row has one),
        `columns_above_beta` (share of features). The one place that waits for the device."""
        if self._last is None:
            return {}
        seen, norms = self._last.scores, self._last.norms
        values = (
            (seen < self._last.alpha).to(seen.dtype).mean(),
            seen.isnan().to(seen.dtype).mean(),
            seen.nanmean(),
            (norms > self._last.beta).to(seen.dtype).mean(),
        )
        names = ("below_alpha", "no_q_score", "q_score", "columns_above_beta")
        return dict(zip(names, torch.stack(values).tolist(), strict=True))

    @classmethod
    def ablations(cls) -> Mapping[str, Mapping[str, object]]:
        """Each term alone."""
        return {"lambda1": {"lambda2": 0.0}, "lambda2": {"lambda1": 0.0}}

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        width = state_dict.get(f"{prefix}selected")
        if width is not None and len(width) != len(self.selected):  # made anew, without `attach`
            self.selected = self.selected.new_zeros(len(width))
            self.active = self.active.new_zeros(len(width))
        super()._load_from_state_dict(state_dict, prefix, *others)
        self._ready = int(self.found) != NEVER
