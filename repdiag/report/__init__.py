"""Renderers of a `Report`: HTML, JSON, CSV and the terminal. They compute nothing and load no torch."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from repdiag.files import atomic
from repdiag.report.columns import EMPTY_HEADERS
from repdiag.report.enclosed import pack
from repdiag.report.json_form import csv_tables, dumps, to_json
from repdiag.report.tables import TableFile, cut, write_and_enclose
from repdiag.types import Report

__all__ = ["to_json", "write_report"]

PAGE = 5_900_000
"""Bytes of report.html that are not exceeded for the sake of the samples' rows in it."""


def write_report(report: Report, out: Path) -> dict[str, Path]:
    """Write report.html, report.json and the CSV tables into the folder `out` (made when missing).

    kept_features.csv is among them where a subset was chosen; where none was, one that an earlier report left
    there stays as it is (report.json lists what belongs to it). Returns the paths by file name. All files are
    complete before the first takes its place, so that a failure leaves the earlier report whole; raises OutputError
    when `out` cannot be written. The page holds the other files too, compressed (of a large table some rows): it
    can be sent alone.
    """
    from repdiag.report.html import render

    tables = csv_tables(report)
    with ExitStack() as stack:
        paths = {
            name: stack.enter_context(atomic(out / name)) for name in ("report.html", "report.json", *tables)
        }
        written: dict[str, TableFile] = {}
        for name, table in tables.items():
            with paths[name].open("wb") as file:
                written[name] = write_and_enclose(name, table, file, EMPTY_HEADERS.get(name, ()))
        document = dumps(to_json(report, written)).encode("utf-8")
        paths["report.json"].write_bytes(document)
        written["report.json"] = TableFile(0, "", pack("report.json", document))
        page = render(report, written).encode("utf-8")
        if len(page) > PAGE:  # thousands of classes, say: the samples in it make room
            held = written["samples.csv"].enclosed
            room = (len(held.packed) if held else 0) - (len(page) - PAGE) * 3 // 4
            fewer = cut("samples.csv", tables["samples.csv"], room)
            written["samples.csv"] = replace(written["samples.csv"], enclosed=fewer)
            page = render(report, written).encode("utf-8")
        paths["report.html"].write_bytes(page)
    return {name: out / name for name in paths}
