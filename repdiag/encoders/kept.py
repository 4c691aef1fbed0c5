"""Which columns of an encoder's features are kept: a checked list, and how a file says it."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repdiag.errors import CheckpointError, UsageError

KEY = "repdiag.features"
"""Metadata of a safetensors file whose encoder gives some columns only."""


@dataclass(frozen=True)
class Kept:
    """`columns` of `of` features, in the order in which they are given; `layers` tell what those are.

    One text for each output of the encoder, "name (pooling)"; their columns lie side by side.
    """

    columns: tuple[int, ...]
    of: int
    layers: tuple[str, ...]

    def __str__(self) -> str:
        """As readings say it."""
        return f"{len(self.columns)} of {self.of} features"

    @property
    def metadata(self) -> str:
        """What `said_by_file` reads."""
        said = {"kept": self.columns, "of": self.of, "layers": self.layers}
        return json.dumps(said, sort_keys=True, separators=(",", ":"))


def checked(columns: Sequence[object], of: int, where: str | None = None) -> tuple[int, ...]:
    """`columns` as numbers; UsageError when they are not some of 0 ... `of` - 1, each once."""
    if not len(columns):
        raise UsageError("The list of features is empty", where=where, do="Name at least one")
    found = []
    for column in columns:
        try:
            if isinstance(column, bool):
                raise TypeError
            found.append(operator.index(column))  # type: ignore[arg-type]  # what it refuses is told
        except TypeError:
            raise UsageError(
                f"Features are given by their numbers, 0 to {of - 1}, not {str(column)[:40]!r}", where=where
            ) from None
    outside = [column for column in found if not 0 <= column < of]
    if outside:
        raise UsageError(
            f"There is no feature {outside[0]}: the encoder has {of}, from 0 to {of - 1}",
            where=where,
            do="Give the numbers of the features of this very encoder, layer and pooling",
        )
    seen: set[int] = set()
    for column in found:
        if column in seen:
            raise UsageError(f"Feature {column} is named twice", where=where, do="Name each only once")
        seen.add(column)
    return tuple(found)


def said_by_file(metadata: Mapping[str, str], where: str) -> Kept | None:
    """What `repdiag export --features` wrote into the file; CheckpointError if that is malformed."""
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        said = json.loads(text)
        of, layers = said["of"], said["layers"]
        if not isinstance(of, int) or not all(isinstance(name, str) for name in layers):
            raise ValueError("values of other types")
        return Kept(checked(said["kept"], of), of, tuple(layers))
    except (KeyError, TypeError, ValueError, RecursionError, UsageError) as error:
        why = error.what if isinstance(error, UsageError) else str(error) or type(error).__name__
        raise CheckpointError(f"The file's own '{KEY}' cannot be used: {why[:200]}", where=where) from error
