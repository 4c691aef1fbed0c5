"""An explanation as JSON: strict (no NaN), versioned, the same for equal runs but for `created` and `timing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from repdiag.explaining.outputs.tables import tables as tables_of
from repdiag.explaining.types import Claim, Explained, Explanation, FeatureMaps, Overlaps, Quantity, Tile
from repdiag.report.json_form import plain
from repdiag.report.tables import TableFile, write_csv
from repdiag.types import Interval, Skipped

EXPLAIN_SCHEMA_VERSION = 1


def to_json(found: Explanation, tables: Mapping[str, TableFile] | None = None) -> dict[str, Any]:
    """`found` as what `json.dumps` takes, in a fixed order of keys; the form is in schema.json.

    `tables` says what the CSV files hold when they were just written; otherwise they are made once more only to be
    counted and hashed. A heat map is its grid of numbers, row by row from the top.
    """
    if tables is None:
        tables = {name: write_csv(table, None) for name, table in tables_of(found).items()}
    made = plain(
        {
            "schema_version": EXPLAIN_SCHEMA_VERSION,
            "created": found.created,
            "encoder": found.encoder,
            "dataset": found.dataset,
            "parameters": found.parameters,
            "environment": found.environment,
            "warnings": found.warnings,
            "target": asdict(found.target),
            "place": asdict(found.place),
            "risk": found.risk,
            "samples": [_sample(one) for one in found.samples],
            "features": [_feature(one) for one in found.features],
            "notes": found.notes,
            "overlap": _overlap(found.overlaps),
            "tables": {name: {"rows": t.rows, "sha256": t.sha256} for name, t in tables.items()},
            "timing": found.timing,
        }
    )
    assert isinstance(made, dict)
    return made


def _map(tile: Tile) -> dict[str, Any]:
    return {"heat": tile.heat, "none": tile.why_none or None}


def _sample(one: Explained) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": one.label,
        "prediction": one.prediction,
        "correct": one.correct,
        "risk": one.risk,
        "confidence": one.confidence,
        "q_score": one.q_score,
        "rank": one.rank,
        "evaluated": one.evaluated,
        "asked": one.asked,
        "reasons": one.reasons,
        "n_features": one.features,
        "features": [asdict(s) for s in one.summed],
        "overlap": one.overlap,
        **_map(one.tile),
    }


def _feature(one: FeatureMaps) -> dict[str, Any]:
    card = one.card
    return {
        "feature": card.feature,
        "worth": card.worth,
        "worth_name": card.worth_name,
        "frequency": card.frequency,
        "in_s": card.in_s,
        "images": [
            {"id": tile.id, "activation": value, "label": label, **_map(tile)}
            for tile, value, label in zip(one.tiles, card.activations, card.labels, strict=True)
        ],
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _overlap(found: Overlaps | Skipped) -> dict[str, Any]:
    if isinstance(found, Skipped):
        return {"skipped": found.reason}
    return {
        "masks": found.kind,
        "location": found.location,
        "threshold": found.threshold,
        "masked": found.masked,
        "maps": found.maps,
        "regions": found.regions,
        "notes": found.notes,
        "quantities": [_quantity(q) for q in found.quantities],
        "claims": [_claim(c) for c in found.claims],
    }


def _quantity(q: Quantity) -> dict[str, Any]:
    return {
        "name": q.name,
        "measure": q.measure,
        "region": q.region,
        "group": q.group,
        "features": q.features,
        "value": q.value,
        "n": q.n,
        "interval": _interval(q.interval),
        "null": None if q.null is None else asdict(q.null),
        "uniform": q.uniform,
    }


def _claim(c: Claim) -> dict[str, Any]:
    return {
        "key": c.key,
        "said": c.said,
        "source": c.source,
        "found": c.word,
        "difference": c.what,
        "sentence": c.sentence,
        "value": c.value,
        "interval": _interval(c.interval),
        "n": c.n,
    }
