"""The shipped index of known architectures: which of them may a set of tensors hold, and where."""

from __future__ import annotations

import functools
import gzip
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from repdiag.encoders.sketch import Shape, pair_hash


@dataclass(frozen=True)
class Known:
    """Architectures with the very same names and shapes, the preferred one first.

    `same` tells for each whether it computes what the first does (None: never compared).
    """

    tensors: int
    sketch: tuple[int, ...]
    names: tuple[str, ...]
    same: tuple[bool | None, ...]


@dataclass(frozen=True)
class Candidate:
    """A group that the checkpoint may hold under `prefix`; `share` of its sketch is there."""

    known: Known
    prefix: str
    share: float


@functools.cache
def known_architectures() -> tuple[Known, ...]:
    """The index (see scripts/build_arch_index.py)."""
    packed = resources.files("repdiag.encoders").joinpath("architectures.json.gz").read_bytes()
    groups = json.loads(gzip.decompress(packed))["groups"]
    return tuple(
        Known(g["tensors"], tuple(g["sketch"]), tuple(g["names"]), tuple(g["names"].values())) for g in groups
    )


def candidates(shapes: Mapping[str, Shape]) -> list[Candidate]:
    """Every group of which something is there, with its best prefixes; full sketches and large groups first.

    Costs one hash per name and possible prefix, and one look-up per group and hash in its sketch.
    """
    prefixes_of: dict[int, list[str]] = defaultdict(list)
    for name, shape in shapes.items():
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


def prefixes(name: str) -> list[str]:
    """Every dotted prefix of a name, the empty one first: "a.b.c" -> "", "a.", "a.b."."""
    parts = name.split(".")
    return ["", *(".".join(parts[:i]) + "." for i in range(1, len(parts)))]
