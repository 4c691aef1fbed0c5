"""The shipped index of known architectures: which of them does a set of tensors hold, and where.

Two steps, neither of which builds a network. A sketch (the smallest hashes of an architecture's "name|shape"
pairs) finds candidates; then every part of the candidate (`layer1`, `blocks`, `pos_embed`) is compared with
the checkpoint's by the number and the sum of all its hashes, so that a tensor more, less or of another shape
shows. Importing and using this imports no torch.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from repdiag.encoders.sketch import Shape, is_computed, pair_hash, part_sums


@dataclass(frozen=True)
class Facts:
    """What the index knows of one architecture beside its tensors; `input` are the fields of a Preprocessing."""

    dim: int | None
    input: Mapping[str, Any] | None


@dataclass(frozen=True)
class Known:
    """Architectures with the very same names and shapes, the preferred one first.

    `parts` are `sketch.part_sums`; of parts that may hold a head too, `inside` lists what is the backbone's.
    `same` tells for each architecture whether it computes what the first does (None: never compared).
    """

    tensors: int
    parameters: int
    sketch: tuple[int, ...]
    parts: Mapping[str, tuple[int, int]]
    inside: Mapping[str, Shape]
    names: tuple[str, ...]
    same: tuple[bool | None, ...]
    facts: Mapping[str, Facts]


@dataclass(frozen=True)
class Candidate:
    """A group that the checkpoint may hold under `prefix`; `share` of its sketch is there."""

    known: Known
    prefix: str
    share: float


@functools.cache
def _index() -> dict[str, Any]:
    packed = resources.files("repdiag.encoders").joinpath("architectures.json.gz").read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return found


def made_with() -> dict[str, str]:
    """The versions of the libraries that the index describes."""
    return dict(_index()["made_with"])


@functools.cache
def known_architectures() -> tuple[Known, ...]:
    """The index (see scripts/build_arch_index.py)."""
    return tuple(
        Known(
            g["tensors"],
            g["parameters"],
            tuple(g["sketch"]),
            {part: (count, total) for part, (count, total) in g["parts"].items()},
            {name: tuple(shape) for name, shape in g["inside"].items()},
            tuple(g["names"]),
            tuple(g["names"].values()),
            {name: Facts(dim, known) for name, (dim, known) in g["facts"].items()},
        )
        for g in _index()["groups"]
    )


def candidates(shapes: Mapping[str, Shape]) -> list[Candidate]:
    """Every group of which something is there, with its best prefixes; full sketches and large groups first.

    Costs one hash per name and possible prefix, and one look-up per group and hash in its sketch.
    """
    prefixes_of: dict[int, list[str]] = defaultdict(list)
    for name, shape in shapes.items():
        if is_computed(name):
            continue
        for prefix in prefixes(name):
            prefixes_of[pair_hash(name[len(prefix) :], shape)].append(prefix)
    found = []
    for known in known_architectures():
        hits: dict[str, int] = defaultdict(int)
        for value in known.sketch:
            for prefix in prefixes_of.get(value, ()):
                hits[prefix] += 1
        best = max(hits.values(), default=0)
        found += [Candidate(known, p, n / len(known.sketch)) for p, n in hits.items() if n == best]
    return sorted(found, key=lambda c: (-c.share, -c.known.tensors, len(c.prefix), c.prefix))


def holds(known: Known, prefix: str, shapes: Mapping[str, Shape]) -> bool:
    """Whether exactly the architecture's tensors are under `prefix`: none missing, none too many in its parts."""
    sums = _sums_under(prefix, shapes)
    return all(sums.get(part) == wanted for part, wanted in known.parts.items()) and all(
        shapes.get(prefix + name) == shape for name, shape in known.inside.items()
    )


def _sums_under(prefix: str, shapes: Mapping[str, Shape]) -> dict[str, tuple[int, int]]:
    start = len(prefix)
    under = {name[start:]: shape for name, shape in shapes.items() if name.startswith(prefix)}
    return part_sums(under)


def prefixes(name: str) -> list[str]:
    """Every dotted prefix of a name, the empty one first: "a.b.c" -> "", "a.", "a.b."."""
    parts = name.split(".")
    return ["", *(".".join(parts[:i]) + "." for i in range(1, len(parts)))]


def starts(shapes: Iterable[str]) -> list[str]:
    """Every prefix that occurs, short ones first."""
    found = {prefix for name in shapes for prefix in prefixes(name)}
    return sorted(found, key=lambda p: (len(p), p))
