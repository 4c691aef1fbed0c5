"""The place of a network's activations, and a pass with a leaf of the graph of gradients in that place."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from repdiag.encoders import Encoder
from repdiag.encoders.features import network_of
from repdiag.encoders.taps import tensor_in
from repdiag.encoders.untouched import eager
from repdiag.encoders.wrap import Guest

Kind = Literal["convolution", "tokens", "flattened"]
Side = Literal["output", "input"]


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
    side: Side = "output"
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


def device_of(encoder: Encoder) -> torch.device:
    """Where the encoder's weights are."""
    if isinstance(encoder.module, Guest):
        return encoder.module.device
    tensors = itertools.chain(encoder.module.parameters(), encoder.module.buffers())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


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
