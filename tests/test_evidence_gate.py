"""The gate's evidence: on toy encoders whose truth is known its tables say what they must."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from sample_report import sample_report

sys.path.insert(0, str(ROOT))

from benchmarks.evidence import gate, gate_equal, gate_ladder, gate_page
from benchmarks.evidence.gate_ladder import ALIKE, BETTER, FAIL, LADDER, OPEN, PASS, PROBE, WORSE
from repdiag.gate.rules import parse_rules
from repdiag.report import write_report
from repdiag.types import Interval, Report, Table

N = 400
BASE = np.arange(N) % 10 != 0  # 90 %


def toy(correct: np.ndarray) -> Report:
    """A report in which the probe names just these images rightly; all else is that of every toy."""
    report = sample_report(n=N, d=16, k=4, thumbnails=0)
    columns = {**report.samples.columns, "correct": correct}
    value = float(correct.mean())
    measured = tuple(
        replace(
            m,
            outcome=replace(m.outcome, value=value, interval=Interval(value - 0.03, value + 0.03, "toy", N)),
        )
        if m.spec.name == PROBE
        else m
        for m in report.measurements
    )
    return replace(report, samples=Table(columns), measurements=measured)


def flipped(lost: int, gained: int) -> Report:
    """`BASE` with so many images lost and gained."""
    correct = BASE.copy()
    correct[np.flatnonzero(BASE)[:: N // 40][:lost]] = False
    correct[np.flatnonzero(~BASE)[:gained]] = True
    return toy(correct)


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {"random": flipped(30, 0), "protoclr-all": toy(BASE), "umtra": flipped(3, 3)}


@pytest.fixture(scope="module")
def rung(reports: dict[str, Report]) -> gate_page.Rung:
    return gate.rungs({"Toy": reports}, {key: f"Encoder {key}" for key in reports})[0]


def test_paired_by_hand() -> None:
    one, other = flipped(3, 1), toy(BASE)
    change, low, high = gate_ladder.paired(one, other)
    assert change == pytest.approx(-2 / N)
    # 3 differences of -1, one of +1, the others 0: variance (4 - N (2/N)^2) / (N - 1); t(399) at 0.975 is 1.96593
    half = 1.965927 * np.sqrt((4 - 4 / N) / (N - 1) / N)
    assert (low, high) == (pytest.approx(-2 / N - half, rel=1e-5), pytest.approx(-2 / N + half, rel=1e-5))
    assert gate_ladder.paired(other, one)[0] == -change


def test_worse_fails_better_passes_alike_is_open(reports: dict[str, Report]) -> None:
    held = {(h.candidate, h.baseline): h for h in gate_ladder.hold(reports, parse_rules(LADDER))}
    assert len(held) == 6
    found = {pair: (h.standing, h.outcomes["probe"]) for pair, h in held.items()}
    assert found["random", "protoclr-all"] == (WORSE, FAIL)
    assert found["protoclr-all", "random"] == (BETTER, PASS)
    assert found["umtra", "protoclr-all"] == (ALIKE, OPEN)
    allowed = held["umtra", "protoclr-all"].outcomes[gate_page.ALLOWED]
    assert allowed is PASS  # 6 changes of 400 are less than 2 points, even at the bound


def test_halves_are_one_partition_for_every_report(reports: dict[str, Report]) -> None:
    parts = {key: gate_ladder.halves(report) for key, report in reports.items()}
    ids = [[set(map(str, half.samples.columns["id"])) for half in pair] for pair in parts.values()]
    assert all(one == ids[0] for one in ids)
    assert not ids[0][0] & ids[0][1]
    assert len(ids[0][0] | ids[0][1]) == N
    assert min(map(len, ids[0])) > N / 3
    for half in parts["random"]:
        measured = half.value(PROBE)
        assert measured is not None
        assert measured.value == half.samples.columns["correct"].mean()
    assert sum(half.samples.columns["correct"].sum() for half in parts["random"]) == BASE.sum() - 30


def test_verdict_on_a_half_is_checked_on_the_other() -> None:
    """An encoder that is worse on one half only: it fails there, and the other half calls it better."""
    ids = [str(i) for i in toy(BASE).samples.columns["id"]]
    first = set(map(str, gate_ladder.halves(toy(BASE))[0].samples.columns["id"]))
    inside = np.array([i in first for i in ids])
    other = toy(np.where(inside, False, True))
    probe = parse_rules(LADDER.split("\n\n")[0])
    sides = [{"a": gate_ladder.halves(other)[i], "b": gate_ladder.halves(toy(BASE))[i]} for i in (0, 1)]
    held = {(h.candidate, h.baseline): h for h in gate_ladder.hold(sides[0], probe, sides[1])}
    assert held["a", "b"].outcomes["probe"] is FAIL
    assert held["a", "b"].standing == BETTER


def test_known_order_points_one_way(rung: gate_page.Rung) -> None:
    known = {(h.candidate, h.baseline) for h in gate_ladder.known_order(rung.held)}
    assert known == {("random", "protoclr-all"), ("random", "umtra")}


def test_equal_and_unequal(reports: dict[str, Report]) -> None:
    first = reports["protoclr-all"]
    rules = parse_rules(gate_equal.init_rules(first))
    assert (
        sum(rule.limit.kind.value != "value" for rule in rules.rules) >= 2
    )  # those of change are switched on
    again = gate_equal.equal("again", first, first)
    assert (again.gained, again.lost, again.change) == (0, 0, 0.0)
    assert again.usual.outcome is PASS
    assert again.strict.results[0].outcome is PASS
    worse = gate_equal.equal("worse", reports["random"], first)
    assert (worse.gained, worse.lost) == (0, 30)
    assert worse.change == pytest.approx(-30 / N)
    assert worse.usual.outcome is FAIL
    assert worse.strict.results[0].outcome is FAIL


def test_page_says_what_was_found(rung: gate_page.Rung, reports: dict[str, Report]) -> None:
    first = reports["protoclr-all"]
    same = {"Toy encoder": [gate_equal.equal("again", first, first)]}
    other = {"Toy encoder": [gate_equal.equal("worse", reports["random"], first)]}
    runs = {"one gate": gate_equal.Twice(1, {"json": (1234, True), "junit": (99, False)})}
    text = gate_page.page([rung], same, other, runs)
    assert "2 of 2 whose probe accuracy is told to be lower; 0 of 2 pass" in text
    assert "| Toy | probe | 2 / 0 / 0 | 0 / 2 / 0 | 0 / 0 / 2 |" in text
    assert "| Toy | 2 | 2 / 0 / 0 |" in text  # against what is known of the training
    assert "| 3 Encoder random | 82.5 % | F | F |  |" in text
    assert "| Toy encoder | again | pass |" in text
    assert "| Toy encoder | worse | -7.5 | fail |" in text
    assert "| one gate | 1 | junit | 99 | DIFFERENT |" in text
    turned = replace(rung, held=[replace(h, outcomes=dict.fromkeys(h.outcomes, PASS)) for h in rung.held])
    wrong = gate_page.page([turned], same, other, runs)
    assert "0 of 2 whose probe accuracy is told to be lower; 2 of 2 pass" in wrong


def test_the_command_writes_the_same_bytes_twice(
    tmp_path: Path, reports: dict[str, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_equal, "OUT", tmp_path)
    for name, report in reports.items():
        write_report(report, tmp_path / name)
    found = gate_equal.twice(tmp_path / "random", tmp_path / "protoclr-all", LADDER.split("\n\n")[0])
    assert found.code == 1
    assert set(found.written) == {"json", "junit", "markdown"}
    assert all(size > 100 and same for size, same in found.written.values())
