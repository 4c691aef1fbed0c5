"""What `repdiag gate` says of encoders whose quality is known: all of a ladder against each other, and equal ones.

python -m benchmarks.evidence.gate [--fresh]

The ladders' runs are those of benchmarks.evidence.score, which are only read. Two encoders are scored under
out/evidence-gate, once for each thing that must not matter. Then docs/evidence/gate.md is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from benchmarks.catalog import ROOT, SHARED
from benchmarks.evidence import gate_equal
from benchmarks.evidence.gate_equal import OUT, SUBJECTS, TABLES
from benchmarks.evidence.gate_ladder import LADDER, PROBE, halves, hold
from benchmarks.evidence.gate_page import Rung, page
from benchmarks.evidence.reading import Evidence, read
from benchmarks.evidence.study import OUT as RUNS
from benchmarks.evidence.study import STUDY
from repdiag.gate.rules import parse_rules
from repdiag.report.reading import read_report
from repdiag.types import Report

PAGE = ROOT / "docs" / "evidence" / "gate.md"


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
                all("knn_correct" in report.samples.columns for report in found.values()),
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
    other = {subject.title: gate_equal.unequals(subject) for subject in SUBJECTS}
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
    PAGE.write_text(page(found, same, other, runs), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
