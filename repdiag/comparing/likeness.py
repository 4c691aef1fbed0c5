"""How alike encoders are, whatever they are good for: CKA and shared neighbors of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repdiag.comparing.held import Held, common
from repdiag.comparison.side_by_side import Likeness
from repdiag.kernels import resample
from repdiag.kernels.cka import GROUPS, linear_cka_interval, neighbor_overlap
from repdiag.types import Interval, Progress, silent

MOST = 10_000
"""Images that are looked at: neighbors take the square of that, and the intervals are narrow enough by then."""
NEIGHBORS, DRAWS = 10, 1000
ABOUT = (
    "of all images of the data set, those that probes learn from included; features as the encoder gives them"
)


def likeness(
    names: Sequence[str],
    held: Sequence[Held | str],
    pairs: Sequence[tuple[int, int]],
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[tuple[Likeness, ...], str]:
    """CKA and shared neighbors of the `pairs` of encoders (by number), and why some have none ("" if all have).

    At most `MOST` of the common images are taken, drawn by `seed`. CKA: `repdiag.kernels.cka.linear_cka`, with a
    jackknife interval. Neighbors: `neighbor_overlap` with k = 10 (fewer for few images), and a bootstrap over images
    with the neighbors held. Raises nothing for what cannot be compared: it says why.
    """
    found, reasons = [], []
    for done, (i, j) in enumerate(pairs):
        progress("likeness of embeddings", done, len(pairs))
        made = _pair(names[i], names[j], held[i], held[j], seed)
        if isinstance(made, str):
            reasons.append(f"{names[i]} and {names[j]}: {made}")
        else:
            found.append(made)
    return tuple(found), "; ".join(dict.fromkeys(reasons))


def _pair(name: str, against: str, one: Held | str, other: Held | str, seed: int) -> Likeness | str:
    for who, what in ((name, one), (against, other)):
        if isinstance(what, str):
            return f"{what} ({who})"
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    rows = common(one, other)
    if isinstance(rows, str):
        return rows
    n = rows[0].size
    if n < 5:
        return f"they have {n} images in common, too few"
    if n > MOST:
        chosen = np.sort(np.random.default_rng([seed, 8]).choice(n, MOST, replace=False))
        rows, n = (rows[0][chosen], rows[1][chosen]), MOST
    x, y = one.features[rows[0]], other.features[rows[1]]
    try:
        cka, ends = linear_cka_interval(x, y, seed)
    except ValueError as error:
        return str(error)
    k = min(NEIGHBORS, n // 4)
    shared = neighbor_overlap(x, y, k)
    draws = resample.stratified_counts(np.zeros(n, np.int64), DRAWS, np.random.default_rng([seed, 9]))
    low_high = resample.percentile_interval(resample.weighted_means(shared, draws))
    return Likeness(
        name,
        against,
        n,
        cka,
        None if ends is None else Interval(*ends, f"jackknife over {GROUPS} groups of images", GROUPS),
        float(shared.mean()),
        None if low_high is None else Interval(*low_high, "bootstrap over images, neighbors held", DRAWS),
        k,
        k / (n - 1),
    )
