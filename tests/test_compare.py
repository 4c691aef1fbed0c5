"""Encoders against one of them: hand-computed cases, other data, classes, pairs of classes, runs, crowding, names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from repdiag.comparing.request import default_names
from repdiag.comparison.align import scored
from repdiag.comparison.crowding import LESS, MORE, SAME
from repdiag.comparison.encoders import compare_encoders
from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.trajectory import epochs_of
from repdiag.comparison.types import Difference, Effect, Question, Scored
from repdiag.errors import UsageError
from repdiag.types import (
    Direction,
    Interval,
    Measurement,
    MetricResult,
    MetricSpec,
    Need,
    Null,
    Report,
    Status,
    Table,
)

PROBE = "linear_probe_accuracy"


def spec(
    name: str, direction: Direction = Direction.HIGHER, family: str = "probes", **changes: Any
) -> MetricSpec:
    needs = frozenset({Need.LABELS} if name == PROBE else ())
    made = MetricSpec(
        name, family, name.replace("_", " ").capitalize(), "", "", "", Status.OURS, direction, 0, 1, "", needs,
        frozenset(), "",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def measured(
    made: MetricSpec, value: float, half: float | None = 0.01, null: float | None = None
) -> Measurement:
    interval = None if half is None else Interval(value - half, value + half, "bootstrap", 500)
    base = None if null is None else Null("labels permuted", null, 0.01, 20)
    return Measurement(made, MetricResult(value, interval, base), 0.0)


def encoder(
    name: str,
    correct: Any,
    *others: Measurement,
    labels: Any = None,
    taken: Any = None,
    ids: Any = None,
    pairs: Any = None,
    dataset: Any = None,
) -> Scored:
    """An encoder whose probe is right on `correct`; `labels` alternate between a and b."""
    right = np.array(correct, bool)
    n = right.size
    known = np.array([("a", "b")[i % 2] for i in range(n)] if labels is None else labels, object)
    other = np.array([{"a": "b", "b": "a"}.get(label, "a") for label in known], object)
    columns = {
        "id": np.array([f"i{i:04d}" for i in range(n)] if ids is None else ids, object),
        "label": known,
        "prediction": np.where(right, known, other) if taken is None else np.array(taken, object),
        "correct": right,
    }
    probe = Measurement(spec(PROBE), MetricResult(float(right.mean()), Interval(0, 1, "bootstrap", 500)), 0.0)
    report = Report(
        "2026-01-01T00:00:00+00:00", {"name": name}, {"labeled": True, "evaluated": n, **(dataset or {})},
        {"seed": 0}, {}, (probe, *others), Table(columns), Table({}), Table({}), {},
        pairs=Table({k: np.array(v) for k, v in (pairs or {}).items()}),
    )  # fmt: skip
    return scored(name, None, report)


def the(made: SideBySide, metric: str, name: str) -> Difference:
    found = made.comparison.difference(metric, name, made.comparison.against)
    assert found is not None
    return found


def test_two_encoders_by_hand() -> None:
    """12 images newly right and 2 newly wrong of 100: the interval is that of McNemar's table with two more changes."""
    before = [True] * 60 + [False] * 40
    after = [False] * 2 + [True] * 58 + [True] * 12 + [False] * 28
    made = compare_encoders([encoder("A", before), encoder("B", after)], bootstrap=20_000)
    d = the(made, PROBE, "B")
    delta = np.array(after, float) - np.array(before, float)
    variance = delta.var(ddof=1) / 100 + 2 / 100**2
    half = stats.t.ppf(0.975, 99) * np.sqrt(variance)
    assert d.delta == pytest.approx(0.10)
    assert d.interval is not None
    assert (d.interval.high - d.interval.low) / 2 == pytest.approx(half, rel=0.03)
    assert d.effect is Effect.HELPED
    assert made.comparison.question is Question.ENCODERS
    assert "B against A" in made.comparison.reason
    assert "better" in made.comparison.reason
    assert made.samples.columns["newly_right:B"].sum() == 12
    assert made.samples.columns["newly_wrong:B"].sum() == 2
    assert made.samples.columns["correct:A"].mean() == 0.6
    turned = compare_encoders([encoder("A", before), encoder("B", after)], against="B")
    assert the(turned, PROBE, "A").effect is Effect.HURT


def test_an_encoder_is_not_told_apart_from_itself() -> None:
    """No image is judged differently, so that the interval is zero; what is not paired keeps its own width."""
    rank = measured(spec("rankme"), 100, 3)
    one, two = (encoder(name, [True, False] * 30, rank) for name in "AB")
    made = compare_encoders([one, two])
    assert the(made, PROBE, "B").interval is not None
    assert the(made, PROBE, "B").delta == 0
    assert "No sample is judged differently" in made.comparison.reason
    unpaired = the(made, "rankme", "B").interval
    assert unpaired is not None
    assert (unpaired.low, unpaired.high) == pytest.approx((-np.hypot(3, 3), np.hypot(3, 3)))
    assert {d.effect for d in made.comparison.differences} == {Effect.NO_EVIDENCE}


def test_pairing_is_surer_than_two_intervals() -> None:
    """The same two accuracies on other images are compared as independent, which is said, and told less surely."""
    rng = np.random.default_rng(0)
    before = rng.random(400) < 0.7
    after = before | (rng.random(400) < 0.1)
    shared = compare_encoders([encoder("A", before), encoder("B", after)])
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    runs = []
    for name, right in (("A", before), ("B", after)):
        run = encoder(name, right, ids=[f"{name}{i}" for i in range(400)])
        accuracy = measured(spec(PROBE), float(right.mean()), half)
        report = dataclasses.replace(run.report, measurements=(accuracy,))
        runs.append(scored(name, None, report))
    apart = compare_encoders(runs)
    a, b = (the(made, PROBE, "B").interval for made in (shared, apart))
    assert a is not None
    assert b is not None
    assert a.high - a.low < 0.5 * (b.high - b.low)
    assert "independent" in b.method
    assert any("other images" in warning for warning in apart.comparison.warnings)
    assert not len(apart.samples)
    assert not len(apart.classes)


def test_what_moves_with_n_is_not_compared_at_other_n() -> None:
    """RankMe of 60 and of 40 images; a metric that does not move is compared all the same."""
    others = (measured(spec("rankme"), 50, 1), measured(spec("cdnv", Direction.LOWER), 0.5))
    runs = [encoder("A", [True] * 60, *others), encoder("B", [True] * 40, *others)]
    made = compare_encoders(runs, moving=("rankme",))
    assert "number of samples" in made.comparison.skipped["rankme"]
    assert the(made, "cdnv", "B").delta == 0
    assert compare_encoders(runs).comparison.difference("rankme", "B", "A") is not None
    assert any("same images" in warning for warning in made.comparison.warnings)
    equal = compare_encoders([runs[0], encoder("B", [True] * 60, *others)], moving=("rankme",))
    assert "rankme" not in equal.comparison.skipped


def test_classes_of_several_encoders() -> None:
    """Each encoder's change by class, with its interval, against the same one."""
    base = [True, False] * 50  # a all right, b all wrong
    made = compare_encoders(
        [encoder("A", base), encoder("B", [True, True] * 50), encoder("C", [False, False] * 50)]
    )
    columns = made.classes.columns
    assert columns["class"].tolist() == ["a", "b"]
    assert columns["delta:B"].tolist() == [0, 1]
    assert columns["delta:C"].tolist() == [-1, 0]
    assert columns["low:B"][1] > 0.5
    assert columns["high:C"][0] < -0.5
    assert [one.subject for one in made.details] == ["B", "C"]
    assert made.details[1].effect is Effect.HURT
    assert made.samples.columns["newly_wrong:C"].sum() == 50


def test_pairs_of_classes_that_crowd_each_other() -> None:
    """Confusions of cat and dog go from 2 to 22 of 80 images; fox and cat stay; geometry is turned with the names."""
    labels = ["cat"] * 40 + ["dog"] * 40 + ["fox"] * 40
    taken = {"A": list(labels), "B": list(labels)}
    taken["A"][:2] = ["dog"] * 2
    taken["B"][:12] = ["dog"] * 12
    taken["B"][40:50] = ["cat"] * 10
    for name in "AB":
        taken[name][80:83] = ["cat"] * 3
    pairs = {"class_a": ["dog"], "class_b": ["cat"], "cdnv": [0.5], "nearer_ab": [0.1], "nearer_ba": [0.3]}
    runs = [
        encoder(name, np.array(taken[name]) == np.array(labels), labels=labels, taken=taken[name],
                pairs=pairs if name == "B" else None)
        for name in "AB"
    ]  # fmt: skip
    rows = compare_encoders(runs).pairs.columns
    found = list(zip(rows["class_a"], rows["class_b"], rows["word"], rows["n"], strict=True))
    assert found == [("cat", "dog", "more", 80), ("cat", "fox", "", 80)]
    assert rows["confused"][0] == pytest.approx(22 / 80)
    assert rows["delta"][0] == pytest.approx(20 / 80)
    assert rows["low"][0] > 0
    assert (rows["low"][1], rows["high"][1]) == (0, 0)
    assert rows["nearer_ab"][0] == 0.3  # of cat, which comes first here
    assert np.isnan(rows["cdnv_against"][0])


# --------------------------------------------------------------------------------------------------- runs


def run_of(values: Any, accuracies: Any, half: float = 1.0) -> list[Scored]:
    """Checkpoints ckpt-10, ckpt-20, ... with a RankMe and a share of right answers, images right in a nested order."""
    return [
        encoder(f"ckpt-{10 * (i + 1)}", np.arange(200) < 200 * accuracy, measured(spec("rankme"), rank, half))
        for i, (rank, accuracy) in enumerate(zip(values, accuracies, strict=True))
    ]


def test_a_run_that_turns_down_and_stays_there() -> None:
    """RankMe falls after epoch 30 and stays down; the probe dips once and comes back; a dip within noise is none."""
    made = compare_encoders(
        run_of([50, 60, 70, 69.5, 60, 58], [0.5, 0.6, 0.55, 0.6, 0.7, 0.7]), as_trajectory=True
    )
    course = made.trajectory
    assert course is not None
    assert course.numbered
    assert course.epochs == (10, 20, 30, 40, 50, 60)
    falls = {fall.difference.metric: fall for fall in course.falls}
    assert (falls["rankme"].best, falls["rankme"].epoch, falls["rankme"].back) == (30, 50, None)
    assert (falls[PROBE].best, falls[PROBE].epoch, falls[PROBE].back) == (20, 30, 40)
    best = {one.rule: one for one in course.best}
    assert (best["mean_rank"].encoder, best["mean_rank"].epoch) == ("ckpt-30", 30)
    assert (best[PROBE].encoder, best[PROBE].as_good) == ("ckpt-50", ("ckpt-60",))
    assert made.comparison.subject == "ckpt-60"
    rising = compare_encoders(run_of([50, 60, 70], [0.5, 0.6, 0.7]), as_trajectory=True).trajectory
    assert rising is not None
    assert rising.falls == ()
    noisy = compare_encoders(run_of([50, 60, 70, 60], [0.5] * 4, half=9.0), as_trajectory=True).trajectory
    assert noisy is not None
    assert noisy.falls == ()


def test_ranks_go_by_each_metrics_direction() -> None:
    """A high flip rate is bad: the mean of three ranks, ties sharing theirs."""
    flips, ari = spec("flip_rate", Direction.LOWER), spec("augmentation_ari")
    values = [(0.3, 0.5, 10), (0.1, 0.7, 20), (0.2, 0.7, 5)]
    runs = [
        encoder(name, [True, False] * 10, measured(flips, f), measured(ari, a), measured(spec("rankme"), r))
        for name, (f, a, r) in zip("xyz", values, strict=True)
    ]
    course = compare_encoders(runs, as_trajectory=True, epochs=(1, 2, 5)).trajectory
    assert course is not None
    assert course.ranks.columns["mean_rank"] == pytest.approx(
        [(3 + 3 + 2) / 3, (1 + 1.5 + 1) / 3, (2 + 1.5 + 3) / 3]
    )
    assert course.best[0].epoch == 2


def test_epochs() -> None:
    """Given, read off the names where one number rises, else counted."""
    assert epochs_of(["ckpt-5", "ckpt-10"], None) == ((5.0, 10.0), True)
    assert epochs_of(["r18-e5", "r18-e10"], None) == ((5.0, 10.0), True)
    assert epochs_of(["a1b2", "a2b3"], None) == ((1.0, 2.0), False)
    assert epochs_of(["e9", "e3"], None) == ((1.0, 2.0), False)
    assert epochs_of(["a", "b"], (3, 7)) == ((3.0, 7.0), True)
    for wrong in ((3,), (7, 3), (3, 3)):
        with pytest.raises(UsageError, match="--epochs"):
            epochs_of(["a", "b"], wrong)


# ----------------------------------------------------------------------------------------------- crowding


def test_crowding_words_go_by_direction_and_interval() -> None:
    """CDNV up is more crowded, separation up less, a small change neither; the null's scale is taken out."""
    cdnv = spec("cdnv", Direction.LOWER, "crowding")
    separation, shape = spec("r2", family="crowding"), spec("nc2", Direction.NEITHER, "crowding")
    variance = spec("intra_class_variance", Direction.LOWER, "crowding")
    one = encoder("sup", [True] * 30, measured(cdnv, 0.5), measured(separation, 0.5), measured(shape, 1.0),
                  measured(variance, 0.1, 0.001, 0.2))  # fmt: skip
    two = encoder("ssl", [True] * 30, measured(cdnv, 0.9), measured(separation, 0.505), measured(shape, 2.0),
                  measured(variance, 0.3, 0.001, 0.9))  # fmt: skip
    made = compare_encoders([one, two], show_crowding=True)
    words = {row.difference.metric: (row.word, row.relative_word) for row in made.crowding}
    assert words == {"cdnv": (MORE, ""), "r2": (SAME, ""), "intra_class_variance": (MORE, LESS)}
    row = next(row for row in made.crowding if row.difference.metric == "intra_class_variance")
    assert (row.relative_other, row.relative) == (pytest.approx(0.5), pytest.approx(1 / 3))
    assert made.crowding_notes == ()
    worse = compare_encoders(
        [one, encoder("ssl", [True] * 20 + [False] * 10, measured(cdnv, 0.9))], show_crowding=True
    )
    assert "linear probes differ" in worse.crowding_notes[0]
    assert compare_encoders([one, two]).crowding == ()


# ---------------------------------------------------------------------------------------- what is refused


def test_usage() -> None:
    """One encoder, equal names, an unknown one, other classes for the same images."""
    a, b = encoder("A", [True] * 10), encoder("B", [False] * 10)
    with pytest.raises(UsageError, match="alone"):
        compare_encoders([a])
    with pytest.raises(UsageError, match="called 'A'"):
        compare_encoders([a, a])
    with pytest.raises(UsageError, match="Known: A, B"):
        compare_encoders([a, b], against="b")
    with pytest.raises(UsageError, match="another class"):
        compare_encoders([a, encoder("B", [True] * 10, labels=["b", "a"] * 5)])


def test_default_names(tmp_path: Path) -> None:
    """The ends of paths that tell them apart, without what all begin with; the same twice is numbered."""
    assert default_names(["x/main", "y/new"]) == ("main", "new")
    assert default_names(["a/rep", "b/rep/report.json"]) == ("a/rep", "b/rep")
    assert default_names(["out/run-10", "out/run-20"]) == ("10", "20")
    assert default_names(["out/run-10", "out/run-100"]) == ("10", "100")
    assert default_names(["timm:resnet18", "timm:vit_tiny"]) == ("timm:resnet18", "timm:vit_tiny")
    assert default_names(["m", "m"]) == ("m", "m-2")
    (tmp_path / "v1.2.pt").touch()
    assert default_names([str(tmp_path / "v1.2.pt"), "other"]) == ("v1.2", "other")


def test_from_python_two_reports_are_held_against_one_another(tmp_path: Path) -> None:
    """The facade takes folders of reports, writes what the command writes, and loads no model."""
    from sample_report import sample_report

    import repdiag

    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        repdiag.write_report(sample_report(60, 8), folder)
    made = repdiag.compare(*folders, out=tmp_path / "out", names=["first", "second"])
    assert (tmp_path / "out" / "compare.html").is_file()
    assert made.comparison.subject == "second"
    assert {d.delta for d in made.comparison.differences} == {0.0}, "equal reports do not differ"
    with pytest.raises(UsageError, match="nobody"):
        repdiag.compare(*folders, out=tmp_path / "out", against="nobody")
