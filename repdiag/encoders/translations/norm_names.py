"""ResNets whose norms are called norm1, norm2, norm3 (ICCL) instead of torchvision's bn1, bn2, bn3."""

from __future__ import annotations

import re
from collections.abc import Mapping

from repdiag.encoders.translations import Shape, Source

NAME = "norms called norm1, norm2, ..."
NORM = re.compile(r"((?:.*\.)?)norm(\d)\.(weight|bias|running_mean|running_var|num_batches_tracked)")


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """Batch norms that stand beside a convolution of their number, as bn1, bn2, ...; None when there are none."""
    found = {}
    for name, shape in shapes.items():
        norm = NORM.fullmatch(name)
        if norm and _beside_convolution(norm[1], norm[2], shapes):
            found[f"{norm[1]}bn{norm[2]}.{norm[3]}"] = Source(shape, (name,))
        else:
            found[name] = Source(shape, (name,))
    return found if found.keys() != shapes.keys() else None


def _beside_convolution(start: str, number: str, shapes: Mapping[str, Shape]) -> bool:
    convolution = shapes.get(f"{start}conv{number}.weight", ())
    mean = shapes.get(f"{start}norm{number}.running_mean")
    taken = f"{start}bn{number}.weight" in shapes
    return len(convolution) == 4 and mean == convolution[:1] and not taken
