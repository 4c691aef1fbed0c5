"""The files beside a page and what of them the page holds, for pages other than the report's."""

from __future__ import annotations

from collections.abc import Mapping

from repdiag.report.sections.downloads import File, View
from repdiag.report.tables import TableFile


def files_of(descriptions: Mapping[str, str], written: Mapping[str, TableFile]) -> View:
    """The files of `descriptions` (name -> what is in it), in its order; rows are those of tables."""
    made = []
    for name, words in descriptions.items():
        known = written.get(name)
        rows = known.rows if known is not None and name.endswith(".csv") else None
        made.append(File(name, words, rows, None if known is None else known.enclosed))
    return View(tuple(made))
