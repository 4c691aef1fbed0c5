"""Writing an audit: every file whole before the first takes its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from repdiag.audits.outputs import label_studio, views
from repdiag.audits.outputs.html import render
from repdiag.audits.outputs.json_form import to_json
from repdiag.audits.outputs.tables import tables
from repdiag.audits.types import Audit
from repdiag.files import atomic
from repdiag.report.enclosed import pack
from repdiag.report.json_form import dumps
from repdiag.report.tables import TableFile, write_and_enclose
from repdiag.types import ImageSource


def write_audit(
    audit: Audit, out: Path, images: ImageSource | None = None, prefix: str = label_studio.LOCAL_FILES
) -> dict[str, Path]:
    """Write audit.html, audit.json, the CSV files and Label Studio's into the folder `out` (made when missing).

    `images` gives the pictures of the page, `prefix` stands before each path in label-studio.json. Returns the paths
    by file name; raises OutputError. The page holds the other files too, compressed: it can be sent alone.
    """
    pictures = thumbnails(audit, images) if images is not None else {}
    made = tables(audit)
    names = ("audit.html", "audit.json", *made, "label-studio.json", "label-studio.xml")
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic(out / name)) for name in names}
        written: dict[str, TableFile] = {}
        for name, table in made.items():
            with paths[name].open("wb") as file:
                written[name] = write_and_enclose(name, table, file)
        listed = json.dumps(label_studio.tasks(audit, prefix), indent=1, ensure_ascii=False, allow_nan=False)
        documents = {
            "audit.json": dumps(to_json(audit, written)),
            "label-studio.json": listed + "\n",
            "label-studio.xml": label_studio.interface(audit),
        }
        for name, document in documents.items():
            content = document.encode("utf-8")
            paths[name].write_bytes(content)
            written[name] = TableFile(0, "", pack(name, content))
        paths["audit.html"].write_text(render(audit, pictures, written), encoding="utf-8")
    return {name: out / name for name in paths}


def thumbnails(audit: Audit, images: ImageSource) -> Mapping[str, bytes]:
    """JPEGs of the samples that the page shows, by id; those that are not in the data set are left out."""
    from repdiag.extraction import thumbnails as read

    row = {path: i for i, path in enumerate(images.manifest.paths)}
    return read(images, [row[name] for name in views.shown_ids(audit) if name in row])
