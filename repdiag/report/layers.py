"""Several layers of one encoder side by side: a table for the terminal, a file, and a folder for each report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from repdiag.files import atomic
from repdiag.lines import GAP, Writer
from repdiag.report.numbers import MISSING, number, quantity
from repdiag.report.tables import write_csv
from repdiag.types import MetricResult, MetricSpec, Report, Table

FILE = "layers.csv"
MOST = 6  # numbers of a layer where none of its metrics is a headline


@dataclass(frozen=True)
class LayerRow:
    """What is kept of one layer's report: its values (None: skipped), not its samples."""

    layer: str
    folder: str
    pooling: str
    features: int
    values: dict[str, float | None]
    specs: tuple[MetricSpec, ...]
    warnings: tuple[str, ...] = ()


def layer_row(layer: str, folder: str, pooling: str, report: Report) -> LayerRow:
    """The row of one report."""
    values = {
        m.spec.name: m.outcome.value if isinstance(m.outcome, MetricResult) else None
        for m in report.measurements
    }
    specs = tuple(m.spec for m in report.measurements)
    features = int(report.dataset["features"])
    return LayerRow(layer, folder, pooling, features, values, specs, report.warnings)


def folders(layers: Iterable[str]) -> dict[str, str]:
    """A folder name for each layer: its own, without what file systems do not like, and never the same twice."""
    found: dict[str, str] = {}
    taken = {FILE}
    for layer in layers:
        name = base = re.sub(r"[^\w.+-]", "_", layer, flags=re.ASCII)[:100].lstrip(".-") or "layer"
        number = 2
        while name.lower() in taken:  # some file systems do not tell upper from lower case
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        found[layer] = name
    return found


def write_layers(rows: Sequence[LayerRow], out: Path) -> Path:
    """Write layers.csv: one row per layer, a column for every metric, empty where it was skipped."""
    columns = {
        "layer": np.array([row.layer for row in rows], dtype=object),
        "folder": np.array([row.folder for row in rows], dtype=object),
        "pooling": np.array([row.pooling for row in rows], dtype=object),
        "features": np.array([row.features for row in rows], dtype=np.int64),
    }
    for spec in rows[0].specs:
        values = [row.values[spec.name] for row in rows]
        columns[spec.name] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    with atomic(out / FILE) as part, part.open("wb") as file:
        write_csv(Table(columns), file)
    return out / FILE


def render_layers(rows: Sequence[LayerRow], console: Console, full: bool = False) -> None:
    """Print a line per layer with its headline numbers (`full`: all), or the first of those asked for; then warnings.

    Where the columns do not fit: a line per number and a column per layer; else all numbers in lines under their layer.
    """
    writer = Writer(console)
    specs = rows[0].specs if full else [spec for spec in rows[0].specs if spec.headline]
    specs = list(specs) or list(rows[0].specs)[:MOST]
    heads = [f"{spec.title}{_unit(spec)} {writer.arrows[spec.direction]}" for spec in specs]
    cells = [[writer.safe(_cell(row.values[spec.name], spec)) for spec in specs] for row in rows]
    names = [writer.safe(row.layer) for row in rows]
    by_layer = [("layer", "features", *heads)]
    by_layer += [(n, str(r.features), *c) for n, r, c in zip(names, rows, cells, strict=True)]
    shown = [[writer.safe(cell) for cell in line] for line in by_layer]
    turned = [list(column) for column in zip(*shown, strict=True)]
    if not (_table(shown, writer) or _table(turned, writer)):
        for name, row, values in zip(names, rows, cells, strict=True):
            writer.line(Text(name, "bold").append(f" {row.features} features", "dim not bold"), further=2)
            for head, value in zip(heads, values, strict=True):
                writer.line(f"{head} {value}", indent=2, further=4)
    warned: dict[str, list[str]] = {}
    for row in rows:
        for warning in row.warnings:
            warned.setdefault(warning, []).append(row.layer)
    said = [
        warning if len(layers) == len(rows) else f"{', '.join(layers)}: {warning}"
        for warning, layers in warned.items()
    ]
    writer.warnings(said, "the reports")


def _unit(spec: MetricSpec) -> str:
    return f" ({spec.unit})" if spec.unit not in ("", "share", "%") else ""


def _cell(value: float | None, spec: MetricSpec) -> str:
    if value is None:
        return MISSING
    return quantity(value, spec.unit) if spec.unit in ("share", "%") else number(value, spec.unit)


def _table(lines: list[list[str]], writer: Writer) -> bool:
    """Print `lines`, the first of them heads, in columns; nothing, and False, where these do not fit."""
    head, *others = lines
    first = max(cell_len(line[0]) for line in lines)
    widths = [first, *(_width(head[i], [line[i] for line in others]) for i in range(1, len(head)))]
    if sum(widths) + GAP * (len(widths) - 1) > writer.width:
        return False
    right = frozenset(range(1, len(widths)))
    writer.row([Text(cell, "dim") for cell in head], widths, right)
    for name, *values in others:
        writer.row([Text(name, "bold"), *map(Text, values)], widths, right)
    return True


def _width(head: str, values: Sequence[str]) -> int:
    """Of a column: its numbers in one piece, and its head in a few lines of whole words."""
    return max(*(cell_len(part) for part in head.split()), *map(cell_len, values), min(cell_len(head), 12))
