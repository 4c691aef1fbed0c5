"""Comparisons of which the truth is known: how often the interval misses it, and how often a difference is found.

Thousands of comparisons at once, and nothing but `repdiag.comparison.paired` under test. The table in
docs/explanation/did-it-help.md is held against `power_table`.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from repdiag.comparison import paired

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "did-it-help.md"


def gaussian(m, s, n, seeds, images, both, delta=0.0, seed=0):
    """Differences (m, s, n) with so much variance *of the mean* from seeds, images and their interaction."""
    rng = np.random.default_rng([seed, s, n])
    u = rng.normal(0, np.sqrt(seeds * s), (m, s, 1))
    w = rng.normal(0, np.sqrt(images * n), (m, 1, n))
    e = rng.normal(0, np.sqrt(both * s * n), (m, s, n))
    return delta + u + w + e


def answers(m, s, n, gain=0.0, scatter=0.0, agree=0.9, seed=0):
    """Right or wrong (m, s, n) in two arms of the same accuracy but for `gain`; images differ in how hard they are.

    Each seed of each arm shifts the chance of all images by a draw of spread `scatter`; an image gets the same answer
    in all runs but for a share 1 - `agree`, where it is decided anew.
    """
    rng = np.random.default_rng([seed, s, n, 1])
    chance = rng.beta(4, 1, (m, 1, n))
    common = rng.random((m, 1, n))
    arms = []
    for arm in range(2):
        luck = rng.random((m, s, n))
        u = np.where(rng.random((m, s, n)) < agree, common, luck)
        p = chance + rng.normal(0, scatter, (m, s, 1)) + (gain if arm else 0.0)
        arms.append((u < p).astype(float))
    return arms[1], arms[0]


def found(differences, binary=False, confidence=0.95):
    """Center and half width (m,) of the intervals of many comparisons."""
    n = differences.shape[-1]
    covariance = paired.exact_covariance(differences)
    if binary:
        covariance = paired.with_two_changes(covariance, n)
    by_seed = differences.mean(-1)
    return by_seed.mean(-1), paired.margin(by_seed, covariance, n, confidence)


def allowed(m):
    """5 % and three standard errors of a share of m."""
    return 0.05 + 3 * np.sqrt(0.05 * 0.95 / m)


MIXES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.9, 0.1, 0), (0.1, 0.9, 0), (0.5, 0, 0.5), (0.1, 0, 0.9),
         (0.9, 0, 0.1), (0.3, 0.3, 0.4)]  # fmt: skip


@pytest.mark.parametrize("s", [2, 3, 5])
def test_the_interval_misses_the_truth_in_at_most_5_percent_whatever_the_noise(s):
    m = 2000
    missed = {}
    for mix in MIXES:
        center, half = found(gaussian(m, s, 60, *mix, delta=0.7))
        missed[mix] = float((np.abs(center - 0.7) > half).mean())
    assert max(missed.values()) <= allowed(m), missed
    assert missed[1, 0, 0] > 0.03  # with the seeds' noise alone it is the exact t interval, not a vacuous one
    assert missed[0, 1, 0] > 0.03


def test_what_the_interval_is_there_to_avoid():
    m, s = 4000, 2
    d = gaussian(m, s, 60, 0.5, 0.5, 0)
    images_only = paired.exact_covariance(d).mean((-1, -2))
    by_seed = d.mean(-1)
    center = by_seed.mean(-1)
    assert (np.abs(center) > stats.norm.ppf(0.975) * np.sqrt(images_only)).mean() > 0.15

    # Satterthwaite's degrees of freedom for the sum of both variances, at his worst: the docstring's 13 % and 8 %
    for s, share, said in ((2, 0.9, 0.13), (3, 0.9, 0.08)):
        d = gaussian(m, s, 60, share, 1 - share, 0)
        by_seed = d.mean(-1)
        covariance = paired.exact_covariance(d)
        a = by_seed.var(-1, ddof=1) / s
        w = (covariance.sum((-1, -2)) - np.trace(covariance, axis1=-2, axis2=-1)) / (s * (s - 1))
        df = (a + w) ** 2 / (a**2 / (s - 1) + w**2 / 59)
        half = stats.t.ppf(0.975, df) * np.sqrt(a + w)
        assert (np.abs(by_seed.mean(-1)) > half).mean() == pytest.approx(said, abs=0.02)


NOISES = [(30, 0.0, 0.9), (200, 0.0, 0.95), (200, 0.02, 0.9), (200, 0.05, 0.5)]


@pytest.mark.parametrize(
    ("s", "n", "scatter", "agree"),
    [
        (s, *noise) for s in (1, 2, 3, 5) for noise in NOISES if s > 1 or not noise[1]
    ],  # one seed: the next test
)
def test_right_or_wrong_answers_without_a_true_difference(s, n, scatter, agree):
    m = 1500
    one, other = answers(m, s, n, 0.0, scatter, agree)
    center, half = found(one - other, binary=True)
    assert (np.abs(center) > half).mean() <= allowed(m)


def test_one_seed_cannot_tell_a_method_from_its_luck():
    one, other = answers(1000, 1, 1000, 0.0, 0.03)
    center, half = found(one - other, binary=True)
    assert (np.abs(center) > half).mean() > 0.2  # which is why its effect is never more than no evidence


def test_bootstrap_draws_give_what_the_closed_form_gives():
    m, s, n = 1000, 3, 120
    one, other = answers(m, s, n, 0.0, 0.02)
    counts = paired.draws(n, 2000, 0)
    means = paired.replicates((one - other).reshape(m * s, n), counts).reshape(len(counts), m, s)
    drawn = np.stack([paired.bootstrap_covariance(means[:, i], n) for i in range(m)])
    drawn = paired.with_two_changes(drawn, n)
    by_seed = (one - other).mean(-1)
    half = paired.margin(by_seed, drawn, n, 0.95)
    assert np.median(np.abs(half / found(one - other, binary=True)[1] - 1)) < 0.02
    assert (np.abs(by_seed.mean(-1)) > half).mean() <= allowed(m)


POINTS, SEEDS = (0, 1, 2, 4), (2, 3, 5)


def power_table():
    """Share of 1,000 comparisons that find a true gain of so many points: {(seeds, points): share}.

    1,000 images, an accuracy of 80 %, a tenth of the answers decided anew in every run, and seeds that scatter by half
    a point in each arm.
    """
    out = {}
    for s in SEEDS:
        for gain in POINTS:
            one, other = answers(1000, s, 1000, gain / 100, 0.005, 0.9, seed=7)
            center, half = found(one - other, binary=True)
            out[s, gain] = float((center - half > 0).mean())
    return out


def test_power_rises_with_the_gain_and_the_seeds_and_is_what_the_page_says():
    table = power_table()
    assert all(table[s, 0] <= allowed(1000) / 2 + 0.01 for s in SEEDS)
    assert all(table[s, a] <= table[s, b] for s in SEEDS for a, b in itertools.pairwise(POINTS))
    assert table[2, 4] < table[3, 4] <= table[5, 4]
    assert table[5, 2] > 0.5
    rows = re.findall(r"^\| (\d) seeds \|(.+)\|$", PAGE.read_text("utf-8"), re.M)
    said = {int(s): [float(cell.strip(" %")) / 100 for cell in cells.split("|")] for s, cells in rows}
    assert set(said) == set(SEEDS)
    for s in SEEDS:
        assert said[s] == pytest.approx([table[s, gain] for gain in POINTS], abs=0.021)
