"""SimCLRv2's ResNets as the Separius port names them: one Sequential of a stem and four lists of blocks.

Networks with selective kernels (sk1) have no counterpart in torchvision or timm and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from repdiag.encoders.translations import Shape, Source
from repdiag.encoders.translations.naming import innermost

NAME = "SimCLRv2's names in the Separius port"
MARK = re.compile(r"((?:.*\.)?)net\.1\.blocks\.0\.projection\.shortcut\.weight")
BLOCK = re.compile(r"net\.([1-4])\.blocks\.(\d+)\.(.+)")
STEM = (("net.0.0.weight", "conv1.weight"), ("net.0.1.0.", "bn1."))
INSIDE = (
    ("net.0.weight", "conv1.weight"),
    ("net.1.0.", "bn1."),
    ("net.2.weight", "conv2.weight"),
    ("net.3.0.", "bn2."),
    ("net.4.weight", "conv3.weight"),
    ("net.5.0.", "bn3."),
    ("projection.shortcut.weight", "downsample.0.weight"),
    ("projection.bn.0.", "downsample.1."),
)


def translate(shapes: Mapping[str, Shape]) -> dict[str, Source] | None:
    """torchvision's names; None when there is no such network, or one with selective kernels."""
    starts = [found[1] for name in shapes if (found := MARK.fullmatch(name))]
    starts = [s for s in starts if len(shapes.get(s + "net.1.blocks.0.net.4.weight", ())) == 4]
    if not starts:
        return None
    found_names = {}
    for name, shape in shapes.items():
        start = innermost(name, starts)
        new = name if start is None else start + _torchvision(name[len(start) :])
        found_names[new] = Source(shape, (name,))
    return found_names


def _torchvision(name: str) -> str:
    if block := BLOCK.fullmatch(name):
        return f"layer{block[1]}.{block[2]}.{_replaced(block[3], INSIDE)}"
    return _replaced(name, STEM)


def _replaced(name: str, table: tuple[tuple[str, str], ...]) -> str:
    """The name with its beginning as the table has it; a beginning without a dot is a whole name."""
    for old, new in table:
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name[len(old) :]
    return name
