"""What passes through a network in one run that may keep its place in the image: maps, and tokens."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from repdiag.encoders import Encoder
from repdiag.encoders.taps import Spot, tensor_in
from repdiag.encoders.untouched import eager
from repdiag.heatmaps.place import Side

IMAGES = 2
"""What has no row for each of several images is no activation of one."""

_ATTENTION = re.compile("attn|attention", re.IGNORECASE)


@dataclass(frozen=True)
class Passed:
    """A tensor that a module gave (or got) in one pass, and when. `tokens`: (B, T, C), else a map."""

    name: str
    call: int
    order: int
    values: torch.Tensor = field(repr=False)
    side: Side = "output"

    @property
    def tokens(self) -> bool:
        """Whether it is no map."""
        return self.values.dim() == 3


@dataclass
class Seen:
    """Everything of a pass that may keep its place: what modules gave, in order of ending, and what attentions got."""

    answer: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    given: list[Passed] = field(default_factory=list)
    attended: list[Passed] = field(default_factory=list)
    body: object = None

    def maps(self) -> list[Passed]:
        """The maps that modules gave, without what attentions have inside (one value for each pair of tokens)."""
        inside = tuple(f"{one.name}." for one in self.attended)
        return [one for one in self.given if not one.tokens and not one.name.startswith(inside)]

    def candidates(self, features: torch.Tensor) -> Iterator[Passed]:
        """What the features depend on, the best first; one tensor may come under several modules' names."""
        maps = self.maps()
        last = max(self.attended, key=lambda one: one.order, default=None)
        tokens = [one for one in self.given if one.tokens]
        ranked = [*maps, *self.attended]
        ranked.sort(key=lambda one: one.order, reverse=True)
        if last is None and tokens and (not maps or _only_patches(maps, tokens)):
            # no attention to be seen, as in a mixer: the last tokens as wide as those at the end
            ranked = [one for one in reversed(tokens) if one.values.shape == tokens[-1].values.shape] + ranked
        for one in ranked:
            # columns that were joined with others' have gradients of zero for what only those depend on
            found = gradient_of(features, one.values)
            if found is not None and (features.shape == self.answer.shape or bool(found.any())):
                yield from self._names(one)

    def _names(self, one: Passed) -> Iterator[Passed]:
        """The same tensor as the output of modules, outermost first; as an input where none gave it."""
        if one.side == "output":
            same = [each for each in self.given if each.values is one.values]
            yield from sorted(same, key=lambda each: (each.name != "", each.order), reverse=True)
            return
        same = [each for each in self.given if each.values is one.values and each.order < one.order]
        yield from reversed(same)
        yield one


def _only_patches(maps: list[Passed], tokens: list[Passed]) -> bool:
    """Whether all maps came before all but the first few tokens: the cutting into patches, not a network's body."""
    return max(one.order for one in maps) < tokens[len(tokens) // 2].order


def gradient_of(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
    """Of a random sum of the features (of a plain sum of normalized ones it may vanish); None: not connected."""
    if not (features.requires_grad and values.requires_grad):
        return None
    weights = torch.rand(features.shape, generator=torch.Generator().manual_seed(0)).to(features)
    target = (features * weights).sum()
    return torch.autograd.grad(target, values, retain_graph=True, allow_unused=True)[0]


def run(encoder: Encoder, network: nn.Module, images: torch.Tensor) -> Seen:
    """One pass with gradients from the images on; nothing is left behind."""
    seen, order, calls = Seen(), itertools.count(), dict[str, int]()

    def tensor(found: object) -> torch.Tensor | None:
        values = tensor_in(found)
        if values is None or values.dim() not in (3, 4) or len(values) != IMAGES:
            return None
        if values.dim() == 3:
            several = values.shape[1] > 1
        else:  # more than one value for each channel, wherever the channels are
            several = values[0].numel() > max(values.shape[1], values.shape[3])
        return values if several and values.is_floating_point() else None

    def begin(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if torch.is_grad_enabled() and given[0].requires_grad:
            return None
        # somebody's own module is run without gradients (`Guest`), until that block ends
        torch.set_grad_enabled(True)
        return (given[0].detach().requires_grad_().clone(), *given[1:])

    def note(name: str) -> Any:
        def noting(_: nn.Module, given: tuple[object, ...], found: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            values = tensor(found)
            if values is not None:
                seen.given.append(Passed(name, calls[name], next(order), values))

        return noting

    def attend(name: str) -> Any:
        def attending(_: nn.Module, given: tuple[object, ...], options: dict[str, object]) -> None:
            for value in (*given, *options.values()):
                values = tensor(value)
                if values is not None and values.dim() == 3:
                    seen.attended.append(Passed(name, calls.get(name, 0) + 1, next(order), values, "input"))
                    return

        return attending

    def body(found: object) -> None:
        seen.body = found

    with contextlib.ExitStack() as hooks, eager():
        if callable(getattr(network, "forward_features", None)):
            hooks.enter_context(Spot("method", "forward_features").watched(network, body))
        hooks.callback(network.register_forward_pre_hook(begin).remove)
        for name, module in network.named_modules():
            hooks.callback(module.register_forward_hook(note(name)).remove)
            if _is_attention(name, module):
                handle = module.register_forward_pre_hook(attend(name), with_kwargs=True)
                hooks.callback(handle.remove)
        seen.answer = encoder.module(images.clone().requires_grad_().clone())
    return seen


def _is_attention(name: str, module: nn.Module) -> bool:
    """By its name or its type's; norms and dropouts that are called after it have no parts."""
    own = f"{type(module).__name__} {name.rpartition('.')[2]}"
    return bool(name and _ATTENTION.search(own) and any(True for _ in module.children()))
