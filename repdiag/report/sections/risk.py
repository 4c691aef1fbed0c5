"""Which samples a linear classifier will get wrong, how far that can be trusted, and the riskiest with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from repdiag.report import risk_sentences
from repdiag.report.curves import reliability, selective
from repdiag.report.figure import Figure
from repdiag.report.figures import q_score_histogram, risk_predictors
from repdiag.report.grids import Cell, cell_of, text
from repdiag.report.pictures import Album
from repdiag.report.sections.section import Section, Written
from repdiag.report.text import clean, sentence, shortened
from repdiag.types import Report

MAX_BYTES = 250_000  # of the 24 pictures together: ten thousand each, several times what one weighs
STATES = {True: "right", False: "wrong", None: ""}


@dataclass(frozen=True)
class Card:
    """One of the riskiest samples; `state` is "right", "wrong", or "" where no label tells."""

    id: str
    short_id: str
    image: str | None  # a data URI
    label: str | None
    prediction: str | None
    state: str
    facts: tuple[tuple[str, Cell], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """What the risk is, whether it was checked, the curves, and the riskiest images."""

    lead: str
    caution: str  # "" where the risk was validated
    figures: tuple[Figure, ...]
    cards: tuple[Card, ...]
    total: int
    refused: int

    def count(self, state: str) -> int:
        """How many of the cards are right, or wrong."""
        return sum(card.state == state for card in self.cards)


DRAWN = (
    (selective, risk_sentences.set_aside),
    (reliability, risk_sentences.as_probability),
    (risk_predictors, risk_sentences.predictors),
    (q_score_histogram, risk_sentences.q_score),
)
"""Figures in reading order, each with the function that says in words what it shows."""


def view(report: Report, written: Written) -> View | None:
    """None where there is no risk and nothing to draw."""
    made = ((draw(report), words) for draw, words in DRAWN)
    figures = tuple(replace(figure, said=words(report)) for figure, words in made if figure is not None)
    album = Album(report.thumbnails, MAX_BYTES)
    cards = riskiest(report, album)
    if not (figures or cards):
        return None
    return View(
        risk_sentences.lead(report),
        risk_sentences.caution(report),
        figures,
        cards,
        len(report.samples),
        album.refused,
    )


def riskiest(report: Report, album: Album) -> tuple[Card, ...]:
    """The cards, in the order of the exhibits: highest risk first."""
    wanted = {risky.id for risky in report.exhibits.riskiest}
    ids = report.samples.columns.get("id", ())
    place = {str(name): row for row, name in enumerate(ids) if name in wanted} if wanted else {}
    return tuple(
        _card(report, place[risky.id], risky.reasons, album)
        for risky in report.exhibits.riskiest
        if risky.id in place
    )


def _card(report: Report, row: int, reasons: Sequence[str], album: Album) -> Card:
    columns = report.samples.columns

    def value(name: str) -> Any:
        return columns[name][row] if name in columns else None

    def named(name: str) -> str | None:
        found = value(name)
        return None if found is None else shortened(clean(str(found)), 80)

    correct = value("correct")
    identity = str(columns["id"][row])
    return Card(
        text(identity),
        shortened(clean(identity), 60),
        album.uri(identity),
        named("label"),
        named("prediction"),
        STATES[None if correct is None else bool(correct)],
        tuple(
            (title, cell_of(value(name)))
            for name, title in (("risk", "risk"), ("q_score", "Q-Score"))
            if name in columns
        ),
        tuple(text(sentence(reason)) for reason in reasons),
    )


SECTION = Section("risk", "Risk", view, ("figures.css", "risk.css"))
