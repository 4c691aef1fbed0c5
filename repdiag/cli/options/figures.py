"""Figures for papers beside the results."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from repdiag.comparison.side_by_side import SideBySide
    from repdiag.comparison.types import Comparison
    from repdiag.types import Report


class FigureFormat(enum.StrEnum):
    """What a figure can be written as."""

    svg = "svg"
    png = "png"
    pdf = "pdf"


@dataclass(frozen=True)
class FigureOptions:
    """Whether figures are written, and as what; a format alone asks for them too."""

    figures: Annotated[
        bool, typer.Option("--figures", help="Write figures for papers to figures/ in --out.")
    ] = False
    figure_format: Annotated[
        FigureFormat | None,
        typer.Option(help="What they are written as; implies --figures.", show_default="svg"),
    ] = None

    def write(self, made: Report | Comparison | SideBySide, out: Path) -> str:
        """Write them to `out`/figures if they were asked for; a sentence that says how many and what is not there.

        matplotlib is loaded here and not before.
        """
        if not (self.figures or self.figure_format):
            return ""
        from repdiag.plots import names, save

        folder = out / "figures"
        paths = save(made, folder, (self.figure_format or FigureFormat.svg).value)
        left_out = [name for name in names(made) if name not in paths]
        said = f"{len(paths)} figures are in {folder}" if len(paths) != 1 else f"1 figure is in {folder}"
        return said + (f"; nothing to draw for {', '.join(left_out)}" if left_out else "")
