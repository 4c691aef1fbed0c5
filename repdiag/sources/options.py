"""How a data set is to be read: what a person may say beside its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repdiag.errors import UsageError


@dataclass(frozen=True)
class How:
    """The keywords of `open_source` that a form may use.

    `root` is where the paths of a list begin, `path_column` and `label_column` are columns (or fields) of a
    table, the splits are names of folders, column values or shards. `class_depth` is how many folders, one inside
    the other, name a class (None: one). With `trust_listing` a folder whose time
    did not change since its listing was kept in `listings` is not looked through again.
    """

    labeled: bool = True
    root: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    train_split: str | None = None
    eval_split: str | None = None
    trust_listing: bool = False
    listings: Path | None = None
    class_depth: int | None = None

    def only(self, form: str, *used: str) -> None:
        """Raise UsageError for an option that is given but means nothing for this `form` of data."""
        for name in ("root", "path_column", "label_column", "trust_listing", "class_depth"):
            if getattr(self, name) and name not in used:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} means nothing for {form}", do="Leave it out")

    @property
    def split_names(self) -> tuple[str | None, str | None]:
        """The names asked for, train first."""
        return self.train_split, self.eval_split
