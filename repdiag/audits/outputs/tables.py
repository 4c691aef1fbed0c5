"""The CSV files of an audit: what a labeling tool or a spreadsheet takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from repdiag.audits.types import Audit, Copies, Suspects
from repdiag.types import Table

DESCRIPTIONS = {
    "audit.json": "everything here as JSON",
    "review.csv": "the list: one row per image to review, the riskiest first",
    "duplicates.csv": "near-duplicates: one row per image in a group",
    "label_errors.csv": "probable label errors, the most confident first",
    "label-studio.json": "the list as tasks for Label Studio",
    "label-studio.xml": "the labeling interface that goes with them",
}

REVIEW = (
    "rank", "id", "path", "label", "prediction", "correct", "risk", "confidence", "q_score", "cluster", "group",
    "action", "reason", "duplicate_group", "label_error",
)  # fmt: skip
DUPLICATES = (
    "group", "id", "label", "split", "nearest", "cosine", "labels_differ", "train_and_test", "equal", "action",
)  # fmt: skip
LABEL_ERRORS = (
    "id", "label", "suggested", "confidence", "class_limit", "self_confidence", "others_against", "split", "found_by",
)  # fmt: skip


def tables(audit: Audit) -> dict[str, Table]:
    """The tables by the name of their file; one without rows has its headings."""
    return {
        "review.csv": review(audit),
        "duplicates.csv": duplicates(audit),
        "label_errors.csv": label_errors(audit),
    }


def review(audit: Audit) -> Table:
    """One row per sample of the list; `reason` joins what speaks against it by "; "."""
    return _table(
        REVIEW,
        [
            (
                r.rank, r.id, r.path, r.label, r.prediction, r.correct, r.risk, r.confidence, r.q_score, r.cluster,
                r.group, r.action.value, "; ".join(r.reasons), r.copies, r.suspect,
            )
            for r in audit.reviewed
        ],
    )  # fmt: skip


def duplicates(audit: Audit) -> Table:
    """One row per member of a group of near-duplicates."""
    groups = audit.copies.groups if isinstance(audit.copies, Copies) else ()
    return _table(
        DUPLICATES,
        [
            (
                g.number, m.id, m.label, m.split or None, m.nearest, m.cosine, g.conflict, g.leaks, g.equal, g.action,
            )
            for g in groups
            for m in g.members
        ],
    )  # fmt: skip


def label_errors(audit: Audit) -> Table:
    """One row per probable label error."""
    found = audit.suspects.found if isinstance(audit.suspects, Suspects) else ()
    return _table(
        LABEL_ERRORS,
        [
            (
                s.id, s.label, s.suggested, s.confidence, s.limit, s.self_confidence, s.others, s.split or None, s.by,
            )
            for s in found
        ],
    )  # fmt: skip


def _table(names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> Table:
    """Columns of plain objects; floats as float64, so that they are written in their shortest exact form."""
    columns = {}
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        if values and all(isinstance(v, float) for v in values):
            columns[name] = np.array(values, np.float64)
        else:
            columns[name] = np.empty(len(values), dtype=object)
            columns[name][:] = values
    return Table(columns)
