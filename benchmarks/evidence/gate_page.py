"""The page docs/evidence/gate.md: tables and sentences of what benchmarks.evidence.gate found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.evidence.gate_equal import Equal, Twice
from benchmarks.evidence.gate_ladder import (
    ALIKE,
    BETTER,
    FAIL,
    LABEL_FREE,
    LADDER,
    LETTERS,
    OPEN,
    PASS,
    STEPS,
    WORSE,
    Held,
    counts,
    known_order,
)  # fmt: skip
from benchmarks.evidence.reading import fixed, flowed, listed, percent, table
from repdiag.gate.types import Outcome

ALLOWED = "probe, 2 points allowed"
CI = "fail / undetermined / pass"
Pairs = Mapping[str, Sequence[Equal]]  # by the encoder's title


@dataclass(frozen=True)
class Rung:
    """A data set: its encoders' titles and accuracies, best first, their pairs, and the pairs judged on one half."""

    title: str
    images: int
    knn_paired: bool
    titles: Mapping[str, str]
    accuracies: Mapping[str, float]
    held: Sequence[Held]
    halved: Sequence[Held]


def page(found: Sequence[Rung], same: Pairs, other: Pairs, bytes_: Mapping[str, Twice]) -> str:
    """The page's text; every number and word on what was found is computed."""
    parts = (_outcomes, _steps, _order, _halves)
    return flowed(
        "# The gate on real encoders\n\n"
        "A gate must turn the worse encoder away and let an equal one pass. `repdiag gate` holds every encoder of the"
        " quality ladders against every other as its baseline, and one encoder against itself under another seed, batch"
        " size, precision and file format.\n\n"
        "    python -m benchmarks.evidence.gate\n\n"
        + "\n".join([_summary(found, same, other), _rules(found), *(part(found) for part in parts)])
        + "\n"
        + "\n".join([_matrices(found), _equals(same, other), _bytes(bytes_), _made()])
    )


def _all(found: Sequence[Rung], *standings: str) -> list[Held]:
    return [h for rung in found for h in rung.held if h.standing in standings]


def _summary(found: Sequence[Rung], same: Pairs, other: Pairs) -> str:
    worse, alike, better = (_all(found, s) for s in (WORSE, ALIKE, BETTER))
    halved = [h for rung in found for h in rung.halved]

    def share(held: Sequence[Held], outcome: Outcome, rule: str = "probe") -> str:
        return f"{sum(h.outcomes[rule] is outcome for h in held)} of {len(held)}"

    equal = [run.usual.outcome for runs in same.values() for run in runs]
    unequal = [run for runs in other.values() for run in runs]
    lower, higher = (
        [run.usual.outcome for run in unequal if (run.change < 0) is fell] for fell in (True, False)
    )
    return (
        f"- **Worse ones fail:** {share(worse, FAIL)} whose probe accuracy is told to be lower; {share(worse, PASS)}"
        " pass. Verdict and truth rest on the same images here; two other checks are below.\n"
        f"- **Better ones do not:** {share(better, FAIL)} fail, {share(better, PASS)} pass. Judged on one half of the"
        f" images, {share([h for h in halved if h.standing == BETTER], FAIL)} fail that the other half tells to be"
        " better.\n"
        f"- **Those that are not told apart:** {share(alike, OPEN)} are undetermined, {share(alike, FAIL)} fail,"
        f" {share(alike, PASS)} pass; when a fall of 2 points is allowed, {share(alike, PASS, ALLOWED)} pass and"
        f" {share(alike, FAIL, ALLOWED)} fail.\n"
        f"- **Equal ones pass:** {equal.count(PASS)} of {len(equal)}, by the rules of `gate --init` with its rules of"
        f" change; {equal.count(FAIL)} fail. By the same rules {lower.count(FAIL)} of {len(lower)} other encoders fail"
        f" whose probe accuracy is lower, and {higher.count(FAIL)} of {len(higher)} of those whose is not.\n"
        "- **Without labels it is another gate:** of the worse ones a rule on RankMe passes"
        f" {share(worse, PASS, 'RankMe')}, and of the better ones it fails {share(better, FAIL, 'RankMe')}.\n"
    )


def _rules(found: Sequence[Rung]) -> str:
    code = "".join(f"    {line}\n" if line else "\n" for line in LADDER.splitlines())
    knn = (
        "Probe and kNN are paired by image."
        if all(rung.knn_paired for rung in found)
        else "The probe is paired by image. kNN is not everywhere: reports of the ladders were made before reports said"
        " of each image whether kNN names it rightly, so that both encoders' noise adds up."
    )
    return (
        "## The ladder\n\n"
        "The rules, each of which is judged alone. Their confidence is the default, 0.95. A change of at least 0 allows"
        " no fall, and leaves undetermined what is not told apart.\n\n"
        f"{code}\n"
        f"{knn} RankMe and the clusters under augmentation need no labels. A difference of RankMe between encoders with"
        " different numbers of features, as some on CIFAR-10, says little: it cannot exceed that number.\n"
    )


def _outcomes(found: Sequence[Rung]) -> str:
    rows = []
    for rung in found:
        for rule in rung.held[0].outcomes:
            cells = [counts([h for h in rung.held if h.standing == s], rule) for s in (WORSE, ALIKE, BETTER)]
            rows.append([rung.title, rule, *cells])
    sizes = "; ".join(
        f"{r.title}: {len(r.accuracies)} encoders, {len(r.held)} ordered pairs, {r.images:,} images"
        for r in found
    )
    worse, better = _all(found, WORSE), _all(found, BETTER)
    said = [
        f"`{rule}` passes {sum(h.outcomes[rule] is PASS for h in worse)} of {len(worse)} worse ones and fails"
        f" {sum(h.outcomes[rule] is FAIL for h in better)} of {len(better)} better ones"
        for rule in LABEL_FREE
    ]
    return (
        f"{sizes}. How many come to {CI}, by what a plain 95 % t interval of the paired differences says of the"
        " candidate's probe accuracy:\n\n"
        f"{table(('data set', 'rule', WORSE, ALIKE, BETTER), rows, left=2)}\n"
        "Standing and rule of the probe rest on the same images, so that their agreement is a check of the gate and"
        " none of the probe; the sections on training and on halves check it by other means. The interval has two sides"
        " and 2.5 % on each, the gate's bound 5 % on one: a pair between the two is not told apart here and fails or"
        " passes there.\n\n"
        f"`kNN` fails {sum(h.outcomes['kNN'] is FAIL for h in better)} of {len(better)} that the probe tells to be"
        " better: it is another measure of quality, and the two differ on some encoders.\n\n"
        f"Without labels a gate is another thing: {listed(said)}. What such a rule turns away has less of what it"
        " measures, which is not accuracy ([how far the two agree](quality_ladder.md)). Here it compares encoders of"
        " different methods and sizes; between checkpoints of one recipe, which this page does not test, it may say"
        " more.\n"
    )


def _steps(found: Sequence[Rung]) -> str:
    rows, said = [], []
    for low, high in pairwise(STEPS):
        name = f"{100 * low:.0f} to {100 * high:.0f}" if high < 1 else f"{100 * low:.0f} or more"
        cells = [counts([h for h in r.held if low < -h.change <= high], "probe") for r in found]
        rows.append([name, *cells])
    for rung in found:
        drops = [(-h.change, h.outcomes["probe"]) for h in rung.held if h.change < 0]
        failed = [drop for drop, outcome in drops if outcome is FAIL]
        open_ = [drop for drop, outcome in drops if outcome is not FAIL]
        if failed and open_:
            said.append(
                f"on {rung.title} ({rung.images:,} images) the smallest fall that fails is {_points(min(failed))}"
                f" points, the largest that does not {_points(max(open_))}"
            )
    return (
        "### Where it cannot tell\n\n"
        f"`probe` by how many points the candidate's accuracy is below the baseline's ({CI}):\n\n"
        f"{table(('points', *(r.title for r in found)), rows)}\n"
        + (f"{_sentence('; '.join(said))}. To tell a smaller one takes more images.\n" if said else "")
    )


def _order(found: Sequence[Rung]) -> str:
    rows, odd, against, total = [], [], [], 0
    for rung in found:
        known = known_order(rung.held)
        total += len(known)
        if not known:
            continue
        rows.append([rung.title, str(len(known)), counts(known, "probe"), counts(known, ALLOWED)])
        pairs = {(h.candidate, h.baseline): h for h in rung.held}
        odd += [
            f"{_named(rung, h)} {h.outcomes['probe'].value}" for h in known if h.outcomes["probe"] is not FAIL
        ]
        turned = [pairs[h.baseline, h.candidate] for h in known]
        against += [_named(rung, h) for h in turned if h.outcomes["probe"] is FAIL]
    if not rows:
        return ""
    text = (
        "### Against what is known of the training\n\n"
        "Pairs whose candidate learned by the same method from a part of the baseline's images or classes, or from"
        " none: an order that the evaluated images have no say in. More training images need not make a"
        " better encoder.\n\n"
        f"{table(('data set', 'pairs', 'probe', ALLOWED), rows)}\n"
    )
    if odd:
        text += f"Not failed, with the change of the probe in points: {'; '.join(odd)}.\n\n"
    if against:
        text += (
            f"The other way round, with the encoder that learned from more as the candidate, of {total} fail"
            f" {len(against)}: {'; '.join(against)}. There the images say that more training made it worse.\n"
        )
    else:
        text += "The other way round, with the encoder that learned from more as the candidate, none fails.\n"
    return text


def _halves(found: Sequence[Rung]) -> str:
    rows = []
    for rung in found:
        cells = [counts([h for h in rung.halved if h.standing == s], "probe") for s in (WORSE, ALIKE, BETTER)]
        rows.append([rung.title, *cells])
    halved = [h for rung in found for h in rung.halved]
    failed = [h for h in halved if h.outcomes["probe"] is FAIL]
    passed = [h for h in halved if h.outcomes["probe"] is PASS]
    return (
        "### Judged on one half of the images, checked on the other\n\n"
        f"The rule `probe` sees one half only ({CI}); worse, not told apart and better are what the paired interval of"
        " the other half says. The probes themselves are the same in both.\n\n"
        f"{table(('data set', WORSE, ALIKE, BETTER), rows)}\n"
        f"Of {len(failed)} that fail on one half, {sum(h.change < 0 for h in failed)} have the lower accuracy on the"
        f" other, too, and {sum(h.standing == BETTER for h in failed)} are told to be better there. Of {len(passed)}"
        f" that pass, {sum(h.change > 0 for h in passed)} have the higher accuracy on the other, and"
        f" {sum(h.standing == WORSE for h in passed)} are told to be worse.\n"
    )


def _matrices(found: Sequence[Rung]) -> str:
    parts = [
        "### Every pair\n\nRows are candidates, columns baselines, both from the most accurate down; rule `probe`: F"
        " fails, u is undetermined, P passes.\n"
    ]
    for rung in found:
        letters = {(h.candidate, h.baseline): LETTERS[h.outcomes["probe"]] for h in rung.held}
        keys = list(rung.titles)
        rows = [
            [
                f"{i} {rung.titles[one]}",
                percent(rung.accuracies[one]),
                *(letters.get((one, o), "") for o in keys),
            ]
            for i, one in enumerate(keys, 1)
        ]
        heads = (rung.title, "probe", *(str(i) for i in range(1, len(keys) + 1)))
        parts.append(table(heads, rows))
    return "\n".join(parts)


def _equals(same: Pairs, other: Pairs) -> str:
    rows, said = [], []
    for title, runs in same.items():
        for run in runs:
            results = run.usual.results
            strict = " / ".join(LETTERS[r.outcome] for r in run.strict.results)
            rows.append(
                [title, run.title, run.usual.outcome.value, f"{run.usual.count(PASS)} of {len(results)}",
                 f"{run.gained} / {run.lost}", strict]
            )  # fmt: skip
            said += [f"- {title}, {run.title}: {r.reason}\n" for r in results if r.outcome is not PASS]
    every = [r.outcome for runs in same.values() for run in runs for r in run.strict.results]
    heads = ("encoder", "what differs", "gate", "rules that pass", "gained / lost", "no change allowed")
    unequal = [
        [title, run.title, _points(run.change, "+"), run.usual.outcome.value]
        + [str(run.usual.count(outcome)) for outcome in (FAIL, OPEN, PASS)]
        for title, runs in other.items()
        for run in runs
    ]
    return (
        "## Equal encoders\n\n"
        "The same weights on the same images, scored once as the baseline and again with one thing changed; the rules"
        " are those of `gate --init` from the first report, with its rules of change switched on. Gained and lost are"
        " the images that the probe names rightly only now, and only before. The last column allows no change at all:"
        " probe / kNN / nearest center, `change_at_least = 0` (`change_at_most = 0` for the error).\n\n"
        f"{table(heads, rows, left=3)}\n"
        + (
            "Not passed:\n\n" + "".join(said) + "\n"
            if said
            else "No rule of any run fails or is undetermined.\n\n"
        )
        + f"With no change allowed, {every.count(FAIL)} of {len(every)} rules fail, {every.count(OPEN)} are"
        f" undetermined and {every.count(PASS)} pass: a change that is not exactly 0 straddles a limit of 0. Whoever"
        " wants green for an equal encoder allows a small fall, as the file of `--init` does. The seed draws"
        " the folds in which images"
        " without a split are probed, and those on which the probe's regularization is chosen: with another one it is"
        " another measurement of the same encoder, and the gate warns of it.\n\n"
        "The same rules and baselines with encoders that are not equal:\n\n"
        f"{table(('baseline', 'candidate', 'probe, points', 'gate', 'fail', 'undetermined', 'pass'), unequal, left=2)}"
    )


def _bytes(runs: Mapping[str, Twice]) -> str:
    rows = [
        [name, str(run.code), kind, f"{size:,}", "the same" if same else "DIFFERENT"]
        for name, run in runs.items()
        for kind, (size, same) in run.written.items()
    ]
    return (
        "## The same bytes\n\n"
        "The command was run twice on the same reports, in two processes with different hash seeds:\n\n"
        f"{table(('gate', 'exit code', 'output', 'bytes', 'second run'), rows)}"
    )


def _made() -> str:
    return (
        "## How it was made\n\n"
        "`python -m benchmarks.evidence.gate` reads the runs of [the evidence](README.md), scores what it does not find"
        " under out/evidence-gate, and writes this page. Each pair is counted in both orders, and pairs of one ladder"
        " share encoders and images: they are no independent trials, and no count here is an error rate. Error rates"
        " are [simulated](../benchmarks/gate-power.md).\n"
    )


def _named(rung: Rung, held: Held) -> str:
    return (
        f"{rung.titles[held.candidate]} against {rung.titles[held.baseline]} on {rung.title}"
        f" ({_points(held.change, '+')})"
    )


def _points(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.1f}" if sign else fixed(100 * share, 1)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
