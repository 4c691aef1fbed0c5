"""What a checkpoint file holds, whatever family it is of, and the registry of the families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from repdiag.checkpoints.zips import Archive
from repdiag.registry import Registry

if TYPE_CHECKING:
    import torch

Fact = str | int | float | bool
"""A plain value found beside the tensors."""


class TensorInfo(NamedTuple):
    """A tensor without its values; `dtype` as torch names it ("float32")."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Layout:
    """Everything that a file holds except the weights. See `Checkpoint` for what it shares with that.

    `size` is in bytes. `facts` are plain values by dotted name (epoch, architecture, the attributes of a
    Namespace, ...): at most 200, the least nested first, text cut at 200 characters; infinities are text.
    `keys` are the first 200 of the outermost dictionary. `globals` is what the pickle asks for, `stubbed`
    those of them that torch does not know and that stay names. `program` tells of TorchScript and
    torch.export. `aliases` maps each name that means the very same numbers as an earlier one to that one.
    """

    container: str
    tensors: Mapping[str, TensorInfo]
    sha256: str
    size: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    globals: tuple[str, ...] = ()
    stubbed: tuple[str, ...] = ()
    program: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file under dotted names, on the CPU, and what else could be learned safely.

    Nested dicts become dotted names, so that containers (`state_dict`, `teacher`, ...) are ordinary path
    components. `metadata` holds strings by name (safetensors' own, `repdiag.*` keys of any family). `module`
    is callable on (B, C, H, W) where the file holds a program (TorchScript, torch.export) or, for a trusted
    pickle, a whole module. `stubbed` names the pickle's globals that are foreign to torch and were left
    names. `facts` are as in `Layout`.
    """

    container: str
    tensors: Mapping[str, torch.Tensor]
    sha256: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    module: torch.nn.Module | None = None
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A file (or folder) to be read; `archive` is its zip directory where it is a zip."""

    path: Path
    head: bytes
    size: int
    sha256: str
    archive: Archive | None = None

    @property
    def where(self) -> str:
        """The path for a message."""
        return str(self.path)

    @property
    def inner(self) -> frozenset[str]:
        """The zip's record names without their first folder, which is the archive's name."""
        return (
            frozenset(name.partition("/")[2] for name in self.archive.records)
            if self.archive
            else frozenset()
        )


@dataclass(frozen=True)
class Outline:
    """What an adapter learned without reading weights; the fields are those of `Layout`."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    globals: tuple[str, ...] = ()
    stubbed: tuple[str, ...] = ()
    program: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What an adapter read; the fields are those of `Checkpoint`."""

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    module: torch.nn.Module | None = None
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)


class Container(Protocol):
    """One family of files. `matches` are mutually exclusive, so that their order does not matter."""

    name: str

    def matches(self, source: Source) -> bool:
        """Whether the file is of this family, by its first 512 bytes and its zip records."""
        ...

    def outline(self, source: Source) -> Outline:
        """All but the weights, without torch; raises as `read` does."""
        ...

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """The contents; raises CheckpointError, or UnsafeCheckpointError when only its own code could tell."""
        ...


CONTAINERS: Registry[Container] = Registry("checkpoint container", "repdiag.checkpoints.containers")


def join(path: str, key: object) -> str:
    """One component further down a dotted name."""
    name = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
    return f"{path}.{name}" if path else name
