"""A run on disk: its state, from which it goes on exactly, and its result, which makes training again needless."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repdiag.errors import InputError, OutputError, UsageError
from repdiag.files import atomic
from repdiag.objectives import processes
from repdiag.training.networks import Networks

STATE, DONE = "state.pt", "done.pt"
_MODULE = frozenset(nn.Module().__dict__)
"""What every module has of its own accord."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, and lists and dicts of them) atomically; raises OutputError."""
    with atomic(path) as temporary:
        try:
            torch.save(dict(state), temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OutputError(
                f"Cannot write the state of the training: {str(error).splitlines()[0][:200]}",
                where=str(path),
                do="Free space there; the last state is still whole",
            ) from error


def check_shared(folder: Path, device: torch.device) -> None:
    """Raise UsageError, in every process, where several processes do not find the same in `folder`."""
    if processes.count() == 1:
        return
    found = float((folder / STATE).exists()) + 2 * float((folder / DONE).exists())
    everywhere = processes.gather(torch.tensor([found], device=device))
    if bool((everywhere != found).any()):
        raise UsageError(
            "Not all processes see the same state of the training",
            where=str(folder),
            do="Give an --out on a disk that all machines share",
        )


def load(path: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """The state at `path`, None where there is none. Opened without running code.

    Raises InputError for a damaged file, UsageError for one of another run, saying what differs.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        known = state["identity"]
    except Exception as error:  # a torn or foreign file fails in many ways
        raise InputError(
            "The state of the training cannot be read", where=str(path), do="Remove it to begin again"
        ) from error
    differ = [name for name in {**known, **identity} if known.get(name) != identity.get(name)]
    if differ:
        raise UsageError(
            f"A training with other {', '.join(differ)} was begun here",
            where=str(path.parent),
            do="Give another --out, or remove this folder",
        )
    return state


def networks_state(nets: Networks) -> dict[str, Any]:
    """Everything that the next step depends on, by network."""
    return {name: remembered(module) for name, module in nets.named()}


def restore(nets: Networks, state: Mapping[str, Any], path: Path) -> None:
    """Bring the networks to `state`; raises InputError when it is of other networks."""
    own = dict(nets.named())
    try:
        if own.keys() != state.keys():
            raise KeyError(f"{sorted(own)} instead of {sorted(state)}")
        for name, module in own.items():
            recall(module, state[name])
    except (KeyError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"The state of the training holds other networks: {str(error).splitlines()[0][:200]}",
            where=str(path),
            do="Remove it to begin again",
        ) from error


def remembered(module: nn.Module) -> dict[str, Any]:
    """What a module is made of: its state_dict, the buffers that are in none, and plain values and tensors that it
    keeps in attributes (a queue's place, a mask found at an epoch's begin), so that objectives need not think of it.

    The tensors are the module's own, not copies.
    """
    state = {k: t.detach() for k, t in module.state_dict().items() if isinstance(t, Tensor)}
    buffers = {name: b for name, b in _buffers(module).items() if name not in state}
    values = {}
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        own = {k: v for k, v in vars(part).items() if k not in _MODULE and _plain(v)}
        if own:
            values[path] = {k: _detached(v) for k, v in own.items()}
    return {"state": state, "buffers": buffers, "values": values}


@torch.no_grad()
def recall(module: nn.Module, said: Mapping[str, Any]) -> None:
    """The inverse of `remembered`, on the module's device. Buffers may have another shape than what was there."""
    home = next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    buffers = _buffers(module)
    for name, saved in {**said["state"], **said["buffers"]}.items():
        if name in buffers:
            now = buffers[name]
            if saved is None or now is None or now.shape != saved.shape:
                path, _, last = name.rpartition(".")
                device = home if now is None else now.device
                module.get_submodule(path)._buffers[last] = (
                    None if saved is None else saved.to(device, copy=True)
                )
            else:
                now.copy_(saved)
    module.load_state_dict(said["state"], strict=True)
    for path, own in said["values"].items():
        part = module.get_submodule(path)
        for name, value in own.items():
            now = getattr(part, name, None)
            device = now.device if isinstance(now, Tensor) else home
            setattr(part, name, _copied(value, device))


def _buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """All of them, also those that are None and those that no state_dict has."""
    found: dict[str, Tensor | None] = {}
    for path, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule):
            found |= {f"{path}.{name}" if path else name: buffer for name, buffer in part._buffers.items()}
    return found


def _plain(value: object) -> bool:
    """Whether a file of weights can hold it: exact types, as a subclass may mean more than its value."""
    if type(value) in (list, tuple):
        return all(_plain(one) for one in value)  # type: ignore[attr-defined]
    if type(value) is dict:
        return all(type(k) in (str, int) and _plain(v) for k, v in value.items())
    return value is None or type(value) in (bool, int, float, str, Tensor)


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, list | tuple):
        return type(value)(_detached(one) for one in value)
    return {k: _detached(v) for k, v in value.items()} if isinstance(value, dict) else value


def _copied(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, list | tuple):
        return type(value)(_copied(one, device) for one in value)
    return {k: _copied(v, device) for k, v in value.items()} if isinstance(value, dict) else value
