"""Who gained and who lost: classes by their change of accuracy, and single images that turned right or wrong."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from repdiag.report import comparison_marks as marks
from repdiag.report.columns import Column, numeric
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_words import signed
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.numbers import exact
from repdiag.report.text import clean, shortened

MOST = 6  # classes that are drawn on either side
MAX_CLASSES = 2000
MAX_CHANGED = 150  # images of either kind
MAX_IMAGE_BYTES = 1_000_000  # thumbnails of the page, before base64


@dataclass(frozen=True)
class ClassChange:
    """One class whose accuracy moved."""

    name: str
    delta: str
    exact: str
    interval: str
    lane: Markup


@dataclass(frozen=True)
class Classes:
    """The classes that lost and gained most, and all of them."""

    hurt: tuple[ClassChange, ...]
    helped: tuple[ClassChange, ...]
    grid: Grid
    decided: tuple[int, int]  # whose interval lies below and above zero


def classes(reading: Reading) -> Classes | None:
    """The page's view of the class table, None where nothing was compared by class."""
    table = reading.comparison.classes
    delta = numeric(table, "delta")
    if delta is None or not len(table):
        return None
    nothing = np.full(delta.size, np.nan)
    low, high = (
        found if (found := numeric(table, name)) is not None else nothing for name in ("low", "high")
    )
    known = np.flatnonzero(np.isfinite(delta))
    order = known[np.argsort(delta[known], kind="stable")]
    worst, best = order[delta[order] < 0][:MOST], order[::-1][delta[order[::-1]] > 0][:MOST]
    shown = np.concatenate([worst, best])
    ends = np.abs(np.concatenate([delta[shown], low[shown], high[shown]]))
    most = marks.round_up(1.05 * float(np.nanmax(ends)) if np.isfinite(ends).any() else 0.0)

    def one(row: int) -> ClassChange:
        interval = ""
        if np.isfinite([low[row], high[row]]).all():
            interval = f"[{signed(low[row], 'share')}, {signed(high[row], 'share')}]"
        return ClassChange(
            shortened(clean(str(table.columns["class"][row])), 40),
            signed(float(delta[row]), "share"),
            exact(delta[row]),
            interval,
            marks.class_lane(float(delta[row]), float(low[row]), float(high[row]), most),
        )

    decided = int((high < 0).sum()), int((low > 0).sum())
    return Classes(tuple(map(one, worst)), tuple(map(one, best)), _grid(reading, order), decided)


def _grid(reading: Reading, order: npt.NDArray[np.int64]) -> Grid:
    """All classes, those that lost most first; with more than MAX_CLASSES as many from either end."""
    columns = reading.comparison.classes.columns
    names = {"class": "Class", "n": "Images"}
    names |= {f"accuracy:{arm.name}": arm.title for arm in reading.arms}
    names |= {"delta": "Change", "low": "from", "high": "to"}
    chosen = [name for name in names if name in columns]
    rest = np.setdiff1d(np.arange(len(reading.comparison.classes)), order)
    order = np.concatenate([order, rest])
    if order.size > MAX_CLASSES:
        order = np.concatenate([order[: MAX_CLASSES // 2], order[-(MAX_CLASSES // 2) :]])
    rows = tuple(tuple(_cell(name, columns[name][row]) for name in chosen) for row in order)
    return Grid(tuple(Column(names[name]) for name in chosen), rows, len(reading.comparison.classes))


def _cell(name: str, value: object) -> Cell:
    cell = cell_of(value, "samples" if name == "n" else "share" if name != "class" else "")
    if name in ("delta", "low", "high") and cell.exact:
        return Cell(signed(float(cell.exact), "share"), cell.exact, True)
    return cell


@dataclass(frozen=True)
class Balance:
    """How many images turned against another arm."""

    against: str
    wrong: int
    right: int


@dataclass(frozen=True)
class Image:
    """One image that turned."""

    picture: str | None  # a data URI
    id: str
    short_id: str
    label: str
    turned: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Changed:
    """The images that turned, most decided first, and how many there are in all."""

    balance: tuple[Balance, ...]
    against: str
    heads: tuple[str, ...]
    images: tuple[Image, ...]
    total: int


def changed(reading: Reading) -> Changed | None:
    """The page's view of newly wrong and newly right images, None without labels."""
    table = reading.comparison.samples
    sides = [arm.name for arm in reading.main if f"newly_wrong:{arm.name}" in table.columns]
    sides.sort(key=lambda name: name != reading.comparison.against)
    if not sides:
        return None
    flags = {side: _flags(reading, side) for side in sides}
    balance = tuple(Balance(text(side), int(w.sum()), int(r.sum())) for side, (w, r) in flags.items())
    wrong, right = flags[sides[0]]
    shares = _by_arm(reading, "correct")
    scores = _by_arm(reading, "q_score")
    one, other = shares.get(reading.comparison.subject), shares.get(sides[0])
    moved = np.zeros(len(table)) if one is None or other is None else np.nan_to_num(np.abs(one - other))
    rows: list[int] = []
    for flag in (wrong, right):
        found = np.flatnonzero(flag)
        rows += found[np.argsort(-moved[found], kind="stable")[:MAX_CHANGED]].tolist()
    pictures = _pictures(reading, [str(table.columns["id"][row]) for row in rows])
    heads = [f"right {arm.title}" for arm in reading.main if arm.name in shares]
    heads += [f"Q-Score {arm.title}" for arm in reading.main if arm.name in scores]
    labels = table.columns.get("label")
    images = []
    for row in rows:
        cells = [
            _answer(float(shares[arm.name][row]), len(arm.runs)) for arm in reading.main if arm.name in shares
        ]
        cells += [cell_of(column[row]) for column in scores.values()]
        identity = str(table.columns["id"][row])
        images.append(
            Image(
                pictures.get(identity),
                text(identity),
                shortened(clean(identity), 40),
                "" if labels is None or labels[row] is None else text(labels[row]),
                "newly wrong" if wrong[row] else "newly right",
                "hurt" if wrong[row] else "helped",
                tuple(cells),
            )
        )
    return Changed(
        balance,
        text(sides[0]),
        tuple(heads),
        tuple(images),
        int(wrong.sum() + right.sum()),
    )


def _by_arm(reading: Reading, kind: str) -> dict[str, npt.NDArray[np.float64]]:
    """The columns `kind` of the sample table by arm, for those of the main arms that have one."""
    table = reading.comparison.samples
    found = {arm.name: numeric(table, f"{kind}:{arm.name}") for arm in reading.main}
    return {name: column for name, column in found.items() if column is not None}


def _answer(share: float, runs: int) -> Cell:
    """ "2 of 3" runs that are right; a word where there is one."""
    if not np.isfinite(share):
        return cell_of(None)
    shown = f"{share * runs:.0f} of {runs}" if runs > 1 else "right" if share > 0.5 else "wrong"
    return Cell(shown, exact(share), True)


def _flags(reading: Reading, side: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    columns = reading.comparison.samples.columns
    wrong, right = (
        np.array(
            [v is not None and v == v and bool(v) for v in columns[f"newly_{kind}:{side}"]], dtype=np.bool_
        )
        if f"newly_{kind}:{side}" in columns
        else np.zeros(len(reading.comparison.samples), dtype=np.bool_)
        for kind in ("wrong", "right")
    )
    return wrong, right


def _pictures(reading: Reading, ids: list[str]) -> Mapping[str, str]:
    """The thumbnails that the reports have of these images, as data URIs, up to a total size."""
    known: dict[str, bytes] = {}
    for run in reading.comparison.arms:
        known |= run.report.thumbnails
    found: dict[str, str] = {}
    spent = 0
    for identity in ids:
        if identity in known and spent + len(known[identity]) <= MAX_IMAGE_BYTES:
            spent += len(known[identity])
            found[identity] = "data:image/jpeg;base64," + base64.b64encode(known[identity]).decode("ascii")
    return found
