"""What the page of encoders side by side loops over beside the parts that all comparisons have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from repdiag.comparison.crowding import LESS, MORE
from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.types import Comparison
from repdiag.report.columns import Column
from repdiag.report.comparison_views import Change, change
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.numbers import ARROWS, MISSING, interval_text
from repdiag.report.side_by_side_tables import encoder_facts
from repdiag.report.views import flat

MAX_PAIRS = 15
MAX_DETAILS = 4  # encoders whose classes and images the page shows
KINDS = {MORE: "hurt", LESS: "helped"}


def details(made: SideBySide) -> list[Comparison]:
    """The comparisons of two whose classes and images are shown: the first, of a run the last and the best."""
    if made.trajectory is None:
        return list(made.details[:MAX_DETAILS])
    wanted = dict.fromkeys([made.comparison.subject, *(best.encoder for best in made.trajectory.best)])
    return [one for name in wanted for one in made.details if one.subject == name]


def likeness(made: SideBySide) -> Grid | None:
    """The table of CKA and shared neighbors."""
    if not made.likeness:
        return None
    heads = ("Encoder", "Beside", "CKA", "from, to", "Shared neighbors", "from, to", "By chance", "Images")
    rows = []
    for one in made.likeness:
        cka = interval_text(one.cka_interval, "", one.cka) or MISSING
        shared = interval_text(one.neighbors_interval, "share", one.neighbors) or MISSING
        rows.append(
            (
                Cell(text(one.encoder), "", False),
                Cell(text(one.against), "", False),
                cell_of(one.cka),
                Cell(cka, "", False),
                cell_of(one.neighbors, "share"),
                Cell(shared, "", False),
                cell_of(one.chance, "share"),
                cell_of(one.n, "images"),
            )
        )
    return Grid(tuple(map(Column, heads)), tuple(rows), len(rows))


def crowding(made: SideBySide) -> list[tuple[str, str, Change, str, str, tuple[Cell, ...], str, str]]:
    """Rows of (encoder, measure, change, word, its kind, values and shares of the null, relative word, its kind)."""
    rows: list[tuple[str, str, Change, str, str, tuple[Cell, ...], str, str]] = []
    for one in made.crowding:
        d = one.difference
        cells = (
            cell_of(d.value, d.unit),
            cell_of(d.other, d.unit),
            cell_of(one.relative),
            cell_of(one.relative_other),
        )
        rows.append(
            (
                text(d.subject),
                f"{text(d.title)} {ARROWS[d.direction]}",
                change(d, True),
                one.word,
                KINDS.get(one.word, "unclear"),
                cells,
                one.relative_word or MISSING,
                KINDS.get(one.relative_word, "unclear"),
            )
        )
    return rows


def pairs(made: SideBySide, encoder: str) -> list[tuple[str, Grid]]:
    """The pairs of classes that one encoder confuses more, and those that it confuses less: two tables, cut."""
    columns = made.pairs.columns
    if not columns:
        return []
    rows = np.flatnonzero(columns["encoder"] == encoder)
    delta = columns["delta"][rows]
    more = rows[(delta > 0)][:MAX_PAIRS]
    less = rows[(delta < 0)][::-1][:MAX_PAIRS]
    found = []
    for title, chosen, count in (
        ("Crowd each other more", more, int((delta > 0).sum())),
        ("Crowd each other less", less, int((delta < 0).sum())),
    ):
        grid = Grid(_PAIR_HEADS, tuple(_pair(columns, int(row)) for row in chosen), count)
        found.append((title, grid))
    return found


_PAIR_HEADS = tuple(
    map(
        Column,
        (
            "Classes",
            "Images",
            "Confused",
            "in the other",
            "Change (points)",
            "from, to",
            "",
            "CDNV",
            "in the other",
        ),
    )
)


def _pair(columns: Mapping[str, Any], row: int) -> tuple[Cell, ...]:
    names = f"{text(columns['class_a'][row])} / {text(columns['class_b'][row])}"
    low, high = (float(columns[name][row]) for name in ("low", "high"))
    ends = f"[{100 * low:+.1f}, {100 * high:+.1f}]" if np.isfinite([low, high]).all() else MISSING
    delta = float(columns["delta"][row])
    return (
        Cell(names, "", False),
        cell_of(int(columns["n"][row]), "images"),
        cell_of(float(columns["confused"][row]), "share"),
        cell_of(float(columns["confused_against"][row]), "share"),
        Cell(f"{100 * delta:+.1f}", str(delta), True),
        Cell(ends, "", False),
        Cell(str(columns["word"][row]) or MISSING, "", False),
        cell_of(float(columns["cdnv"][row])),
        cell_of(float(columns["cdnv_against"][row])),
    )


def encoders(made: SideBySide) -> Grid:
    """What each encoder is, and where its report lies."""
    heads = ("Encoder", "Model", "Architecture", "Features", "Images", "Fingerprint", "Report")
    rows = []
    for run in made.comparison.arms:
        facts = encoder_facts(made, run.arm)
        facts["fingerprint"] = str(facts["fingerprint"] or "")[:16] or None
        cells = [cell_of(None if value is None else value) for value in facts.values()]
        rows.append((Cell(text(run.arm), "", False), *cells[1:]))
    return Grid(tuple(map(Column, heads)), tuple(rows), len(rows))


def provenance(made: SideBySide) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the numbers depend on."""
    parts: dict[str, Mapping[str, Any]] = {"Comparison": made.comparison.config}
    for run in made.comparison.arms[:MAX_DETAILS]:
        parts[f"Encoder {text(run.arm)}"] = run.report.encoder
    first = made.comparison.arms[0].report
    parts |= {"Images": first.dataset, "Scored with": first.config, "Environment": first.environment}
    return [(title, flat(part)) for title, part in parts.items() if part]
