"""Does stable clustering go with accuracy, and what does the spread of the silhouette say?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from benchmarks.catalog import Images
from benchmarks.evidence.ranks import FEWEST, Rank, spearman
from benchmarks.evidence.reading import Answer, Claim, Evidence, Found, Page, fixed, listed, number, table

PROBE, STD, MEAN = "linear_probe_accuracy", "silhouette_std", "silhouette_mean"
AXES = ("seed_ari", "subsample_ari", "augmentation_ari")
QUESTION = (
    "ReSA's paper reads stable clusters off a mean silhouette and its standard deviation (SC_std). Do stability over "
    "seeds, subsamples and augmentations, and that deviation, follow the linear probe's accuracy?"
)


def page(evidence: Evidence) -> Page:
    """stability.md."""
    body = [_how()]
    claims: list[Claim] = []
    traps: list[tuple[Images, list[Found]]] = []
    for images in evidence.images:
        runs = [f for f in evidence.of(images) if PROBE in f.answers]
        if len(runs) < FEWEST:
            continue
        body += [f"## {images.title}\n", _axes(runs), _ranks_reading(evidence, runs), _ranks(evidence, runs)]
        with_std = [f for f in runs if STD in f.answers]
        if with_std:
            traps.append((images, with_std))
    if traps:
        body.append("## The spread of the silhouette: SC_std's trap\n")
        body += [
            part
            for images, runs in traps
            for part in (f"### {images.title}\n", _trap_reading(runs), _trap(runs))
        ]
        claims.append(_claim(traps))
    return Page("stability.md", "Stability of clusters", QUESTION, "\n".join(body), tuple(claims))


def _how() -> str:
    return """## How to read it

Each score stands beside its null, structureless data: Gaussian draws of the same N, mean and covariance,
clustered alike.
*Excess* is the score less the null's mean, *z* that difference in the null's standard deviations (of few
draws: a rough
number). rho is Spearman's with the linear probe's accuracy over the encoders of one data set, with an interval
and a p as
on [the ladder's page](quality_ladder.md). Stable is not correct: a projection onto one dominant direction
clusters stably,
too.
"""


def _z(answer: Answer) -> float | None:
    return (
        None
        if not answer.null_std or answer.null_mean is None
        else (answer.value - answer.null_mean) / answer.null_std
    )


def _by_accuracy(runs: Sequence[Found]) -> list[Found]:
    return sorted(runs, key=lambda f: -f.answers[PROBE].value)


def _axes(runs: Sequence[Found]) -> str:
    axes = [a for a in AXES if any(a in f.answers for f in runs)]
    heads = ["encoder", "probe"] + [part for a in axes for part in (f"`{a}`", "null", "z")]
    rows = []
    for f in _by_accuracy(runs):
        cells: list[object] = [f.encoder.title, f"{100 * f.answers[PROBE].value:.1f} %"]
        for a in axes:
            answer = f.answers.get(a)
            cells += ["-"] * 3 if answer is None else _beside(answer)
        rows.append(cells)
    return table(heads, rows)


def _beside(answer: Answer) -> list[object]:
    ends = (answer.value, answer.low, answer.high)
    return [fixed_or_value(ends), fixed(answer.null_mean), fixed(_z(answer), 1)]


def fixed_or_value(ends: tuple[float, float | None, float | None]) -> str:
    """value [low, high], or the value alone."""
    value, low, high = ends
    return fixed(value) if low is None or high is None else f"{fixed(value)} [{fixed(low)}, {fixed(high)}]"


READINGS: dict[str, Callable[[Answer], Answer | None]] = {
    "value": lambda answer: answer,
    "excess": lambda answer: answer.excess,
    "z": lambda answer: None if (z := _z(answer)) is None else Answer(z),
}


def _stability_names(evidence: Evidence, runs: Sequence[Found]) -> list[str]:
    return [
        name
        for name, d in evidence.declared.items()
        if d.family == "stability" and d.label_free and sum(name in f.answers for f in runs) >= FEWEST
    ]


def ranks_of(runs: Sequence[Found], name: str) -> dict[str, Rank | None]:
    """rho with accuracy of a metric's value, of its excess over the null, and of z."""
    known = [f for f in runs if name in f.answers]
    found: dict[str, Rank | None] = {}
    for what, read in READINGS.items():
        pairs = [(x, f.answers[PROBE]) for f in known if (x := read(f.answers[name])) is not None]
        found[what] = spearman([x for x, _ in pairs], [y for _, y in pairs])
    return found


def _rho(rank: Rank | None) -> str:
    return "-" if rank is None else f"{fixed(rank.rho)} [{fixed(rank.low)}, {fixed(rank.high)}]"


def _p(rank: Rank | None) -> str:
    return "-" if rank is None else fixed(rank.p, 3)


def _ranks(evidence: Evidence, runs: Sequence[Found]) -> str:
    rows = []
    for name in _stability_names(evidence, runs):
        ranks = ranks_of(runs, name)
        rows.append(
            [
                f"`{name}`",
                evidence.declared[name].direction,
                *(f(r) for r in ranks.values() for f in (_rho, _p)),
            ]
        )
    heads = ("metric", "better", "rho", "p", "rho of the excess", "p", "rho of z", "p")
    return f"Over {len(runs)} encoders:\n\n" + table(heads, rows, left=2)


def _ranks_reading(evidence: Evidence, runs: Sequence[Found]) -> str:
    said: dict[str, list[str]] = {"follow": [], "oppose": [], "do not follow": []}
    for name in _stability_names(evidence, runs):
        rank, sign = ranks_of(runs, name)["value"], evidence.declared[name].sign
        if rank is None or not sign:
            continue
        word = "do not follow" if not rank.sign else "follow" if rank.sign == sign else "oppose"
        said[word].append(f"`{name}`")
    return (
        f"By their values, {listed(said['follow'])} follow accuracy as declared; {listed(said['oppose'])} oppose it; "
        f"not told from chance: {listed(said['do not follow'])}.\n"
    )


# ------------------------------------------------------------------------------------ the trap


def _lowest(runs: Sequence[Found]) -> Found:
    return min(runs, key=lambda f: f.answers[STD].value)


def _under_null(runs: Sequence[Found]) -> list[Found]:
    """Runs whose structureless null has the *lower* spread: ranking by low spread prefers noise to them."""
    return [f for f in runs if (m := f.answers[STD].null_mean) is not None and m < f.answers[STD].value]


def _trap(runs: Sequence[Found]) -> str:
    heads = ("encoder", "probe", "SC_std", "of structureless data", "z", "SC_mean", "of structureless data")
    rows = []
    for f in sorted(runs, key=lambda f: f.answers[STD].value):
        std, mean = f.answers[STD], f.answers.get(MEAN)
        cells: list[object] = [f.encoder.title, f"{100 * f.answers[PROBE].value:.1f} %", fixed(std.value, 3)]
        cells += [fixed(std.null_mean, 3), fixed(_z(std), 1)]
        rows.append([*cells, *([fixed(mean.value, 3), fixed(mean.null_mean, 3)] if mean else ["-", "-"])])
    return "From the lowest spread up:\n\n" + table(heads, rows)


def _trap_reading(runs: Sequence[Found]) -> str:
    lowest, best, worst = _lowest(runs), _by_accuracy(runs)[0], _by_accuracy(runs)[-1]
    below, judged = _under_null(runs), [f for f in runs if f.answers[STD].null_mean is not None]
    rank = ranks_of(runs, STD)["value"]
    order = sorted(runs, key=lambda f: f.answers[STD].value)
    relation = (
        "" if rank is None
        else f" Over the {rank.n} encoders SC_std has rho {_rho(rank)} with accuracy (p = {_p(rank)})."
    )  # fmt: skip
    return (
        f"The lowest spread, which would be the most stable one, is that of {lowest.encoder.title} "
        f"({number(lowest.answers[STD].value)}); the best encoder by its probe, {best.encoder.title}, is number "
        f"{order.index(best) + 1} of {len(runs)} from below, the worst, {worst.encoder.title}, number "
        f"{order.index(worst) + 1}. Data without any clusters have a lower spread than the real ones on "
        f"{len(below)} of "
        f"{len(judged)}: there, ranking by a low SC_std prefers noise.{relation}\n"
    )


def _claim(traps: Sequence[tuple[Images, Sequence[Found]]]) -> Claim:
    parts, signs = [], []
    for images, runs in traps:
        rank = ranks_of(runs, STD)["value"]
        signs.append(rank.sign if rank else 0)
        parts.append(
            f"{images.title}: rho of SC_std with accuracy {_rho(rank)}; structureless data have the lower SC_std on "
            f"{len(_under_null(runs))} of {len(runs)} encoders"
        )
    word: Literal["agrees", "disagrees", "mixed"] = (
        "agrees" if all(s < 0 for s in signs) else "mixed" if any(s < 0 for s in signs) else "disagrees"
    )
    said = (
        "A lower standard deviation of the silhouette goes with the better representation (as "
        "summarized second-hand)."
    )
    return Claim("SC_std (ReSA, Weng et al.)", said, word, "; ".join(parts) + ".")
