"""Heat maps of all evaluated images against their masks: one pass, memory for a few batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from repdiag.explaining.heating import Heater
from repdiag.explaining.statistics import Key, PerImage, mean_of_draws
from repdiag.explaining.types import Region
from repdiag.heatmaps.geometry import to_input, upsample
from repdiag.heatmaps.masks import Masks
from repdiag.heatmaps.overlap import overlap
from repdiag.kernels.rows import Doubles
from repdiag.types import FloatArray, IntArray, Progress

Planes = FloatArray
Weighing = Callable[[IntArray], tuple[FloatArray, FloatArray]]
"""Places of evaluated images (B,) -> weights of the discriminative and of the random features, (B, D) each."""


@dataclass
class _Found:
    """Columns over N images, filled while images pass."""

    n: int
    draws: int
    chosen: dict[Key, Doubles] = field(default_factory=dict)
    random: dict[Key, Doubles] = field(default_factory=dict)
    others: dict[Key, Doubles] = field(default_factory=dict)
    uniform: dict[Key, Doubles] = field(default_factory=dict)

    def column(self, table: dict[Key, Doubles], key: Key) -> Doubles:
        if key not in table:
            shape = (self.draws, self.n) if table is self.others else (self.n,)
            table[key] = np.full(shape, np.nan)
        return table[key]


@dataclass
class _Ring:
    """The masks of the last `draws` images and the heat maps of the first: image i meets the mask of image i - d.

    Images come in random order, so that draw d is a shift by d of a random permutation: every mask is used once in each
    draw, as in a permutation, and memory holds `draws` of them. The first images meet the last masks at the end.
    """

    draws: int
    last: dict[Region, Planes] = field(default_factory=dict)
    order: list[IntArray] = field(default_factory=list)
    first: Planes | None = None
    first_at: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))


def per_image(
    heater: Heater,
    masks: Masks,
    ids: Sequence[str],
    indices: Sequence[int],
    weigh: Weighing,
    correct: Doubles,
    threshold: float,
    draws: int,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[PerImage, dict[int, str]]:
    """Overlaps of the N images `ids`, the images `indices` of the source, with `masks`.

    Also answers why some images could not be read, by place. Two forward and backward passes per image that has a mask.
    Each draw of the null pairs every heat map with another image's mask, a shift of one random order.
    """
    known = set(masks.ids)
    order = rng.permutation(np.array([i for i, name in enumerate(ids) if name in known], np.int64))
    found = _Found(len(ids), min(draws, max(0, order.size - 1)))
    ring = _Ring(found.draws)
    failed: dict[int, str] = {}
    done = 0
    for batch in heater.batches([indices[i] for i in order]):
        failed |= {int(order[place]): why for place, why in batch.failed.items()}
        done += len(batch.at) + len(batch.failed)
        pairs = [masks.get(ids[order[p]], size) for p, size in zip(batch.at, batch.sizes, strict=True)]
        fine = [k for k, pair in enumerate(pairs) if pair is not None]
        if fine:
            at = order[[batch.at[k] for k in fine]]
            planes = _planes([pairs[k] for k in fine], heater)
            chosen, random = weigh(at)
            pixels = batch.pixels[fine]
            maps = upsample(heater.maps(pixels, chosen), heater.size)
            control = upsample(heater.maps(pixels, random), heater.size)
            _own(found, at, maps, control, planes, threshold, masks.kind)
            _shifted(found, ring, at, maps, planes, threshold, masks.kind)
        progress("explain against masks", done, order.size)
    _closed(found, ring, threshold, masks.kind)
    swapped = _swapped(found, ring)
    return PerImage(found.chosen, found.random, found.others, swapped, found.uniform, correct), failed


def _planes(pairs: Sequence[object], heater: Heater) -> dict[Region, Planes]:
    """Masks as the encoder saw the images, (B, S, S) each; empty for an image without a region that others have."""
    how = heater.encoder.preprocessing
    made: dict[Region, Planes] = {}
    for region in ("core", "spurious"):
        given = [getattr(pair, region) for pair in pairs]
        if all(mask is None for mask in given):
            continue
        empty = np.zeros((how.size, how.size), np.float32)
        made[region] = np.stack([empty if mask is None else to_input(mask, how) for mask in given])
    return made


def _own(
    found: _Found,
    at: IntArray,
    maps: Planes,
    control: Planes,
    planes: dict[Region, Planes],
    threshold: float,
    kind: str,
) -> None:
    """The heat maps against the images' own masks."""
    for table, heat in ((found.chosen, maps), (found.random, control)):
        for key, values in _overlaps(heat, planes, threshold, kind).items():
            found.column(table, key)[at] = values
    for region, mask in planes.items():
        there = (mask >= 0.5).any((1, 2))
        share = np.where(there, (mask >= 0.5).mean((1, 2)), np.nan)
        found.column(found.uniform, ("iou", region))[at] = share
        area = np.where(mask.any((1, 2)), mask.mean((1, 2), dtype=np.float64), np.nan)
        found.column(found.uniform, ("mass", region))[at] = area
        if region == "core" and kind == "boxes":
            found.column(found.uniform, ("mass", "background"))[at] = 1 - area


def _overlaps(heat: Planes, planes: dict[Region, Planes], threshold: float, kind: str) -> dict[Key, Doubles]:
    """mIoU's terms and masses of heat maps (B, S, S) with masks of each region."""
    made: dict[Key, Doubles] = {}
    for region, mask in planes.items():
        seen = overlap(heat, mask, threshold)
        made["iou", region] = np.asarray(seen.iou, np.float64)
        made["mass", region] = np.asarray(seen.mass, np.float64)
    if kind == "boxes" and ("mass", "core") in made:
        made["mass", "background"] = 1 - made["mass", "core"]
    return made


def _shifted(
    found: _Found,
    ring: _Ring,
    at: IntArray,
    maps: Planes,
    planes: dict[Region, Planes],
    threshold: float,
    kind: str,
) -> None:
    """The heat maps of a batch against the masks that came 1 to `draws` images before."""
    ring.order.append(at)
    if ring.draws == 0:
        return
    blank = np.zeros((ring.draws, *maps.shape[1:]), np.float32)
    regions: list[Region] = list(dict.fromkeys([*ring.last, *planes]))
    joined = {
        region: np.concatenate([ring.last.get(region, blank), planes.get(region, np.zeros_like(maps))])
        for region in regions
    }
    for d in range(1, ring.draws + 1):
        begin = ring.draws - d
        earlier = {region: masks[begin : begin + at.size] for region, masks in joined.items()}
        for key, values in _overlaps(maps, earlier, threshold, kind).items():
            found.column(found.others, key)[d - 1, at] = values
    ring.last = {region: masks[-ring.draws :] for region, masks in joined.items()}
    if ring.first_at.size < ring.draws:
        missing = ring.draws - ring.first_at.size
        ring.first = maps[:missing] if ring.first is None else np.concatenate([ring.first, maps[:missing]])
        ring.first_at = np.concatenate([ring.first_at, at[:missing]])


def _closed(found: _Found, ring: _Ring, threshold: float, kind: str) -> None:
    """The first images against the last masks: image number i meets, in draw d > i, the mask i - d from the end."""
    if ring.first is None:
        return
    for d in range(1, ring.draws + 1):
        count = min(d, ring.first_at.size)
        begin = ring.draws - d
        last = {region: masks[begin : begin + count] for region, masks in ring.last.items()}
        for key, values in _overlaps(ring.first[:count], last, threshold, kind).items():
            found.column(found.others, key)[d - 1, ring.first_at[:count]] = values


def _swapped(found: _Found, ring: _Ring) -> dict[Key, Doubles]:
    """Each image's mask against the heat maps of the images 1 to `draws` after it, which met it: mean over them."""
    if not ring.order:
        return {}
    order = np.concatenate(ring.order)
    made: dict[Key, Doubles] = {}
    for key, table in found.others.items():
        turned = np.full_like(table, np.nan)
        for d in range(1, len(table) + 1):
            turned[d - 1, order] = table[d - 1, np.roll(order, -d)]
        made[key] = mean_of_draws(turned)
    return made
