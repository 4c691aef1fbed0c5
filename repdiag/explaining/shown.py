"""Samples and features that are shown: which, their pictures, heat maps, masks, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repdiag.explaining import columns as cells
from repdiag.explaining import targets
from repdiag.explaining.heating import Heater, colored
from repdiag.explaining.run import Run
from repdiag.explaining.types import Explained, FeatureMaps, Summed, Tile
from repdiag.heatmaps.geometry import to_input
from repdiag.heatmaps.masks import Masks
from repdiag.showing.features import cards as top_features
from repdiag.showing.features import note
from repdiag.showing.riskiest import reasons
from repdiag.types import FloatArray, Table

MOST_SUMMED = 12
"""Features of a sample that are listed by number; the heat map sums all of them."""

NO_FEATURE = "no discriminative feature stands out: no heat map"
NO_MAP = "no place of the picture speaks for these features: no heat map"


@dataclass(frozen=True)
class Chosen:
    """A sample to explain: its row in the embedding set, its place among the evaluated (None: of the train part)."""

    row: int
    at: int | None
    asked: bool
    rank: int | None


def chosen(run: Run, asked: Sequence[int]) -> list[Chosen]:
    """Those named, in the order given, then the riskiest that are not among them."""
    columns = run.columns
    ids = [str(name) for name in columns["id"]]
    place = {name: i for i, name in enumerate(ids)}
    risk = np.asarray(columns["risk"], np.float64)
    order = np.argsort(-np.where(np.isfinite(risk), risk, -np.inf), kind="stable")
    rank = {int(row): i + 1 for i, row in enumerate(order) if np.isfinite(risk[row])}
    found = [
        Chosen(row, place.get(name), True, rank.get(place.get(name, -1)))
        for row, name in ((row, run.embeddings.ids[row]) for row in asked)
    ]
    seen = {one.row for one in found}
    of_embedding = {name: row for row, name in enumerate(run.embeddings.ids)}
    for at in order[: run.wanted.count].tolist():
        row = of_embedding[ids[at]]
        if np.isfinite(risk[at]) and row not in seen:
            found.append(Chosen(row, at, False, rank[at]))
    return found


def explained(run: Run, picked: Sequence[Chosen], table: Table, masks: Masks | None) -> tuple[Explained, ...]:
    """The chosen samples with their heat maps."""
    if not picked:
        return ()
    kind, columns = run.target.kind, run.columns
    weights = targets.weights(kind, run.everyone, run.unit([one.row for one in picked]))
    ids = [run.embeddings.ids[one.row] for one in picked]
    shown = tiles(
        run.heater,
        ids,
        [run.index[name] for name in ids],
        weights,
        masks,
        (NO_FEATURE, NO_MAP),
        lambda done: run.progress("explain samples", done, len(ids)),
    )
    shown_at = np.array([one.at for one in picked if one.at is not None], np.int64)
    why = reasons(run.ws, columns, shown_at) if shown_at.size else {}
    overlap = [n for n in table.columns if n.startswith(("iou_", "mass_", "area_"))]
    row_of = {str(name): i for i, name in enumerate(table.columns["id"])}
    out = []
    for one, tile, w in zip(picked, shown, weights, strict=True):
        at = one.at
        out.append(
            Explained(
                tile,
                run.label(one.row) if at is None else cells.text(columns, "label", at),
                None if at is None else cells.text(columns, "prediction", at),
                None if at is None else cells.flag(columns, at),
                cells.number(columns, "risk", at),
                cells.number(columns, "confidence", at),
                cells.number(columns, "q_score", at),
                at is not None,
                one.asked,
                one.rank,
                int(np.count_nonzero(w)),
                _summed(run, w, one.row),
                () if at is None else why.get(at, ()),
                {n: cells.number(table.columns, n, row_of[tile.id]) for n in overlap},
            )
        )
    return tuple(out)


def _summed(run: Run, weights: FloatArray, row: int) -> tuple[Summed, ...]:
    """The features of a heat map with the largest |h_ij|, largest first."""
    values = np.asarray(run.embeddings.features[row], np.float64)
    used = np.flatnonzero(weights)
    order = used[np.argsort(-np.abs(values[used]), kind="stable")][:MOST_SUMMED]
    return tuple(Summed(int(j), int(weights[j]), float(values[j])) for j in order)


def features(run: Run) -> tuple[tuple[FeatureMaps, ...], dict[str, str]]:
    """The top features with heat maps on the images that activate them most."""
    if not run.wanted.features:
        return (), {}
    cards = top_features(run.ws, run.wanted.features)
    said = note(run.ws)
    made = []
    for done, card in enumerate(cards):
        weights = np.zeros((len(card.ids), run.embeddings.dim), np.float32)
        weights[:, card.feature] = 1
        shown = tiles(
            run.heater,
            card.ids,
            [run.index[name] for name in card.ids],
            weights,
            None,
            (NO_MAP, NO_MAP),
        )
        made.append(FeatureMaps(card, tuple(shown)))
        run.progress("explain features", done + 1, len(cards))
    return tuple(made), {} if said is None else {"features": said}


def tiles(
    heater: Heater,
    ids: Sequence[str],
    indices: Sequence[int],
    weights: FloatArray,
    masks: Masks | None,
    why_none: tuple[str, str],
    told: Callable[[int], None] = lambda done: None,
) -> list[Tile]:
    """A tile for each of `ids`: picture, heat map for its row of `weights` (n, D), and mask where there is one.

    `why_none` says what a row of zeros and a map of zeros mean.
    """
    made: dict[int, Tile] = {}
    how = heater.encoder.preprocessing
    for batch in heater.batches(indices, min(heater.limit, 32)):
        for place, why in batch.failed.items():
            made[place] = Tile(ids[place], None, None, f"the image could not be read again: {why}")
        at = list(batch.at)
        maps = heater.maps(batch.pixels, weights[at])
        for k, place in enumerate(at):
            pair = masks.get(ids[place], batch.sizes[k]) if masks is not None else None
            core, spurious = (
                None if pair is None or plane is None else np.asarray(to_input(plane, how)) >= 0.5
                for plane in (getattr(pair, "core", None), getattr(pair, "spurious", None))
            )
            none = "" if maps[k].any() else why_none[1] if weights[place].any() else why_none[0]
            heat = None if none else maps[k]
            made[place] = Tile(ids[place], colored(batch.pixels[k]), heat, none, core, spurious)
        told(len(made))
    return [made[place] for place in range(len(ids))]
