"""What was done: the runs of training, and what the numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repdiag.report.columns import Column
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_tables import flat_facts
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.numbers import MISSING
from repdiag.report.views import flat


def runs(reading: Reading) -> Grid | None:
    """What training did in each run: a row per run, a column per fact that is a number or a word."""
    trained = [(arm, run) for arm in reading.arms for run in arm.runs]
    names = list(dict.fromkeys(name for _, run in trained for name, _ in flat_facts(run.training)))
    heads = [
        Column("Arm"),
        Column("Seed"),
        Column("Encoder"),
        *(Column(text(name.replace("_", " "))) for name in names),
    ]
    rows = []
    for arm, run in trained:
        facts = dict(flat_facts(run.training))
        identity = run.report.encoder.get("fingerprint") or run.report.encoder.get("sha256") or ""
        cells = [cell_of(None if name not in facts or facts[name] == "" else facts[name]) for name in names]
        first = (
            Cell(arm.title, "", False),
            cell_of(run.seed),
            Cell(text(str(identity)[:16]) or MISSING, "", False),
        )
        rows.append((*first, *cells))
    return Grid(tuple(heads), tuple(rows), len(rows)) if rows else None


def provenance(reading: Reading) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the numbers depend on: nested parts of the configuration each on their own."""
    config = reading.comparison.config
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    parts: dict[str, Any] = {"Comparison": plain}
    parts |= {
        text(str(key).replace("_", " ").capitalize()): value
        for key, value in config.items()
        if isinstance(value, Mapping)
    }
    if reading.comparison.arms:
        first = reading.comparison.arms[0].report
        parts |= {
            "Scored encoder": first.encoder,
            "Scored images": first.dataset,
            "Scored with": first.config,
        }
        parts["Environment"] = first.environment
    return [(title, flat(part)) for title, part in parts.items() if part]
