"""Where each tensor of an encoder's network came from in its file, and the way back for other numbers.

Most of the network's tensors are tensors of the file under another name. Others were made of them (`Source.make`):
split, joined, reshaped, transposed; and a few were added or averaged. `returned` finds the way back without knowing
which: of a rearrangement it learns each element's place by sending numbered elements through it, of a sum or an
average it takes the smallest change of the first tensor that gives the new numbers. Whatever it finds is sent
through `make` again and compared. This is ours; there is no paper behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from repdiag.encoders.translations import Source
from repdiag.errors import RepdiagError, UsageError

SLACK = 8.0
"""Roundings of the stored type that a sum or an average may be off by after it was written and read again."""

Sources = Mapping[str, Source]


@dataclass(frozen=True)
class Origin:
    """The checkpoint behind an encoder: its path as it was given, its digest, and the keywords it was opened with.

    `sources` tells for each tensor of the network (by the network's own name) which tensors of the file it is made
    of; those that are not there have none in the file. It may take a moment and holds no weights. `prefix` is where
    the backbone is among the file's (translated) names.
    """

    path: str
    container: str
    sha256: str
    sources: Callable[[], Sources] = field(repr=False)
    prefix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Returned:
    """New numbers for tensors of the file, by its names and in its types.

    `made` is what the network will read from them, float32, by the network's names; where a type is narrower it
    is the rounded state. `absent` are the network's tensors that the file has no place for. `indirect` are those
    that sums or averages of the file's tensors give.
    """

    tensors: Mapping[str, Tensor]
    made: Mapping[str, Tensor]
    absent: tuple[str, ...] = ()
    indirect: tuple[str, ...] = ()


def direct(names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, Source]:
    """The sources of tensors that are in the file as they are: the network's name -> the file's."""
    return {
        own: Source(tuple(tensors[name].shape), (name,)) for own, name in names.items() if name in tensors
    }


def returned(state: Mapping[str, Tensor], sources: Sources, of_file: Mapping[str, Tensor]) -> Returned:
    """The file's tensors from which the network gets `state`; `of_file` are those that it has now.

    Raises UsageError when a tensor is not finite, of another shape than in the file, beyond the range of its type
    there, or made of the file's in a way that cannot be turned round.
    """
    fresh: dict[str, Tensor] = {}
    given = {name: tensor.detach().cpu() for name, tensor in state.items()}
    indirect = []
    for name, tensor in given.items():
        if not bool(tensor.isfinite().all()):
            raise UsageError(f"The tuned tensor {name} holds NaN or infinite values")
        source = sources.get(name)
        if source is None:
            continue
        if tuple(tensor.shape) != source.shape:
            raise UsageError(
                f"The tensor {name} is {tuple(tensor.shape)} in the network and {source.shape} in the file"
                " (position embeddings were resampled for another image size?)"
            )
        if source.make is None:
            fresh[source.names[0]] = tensor.to(of_file[source.names[0]].dtype)
        elif not _sent_back(source, tensor, of_file, fresh):
            indirect.append(name)
    tensors = {name: _stored(name, tensor, of_file[name].dtype) for name, tensor in fresh.items()}
    after = {**of_file, **tensors}
    made = {name: _made(sources[name], after) for name in given if name in sources}
    for name, found in made.items():
        _demand_equal(name, found, given[name], sources[name], after, exact=name not in indirect)
    absent = tuple(name for name in given if name not in sources)
    return Returned(tensors, made, absent, tuple(indirect))


# --------------------------------------------------------------------------------------------- one tensor


def _sent_back(source: Source, new: Tensor, of_file: Mapping[str, Tensor], fresh: dict[str, Tensor]) -> bool:
    """Put into `fresh` what gives `new`; False when the way back was not a mere rearrangement."""
    now = [fresh.get(name, of_file[name]).detach().double() for name in source.names]
    places = _places(source, [of_file[name] for name in source.names])
    rearranged = places is not None
    if places is not None:
        flat = torch.cat([tensor.reshape(-1) for tensor in now])
        flat[places] = new.reshape(-1).double()
        parts = torch.split(flat, [tensor.numel() for tensor in now])
        changed = [part.view(tensor.shape) for part, tensor in zip(parts, now, strict=True)]
    else:
        changed = [_nudged(source, now, new.double()), *now[1:]]
    fresh.update(zip(source.names, changed, strict=True))
    return rearranged


def _places(source: Source, old: list[Tensor]) -> Tensor | None:
    """Which of the file's elements (counted through all tensors) each element is; None for no rearrangement."""
    assert source.make is not None
    count = sum(tensor.numel() for tensor in old)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    marks = order.double() + 0.25  # hardly any sum, product or average is one of them
    parts = torch.split(marks, [tensor.numel() for tensor in old])
    try:
        sent = source.make(*(part.view(tensor.shape) for part, tensor in zip(parts, old, strict=True)))
    except (RepdiagError, RuntimeError, ValueError, TypeError):  # it looks at the numbers
        return None
    numbers = sent.reshape(-1) - 0.25
    whole = numbers.round().long()
    if not torch.equal(whole.double(), numbers) or bool(((whole < 0) | (whole >= count)).any()):
        return None
    back = torch.empty_like(order)
    back[order] = torch.arange(count)
    places = back[whole]
    flat = torch.cat([tensor.detach().double().reshape(-1) for tensor in old])
    return places if torch.equal(flat[places], source.make(*old).double().reshape(-1)) else None


def _nudged(source: Source, now: list[Tensor], new: Tensor) -> Tensor:
    """The first tensor, changed as little as possible so that `make`, linear in it, gives `new`.

    With the Jacobian J of `make` in that tensor and J J^T = diag(d), x + J^T ((new - make(x)) / d) does. An element
    with d = 0 does not depend on x; if it is to change, the comparison that follows fails.
    """
    make = source.make
    assert make is not None

    try:
        with torch.inference_mode(False), torch.enable_grad():
            first = now[0].clone().requires_grad_()
            made = make(first, *now[1:])
            (spread,) = torch.autograd.grad(made, first, torch.ones_like(made), retain_graph=True)
            weight = (make(spread, *now[1:]) - make(torch.zeros_like(spread), *now[1:])).detach()  # J J^T 1
            wanted = torch.where(weight != 0, (new - made.detach()) / weight, torch.zeros_like(new))
            (step,) = torch.autograd.grad(made, first, wanted)
    except RuntimeError as error:
        raise _no_way_back(", ".join(source.names)) from error
    return now[0] + step


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = tensor.to(dtype)
    if not bool(stored.isfinite().all()):
        kind = str(dtype).removeprefix("torch.")
        raise UsageError(
            f"The tuned tensor {name} has values beyond the range of {kind}, as the file stores it"
        )
    return stored


def _made(source: Source, of_file: Mapping[str, Tensor]) -> Tensor:
    """What the network reads: floats as float32."""
    parts = [of_file[name] for name in source.names]
    found = source.make(*parts) if source.make else parts[0]
    return found.float() if found.is_floating_point() else found


def _demand_equal(
    name: str, made: Tensor, wanted: Tensor, source: Source, of_file: Mapping[str, Tensor], *, exact: bool
) -> None:
    """Raises UsageError unless the file's new tensors give what was wanted, as far as their type can hold it."""
    dtype = of_file[source.names[0]].dtype
    if exact:
        equal = torch.equal(made, wanted.to(dtype).to(made.dtype))
    else:
        parts = [of_file[part].double().abs().max() for part in source.names if of_file[part].numel()]
        scale = float(torch.stack([*parts, wanted.double().abs().max()]).max())
        gap = float((made.double() - wanted.double()).abs().max())
        equal = gap <= SLACK * torch.finfo(dtype).eps * scale
    if not equal:
        raise _no_way_back(name)


def _no_way_back(name: str) -> UsageError:
    return UsageError(f"How the tensor {name} was made of the file's tensors cannot be turned round")
