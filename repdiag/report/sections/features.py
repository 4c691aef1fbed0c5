"""Which features carry the meaning, how far the space can be compressed, and what the top features respond to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from repdiag.exhibits import FeatureCard
from repdiag.report.activation import activation_curve, curve_of
from repdiag.report.columns import FEATURE_COLUMNS, column_of, numeric
from repdiag.report.curves import compression
from repdiag.report.figure import Figure, value_of
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.numbers import interval_text, quantity
from repdiag.report.pictures import Album
from repdiag.report.sections.section import Section, Written
from repdiag.report.text import clean, sentence, shortened
from repdiag.types import Interval, Report, Skipped

MAX_FEATURES = 100  # rows of the table on the page
NAMED = 3  # classes that a card's make-up names after the first


ORDERS = (
    ("activation_frequency", "that stand out most often"),
    ("adapted_frequency", "that stand out most often (adapted rule)"),
    ("std", "of the largest spread"),
)
"""Columns by which the table is sorted, the first that says anything, and what its first rows are then."""


@dataclass(frozen=True)
class Top:
    """One of the images that activate a feature most."""

    id: str
    short_id: str
    image: str | None  # a data URI
    label: str | None
    activation: Cell


@dataclass(frozen=True)
class Card:
    """One of the top features: `makeup` are (class, images) from the most frequent class on, `more` further classes."""

    feature: int
    worth: Cell
    frequency: Cell | None
    in_s: bool | None
    tops: tuple[Top, ...]
    makeup: tuple[tuple[str, int], ...]
    more: int

    @property
    def pictured(self) -> bool:
        """Whether any of its images is shown."""
        return any(top.image for top in self.tops)


@dataclass(frozen=True)
class View:
    """Curves; why one is missing; the cards, what they are ranked by and what chance gives; the table; the rank."""

    figures: tuple[Figure, ...]
    no_curve: str
    rank: str
    cards: tuple[Card, ...]
    worth_name: str
    null: str
    refused: int
    table: Grid | None
    table_said: str
    sorted_by: str  # title of the column that the table is sorted by, from its highest value down


def view(report: Report, written: Written) -> View | None:
    """None where nothing about features is known."""
    kept = compression(report)
    made = (activation_curve(report), None if kept is None else replace(kept, said=kept_words(report)))
    figures = tuple(figure for figure in made if figure is not None)
    album = Album(report.thumbnails)
    cards = tuple(_card(found, album) for found in report.exhibits.features)
    table, said, order = _table(report)
    if not (figures or cards or table):
        return None
    return View(
        figures,
        no_curve(report),
        _rank(report),
        cards,
        text(report.exhibits.features[0].worth_name) if cards else "",
        text(sentence(report.exhibits.notes.get("features", ""))),
        album.refused,
        table,
        said,
        order,
    )


def no_curve(report: Report) -> str:
    """Why there is no activation curve by Q-Score's rule (the paper's); "" where there is one or nothing is known."""
    measured = report.measurement("activation_frequency")
    if measured is None or not isinstance(measured.outcome, Skipped):
        return ""
    found = curve_of(report)
    words = (
        f"There is no activation curve by the rule of Q-Score: {text(measured.outcome.reason).rstrip('.')}."
    )
    adapted = report.value("qscore_signed_empty_rate")
    parameters: Mapping[str, Any] = {} if adapted is None else adapted.parameters
    count, mean = value_of(parameters.get("features_in_s")), value_of(parameters.get("mean_frequency"))
    if np.isfinite([count, mean]).all():
        words += (
            f" By our rule for features of either sign, {count:,.0f} of {len(report.features):,} features are"
            f" discriminative, and a feature stands out in {quantity(mean, '%')} of the images on average"
            + (", as the curve below shows." if found is not None else ".")
        )
    return words


def kept_words(report: Report) -> str:
    """What the smallest subset saves and costs, on images that had no part in its choice; "" where not measured."""
    found = report.value("smallest_subset")
    rows = [] if found is None else [row for row in found.table if row.get("method") == "nested"]
    whole = next((row for row in rows if row.get("kept") == 1.0), None)
    chosen = next((row for row in rows if row.get("chosen")), None)
    if found is None or whole is None or chosen is None:
        return ""
    full, accuracy = value_of(whole.get("accuracy")), value_of(chosen.get("accuracy"))
    if _by_chance(report):
        return (
            f"With all features the probe's accuracy ({quantity(full, 'share')}) is not above chance, so that fewer"
            " features losing nothing says nothing."
        )
    of = value_of(whole.get("features"))
    if chosen is whole:
        return f"No smaller set of the {of:,.0f} features stays within one point of the accuracy of all."
    ends = value_of(chosen.get("low")), value_of(chosen.get("high"))
    told = quantity(accuracy, "share")
    if np.isfinite(ends).all():
        told += " " + interval_text(Interval(*ends, "", 0), "share", accuracy)
    size = value_of(chosen.get("features"))
    keep = "lose nothing of" if accuracy >= full else f"keep {quantity(accuracy / full, 'share')} of"
    words = (
        f"{size:,.0f} of {of:,.0f} features {keep} the accuracy: {told} beside {quantity(full, 'share')} with all,"
        " on images that had no part in the choice."
    )
    return words + _against_random(report, value_of(chosen.get("kept")))


def _by_chance(report: Report) -> bool:
    """Whether the full probe is not shown to beat chance."""
    probe = report.value("linear_probe_accuracy")
    if probe is None or probe.null is None:
        return False
    return (probe.value if probe.interval is None else probe.interval.low) <= probe.null.mean


def _against_random(report: Report, kept: float) -> str:
    """Whether activation frequency chose better than chance would have."""
    found = report.value("compression")
    row = (
        next((r for r in found.table if value_of(r.get("kept")) == kept), None) if found is not None else None
    )
    gain, low = (
        (float("nan"),) * 2 if row is None else (value_of(row.get("gain")), value_of(row.get("gain_low")))
    )
    high = float("nan") if row is None else value_of(row.get("gain_high"))
    if not np.isfinite([gain, low, high]).all():
        return ""
    points = f"{100 * abs(gain):.1f} points"
    if low > 0:
        return f" As many features picked at random lose {points} more."
    if high < 0:
        return f" As many features picked at random do better, by {points}."
    return " As many features picked at random are not shown to do worse."


def _rank(report: Report) -> str:
    """How many dimensions are in use, "" where not measured."""
    found = report.value("rankme")
    if found is None:
        return ""
    d = len(report.features) or found.parameters.get("features")
    return f"{quantity(found.value)}" + (f" of {d:,} dimensions" if d else " dimensions")


def _card(found: FeatureCard, album: Album) -> Card:
    labels = [None if label is None else shortened(clean(str(label)), 40) for label in found.labels]
    makeup = Counter(label for label in labels if label is not None).most_common()
    tops = tuple(
        Top(text(i), shortened(clean(i), 34), album.uri(i), label, cell_of(float(activation)))
        for i, label, activation in zip(found.ids, labels, found.activations, strict=True)
    )
    frequency = None if not np.isfinite(found.frequency) else cell_of(float(found.frequency), "%")
    return Card(
        found.feature,
        cell_of(float(found.worth)),
        frequency,
        found.in_s,
        tops,
        tuple(makeup[: 1 + NAMED]),
        len(makeup[1 + NAMED :]),
    )


def _any(report: Report, name: str) -> bool:
    values = numeric(report.features, name)
    return values is not None and bool(values.any())


def _table(report: Report) -> tuple[Grid | None, str, str]:
    """The features that stand out most often (of signed ones those of the largest spread), and how they were cut."""
    columns = report.features.columns
    name, words = next(((n, w) for n, w in ORDERS if _any(report, n)), ORDERS[-1])
    values = numeric(report.features, name)
    if values is None:
        return None, "", ""
    total = len(report.features)
    rows = np.argsort(-values, kind="stable")[:MAX_FEATURES]
    names = [key for key in FEATURE_COLUMNS if key in columns]
    names += [key for key in columns if key not in FEATURE_COLUMNS]
    heads = tuple(column_of(key, FEATURE_COLUMNS) for key in names)
    cells = tuple(
        tuple(cell_of(columns[key][row], head.unit) for key, head in zip(names, heads, strict=True))
        for row in rows
    )
    said = (
        f"All {total:,} features"
        if total <= MAX_FEATURES
        else f"The {len(rows)} of {total:,} features {words}"
    )
    return Grid(heads, cells, total), said, heads[names.index(name)].title


SECTION = Section("features", "Features", view, ("figures.css", "features.css"), ("tables.js",))
