"""Paired differences and the verdict: small cases by hand, bad input, what is said, and real reports."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import repdiag
from repdiag.comparison import paired, words
from repdiag.comparison.align import scored
from repdiag.comparison.compare import compare
from repdiag.comparison.types import Difference, Effect
from repdiag.errors import UsageError
from repdiag.types import (
    Direction,
    Interval,
    Measurement,
    MetricResult,
    MetricSpec,
    Need,
    Report,
    Skipped,
    Status,
    Table,
)

ROOT = Path(__file__).parents[1]


def spec(name, direction=Direction.HIGHER, unit="share", needs=frozenset()):
    return MetricSpec(
        name, "probes", name.replace("_", " ").capitalize(), "", "", "", Status.OURS, direction, 0, 1, unit,
        needs, frozenset(), "",
    )  # fmt: skip


PROBE = spec("linear_probe_accuracy", needs=frozenset({Need.LABELS}))
LOSS = spec("loss", Direction.LOWER, "")
RANK = spec("rankme", Direction.HIGHER, "dimensions")
MOVED = spec("frequency", Direction.NEITHER, "")


def report(correct=None, ids=None, labels=None, q=None, others=(), **samples):
    """A report of as much as a comparison reads."""
    n = len(correct) if correct is not None else len(ids)
    columns = {"id": np.array([f"i{k:04d}" for k in range(n)] if ids is None else ids), **samples}
    found = list(others)
    if correct is not None:
        labels = ["ab"[k % 2] for k in range(n)] if labels is None else labels
        columns["label"] = np.array(labels, object)
        known = np.array([c for c in correct if c is not None], float)
        columns["correct"] = np.array(correct, object)
        found.insert(0, Measurement(PROBE, MetricResult(float(known.mean()), per_sample=known), 0.0))
    if q is not None:
        columns["q_score"] = np.array(q, float)
    facts, empty = {"labeled": correct is not None}, Table({})
    return Report("", {}, facts, {}, {}, tuple(found), Table(columns), empty, empty, {})


def number(spec, value, low=None, high=None, per_sample=None):
    interval = None if low is None else Interval(low, high, "bootstrap", 100)
    return Measurement(spec, MetricResult(value, interval, per_sample=per_sample), 0.0)


def by_name(comparison, metric, subject="new", against="control"):
    return comparison.difference(metric, subject, against)


def arms(before, control, new, **options):
    """A comparison of one untouched run and lists of runs by seed."""
    runs = [scored("before", None, before)]
    runs += [scored("control", s, r) for s, r in enumerate(control)]
    runs += [scored("new", s, r) for s, r in enumerate(new)]
    return compare(runs, subject="new", against="control", **options)


def random_runs(n=400, seeds=3, gain=0.0, seed=0):
    """Right or wrong of (before, control, new): 80 % and a tenth decided anew in each run."""
    rng = np.random.default_rng(seed)
    common = rng.random(n)

    def run(chance):
        return np.where(rng.random(n) < 0.9, common, rng.random(n)) < chance

    return run(0.8), [run(0.8) for _ in range(seeds)], [run(0.8 + gain) for _ in range(seeds)]


# ------------------------------------------------------------------------------------------------ statistics


def literal_margin(d, n, confidence, rng, draws):
    """The interval by loops over bootstrap draws and seeds, as the docs have it."""
    s = len(d)
    means = np.zeros((draws, s))
    for b in range(draws):
        rows = rng.integers(n, size=n)
        for j in range(s):
            means[b, j] = d[j][rows].mean()
    covariance = np.cov(means.T) * n / (n - 1) + 2 / n**2
    w = np.mean([covariance[i, j] for i in range(s) for j in range(s) if i != j])
    e = (np.mean([covariance[i, i] for i in range(s)]) - w) / s
    a = np.var([row.mean() for row in d], ddof=1) / s
    t_s, t_n = stats.t.ppf((1 + confidence) / 2, [s - 1, n - 1])
    return np.sqrt(max(t_s**2 * a, t_n**2 * e) + t_n**2 * max(w, 0))


def test_the_interval_is_that_of_a_literal_bootstrap_in_loops():
    before, control, new = random_runs(150, 3, 0.1, seed=3)
    made = by_name(arms(report(before), [report(c) for c in control], [report(c) for c in new]), PROBE.name)
    d = [np.asarray(a, float) - b for a, b in zip(new, control, strict=True)]
    half = literal_margin(d, 150, 0.95, np.random.default_rng(8), 2000)
    assert made.by_seed == pytest.approx([row.mean() for row in d])
    assert made.delta == pytest.approx(np.mean([row.mean() for row in d]))
    assert made.interval.high - made.delta == pytest.approx(half, rel=0.05)
    assert made.delta - made.interval.low == pytest.approx(half, rel=0.05)


def test_two_seeds_by_hand():
    # d_1 = (1, 0, 0, -1), d_2 = (1, 1, 0, 0): means 0 and 1/2; variances / 4 of the mean: 1/6 and 1/12, covariance 1/12
    d = np.array([[1.0, 0, 0, -1], [1, 1, 0, 0]])
    covariance = paired.exact_covariance(d)
    assert covariance == pytest.approx(np.array([[1 / 6, 1 / 12], [1 / 12, 1 / 12]]))
    w, e, a = 1 / 12, (1 / 8 - 1 / 12) / 2, 1 / 8 / 2
    t_s, t_n = stats.t.ppf(0.975, [1, 3])
    expected = np.sqrt(max(t_s**2 * a, t_n**2 * e) + t_n**2 * w)
    assert paired.margin(d.mean(1), covariance, 4, 0.95) == pytest.approx(expected)
    assert paired.margin(d.mean(1), covariance, 4, 0.9) < expected
    same = np.array([0.25, 0.25])  # seeds that agree by luck: the images' own noise remains
    assert paired.margin(same, covariance, 4, 0.95) == pytest.approx(t_n * np.sqrt(e + w))


def test_weighted_means_leave_gaps_out():
    values = np.array([[1.0, 2, np.nan, 4], [1, 1, 1, 5]])
    counts = np.array([[1, 0, 3, 1], [0, 0, 4, 0], [2, 1, 1, 0]], np.uint8)
    found = paired.replicates(values, counts)
    assert found[:, 0] == pytest.approx([2.5, np.nan, 4 / 3], nan_ok=True)
    assert found[:, 1] == pytest.approx([9 / 5, 1, 1])


@pytest.mark.parametrize(
    ("changed", "effect"), [(4, Effect.NO_EVIDENCE), (5, Effect.NO_EVIDENCE), (6, Effect.HELPED)]
)
def test_six_changes_one_way_are_evidence_as_for_mcnemar(changed, effect):
    assert (stats.binomtest(changed, changed).pvalue < 0.05) == (effect is Effect.HELPED)
    one, other = np.ones(2000, bool), np.ones(2000, bool)
    other[:changed] = False
    made = compare(
        [scored("A", None, report(other)), scored("B", None, report(one))],
        subject="B",
        against="A",
        bootstrap=4000,
    )
    assert made.effect is effect
    assert made.difference(PROBE.name, "B", "A").delta == pytest.approx(changed / 2000)


def test_the_worked_example_of_the_docs():
    page = (ROOT / "docs/explanation/did-it-help.md").read_text("utf-8")
    n = 10**9

    def said(by_seed, w, e):
        s = len(by_seed)
        half = paired.margin(np.array(by_seed), w + np.eye(s) * e * s, n, 0.95)
        center = np.mean(by_seed)
        return f"**+{center:.1f} points [{center - half:+.1f}, {center + half:+.1f}], "

    assert said([2.0, 4.0], 0.25, 0.0625) + "no evidence.**" in page
    assert said([2.0, 4.0, 3.0], 0.25, 0.0625) + "helped.**" in re.sub(r"\s+", " ", page)


# ------------------------------------------------------------------------------------------------ the verdict


@pytest.mark.parametrize(("gain", "effect", "word"), [(0.12, Effect.HELPED, "helped"), (-0.12, Effect.HURT, "hurt"),
                                                      (0.0, Effect.NO_EVIDENCE, "no evidence")])  # fmt: skip
def test_a_true_difference_is_found_and_none_is_not(gain, effect, word):
    before, control, new = random_runs(1500, 5, gain)
    made = arms(report(before), [report(c) for c in control], [report(c) for c in new])
    assert made.effect is effect
    d = by_name(made, PROBE.name)
    assert d.primary
    assert made.reason.startswith(
        f"Against an equally long training without it (control), new changed linear probe accuracy by "
        f"{100 * d.delta:+.1f} points [{100 * d.interval.low:+.1f}, {100 * d.interval.high:+.1f}] over 5 seeds "
        f"(95 % interval): {word}. Against the untouched encoder (before): new "
    )
    assert "; control " in made.reason
    pairs = [("new", "control"), ("new", "before"), ("control", "before")]
    assert [(x.subject, x.against) for x in made.differences] == pairs


def test_a_metric_that_is_better_low_helps_when_it_falls_and_one_without_direction_only_moves():
    n = 200
    rng = np.random.default_rng(0)
    x = rng.normal(5, 1, n)

    def run(shift):
        values = x + shift + rng.normal(0, 0.01, n)
        return report(
            np.ones(n, bool),
            others=[
                number(LOSS, values.mean(), per_sample=values),
                number(MOVED, values.mean(), per_sample=values),
            ],
        )

    made = arms(run(0), [run(0) for _ in range(3)], [run(-1) for _ in range(3)])
    assert by_name(made, "loss").effect is Effect.HELPED
    assert by_name(made, "frequency").interval.high < 0
    assert by_name(made, "frequency").effect is Effect.NO_EVIDENCE
    assert words.effect_words(by_name(made, "frequency")) == "moved"
    # the same images in both: far narrower than two independent means of values that spread by 1
    assert by_name(made, "loss").interval.high - by_name(
        made, "loss"
    ).interval.low < 0.1 * 2 * 1.96 * np.sqrt(2 / n)


def test_one_seed_is_no_evidence_but_two_single_encoders_can_be_told_apart():
    before, control, new = random_runs(1500, 1, 0.15)
    made = arms(report(before), [report(control[0])], [report(new[0])])
    assert by_name(made, PROBE.name).interval.low > 0
    assert made.effect is Effect.NO_EVIDENCE
    assert "One seed cannot tell a method from its luck" in made.reason
    pair = compare(
        [scored("A", None, report(control[0])), scored("B", None, report(new[0]))], subject="B", against="A"
    )
    assert pair.effect is Effect.HELPED
    assert "seed" not in pair.reason


def test_equal_encoders_differ_by_nothing():
    before, control, _ = random_runs(50, 2)
    made = arms(report(before), [report(c) for c in control], [report(c) for c in control])
    d = by_name(made, PROBE.name)
    assert (d.delta, d.interval.low, d.interval.high, d.effect) == (0, 0, 0, Effect.NO_EVIDENCE)
    assert "No sample is judged differently." in made.reason


def test_without_labels_nothing_is_proved_whatever_moves():
    ids = [f"{k}" for k in range(100)]

    def run(value):
        return report(ids=ids, others=[number(RANK, value, value - 1, value + 1)])

    made = arms(run(50), [run(60), run(61), run(60.5)], [run(90), run(91), run(90.5)])
    assert by_name(made, "rankme").effect is Effect.HELPED
    assert made.effect is Effect.NO_EVIDENCE
    assert "the data have no labels" in made.reason
    assert "quality_ladder" in made.reason
    assert len(made.classes) == 0
    chosen = arms(run(50), [run(60), run(61), run(60.5)], [run(90), run(91), run(90.5)], primary="rankme")
    assert chosen.effect is Effect.NO_EVIDENCE
    assert "needs no labels" in chosen.reason


def test_numbers_without_samples_have_the_seeds_scatter_and_the_reports_own_noise():
    ids = [f"{k}" for k in range(10)]

    def run(value, half=None):
        ends = (None, None) if half is None else (value - half, value + 2 * half)
        return report(ids=ids, others=[number(RANK, value, *ends)])

    made = arms(run(1, 0.3), [run(10, 0.3), run(12, 0.3)], [run(13, 0.4), run(17, 0.4)])
    d = by_name(made, "rankme")
    assert d.by_seed == (3, 5)
    t1 = stats.t.ppf(0.975, 1)
    assert d.delta - d.interval.low == pytest.approx(np.sqrt(0.4**2 + 0.6**2 + t1**2))
    assert d.interval.high - d.delta == pytest.approx(np.sqrt(0.8**2 + 0.3**2 + t1**2))
    bare = by_name(arms(run(1), [run(10), run(12)], [run(13), run(17)]), "rankme")
    assert bare.delta - bare.interval.low == pytest.approx(t1)
    assert "not covered" in bare.interval.method
    alone = by_name(arms(run(1), [run(10)], [run(13)]), "rankme")
    assert (alone.interval, alone.effect) == (None, Effect.NO_EVIDENCE)
    wider = by_name(arms(run(1, 0.3), [run(10, 0.3)], [run(13, 0.4)], confidence=0.99), "rankme")
    assert wider.delta - wider.interval.low == pytest.approx(
        np.hypot(0.4, 0.6) * stats.norm.ppf(0.995) / stats.norm.ppf(0.975)
    )


def test_values_that_do_not_average_to_the_metric_are_not_resampled():
    values = np.linspace(0, 1, 20)
    auroc = [number(RANK, 0.9, per_sample=values)]
    made = arms(*[report(np.ones(20, bool), others=auroc)], [report(np.ones(20, bool), others=auroc)] * 2,
                [report(np.ones(20, bool), others=auroc)] * 2)  # fmt: skip
    assert (
        by_name(made, "rankme").interval.method == "paired t over 2 seeds; the images' noise is not covered"
    )


def test_undefined_values_are_left_out_of_their_own_mean():
    q = np.array([0.1, 0.2, np.nan, 0.4] * 10)
    better = np.array([0.2, 0.3, 0.3, np.nan] * 10)
    score = spec("qscore_mean", unit="")

    def run(values):
        return report(np.ones(40, bool), q=values, others=[number(score, np.nanmean(values))])

    made = compare([scored("A", None, run(q)), scored("B", None, run(better))], subject="B", against="A")
    d = made.difference("qscore_mean", "B", "A")
    assert (d.value, d.other) == (pytest.approx(np.nanmean(better)), pytest.approx(np.nanmean(q)))
    assert "images" in d.interval.method  # from the column: the metric itself brought no values by sample
    assert made.samples.columns["q_score:A"] == pytest.approx(q, nan_ok=True)


# ------------------------------------------------------------------------------------------------ what is in common


def test_order_does_not_matter_and_samples_that_one_lacks_are_left_out_everywhere():
    rng = np.random.default_rng(0)
    ids = np.array([f"i{k:03d}" for k in range(60)])
    labels = np.array(["ab"[k % 2] for k in range(60)], object)
    one, other = rng.random(60) < 0.6, rng.random(60) < 0.9

    def run(correct, rows):
        return report(correct[rows], ids[rows], labels[rows], others=[number(RANK, 3.0)])

    every, some = np.arange(60), rng.permutation(60)[:50]
    made = compare(
        [scored("A", None, run(one, some)), scored("B", None, run(other, every))], subject="B", against="A"
    )
    d = made.difference(PROBE.name, "B", "A")
    assert d.delta == pytest.approx(other[some].mean() - one[some].mean())
    assert len(made.samples) == 50
    assert "10 samples are not in every report" in made.warnings[0]
    assert "on different samples" in made.skipped["rankme"]
    shuffled = compare(
        [scored("A", None, run(one, np.sort(some))), scored("B", None, run(other, rng.permutation(every)))],
        subject="B", against="A",
    )  # fmt: skip
    assert shuffled.difference(PROBE.name, "B", "A") == d


def test_a_skipped_metric_is_named_with_the_arm_that_lacks_it():
    def run(outcome):
        return report(np.ones(10, bool), others=[Measurement(RANK, outcome, 0.0)])

    full, gone = run(MetricResult(3.0)), run(Skipped("rows are zero"))
    made = arms(full, [full, full], [gone, gone])
    assert made.skipped["rankme"] == "new: rows are zero"
    assert made.difference("rankme", "control", "before").delta == 0
    assert arms(gone, [gone], [gone]).skipped["rankme"] == "rows are zero"


def test_seeds_without_a_counterpart_are_left_out_and_said():
    before, control, new = random_runs(40, 3)
    runs = [scored("before", None, report(before))]
    runs += [scored("control", s, report(c)) for s, c in enumerate(control)]
    runs += [scored("new", s + 1, report(c)) for s, c in enumerate(new[:2])]
    made = compare(runs, subject="new", against="control")
    assert made.difference(PROBE.name, "new", "control").by_seed == pytest.approx(
        [new[0].mean() - control[1].mean(), new[1].mean() - control[2].mean()]
    )
    assert "control is compared with new without seed 0: new has none." in made.warnings
    apart = compare([*runs[:2], *runs[-1:]], subject="new", against="control")
    assert apart.effect is Effect.NO_EVIDENCE
    assert "new and control have no seed in common: they are not compared." in apart.warnings


def test_an_arm_that_ended_early_is_named():
    before, control, new = random_runs(40, 2)
    runs = [scored("before", None, report(before))]
    runs += [
        scored("control", s, report(c), training={"steps": 100, "stopped_by": ""})
        for s, c in enumerate(control)
    ]
    stopped = {"steps": 30, "stopped_by": "collapse: RankMe fell to 4 % of what it was"}
    runs += [
        scored("new", s, report(c), training=stopped if s else {"steps": 100}) for s, c in enumerate(new)
    ]
    reason = compare(runs, subject="new", against="control").reason
    assert "new ended early (seed 1: collapse: RankMe fell to 4 % of what it was)." in reason
    assert "not equally long (steps: new 30 to 100, control 100)" in reason


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: (r, {"subject": "nwe"}), "no arm 'nwe'.*Did you mean 'new'"),
        (lambda r: (r, {"against": "new"}), "with itself"),
        (lambda r: ([*r, r[-1]], {}), "twice with seed 0"),
        (lambda r: (r, {"confidence": 95}), "between 0 and 1"),
        (
            lambda r: ([*r[:2], scored("new", 0, report([True] * 9, ids=list("abcdefghi")))], {}),
            "no sample in common",
        ),
        (
            lambda r: ([*r[:2], scored("new", 0, report([True] * 9, labels=list("bbababaab")))], {}),
            "another class",
        ),
        (lambda r: ([], {}), "no arm 'new'"),
    ],
)
def test_what_does_not_fit_together_is_one_clear_sentence(change, match):
    runs = [scored("before", None, report([True] * 9))]
    runs += [scored(arm, 0, report([True] * 8 + [False])) for arm in ("control", "new")]
    given, options = change(runs)
    with pytest.raises(UsageError, match=match):
        compare(given, **{"subject": "new", "against": "control", **options})


def test_one_sample_and_all_right_say_nothing_and_do_not_fail():
    one = arms(report([True]), [report([False])] * 1, [report([True])] * 1)
    assert by_name(one, PROBE.name).interval is None
    assert one.effect is Effect.NO_EVIDENCE
    full = arms(report([True] * 30), [report([True] * 30)] * 2, [report([True] * 30)] * 2)
    assert by_name(full, PROBE.name).interval.high == 0


# ------------------------------------------------------------------------------------------------ tables


def test_tables_by_sample_class_and_epoch():
    before = report([0, 0, 1, 1, 1, None], labels=["a", "a", "a", "b", "b", None], q=[1, 2, 3, 4, 5, 6])
    control = [report([0, 1, 1, 1, c, None], labels=["a", "a", "a", "b", "b", None]) for c in (1, 0, 1)]
    new = [report([1, 0, 1, 1, c, None], labels=["a", "a", "a", "b", "b", None]) for c in (0, 0, 1)]
    runs = [scored("before", None, before)]
    log = Table({"epoch": np.array([0, 1]), "loss": np.array([2.0, 1.0])})
    runs += [scored("control", s, r, log=log) for s, r in enumerate(control)]
    wide = Table({**log.columns, "term": np.array([0.1, 0.2]), "note": np.array(["x", "y"])})
    runs += [scored("new", s, r, log=wide) for s, r in enumerate(new)]
    made = compare(runs, subject="new", against="control")

    assert runs[0].correct["linear probe"] == pytest.approx([0, 0, 1, 1, 1, np.nan], nan_ok=True)
    c = made.samples.columns
    assert c["label"].tolist() == ["a", "a", "a", "b", "b", None]
    assert c["correct:control"] == pytest.approx([0, 1, 1, 1, 2 / 3, np.nan], nan_ok=True)
    assert c["newly_right:control"].tolist() == [True, False, False, False, False, False]
    assert c["newly_wrong:control"].tolist() == [False, True, False, False, True, False]
    assert c["newly_right:before"].tolist() == [True, False, False, False, False, False]
    assert c["q_score:before"].tolist() == [1, 2, 3, 4, 5, 6]

    k = made.classes.columns
    assert k["class"].tolist() == ["a", "b"]
    assert k["n"].tolist() == [3, 2]
    assert k["accuracy:control"] == pytest.approx([2 / 3, 5 / 6])
    assert k["delta"] == pytest.approx([0, -1 / 6])
    d = np.array([[0.0, -1], [0, 0], [0, 0]])
    half = paired.margin(d.mean(1), paired.with_two_changes(paired.exact_covariance(d), 2), 2, 0.95)
    assert k["high"][1] - k["delta"][1] == pytest.approx(half)
    assert np.average(k["delta"], weights=k["n"]) == pytest.approx(by_name(made, PROBE.name).delta)

    e = made.curves.columns
    assert len(made.curves) == 12
    assert e["arm"].tolist() == ["control"] * 6 + ["new"] * 6
    assert e["seed"].tolist() == [0, 0, 1, 1, 2, 2] * 2
    assert e["epoch"].dtype.kind == "i"
    assert np.isnan(e["term"][:6]).all()
    assert e["note"].tolist() == [None] * 6 + ["x", "y"] * 3


def test_differently_scored_encoders_are_said():
    bare = report([True] * 9)
    a, b = (
        dataclasses.replace(bare, dataset={"labeled": True, "features": f}, config={"folds": k, "metrics": k})
        for f, k in ((64, 5), (32, 4))
    )
    made = compare([scored("A", None, a), scored("B", None, b)], subject="B", against="A")
    assert "not scored alike (folds)" in made.warnings[0]
    assert "32, 64 features" in made.warnings[1]


def test_ablations_are_compared_with_the_control_and_the_start():
    before, control, new = random_runs(60, 2)
    runs = [scored("before", None, report(before))]
    for arm, of in (("control", control), ("new", new), ("lambda1", new)):
        runs += [scored(arm, s, report(c)) for s, c in enumerate(of)]
    made = compare(runs, subject="new", against="control", metrics=[PROBE])
    assert [(d.subject, d.against) for d in made.differences] == [
        ("new", "control"), ("new", "before"), ("control", "before"), ("lambda1", "control"), ("lambda1", "before"),
    ]  # fmt: skip
    assert [run.arm for run in made.arms] == ["before"] + ["control"] * 2 + ["new"] * 2 + ["lambda1"] * 2


@pytest.mark.parametrize(
    ("delta", "ends", "unit", "said"),
    [
        (0.003, (-0.004, 0.0101), "share", "+0.3 points [-0.4, +1.0]"),
        (0.0, (0.0, 0.0), "share", "0.0 points [0.0, 0.0]"),
        (0.00001, (0.00001, 0.00002), "share", "+0.0010 points [+0.0010, +0.0020]"),
        (-41.04, (-42.5, -40), "dimensions", "-41.04 dimensions [-42.50, -40.00]"),
        (0.5, None, "", "+0.500"),
    ],
)
def test_numbers_are_written_alike(delta, ends, unit, said):
    interval = None if ends is None else Interval(*ends, "", 1)
    assert (
        words.change(
            Difference(
                "m",
                "M",
                unit,
                Direction.HIGHER,
                "a",
                "b",
                delta,
                0.0,
                delta,
                interval,
                (delta,),
                Effect.NO_EVIDENCE,
            )
        )
        == said
    )


# ------------------------------------------------------------------------------------------------ real reports


def test_reports_as_score_makes_them():
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    centers = 2 * rng.normal(size=(3, 12))
    noise = rng.normal(size=(240, 12))
    names = ("linear_probe_accuracy", "knn_accuracy", "nearest_center_error", "rankme", "risk_auroc")
    labels[::8] = -1  # some labels are not known: labeled metrics have values for the others alone

    def run(spread):
        x = (centers[np.arange(240) % 3] + spread * noise).astype(np.float32)
        return repdiag.score(None, (x, labels), metrics=names, draw_map=False, cache=False)

    found = {"loose": run(6.0), "tight": run(3.0)}
    runs = [scored(name, None, one) for name, one in found.items()]
    made = compare(runs, subject="tight", against="loose")
    assert made.effect is Effect.HELPED
    for name in names[:3]:
        d = made.difference(name, "tight", "loose")
        assert d.delta == pytest.approx(found["tight"].value(name).value - found["loose"].value(name).value)
        assert "paired bootstrap over 210 images" in d.interval.method
        assert d.effect is Effect.HELPED
    for name in names[3:]:  # no values by sample, and values that do not average to the metric
        assert (
            made.difference(name, "tight", "loose").interval.method
            == "each arm's own interval as if independent"
        )
    by_hand, shown = found["loose"].classes.columns, made.classes.columns
    assert shown["class"].tolist() == by_hand["class"].tolist()
    assert shown["accuracy:loose"] == pytest.approx(by_hand["accuracy"])
    assert len(made.samples) == 240
    assert set(runs[0].correct) == {"linear probe", "kNN"}
    assert compare(runs, subject="tight", against="loose").differences == made.differences


def test_comparing_needs_no_torch():
    code = (
        "import sys, repdiag.comparison.compare; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
