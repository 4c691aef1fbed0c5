"""Every table as a file: in the page itself, and beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repdiag.report.enclosed import Enclosed
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report

DESCRIPTIONS = {
    "report.json": "everything but the per-sample values, with full provenance",
    "metrics.csv": "one row per metric",
    "classes.csv": "one row per class",
    "pairs.csv": "one row per pair of classes that lie close",
    "clusters.csv": "one row per k-means cluster",
    "features.csv": "one row per feature",
    "kept_features.csv": "the smallest set of features that keeps the accuracy, for `repdiag export --features`",
    "samples.csv": "one row per image",
}


@dataclass(frozen=True)
class File:
    """A file beside the page, and what of it the page holds (None: nothing)."""

    name: str
    words: str
    rows: int | None
    inside: Enclosed | None

    @property
    def size(self) -> str:
        """How large the download is, for people."""
        if self.inside is None:
            return ""
        size = self.inside.size
        return f"{size / 1e6:.1f} MB" if size >= 999_500 else f"{max(1, round(size / 1e3))} kB"

    @property
    def cut(self) -> bool:
        """Whether the page holds some of the rows only."""
        return self.inside is not None and self.inside.rows != self.inside.of


@dataclass(frozen=True)
class View:
    """The files; kept_features.csv is one only where a subset was chosen."""

    files: tuple[File, ...]

    @property
    def enclosed(self) -> bool:
        """Whether the page holds any of them."""
        return any(file.inside is not None for file in self.files)


def view(report: Report, written: Written) -> View:
    """Always there."""
    files = []
    for name, words in DESCRIPTIONS.items():
        if name == "kept_features.csv" and name not in written:
            continue
        known = written.get(name)
        rows = None if known is None or name == "report.json" else known.rows
        files.append(File(name, words, rows, None if known is None else known.enclosed))
    return View(tuple(files))


def data(view: View) -> Mapping[str, Any]:
    """Each enclosed file in a block of its own: a script reads the one that is asked for."""
    return {
        f"enclosed-{file.name}": {
            "name": file.inside.name,
            "gzip": base64.b64encode(file.inside.packed).decode("ascii"),
        }
        for file in view.files
        if file.inside is not None
    }


SECTION = Section("downloads", "Files", view, ("downloads.css",), ("downloads.js",), data)
