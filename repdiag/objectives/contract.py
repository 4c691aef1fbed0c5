"""What one training step shows to an objective, and what an objective is.

The loop (repdiag.training) runs the encoder on the views, the base's heads on the features, gathers everything
from all processes, and asks the base for its loss and the regularizer for its terms. Both see the *global* batch and
need no word about processes.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.objectives.parameters import Parameters
from repdiag.registry import Registry, did_you_mean


@dataclass(frozen=True)
class Heads:
    """What a base makes of features: V x (N, P) each; `predictions` and `targets` where the base has them.

    `targets` carry no gradient.
    """

    projections: tuple[Tensor, ...]
    predictions: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """One global batch of N images in V views, the first two of full size (small crops follow).

    `features` are V x (N, D) float32: the encoder's pooled output h, before any projector, not normalized.
    `heads` are the base's. Without gradient and only where `Needs` asks: `momentum`, 2 x (N, D), the slow encoder's
    h of the first two views; `weak` (N, D), h of a weakly augmented view; `reference`, 2 x (N, R), what the
    encoder gave before training. `rows` (N,) int64 are the images' places in the training set, `labels` (N,)
    int64 with -1 for unknown, or None. `progress` is the share of training done, in [0, 1).
    """

    features: tuple[Tensor, ...]
    heads: Heads
    rows: Tensor
    labels: Tensor | None = None
    momentum: tuple[Tensor, ...] = ()
    weak: Tensor | None = None
    reference: tuple[Tensor, ...] = ()
    progress: float = 0.0

    @property
    def both(self) -> Tensor:
        """H (2N, D): the features of the two full views, one below the other."""
        return torch.cat(self.features[:2])


@dataclass(frozen=True)
class Needs:
    """What the loop must prepare for a regularizer, each at a cost.

    `images`: a pass of the encoder over the clean training images before epochs (`begin_epoch`). `reference`: the
    frozen first encoder's features, "images" once for each clean image, "views" in every step for each view.
    `momentum`: a slow copy of the encoder that follows with this momentum, rising to 1 along a cosine (a base that
    has one decides its momentum). `weak_view`: one more view in every step.
    """

    images: bool = False
    reference: Literal["", "images", "views"] = ""
    momentum: float | None = None
    weak_view: bool = False


class Base(nn.Module):
    """The heads and the loss of one self-supervised method; it does not own the encoder.

    `projector` is the checkpoint's own, to go on with; without one a fresh head is made. `fresh` names the children
    with new weights: they are trained alone first, while the encoder stands still. `momentum` is that of the slow
    encoder at the start for methods that have one, else None; it rises to 1 along a cosine unless `constant`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    momentum: ClassVar[float | None] = None
    constant: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False
    small_crops: ClassVar[bool] = False  # whether `loss` knows what to do with more than two views

    fresh: tuple[str, ...] = ()

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__()

    @abstractmethod
    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """The heads' outputs for V x (N, D) features, `momentum` those of the slow encoder (two views)."""

    @abstractmethod
    def loss(self, outputs: Outputs) -> Tensor:
        """The objective on the global batch: a scalar, float32."""

    def follow(self, momentum: float) -> None:
        """Move the slow heads, if there are any, towards the trained ones; called after each step."""


class Regularizer(nn.Module):
    """Terms that are added to a base's loss. Its own modules, if it has any, are trained along.

    Made from its Parameters alone; modules whose shape depends on the encoder are made in `attach`.
    """

    kind: ClassVar[type[Parameters]]
    title: ClassVar[str]
    source: ClassVar[str]
    needs: Needs = Needs()  # of a class or, where it depends on the numbers, of an instance

    def __init__(self, parameters: Parameters | None = None, **numbers: Any) -> None:
        """`numbers` change single Parameters; an unknown one, or one of another kind's, is a UsageError."""
        super().__init__()
        made = self.kind() if parameters is None else parameters
        if not isinstance(made, self.kind):
            raise UsageError(f"{self.kind.name} takes {self.kind.__name__}, not {type(made).__name__}")
        known = [one.name for one in dataclasses.fields(made)]
        for name in numbers:
            if name not in known:
                raise UsageError(
                    f"{self.kind.name} has no number '{name}'",
                    do=did_you_mean(name, known) if known else None,
                )
        self.numbers = dataclasses.replace(made, **numbers)

    def attach(self, dim: int, heads: Heads, classes: int | None = None) -> None:
        """Make what depends on the encoder: D features, the heads' widths (of any batch), K classes if known."""

    def begin_epoch(self, epoch: int, features: Iterable[Tensor]) -> None:
        """Look at the clean images' features, (B, D) float32 each without gradient; only if `needs.images`.

        Each process gives its own part of the images (`repdiag.objectives.processes.total` sums over them).
        """

    @abstractmethod
    def terms(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """Name -> scalar to be *added* to the loss, weighted and signed; where there is nothing to say a zero."""

    def follow(self, momentum: float) -> None:
        """As `Base.follow`."""

    def facts(self) -> Mapping[str, float]:
        """What is worth a column in the log (the share of samples below alpha, mean M, ...) of the last step."""
        return {}

    @classmethod
    def ablations(cls) -> Mapping[str, Mapping[str, object]]:
        """Arm name -> changed Parameters, for `--ablate`."""
        return {}


BASES: Registry[type[Base]] = Registry("base objective", "repdiag.objectives.bases")
REGULARIZERS: Registry[type[Regularizer]] = Registry("regularizer", "repdiag.objectives.regularizers")


def base(kind: type[Base]) -> type[Base]:
    """Register a base under its `name`, which is its module's."""
    BASES.add(kind.name, kind, kind.__module__)
    return kind


def regularizer(kind: type[Regularizer]) -> type[Regularizer]:
    """Register a regularizer under its parameters' `name`."""
    REGULARIZERS.add(kind.kind.name, kind, kind.__module__)
    return kind


@dataclass(frozen=True)
class Loss:
    """What one step's loss is made of: `total` = `base` + the sum of `terms`."""

    base: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The scalar to differentiate."""
        return torch.stack([self.base, *self.terms.values()]).sum()
