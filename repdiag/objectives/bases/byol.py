"""BYOL (Grill et al. 2020): a view predicts what a slow encoder makes of the other; there are no negatives."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from repdiag.objectives.bases._heads import MomentumMethod, capped, losses, modules
from repdiag.objectives.contract import Heads, base


@base
class BYOL(MomentumMethod):
    """-(cos(p_1, sg z'_2) + cos(p_2, sg z'_1)) / 2, the mean over images: from -1, where both views agree, to 1.

    p = predictor(projector(h)), z' = slow projector of the slow encoder's h. Momentum 0.99 rising to 1 as in lightly's
    small benchmarks (C); 0.996 is told of the paper's long runs (S). The paper's loss is 4 + 4 times this one (S).
    """

    name = "byol"
    title = "BYOL"
    source = "Grill et al. 2020, as lightly's NegativeCosineSimilarity has it (C)"
    momentum = 0.99

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.fresh += ("predictor",)
        self.predictor = modules.BYOLPredictionHead(self.width, capped(dim, 4, 4096), self.width)
        self.criterion = losses.NegativeCosineSimilarity()

    def head(self, dim: int) -> nn.Module:
        """Two layers with batch norm, 4D (at most 4096) and 256 wide."""
        made: nn.Module = modules.BYOLProjectionHead(dim, capped(dim, 4, 4096), 256)
        return made

    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """Projections, what is predicted from them, and the slow projections as targets."""
        projections = self.project(features)
        return Heads(projections, tuple(self.predictor(z) for z in projections), self.targets(momentum))

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """Negative cosine, the mean of both directions."""
        (first, second), (slow_first, slow_second) = heads.predictions, heads.targets
        loss: Tensor = (self.criterion(first, slow_second) + self.criterion(second, slow_first)) / 2
        return loss
