"""How to build a network, and what is known of it beside its tensors: by name, off the shapes, or the user's own.

Nothing here imports torch until something is built: `repdiag inspect` lives of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from repdiag.encoders import index, own_code
from repdiag.encoders.hints import Hints
from repdiag.encoders.input import Preprocessing, imagenet
from repdiag.encoders.plan import Plan
from repdiag.encoders.sketch import Shape, required
from repdiag.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


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


def told(known: index.Known, hints: Hints) -> Recipe:
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
