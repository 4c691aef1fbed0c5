"""How far a paired difference may be off: noise of the images and noise of the training seeds, in one interval.

Arrays in, arrays out. Two arms are trained with seeds 1..S (the same seed means the same order, views and new heads
in both) and judged on the same N images. The difference of seed s on image i is taken to be

    d_si = delta + u_s + w_i + e_si

with a part u_s of the seed, a part w_i of the image that every seed shares, and a part e_si of both; all are drawn
from populations, because the question is about other seeds and other images than these. The estimate is the mean over
both, and

    Var = (Var u + Var e / N) / S  +  Var w / N  =  A + W.

A is what the S differences d_s scatter by: var(d_s, ddof 1) / S, with S - 1 degrees of freedom and the images' own
share e inside it, once. W is what remains of the images' noise however many seeds there are: when images are
resampled, the differences d_s move together, and the mean covariance of two seeds' replicates is W. The mean gap
between a seed's variance and that covariance, over S, is E = Var e / (N S), the least that A can truly be.

    margin^2 = max(t(S-1)^2 A, t(N-1)^2 E) + t(N-1)^2 W

Adding squared margins, not variances, is the MOVER of Zou and Donner 2008 (status published) for a sum of two
estimates; which parts are put in is ours. Satterthwaite's degrees of freedom for A + W are not used: with two or three
seeds A is often far too small by chance, the sum then looks well known, and up to 13 % of the intervals miss (2 seeds;
8 % with 3) where 5 % should. The margin here misses at most 5 % for any number of seeds and any mix of noise, and
less in between, which costs power (tests/test_comparison_simulated.py; docs/explanation/did-it-help.md).

Fixed encoders (`repdiag compare`): where the question is about two given files and not about how they were trained,
there is no population of seeds. S = 1, d_i = delta + w_i, and the margin is t(N-1) times the root of Var w / N: it
covers other images of the same kind, which is all that can change. It says nothing about what the same two recipes
would give when they are run again; that is what seeds are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.kernels import resample

Doubles = npt.NDArray[np.float64]

FEWEST_DRAWS, MEMORY = 200, 2**27


def draws(n: int, bootstrap: int, seed: int) -> resample.Counts:
    """How often each of `n` images is taken in each bootstrap draw (B, n) uint8; the same for all that is compared.

    Images are drawn as they come, not within classes: with few images per class that would hide noise. B falls from
    `bootstrap` so that the table stays at 128 MiB, but not below 200.
    """
    b = min(bootstrap, max(FEWEST_DRAWS, MEMORY // max(n, 1)))
    return resample.stratified_counts(np.zeros(n, np.int64), b, np.random.default_rng([seed, 5]))


def replicates(values: Doubles, counts: resample.Counts) -> Doubles:
    """Means of each row of `values` (R, N) under each of the draws `counts` (B, N) -> (B, R), float64.

    NaN carries no weight; NaN results where a draw holds no known value. One weighted matrix product, in blocks.
    """
    known = np.isfinite(values)
    gaps = np.flatnonzero(~known.all(1))
    filled, weight = np.where(known, values, 0.0).T, known[gaps].T.astype(np.float64)
    out = np.empty((len(counts), len(values)))
    step = max(1, 2**22 // max(values.shape[1], 1))
    for start in range(0, len(counts), step):
        w = counts[start : start + step].astype(np.float64)
        total = np.repeat(w.sum(1)[:, None], len(values), axis=1)
        total[:, gaps] = w @ weight
        out[start : start + step] = np.divide(
            w @ filled, total, out=np.full_like(total, np.nan), where=total > 0
        )
    return out


def bootstrap_covariance(differences: Doubles, n: int) -> Doubles | None:
    """Covariance (S, S) of the seeds' bootstrap `differences` (B, S), over n images; None below 20 finite draws.

    Times n / (n - 1), because a resample scatters around the sample by that much less than the sample around the
    population.
    """
    finite = differences[np.isfinite(differences).all(1)]
    if len(finite) < 20 or n < 2:
        return None
    return np.atleast_2d(np.cov(finite.T)) * (n / (n - 1))


def exact_covariance(differences: Doubles) -> Doubles:
    """The same without draws, of differences (..., S, N) without NaN: their covariance over images / N."""
    n = differences.shape[-1]
    centered = differences - differences.mean(-1, keepdims=True)
    return np.asarray(centered @ np.swapaxes(centered, -1, -2) / ((n - 1) * n))


def with_two_changes(covariance: Doubles, n: int) -> Doubles:
    """`covariance` of right-or-wrong differences as if two more of n images had changed, one each way: + 2 / n^2.

    Bonett and Price 2012 add these two to the table of changes (status published); here they widen the interval and
    leave its center. Without them 4 images that all changed one way would be evidence, which the exact test of
    McNemar denies; with them it takes 6, as there.
    """
    return covariance + 2 / n**2


def margin(by_seed: Doubles, covariance: Doubles, n: int, confidence: float) -> Any:
    """Half the width of the interval of the mean of `by_seed` (..., S), `covariance` (..., S, S) over n images.

    The formula is the module's. With one seed only the images' noise is covered: t(N-1) times the root of the
    one variance.
    """
    from scipy.stats import t

    s = by_seed.shape[-1]
    q_images = float(t.ppf((1 + confidence) / 2, max(n - 1, 1)))
    diagonal = np.diagonal(covariance, axis1=-2, axis2=-1).mean(-1)
    if s == 1:
        return q_images * np.sqrt(diagonal)
    together = (covariance.sum((-1, -2)) - s * diagonal) / (
        s * (s - 1)
    )  # W, or a little below zero by chance
    least = np.maximum(diagonal - together, 0) / s
    squared = q_images**2 * np.maximum(together, 0)
    return np.sqrt(squared + np.maximum(seed_margin(by_seed, confidence) ** 2, q_images**2 * least))


def seed_margin(by_seed: Doubles, confidence: float) -> Any:
    """t(S-1) times the standard error of the mean of `by_seed` (..., S): the paired t interval over S >= 2 seeds."""
    from scipy.stats import t

    s = by_seed.shape[-1]
    return float(t.ppf((1 + confidence) / 2, s - 1)) * by_seed.std(-1, ddof=1) / np.sqrt(s)


def independent_margins(
    one: tuple[float, float], other: tuple[float, float], by_seed: Doubles, confidence: float
) -> tuple[float, float]:
    """(below, above) a difference of two numbers, each known only to (below, above) of its own interval.

    below = sqrt(one_below^2 + other_above^2 + seeds^2), and mirrored: Zou and Donner's MOVER as if the two were
    independent. On the same images they rise and fall together, so this is wider than need be. The seeds' paired t
    margin is added where there are two or more, which counts some of the images' noise twice: wider again.
    """
    seeds = float(seed_margin(by_seed, confidence)) if by_seed.size > 1 else 0.0
    below = np.sqrt(one[0] ** 2 + other[1] ** 2 + seeds**2)
    above = np.sqrt(one[1] ** 2 + other[0] ** 2 + seeds**2)
    return float(below), float(above)
