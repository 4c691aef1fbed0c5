"""What `repdiag gate` says of encoders whose quality is known: all of a ladder against each other, and equal ones.

python -m benchmarks.evidence.gate [--fresh]

The ladders' runs are those of benchmarks.evidence.score, which are only read. Two encoders are scored under
out/evidence-gate, once for each thing that must not matter. Then docs/evidence/gate.md is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.catalog import ROOT, SHARED
from benchmarks.evidence import gate_equal
from benchmarks.evidence.gate_equal import OUT, SUBJECTS, TABLES, Equal, Twice
from benchmarks.evidence.gate_ladder import (
    ALIKE,
    BETTER,
    FAIL,
    LABEL_FREE,
    LADDER,
    LETTERS,
    OPEN,
    PASS,
    PROBE,
    STEPS,
    WORSE,
    Held,
    counts,
    halves,
    hold,
    known_order,
)  # fmt: skip
from benchmarks.evidence.reading import Evidence, fixed, flowed, listed, percent, read, table
from benchmarks.evidence.study import OUT as RUNS
from benchmarks.evidence.study import STUDY
from repdiag.gate.rules import parse_rules
from repdiag.report.reading import read_report
from repdiag.types import Report

PAGE = ROOT / "docs" / "evidence" / "gate.md"
CI = "fail / undetermined / pass"


@dataclass(frozen=True)
class Rung:
    """A data set: its encoders' titles and accuracies, best first, their pairs, and the pairs judged on one half."""

    title: str
    images: int
    titles: Mapping[str, str]
    accuracies: Mapping[str, float]
    held: Sequence[Held]
    halved: Sequence[Held]


def rungs(reports: Mapping[str, Mapping[str, Report]], titles: Mapping[str, str]) -> list[Rung]:
    """Every data set's encoders against each other; `reports` by data set and encoder."""
    rules = parse_rules(LADDER)
    probe = type(rules)(rules.rules[:1])
    out = []
    for title, found in reports.items():
        values = {key: report.value(PROBE) for key, report in found.items()}
        accuracies = {key: v.value for key, v in values.items() if v is not None}
        order = sorted(accuracies, key=lambda key: (-accuracies[key], key))
        parts = {key: halves(found[key]) for key in order}
        first, second = ({key: parts[key][i] for key in order} for i in (0, 1))
        out.append(
            Rung(
                title,
                len(next(iter(found.values())).samples),
                {key: titles[key] for key in order},
                accuracies,
                hold({key: found[key] for key in order}, rules),
                hold(first, probe, second),
            )
        )
    return out


def ladders(evidence: Evidence) -> tuple[dict[str, dict[str, Report]], dict[str, str]]:
    """The runs of every data set with more than one encoder, and the encoders' titles."""
    reports = {
        images.title: {
            run.encoder.key: read_report(RUNS / run.run.name, tables=TABLES) for run in evidence.of(images)
        }
        for images in evidence.images
        if len(evidence.of(images)) > 1
    }
    return reports, {run.encoder.key: run.encoder.title for run in evidence.found}


# ------------------------------------------------------------------------------------ the page


def page(found: Sequence[Rung], same: Mapping[str, Sequence[Equal]], bytes_: Mapping[str, Twice]) -> str:
    """The page's text; every number and word on what was found is computed."""
    return flowed(
        "# The gate on real encoders\n\n"
        "A gate must turn the worse encoder away and let an equal one pass. `repdiag gate` holds every encoder of the"
        " quality ladders against every other as its baseline, and one encoder against itself under another seed, batch"
        " size, precision and file format.\n\n"
        "    python -m benchmarks.evidence.gate\n\n"
        + "\n".join(
            [_summary(found, same), _rules(), _outcomes(found), _steps(found), _order(found), _halves(found)]
        )
        + "\n"
        + "\n".join([_matrices(found), _equals(same), _bytes(bytes_), _made()])
    )


def _all(found: Sequence[Rung], *standings: str) -> list[Held]:
    return [h for rung in found for h in rung.held if h.standing in standings]


def _summary(found: Sequence[Rung], same: Mapping[str, Sequence[Equal]]) -> str:
    worse, alike, better = (_all(found, s) for s in (WORSE, ALIKE, BETTER))

    def share(held: Sequence[Held], outcome: object) -> str:
        n = sum(h.outcomes["probe"] is outcome for h in held)
        return f"{n} of {len(held)}"

    rows = [e for many in same.values() for e in many]
    passed = sum(e.usual.outcome is PASS for e in rows)
    refused = sum(e.usual.outcome is FAIL for e in rows)
    return (
        f"- **Worse ones fail:** {share(worse, FAIL)} whose probe accuracy is told to be lower; {share(worse, PASS)}"
        " pass.\n"
        f"- **Better ones do not:** {share(better, FAIL)} fail, {share(better, PASS)} pass.\n"
        f"- **Where the probe cannot tell the two apart** nor does the gate: {share(alike, OPEN)} are undetermined,"
        f" {share(alike, FAIL)} fail, {share(alike, PASS)} pass.\n"
        f"- **Equal ones pass:** {passed} of {len(rows)} pass the rules of `gate --init` with its rules of change;"
        f" {refused} fail.\n"
    )


def _rules() -> str:
    code = "".join(f"    {line}\n" if line else "\n" for line in LADDER.splitlines())
    return (
        "## The ladder\n\n"
        "The rules, each of which is judged alone. Their confidence is the default, 0.95; 0 allows no change for the"
        " worse, and so leaves undetermined what is not told apart.\n\n"
        f"{code}\n"
        "The probe is paired by image. kNN is not: the ladders' reports were made before reports said of each image"
        " whether kNN names it rightly, so that both encoders' noise adds up. RankMe and the clusters under"
        " augmentation need no labels.\n"
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
        " none of the probe; the sections on training and on halves are independent ones. The interval has two sides"
        " and 2.5 % on each, the gate's bound 5 % on one: a pair between the two is not told apart here and fails or"
        " passes there.\n\n"
        f"Without labels a gate is another thing: {listed(said)}. What falls with such a rule is what it measures, not"
        " accuracy ([how far the two agree](quality_ladder.md)); it belongs into a rules file for encoders of one"
        " training recipe, where a fall is a warning.\n"
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
        + (
            f"{_sentence('; '.join(said))}. Smaller falls need more images, or wait for a second look.\n"
            if said
            else ""
        )
    )


def _order(found: Sequence[Rung]) -> str:
    rows, odd, against = [], [], []
    for rung in found:
        known = known_order(rung.held)
        if not known:
            continue
        rows.append(
            [rung.title, str(len(known)), counts(known, "probe"), counts(known, "probe, 2 points allowed")]
        )
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
        "Pairs whose candidate learned by the same method from a part of the baseline's images or classes, or from none:"
        " an order that the evaluated images have no say in. More training images need not make a better encoder.\n\n"
        f"{table(('data set', 'pairs', 'probe', 'probe, 2 points allowed'), rows)}\n"
    )
    if odd:
        text += f"Not failed, with the change of the probe in points: {'; '.join(odd)}.\n\n"
    if against:
        text += (
            f"The other way round, with the encoder that learned from more as the candidate, {len(against)} fail:"
            f" {'; '.join(against)}. There the images say that it is the worse one.\n"
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
    parts = ["### Every pair\n\nRows are candidates, columns baselines, both from the most accurate down; rule `probe`: F"
             " fails, u is undetermined, P passes.\n"]  # fmt: skip
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


def _equals(same: Mapping[str, Sequence[Equal]]) -> str:
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
    every = [r for runs in same.values() for run in runs for r in run.strict.results]
    failed = sum(r.outcome is FAIL for r in every)
    heads = ("encoder", "what differs", "gate", "rules that pass", "gained / lost", "no change allowed")
    return (
        "## Equal encoders\n\n"
        "The same weights on the same images, scored once as the baseline and again with one thing changed; the rules are"
        " those of `gate --init` from the first report, with its rules of change switched on. Gained and lost are the"
        " images that the probe names rightly only now, and only before. The last column allows no change at all:"
        " probe / kNN / nearest center, `change_at_least = 0` (`change_at_most = 0` for the error).\n\n"
        f"{table(heads, rows, left=3)}\n"
        + (
            "Not passed:\n\n" + "".join(said) + "\n"
            if said
            else "No rule of any run fails or is undetermined.\n\n"
        )
        + f"With no change allowed, {failed} of {len(every)} rules fail,"
        f" {sum(r.outcome is OPEN for r in every)} are undetermined and {sum(r.outcome is PASS for r in every)} pass. A"
        " change that is not exactly 0 straddles a limit of 0: whoever wants green for an equal encoder allows a small"
        " fall, as the file of `--init` does. The seed is part of what is compared: it draws the folds in which a data"
        " set without a split is probed, so another seed is another measurement of the same encoder.\n"
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
        "\n## How it was made\n\n"
        "`python -m benchmarks.evidence.gate` reads the runs of [the evidence](README.md), scores what it does not find"
        " under out/evidence-gate, and writes this page. Pairs of one ladder share encoders and images: they are no"
        " independent trials, and no count here is an error rate. Error rates are"
        " [simulated](../benchmarks/gate-power.md).\n"
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


def main() -> int:
    """Score what is missing, hold all of it against each other, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fresh", action="store_true", help="score the equal encoders again")
    given = parser.parse_args()
    evidence = read(STUDY, RUNS)
    if not evidence.found or not SHARED.is_dir():
        raise SystemExit(
            "nothing is scored yet: python -m benchmarks.evidence.score (it needs ../shared/data)"
        )
    for subject in SUBJECTS:
        gate_equal.make(subject, given.fresh)
    same = {subject.title: gate_equal.equals(subject) for subject in SUBJECTS}
    found = rungs(*ladders(evidence))
    first = evidence.of(evidence.images[0])
    worst, best = (
        RUNS / pick(first, key=lambda run: run.value(PROBE) or 0.0).run.name for pick in (min, max)
    )
    simclr = OUT / f"{SUBJECTS[0].key}--seed1", OUT / f"{SUBJECTS[0].key}--first"
    init = gate_equal.init_rules(read_report(simclr[1], tables=TABLES))
    runs = {
        "the worst against the best, the ladder's rules": gate_equal.twice(worst, best, LADDER),
        f"{SUBJECTS[0].title}, another seed, rules of --init": gate_equal.twice(*simclr, init),
    }
    PAGE.write_text(page(found, same, runs), encoding="utf-8")
    print(Path(PAGE).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
