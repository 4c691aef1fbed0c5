"""Several layers of one encoder side by side: a table for the terminal, a file, and a folder for each report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from repdiag.files import atomic
from repdiag.report.numbers import ARROWS, MISSING, number, quantity
from repdiag.report.tables import write_csv
from repdiag.report.terminal import MAX_WARNINGS
from repdiag.report.text import visible
from repdiag.types import Direction, MetricResult, MetricSpec, Report, Table

FILE = "layers.csv"
_ASCII_ARROWS = {Direction.HIGHER: "^", Direction.LOWER: "v", Direction.NEITHER: "."}
_SHORT = str.maketrans({"²": "2", "–": "-"})


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


NAME_WIDTH = 24  # of a layer's name that is not folded, as long as the numbers find room


def render_layers(rows: Sequence[LayerRow], console: Console) -> None:
    """Print a line per layer with its headline numbers, or the first of those asked for; then the warnings."""
    ascii_only = console.options.ascii_only
    arrows = _ASCII_ARROWS if ascii_only else ARROWS
    specs = [spec for spec in rows[0].specs if spec.headline] or list(rows[0].specs)[:6]

    def safe(text: str) -> Text:
        return Text(visible(text.translate(_SHORT) if ascii_only else text, console.encoding))

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    longest = max(len(row.layer) for row in rows)
    grid.add_column("layer", overflow="fold", min_width=min(longest, NAME_WIDTH))
    grid.add_column("features", justify="right")
    for spec in specs:
        unit = f" ({spec.unit})" if spec.unit not in ("", "share", "%") else ""
        grid.add_column(safe(f"{spec.title}{unit} {arrows[spec.direction]}"), justify="right")
    for row in rows:
        cells = []
        for spec in specs:
            value = row.values[spec.name]
            text = quantity(value, spec.unit) if spec.unit in ("share", "%") else number(value, spec.unit)
            cells.append(safe(MISSING if value is None else text))
        grid.add_row(safe(row.layer), str(row.features), *cells)
    console.print(grid)
    warned: dict[str, list[str]] = {}
    for row in rows:
        for warning in row.warnings:
            warned.setdefault(warning, []).append(row.layer)
    if warned:
        console.print("\nWarnings", style="bold yellow")
    for warning, layers in list(warned.items())[:MAX_WARNINGS]:
        where = "" if len(layers) == len(rows) else f"{', '.join(layers)}: "
        console.print(safe(f"- {where}{warning}"))
    if len(warned) > MAX_WARNINGS:
        console.print(f"- and {len(warned) - MAX_WARNINGS} more in the reports")
