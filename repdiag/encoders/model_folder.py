"""A Hugging Face model folder's files: which hold the weights, and what they hold, without torch or transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from repdiag.checkpoints import Layout, read_layout
from repdiag.errors import CheckpointError

CONFIG = "config.json"
INDEX = ".index.json"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order in which transformers prefers them."""
MAX_FACTS = 100
Tensor = TypeVar("Tensor")


@dataclass(frozen=True)
class WeightFiles:
    """The files with a folder's weights, in `where`; `places` are the names that an index lists, None without."""

    where: str
    names: tuple[str, ...]
    places: tuple[str, ...] | None
    notes: tuple[str, ...]

    def container(self, kind: str) -> str:
        """What the folder is called in reports; `kind` is its first file's container."""
        shards = f"{len(self.names)} shards of " if self.places is not None else ""
        return f"Hugging Face folder ({shards}{kind})"

    def merged(self, files: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of all files; CheckpointError where these and the index do not agree."""
        found: dict[str, Tensor] = {}
        for tensors in files.values():
            if twice := found.keys() & tensors.keys():
                raise CheckpointError(f"Two shards hold the tensor {min(twice)}", where=self.where)
            found |= tensors
        if gone := [name for name in self.places or () if name not in found]:
            raise CheckpointError(
                f"The shards lack {len(gone)} tensors that the index names (first: {gone[0]})",
                where=self.where,
            )
        return found


def is_model_folder(path: Path) -> bool:
    """Whether `path` is a folder in Hugging Face's layout."""
    return (path / CONFIG).is_file()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; CheckpointError when the file is something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError("The file is no JSON", where=str(path)) from error
    if not isinstance(found, dict):
        raise CheckpointError("The file holds no JSON object", where=str(path))
    return found


def weight_files(folder: Path) -> WeightFiles:
    """The one file with the folder's weights, or all shards that an index names.

    Raises CheckpointError when there are none, the index is malformed or leads outside, or a shard is missing.
    """
    there = [name for name in WEIGHTS if (folder / name).is_file()]
    if not there:
        raise CheckpointError(
            f"The folder has a {CONFIG} but no weights",
            where=str(folder),
            do=f"Download {' or '.join(WEIGHTS[::2])} too; other frameworks' weights are not read",
        )
    chosen, others = there[0], there[1:]
    notes = (f"{chosen} was read, {', '.join(others)} was not",) if others else ()
    if not chosen.endswith(INDEX):
        return WeightFiles(str(folder), (chosen,), None, notes)
    places = read_json(folder / chosen).get("weight_map")
    where = str(folder / chosen)
    if (
        not isinstance(places, dict)
        or not places
        or not all(isinstance(name, str) for name in places.values())
    ):
        raise CheckpointError("The index has no weight_map of tensors and files", where=where)
    shards = tuple(sorted(set(places.values())))
    for shard in shards:
        if Path(shard).name != shard or shard in (".", ".."):
            raise CheckpointError(f"The index names a file outside of the folder: '{shard}'", where=where)
        if not (folder / shard).is_file():
            raise CheckpointError(f"The shard {shard} is missing", where=where, do="Download it too")
    return WeightFiles(where, shards, tuple(places), notes)


def read_folder_layout(folder: Path) -> Layout:
    """The weights of all files as one layout, the config's plain values as facts; raises CheckpointError."""
    config = read_json(folder / CONFIG)
    found = weight_files(folder)
    layouts = {name: read_layout(folder / name) for name in found.names}
    every = layouts.values()
    digest = hashlib.sha256("".join(f"{name} {each.sha256}\n" for name, each in layouts.items()).encode())
    lists = {k: v for k, v in config.items() if isinstance(v, list)}
    facts = {k: v for k, v in config.items() if isinstance(v, str | int | float)}
    facts |= {k: ", ".join(v) for k, v in lists.items() if v and all(isinstance(x, str) for x in v)}
    return Layout(
        container=found.container(next(iter(every)).container),
        tensors=found.merged({name: each.tensors for name, each in layouts.items()}),
        sha256=digest.hexdigest(),
        size=sum(each.size for each in every),
        facts=dict(list(facts.items())[:MAX_FACTS]),
        keys=tuple(config)[:MAX_FACTS],
        globals=_once(name for each in every for name in each.globals),
        stubbed=_once(name for each in every for name in each.stubbed),
        warnings=(*found.notes, *_once(note for each in every for note in each.warnings)),
    )


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
