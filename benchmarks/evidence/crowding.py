"""Are self-supervised features more crowded than supervised ones of the same architecture?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.catalog import Images, Training
from benchmarks.evidence.reading import (
    Answer,
    Claim,
    Declared,
    Evidence,
    Found,
    Page,
    difference,
    fixed,
    listed,
    number,
    percent,
    span,
    table,
)

PROBE = "linear_probe_accuracy"
FAMILIES = ("crowding", "similarity")
MORE = ("silhouette_labels_mean",)
QUESTION = (
    "Song et al. say that self-supervised features of different classes are not clearly separated, "
    "and supervised ones "
    "are. Encoders of like architecture and equal number of features, side by side on the same images."
)
NEAR = 0.03
"""Encoders whose probes differ by no more than this count as equally good."""

Word = Literal["more crowded", "less crowded", "not told apart"]


@dataclass(frozen=True)
class Beside:
    """A self-supervised and a supervised encoder on the same images."""

    title: str
    images: Images
    ours: Found
    supervised: Found

    def gap(self, name: str) -> Answer | None:
        """The metric's self-supervised value less the supervised one."""
        a, b = self.ours.answers.get(name), self.supervised.answers.get(name)
        return None if a is None or b is None else difference(a, b)

    def share(self, name: str) -> Answer | None:
        """log of (value / null) of the self-supervised less that of the supervised: free of the spaces' scales.

        Both nulls permute labels, so that value / null is 1 where classes mean nothing.
        """
        a, b = (_log_share(f.answers.get(name)) for f in (self.ours, self.supervised))
        return None if a is None or b is None else difference(a, b)


def _log_share(answer: Answer | None) -> Answer | None:
    if answer is None or answer.null_mean is None or answer.value <= 0 or answer.null_mean <= 0:
        return None
    share = math.log(answer.value / answer.null_mean)
    error = answer.error / answer.value
    return Answer(share, share - 1.96 * error, share + 1.96 * error)


def word(gap: Answer | None, declared: Declared) -> Word | None:
    """What a gap says, by the metric's own direction; None where it has none."""
    if gap is None or gap.low is None or gap.high is None or not declared.sign:
        return None
    if gap.low <= 0 <= gap.high:
        return "not told apart"
    return "less crowded" if (gap.value > 0) == (declared.sign > 0) else "more crowded"


def page(evidence: Evidence) -> Page:
    """supervised_vs_ssl.md."""
    matched = _matched(evidence)
    equal = _equally_good(evidence)
    names = [
        name
        for name, d in evidence.declared.items()
        if (d.family in FAMILIES or name in MORE) and not d.label_free and any(p.gap(name) for p in matched)
    ]
    body = [_how(), _pairs_table("Matched pairs", matched)]
    body += [
        "## Which is more crowded, by which measure\n",
        _reading(evidence, matched, names),
    ]
    body += [_counts(evidence, matched, names)]
    if equal:
        body += ["## At equal probe accuracy\n", _equal_words(equal), _pairs_table("", equal)]
        body += [_reading(evidence, equal, names), _counts(evidence, equal, names)]
    body += ["## By how much\n", *(_values(evidence, pair, names) for pair in matched)]
    return Page(
        "supervised_vs_ssl.md",
        "Supervised against self-supervised",
        QUESTION,
        "\n".join(body),
        _claims(evidence, matched, equal, names),
    )


def _how() -> str:
    return """## How to read it

A gap is the self-supervised value less the supervised one; its interval takes both encoders' intervals as
independent,
which on the same images is rather too wide. *More crowded* and *less crowded* are by the metric's declared direction,
where the interval excludes 0. Distances and variances depend on how a space is scaled and how wide a cone its vectors
fill, so each is also taken relative to its null with permuted labels: value / null, compared between the two
encoders.
The autoencoders are unsupervised, but neither self-supervised in the paper's sense nor of the same
architecture as the
ResNets; those ResNets are judged on the test part of the very task that they were trained on, the Conv4 pairs
on images
and classes that neither of the two was trained on.
"""


def _matched(evidence: Evidence) -> list[Beside]:
    found = []
    for images in evidence.images:
        for pair in evidence.study.pairs:
            both = evidence.pick(images, (pair.ours, pair.supervised))
            if len(both) == 2:
                found.append(Beside(pair.title, images, *both))
    return found


def _equally_good(evidence: Evidence) -> list[Beside]:
    """For each supervised encoder the self-supervised one of equal D whose probe is nearest, if near enough."""
    found = []
    for images in evidence.images:
        runs = [f for f in evidence.of(images) if PROBE in f.answers]
        free = [f for f in runs if f.encoder.training in (Training.SELF, Training.AUTOENCODER)]
        for other in runs:
            same = [f for f in free if f.report["dataset"]["features"] == other.report["dataset"]["features"]]
            if other.encoder.training is not Training.SUPERVISED or not same:
                continue
            near = min(same, key=lambda f: abs(f.answers[PROBE].value - other.answers[PROBE].value))
            if abs(near.answers[PROBE].value - other.answers[PROBE].value) <= NEAR:
                title = f"{near.encoder.title} / {other.encoder.title}"
                found.append(Beside(title, images, near, other))
    return found


def _pairs_table(title: str, pairs: Sequence[Beside]) -> str:
    rows = [
        [
            p.title, p.images.title, p.ours.encoder.title, percent(p.ours.value(PROBE)),
            p.supervised.encoder.title, percent(p.supervised.value(PROBE)),
        ]
        for p in pairs
    ]  # fmt: skip
    heads = ("pair", "images", "without labels", "probe", "with labels", "probe")
    return (f"## {title}\n\n" if title else "") + table(heads, rows, left=3)


def _tally(
    pairs: Sequence[Beside], name: str, declared: Declared, relative: bool = False
) -> tuple[int, int, int]:
    """How many pairs are more crowded, less crowded, and not told apart."""
    words = [word(p.share(name) if relative else p.gap(name), declared) for p in pairs]
    return words.count("more crowded"), words.count("less crowded"), words.count("not told apart")


def _by_images(pairs: Sequence[Beside]) -> dict[str, list[Beside]]:
    found: dict[str, list[Beside]] = {}
    for pair in pairs:
        found.setdefault(pair.images.title, []).append(pair)
    return found


def _counts(evidence: Evidence, pairs: Sequence[Beside], names: Sequence[str]) -> str:
    sets = _by_images(pairs)
    heads = [
        "metric",
        "better",
        *(f"{title} ({len(some)})" for title, some in sets.items()),
        "all, relative to null",
    ]
    rows = []
    for name in names:
        declared = evidence.declared[name]
        if declared.sign:
            cells = [_tally(some, name, declared) for some in sets.values()]
            cells.append(_tally(pairs, name, declared, relative=True))
            rows.append([f"`{name}`", declared.direction, *(" : ".join(map(str, cell)) for cell in cells)])
    return (
        "Pairs whose features without labels are more crowded : less crowded : not told apart, by data set, and over "
        "all of them relative to the null.\n\n" + table(heads, rows, left=2)
    )


def _leaning(evidence: Evidence, pairs: Sequence[Beside], names: Sequence[str]) -> dict[str, list[str]]:
    """Metrics by what they say of the pairs that they tell apart (half of all at least): three to one, or divided."""
    found: dict[str, list[str]] = {"more crowded": [], "less crowded": [], "divided": []}
    for name in names:
        declared = evidence.declared[name]
        more, less, _ = _tally(pairs, name, declared)
        if declared.sign and more + less >= max(1, len(pairs) / 2):
            kind = "more crowded" if more >= 3 * less else "less crowded" if less >= 3 * more else "divided"
            found[kind].append(f"`{name}` ({more}:{less})")
    return found


def _reading(evidence: Evidence, pairs: Sequence[Beside], names: Sequence[str]) -> str:
    parts = []
    for title, some in _by_images(pairs).items():
        found = _leaning(evidence, some, names)
        parts.append(
            f"- {title}, pairs: {len(some)}. Without labels *more* crowded by "
            f"{listed(found['more crowded'], 'no metric')}; "
            f"*less* crowded by {listed(found['less crowded'], 'no metric')}; divided: {listed(found['divided'])}."
        )
    return (
        "In brackets the pairs that a metric finds more : less crowded without labels. A metric stands "
        "here where it tells "
        "at least half of the pairs apart, and leans where it does so three to one.\n\n"
        + "\n".join(parts)
        + "\n"
    )


def _equal_words(equal: Sequence[Beside]) -> str:
    return (
        "A supervised encoder is usually the better one, and a better encoder is less crowded, labels "
        "or not. So each "
        "supervised encoder stands here beside the self-supervised one of as many features whose linear probe is "
        f"nearest, where they differ by at most {100 * NEAR:.0f} points: {len(equal)} pairs. What still "
        f"differs is the "
        "training.\n"
    )


def _values(evidence: Evidence, pair: Beside, names: Sequence[str]) -> str:
    rows = []
    for name in names:
        a, b, gap = pair.ours.answers.get(name), pair.supervised.answers.get(name), pair.gap(name)
        if a is None or b is None or gap is None:
            continue
        ratio = a.value / b.value if b.value and a.value * b.value > 0 else None
        said = word(gap, evidence.declared[name]) or "-"
        nulls = f"{_null(a)} / {_null(b)}"
        change = f"{number(gap.value)} {span(gap.low, gap.high)}"
        rows.append([f"`{name}`", said, a, b, nulls, change, fixed(ratio)])
    heads = ("metric", "without labels", "without", "with", "nulls", "gap", "ratio")
    return f"### {pair.title}, {pair.images.title}\n\n" + table(heads, rows, left=2)


def _null(answer: Answer) -> str:
    return "-" if answer.null_mean is None else number(answer.null_mean)


def _claims(
    evidence: Evidence, matched: Sequence[Beside], equal: Sequence[Beside], names: Sequence[str]
) -> tuple[Claim, ...]:
    if not matched:
        return ()
    words, parts = [], []
    for pairs, what in ((matched, "matched pairs"), (equal, "pairs of equal probe accuracy")):
        for title, some in _by_images(pairs).items():
            more, less, divided = (len(names) for names in _leaning(evidence, some, names).values())
            if pairs is matched:
                words.append(
                    "agrees" if more > less + divided else "disagrees" if less > more + divided else "mixed"
                )
            parts.append(f"{title}, {len(some)} {what}: {more}, {less}, {divided}")
    verdict: Literal["agrees", "disagrees", "mixed"] = words[0] if len(set(words)) == 1 else "mixed"  # type: ignore[assignment]
    sentence = (
        f"Metrics that find the features without labels more crowded, less crowded, and divided ones: "
        f"{'; '.join(parts)}."
    )
    said = "Features of different classes are less clearly separated after self-supervised training."
    return (Claim("Crowding (Song et al.)", said, verdict, sentence),)
