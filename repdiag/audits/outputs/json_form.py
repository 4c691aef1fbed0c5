"""An audit as JSON: strict (no NaN), versioned, the same bytes for the same report and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from repdiag.audits.outputs.tables import tables as tables_of
from repdiag.audits.types import Audit, Copies, CopyGroup, Suspects
from repdiag.report.json_form import plain
from repdiag.report.tables import TableFile, write_csv
from repdiag.types import Skipped

AUDIT_SCHEMA_VERSION = 1


def to_json(audit: Audit, tables: Mapping[str, TableFile] | None = None) -> dict[str, Any]:
    """`audit` as what `json.dumps` takes, in a fixed order of keys; the form is in schema.json.

    `tables` says what the CSV files hold when they were just written; otherwise they are made once more only to be
    counted and hashed. No time and no path of this machine is in it but what the report holds.
    """
    if tables is None:
        tables = {name: write_csv(table, None) for name, table in tables_of(audit).items()}
    report, curve = audit.report, audit.curve.columns
    return plain_mapping(
        {
            "schema_version": AUDIT_SCHEMA_VERSION,
            "report": {
                "created": report.created,
                "encoder": report.encoder.get("summary") or report.encoder.get("name"),
                "dataset": report.dataset.get("summary") or report.dataset.get("name"),
                "fingerprint": report.dataset.get("fingerprint"),
                "risk": report.risk,
            },
            "parameters": audit.parameters,
            "warnings": audit.warnings,
            "catch": asdict(audit.catch),
            "curve": {
                "skipped": audit.no_curve or None,
                "rows": [dict(zip(curve, row, strict=True)) for row in zip(*curve.values(), strict=True)],
            },
            "reviewed": [
                {
                    "rank": r.rank,
                    "id": r.id,
                    "path": r.path,
                    "label": r.label,
                    "prediction": r.prediction,
                    "correct": r.correct,
                    "risk": r.risk,
                    "confidence": r.confidence,
                    "q_score": r.q_score,
                    "cluster": r.cluster,
                    "group": r.group,
                    "action": r.action.value,
                    "reasons": r.reasons,
                    "duplicate_group": r.copies,
                    "label_error": r.suspect,
                }
                for r in audit.reviewed
            ],
            "class_pairs": [asdict(g) for g in audit.pairs],
            "clusters": [asdict(g) for g in audit.clusters],
            "duplicates": _copies(audit.copies),
            "label_errors": _suspects(audit.suspects),
            "tables": {name: {"rows": t.rows, "sha256": t.sha256} for name, t in tables.items()},
        }
    )


def plain_mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` in JSON's own types."""
    found = plain(value)
    assert isinstance(found, dict)
    return found


def _copies(copies: Copies | Skipped) -> dict[str, Any]:
    if isinstance(copies, Skipped):
        return {"skipped": copies.reason}
    return {
        "searched": copies.searched,
        "samples": copies.samples,
        "threshold": copies.threshold,
        "threshold_from": copies.chosen,
        "note": copies.reason or None,
        "embeddings": copies.source,
        "groups": [_group(group) for group in copies.groups],
    }


def _group(group: CopyGroup) -> dict[str, Any]:
    return {
        "number": group.number,
        "labels": group.labels,
        "labels_differ": group.conflict,
        "train_and_test": group.leaks,
        "equal": group.equal,
        "action": group.action,
        "members": [{**asdict(member), "split": member.split or None} for member in group.members],
    }


def _suspects(suspects: Suspects | Skipped) -> dict[str, Any]:
    if isinstance(suspects, Skipped):
        return {"skipped": suspects.reason}
    return {
        "judged": suspects.judged,
        "rules": suspects.rules,
        "rules_skipped": suspects.skipped,
        "found": [
            {
                "id": s.id,
                "label": s.label,
                "suggested": s.suggested,
                "confidence": s.confidence,
                "class_limit": s.limit,
                "self_confidence": s.self_confidence,
                "others_against": s.others,
                "split": s.split or None,
                "found_by": s.by,
            }
            for s in suspects.found
        ],
    }
