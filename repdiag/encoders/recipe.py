"""From tensors to the recipe of their network: given by the user, known by name, or read off the shapes.

Finding works on names and shapes alone and imports no torch: `repdiag inspect` lives of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from repdiag.encoders import index, own_code
from repdiag.encoders import prefixes as places
from repdiag.encoders.hints import BY_USER, Hints
from repdiag.encoders.input import Preprocessing, imagenet
from repdiag.encoders.plan import Plan, read_plans
from repdiag.encoders.sketch import HEADS, Shape, is_computed, required
from repdiag.encoders.translations import View, views
from repdiag.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from torch import nn

NEAR_MISSES = 3  # architectures that are built to say what is missing
FROM_SHAPES = ("resnet", "vit", "convnet", "cifar-resnet")
"""What --arch takes for a network that is to be read off the shapes."""


@dataclass(frozen=True)
class Recipe:
    """How to build an architecture, and what is known about it beside its tensors.

    `preprocessing` is asked with the built network, `input` is what is known of it without one. `readings`
    are facts that shapes could not tell but somebody did, `warnings` those that nobody did.
    """

    name: str
    build: Callable[[], nn.Module]
    preprocessing: Callable[[nn.Module], Preprocessing]
    input: Preprocessing | None = None
    dim: int | None = None
    alternatives: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    heeds: frozenset[str] = frozenset()  # options that it listens to
    identity: str = ""  # what tells its computation from others of equal weights; the name where empty

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of all tensors that a checkpoint must have; nothing is allocated if possible."""
        import torch

        try:
            with torch.device("meta"):
                network = self.build()
        except (NotImplementedError, UsageError):  # it computes with tensors while it is built
            network = self.build()
        return required(network.state_dict())


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


def from_zoo(name: str, known: index.Known | None = None) -> Recipe:
    """The recipe of `library:architecture`; with the group it was found in, its look-alikes are named."""

    def build() -> nn.Module:
        from repdiag.encoders import zoo

        return zoo.build(name)

    def preprocessing(network: nn.Module) -> Preprocessing:
        from repdiag.encoders.preprocessing import of_library

        return of_library(name, network)

    others = [(n, s) for n, s in zip(known.names, known.same, strict=True) if n != name] if known else []
    different = [other for other, same in others if not same]
    warnings: tuple[str, ...] = ()
    if different:
        warnings = (
            f"{', '.join(different)} have the same tensor names and shapes as {name} and may compute something"
            " else; choose with --arch if the checkpoint is one of them",
        )
    facts = known.facts.get(name) if known else None
    return Recipe(
        name,
        build,
        preprocessing,
        input=Preprocessing.of(facts.input) if facts and facts.input else None,
        dim=facts.dim if facts else None,
        alternatives=tuple(other for other, _ in others),
        warnings=warnings,
    )


def from_plan(plan: Plan) -> Recipe:
    """The recipe of a network that was read off the shapes."""
    known = imagenet(**plan.input)
    return Recipe(
        plan.name,
        plan.build,
        lambda network: known,
        input=known,
        dim=plan.dim,
        readings=plan.readings,
        warnings=plan.assumptions,
        heeds=plan.heeds,
    )


def from_file(arch: str) -> Recipe:
    """The recipe of the user's own `file.py:factory`."""

    def known(network: nn.Module) -> Preprocessing:
        from repdiag.encoders import preprocessing

        channels = preprocessing.input_channels(network)
        said = preprocessing.of_module(network, channels)
        origin = (
            "assumed: ImageNet's usual preprocessing (the architecture file sets no input_size, mean, std)"
        )
        return said or imagenet(224, 256, channels, origin)

    return Recipe(arch, own_code.factory(arch), known, identity=own_code.identity(arch))


# --------------------------------------------------------------------------------------------- finding


@dataclass(frozen=True)
class Wanted:
    """Where the user says the backbone is, what shapes cannot tell, and the file for messages."""

    where: str
    key: str | None = None
    prefix: str | None = None
    hints: Hints = field(default_factory=Hints)

    def chosen(self, prefixes: Sequence[str]) -> list[str]:
        """Those that the user's word leaves."""
        return places.chosen_by_user(prefixes, self.key, self.prefix)


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
    raise _misfit(recipe.name, needed, shapes, wanted)


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
        raise _nothing_fits(shapes, wanted)
    return fit


def _check_place(shapes: Mapping[str, Shape], wanted: Wanted) -> None:
    """Raises CheckpointError when there is nothing at all where the user says the backbone is."""
    if not wanted.chosen(index.starts(shapes)):
        tops = ", ".join(sorted({tensor.partition(".")[0] for tensor in shapes})[:8])
        asked = " and ".join(
            f"--{n} {v}" for n, v in (("key", wanted.key), ("prefix", wanted.prefix)) if v is not None
        )
        raise CheckpointError(
            f"There is nothing under {asked}", where=wanted.where, do=f"The file has: {tops}"
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
            recipe = _told(known, wanted.hints.over(view.hints))
            found.append((Fit(recipe, view, names, tuple(prefixes)), False, True))
    return found


def _told(known: index.Known, hints: Hints) -> Recipe:
    """The recipe of the group's architecture that the hints speak of, else of its first."""
    named = next((n for n in known.names if hints.family and hints.family in n), known.names[0])
    recipe = from_zoo(named, known)
    if hints.class_token is None:
        return recipe

    def build() -> nn.Module:
        network = recipe.build()
        network.global_pool = "token"  # type: ignore[assignment] # timm's transformers pool in their forward
        return network

    said = f"the class token is the feature: {hints.class_token.because}"
    return replace(recipe, build=build, readings=(*recipe.readings, said), identity=f"{named} class token")


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


# --------------------------------------------------------------------------------------------- saying why not


def _nothing_fits(shapes: Mapping[str, Shape], wanted: Wanted) -> CheckpointError:
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
            return _misfit(name, missed, inside, wanted, "No known architecture fits; the closest is ")
    some = ", ".join(f"{n} {'x'.join(map(str, s)) or 'scalar'}" for n, s in list(shapes.items())[:3])
    return CheckpointError(
        f"No known architecture resembles the checkpoint's {len(shapes)} tensors (first: {some})",
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


def _misfit(
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
