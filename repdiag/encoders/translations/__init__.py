"""Checkpoints whose tensors have other names than torchvision and timm give them, put under those names.

One file per idea with `NAME` (for people), `translate(shapes)` and, where the names also tell what shapes
cannot, `hints(shapes)`. Nothing here reads a weight: a translation
says which of the file's tensors each renamed one is made of, and how; importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

from repdiag.encoders.hints import Hints

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """Where a tensor of a translated checkpoint comes from: the file's tensors `names`, as they are or `make`d."""

    shape: Shape
    names: tuple[str, ...]
    make: Callable[..., torch.Tensor] | None = None


@dataclass(frozen=True)
class View:
    """A checkpoint's tensors under the names that known architectures use.

    `translations` names what was applied, in order; () is the file as it is.
    """

    translations: tuple[str, ...]
    sources: Mapping[str, Source]
    hints: Hints = field(default_factory=Hints)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Name -> shape."""
        return {name: source.shape for name, source in self.sources.items()}

    def tensor(self, name: str, of_file: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The view's tensor `name`, made of the file's."""
        source = self.sources[name]
        return source.make(*(of_file[n] for n in source.names)) if source.make else of_file[source.names[0]]


def modules() -> tuple[ModuleType, ...]:
    """The translations, in the order in which they may build on one another."""
    from repdiag.encoders.translations import (
        block_chunks,
        convnext,
        dinov2,
        dinov3,
        norm_names,
        openmmlab_vit,
        sequential_resnet,
        simclr_v2,
        split_batch_norm,
        wrappers,
        xcit,
    )  # fmt: skip

    return (
        wrappers, split_batch_norm, block_chunks, norm_names, sequential_resnet, simclr_v2, dinov2, dinov3,
        openmmlab_vit, convnext, xcit,
    )  # fmt: skip


def views(shapes: Mapping[str, Shape]) -> Iterator[View]:
    """The checkpoint as it is, then under every combination of the translations that have something to say."""
    found = [View((), {name: Source(shape, (name,)) for name, shape in shapes.items()})]
    yield found[0]
    for module in modules():
        for view in list(found):
            translated = module.translate(view.shapes)
            if translated is not None:
                composed = {name: _through(source, view.sources) for name, source in translated.items()}
                told = module.hints(view.shapes) if hasattr(module, "hints") else Hints()
                found.append(View((*view.translations, module.NAME), composed, told.over(view.hints)))
                yield found[-1]


def _through(source: Source, before: Mapping[str, Source]) -> Source:
    """`source`, whose names are those of an earlier view, in terms of the file's names."""
    earlier = [before[name] for name in source.names]
    names = tuple(name for each in earlier for name in each.names)
    if all(each.make is None for each in earlier):
        return Source(source.shape, names, source.make)

    def make(*tensors: torch.Tensor) -> torch.Tensor:
        parts, rest = [], list(tensors)
        for each in earlier:
            own, rest = rest[: len(each.names)], rest[len(each.names) :]
            parts.append(each.make(*own) if each.make else own[0])
        return source.make(*parts) if source.make else parts[0]

    return Source(source.shape, names, make)
