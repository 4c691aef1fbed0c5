"""SupCon (Khosla et al. 2020): all views of a class find one another; the labeled ceiling among the bases."""

from __future__ import annotations

from torch import Tensor, nn

from repdiag.objectives.bases._heads import Method, capped, modules
from repdiag.objectives.contract import Heads, base
from repdiag.objectives.supcon import TEMPERATURE, supervised_contrastive


@base
class SupCon(Method):
    """`repdiag.objectives.supcon.supervised_contrastive` of the projections, temperature 0.1.

    It uses labels: what it gains is no gain of self-supervision, and without labels it is SimCLR.
    """

    name = "supcon"
    title = "SupCon"
    source = "Khosla et al. 2020, eq. 2 (S); the authors' code (C)"
    uses_labels = True

    def head(self, dim: int) -> nn.Module:
        """SimCLR's: two layers with batch norm, 2D (at most 2048) and 128 wide."""
        made: nn.Module = modules.SimCLRProjectionHead(dim, capped(dim, 2, 2048), 128)
        return made

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """The supervised contrastive loss."""
        return supervised_contrastive(heads.projections, labels, TEMPERATURE)
