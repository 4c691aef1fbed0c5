"""Encoders side by side, written into a folder: the page, JSON and CSV, all of it or nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from repdiag.comparison.side_by_side import SideBySide
from repdiag.files import atomic
from repdiag.report.enclosed import pack
from repdiag.report.json_form import dumps
from repdiag.report.side_by_side_json import to_json
from repdiag.report.side_by_side_tables import EMPTY_HEADERS, side_by_side_tables
from repdiag.report.tables import TableFile, write_and_enclose

__all__ = ["dumps", "to_json", "write_side_by_side"]


def write_side_by_side(made: SideBySide, out: Path) -> dict[str, Path]:
    """Write compare.html, compare.json and the CSV tables into the folder `out` (made when missing).

    Returns the paths by file name. All files are complete before the first takes its place, so that a failure leaves
    an earlier comparison whole; raises OutputError when `out` cannot be written. Tables of views that were not asked
    for are not written, and one that an earlier run left there stays: compare.json lists what belongs to it. The page
    holds the other files too, compressed (of a large table some rows): it can be sent alone.
    """
    from repdiag.report.side_by_side_html import render_side_by_side

    tables = side_by_side_tables(made)
    names = ("compare.html", "compare.json", *tables)
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic(out / name)) for name in names}
        written: dict[str, TableFile] = {}
        for name, table in tables.items():
            with paths[name].open("wb") as file:
                written[name] = write_and_enclose(name, table, file, EMPTY_HEADERS[name])
        document = dumps(to_json(made, written)).encode("utf-8")
        paths["compare.json"].write_bytes(document)
        written["compare.json"] = TableFile(0, "", pack("compare.json", document))
        paths["compare.html"].write_text(render_side_by_side(made, written), encoding="utf-8")
    return {name: out / name for name in paths}
