"""Builders of checkpoint files in the layouts of public projects: real container keys, names and architectures.

Every tensor is random, so that one that is taken from the wrong place, lost or mixed up shows in the output.
"""

from __future__ import annotations

from layouts import (
    bootstrap_methods,
    clustering,
    contrastive,
    distillation,
    folders,
    libraries,
    masked,
    wrapped,
)
from layouts.case import Case, Layout, Other

FAMILIES = (contrastive, bootstrap_methods, clustering, distillation, masked, libraries, folders, wrapped)

ALL: dict[str, Layout] = {layout.name: layout for family in FAMILIES for layout in family.LAYOUTS}

__all__ = ["ALL", "Case", "Layout", "Other"]
