"""Pairs of classes that crowd each other, as cards: images from their border, and what was measured of the pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repdiag.exhibits import PairPictures
from repdiag.report.grids import Cell, cell_of, text
from repdiag.report.numbers import is_missing
from repdiag.report.pictures import Album
from repdiag.types import Report

MAX_CARDS = 10
MAX_SIDE = 4  # images of each class
MAX_BYTES = 600_000  # of all images, before base64

FACTS = (
    ("nearer", "of its images lie nearest to the other's center"),
    ("confused", "of its images are taken for the other by a linear probe"),
)
"""Shares that pairs.csv has both ways (`nearer_ab`, `nearer_ba`)."""

NUMBERS = (
    ("distance", "distance of the centers"),
    ("cdnv", "CDNV"),
    ("directional_cdnv", "CDNV along the line between them"),
)


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with its sample's id."""

    id: str
    uri: str


@dataclass(frozen=True)
class PairCard:
    """Two classes, images of each (those nearest the border first), and the row of pairs.csv.

    `shares` are (a's, what it is, b's), `numbers` (name, value) of the pair as a whole.
    """

    a: str
    b: str
    a_images: tuple[Picture, ...]
    b_images: tuple[Picture, ...]
    shares: tuple[tuple[Cell, str, Cell], ...]
    numbers: tuple[tuple[str, Cell], ...]


def pair_cards(report: Report) -> tuple[tuple[PairCard, ...], int]:
    """The cards, in the order in which the pairs were chosen, and how many pictures had no room.

    Without chosen pairs the cards are of the first rows of pairs.csv.
    """
    columns = report.pairs.columns
    rows: dict[tuple[str, str], int] = {}
    if len(report.pairs):
        names = zip(columns["class_a"], columns["class_b"], strict=True)
        rows = {(str(a), str(b)): at for at, (a, b) in enumerate(names)}
    chosen: Sequence[PairPictures] = report.exhibits.pairs[:MAX_CARDS]
    if not chosen:
        chosen = [PairPictures(a, b, (), ()) for a, b in list(rows)[:MAX_CARDS]]
    album = Album(report.thumbnails, MAX_BYTES)
    made = tuple(_card(pair, rows, columns, album) for pair in chosen)
    return made, album.refused


def _side(album: Album, ids: Sequence[str]) -> tuple[Picture, ...]:
    pictures = ((name, album.uri(name)) for name in ids[:MAX_SIDE])
    return tuple(Picture(text(name), uri) for name, uri in pictures if uri is not None)


def _card(
    pair: PairPictures,
    rows: Mapping[tuple[str, str], int],
    columns: Mapping[str, Any],
    album: Album,
) -> PairCard:
    ab, ba = "ab", "ba"
    row = rows.get((pair.class_a, pair.class_b))
    if row is None:  # pairs.csv has them the other way round
        row, ab, ba = rows.get((pair.class_b, pair.class_a)), ba, ab

    def value(name: str) -> Any:
        return columns[name][row] if row is not None and name in columns else None

    shares = tuple(
        (cell_of(value(f"{name}_{ab}"), "share"), words, cell_of(value(f"{name}_{ba}"), "share"))
        for name, words in FACTS
        if not (is_missing(value(f"{name}_{ab}")) and is_missing(value(f"{name}_{ba}")))
    )
    numbers = tuple((words, cell_of(value(name))) for name, words in NUMBERS if not is_missing(value(name)))
    sides = _side(album, pair.a_ids), _side(album, pair.b_ids)
    return PairCard(text(pair.class_a), text(pair.class_b), *sides, shares, numbers)
