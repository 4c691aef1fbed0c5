"""What the page's templates loop over: an audit's parts, cut to a size that a page can hold, nothing computed.

Every cut is said on the page, and what is cut is whole in the files beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from repdiag.audits.types import Audit, Copies, CopyGroup, Group, Reviewed, Suspects
from repdiag.report.grids import Cell, cell_of, text
from repdiag.report.text import clean, shortened

MAX_CARDS = 600
MAX_GROUPS = 400  # rows of a table of groups
MAX_COPY_GROUPS = 60
MAX_MEMBERS = 12
MAX_SUSPECTS = 120
MAX_IMAGE_BYTES = 3_000_000  # thumbnails of one page, before base64
SHORT = 32


@dataclass
class Pictures:
    """JPEG bytes by id as data URIs, until the page holds as many as it can."""

    images: Mapping[str, bytes]
    spent: int = 0
    left_out: int = 0

    def uri(self, name: str) -> str | None:
        """The picture of a sample; None where there is none, or no room."""
        content = self.images.get(name)
        if content is None:
            return None
        if self.spent + len(content) > MAX_IMAGE_BYTES:
            self.left_out += 1
            return None
        self.spent += len(content)
        return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


@dataclass(frozen=True)
class Card:
    """One sample of the list."""

    id: str
    short_id: str
    rank: int
    image: str | None
    label: str | None
    prediction: str | None
    correct: bool | None
    facts: tuple[tuple[str, Cell], ...]
    reasons: tuple[str, ...]
    action: str
    pair: int
    cluster: int
    marks: str  # for the filter
    search: str


@dataclass(frozen=True)
class Section:
    """The cards of one class pair, or all of them where there are no pairs."""

    name: str
    number: int
    group: Group | None
    cards: tuple[Card, ...]
    said: str


@dataclass(frozen=True)
class CopyView:
    """A group of near-duplicates."""

    group: CopyGroup
    members: tuple[
        tuple[str, str, str | None, str | None, str, Cell], ...
    ]  # id, short id, image, label, split, cosine
    more: int


@dataclass(frozen=True)
class SuspectView:
    """A probable label error."""

    id: str
    short_id: str
    image: str | None
    label: str
    suggested: str
    facts: tuple[tuple[str, Cell], ...]
    by: str


@dataclass
class Page:
    """All lists of the page, with the pictures that fit on it."""

    sections: list[Section] = field(default_factory=list)
    copies: list[CopyView] = field(default_factory=list)
    suspects: list[SuspectView] = field(default_factory=list)
    pictures_left_out: int = 0


def page(audit: Audit, images: Mapping[str, bytes]) -> Page:
    """The page's lists; the list of images to review is served with pictures first."""
    pictures = Pictures(images)
    sections = _sections(audit, pictures)
    copies = [
        _copy(group, pictures)
        for group in (audit.copies.groups if isinstance(audit.copies, Copies) else ())[:MAX_COPY_GROUPS]
    ]
    found = (audit.suspects.found if isinstance(audit.suspects, Suspects) else ())[:MAX_SUSPECTS]
    suspects = [
        SuspectView(
            text(one.id),
            shortened(clean(one.id), SHORT),
            pictures.uri(one.id),
            text(one.label),
            text(one.suggested),
            tuple(
                (name, cell_of(value))
                for name, value in (
                    ("confidence", one.confidence),
                    ("class limit", one.limit),
                    ("given label", one.self_confidence),
                    ("others against", None if one.others is None else int(one.others)),
                )
                if value is not None and not (isinstance(value, float) and np.isnan(value))
            ),
            one.by,
        )
        for one in found
    ]
    return Page(sections, copies, suspects, pictures.left_out)


def shown_ids(audit: Audit) -> list[str]:
    """Ids of all samples that the page may show, each once."""
    ids = [one.id for one in audit.reviewed[:MAX_CARDS]]
    if isinstance(audit.copies, Copies):
        ids += [m.id for g in audit.copies.groups[:MAX_COPY_GROUPS] for m in g.members[:MAX_MEMBERS]]
    if isinstance(audit.suspects, Suspects):
        ids += [one.id for one in audit.suspects.found[:MAX_SUSPECTS]]
    return list(dict.fromkeys(ids))


def _sections(audit: Audit, pictures: Pictures) -> list[Section]:
    clusters = {group.cluster: number for number, group in enumerate(audit.clusters)}
    listed = audit.reviewed[:MAX_CARDS]
    uris = {one.id: pictures.uri(one.id) for one in listed}
    if not audit.pairs:
        cards = tuple(_card(one, uris, -1, clusters) for one in listed)
        return [Section("All", -1, None, cards, "")] if cards else []
    members: dict[str, list[Reviewed]] = {}
    for one in listed:
        members.setdefault(one.group, []).append(one)
    return [
        Section(
            text(group.name),
            number,
            group,
            tuple(_card(one, uris, number, clusters) for one in members[group.name]),
            _said(group),
        )
        for number, group in enumerate(audit.pairs)
        if group.name in members
    ]


def _said(group: Group) -> str:
    said = f"{group.samples:,} to review, of {group.evaluated:,} such images"
    if group.expected is not None:
        said += f"; {group.expected:.1f} errors expected"
    return said


def _card(
    one: Reviewed, uris: Mapping[str, str | None], pair: int, clusters: Mapping[int | None, int]
) -> Card:
    marks = ["wrong"] if one.correct is False else ["right"] if one.correct else ["unlabeled"]
    marks += ["suspect"] if one.suspect else []
    marks += ["copy"] if one.copies is not None else []
    facts = (
        ("risk", cell_of(one.risk)),
        ("confidence", cell_of(one.confidence)),
        ("Q-Score", cell_of(one.q_score)),
    )
    return Card(
        text(one.id),
        shortened(clean(one.id), SHORT),
        one.rank,
        uris[one.id],
        None if one.label is None else text(one.label),
        None if one.prediction is None else text(one.prediction),
        one.correct,
        tuple((name, cell) for name, cell in facts if cell.exact),
        tuple(text(reason) for reason in one.reasons),
        one.action.value,
        pair,
        clusters.get(one.cluster, -1),
        " ".join(marks),
        text(" ".join(v for v in (one.id, one.label, one.prediction) if v)).lower(),
    )


def _copy(group: CopyGroup, pictures: Pictures) -> CopyView:
    shown = group.members[:MAX_MEMBERS]
    return CopyView(
        group,
        tuple(
            (
                text(m.id),
                shortened(clean(m.id), SHORT),
                pictures.uri(m.id),
                None if m.label is None else text(m.label),
                m.split,
                Cell(f"{m.cosine:.5f}", str(m.cosine), True),
            )
            for m in shown
        ),
        len(group.members) - len(shown),
    )


def choices(groups: Iterable[Group]) -> list[tuple[int, str, int]]:
    """Number, name and count of each group for a drop-down list."""
    return [(number, text(group.name), group.samples) for number, group in enumerate(groups)]


def group_rows(groups: Sequence[Group]) -> list[tuple[int, Group, tuple[Cell, ...]]]:
    """The rows of a table of groups: number, group, and its cells in the order of `GROUP_HEADS`."""
    return [
        (
            number,
            group,
            (
                cell_of(group.samples),
                cell_of(group.evaluated),
                cell_of(group.wrong),
                cell_of(group.mean_risk),
                cell_of(group.expected),
            ),
        )
        for number, group in enumerate(groups[:MAX_GROUPS])
    ]


GROUP_HEADS = ("Review", "In all", "Wrong", "Mean risk", "Expected")
