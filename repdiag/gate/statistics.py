"""One-sided confidence bounds of what a gate judges: a share, a mean, a quantile, a change, a relative change.

Every bound is a function of its confidence c: the lower one lies above the truth with a probability of at most 1 - c,
the upper one below it with at most 1 - c. Both together are a 2c - 1 interval. What each rests on:

- a share of n samples: the exact binomial bounds of Clopper and Pearson 1934 (published): never less than c;
- a mean over samples, or of paired differences of such: Student's t (published);
- a change of a share on the same n samples, from g gains and l losses: the wider of two bounds. One is t with two
  changes more, variance (g + l - (g - l)^2 / n + 2) / n^2 (Bonett and Price 2012, published); the other turns the
  exact bounds of g / (g + l), McNemar's exact test, into a change. Without a true change each of the g + l is a gain
  or a loss with equal chance, so the second alone keeps a rule from failing more than 1 - c of the time, exactly and
  for every n; the first keeps it near 1 - c where the truth is not zero. To take the wider is ours;
- a quantile: order statistics, exact for any distribution (published);
- a change of two numbers that cannot be paired: Zou and Donner 2008 (published), as if independent;
- a relative change: Fieller 1954 (published), and the same with the squared margins of the two where they cannot be
  paired;
- a metric's own interval: its halves times the ratio of the quantiles at c and at its level, normal, or t where few
  replicates made it. That the replicates are so distributed is assumed.

The samples are taken to be drawn independently. Where they are not (frames of one film) all of this is too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.types import Interval

Doubles = npt.NDArray[np.float64]
Bound = Callable[[float], float]
NO_CHANGE = "the same for every sample"


@dataclass(frozen=True)
class Estimate:
    """A value with its one-sided bounds: `low(c)` and `high(c)` for a confidence c from 0.5 to below 1.

    `n` counts what it rests on (samples, replicates), `method` says how the bounds are made, in words that follow
    "by". `shrinks`: the bounds close in on the value as 1 / sqrt(samples). Ends may be infinite: nothing is known.
    """

    value: float
    low: Bound
    high: Bound
    method: str
    n: int
    shrinks: bool = True

    def times(self, factor: float) -> Estimate:
        """The same of `factor` > 0 times the value."""
        return Estimate(
            self.value * factor,
            lambda c: self.low(c) * factor,
            lambda c: self.high(c) * factor,
            self.method,
            self.n,
            self.shrinks,
        )

    def within(self, least: float, most: float) -> Estimate:
        """The same with bounds cut at the ends of the possible range."""
        return Estimate(
            self.value,
            lambda c: max(least, self.low(c)),
            lambda c: min(most, self.high(c)),
            self.method,
            self.n,
            self.shrinks,
        )


def bare(value: float) -> Estimate:
    """A value of which nothing tells how far it may be off."""
    return Estimate(value, lambda c: -math.inf, lambda c: math.inf, "", 0, False)


def unchanged(n: int) -> Estimate:
    """No change in any of n samples: [0, 0], by decision and not by calculation (ours).

    With n samples of which none changed up to 3 / n could be behind it; a gate that says "undetermined" to the same
    encoder twice would be of no use.
    """
    return Estimate(0.0, lambda c: 0.0, lambda c: 0.0, NO_CHANGE, n)


def normal_quantile(c: float) -> float:
    """The standard normal's quantile at `c`."""
    from scipy.special import ndtri

    return float(ndtri(c))


def t_quantile(c: float, freedom: float) -> float:
    """Student's t at `c` with `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, c))


# ------------------------------------------------------------------------------------------------- one report


def share_ends(k: Any, n: Any, confidence: float) -> tuple[Any, Any]:
    """Exact binomial bounds of k of n (arrays broadcast): each misses with a probability of at most 1 - confidence."""
    from scipy.special import betaincinv

    k, n = np.asarray(k, np.float64), np.asarray(n, np.float64)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, 1 - confidence), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), confidence), 1.0)
    return low, high


def share(k: int, n: int) -> Estimate:
    """k of n >= 1 samples."""
    return Estimate(
        k / n,
        lambda c: float(share_ends(k, n, c)[0]),
        lambda c: float(share_ends(k, n, c)[1]),
        f"exact binomial over {n:,} images",
        n,
    )


def mean(values: Doubles) -> Estimate:
    """The mean of finite `values` (n,): exact binomial where all are 0 or 1, else Student's t; bare for one value."""
    n = values.size
    if right_or_wrong(values):
        return share(round(float(values.sum())), n)
    if n < 2:
        return bare(float(values.mean()))
    center, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(
        center,
        lambda c: center - t_quantile(c, n - 1) * error,
        lambda c: center + t_quantile(c, n - 1) * error,
        f"t over {n:,} images",
        n,
    )


def right_or_wrong(values: Doubles) -> bool:
    """Whether all of `values` are 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


def quantile(values: Doubles, q: float) -> Estimate:
    """The q-quantile of `values` (n,): the smallest that a share of at least q does not pass. They may be infinite.

    Bounds are order statistics: the r-th smallest is a lower bound where P(Binomial(n, q) < r) <= 1 - c, the s-th an
    upper one where P(Binomial(n, q) < s) >= c. Infinite where the sample is too small for any.
    """
    from scipy.special import bdtr

    ordered = np.sort(values)
    n = ordered.size
    below = bdtr(np.arange(n, dtype=np.float64), n, q)  # P(Binomial <= k), k = 0 .. n - 1

    def low(c: float) -> float:
        r = int(np.searchsorted(below, 1 - c, side="right"))  # the most with P(Binomial <= r - 1) <= 1 - c
        return float(ordered[r - 1]) if r else -math.inf

    def high(c: float) -> float:
        s = int(np.searchsorted(below, c, side="left"))
        return float(ordered[s]) if s < n else math.inf

    value = float(ordered[max(0, math.ceil(n * q - 1e-9) - 1)])
    return Estimate(value, low, high, f"order statistics of {n:,} images", n)


def own(value: float, interval: Interval) -> Estimate:
    """A metric with its own interval, taken from its level to any confidence.

    Halves are kept apart, so that a skewed interval stays skewed. A bound at a confidence beyond the interval's own is
    an extrapolation.
    """
    few = interval.n > 1 and (interval.method.startswith(("jackknife", "t ")))

    def factor(c: float) -> float:
        at = (1 + interval.level) / 2
        if few:
            return t_quantile(c, interval.n - 1) / t_quantile(at, interval.n - 1)
        return normal_quantile(c) / normal_quantile(at)

    below, above = max(0.0, value - interval.low), max(0.0, interval.high - value)
    over_samples = not any(word in interval.method for word in ("seeds", "draws of", "t over bootstraps"))
    return Estimate(
        value,
        lambda c: value - factor(c) * below,
        lambda c: value + factor(c) * above,
        interval.method,
        interval.n,
        over_samples,
    )


# ------------------------------------------------------------------------------------------- against a baseline


def change_of_share_ends(gains: Any, losses: Any, n: Any, confidence: float) -> tuple[Any, Any]:
    """Bounds of (gains - losses) / n, the change of a share on the same n samples (arrays broadcast).

    The wider of t with two changes more and of what the exact bounds of gains / (gains + losses) say; see the module.
    """
    from scipy.special import stdtrit

    g, lost, n = (np.asarray(x, np.float64) for x in (gains, losses, n))
    m, delta = g + lost, (g - lost) / n
    half = stdtrit(np.maximum(n - 1, 1), confidence) * np.sqrt(change_variance(g, lost, n))
    low, high = share_ends(g, np.maximum(m, 1), confidence)
    low, high = np.where(m > 0, low, 0.0), np.where(m > 0, high, 1.0)
    conditional = (2 * low - 1) * m / n, (2 * high - 1) * m / n
    return (
        np.maximum(np.minimum(delta - half, conditional[0]), -1),
        np.minimum(np.maximum(delta + half, conditional[1]), 1),
    )


def change_variance(gains: Any, losses: Any, n: Any) -> Any:
    """Variance of the change, as if two more of n samples had changed, one each way."""
    delta = (gains - losses) / n
    return ((gains + losses) / n - delta**2 + 2 / n) / n


def change(now: Doubles, before: Doubles) -> Estimate:
    """The change of a mean over n >= 1 samples, from finite values `now` and `before` (n,) of the same samples."""
    n, delta = now.size, now - before
    if not delta.any():
        return unchanged(n)
    if right_or_wrong(now) and right_or_wrong(before):
        g, lost = int((delta > 0).sum()), int((delta < 0).sum())
        return Estimate(
            (g - lost) / n,
            lambda c: float(change_of_share_ends(g, lost, n, c)[0]),
            lambda c: float(change_of_share_ends(g, lost, n, c)[1]),
            f"paired over {n:,} images ({g:,} gained, {lost:,} lost)",
            n,
        )
    if n < 2:
        return bare(float(delta.mean()))
    center, error = float(delta.mean()), float(delta.std(ddof=1)) / math.sqrt(n)
    return Estimate(
        center,
        lambda c: center - t_quantile(c, n - 1) * error,
        lambda c: center + t_quantile(c, n - 1) * error,
        f"paired t over {n:,} images",
        n,
    )


def difference(now: Estimate, before: Estimate) -> Estimate:
    """The change of a number that cannot be paired: margins add as squares, as if the two were independent.

    On the same images the two rise and fall together, so that this is wider than need be.
    """

    def low(c: float) -> float:
        return delta - math.hypot(now.value - now.low(c), before.high(c) - before.value)

    def high(c: float) -> float:
        return delta + math.hypot(now.high(c) - now.value, before.value - before.low(c))

    delta = now.value - before.value
    method = f"{now.method} of each, as if independent" if now.method and before.method else ""
    shrinks = now.shrinks and before.shrinks
    return Estimate(delta, low, high, method, min(now.n, before.n), shrinks)


def relative_change(now: Doubles, before: Doubles) -> Estimate:
    """(mean now - mean before) / |mean before| on the same samples; the baseline's mean must not be 0."""
    n = now.size
    plain = change(now, before)
    a, b = float(now.mean()), float(before.mean())
    if plain.method == NO_CHANGE:
        return plain
    if n < 2:
        return bare((a - b) / abs(b))
    cov = np.cov(now, before) / n
    binary = right_or_wrong(now) and right_or_wrong(before)
    extra = 1 / n**2 if binary else 0.0  # the same two changes more: 2 / n^2 in the difference

    def ends(c: float) -> tuple[float, float]:
        t = t_quantile(c, n - 1) ** 2
        low, high = _fieller(a, b, t * (cov[0, 0] + extra), t * (cov[1, 1] + extra), t * cov[0, 1])
        if not binary:
            return low, high
        # What the exact test does not tell from no change is not told from none here.
        return (min(low, 0.0) if plain.low(c) <= 0 else low), (max(high, 0.0) if plain.high(c) >= 0 else high)

    return Estimate(
        (a - b) / abs(b), lambda c: ends(c)[0], lambda c: ends(c)[1], f"Fieller, {plain.method}", n
    )


def relative_difference(now: Estimate, before: Estimate) -> Estimate:
    """(now - before) / |before| of two numbers that cannot be paired; the baseline's must not be 0."""
    a, b = now.value, before.value

    def ends(c: float) -> tuple[float, float]:
        spread = max(b - before.low(c), before.high(c) - b) ** 2
        low = _fieller(a, b, (a - now.low(c)) ** 2, spread, 0.0)[0]
        return low, _fieller(a, b, (now.high(c) - a) ** 2, spread, 0.0)[1]

    method = f"Fieller, {now.method} of each, as if independent" if now.method and before.method else ""
    return Estimate(
        (a - b) / abs(b),
        lambda c: ends(c)[0],
        lambda c: ends(c)[1],
        method,
        min(now.n, before.n),
        now.shrinks and before.shrinks,
    )


def _fieller(a: float, b: float, va: float, vb: float, cab: float) -> tuple[float, float]:
    """Ends of (a - b) / |b| from squared margins and their product: all r with (a - r b)^2 <= va - 2 r cab + r^2 vb.

    Infinite where the margin of b reaches 0: a change relative to what may be nothing.
    """
    if not (math.isfinite(va) and b * b > vb):
        return -math.inf, math.inf
    middle, scale = a * b - cab, b * b - vb
    root = math.sqrt(max(0.0, middle**2 - scale * (a * a - va)))
    ratios = (middle - root) / scale, (middle + root) / scale
    return (ratios[0] - 1, ratios[1] - 1) if b > 0 else (1 - ratios[1], 1 - ratios[0])
