"""Dotted names for what nested dictionaries hold: tensors, and plain facts beside them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from repdiag.checkpoints.checkpoint import Fact, join
from repdiag.checkpoints.pickle_values import Object
from repdiag.checkpoints.tensor_refs import (
    Malformed,
    OtherTensor,
    TensorRef,
    attributes,
    entries,
    scalar,
    tensor,
)
from repdiag.errors import CheckpointError

if TYPE_CHECKING:
    import torch

MAX_DEPTH = 64  # of nested dicts; deeper ones are cycles
MAX_TENSORS = 100_000  # a small file can alias one dict exponentially often
MAX_OBJECTS = 400_000  # looked at on the way, for the same reason
MAX_VISITS = 4_000_000  # of entries that are plain values
MAX_NAME = 1_000  # characters of a dotted name
MAX_FACTS = 200
MAX_FACT_VISITS = 50_000
MAX_KEYS = 200

_HIDDEN = {"_content": "", "_val": "", "_metadata": None, "_parent": None, "_flags_cache": None}
"""Attributes that OmegaConf puts between a name and its value ("") or beside them (None)."""


@dataclass
class Tree:
    """What was found: tensors, things with numbers that are no plain tensors, and whole modules."""

    tensors: dict[str, TensorRef] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)


def grow(root: Any, where: str) -> Tree:
    """Every tensor in nested dictionaries, in their order; lists and objects are not looked into.

    Raises CheckpointError when the nesting is absurd or a tensor does not fit its storage.
    """
    tree = Tree()
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    visits = objects = 0
    while pending:
        path, value, depth = pending.pop()
        objects += 1
        if objects > MAX_OBJECTS:
            raise _endless(where)
        if (children := entries(value)) is None:
            _leaf(tree, path, value, where)
            continue
        inside: list[tuple[str, Any, int]] = []
        for key, child in children:
            visits += 1
            if visits > MAX_VISITS or len(tree.tensors) + len(pending) + len(inside) > MAX_TENSORS:
                raise _endless(where)
            if type(child) is dict or isinstance(child, Object):
                inside.append((_name(path, key, where), child, depth + 1))
        if inside and depth > MAX_DEPTH:
            raise _endless(where)
        pending.extend(reversed(inside))
    return tree


def _leaf(tree: Tree, path: str, value: Any, where: str) -> None:
    try:
        found = tensor(value)
    except Malformed as error:
        raise CheckpointError(
            f"The description of the tensor '{path}' is malformed: {error}",
            where=where,
            do="Download or copy the file again",
        ) from error
    if isinstance(found, TensorRef):
        tree.tensors[path] = found
    elif isinstance(found, OtherTensor):
        tree.others[path] = found.kind
    elif isinstance(value, Object) and is_module(value):
        tree.modules[path] = value.called


def is_module(value: Object) -> bool:
    """Whether an object was a torch.nn.Module, by its state."""
    state = value.state
    return type(state) is dict and "_modules" in state and "_parameters" in state


def _name(path: str, key: Any, where: str) -> str:
    name = join(path, key)
    if len(name) > MAX_NAME:
        raise CheckpointError(f"The file names a tensor with more than {MAX_NAME:,} characters", where=where)
    return name


def _endless(where: str) -> CheckpointError:
    return CheckpointError("The file nests dictionaries without end", where=where)


def same(refs: Mapping[str, TensorRef]) -> dict[str, str]:
    """Names of the very same numbers: each later one, and the first."""
    first: dict[TensorRef, str] = {}
    return {name: first[ref] for name, ref in refs.items() if first.setdefault(ref, name) != name}


def facts(root: Any) -> dict[str, Fact]:
    """Plain values by dotted name, from dictionaries and from objects' attributes, the least nested first."""
    found: dict[str, Fact] = {}
    pending: deque[tuple[str, Any, int]] = deque([("", root, 0)])
    visits = 0
    while pending:
        path, value, depth = pending.popleft()
        for key, child in _children(value):
            visits += 1
            if visits > MAX_FACT_VISITS or len(found) >= MAX_FACTS:
                return found
            hidden = _HIDDEN.get(key, key) if type(key) is str and isinstance(value, Object) else key
            if hidden is None:
                continue
            name = path if hidden == "" and path else join(path, key)
            if len(name) > MAX_NAME:
                continue
            if (fact := scalar(child)) is not None:
                found.setdefault(name, fact)
            elif depth < MAX_DEPTH and (type(child) is dict or isinstance(child, Object)):
                pending.append((name, child, depth + 1))
    return found


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    inside = entries(value)
    if inside is None and isinstance(value, Object) and not is_module(value):
        inside = attributes(value)
    return iter(inside or ())


def keys(root: Any) -> tuple[str, ...]:
    """The outermost dictionary's keys."""
    result: list[str] = []
    for key, _ in entries(root) or ():
        if len(result) == MAX_KEYS:
            break
        result.append(join("", key)[:MAX_NAME])
    return tuple(result)


def plain(value: Any, depth: int = 0) -> Any:
    """A small description as JSON has it; what JSON has not becomes text."""
    inside = entries(value)
    if inside is not None and depth < 4:
        return {join("", key): plain(child, depth + 1) for key, child in islice(inside, 100)}
    if type(value) in (list, tuple) and depth < 4:
        return [plain(child, depth + 1) for child in value[:100]]
    fact = scalar(value)
    return fact if fact is not None or value is None else type(value).__name__


def own_metadata(root: Any) -> dict[str, str]:
    """The plain entries that a torch.save file may carry for repdiag, under their safetensors names."""
    inside: dict[str, Any] = dict.fromkeys(("repdiag_preprocessing", "repdiag_hints", "repdiag_architecture"))
    for key, value in entries(root) or ():
        if type(key) is str and key in inside:
            inside[key] = value
    found: dict[str, str] = {}
    for name in ("preprocessing", "hints"):
        if entries(inside[f"repdiag_{name}"]) is not None:
            found[f"repdiag.{name}"] = json.dumps(plain(inside[f"repdiag_{name}"]))
    architecture = inside["repdiag_architecture"]
    if isinstance(architecture, str):
        found["repdiag.architecture"] = architecture
    return found


def flatten(root: Any, where: str) -> dict[str, torch.Tensor]:
    """Every tensor in nested dicts (and modules) of real objects by its dotted name, as `grow` finds them.

    Raises CheckpointError when the nesting is absurd.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    while pending:
        path, value, depth = pending.pop()
        if isinstance(value, torch.nn.Module):
            value = value.state_dict()
        if isinstance(value, torch.Tensor):
            found[path] = value.detach()
        elif isinstance(value, Mapping):
            if depth > MAX_DEPTH or len(found) + len(pending) > MAX_TENSORS:
                raise _endless(where)
            children = [(join(path, key), child, depth + 1) for key, child in value.items()]
            pending.extend(reversed(children))
    return found
