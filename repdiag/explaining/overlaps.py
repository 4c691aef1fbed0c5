"""What masks say of the heat maps of all evaluated samples."""

from __future__ import annotations

from functools import partial

import numpy as np

from repdiag.errors import DataError
from repdiag.explaining import targets
from repdiag.explaining.columns import judged
from repdiag.explaining.measuring import per_image
from repdiag.explaining.run import Run
from repdiag.explaining.statistics import Judge, PerImage
from repdiag.explaining.types import Overlaps, Region
from repdiag.heatmaps.masks import Masks
from repdiag.types import FloatArray, IntArray, Skipped


def _weigh(run: Run, at: IntArray) -> tuple[FloatArray, FloatArray]:
    """Weights of the discriminative and of as many random features of evaluated samples."""
    ws, kind = run.everyone, run.target.kind
    x = ws.x[at]
    chosen = targets.weights(kind, ws, x)
    seeds = run.config.seed * 1_000_003 + at
    return chosen, targets.random_weights(chosen, x, seeds, kind, ws)


def overlaps(run: Run, masks: Masks | None) -> tuple[Overlaps | Skipped, PerImage | None]:
    """What the masks say of all evaluated samples."""
    if masks is None:
        return Skipped("no masks were given (--masks)"), None
    ws = run.everyone
    ids = [str(name) for name in ws.ids]
    masked = len(set(ids) & set(masks.ids))
    if not masked:
        raise DataError(
            "No mask belongs to an evaluated sample",
            where=str(run.wanted.masks),
            do=f"Masks are matched by path or name; samples are called like '{ids[0]}'",
        )
    per, failed = per_image(
        run.heater,
        masks,
        ids,
        [run.index[name] for name in ids],
        partial(_weigh, run),
        judged(run.columns, len(ids)),
        run.wanted.threshold,
        run.wanted.draws,
        run.everyone.rng(61),
        run.progress,
    )
    judge = Judge.of(per, run.config.bootstrap, run.everyone.rng(62))
    notes = list(masks.notes)
    if failed:
        place, why = next(iter(failed.items()))
        notes.append(f"{len(failed):,} images could not be read again ({ids[place]}: {why}).")
    regions: list[Region] = [region for measure, region in per.chosen if measure == "mass"]
    maps = int(np.isfinite(per.chosen["mass", "core"]).sum()) if ("mass", "core") in per.chosen else 0
    if not maps:
        return Skipped("no evaluated sample has both a heat map and a core mask"), per
    found = Overlaps(
        masks.kind,
        str(run.wanted.masks),
        run.wanted.threshold,
        int(per.masked.sum()),
        maps,
        tuple(regions),
        judge.quantities(),
        judge.claims(),
        tuple(notes),
    )
    return found, per
