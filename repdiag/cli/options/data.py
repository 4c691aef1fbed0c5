"""How a DATASET argument is read."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

PANEL = "Reading the data"


class Level(enum.StrEnum):
    """Which classes of a hierarchy are the labels."""

    fine = "fine"
    coarse = "coarse"


@dataclass(frozen=True)
class DataOptions:
    """The keywords of `open_source`."""

    root: Annotated[
        str | None,
        typer.Option(
            help="Folder, .zip or .tar in which the paths of a list begin; by default where the list is.",
            rich_help_panel=PANEL,
        ),
    ] = None
    path_column: Annotated[
        str | None,
        typer.Option(help="Column of a table that holds the paths, or the images.", rich_help_panel=PANEL),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            help="Column of a table, or field of a shard's .json, that holds the labels.",
            rich_help_panel=PANEL,
        ),
    ] = None
    eval_split: Annotated[
        str | None,
        typer.Option(help="Split to evaluate: a folder, a column's value or a shard.", rich_help_panel=PANEL),
    ] = None
    train_split: Annotated[
        str | None, typer.Option(help="Split that probes learn from.", rich_help_panel=PANEL)
    ] = None
    class_depth: Annotated[
        int | None,
        typer.Option(
            help="How many folders, one inside the other, name a class; from 2 on the first is its coarse class.",
            rich_help_panel=PANEL,
            min=1,
        ),
    ] = None
    hierarchy: Annotated[
        str | None,
        typer.Option(help="Table of classes and the coarse class of each.", rich_help_panel=PANEL),
    ] = None
    hierarchy_columns: Annotated[
        str | None, typer.Option(help="Its two columns, as FINE,COARSE.", rich_help_panel=PANEL)
    ] = None
    level: Annotated[
        Level, typer.Option(help="Label by the fine or by the coarse classes.", rich_help_panel=PANEL)
    ] = Level.fine
    class_names: Annotated[
        str | None,
        typer.Option(help="Table of classes and how to call them in the report.", rich_help_panel=PANEL),
    ] = None
    trust_listing: Annotated[
        bool,
        typer.Option(
            "--trust-listing",
            help="Do not look again at the files of a folder whose time has not changed.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def keywords(self, listings: Path | None = None) -> dict[str, Any]:
        """What `open_source` takes of what was given; `listings` is where listings are kept (None: nowhere).

        Raises UsageError for what is no pair of columns.
        """
        given = {
            "root": self.root,
            "path_column": self.path_column,
            "label_column": self.label_column,
            "eval_split": self.eval_split,
            "train_split": self.train_split,
            "class_depth": self.class_depth,
            "hierarchy": self.hierarchy,
            "hierarchy_columns": _pair(self.hierarchy_columns),
            "level": self.level.value if self.level is not Level.fine else None,
            "class_names_file": self.class_names,
            "trust_listing": self.trust_listing or None,
            "listings": listings if self.trust_listing else None,
        }
        return {name: value for name, value in given.items() if value is not None}


def _pair(text: str | None) -> tuple[str, str] | None:
    from repdiag.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise UsageError(f"--hierarchy-columns '{text}' is not two columns", do="Write it as FINE,COARSE")
    return parts[0], parts[1]
