"""ResNets as nn.Sequential(*resnet.children()): conv1 is 0, bn1 is 1, and the stages' numbers tell the stem.

| stages begin at | the stem has | made by |
|---|---|---|
| 4 | ReLU and max-pooling (or an nn.Identity in its place) | torchvision's children |
| 3 | ReLU, no max-pooling | ports that leave it out (leftthomas) |
| 2 | neither: the first norm goes straight into layer1 | lightly's ResNetGenerator, whose ReLU is no child |
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from repdiag.encoders.hints import Hint, Hints
from repdiag.encoders.translations import Shape, Source
from repdiag.encoders.translations.naming import innermost

NAME = "a ResNet as nn.Sequential"
STAGE = re.compile(r"((?:.*\.)?)(\d+)\.0\.conv1\.weight")
STEM = {"0.weight": "conv1.weight"} | {
    f"1.{part}": f"bn1.{part}"
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}
WITH_MAX_POOL, WITHOUT_MAX_POOL, WITHOUT_RELU = 4, 3, 2
"""The number of the first stage."""


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """The stems and stages under torchvision's names; None when there is no such network."""
    networks = _networks(shapes)
    if not networks:
        return None
    found: dict[str, Source] = {}
    for name, shape in shapes.items():
        start = innermost(name, networks)
        new = name if start is None else start + _torchvision(name[len(start) :], networks[start])
        if new in found:
            return None
        found[new] = Source(shape, (name,))
    return found


def hints(shapes: Mapping[str, Shape]) -> Hints:
    """What the numbers say about the stem, where all the networks say the same."""
    first = {stages[0] for stages in _networks(shapes).values()}
    if not first or max(first) > WITHOUT_MAX_POOL:
        return Hints()
    where = f"layer1 is number {max(first)} of the nn.Sequential"
    relu = Hint(False, f"{where}, too early for one") if max(first) == WITHOUT_RELU else None
    return Hints(max_pool=Hint(False, f"{where}, too early for one"), stem_relu=relu)


def _networks(shapes: Mapping[str, Shape]) -> dict[str, tuple[int, ...]]:
    """Prefix -> the stages' numbers, of every ResNet that is a Sequential."""
    stages: dict[str, set[int]] = {}
    for name in shapes:
        if found := STAGE.fullmatch(name):
            stages.setdefault(found[1], set()).add(int(found[2]))
    return {
        start: tuple(sorted(numbers))
        for start, numbers in stages.items()
        if _is_resnet(start, sorted(numbers), shapes)
    }


def _is_resnet(start: str, numbers: list[int], shapes: Mapping[str, Shape]) -> bool:
    first = numbers[0]
    in_a_row = numbers == list(range(first, first + len(numbers)))
    convolution, mean = shapes.get(start + "0.weight", ()), shapes.get(start + "1.running_mean")
    return (
        in_a_row
        and WITHOUT_RELU <= first <= WITH_MAX_POOL
        and len(convolution) == 4
        and mean == convolution[:1]
    )


def _torchvision(name: str, stages: tuple[int, ...]) -> str:
    number, _, rest = name.partition(".")
    if number.isdigit() and int(number) in stages:
        return f"layer{stages.index(int(number)) + 1}.{rest}"
    return STEM.get(name, name)
