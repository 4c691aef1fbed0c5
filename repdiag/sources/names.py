"""The names that columns usually have, and the choice among those that are there."""

from __future__ import annotations

from collections.abc import Sequence

from repdiag.errors import DataError
from repdiag.registry import did_you_mean

PATHS = (
    "path", "file_name", "filename", "filepath", "file_path", "image_path", "img_path", "image_file", "image",
    "img", "file", "image_name",
)  # fmt: skip
LABELS = ("label", "class", "target", "category", "y", "labels", "cls", "class_name", "fine_label", "wnid")
SPLITS = ("split", "subset", "partition")
IDS = ("id", "image_id", "key", "__key__")


def pick_column(
    names: Sequence[str], known: Sequence[str], asked: str | None, what: str, where: str
) -> str | None:
    """The column `asked` for, else the first of the `known` names that is there, in any case; None: none is.

    Raises DataError when the one asked for is not there.
    """
    if asked is not None:
        if asked in names:
            return asked
        raise DataError(
            f"There is no column '{asked}' of {what}s", where=where, do=did_you_mean(asked, list(names))
        )
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)
