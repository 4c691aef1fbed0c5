"""What the bases share: heads that are made or taken over, slow copies, and a loss in full precision."""

from __future__ import annotations

import copy
import importlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.objectives.contract import Base, Heads, Outputs
from repdiag.objectives.rows import computing

try:
    losses: Any = importlib.import_module("lightly.loss")
    modules: Any = importlib.import_module("lightly.models.modules.heads")
    _utils: Any = importlib.import_module("lightly.models.utils")
except ImportError as error:
    raise UsageError(
        "The base objectives are lightly's, which is not installed", do="Run: pip install 'repdiag[tune]'"
    ) from error

__all__ = [
    "Method",
    "MomentumMethod",
    "capped",
    "follow",
    "full_precision",
    "losses",
    "modules",
    "twin",
    "wide",
]

Network = TypeVar("Network", bound=nn.Module)


class Method(Base):
    """A base of lightly's parts: a projector, taken over or made by `head`, and an `objective` on what it gives.

    `width` is what the projector gives. The projector runs once for each view, so that its batch norms see one view
    at a time, as in lightly's examples. It runs in the caller's autocast; `loss` never does.
    """

    criterion: Any

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.fresh = ("projector",) if projector is None else ()
        self.projector: nn.Module = self.head(dim) if projector is None else _own(projector)
        self.width = _width(self.projector, dim)

    @abstractmethod
    def head(self, dim: int) -> nn.Module:
        """A new projector for D features."""

    @abstractmethod
    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """The loss of full-precision heads, (1,) or a scalar."""

    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """One projection per view."""
        return Heads(self.project(features))

    def project(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The projector's output of each view."""
        return tuple(self.projector(h) for h in features)

    def loss(self, outputs: Outputs) -> Tensor:
        """The objective on the global batch in float32 (float64 where the heads are), whatever autocast does."""
        given = outputs.heads
        heads = Heads(wide(given.projections), wide(given.predictions), wide(given.targets))
        with full_precision(heads.projections[0]):
            return self.objective(heads, outputs.labels).squeeze()


class MomentumMethod(Method):
    """A base whose targets come from a slow encoder and a slow copy of the projector."""

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.slow_projector = twin(self.projector)

    def targets(self, momentum: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The slow projector's output of each view, without gradient.

        It is in the mode of the trained one, even where a caller has put only what learns into train mode.
        """
        self.slow_projector.train(self.projector.training)
        with torch.no_grad():
            return tuple(self.slow_projector(h) for h in momentum)

    def follow(self, momentum: float) -> None:
        """The slow projector follows."""
        follow(self.projector, self.slow_projector, momentum)


def capped(dim: int, times: int, paper: int) -> int:
    """The width of a new head's layer: `times` D, at most what the paper has for the 2048 features of a ResNet-50.

    Ours: at 2048 features it is the paper's, and for narrow encoders the head is narrow in proportion.
    """
    return min(times * dim, paper)


def twin(network: Network) -> Network:
    """A copy without gradients, that only `follow` moves."""
    return _copied(network).requires_grad_(False)


def follow(trained: nn.Module, slow: nn.Module, momentum: float) -> None:
    """slow = momentum * slow + (1 - momentum) * trained, parameters alone: batch norms see batches themselves."""
    _utils.update_momentum(trained, slow, momentum)


def wide(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same, half precision made float32."""
    return tuple(computing(t) for t in tensors)


@contextmanager
def full_precision(like: Tensor) -> Iterator[None]:
    """No autocast on the device of `like`."""
    with torch.autocast(like.device.type, enabled=False):
        yield


def _own(projector: nn.Module) -> nn.Module:
    """A trainable copy: arms of one run start from the same projector and must not share it."""
    own = _copied(projector)
    if not any(p.requires_grad for p in own.parameters()):
        own.requires_grad_(True)
    return own


def _copied(network: Network) -> Network:
    """A deep copy, also of weight_norm's modules: their `weight` is a result of the last pass, which torch does not
    copy and the next pass makes anew."""
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())
    return copy.deepcopy(network)


def _width(projector: nn.Module, dim: int) -> int:
    """How many numbers the projector gives for D features; raises UsageError where it does not take them."""
    like = next(projector.parameters(), torch.empty(0))
    modes = {part: part.training for part in projector.modules()}
    try:
        with torch.no_grad(), full_precision(like):
            found = projector.eval()(torch.zeros(2, dim, device=like.device, dtype=like.dtype))
    except RuntimeError as error:
        do = "Use --projector fresh"
        raise UsageError(f"The projector does not take the encoder's {dim} features", do=do) from error
    finally:
        for part, mode in modes.items():
            part.training = mode
    return int(found.shape[1])
