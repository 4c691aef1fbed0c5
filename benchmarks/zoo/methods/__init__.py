"""The methods of the zoo by name, in the order of its table; each is a file, imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.zoo.methods.base import Method

CLASSES = {
    "simclr": "SimCLR",
    "moco": "MoCo",
    "byol": "BYOL",
    "simsiam": "SimSiam",
    "swav": "SwAV",
    "barlow": "BarlowTwins",
    "vicreg": "VICReg",
    "dino": "DINO",
    "supervised": "Supervised",
}
RANDOM = "random"
"""The untrained backbone, which is no method: it starts like all others and stays there."""


def load(name: str) -> type[Method]:
    """The class of the method called `name`."""
    found: type[Method] = getattr(importlib.import_module(f"{__name__}.{name}"), CLASSES[name])
    return found
