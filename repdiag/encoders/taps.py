"""Reading a network's layers while it runs: forward hooks that are there for one pass only."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from repdiag.encoders.pools import Pooling, unit
from repdiag.errors import CheckpointError

Caught = Callable[[object], None]


@dataclass(frozen=True)
class Spot:
    """A place in a network: what a module gives or gets, what a method gives, or the network's pooled answer.

    A method "apart" is not called by the network's own forward pass and has to be; a program, which cannot
    be watched, has its own `forward` for one.
    """

    kind: Literal["output", "input", "method", "apart", "answer"]
    path: str = ""

    @contextlib.contextmanager
    def watched(self, network: nn.Module, caught: Caught) -> Iterator[None]:
        """Inside the block, `caught` is called with what passes here; nothing is left in the network."""
        if self.kind in ("answer", "apart"):
            yield
        elif self.kind == "method":
            method = getattr(network, self.path)

            def watching(*arguments: Any, **options: Any) -> Any:
                found = method(*arguments, **options)
                caught(found)
                return found

            before = network.__dict__.get(self.path)
            network.__dict__[self.path] = watching
            try:
                yield
            finally:
                if before is None:
                    del network.__dict__[self.path]
                else:
                    network.__dict__[self.path] = before
        else:
            module = network.get_submodule(self.path) if self.path else network
            if self.kind == "input":
                handle = module.register_forward_pre_hook(lambda _, given: caught(given[0]))
            else:
                handle = module.register_forward_hook(lambda _, given, found: caught(found))
            try:
                yield
            finally:
                handle.remove()


@dataclass(frozen=True)
class Tap:
    """One output: where it is taken, after how many calls in a pass, and how it is pooled."""

    spot: Spot
    pooling: Pooling | None = None
    calls: int = 1
    head: nn.Module | None = field(default=None, repr=False)


class _Enough(BaseException):
    """Everything that was asked for has passed; the rest of the network need not run. Not an error."""


class Tapped(nn.Module):
    """(B, C, H, W) -> (B, D1 + D2 + ...) float32: several layers of one network, pooled, in one pass.

    `inner` runs the network and gives its own pooled answer (B, D); hooks read the layers on the way. They are
    set for each pass and removed after it. When no tap needs the answer, the pass ends at the last layer
    that one needs. With `l2`, the columns of each tap have unit length (rows of zeros stay zeros).
    """

    def __init__(self, inner: nn.Module, network: nn.Module, taps: Sequence[Tap], l2: bool) -> None:
        super().__init__()
        self.inner, self.taps, self.l2 = inner, tuple(taps), l2
        self.heads = nn.ModuleList([tap.head for tap in taps if tap.head is not None])
        self._network = (network,)  # a part of `inner`, not to be registered twice

    @property
    def network(self) -> nn.Module:
        """The network that the layers' names are about."""
        return self._network[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> (B, D1 + D2 + ...) float32."""
        pieces = self.pieces(images)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)

    def pieces(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(B, C, H, W) float32 -> (B, D1), (B, D2), ... float32, one for each tap."""
        found: dict[int, torch.Tensor] = {}
        waiting = {number: tap.calls for number, tap in enumerate(self.taps)}

        def catching(number: int, pooling: Pooling | None) -> Caught:
            def caught(values: object) -> None:
                waiting[number] -= 1
                tensor = tensor_in(values)
                if waiting[number] == 0 and pooling is not None and tensor is not None:
                    found[number] = pooling(tensor)  # now: the next layer may work in place
                if all(left <= 0 for left in waiting.values()):
                    raise _Enough

            return caught

        with contextlib.ExitStack() as hooks:
            apart = []
            for number, tap in enumerate(self.taps):
                caught = catching(number, tap.pooling)
                hooks.enter_context(tap.spot.watched(self.network, caught))
                if tap.spot.kind == "apart":
                    apart.append((tap.spot.path, caught))
            hooks.enter_context(contextlib.suppress(_Enough))
            for method, caught in apart:
                caught(getattr(self.network, method)(images))
            answer: torch.Tensor = self.inner(images).float()
            found |= {number: answer for number, tap in enumerate(self.taps) if tap.spot.kind == "answer"}
        parts = []
        heads = iter(self.heads)
        for number, tap in enumerate(self.taps):
            if number not in found:
                raise CheckpointError(
                    f"The layer {tap.spot.path} ran {tap.calls} times on one batch, not on another"
                )
            part = found[number] if tap.head is None else next(heads)(found[number])
            parts.append(unit(part) if self.l2 else part)
        return parts


# --------------------------------------------------------------------------------------------- looking


def tensor_in(found: object) -> torch.Tensor | None:
    """What a module gave: its tensor, or the first of a tuple (transformers' layers add attentions to it)."""
    if isinstance(found, tuple) and found:
        found = found[0]
    return found if isinstance(found, torch.Tensor) else None


@dataclass
class Call:
    """What one module did in a pass: how often it ran, its place in the order of ending, its last output."""

    count: int
    order: int
    shape: tuple[int, ...] | None
    given: tuple[int, ...] | None
    kind: str
    pooled: torch.Tensor | None  # what an average pooling gave


@dataclass
class Trace:
    """One pass of a few images: the call of each module that ran, by its id, and what was not a module's.

    `answer` is the inner module's pooled answer, `own` what the network itself gave, `body` what its
    `forward_features` gave (timm's networks have one; `apart`: their forward pass does not call it).
    """

    images: int
    answer: torch.Tensor
    own: object = None
    body: object = None
    apart: bool = False
    calls: dict[int, Call] = field(default_factory=dict)

    def of(self, module: nn.Module) -> Call | None:
        """The module's call, or None if it did not run."""
        return self.calls.get(id(module))


def trace(inner: nn.Module, network: nn.Module, images: torch.Tensor) -> Trace:
    """Run `images` through `inner` and note what every module of `network` does; nothing is left behind."""
    seen, order = Trace(len(images), torch.empty(0)), itertools.count()

    def noting(module: nn.Module) -> Callable[..., None]:
        def note(_: nn.Module, given: tuple[object, ...], found: object) -> None:
            before = seen.calls.get(id(module))
            tensor = tensor_in(found)
            seen.calls[id(module)] = Call(
                count=before.count + 1 if before else 1,
                order=next(order),
                shape=None if tensor is None else tuple(tensor.shape),
                given=tuple(given[0].shape) if given and isinstance(given[0], torch.Tensor) else None,
                kind=type(found).__name__,
                pooled=tensor if isinstance(module, nn.AdaptiveAvgPool2d) else None,
            )

        return note

    def own(found: object) -> None:
        seen.own = found

    def body(found: object) -> None:
        seen.body = found

    program = isinstance(network, torch.jit.ScriptModule)  # has no Python to hook into
    with contextlib.ExitStack() as hooks, torch.no_grad():
        if program:
            seen.own = network(images)
        else:
            hooks.enter_context(Spot("output").watched(network, own))
            if callable(getattr(network, "forward_features", None)):
                hooks.enter_context(Spot("method", "forward_features").watched(network, body))
            for module in network.modules():
                hooks.callback(module.register_forward_hook(noting(module)).remove)
        seen.answer = inner(images)
    if seen.body is None and not program and callable(getattr(network, "forward_features", None)):
        with torch.no_grad(), contextlib.suppress(Exception):  # one of other arguments is none of ours
            seen.body, seen.apart = network.forward_features(images), True  # type: ignore[operator]
    return seen
