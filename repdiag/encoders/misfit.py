"""Why no architecture fits: the closest one, and which of its tensors are missing or too many."""

from __future__ import annotations

from collections.abc import Mapping

from repdiag.encoders import index
from repdiag.encoders import prefixes as places
from repdiag.encoders.plan import read_plans
from repdiag.encoders.recipe import from_zoo
from repdiag.encoders.sketch import Shape
from repdiag.encoders.translations import views
from repdiag.encoders.wanted import Wanted
from repdiag.errors import CheckpointError, UsageError

NEAR_MISSES = 3  # architectures that are built to say what is missing


def nothing_fits(shapes: Mapping[str, Shape], wanted: Wanted) -> CheckpointError:
    """The error for a checkpoint that holds no known architecture whole; builds the closest ones."""
    misses: list[tuple[int, str, Mapping[str, Shape], Mapping[str, Shape]]] = []
    for view in views(shapes):
        under = view.shapes
        close = [c for c in index.candidates(under) if c.share >= 0.5 and wanted.chosen([c.prefix])]
        for candidate in close[:NEAR_MISSES]:
            recipe = from_zoo(candidate.known.names[0])
            try:
                needed = recipe.shapes()
            except UsageError:  # the index knows more than the installed libraries
                continue
            misses.append(_distance(recipe.name, needed, under, wanted))
        misses += [_distance(p.name, p.shapes(), under, wanted) for p in read_plans(under, wanted.hints)]
    if misses:
        gap, name, missed, inside = min(misses, key=lambda miss: miss[0])
        if gap <= len(missed) / 2:
            return misfit(name, missed, inside, wanted, "No known architecture fits; the closest is ")
    starts = wanted.chosen(index.starts(shapes)) if wanted.place else [""]
    inside = {n: s for n, s in shapes.items() if any(n.startswith(start) for start in starts)}
    some = ", ".join(f"{n} {'x'.join(map(str, s)) or 'scalar'}" for n, s in list(inside.items())[:3])
    return CheckpointError(
        f"No known architecture resembles the checkpoint's {len(inside)} tensors{wanted.place} (first: {some})",
        where=wanted.where,
        do="Give the architecture with --arch NAME or --arch path/to/file.py:factory",
    )


def _distance(
    name: str, needed: Mapping[str, Shape], shapes: Mapping[str, Shape], wanted: Wanted
) -> tuple[int, str, Mapping[str, Shape], Mapping[str, Shape]]:
    """How many tensors are missing or too many where the architecture fits best, and what that is about."""
    allowed = wanted.chosen(index.starts(shapes))
    gaps = (len(places.lacking(p, needed, shapes)) + len(places.overhang(p, needed, shapes)) for p in allowed)
    return min(gaps, default=len(needed)), name, needed, shapes


def misfit(
    name: str,
    needed: Mapping[str, Shape],
    shapes: Mapping[str, Shape],
    wanted: Wanted,
    begin: str = "",
) -> CheckpointError:
    """What is missing for `name` under the prefix where least of it is missing."""
    allowed = wanted.chosen(index.starts(shapes))

    def distance(start: str) -> tuple[int, int]:
        return len(places.lacking(start, needed, shapes)), sum(start + n not in shapes for n in needed)

    nearest = min(allowed, key=distance)
    gone = places.lacking(nearest, needed, shapes)
    rest = places.overhang(nearest, needed, shapes)
    if gone:
        first = ", ".join(nearest + n + (" (other shape)" if nearest + n in shapes else "") for n in gone[:3])
        problem = f"lacks {len(gone)} of its {len(needed)} tensors (first: {first})"
    else:
        first = ", ".join(nearest + n for n in rest[:3])
        problem = f"has {len(rest)} more tensors inside that architecture's parts (first: {first})"
    return CheckpointError(
        f"{begin}{name}{',' if begin else ':'} under '{nearest}' the checkpoint {problem}",
        where=wanted.where,
        do="Give the architecture with --arch NAME or --arch path/to/file.py:factory, or the place of the"
        " backbone with --key or --prefix",
    )
