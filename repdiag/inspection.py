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
from repdiag.encoders.hints import Hints
from repdiag.encoders.input import Preprocessing, of_metadata
from repdiag.encoders.methods import Method, guess
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
    input: Preprocessing | None
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
    """A checkpoint file. `found` is None for a program, which is run whole, and where nothing fits (`problem`)."""

    file: str
    layout: Layout
    method: Method | None
    found: Found | None
    problem: str | None

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
            "problem": self.problem,
            "warnings": list(layout.warnings),
        }


def _found(found: Found) -> dict[str, Any]:
    return {
        "architecture": found.architecture,
        "dim": found.dim,
        "prefix": found.prefix,
        "candidates": [{"prefix": place.prefix, "taken": place.taken} for place in found.places],
        "preprocessing": None if found.input is None else found.input.describe(),
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
    layout = read_layout(path)
    shapes = {name: info.shape for name, info in layout.tensors.items()}
    method = guess([*shapes, *layout.keys])
    found, problem = None, None
    if not layout.program:
        wanted = Wanted(str(path), key, prefix, method.hints if method else Hints())
        try:
            fit = _fit(layout, shapes, wanted)
            found = _describe(fit, layout, str(path))
        except CheckpointError as error:
            problem = str(error)
    return Inspection(str(path), layout, method, found, problem)


def _fit(layout: Layout, shapes: Mapping[str, tuple[int, ...]], wanted: Wanted) -> finding.Fit:
    """As `load_encoder` finds it, the architecture that the file names included."""
    said = layout.metadata.get("repdiag.architecture")
    if said in finding.FROM_SHAPES:
        return finding.given(said, shapes, wanted)
    return finding.find(shapes, wanted)


def _describe(fit: finding.Fit, layout: Layout, where: str) -> Found:
    sources = fit.view.sources

    def same(a: str, b: str) -> bool:
        """Whether two tensors are one and the same storage; equal copies only the weights would show."""
        first, second = sources[a].names, sources[b].names
        return [layout.aliases.get(n, n) for n in first] == [layout.aliases.get(n, n) for n in second]

    settled = prefixes.settle(fit.prefixes, fit.names, same)
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
    return Found(
        architecture=fit.recipe.name,
        dim=fit.recipe.dim,
        tensors=len(shapes) + len(computed),
        parameters=sum(math.prod(shape) for shape in shapes),
        places=places,
        input=of_metadata(layout.metadata, where) or fit.recipe.input,
        dropped=dict(dropped.most_common()),
        alternatives=fit.recipe.alternatives,
        readings=(*settled.notes, *fit.readings),
        assumptions=fit.recipe.warnings,
    )


def _part(name: str) -> str:
    """What a dropped tensor belongs to, for people: its first components, without numbers."""
    parts = [part for part in name.split(".")[:-1] if not part.isdigit()][:3]
    return ".".join(parts) or name
