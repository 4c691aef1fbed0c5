"""Which architecture a checkpoint holds, and where: every known one, every plan, under every translation.

Finding works on names and shapes alone and imports no torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from repdiag.encoders import index, own_code
from repdiag.encoders import prefixes as places
from repdiag.encoders.hints import BY_USER
from repdiag.encoders.misfit import misfit, nothing_fits
from repdiag.encoders.plan import read_plans
from repdiag.encoders.recipe import Recipe, from_file, from_plan, from_zoo, told
from repdiag.encoders.sketch import HEADS, Shape, is_computed
from repdiag.encoders.translations import View, views
from repdiag.encoders.wanted import Wanted
from repdiag.errors import CheckpointError

FROM_SHAPES = ("resnet", "vit", "convnet", "cifar-resnet")
"""What --arch takes for a network that is to be read off the shapes."""


@dataclass(frozen=True)
class Fit:
    """A recipe, the names under which it sees the checkpoint, and the prefixes under which it has all tensors.

    `names` are the architecture's own names of its tensors.
    """

    recipe: Recipe
    view: View
    names: tuple[str, ...]
    prefixes: tuple[str, ...]

    @property
    def readings(self) -> tuple[str, ...]:
        """Sentences about what was understood that the names and shapes alone do not say."""
        translated = (f"tensor names were translated: {', '.join(self.view.translations)}",)
        return (*(translated if self.view.translations else ()), *self.recipe.readings)


def given(arch: str, shapes: Mapping[str, Shape], wanted: Wanted) -> Fit:
    """The fit of the architecture that the user named; CheckpointError when the tensors are not there."""
    _check_place(shapes, wanted)
    if arch in FROM_SHAPES:
        fit = _best(shapes, wanted, known=False)
        if fit is None:
            raise CheckpointError(
                "The tensors are no ResNet with torchvision's names (conv1, layer1.0.conv1, ...) and no ViT with"
                " timm's (patch_embed.proj, blocks.0.attn.qkv, ...)",
                where=wanted.where,
            )
        return fit
    recipe = from_file(arch) if own_code.FORM.fullmatch(arch) else _named(arch)
    needed = recipe.shapes()
    for view in views(shapes):
        if found := wanted.chosen(places.fitting(needed, view.shapes)):
            return Fit(recipe, view, tuple(needed), tuple(found))
    raise misfit(recipe.name, needed, shapes, wanted)


def _named(arch: str) -> Recipe:
    from repdiag.encoders import zoo

    library, architecture = zoo.split(arch)
    return from_zoo(f"{library}:{architecture}")


def find(shapes: Mapping[str, Shape], wanted: Wanted) -> Fit:
    """The architecture that explains most of the tensors without leaving a hole or a rest.

    Raises CheckpointError with the closest one when there is none.
    """
    _check_place(shapes, wanted)
    fit = _best(shapes, wanted)
    if fit is None:
        raise nothing_fits(shapes, wanted)
    return fit


def _check_place(shapes: Mapping[str, Shape], wanted: Wanted) -> None:
    """Raises CheckpointError when there is nothing at all where the user says the backbone is."""
    if not wanted.chosen(index.starts(shapes)):
        tops = ", ".join(sorted({tensor.partition(".")[0] for tensor in shapes})[:8])
        raise CheckpointError(
            f"There is nothing{wanted.place}", where=wanted.where, do=f"The file has: {tops}"
        )


def _best(shapes: Mapping[str, Shape], wanted: Wanted, *, known: bool = True) -> Fit | None:
    """The verified fit with the most tensors, over all translations of the names.

    A reference network that a method carries along (`prefixes.LESSER`) comes behind everything else. Of equal
    ones, a network that somebody said is unusual (`Plan.usual`) comes first, then a known architecture, then
    one that was read off, and the file's own names before translated ones.
    """
    best: Fit | None = None
    best_rank = (False, 0, False, False)
    for view in views(shapes):
        under = view.shapes
        options = [*_plan_fits(view, under, wanted), *(_known_fits(view, under, wanted) if known else ())]
        for fit, unusual, named in options:
            rank = (not all(map(places.is_lesser, fit.prefixes)), len(fit.names), unusual, named)
            if rank > best_rank:
                best, best_rank = fit, rank
    return best


def _plan_fits(view: View, shapes: Mapping[str, Shape], wanted: Wanted) -> list[tuple[Fit, bool, bool]]:
    found = []
    for plan in read_plans(shapes, wanted.hints.over(view.hints)):
        needed = plan.shapes()
        prefixes = wanted.chosen(places.fitting(needed, shapes))
        prefixes = [p for p in prefixes if not places.overhang(p, needed, shapes)]
        if prefixes:
            said = not plan.usual or any(reading.endswith(BY_USER) for reading in plan.readings)
            found.append((Fit(from_plan(plan), view, tuple(needed), tuple(prefixes)), said, False))
    return found


def _known_fits(view: View, shapes: Mapping[str, Shape], wanted: Wanted) -> list[tuple[Fit, bool, bool]]:
    found = []
    starts: dict[int, list[str]] = defaultdict(list)
    groups: dict[int, index.Known] = {}
    for candidate in index.candidates(shapes):
        if candidate.share == 1:
            groups[id(candidate.known)] = candidate.known
            starts[id(candidate.known)].append(candidate.prefix)
    for key, known in groups.items():
        prefixes = [p for p in wanted.chosen(starts[key]) if index.holds(known, p, shapes)]
        if prefixes:
            names = _names_of(known, prefixes[0], shapes)
            recipe = told(known, wanted.hints.over(view.hints))
            found.append((Fit(recipe, view, names, tuple(prefixes)), False, True))
    return found


def _names_of(known: index.Known, prefix: str, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The architecture's tensors, read off a checkpoint that `holds` it."""
    under = (name[len(prefix) :] for name in shapes if name.startswith(prefix))
    return tuple(
        name
        for name in under
        if not is_computed(name)
        and (
            name in known.inside
            or (name.partition(".")[0] in known.parts and name.partition(".")[0] not in HEADS)
        )
    )
