"""Means over images with intervals and nulls, and the claims that they decide. Arrays in, quantities out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from repdiag.explaining.types import Claim, Features, Group, Measure, Quantity, Region
from repdiag.kernels import resample
from repdiag.kernels.rows import Doubles
from repdiag.types import BoolArray, Interval, Null

FEWEST = 10
"""Images below which a mean has no interval and decides nothing. Ours."""

KALIBHAT = "Kalibhat et al. 2024, arXiv 2203.01881v6"
OURS = "ours: a control"
METHOD = "bootstrap over images, percentiles"

Key = tuple[Measure, Region]
CORE: Key = ("iou", "core")
SPURIOUS: Key = ("iou", "spurious")


@dataclass(frozen=True)
class PerImage:
    """What overlap gave for each of N images; NaN where there is no heat map or no mask.

    `chosen` are the heat maps of the discriminative features, `random` those of as many random ones, both (N,).
    `others` (draws, N) are the chosen ones against other images' masks, `swapped` (N,) the image's own mask against
    other images' chosen ones (mean over the draws: how easy its object is to hit). `uniform` (N,) is what a heat map
    that is the same everywhere would get. `correct` (N,) is 1, 0, or NaN where it is not known. Regions without masks
    are absent.
    """

    chosen: Mapping[Key, Doubles]
    random: Mapping[Key, Doubles]
    others: Mapping[Key, Doubles]
    swapped: Mapping[Key, Doubles]
    uniform: Mapping[Key, Doubles]
    correct: Doubles

    @property
    def masked(self) -> BoolArray:
        """Images that have a mask (N,)."""
        return (
            np.any([np.isfinite(v) for v in self.uniform.values()], axis=0)
            if self.uniform
            else self.correct > 2
        )

    def group(self, name: Group) -> BoolArray:
        """The images of a group (N,)."""
        if name == "all":
            return np.ones(self.correct.size, bool)
        return np.asarray(self.correct == (1 if name == "correct" else 0))


@dataclass(frozen=True)
class Judge:
    """Makes quantities and claims of one `PerImage` under one set of bootstrap draws (B, N)."""

    per: PerImage
    draws: resample.Counts

    @classmethod
    def of(cls, per: PerImage, bootstrap: int, rng: np.random.Generator) -> Judge:
        """Draws of images, of the correct and of the misclassified as many as there are."""
        groups = np.where(np.isfinite(per.correct), per.correct, 2).astype(np.int64)
        return cls(per, resample.stratified_counts(groups, bootstrap, rng))

    def _interval(self, n: int, replicates: Doubles) -> Interval | None:
        ends = resample.percentile_interval(replicates) if n >= FEWEST else None
        return None if ends is None else Interval(*ends, METHOD, len(self.draws))

    def quantity(self, measure: Measure, region: Region, group: Group, features: Features) -> Quantity | None:
        """The mean over a group with its interval; None where no image of it has a heat map and a mask.

        The null's mean and standard deviation are over draws; each draw is the group's mean with other images' masks.
        """
        key = (measure, region)
        table = self.per.chosen if features == "discriminative" else self.per.random
        if key not in table:
            return None
        inside = self.per.group(group)
        values = np.where(inside, table[key], np.nan)
        known = np.isfinite(values)
        n = int(known.sum())
        if not n:
            return None
        null = None
        if features == "discriminative" and key in self.per.others:
            drawn = _means(np.where(known, self.per.others[key], np.nan))
            if drawn.size:
                null = Null("the mask of another image", *resample.summary(drawn), int(drawn.size))
        return Quantity(
            measure,
            region,
            group,
            features,
            float(values[known].mean()),
            n,
            self._interval(n, resample.weighted_means(values, self.draws)),
            null,
            float(np.mean(self.per.uniform[key][known])) if key in self.per.uniform else None,
        )

    def quantities(self) -> tuple[Quantity, ...]:
        """All that can be measured: mIoU, then mass; in each region the groups, then the control."""
        groups: tuple[Group, ...] = ("all", "correct", "misclassified")
        wanted: list[tuple[Measure, Region, Group, Features]] = []
        for key in sorted(self.per.chosen, key=lambda key: key[0]):  # iou before mass, regions as they come
            wanted += [(*key, group, "discriminative") for group in groups]
            wanted.append((*key, "all", "random"))
        found = (self.quantity(*one) for one in wanted)
        return tuple(q for q in found if q is not None)

    def paired(self, a: Doubles, b: Doubles) -> tuple[float | None, Interval | None, int]:
        """Mean of a - b over the images that have both, its interval, and how many they are."""
        both = a - b
        known = np.isfinite(both)
        n = int(known.sum())
        if not n:
            return None, None, 0
        return float(both[known].mean()), self._interval(n, resample.weighted_means(both, self.draws)), n

    def between(self, values: Doubles) -> tuple[float | None, Interval | None, int]:
        """Mean over the correct minus mean over the misclassified, its interval, and how many they are."""
        parts = [np.where(self.per.group(g), values, np.nan) for g in ("correct", "misclassified")]
        sizes = [int(np.isfinite(part).sum()) for part in parts]
        if not min(sizes):
            return None, None, 0
        right, wrong = (resample.weighted_means(part, self.draws) for part in parts)
        value = float(np.nanmean(parts[0]) - np.nanmean(parts[1]))
        return value, self._interval(min(sizes), right - wrong), sum(sizes)

    def claims(self) -> tuple[Claim, ...]:
        """The paper's two claims and our controls, each held to its interval."""
        per, core = self.per, CORE
        made = [
            self._claim(
                "above-other-masks",
                "Heat maps lie on the own image's object more than on where objects are in other images",
                OURS,
                "mIoU_core minus the same with other images' masks",
                self.paired(per.chosen[core], mean_of_draws(per.others[core]))
                if core in per.others
                else None,
                "there are no other images' masks to compare with",
            ),
            self._claim(
                "core-above-spurious",
                "Heat maps lie on the core of the image more than on what is spurious",
                KALIBHAT,
                "mIoU_core minus mIoU_spurious",
                self.paired(per.chosen[core], per.chosen[SPURIOUS]) if SPURIOUS in per.chosen else None,
                "these masks know no spurious region (what is outside of a box is not one)",
            ),
            self._claim(
                "correct-above-misclassified",
                "Heat maps of correctly classified images lie on the core more than those of misclassified ones",
                KALIBHAT,
                "mIoU_core of the correct minus that of the misclassified",
                self.between(per.chosen[core]),
                "both correct and misclassified images with a heat map and a mask are needed",
            ),
            self._claim(
                "correct-above-misclassified-at-equal-objects",
                "... and not only because objects in correctly classified images are larger or nearer the center",
                OURS,
                "the same difference, each image's mIoU_core less what other images' heat maps get on its mask",
                self.between(per.chosen[CORE] - per.swapped[CORE]) if CORE in per.swapped else None,
                "both correct and misclassified images with a heat map and a mask are needed",
            ),
            self._claim(
                "above-random-features",
                "Discriminative features lie on the object more than as many random features of the same image",
                OURS,
                "mIoU_core of the discriminative minus that of random features",
                self.paired(per.chosen[core], per.random[core]) if core in per.random else None,
                "no random features could be drawn",
            ),
        ]
        return tuple(made)

    def _claim(
        self,
        key: str,
        said: str,
        source: str,
        what: str,
        found: tuple[float | None, Interval | None, int] | None,
        missing: str,
    ) -> Claim:
        if found is None or found[0] is None:
            return Claim(key, said, source, "not tested", what, f"Not tested: {missing}.")
        value, interval, n = found
        if interval is None:
            why = f"{what}: {value:+.3f} over {n:,} images, too few to decide"
            return Claim(key, said, source, "not decided", what, f"{why}.", value, None, n)
        word: Literal["holds", "does not hold", "not decided"] = (
            "holds" if interval.low > 0 else "does not hold" if interval.high < 0 else "not decided"
        )
        ends = f"{what}: {value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
        opposite = "; the opposite does" if word == "does not hold" else ""
        return Claim(key, said, source, word, what, f"{ends}{opposite}.", value, interval, n)


def _means(draws: Doubles) -> Doubles:
    """Mean of each draw over the images that it knows; draws that know none are left out."""
    known = np.isfinite(draws)
    size = known.sum(1)
    total = np.where(known, draws, 0).sum(1)
    return np.asarray(total[size > 0] / size[size > 0])


def mean_of_draws(draws: Doubles) -> Doubles:
    """Mean over the draws for each image, NaN where no draw knows it."""
    known = np.isfinite(draws)
    size = known.sum(0)
    total = np.where(known, draws, 0).sum(0)
    out: Doubles = np.full(size.size, np.nan)
    np.divide(total, size, out=out, where=size > 0)
    return out
