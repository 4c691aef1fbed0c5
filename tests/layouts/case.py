"""What a layout is: a recipe for the contents of a file, and what must be found in it."""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass(frozen=True)
class Other:
    """The second network of a file, and the option that selects it."""

    source: nn.Module
    key: str | None = None
    prefix: str | None = None


@dataclass(frozen=True)
class Case:
    """One file: its `contents` for torch.save, and the backbone in it.

    `source` computes the features that the method's own evaluation uses. `backbone` are the file's names of the
    tensors that it takes; all others have to be dropped. `size` is that of the images that are compared.
    `tolerance` is 0 where the very same operations run in the same order. `write` makes the file or folder at a
    path from the contents, torch.save does without it.
    """

    contents: Any
    source: nn.Module
    architecture: str
    dim: int
    prefix: str
    backbone: frozenset[str]
    size: int = 64
    other: Other | None = None
    tolerance: float = 0.0
    write: Callable[[Any, Path], None] = torch.save


@dataclass(frozen=True)
class Layout:
    """A named builder; `container` is what a reader of the docs calls the place in the file."""

    name: str
    container: str
    build: Callable[[], Case] = field(repr=False)


@dataclass
class Collection:
    """The layouts of one module, in the order of their definition."""

    layouts: list[Layout] = field(default_factory=list)

    def __call__(self, name: str, container: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
        """Decorator: the function builds the layout called `name`."""

        def add(build: Callable[[], Case]) -> Callable[[], Case]:
            self.layouts.append(Layout(name, container, build))
            return build

        return add


# --------------------------------------------------------------------------------------------- states


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The state dict of a module that holds this one as `prefix` (with its dot)."""
    return {prefix + name: tensor for name, tensor in state.items()}


def renamed(state: Mapping[str, Tensor], *rules: tuple[str, str]) -> State:
    """Names with each substring replaced, in order."""
    result: State = {}
    for name, tensor in state.items():
        for old, new in rules:
            name = name.replace(old, new)
        result[name] = tensor
    return result


def names(prefix: str, source: nn.Module | Iterable[str], but: Iterable[str] = ()) -> frozenset[str]:
    """The names under `prefix` of a module's tensors (or of the given ones), without those in `but`."""
    own = source.state_dict() if isinstance(source, nn.Module) else source
    return frozenset(prefix + name for name in own if name not in set(but))


# --------------------------------------------------------------------------------------------- random numbers


@contextlib.contextmanager
def uninitialized() -> Iterator[None]:
    """Modules built inside draw no initial weights: they have to be `scrambled`."""
    with torch.device("meta"):
        yield


class Numbers:
    """Random numbers in [0, 1), a million of each seed over and over: faster than a generator, and never in step."""

    LENGTH = 1_000_003

    def __init__(self, seed: int) -> None:
        self.pool, self.position = _pool(seed), 0

    def fill(self, tensor: Tensor, low: float, high: float) -> None:
        """Put the next ones into a tensor, scaled to [low, high)."""
        flat, done = tensor.view(-1), 0
        while done < len(flat):
            taken = min(self.LENGTH - self.position, len(flat) - done)
            part = self.pool[self.position : self.position + taken]
            torch.add(part * (high - low), low, out=flat[done : done + taken])
            self.position, done = (self.position + taken) % self.LENGTH, done + taken


@functools.cache
def _pool(seed: int) -> Tensor:
    return torch.rand(Numbers.LENGTH, generator=torch.Generator().manual_seed(seed))


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in eval mode, all its tensors random and of a size that keeps signals alive."""
    if any(parameter.is_meta for parameter in module.parameters()):
        module.to_empty(device="cpu")
    randomize(module.state_dict(), seed)
    return module.eval()


def randomize(state: Mapping[str, Tensor], seed: int = 0) -> None:
    """Fill the tensors as their names ask for."""
    numbers = Numbers(seed)
    for name, tensor in state.items():
        _fill(name.rpartition(".")[2], tensor, numbers)


def _fill(name: str, tensor: Tensor, numbers: Numbers) -> None:
    if not tensor.is_floating_point():
        tensor.fill_(17)
    elif name == "running_var" or (tensor.dim() == 1 and name.startswith(("weight", "gamma"))):
        numbers.fill(tensor, 0.5, 1.5)
    elif tensor.dim() < 2:
        numbers.fill(tensor, -0.5, 0.5)
    else:
        bound = (3 / tensor[0].numel()) ** 0.5 if tensor.shape[0] > 1 else 1.0
        numbers.fill(tensor, -bound, bound)


def mlp(*widths: int, norm: bool = True, last_norm: str = "", bias: bool = True, seed: int = 9) -> State:
    """The state of Linear (BatchNorm1d ReLU) ... Linear in one Sequential; `last_norm` is "", "plain" or "affine"."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        with uninitialized():
            layers.append(nn.Linear(inputs, outputs, bias=bias))
            if not last:
                layers += [nn.BatchNorm1d(outputs), nn.ReLU()] if norm else [nn.ReLU()]
            elif last_norm:
                layers.append(nn.BatchNorm1d(outputs, affine=last_norm == "affine"))
    return dict(scrambled(nn.Sequential(*layers), seed).state_dict())


def linear(inputs: int, outputs: int, bias: bool = True, seed: int = 11) -> State:
    """The state of one linear layer."""
    return dict(scrambled(nn.Linear(inputs, outputs, bias=bias), seed).state_dict())


# --------------------------------------------------------------------------------------------- what lies beside


def optimizer(*states: Mapping[str, Tensor], kind: str = "sgd") -> dict[str, Any]:
    """An optimizer's state for the parameters in `states`: full shapes, one stored number each."""
    parameters = [
        t for state in states for n, t in state.items() if t.is_floating_point() and "running" not in n
    ]
    slots = ("momentum_buffer",) if kind == "sgd" else ("exp_avg", "exp_avg_sq")
    state = {
        i: {slot: torch.full((1,), 0.1).expand(p.shape) for slot in slots}
        | ({} if kind == "sgd" else {"step": 7})
        for i, p in enumerate(parameters)
    }
    group = {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4, "params": list(range(len(parameters)))}
    return {"state": state, "param_groups": [group]}


def namespace(**values: Any) -> argparse.Namespace:
    """What `args = parser.parse_args()` leaves in a checkpoint."""
    return argparse.Namespace(lr=0.03, batch_size=256, epochs=100, output_dir=".", **values)
