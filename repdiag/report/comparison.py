"""A comparison written into a folder: the page, JSON and CSV, all of it or nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from repdiag.comparison.types import Comparison
from repdiag.files import atomic
from repdiag.report.comparison_json import to_json
from repdiag.report.comparison_tables import EMPTY_HEADERS, comparison_tables
from repdiag.report.enclosed import pack
from repdiag.report.json_form import dumps
from repdiag.report.tables import TableFile, write_and_enclose

__all__ = ["dumps", "to_json", "write_comparison"]


def write_comparison(comparison: Comparison, out: Path) -> dict[str, Path]:
    """Write comparison.html, comparison.json and the CSV tables into the folder `out` (made when missing).

    Returns the paths by file name. All files are complete before the first takes its place, so that a failure leaves
    an earlier comparison whole; raises OutputError when `out` cannot be written. The page holds the other files too,
    compressed (of a large table some rows): it can be sent alone.
    """
    from repdiag.report.comparison_html import render_comparison

    tables = comparison_tables(comparison)
    names = ("comparison.html", "comparison.json", *tables)
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic(out / name)) for name in names}
        written: dict[str, TableFile] = {}
        for name, table in tables.items():
            with paths[name].open("wb") as file:
                written[name] = write_and_enclose(name, table, file, EMPTY_HEADERS[name])
        document = dumps(to_json(comparison, written)).encode("utf-8")
        paths["comparison.json"].write_bytes(document)
        written["comparison.json"] = TableFile(0, "", pack("comparison.json", document))
        paths["comparison.html"].write_text(render_comparison(comparison, written), encoding="utf-8")
    return {name: out / name for name in paths}
