"""What the page's templates loop over: an explanation's parts, cut to a size that a page can hold, nothing computed.

Every cut is said on the page, and what is cut is whole in the files beside it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repdiag.explaining.outputs import pictures, words
from repdiag.explaining.outputs.tables import DESCRIPTIONS
from repdiag.explaining.types import Claim, Explained, Explanation, FeatureMaps, Tile
from repdiag.report.grids import Cell, cell_of, text
from repdiag.report.numbers import number
from repdiag.report.sections.downloads import File
from repdiag.report.sections.downloads import View as Downloads
from repdiag.report.sections.provenance import View as Provenance
from repdiag.report.sections.provenance import part
from repdiag.report.tables import TableFile
from repdiag.report.text import clean, shortened
from repdiag.types import Skipped

MOST_SAMPLES = 100
MOST_FEATURES = 24
MOST_BYTES = 4_000_000  # of all pictures of a page, before base64
SHORT = 34
LEVELS = {
    "holds": "good",
    "does not hold": "poor",
    "not decided": "undetermined",
    "not tested": "undetermined",
}


@dataclass
class Room:
    """How much of the page pictures have taken."""

    spent: int = 0
    left_out: int = 0

    def uri(self, content: bytes, kind: str) -> str | None:
        """`content` as a data URI, or None where there is no room."""
        if self.spent + len(content) > MOST_BYTES:
            self.left_out += 1
            return None
        self.spent += len(content)
        return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


@dataclass(frozen=True)
class Picture:
    """A tile: photograph and heat map as data URIs, outlines as paths, and both in words."""

    photo: str | None
    heat: str | None
    core: str
    spurious: str
    said: str
    none: str


@dataclass(frozen=True)
class Card:
    """One sample."""

    id: str
    short_id: str
    picture: Picture
    label: str | None
    prediction: str | None
    correct: bool | None
    note: str
    facts: tuple[tuple[str, Cell], ...]
    reasons: tuple[str, ...]
    summed: str


@dataclass(frozen=True)
class Shown:
    """An image of a feature's strip."""

    id: str
    picture: Picture
    label: str | None
    activation: str


@dataclass(frozen=True)
class Strip:
    """One of the top features."""

    title: str
    facts: tuple[str, ...]
    images: tuple[Shown, ...]


@dataclass(frozen=True)
class ClaimView:
    """A claim as a card."""

    said: str
    word: str
    level: str
    number: str
    interval: str
    meaning: str
    source: str


@dataclass(frozen=True)
class Page:
    """All lists of the page; `outlined` tells that some picture has a mask's outline."""

    cards: tuple[Card, ...]
    strips: tuple[Strip, ...]
    claims: tuple[ClaimView, ...]
    left_out: int
    outlined: bool


def page(found: Explanation) -> Page:
    """The page's lists; samples are served with pictures first."""
    room = Room()
    cards = tuple(_card(one, room) for one in found.samples[:MOST_SAMPLES])
    strips = tuple(_strip(one, room) for one in found.features[:MOST_FEATURES])
    claims = () if isinstance(found.overlaps, Skipped) else found.overlaps.claims
    outlined = any(card.picture.core or card.picture.spurious for card in cards)
    return Page(cards, strips, tuple(_claim(c) for c in claims), room.left_out, outlined)


def _picture(tile: Tile, room: Room) -> Picture:
    photo = None if tile.picture is None else room.uri(pictures.photograph(tile.picture), "jpeg")
    heat = None if tile.heat is None else room.uri(pictures.overlay(tile.heat), "png")
    return Picture(
        photo,
        heat,
        "" if tile.core is None else pictures.outline(tile.core),
        "" if tile.spurious is None else pictures.outline(tile.spurious),
        words.described(tile),
        tile.why_none,
    )


def _card(one: Explained, room: Room) -> Card:
    facts = [
        ("risk", one.risk, "share" if 0 <= one.risk <= 1 else ""),
        ("features", float(one.features), "features"),
        ("mIoU", one.overlap.get("iou_core", math.nan), ""),
        ("heat inside", one.overlap.get("mass_core", math.nan), "share"),
    ]
    return Card(
        text(one.id),
        shortened(clean(one.id), SHORT),
        _picture(one.tile, room),
        None if one.label is None else text(one.label),
        None if one.prediction is None else text(one.prediction),
        one.correct,
        _note(one),
        tuple((name, cell_of(value, unit)) for name, value, unit in facts if math.isfinite(value)),
        tuple(text(reason) for reason in one.reasons),
        words.summed(one),
    )


def _note(one: Explained) -> str:
    if not one.evaluated:
        return "of the train part: the probe learned from it"
    if one.rank is None:
        return "without a risk"
    asked = "asked for; " if one.asked else ""
    return f"{asked}{'riskiest' if one.rank == 1 else f'number {one.rank:,} by risk'}"


def _strip(one: FeatureMaps, room: Room) -> Strip:
    card = one.card
    facts = [f"{text(card.worth_name)}: {number(card.worth)}"]
    if math.isfinite(card.frequency):
        facts.append(f"stands out of {number(card.frequency, '%')}% of the images")
    if card.in_s is not None:
        facts.append("discriminative" if card.in_s else "not discriminative")
    images = tuple(
        Shown(text(tile.id), _picture(tile, room), None if label is None else text(label), number(value))
        for tile, label, value in zip(one.tiles, card.labels, card.activations, strict=True)
    )
    return Strip(f"Feature {card.feature}", tuple(facts), images)


def _claim(claim: Claim) -> ClaimView:
    interval = "" if claim.interval is None else f"[{claim.interval.low:+.3f}, {claim.interval.high:+.3f}]"
    return ClaimView(
        claim.said,
        claim.word,
        LEVELS[claim.word],
        "" if claim.value is None else f"{claim.value:+.3f}",
        interval,
        f"{words.begun(claim.what)}, over {words.counted(claim.n, 'image')}."
        if claim.interval is not None
        else claim.sentence,
        claim.source,
    )


def cut(shown: int, of: int, what: str) -> str:
    """ "The first 100 of 500 samples; explain.json has all.", or "" where nothing is cut."""
    return "" if shown >= of else f"The first {shown:,} of {words.counted(of, what)}; explain.json has all."


def provenance(found: Explanation) -> Provenance:
    """What the pictures and numbers depend on, as the report says it."""
    parts: dict[str, Mapping[str, Any]] = {
        "Heat maps": {
            "method": words.place(found),
            "explained": found.target.formula,
            "features chosen": found.target.source,
            "why these": found.target.why,
        },
        "Encoder": found.encoder,
        "Data": found.dataset,
        "Asked for": found.parameters,
        "Environment": found.environment,
        "Time in seconds": found.timing,
    }
    return Provenance(None, tuple(part(title, held) for title, held in parts.items()))


def downloads(written: Mapping[str, TableFile]) -> Downloads:
    """The files beside the page, and what of them it holds."""
    files = []
    for name, said in DESCRIPTIONS.items():
        known = written.get(name)
        rows = None if known is None or name.endswith(".json") else known.rows
        files.append(File(name, said, rows, None if known is None else known.enclosed))
    return Downloads(tuple(files))
