"""The list as a data set that FiftyOne imports, written by its documented format; fiftyone itself is not needed.

The format is FiftyOneImageClassificationDataset: `data/` with the images and `labels.json`, which gives each image's
name (without its ending) a label and attributes. There are no `classes`, so that labels are taken as they are.
"""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

from repdiag.audits.types import Audit, Reviewed
from repdiag.errors import DataError
from repdiag.files import atomic, write_text
from repdiag.report.json_form import plain
from repdiag.types import ImageSource

_MAGIC = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"II*\0", ".tif"),
          (b"MM\0*", ".tif"))  # fmt: skip


def write_fiftyone(audit: Audit, images: ImageSource, folder: Path) -> int:
    """Write the listed images, as they are in the data set, and their labels to `folder`; returns how many.

    An image that cannot be read is left out. DataError where none of them is in the data set.
    """
    row = {path: i for i, path in enumerate(images.manifest.paths)}
    width = len(str(len(audit.reviewed)))
    labels: dict[str, Any] = {}
    for one in audit.reviewed:
        if one.path not in row:
            continue
        try:
            content = images.read(row[one.path])
        except OSError:
            continue
        name = f"{one.rank:0{width}d}"
        with atomic(folder / "data" / f"{name}{ending(content, one.path)}") as temporary:
            temporary.write_bytes(content)
        labels[name] = _target(one)
    if not labels:
        raise DataError(
            "None of the listed images is in the data set",
            where=images.name,
            do="Give --data the data that was scored",
        )
    write_text(
        folder / "labels.json", json.dumps({"labels": plain(labels)}, indent=1, ensure_ascii=False) + "\n"
    )
    return len(labels)


def _target(one: Reviewed) -> dict[str, Any]:
    """The label as it was given, and all else as attributes; what is not known is left out."""
    known = {
        "id": one.id,
        "rank": one.rank,
        "risk": one.risk,
        "prediction": one.prediction,
        "confidence": one.confidence,
        "correct": one.correct,
        "q_score": one.q_score,
        "cluster": one.cluster,
        "group": one.group,
        "action": one.action.value,
        "reason": "; ".join(one.reasons),
        "duplicate_group": one.copies,
        "label_error": one.suspect,
    }
    return {
        "label": one.label if one.label is not None else "no label",
        "attributes": {
            key: value
            for key, value in known.items()
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        },
    }


def ending(content: bytes, path: str) -> str:
    """The ending of a file name that goes with an image's bytes, else that of its path, else .png."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    for magic, suffix in _MAGIC:
        if content.startswith(magic):
            return suffix
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if suffix[1:].isalnum() else ".png"
