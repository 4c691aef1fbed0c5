"""SimSiam (Chen & He 2021): a view predicts the other one's projection, through which no gradient goes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from repdiag.objectives.bases._heads import Method, capped, losses, modules
from repdiag.objectives.contract import Heads, base


@base
class SimSiam(Method):
    """-(cos(p_1, sg z_2) + cos(p_2, sg z_1)) / 2, the mean over images: from -1, where both views agree, to 1.

    z = projector(h), p = predictor(z). Nothing but the stopped gradient and the fresh predictor keeps it from
    collapse, where it is -1 as well: a low loss says nothing.
    """

    name = "simsiam"
    title = "SimSiam"
    source = "Chen & He 2021, as lightly's NegativeCosineSimilarity has it (C)"

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.fresh += ("predictor",)
        self.predictor = modules.SimSiamPredictionHead(self.width, max(self.width // 4, 1), self.width)
        self.criterion = losses.NegativeCosineSimilarity()

    def head(self, dim: int) -> nn.Module:
        """Three layers with batch norm, 4D (at most 2048) wide."""
        wide = capped(dim, 4, 2048)
        made: nn.Module = modules.SimSiamProjectionHead(dim, wide, wide)
        return made

    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """Projections, what is predicted from them, and the detached projections as targets."""
        projections = self.project(features)
        predictions = tuple(self.predictor(z) for z in projections)
        return Heads(projections, predictions, tuple(z.detach() for z in projections))

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """Negative cosine, the mean of both directions."""
        (first, second), (other_first, other_second) = heads.predictions, heads.targets
        loss: Tensor = (self.criterion(first, other_second) + self.criterion(second, other_first)) / 2
        return loss
