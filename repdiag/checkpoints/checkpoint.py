"""What a checkpoint file holds, whatever family it is of, and the registry of the families."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from repdiag.errors import CheckpointError
from repdiag.registry import Registry

MAX_DEPTH = 64  # of nested dicts; deeper ones are cycles
MAX_TENSORS = 100_000  # a small file can alias one dict exponentially often


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file under dotted names, on the CPU, and what else could be learned safely.

    Nested dicts become dotted names, so that containers (`state_dict`, `teacher`, ...) are ordinary path
    components. `metadata` holds strings by name (safetensors' own, `repdiag.*` keys of any family). `module`
    is callable on (B, C, H, W) where the file holds a program (TorchScript, torch.export) or, for a trusted
    pickle, a whole module. `stubbed` names the pickle's globals that inert stubs stood in for.
    """

    container: str
    tensors: Mapping[str, torch.Tensor]
    sha256: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    module: torch.nn.Module | None = None
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What an adapter read; the reader adds what is common to all files."""

    root: Any
    metadata: Mapping[str, str] = field(default_factory=dict)
    module: torch.nn.Module | None = None
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Container(Protocol):
    """One family of files. `matches` are mutually exclusive, so that their order does not matter."""

    name: str

    def matches(self, path: Path, head: bytes, records: tuple[str, ...]) -> bool:
        """Whether the file is of this family, by its first 512 bytes and its zip records (() if no zip)."""
        ...

    def read(self, path: Path, *, trust_pickle: bool) -> Contents:
        """The contents; raises CheckpointError, or UnsafeCheckpointError when only its own code could tell."""
        ...


CONTAINERS: Registry[Container] = Registry("checkpoint container", "repdiag.checkpoints")


def flatten(root: Any, where: str) -> dict[str, torch.Tensor]:
    """Every tensor in nested dicts (and modules) by its dotted name; lists are not looked into.

    Raises CheckpointError when the nesting is absurd.
    """
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
                raise CheckpointError("The file nests dictionaries without end", where=where)
            children = [(join(path, key), child, depth + 1) for key, child in value.items()]
            pending.extend(reversed(children))
    return found


def join(path: str, key: object) -> str:
    """One component further down a dotted name."""
    name = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
    return f"{path}.{name}" if path else name


def own_metadata(root: Any) -> dict[str, str]:
    """The plain entries that a torch.save file may carry for repdiag, under their safetensors names."""
    if not isinstance(root, Mapping):
        return {}
    found: dict[str, str] = {}
    preprocessing = root.get("repdiag_preprocessing")
    if isinstance(preprocessing, Mapping):
        found["repdiag.preprocessing"] = json.dumps(preprocessing, default=str)
    architecture = root.get("repdiag_architecture")
    if isinstance(architecture, str):
        found["repdiag.architecture"] = architecture
    return found
