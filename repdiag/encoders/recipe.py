"""From tensors to the recipe of their network: given by the user, known by name, or read off the shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from repdiag.encoders import cifar_resnet, index, own_code, preprocessing, zoo
from repdiag.encoders import prefixes as places
from repdiag.encoders.sketch import Shape, required
from repdiag.encoders.types import Preprocessing
from repdiag.errors import CheckpointError, UsageError

NEAR_MISSES = 3  # architectures that are built to say what is missing


@dataclass(frozen=True)
class Recipe:
    """How to build an architecture, and what is known about it beside its tensors.

    `preprocessing` is asked with the built network. `warnings` are things that the shapes could not tell.
    """

    name: str
    build: Callable[[], nn.Module]
    preprocessing: Callable[[nn.Module], Preprocessing]
    alternatives: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    identity: str = ""  # what tells its computation from others of equal weights; the name where empty

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of all tensors that a checkpoint must have; nothing is allocated if possible."""
        try:
            with torch.device("meta"):
                network = self.build()
        except (NotImplementedError, UsageError):  # it computes with tensors while it is built
            network = self.build()
        return required(network.state_dict())


@dataclass(frozen=True)
class Fit:
    """A recipe, and the prefixes under which the checkpoint has all its tensors."""

    recipe: Recipe
    required: Mapping[str, Shape]
    prefixes: tuple[str, ...]


def from_zoo(name: str, known: index.Known | None = None) -> Recipe:
    """The recipe of `library:architecture`; with the group it was found in, its look-alikes are named."""
    library, architecture = zoo.split(name)
    full = f"{library}:{architecture}"
    others = [(n, s) for n, s in zip(known.names, known.same, strict=True) if n != full] if known else []
    different = [other for other, same in others if not same]
    warnings: tuple[str, ...] = ()
    if different:
        warnings = (
            f"{', '.join(different)} have the same tensor names and shapes as {full} and may compute something"
            " else; choose with --arch if the checkpoint is one of them",
        )
    return Recipe(
        full,
        lambda: zoo.build(full),
        lambda network: preprocessing.of_library(full, network),
        tuple(other for other, _ in others),
        warnings,
    )


def from_plan(plan: cifar_resnet.Plan) -> Recipe:
    """The recipe of a ResNet that was read off the shapes."""
    size, resize = (32, 32) if plan.small_stem else (224, 256)
    origin = "assumed for a ResNet with a 7x7 stem: ImageNet's usual preprocessing"
    stem: tuple[str, ...] = ()
    if plan.small_stem:
        origin = "assumed for a CIFAR-stem ResNet: 32x32 pixels, ImageNet's mean and std"
        stem = (
            "the 3x3 stem is taken with stride 1, padding 1 and no max-pooling, which shapes cannot tell",
        )
    return Recipe(
        plan.name,
        lambda: cifar_resnet.ResNet(plan),
        lambda network: preprocessing.imagenet(size, resize, plan.channels, origin),
        (),
        stem,
    )


def from_file(arch: str) -> Recipe:
    """The recipe of the user's own `file.py:factory`."""

    def known(network: nn.Module) -> Preprocessing:
        channels = preprocessing.input_channels(network)
        said = preprocessing.of_module(network, channels)
        origin = (
            "assumed: ImageNet's usual preprocessing (the architecture file sets no input_size, mean, std)"
        )
        return said or preprocessing.imagenet(224, 256, channels, origin)

    return Recipe(arch, own_code.factory(arch), known, identity=own_code.identity(arch))


# --------------------------------------------------------------------------------------------- finding


def given(arch: str, shapes: Mapping[str, Shape], key: str | None, prefix: str | None, where: str) -> Fit:
    """The fit of the architecture that the user named; CheckpointError when the tensors are not there."""
    _check_place(shapes, key, prefix, where)
    if own_code.FORM.fullmatch(arch):
        recipe = from_file(arch)
    elif arch == "cifar-resnet":
        fit = _best(_plans(shapes), shapes, key, prefix)
        if fit is None:
            raise CheckpointError(
                "The tensors are no ResNet with torchvision's names (conv1, layer1.0.conv1, ...)", where=where
            )
        return fit
    else:
        recipe = from_zoo(arch)
    wanted = recipe.shapes()
    found = places.chosen_by_user(places.fitting(wanted, shapes), key, prefix)
    if not found:
        raise _misfit(recipe.name, wanted, shapes, where, key, prefix)
    return Fit(recipe, wanted, tuple(found))


def find(shapes: Mapping[str, Shape], key: str | None, prefix: str | None, where: str) -> Fit:
    """The architecture that explains most of the tensors without leaving a hole or a rest.

    Raises CheckpointError with the closest one when there is none.
    """
    _check_place(shapes, key, prefix, where)
    ranked = index.candidates(shapes)
    fit = _best([*_plans(shapes), *ranked], shapes, key, prefix)
    if fit is None:
        raise _nothing_fits(ranked, shapes, where, key, prefix)
    return fit


def _check_place(shapes: Mapping[str, Shape], key: str | None, prefix: str | None, where: str) -> None:
    """Raises CheckpointError when there is nothing at all where the user says the backbone is."""
    starts = {start for tensor in shapes for start in index.prefixes(tensor)}
    if not places.chosen_by_user(sorted(starts), key, prefix):
        tops = ", ".join(sorted({tensor.partition(".")[0] for tensor in shapes})[:8])
        asked = " and ".join(f"--{n} {v}" for n, v in (("key", key), ("prefix", prefix)) if v is not None)
        raise CheckpointError(f"There is nothing under {asked}", where=where, do=f"The file has: {tops}")


def _plans(shapes: Mapping[str, Shape]) -> list[cifar_resnet.Plan]:
    ends = "conv1.weight"
    starts = {n[: -len(ends)] for n in shapes if n == ends or n.endswith("." + ends)}
    plans = (cifar_resnet.read_plan(start, shapes) for start in sorted(starts))
    return list(dict.fromkeys(plan for plan in plans if plan is not None))


def _best(
    options: Sequence[cifar_resnet.Plan | index.Candidate],
    shapes: Mapping[str, Shape],
    key: str | None,
    prefix: str | None,
) -> Fit | None:
    """The verified fit with the most tensors; a known architecture before one that was read off.

    A reference network that a method carries along (`prefixes.LESSER`) comes behind everything else.
    """
    best: Fit | None = None
    best_rank = (False, 0, False)
    whole = [o for o in options if isinstance(o, cifar_resnet.Plan) or o.share == 1]
    for option in dict.fromkeys(o if isinstance(o, cifar_resnet.Plan) else o.known for o in whole):
        known = isinstance(option, index.Known)
        if isinstance(option, index.Known):
            if best_rank[0] and option.tensors < best_rank[1]:
                continue
            recipe = _buildable(option)
        else:
            recipe = from_plan(option)
        if recipe is None:
            continue
        wanted = recipe.shapes()
        found = places.chosen_by_user(places.fitting(wanted, shapes), key, prefix)
        found = [p for p in found if not places.overhang(p, wanted, shapes)]
        rank = (not all(places.is_lesser(p) for p in found), len(wanted), known)
        if found and rank > best_rank:
            best, best_rank = Fit(recipe, wanted, tuple(found)), rank
    return best


def _buildable(known: index.Known) -> Recipe | None:
    """The first of the group that the installed libraries have (the index may know newer ones)."""
    for name in known.names:
        library, architecture = name.split(":")
        if architecture in zoo.names(library):
            return from_zoo(name, known)
    return None


# --------------------------------------------------------------------------------------------- saying why not


def _nothing_fits(
    ranked: Sequence[index.Candidate],
    shapes: Mapping[str, Shape],
    where: str,
    key: str | None,
    prefix: str | None,
) -> CheckpointError:
    close = [c for c in ranked if c.share >= 0.5 and places.chosen_by_user([c.prefix], key, prefix)]
    misses = []
    for candidate in close[:NEAR_MISSES]:
        recipe = _buildable(candidate.known)
        if recipe is not None:
            wanted = recipe.shapes()
            gone = places.lacking(candidate.prefix, wanted, shapes)
            rest = places.overhang(candidate.prefix, wanted, shapes)
            misses.append((len(gone) + len(rest), recipe.name, wanted))
    if misses:
        _, name, wanted = min(misses, key=lambda miss: miss[0])
        return _misfit(
            name, wanted, shapes, where, key, prefix, "No known architecture fits; the closest is "
        )
    some = ", ".join(f"{n} {'x'.join(map(str, s)) or 'scalar'}" for n, s in list(shapes.items())[:3])
    return CheckpointError(
        f"No known architecture resembles the checkpoint's {len(shapes)} tensors (first: {some})",
        where=where,
        do="Give the architecture with --arch NAME or --arch path/to/file.py:factory",
    )


def _misfit(
    name: str,
    wanted: Mapping[str, Shape],
    shapes: Mapping[str, Shape],
    where: str,
    key: str | None,
    prefix: str | None,
    begin: str = "",
) -> CheckpointError:
    """What is missing for `name` under the prefix where least of it is missing."""
    starts = {p for tensor in shapes for p in index.prefixes(tensor)}
    allowed = places.chosen_by_user(sorted(starts, key=lambda p: (len(p), p)), key, prefix)

    def distance(start: str) -> tuple[int, int]:
        return len(places.lacking(start, wanted, shapes)), sum(start + n not in shapes for n in wanted)

    nearest = min(allowed, key=distance)
    gone = places.lacking(nearest, wanted, shapes)
    rest = places.overhang(nearest, wanted, shapes)
    if gone:
        first = ", ".join(nearest + n + (" (other shape)" if nearest + n in shapes else "") for n in gone[:3])
        problem = f"lacks {len(gone)} of its {len(wanted)} tensors (first: {first})"
    else:
        first = ", ".join(nearest + n for n in rest[:3])
        problem = f"has {len(rest)} more tensors inside that architecture's parts (first: {first})"
    return CheckpointError(
        f"{begin}{name}{',' if begin else ':'} under '{nearest}' the checkpoint {problem}",
        where=where,
        do="Give the architecture with --arch NAME or --arch path/to/file.py:factory, or the place of the"
        " backbone with --key or --prefix",
    )
