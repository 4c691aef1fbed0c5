"""The UMAP map's data, small enough to sit inside the page: places in 16 bits, names by number."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.report.columns import judged, numeric
from repdiag.report.palette import OKABE_ITO, class_colors
from repdiag.report.text import clean, shortened
from repdiag.types import Report

MAX_POINTS = 10_000  # what a browser draws without a pause, and about 1 MB of page
MISSING = 0xFFFF  # the code of "no label", "no place" and of names beyond the 65,535th
NAME_LIMIT = 64  # characters of an id or a label that are shown


def map_data(report: Report) -> dict[str, Any] | None:
    """Points, names and values of the map (at most MAX_POINTS samples, evenly spaced), or None without one."""
    x, y = numeric(report.samples, "umap_x"), numeric(report.samples, "umap_y")
    if x is None or y is None:
        return None
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if placed.size == 0:
        return None
    rows = placed
    if placed.size > MAX_POINTS:
        rows = placed[np.linspace(0, placed.size - 1, MAX_POINTS).round().astype(np.int64)]
    columns = report.samples.columns
    names, codes = _names(report, rows)
    extent = max(float(np.ptp(x[rows])), float(np.ptp(y[rows]))) or 1.0
    data: dict[str, Any] = {
        "total": len(report.samples),
        "thinned": int(placed.size) > MAX_POINTS,
        "count": int(rows.size),
        "x": _pack((x[rows] - x[rows].min()) / extent * 65534),
        "y": _pack((y[rows].max() - y[rows]) / extent * 65534),
        "aspect": round(float(np.ptp(y[rows])) / (float(np.ptp(x[rows])) or 1.0), 4),
        "ids": [shortened(clean(str(name)), NAME_LIMIT) for name in columns["id"][rows]]
        if "id" in columns
        else [str(row) for row in rows],
        "names": names,
        "colors": class_colors(len(names)),
        "even": len(names) > len(OKABE_ITO),
        **codes,
    }
    if "correct" in columns:
        right, wrong = judged(columns["correct"][rows])
        data["correct"] = _pack(np.where(right, 1, np.where(wrong, 0, MISSING)))
    for name in ("risk", "q_score"):
        values = numeric(report.samples, name)
        if values is not None and np.isfinite(values[rows]).any():
            data[name] = [float(f"{v:.4g}") if np.isfinite(v) else None for v in values[rows]]
    return data


def _names(report: Report, rows: npt.NDArray[np.int64]) -> tuple[list[str], dict[str, str]]:
    """All names that labels and predictions of `rows` use, and for both the numbers of their names."""
    texts = {
        key: [None if value is None else clean(str(value)) for value in report.samples.columns[key][rows]]
        for key in ("label", "prediction")
        if key in report.samples.columns
    }
    used = {text for column in texts.values() for text in column if text is not None}
    known = [clean(str(name)) for name in report.classes.columns.get("class", ())]
    ordered = [name for name in known if name in used] + sorted(used - set(known))
    number = {name: i for i, name in enumerate(ordered[:MISSING])}
    number_of = {
        key: _pack(np.array([MISSING if text is None else number.get(text, MISSING) for text in column]))
        for key, column in texts.items()
    }
    return [shortened(name, NAME_LIMIT) for name in ordered[:MISSING]], number_of


def _pack(values: npt.NDArray[Any]) -> str:
    """Numbers from 0 to 65,535 as base64 of little-endian 16-bit integers."""
    return base64.b64encode(np.asarray(values).round().astype("<u2").tobytes()).decode("ascii")
