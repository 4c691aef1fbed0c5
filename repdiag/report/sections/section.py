"""What a section of the report's page is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from repdiag.report.tables import TableFile
from repdiag.types import Report

Written = Mapping[str, TableFile]
"""What the CSV files beside the page hold, by file name; empty when none were written."""


def _nothing(view: Any) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Section:
    """One section: its id on the page and in its template `<key>.html.j2`, its name in the navigation, its view.

    `view` lays out what the template shows (it is called `view` there), or answers None: then the section is left
    out. `data` takes the view and answers what the scripts read (element id -> JSON). `styles` and `scripts` name
    files in templates/; two sections may name the same one.
    """

    key: str
    title: str
    view: Callable[[Report, Written], Any]
    styles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    data: Callable[[Any], Mapping[str, Any]] = _nothing
