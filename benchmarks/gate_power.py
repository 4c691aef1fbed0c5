"""How often a gate's change rule fails, passes or cannot tell, for a known true drop of accuracy; prints Markdown.

    python -m benchmarks.gate_power > docs/benchmarks/gate-power.md

Simulated, not measured: whether the encoder is right about an image, before and now, is drawn with known chances, and
the gate's own bounds decide. Seeds are fixed, so equal versions of NumPy and SciPy print equal tables.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from repdiag.gate import statistics

Doubles = npt.NDArray[np.float64]

DRAWS = 4000
IMAGES = (500, 2000, 10_000)
DROPS = (0.0, 0.01, 0.02, 0.05)
CHURN = (0.02, 0.1)
ACCURACY = 0.8
CONFIDENCE = 0.95
LIMITS = (0.0, -0.01)

PAGE = """\
# What a change rule can see

Made by `python -m benchmarks.gate_power`; simulated, {draws:,} pairs of reports in each cell. Each cell says how often
a rule at confidence {confidence:g} **fails** / is undetermined / passes, in percent, when the accuracy truly fell by so
many points. *Same images*: both reports scored the same ones, and are paired; the churn is the share of images on which
the two disagree though nothing got better or worse, half each way, and the drop comes on top. *Other images*: two
reports with an accuracy of {accuracy:.0%} before the drop, each with its exact binomial bounds.

{tables}
What to take from it:

- Without a true drop `change_at_least = 0` fails at most 5 % of the time, the rarer the fewer answers changed.
- The same images are worth many more: pair whenever you can, and keep the images of a gate fixed.
- `change_at_least = 0` can be shown by no number of images while nothing changes: it fails on falls and is mostly
  undetermined otherwise (exit code 4). With `undetermined = "pass"` it fails on a fall that is told from noise and
  passes else; a limit a little below 0 can pass outright.
- A drop that lies exactly on the limit is a true claim for the rule: it fails at most about 5 % of the time, and passes
  about as rarely.
"""


def ends(n: int, drop: float, churn: float | None, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """The gate's bounds of the change in `DRAWS` simulated pairs; `churn` None: scored on other images."""
    if churn is not None:
        gained, lost = churn / 2, churn / 2 + drop
        counts = rng.multinomial(n, [gained, lost, 1 - gained - lost], size=DRAWS)
        low, high = statistics.change_of_share_ends(counts[:, 0], counts[:, 1], n, CONFIDENCE)
        return low, high
    right = [rng.binomial(n, p, DRAWS) for p in (ACCURACY, ACCURACY - drop)]
    before, now = (k / n for k in right)
    (before_low, before_high), (now_low, now_high) = (statistics.share_ends(k, n, CONFIDENCE) for k in right)
    below = np.hypot(
        now - now_low, before_high - before
    )  # as `statistics.difference` has it, for many at once
    above = np.hypot(now_high - now, before - before_low)
    return now - before - below, now - before + above


def outcomes(
    n: int, drop: float, churn: float | None, limit: float, seed: int = 0
) -> tuple[float, float, float]:
    """Shares of the pairs in which `change_at_least = limit` fails, is undetermined, passes."""
    low, high = ends(n, drop, churn, np.random.default_rng([seed, n, round(1000 * drop)]))
    fails, passes = float((high < limit).mean()), float((low >= limit).mean())
    return fails, 1 - fails - passes, passes


def tables() -> Iterator[str]:
    """One Markdown table for each limit."""
    for limit in LIMITS:
        yield f"## `change_at_least = {limit:g}`\n"
        yield (
            "| images | scored on | "
            + " | ".join(f"true drop {100 * drop:g} points" for drop in DROPS)
            + " |"
        )
        yield "|---|---|" + "---|" * len(DROPS)
        for n in IMAGES:
            for churn in (*CHURN, None):
                place = "other images" if churn is None else f"same images, churn {100 * churn:g} %"
                cells = (outcomes(n, drop, churn, limit) for drop in DROPS)
                said = (f"**{100 * f:.0f}** / {100 * u:.0f} / {100 * p:.0f}" for f, u, p in cells)
                yield f"| {n:,} | {place} | " + " | ".join(said) + " |"
        yield ""


def page() -> str:
    """docs/benchmarks/gate-power.md."""
    return PAGE.format(
        draws=DRAWS, confidence=CONFIDENCE, accuracy=ACCURACY, tables="\n".join(tables()) + "\n"
    )


if __name__ == "__main__":
    print(page(), end="")
