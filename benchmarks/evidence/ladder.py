"""Which label-free metrics rank encoders as a linear probe does?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.catalog import Images
from benchmarks.evidence.ranks import FEWEST, Rank, spearman
from benchmarks.evidence.reading import Declared, Evidence, Found, Page, fixed, listed, percent, table
from benchmarks.evidence.study import Ladder

PROBE, KNN = "linear_probe_accuracy", "knn_accuracy"
QUESTION = (
    "Encoders of one architecture that were trained on ever more images, or on images of ever more classes: which "
    "label-free metrics put them in the order of their linear probes?"
)
Ranks = dict[str, dict[str, Rank]]  # by metric, then by the key of the data set


def page(evidence: Evidence) -> Page:
    """quality_ladder.md."""
    parts = [_how(evidence)]
    for ladder in evidence.study.ladders:
        there = [i for i in evidence.images if len(evidence.pick(i, ladder.encoders)) >= FEWEST]
        if there:
            parts.append(_ladder(evidence, ladder, there))
    return Page("quality_ladder.md", "A quality ladder", QUESTION, "\n".join(parts))


def _how(evidence: Evidence) -> str:
    return f"""## How to read it

Spearman's rho between a metric and the linear probe's accuracy over the encoders of a ladder, with a 95 %
interval and a
two-sided permutation p. The interval draws encoders with replacement and adds to every value noise as large as
its own
interval says. Few encoders mean wide intervals: nothing but a large rho can be told from none. *rightly*: the
interval
excludes 0, p < 0.05, and the sign is the one that the metric declares (higher or lower is better); *wrongly*:
the same
with the other sign; *told* where it declares no direction. Many metrics are tried at once: of 40 that know
nothing, two
would have p < 0.05. Label-free metrics that count clusters are told the number of classes. {_sizes(evidence)}
"""


def _sizes(evidence: Evidence) -> str:
    parts = []
    for images in evidence.images:
        data = evidence.of(images)[0].report["dataset"]
        part = f"{data['evaluated']:,} images of {data['classes']} classes evaluated"
        parts.append(f"{images.title}: {part} (split: {data['split']}).")
    return " ".join(parts)


def ranked(
    evidence: Evidence, ladder: Ladder, images: Sequence[Images], against: str, label_free: bool
) -> Ranks:
    """Rho with `against` for every metric that needs no labels (or every one that does), by data set."""
    found: Ranks = {}
    for name, declared in evidence.declared.items():
        if declared.label_free is not label_free or name in (PROBE, KNN):
            continue
        for data in images:
            runs = [
                r for r in evidence.pick(data, ladder.encoders) if name in r.answers and against in r.answers
            ]
            rank = spearman([r.answers[name] for r in runs], [r.answers[against] for r in runs])
            if rank is not None:
                found.setdefault(name, {})[data.key] = rank
    return found


def reads(declared: Declared, ranks: dict[str, Rank], images: Sequence[Images]) -> str:
    """What a metric does on each data set, in a word."""
    words = []
    for data in images:
        sign = ranks[data.key].sign if data.key in ranks else 0
        if not sign:
            words.append("not told apart" if data.key in ranks else "-")
        elif not declared.sign:
            words.append("told")
        else:
            words.append("rightly" if sign == declared.sign else "wrongly")
    return words[0] if len(set(words)) == 1 else "; ".join(words)


def _ladder(evidence: Evidence, ladder: Ladder, images: Sequence[Images]) -> str:
    free = ranked(evidence, ladder, images, PROBE, True)
    labeled = ranked(evidence, ladder, images, PROBE, False)
    near = ranked(evidence, ladder, images, KNN, True) | ranked(evidence, ladder, images, KNN, False)
    declared = evidence.declared
    text = [
        f"## Ladder: {ladder.title}\n",
        _accuracies(evidence, ladder, images),
        _reading(declared, free, images),
    ]
    text += ["### Label-free metrics\n", _table(declared, free, near, images)]
    if labeled:
        text += [
            "### Labeled metrics, for comparison\n",
            "These see the labels, so that they rank well is no surprise; where they do not, they measure something "
            "else than what a linear probe can use.\n",
            _table(declared, labeled, near, images),
        ]
    return "\n".join(text)


def _accuracies(evidence: Evidence, ladder: Ladder, images: Sequence[Images]) -> str:
    heads = ["encoder"] + [f"{what}, {d.title}" for d in images for what in ("linear probe", "kNN")]
    by_key: dict[str, dict[str, Found]] = {}
    for data in images:
        for run in evidence.pick(data, ladder.encoders):
            by_key.setdefault(run.encoder.key, {})[data.key] = run
    rows = []
    for runs in by_key.values():
        title = next(iter(runs.values())).encoder.title
        cells = [_accuracy(runs.get(d.key), name) for d in images for name in (PROBE, KNN)]
        rows.append([title, *cells])
    return table(heads, rows)


def _accuracy(run: Found | None, name: str) -> str:
    answer = run.answers.get(name) if run else None
    return "-" if answer is None else f"{percent(answer.value)} ± {100 * 1.96 * answer.error:.1f}"


def _reading(declared: dict[str, Declared], free: Ranks, images: Sequence[Images]) -> str:
    """One paragraph of plain reading."""
    tried = {name: r for name, r in free.items() if len(r) == len(images)}

    def those(sign: int) -> list[str]:
        return [
            f"`{name}`"
            for name, ranks in tried.items()
            if declared[name].sign and all(r.sign == sign * declared[name].sign for r in ranks.values())
        ]

    told = [
        f"`{name}` ({'+' if next(iter(ranks.values())).sign > 0 else '-'})"
        for name, ranks in tried.items()
        if not declared[name].sign and abs(sum(r.sign for r in ranks.values())) == len(images)
    ]
    n = max((r.n for ranks in free.values() for r in ranks.values()), default=0)
    where = "on every data set" if len(images) > 1 else f"on {images[0].title}"
    return (
        f"Label-free metrics by which {n} encoders can be ranked {where}: {len(tried)}. Rightly: "
        f"{len(those(1))} ({listed(those(1))}). Wrongly, against the direction that they declare: "
        f"{len(those(-1))} ({listed(those(-1))}). Told apart with the same sign {where}, without a declared "
        f"direction: {len(told)} ({listed(told)}). The others cannot be told from chance, or not everywhere.\n"
    )


def _table(declared: dict[str, Declared], ranks: Ranks, near: Ranks, images: Sequence[Images]) -> str:
    heads = ["metric", "better"]
    for data in images:
        heads += [f"rho, {data.title}", "p", "rho with kNN"]
    heads.append("ranks")
    rows = []
    for name in sorted(ranks, key=lambda m: (-_mean(ranks[m]) * (declared[m].sign or 1), m)):
        cells: list[str] = [f"`{name}`", declared[name].direction]
        for data in images:
            rank, other = ranks[name].get(data.key), near.get(name, {}).get(data.key)
            if rank is None:
                cells += ["-", "-", "-"]
                continue
            cells += [f"{fixed(rank.rho)} [{fixed(rank.low)}, {fixed(rank.high)}]", fixed(rank.p, 3)]
            cells.append(fixed(other.rho if other else None))
        rows.append([*cells, reads(declared[name], ranks[name], images)])
    return table(heads, rows, left=2)


def _mean(ranks: dict[str, Rank]) -> float:
    return sum(r.rho for r in ranks.values()) / len(ranks)
