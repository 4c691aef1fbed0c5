"""Which features of the encoder are taken."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any

import typer

PANEL = "Features of the encoder"


class Pool(enum.StrEnum):
    """From a feature map or tokens to one vector per image."""

    auto = "auto"
    cls = "cls"
    mean = "mean"
    cls_mean = "cls+mean"
    gap = "gap"
    gem = "gem"
    flatten = "flatten"


@dataclass(frozen=True)
class FeatureOptions:
    """The keywords `layer`, `pool` and `l2` of `load_encoder`."""

    layer: Annotated[
        str | None,
        typer.Option(
            help="Layers by name (layer3, blocks.8), from the end (-1), output or projector; several between "
            "commas, in one pass.",
            rich_help_panel=PANEL,
        ),
    ] = None
    pool: Annotated[
        Pool | None,
        typer.Option(
            help="Of tokens: cls, mean (of the patches), cls+mean. Of feature maps: gap (average), gem "
            "(generalized mean, p = 3). Of both: flatten. By default as the network does.",
            rich_help_panel=PANEL,
        ),
    ] = None
    l2: Annotated[
        bool | None,
        typer.Option(
            "--l2/--no-l2",
            help="Give every embedding unit length at once, or nowhere that a metric can do without. By "
            "default each metric does as it is defined.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """What `load_encoder` takes."""
        return {"layer": self.layer, "pool": self.pool.value if self.pool else None, "l2": self.l2}
