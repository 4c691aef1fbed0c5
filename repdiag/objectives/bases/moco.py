"""MoCo v2 (He et al., Chen et al. 2020): a view finds the other one, from a slow encoder, in a queue of others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from repdiag.objectives.bases._heads import MomentumMethod, capped, losses, modules
from repdiag.objectives.contract import Heads, base

QUEUE = 4096


@base
class MoCo(MomentumMethod):
    """Mean over images of -log( exp(cos(q, k)/t) / (exp(cos(q, k)/t) + sum over the queue's k' of exp(cos(q, k')/t)) ).

    q is the first view's projection, k the slow one of the second view; t = 0.2 and momentum 0.999, kept constant, as
    in the authors' code for v2 (C). The queue of 4096 keys is ours (theirs: 65536), as it should hold fewer images
    than the training set; it begins as random directions. It takes the keys of each training step's global batch,
    belongs to the state_dict, and stands still without gradients. At least 0. Batch norm is not shuffled: between
    processes it is synchronized, and within one process the two views' statistics differ only by the views.
    """

    name = "moco"
    title = "MoCo v2"
    source = "He et al. 2020, Chen et al. 2020, as lightly's NTXentLoss with a memory bank has it (C)"
    momentum = 0.999
    constant = True

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.criterion = losses.NTXentLoss(temperature=0.2, memory_bank_size=(QUEUE, self.width))
        for module in self.criterion.modules():  # lightly's queue is in no state_dict; a resumed run needs it
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, buffer, persistent=True)

    def head(self, dim: int) -> nn.Module:
        """Two layers without batch norm, 2D (at most 2048) and 128 wide."""
        made: nn.Module = modules.MoCoProjectionHead(dim, capped(dim, 2, 2048), 128)
        return made

    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """Projections, and the slow ones as targets."""
        return Heads(self.project(features), targets=self.targets(momentum))

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """InfoNCE of the first view against the slow second one; the queue moves on."""
        loss: Tensor = self.criterion(heads.projections[0], heads.targets[1])
        return loss
