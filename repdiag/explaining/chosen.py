"""Samples that are shown: their pictures, heat maps, masks, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repdiag.explaining.heating import Heater, colored
from repdiag.explaining.types import Tile
from repdiag.heatmaps.geometry import to_input
from repdiag.heatmaps.masks import Masks
from repdiag.types import FloatArray


@dataclass(frozen=True)
class Chosen:
    """A sample to explain: its row in the embedding set, its place among the evaluated (None: of the train part)."""

    row: int
    at: int | None
    asked: bool
    rank: int | None


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
