"""What the page of a comparison loops over: its parts, cut to a size that a page can hold, nothing computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from repdiag.comparison.types import Difference, Effect
from repdiag.comparison.words import ENCODER_EFFECTS
from repdiag.report import comparison_marks as marks
from repdiag.report.columns import Column
from repdiag.report.comparison_arms import Arm, Reading
from repdiag.report.comparison_words import (
    EFFECT_CLASSES,
    EFFECT_WORDS,
    delta_text,
    effect_counts,
    effect_word,
    interval_words,
    method_words,
    points,
    range_words,
)
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.numbers import ARROWS, WORDS, exact, interval_text, null_text, number

MAX_ABLATED = 8  # quantities in the table of all arms


@dataclass(frozen=True)
class Answer:
    """The verdict as a sentence, and the numbers behind it."""

    word: str
    kind: str
    sentence: str
    reason: str
    cards: tuple[Card, ...]
    metric: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Card:
    """One arm's number in the primary measure."""

    arm: Arm
    value: str
    exact: str
    unit: str
    about: str
    null: str
    strip: Markup


@dataclass(frozen=True)
class Change:
    """A difference between two arms as the page shows it."""

    of: str
    to: str
    delta: str
    exact: str
    unit: str
    interval: str
    method: str
    word: str
    kind: str


def change(d: Difference, fixed: bool = False) -> Change:
    """The view of one difference."""
    return Change(
        text(d.subject),
        text(d.against),
        delta_text(d),
        exact(d.delta),
        points(d.unit),
        interval_words(d),
        method_words(d.interval),
        effect_word(d, fixed),
        EFFECT_CLASSES[d.effect],
    )


def answer(reading: Reading) -> Answer:
    """The verdict; cards and changes only where a primary measure decides."""
    comparison = reading.comparison
    subject, against = text(comparison.subject), text(comparison.against)
    sentence = {
        Effect.HELPED: f"{subject} helped.",
        Effect.NO_EVIDENCE: f"No evidence that {subject} helped.",
        Effect.HURT: f"{subject} hurt.",
    }[comparison.effect]
    if reading.fixed:
        sentence = {
            Effect.HELPED: f"{subject} is better than {against}.",
            Effect.NO_EVIDENCE: f"{subject} and {against} are not told apart.",
            Effect.HURT: f"{subject} is worse than {against}.",
        }[comparison.effect]
    metric = reading.primary
    cards: tuple[Card, ...] = ()
    changes: tuple[Change, ...] = ()
    title = ""
    if metric is not None:
        found = [(arm, reading.results(arm, metric)) for arm in reading.main]
        found = [(arm, results) for arm, results in found if results]
        limits = (
            marks.number_limits([one for _, results in found for one in results]) if found else (0.0, 1.0)
        )
        cards = tuple(_card(reading, arm, results, metric, limits) for arm, results in found)
        changes = tuple(change(d, reading.fixed) for d in reading.pairs(metric))
        title = next(d.title for d in comparison.differences if d.metric == metric)
    return Answer(
        (ENCODER_EFFECTS if reading.fixed else EFFECT_WORDS)[comparison.effect],
        EFFECT_CLASSES[comparison.effect],
        sentence,
        text(comparison.reason),
        cards,
        title,
        changes,
    )


def _card(
    reading: Reading,
    arm: Arm,
    results: Sequence[tuple[int | None, Any]],
    metric: str,
    limits: tuple[float, float],
) -> Card:
    unit = _unit(reading, metric)
    value = reading.value(arm, metric)
    if len(results) == 1:
        only = results[0][1]
        about = interval_text(only.interval, unit, only.value)
    else:
        about = range_words(results, unit)
    shown = number(value, unit) + ("%" if unit in ("share", "%") else "")
    words = "" if unit in ("share", "%") else unit
    nulls = [null_text(result.null, unit, result.value) for _, result in results]
    return Card(
        arm, shown, exact(value), words, about, nulls[0], marks.number_strip(results, arm.mark, limits, unit)
    )


def _unit(reading: Reading, metric: str) -> str:
    return next((d.unit for d in reading.comparison.differences if d.metric == metric), "")


@dataclass(frozen=True)
class Line:
    """One metric: in the forest, and in the table of all."""

    metric: str
    title: str
    family: str
    meaning: str
    arrow: str
    arrow_words: str
    primary: bool
    change: Change | None
    forest: Markup
    values: tuple[Cell, ...]
    dots: Markup


def lines(reading: Reading) -> list[Line]:
    """All metrics with a difference between subject and control, in the order of the reports."""
    pair = (reading.comparison.subject, reading.comparison.against)
    found = ((metric, reading.difference(metric, *pair)) for metric in reading.metrics)
    return [_line(reading, metric, d) for metric, d in found if d is not None]


def _line(reading: Reading, metric: str, d: Difference) -> Line:
    spec = reading.specs.get(metric)
    runs = [(arm, [r for _, r in reading.results(arm, metric)]) for arm in reading.main]
    if reading.fixed and spec is not None:
        dots = marks.values_in_range(spec, [(arm, results[0]) for arm, results in runs if results])
    else:
        dots = marks.seed_dots([(arm, [r.value for r in results]) for arm, results in runs], d.unit)
    return Line(
        metric,
        text(d.title),
        _family(reading.family(metric)),
        "" if spec is None else spec.meaning,
        ARROWS[d.direction],
        WORDS[d.direction],
        d.primary,
        change(d, reading.fixed),
        marks.forest(reading.pairs(metric), reading),
        tuple(cell_of(reading.value(arm, metric), d.unit) for arm in reading.main),
        dots,
    )


def _family(name: str) -> str:
    return text(name.replace("_", " ").capitalize())


@dataclass(frozen=True)
class Family:
    """The metrics of one family: those to look at, and those that say nothing."""

    name: str
    counts: str
    shown: tuple[Line, ...]
    folded: tuple[Line, ...]


def families(reading: Reading, every: Sequence[Line]) -> list[Family]:
    """Lines by family; folded away are those that are no headline and show no effect."""
    order = list(dict.fromkeys(line.family for line in every))
    ranked = sorted(every, key=lambda line: order.index(line.family))
    pair = (reading.comparison.subject, reading.comparison.against)
    telling = set(reading.telling)
    made = []
    for name, group in groupby(ranked, key=lambda line: line.family):
        members = list(group)
        differences = [d for line in members if (d := reading.difference(line.metric, *pair)) is not None]
        counts = effect_counts(differences, reading.fixed)
        shown = tuple(line for line in members if line.metric in telling)
        made.append(
            Family(name, counts, shown, tuple(line for line in members if line.metric not in telling))
        )
    return made


@dataclass(frozen=True)
class Ablation:
    """All arms in the measure that tells most, and a table of further quantities."""

    title: str
    arrow: str
    arrow_words: str
    rows: tuple[tuple[Arm, str, Change | None, Markup], ...]
    grid: Grid
    marks: tuple[tuple[str, ...], ...]  # class names of the grid's cells


def ablation(reading: Reading) -> Ablation | None:
    """Every arm against the same control, where there are more than the three."""
    if not (reading.others or (reading.fixed and len(reading.arms) > 2)) or not reading.telling:
        return None
    metric = reading.primary or reading.telling[0]
    first = next(d for d in reading.comparison.differences if d.metric == metric)
    rows = tuple(
        (arm, value, None if d is None else change(d, reading.fixed), drawn)
        for arm, value, d, drawn in marks.arms_forest(metric, reading)
    )
    chosen = reading.telling[:MAX_ABLATED]
    heads = [Column("Encoder" if reading.fixed else "Arm")]
    cells: list[list[Cell]] = [[Cell(arm.title, "", False)] for arm in reading.arms]
    classes: list[list[str]] = [[""] for _ in reading.arms]
    for name in chosen:
        d = next(one for one in reading.comparison.differences if one.metric == name)
        unit = f" ({d.unit})" if d.unit not in ("", "share", "%") else ""
        heads.append(Column(f"{d.title}{unit} {ARROWS[d.direction]}"))
        for i, arm in enumerate(reading.arms):
            cells[i].append(cell_of(reading.value(arm, name), d.unit))
            own = reading.difference(name, arm.name, reading.comparison.against)
            classes[i].append("" if own is None else EFFECT_CLASSES[own.effect])
    grid = Grid(tuple(heads), tuple(map(tuple, cells)), len(cells))
    return Ablation(
        text(first.title),
        ARROWS[first.direction],
        WORDS[first.direction],
        rows,
        grid,
        tuple(map(tuple, classes)),
    )
