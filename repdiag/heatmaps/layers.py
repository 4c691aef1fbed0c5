"""The place in an encoder whose activations a heat map is drawn of: found by running it once, not by its name."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from repdiag.checkpoints.program import Program
from repdiag.encoders import Encoder
from repdiag.encoders import layers as forms
from repdiag.encoders.chosen import Chosen
from repdiag.encoders.features import network_of
from repdiag.encoders.pools import unit
from repdiag.encoders.taps import Spot, Trace, tensor_in
from repdiag.encoders.untouched import eager
from repdiag.encoders.wrap import Guest
from repdiag.errors import UsageError

Kind = Literal["convolution", "tokens", "flattened"]

_ATTENTION = re.compile("attn|attention", re.IGNORECASE)
_IMAGES = 2  # what has no row for each image is no activation of one


@dataclass(frozen=True)
class Spatial:
    """Where the activations A of an encoder are taken, and how they lie over the image.

    `kind` "convolution": A is a map (B, channels, h, w), or (B, h, w, channels) if `channels_last`, and the features
    are computed from all of it (pooled, say). "flattened": the same, and each feature *is* one value of the map.
    "tokens": A is (B, prefix + h*w, channels), `prefix` tokens (class, registers) lie nowhere in the image. A is what
    the module `module_name` gives ("" is the network itself; where `side` is "input": gets), in the `call`-th of its
    calls in one pass. `columns` start..stop are the encoder's features that this is the place of.
    """

    kind: Kind
    module_name: str
    grid: tuple[int, int]
    channels: int
    prefix: int = 0
    channels_last: bool = False
    side: Literal["output", "input"] = "output"
    call: int = 1
    columns: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.grid[0] * self.grid[1] < 2 or self.channels < 1 or self.prefix < 0 or self.call < 1:
            raise ValueError(f"no places: {self}")
        if self.kind != "tokens" and self.prefix:
            raise ValueError("only tokens have a prefix")
        if not 0 <= self.columns[0] <= self.columns[1]:
            raise ValueError(f"columns {self.columns}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's activations."""
        if self.kind == "tokens":
            return self.prefix + self.grid[0] * self.grid[1], self.channels
        return (*self.grid, self.channels) if self.channels_last else (self.channels, *self.grid)

    def places(self, values: torch.Tensor) -> torch.Tensor:
        """(B, *shape) of any float type -> (B, h, w, channels) float32, without the prefix."""
        values = values.float()
        if self.kind == "tokens":
            return values[:, self.prefix :].reshape(len(values), *self.grid, self.channels)
        return values if self.channels_last else values.permute(0, 2, 3, 1)


# --------------------------------------------------------------------------------------------- finding


def spatial(encoder: Encoder, output: str | None = None) -> Spatial:
    """Where the features of `encoder` come from in the image, found by running two small random images through it.

    Convolutional networks: the last map (B, C, H, W) with H W > 1 that a module gives and the features depend on.
    Networks of tokens: the tokens that go into the last attention (the output of the last block's first norm, as is
    usual (C, pytorch-grad-cam's choice)): behind it, a class token's gradient reaches no other token. `output` names
    one of `encoder.outputs`, and is needed where there are several.

    Raises UsageError for programs (TorchScript, torch.export), for an encoder whose features are of several layers
    at once, and for one in which nothing keeps its place in the image.
    """
    start, stop = _columns(encoder, output)
    network = network_of(encoder.module)
    _refuse(encoder, network)
    how = encoder.preprocessing
    noise = torch.randn(
        _IMAGES, how.channels, how.size, how.size, generator=torch.Generator().manual_seed(0)
    ).to(device_of(encoder))
    with _explained(encoder), torch.random.fork_rng(devices=[]):
        seen = _run(encoder, network, noise)
        features = seen.answer[:, start:stop]
        for passed in seen.candidates(features):
            for found in _places(encoder, network, seen, passed, (start, stop)):
                if _reaches(encoder, found, noise):
                    return found
    raise UsageError(
        "No layer of this encoder keeps its place in the image, so that there is no heat map to draw",
        where=encoder.name,
        do="Heat maps need a module that gives a map (B, C, H, W) or tokens (B, T, C) behind the first layers",
    )


def device_of(encoder: Encoder) -> torch.device:
    """Where the encoder's weights are."""
    if isinstance(encoder.module, Guest):
        return encoder.module.device
    tensors = itertools.chain(encoder.module.parameters(), encoder.module.buffers())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def _columns(encoder: Encoder, output: str | None) -> tuple[int, int]:
    names = [one.name for one in encoder.outputs]
    if isinstance(encoder.module, Chosen) and len(encoder.module.kept.layers) > 1:
        raise UsageError(
            f"The encoder's features are some of several layers' ({', '.join(encoder.module.kept.layers)}), which "
            "have no one place in the image",
            where=encoder.name,
            do="Explain one layer's features",
        )
    if output is None and len(names) > 1:
        raise UsageError(
            f"The encoder gives the features of {len(names)} layers: {', '.join(names)}",
            where=encoder.name,
            do="Explain one of them: name a single --layer",
        )
    if output is not None and output not in names:
        raise UsageError(
            f"The encoder has no output '{output}'", where=encoder.name, do=f"It has {', '.join(names)}"
        )
    one = encoder.outputs[0 if output is None else names.index(output)]
    return one.start, one.stop


def _refuse(encoder: Encoder, network: nn.Module) -> None:
    """UsageError where there is nothing to hook into; ValueError in training mode, where rows are not apart."""
    if any(isinstance(part, (torch.jit.ScriptModule, Program)) for part in (network, *network.modules())):
        raise UsageError(
            "A program (TorchScript or torch.export) does not show its layers, so that no heat map can be drawn",
            where=encoder.name,
            do="Use the checkpoint of weights that it was made from",
        )
    if any(part.training for part in network.modules()):
        raise ValueError("the network must be in eval mode: a heat map would depend on the other images")
    if any(tensor.is_inference() for tensor in (*network.parameters(), *network.buffers())):
        raise UsageError(
            "The encoder's weights were made in torch.inference_mode, which lets no gradients through, and heat maps "
            "are made of those",
            where=encoder.name,
            do="Load the encoder outside of torch.inference_mode",
        )


@contextlib.contextmanager
def _explained(encoder: Encoder) -> Iterator[None]:
    """Complaints of a network's layers about gradients as one sentence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UsageError(
            f"The encoder lets no gradients through, which heat maps are made of: {text}",
            where=encoder.name,
        ) from error


@dataclass(frozen=True)
class _Passed:
    """A tensor that a module gave (or got) in one pass, and when. `tokens`: (B, T, C), else a map."""

    name: str
    call: int
    order: int
    values: torch.Tensor = field(repr=False)
    side: Literal["output", "input"] = "output"

    @property
    def tokens(self) -> bool:
        return self.values.dim() == 3


@dataclass
class _Seen:
    """Everything of a pass that may keep its place: what modules gave, in order of ending, and what attentions got."""

    answer: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    given: list[_Passed] = field(default_factory=list)
    attended: list[_Passed] = field(default_factory=list)
    body: object = None

    def maps(self) -> list[_Passed]:
        """The maps that modules gave, without what attentions have inside (one value for each pair of tokens)."""
        inside = tuple(f"{one.name}." for one in self.attended)
        return [one for one in self.given if not one.tokens and not one.name.startswith(inside)]

    def candidates(self, features: torch.Tensor) -> Iterator[_Passed]:
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
            gradient = _gradient(features, one.values)
            if gradient is not None and (features.shape == self.answer.shape or bool(gradient.any())):
                yield from self._names(one)

    def _names(self, one: _Passed) -> Iterator[_Passed]:
        """The same tensor as the output of modules, outermost first; as an input where none gave it."""
        if one.side == "output":
            same = [each for each in self.given if each.values is one.values]
            yield from sorted(same, key=lambda each: (each.name != "", each.order), reverse=True)
            return
        same = [each for each in self.given if each.values is one.values and each.order < one.order]
        yield from reversed(same)
        yield one


def _only_patches(maps: list[_Passed], tokens: list[_Passed]) -> bool:
    """Whether all maps came before all but the first few tokens: the cutting into patches, not a network's body."""
    return max(one.order for one in maps) < tokens[len(tokens) // 2].order


def _gradient(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
    """Of a random sum of the features (of a plain sum of normalized ones it may vanish); None: not connected."""
    if not (features.requires_grad and values.requires_grad):
        return None
    weights = torch.rand(features.shape, generator=torch.Generator().manual_seed(0)).to(features)
    with torch.enable_grad():
        target = (features * weights).sum()
    return torch.autograd.grad(target, values, retain_graph=True, allow_unused=True)[0]


def _run(encoder: Encoder, network: nn.Module, images: torch.Tensor) -> _Seen:
    """One pass with gradients from the images on; nothing is left behind."""
    seen, order, calls = _Seen(), itertools.count(), dict[str, int]()

    def tensor(found: object) -> torch.Tensor | None:
        values = tensor_in(found)
        if values is None or len(values) != _IMAGES or not values.is_floating_point():
            return None
        if values.dim() == 3:
            return values if values.shape[1] > 1 else None
        return (
            values
            if values.dim() == 4 and values[0].numel() > max(values.shape[1], values.shape[3])
            else None
        )

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
                seen.given.append(_Passed(name, calls[name], next(order), values))

        return noting

    def attend(name: str) -> Any:
        def attending(_: nn.Module, given: tuple[object, ...], options: dict[str, object]) -> None:
            for value in (*given, *options.values()):
                values = tensor(value)
                if values is not None and values.dim() == 3:
                    seen.attended.append(_Passed(name, calls.get(name, 0) + 1, next(order), values, "input"))
                    return

        return attending

    def body(found: object) -> None:
        seen.body = found

    with contextlib.ExitStack() as hooks, torch.inference_mode(False), torch.enable_grad(), eager():
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


# --------------------------------------------------------------------------------------------- describing


def _places(
    encoder: Encoder,
    network: nn.Module,
    seen: _Seen,
    passed: _Passed,
    columns: tuple[int, int],
) -> Iterator[Spatial]:
    """How what passed lies over the image; nothing where that cannot be told."""
    shape = tuple(passed.values.shape[1:])
    where: dict[str, Any] = {"side": passed.side, "call": passed.call, "columns": columns}
    own = next((one.values for one in seen.given if not one.name), None)
    form = forms.form(network, shape, Trace(_IMAGES, seen.answer, own, seen.body))
    if passed.tokens:
        grid = _grid(shape[0], form.prefix, [one for one in seen.maps() if one.order < passed.order])
        if grid is not None:
            prefix = shape[0] - grid[0] * grid[1]
            yield Spatial("tokens", passed.name, grid, shape[1], prefix, **where)
        return
    height, width, channels = shape if form.channels_last else (*shape[1:], shape[0])
    if height * width > 1:
        kind: Kind = "flattened" if _is_flat(encoder, seen.answer, passed.values, columns) else "convolution"
        yield Spatial(kind, passed.name, (height, width), channels, 0, form.channels_last, **where)


def _grid(count: int, prefix: int | None, maps: list[_Passed]) -> tuple[int, int] | None:
    """How `count` tokens, the first `prefix` of them none of the image's (None: unknown), lie over the image.

    As the last map that they can have been made from, else in a square. None where nothing fits.
    """
    most = count // 2 if prefix is None else prefix
    for one in reversed(maps):
        for height, width in (one.values.shape[2:], one.values.shape[1:3]):
            spare = count - height * width
            if height * width > 1 and (
                spare == prefix if prefix is not None else 0 <= spare <= min(most, 16)
            ):
                return int(height), int(width)
    for spare in (0, 1, 2) if prefix is None else (prefix,):
        side = int((count - spare) ** 0.5)
        if side > 1 and side * side == count - spare:
            return side, side
    return None


def _is_flat(encoder: Encoder, answer: torch.Tensor, values: torch.Tensor, columns: tuple[int, int]) -> bool:
    """Whether the features are the map's own values side by side, at unit length perhaps."""
    flat = values.detach().flatten(1).float()
    if isinstance(encoder.module, Chosen):
        if encoder.module.kept.of != flat.shape[1]:
            return False
        flat = flat.index_select(1, encoder.module.index)
    features = answer.detach()[:, slice(*columns)].float()
    return flat.shape == features.shape and torch.allclose(unit(flat), unit(features), rtol=1e-4, atol=1e-6)


# --------------------------------------------------------------------------------------------- exposing


@dataclass
class Exposed:
    """The activations of one pass as a leaf of the graph of gradients; None until they passed."""

    leaf: torch.Tensor | None = None


@contextlib.contextmanager
def exposed(encoder: Encoder, where: Spatial) -> Iterator[Exposed]:
    """Inside, a pass of `encoder` computes with a leaf in the place of the activations at `where`.

    What comes before is run without a graph, whether parameters are frozen or not, and the network's own gradients
    are not touched. Nothing is left in the network afterwards.
    """
    found, calls = Exposed(), itertools.count(1)
    network = network_of(encoder.module)
    module = network.get_submodule(where.module_name) if where.module_name else network

    def replaced(values: torch.Tensor) -> torch.Tensor:
        # also inside a block without gradients, which sets its own state back at its end (`Guest`)
        torch.set_grad_enabled(True)
        found.leaf = values.detach().requires_grad_()
        return found.leaf.clone()  # what follows may work in place, which a leaf does not allow

    def on_output(_: nn.Module, given: object, output: Any) -> Any:
        values = tensor_in(output)
        if next(calls) != where.call or values is None:
            return None
        new = replaced(values)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    def on_input(_: nn.Module, given: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if next(calls) != where.call:
            return None
        fits = (value for value in (*given, *options.values()) if _fits(value, where))
        values = next(fits, None)
        if values is None:
            return None
        new = replaced(values)  # also where it is passed again, as key and value
        same = {name: new if value is values else value for name, value in options.items()}
        return tuple(new if value is values else value for value in given), same

    if where.side == "input":
        handle = module.register_forward_pre_hook(on_input, with_kwargs=True)
    else:
        handle = module.register_forward_hook(on_output)
    with contextlib.ExitStack() as hooks, torch.inference_mode(False), torch.no_grad(), eager():
        hooks.callback(handle.remove)
        yield found


def _fits(value: object, where: Spatial) -> bool:
    return isinstance(value, torch.Tensor) and tuple(value.shape[1:]) == where.shape


def _reaches(encoder: Encoder, where: Spatial, images: torch.Tensor) -> bool:
    """Whether the features depend on what a hook at `where` puts there; of tokens, on those of the image."""
    with exposed(encoder, where) as found:
        features = encoder.module(images)
        with torch.enable_grad():
            features = features[:, slice(*where.columns)]
    if found.leaf is None or not features.requires_grad:
        return False
    gradient = _gradient(features, found.leaf)
    if gradient is None:
        return False
    strict = where.kind == "tokens" or len(encoder.outputs) > 1
    return not strict or bool(where.places(gradient).any())
