"""What the page shows beside numbers, chosen from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from repdiag.exhibits import Exhibits
from repdiag.showing import features
from repdiag.showing.matrix import class_matrix
from repdiag.showing.pairs import pair_pictures
from repdiag.showing.pictures import read_pictures
from repdiag.showing.riskiest import risky_samples
from repdiag.types import Progress, ThumbnailReader, silent
from repdiag.workspace import Workspace


def exhibits(
    ws: Workspace,
    samples: Mapping[str, npt.NDArray[Any]],
    pairs: Mapping[str, npt.NDArray[Any]],
    read: ThumbnailReader | None = None,
    progress: Progress = silent,
) -> tuple[Exhibits, Mapping[str, bytes]]:
    """All that is chosen from the measured, but for advice; and the galleries' pictures as JPEG by id.

    `samples` and `pairs` are the columns of the report's tables (`pairs` empty: no pictures of pairs). `read` gives
    small pictures of samples; None where there are no images. ScoreConfig's `thumbnails` bounds how many are shown.
    """
    crowded = pair_pictures(ws, pairs) if ws.labeled else ()
    cards = features.cards(ws)
    risky = risky_samples(ws, samples, "samples" if read is None else "images")
    said = features.note(ws)
    gallery = [one.id for one in risky]
    gallery += [name for pair in crowded for name in (*pair.a_ids, *pair.b_ids)]
    gallery += [name for card in cards for name in card.ids]
    small, sprite = read_pictures(samples, gallery, read, ws.config.thumbnails, progress)
    found = Exhibits(
        matrix=class_matrix(ws),
        pairs=crowded,
        features=cards,
        riskiest=risky,
        sprite=sprite,
        notes={} if said is None else {"features": said},
    )
    return found, small
