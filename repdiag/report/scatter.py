"""The map's data, small enough to sit inside the page: two flat pictures of the same samples and what is known of each.

At 10,000 samples places, categories and magnitudes take 27 KB a column, less than 300 KB in all; ids and the sprite
of small pictures come on top.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import Sprite, placed_rows, shown_rows
from repdiag.report.columns import judged, numeric
from repdiag.report.packed import MISSING, STEPS, codes, front_coded, magnitudes, whole_or_shortened
from repdiag.report.palette import class_colors
from repdiag.report.text import clean
from repdiag.types import Report

NAME_LIMIT = 64  # characters of an id or a name where all of them together are too long for the page
ID_BUDGET = 1_000_000  # bytes of the page that ids may take before they are cut
NAME_BUDGET = 300_000  # the same for the names of classes
STILL_POINTS = 1500  # dots of the picture that is shown without JavaScript

Places = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """One flat picture: places (n,) from 0 to STEPS, equal scales on both axes, `y` counted downward as screens do."""

    key: str
    title: str
    x: Places
    y: Places


@dataclass(frozen=True)
class Scatter:
    """The samples at `rows` of the report (n of `total`, `placed` of which have a place) on one or two planes."""

    rows: npt.NDArray[np.int64]
    placed: int
    total: int
    planes: tuple[Plane, ...]

    @property
    def thinned(self) -> bool:
        """Whether samples that have a place were left out."""
        return self.rows.size < self.placed


def scatter(report: Report) -> Scatter | None:
    """What the map shows, or None where no sample has a place.

    Both pictures show the same samples; a plane on which one of them has no place is left out.
    """
    placed = placed_rows(report.samples.columns)
    if placed.size == 0:
        return None
    rows = shown_rows(placed)
    planes = []
    for key, title in (("umap", "UMAP"), ("pca", "PCA")):
        x, y = numeric(report.samples, f"{key}_x"), numeric(report.samples, f"{key}_y")
        if x is not None and y is not None and (np.isfinite(x[rows]) & np.isfinite(y[rows])).all():
            planes.append(_plane(key, title, x[rows], y[rows]))
    return Scatter(rows, int(placed.size), len(report.samples), tuple(planes))


def _plane(key: str, title: str, x: Places, y: Places) -> Plane:
    x, y = x - x.min(), y.max() - y
    extent = max(float(x.max()), float(y.max())) or 1.0
    x, y = x / extent * STEPS, y / extent * STEPS
    return Plane(key, title, x + (STEPS - x.max()) / 2, y + (STEPS - y.max()) / 2)


def map_data(report: Report, shown: Scatter) -> dict[str, Any]:
    """Places, ids, names and values of the samples on the map, for the page's script."""
    rows, columns = shown.rows, report.samples.columns
    data: dict[str, Any] = {
        "count": int(rows.size),
        "total": shown.total,
        "planes": [{"key": p.key, "title": p.title, "x": codes(p.x), "y": codes(p.y)} for p in shown.planes],
        "ids": front_coded([clean(i) for i in _ids(report, rows)], ID_BUDGET, NAME_LIMIT),
        **_names(report, rows),
    }
    if "correct" in columns:
        right, wrong = judged(columns["correct"][rows])
        if right.any() or wrong.any():
            data["correct"] = codes(np.where(right, 1, np.where(wrong, 0, MISSING)))
    cluster = numeric(report.samples, "cluster")
    if cluster is not None and np.isfinite(cluster[rows]).any():
        data["cluster"] = _clusters(cluster[rows])
    for name in ("risk", "q_score"):
        values = numeric(report.samples, name)
        packed = None if values is None else magnitudes(values[rows])
        if packed is not None:
            data[name] = packed
    return data


def sprite_data(report: Report, shown: Scatter) -> dict[str, Any] | None:
    """The sprite and the tile of each sample on the map (MISSING: none), or None without a sprite.

    `tiles` is left out where tile i is sample i's, which is how they are made.
    """
    sprite = report.exhibits.sprite
    if sprite is None or not sprite.ids:
        return None
    ids = _ids(report, shown.rows)
    packed: dict[str, Any] = {
        "tile": sprite.tile,
        "columns": sprite.columns,
        "jpeg": base64.b64encode(sprite.jpeg).decode("ascii"),
    }
    if ids != list(sprite.ids[: len(ids)]):
        packed["tiles"] = codes(_tiles(sprite, ids))
    return packed


def _tiles(sprite: Sprite, ids: list[str]) -> npt.NDArray[np.int64]:
    number = {name: tile for tile, name in enumerate(sprite.ids[:MISSING])}
    return np.array([number.get(name, MISSING) for name in ids], dtype=np.int64)


def still(report: Report, shown: Scatter, side: int = 500) -> list[tuple[Plane, list[tuple[str, str]]]]:
    """Each plane as SVG paths of dots, (color, path data) per color, in a square of `side`: at most STILL_POINTS
    samples, evenly spaced. Eight classes at most are colored; more colors would need a legend to be read."""
    some = np.linspace(0, shown.rows.size - 1, min(STILL_POINTS, shown.rows.size)).round().astype(np.int64)
    names = _names(report, shown.rows[some])
    colors = names["colors"] if len(names["names"]) <= 8 else []
    packed = names.get("label")
    label = (
        np.full(some.size, MISSING)
        if packed is None or not colors
        else np.frombuffer(base64.b64decode(packed), "<u2")
    )
    drawn = []
    for plane in shown.planes:
        x, y = (np.rint(8 + v[some] / STEPS * (side - 16)).astype(np.int64) for v in (plane.x, plane.y))
        paths = [
            (
                colors[code] if code != MISSING else "#8a8f98",
                "".join(f"M{a},{b}h0" for a, b in zip(x[label == code], y[label == code], strict=True)),
            )
            for code in np.unique(label)
        ]
        drawn.append((plane, paths))
    return drawn


def _ids(report: Report, rows: npt.NDArray[np.int64]) -> list[str]:
    column = report.samples.columns.get("id")
    return [str(row) for row in rows] if column is None else [str(name) for name in column[rows]]


def _names(report: Report, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """All names that labels and predictions of `rows` use, their colors, and for both the numbers of their names."""
    texts = {
        key: [None if value is None else clean(str(value)) for value in report.samples.columns[key][rows]]
        for key in ("label", "prediction")
        if key in report.samples.columns
    }
    used = {text for column in texts.values() for text in column if text is not None}
    known = [clean(str(name)) for name in report.classes.columns.get("class", ())]
    ordered = [name for name in known if name in used] + sorted(used - set(known))
    number = {name: i for i, name in enumerate(ordered[:MISSING])}
    packed = {
        key: codes(np.array([MISSING if text is None else number.get(text, MISSING) for text in column]))
        for key, column in texts.items()
        if any(text is not None for text in column)
    }
    names, cut = whole_or_shortened(ordered[:MISSING], NAME_BUDGET, NAME_LIMIT)
    return {"names": names, "names_cut": cut, "colors": class_colors(len(names)), **packed}


def _clusters(cluster: npt.NDArray[np.float64]) -> dict[str, Any]:
    known = np.isfinite(cluster)
    numbers, place = np.unique(cluster[known], return_inverse=True)
    packed = np.full(cluster.size, MISSING)
    packed[known] = np.minimum(place, MISSING)
    return {
        "codes": codes(packed),
        "names": [f"{number:g}" for number in numbers[:MISSING]],
        "colors": class_colors(min(numbers.size, MISSING)),
    }
