"""`repdiag inspect`: what a checkpoint holds and what would be taken from it, told without reading a weight.

Everything here rests on names, shapes and the shipped index of architectures, so that neither torch nor the
weights are needed. `load_encoder` decides by the same rules; where it would have to compare weights to decide,
the inspection says that it is open.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repdiag.checkpoints import Layout, read_layout
from repdiag.encoders import finding, prefixes
from repdiag.encoders.hints import Hints, said_by_file
from repdiag.encoders.input import Preprocessing, of_metadata
from repdiag.encoders.kept import said_by_file as said_kept
from repdiag.encoders.methods import Method, guess
from repdiag.encoders.model_folder import is_model_folder, read_folder_layout
from repdiag.encoders.sketch import is_computed
from repdiag.encoders.wanted import Wanted
from repdiag.errors import CheckpointError


@dataclass(frozen=True)
class Place:
    """One place in the file where the architecture's tensors all are. `taken` None: the weights decide."""

    prefix: str
    taken: bool | None


@dataclass(frozen=True)
class Found:
    """The encoder that `load_encoder` takes from the file.

    `tensors` and `parameters` count what is loaded, `dropped` the tensors that are not, by their first parts.
    `readings` say what was understood, `assumptions` what nothing in the file tells.
    """

    architecture: str
    dim: int | None
    tensors: int
    parameters: int
    places: tuple[Place, ...]
    dropped: Mapping[str, int]
    alternatives: tuple[str, ...]
    readings: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def prefix(self) -> str | None:
        """Where the encoder is taken from; None where only the weights could decide."""
        return next((place.prefix for place in self.places if place.taken), None)


@dataclass(frozen=True)
class Inspection:
    """A checkpoint. `found` is None where nothing fits (`problem`) and for what is taken `whole`.

    `whole` says what takes it: a program runs as it is, a model folder is opened by the library it was made
    for. `input` is what is known of the images in any case.
    """

    file: str
    layout: Layout
    method: Method | None = None
    found: Found | None = None
    whole: str | None = None
    input: Preprocessing | None = None
    problem: str | None = None

    def describe(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        layout, found = self.layout, self.found
        return {
            "file": self.file,
            "bytes": layout.size,
            "sha256": layout.sha256,
            "container": layout.container,
            "program": layout.program,
            "tensors": len(layout.tensors),
            "keys": list(layout.keys),
            "facts": dict(layout.facts),
            "metadata": dict(layout.metadata),
            "globals": list(layout.globals),
            "stubbed_globals": list(layout.stubbed),
            "method": None
            if self.method is None
            else {"name": self.method.name, "because": self.method.because},
            "encoder": None if found is None else _found(found),
            "taken_whole": self.whole,
            "preprocessing": None if self.input is None else self.input.describe(),
            "problem": self.problem,
            "warnings": list(layout.warnings),
        }


def _found(found: Found) -> dict[str, Any]:
    return {
        "architecture": found.architecture,
        "dim": found.dim,
        "prefix": found.prefix,
        "candidates": [{"prefix": place.prefix, "taken": place.taken} for place in found.places],
        "coverage": {
            "loaded": found.tensors,
            "parameters": found.parameters,
            "dropped": sum(found.dropped.values()),
            "dropped_by_part": dict(found.dropped),
            "missing": 0,  # an encoder with a hole is never taken: `problem` says then what is missing
        },
        "alternatives": list(found.alternatives),
        "readings": list(found.readings),
        "assumptions": list(found.assumptions),
    }


def inspect(path: str | Path, *, key: str | None = None, prefix: str | None = None) -> Inspection:
    """What the checkpoint at `path` holds; nothing in it is run and no weight is read.

    `key` and `prefix` are as for `load_encoder`. Raises CheckpointError or UnsafeCheckpointError when the file
    cannot be read at all; a file that can be read but holds no encoder is an `Inspection` with a `problem`.
    """
    where = str(path)
    if is_model_folder(Path(path)):
        layout = read_folder_layout(Path(path))
        library = "timm" if "pretrained_cfg" in layout.keys else "transformers (extra: hf)"
        name = layout.facts.get("architectures") or layout.facts.get("architecture") or "its network"
        return Inspection(where, layout, whole=f"{name}, opened through {library}")
    layout = read_layout(path)
    if layout.program:
        whole = f"a {layout.container} program; its own output is taken, a head included if it has one"
        return Inspection(where, layout, whole=whole, input=of_metadata(layout.metadata, where))
    shapes = {name: info.shape for name, info in layout.tensors.items()}
    method = guess([*shapes, *layout.keys])
    hints = said_by_file(layout.metadata, where).over(method.hints if method else Hints())
    try:
        fit = _fit(layout, shapes, Wanted(where, key, prefix, hints))
    except CheckpointError as error:
        return Inspection(where, layout, method, problem=str(error))
    known = of_metadata(layout.metadata, where) or fit.recipe.input
    return Inspection(where, layout, method, _describe(fit, layout, method, where), input=known)


def _fit(layout: Layout, shapes: Mapping[str, tuple[int, ...]], wanted: Wanted) -> finding.Fit:
    """As `load_encoder` finds it, the architecture that the file names included."""
    said = layout.metadata.get("repdiag.architecture")
    if said in finding.FROM_SHAPES:
        return finding.given(said, shapes, wanted)
    return finding.find(shapes, wanted)


def _describe(fit: finding.Fit, layout: Layout, method: Method | None, where: str) -> Found:
    sources = fit.view.sources

    def same(a: str, b: str) -> bool:
        """Whether two tensors are one and the same storage; equal copies only the weights would show."""
        first, second = sources[a].names, sources[b].names
        return [layout.aliases.get(n, n) for n in first] == [layout.aliases.get(n, n) for n in second]

    settled = prefixes.settle(fit.prefixes, fit.names, same, method.name if method else None)
    places = tuple(
        Place(
            prefix,
            None if settled.prefix is None and prefix in settled.undecided else prefix == settled.prefix,
        )
        for prefix in fit.prefixes
    )
    start = settled.prefix if settled.prefix is not None else settled.undecided[0]
    parts = {name.partition(".")[0] for name in fit.names}
    computed = [
        name
        for name in sources
        if name.startswith(start) and is_computed(name) and name[len(start) :].partition(".")[0] in parts
    ]
    used = {origin for name in fit.names for origin in sources[start + name].names}
    used |= {origin for name in computed for origin in sources[name].names}
    dropped = Counter(_part(name) for name in layout.tensors if name not in used)
    shapes = [sources[start + name].shape for name in fit.names]
    kept = said_kept(layout.metadata, where)
    return Found(
        architecture=fit.recipe.name,
        dim=len(kept.columns) if kept else fit.recipe.dim,
        tensors=len(shapes) + len(computed),
        parameters=sum(math.prod(shape) for shape in shapes),
        places=places,
        dropped=dict(dropped.most_common()),
        alternatives=fit.recipe.alternatives,
        readings=(*settled.notes, *fit.readings, *([f"the file keeps {kept}"] if kept else [])),
        assumptions=fit.recipe.warnings,
    )


def _part(name: str) -> str:
    """What a dropped tensor belongs to, for people: its first components, without numbers."""
    parts = [part for part in name.split(".")[:-1] if not part.isdigit()][:3]
    return ".".join(parts) or name
