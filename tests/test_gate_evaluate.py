"""What a gate decides: by hand where the numbers are small, and never a pass on what is not known."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from sample_report import sample_report
from scipy import stats

from repdiag.errors import UsageError
from repdiag.gate import statistics
from repdiag.gate.evaluate import evaluate
from repdiag.gate.rules import parse_rules
from repdiag.gate.types import GateResult, Limit, Outcome, RuleResult
from repdiag.report import write_report
from repdiag.report.reading import read_report
from repdiag.types import Interval, MetricResult, Report, Table

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.UNDETERMINED
BASE = sample_report(n=12, k=2, thumbnails=0)


def made(correct, label=None, ids=None, metrics=(), **columns) -> Report:
    """A report on a few samples, with the accuracy that follows from `correct`; `metrics` are (name, result)."""
    correct = np.asarray(correct)
    n = correct.size
    label = np.array(["a"] * n) if label is None else np.asarray(label)
    names = np.unique(label)
    counts = np.array([int((label == c).sum()) for c in names])
    accuracy = np.array([correct[label == c].mean() for c in names])
    found = [("linear_probe_accuracy", MetricResult(float(correct.mean()))), *metrics]
    measurements = tuple(dataclasses.replace(BASE.measurement(m), outcome=r) for m, r in found)
    ids = np.array([f"i{i:04d}" for i in range(n)]) if ids is None else np.asarray(ids)
    return dataclasses.replace(
        BASE,
        measurements=measurements,
        samples=Table({"id": ids, "label": label, "correct": correct, **columns}),
        classes=Table({"class": names, "n": counts, "accuracy": accuracy}),
    )


def one(report: Report, rule: str, baseline: Report | None = None) -> RuleResult:
    return evaluate(report, parse_rules(f"[[rule]]\n{rule}"), baseline).results[0]


def right(k: int, n: int) -> np.ndarray:
    return np.arange(n) < k


ACCURACY = 'metric = "linear_probe_accuracy"\n'
RANK = 'metric = "rankme"\n'


# ------------------------------------------------------------------------------------------------- the bounds


def test_a_share_has_the_exact_bounds():
    """95 of 100: P(Bin(100, low) >= 95) = P(Bin(100, high) <= 95) = 0.05."""
    found = one(made(right(95, 100)), ACCURACY + "at_least = 0.9")
    assert found.interval.level == pytest.approx(0.9)
    assert stats.binom.sf(94, 100, found.interval.low) == pytest.approx(0.05)
    assert stats.binom.cdf(95, 100, found.interval.high) == pytest.approx(0.05)
    assert one(made(right(100, 100)), ACCURACY + "at_least = 0.5").interval.low == pytest.approx(0.05**0.01)
    assert one(made(right(0, 100)), ACCURACY + "at_most = 0.5").interval.high == pytest.approx(1 - 0.05**0.01)


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("at_least = 0.80", PASS),
        ("at_least = 0.97", OPEN),
        ("at_least = 0.99", FAIL),
        ("at_most = 0.99", PASS),
        ("at_most = 0.97", OPEN),
        ("at_most = 0.80", FAIL),
        ("at_least = 0.95\nconfidence = 0", PASS),  # a value on its limit keeps it
        ("at_least = 0.9501\nconfidence = 0", FAIL),
        ('at_least = 0.97\nundetermined = "pass"', PASS),
        ('at_least = 0.97\nundetermined = "fail"', FAIL),
        ('at_least = 0.99\nundetermined = "pass"', FAIL),
    ],
)
def test_a_limit_on_each_side_of_95_of_100(rule, outcome):
    found = one(made(right(95, 100)), ACCURACY + rule)
    assert found.outcome is outcome
    assert found.margin == pytest.approx((0.95 - found.rule.limit.value) * (1 if "at_least" in rule else -1))
    assert (found.samples_needed is not None) == (found.evidence is OPEN)


def test_samples_needed_would_settle_it():
    """What n (half / distance)^2 says: so many samples with the same share do pass, half as many do not."""
    found = one(made(right(920, 1000)), ACCURACY + "at_least = 0.91")
    half = 0.92 - found.interval.low
    assert found.samples_needed == math.ceil(1000 * (half / 0.01) ** 2)
    for factor, outcome in ((1.05, PASS), (0.5, OPEN)):
        n = 100 * round(factor * found.samples_needed / 100)
        assert one(made(right(92 * n // 100, n)), ACCURACY + "at_least = 0.91").outcome is outcome
    below = one(made(right(900, 1000)), ACCURACY + "at_least = 0.91")
    assert below.samples_needed == math.ceil(1000 * ((below.interval.high - 0.9) / 0.01) ** 2)
    assert one(made(right(91, 100)), ACCURACY + "at_least = 0.91").samples_needed is None


def ranked(value, low, high, method="jackknife over 10 groups", n=10) -> Report:
    return made(right(9, 10), metrics=[("rankme", MetricResult(value, Interval(low, high, method, n)))])


def test_a_metrics_own_interval_is_taken_to_the_rules_confidence():
    t95, t975 = stats.t.ppf([0.95, 0.975], 9)
    found = one(ranked(100, 90, 130), RANK + "at_least = 50").interval
    assert (found.low, found.high) == pytest.approx((100 - 10 * t95 / t975, 100 + 30 * t95 / t975))
    normal = one(ranked(100, 90, 130, "bootstrap over samples", 500), RANK + "at_least = 50").interval
    z = stats.norm.ppf(0.95) / stats.norm.ppf(0.975)
    assert (normal.low, normal.high) == pytest.approx((100 - 10 * z, 100 + 30 * z))
    seeds = one(ranked(100, 90, 130, "jackknife over k-means seeds", 5), RANK + "at_least = 99")
    assert (seeds.outcome, seeds.samples_needed) == (OPEN, None)
    assert (
        one(ranked(1.5, 1, 9), RANK + "at_least = 1\nconfidence = 0.999").interval.low == 1
    )  # not below what the metric can be


def test_quantiles_by_order_statistics():
    """Of 1 .. 100 the 0.1 quantile is 10; by hand from the binomial distribution the bounds are 5 and 16."""
    report = made(right(90, 100), risk=np.arange(1, 101.0), q_score=np.arange(1, 101.0))
    found = one(report, 'samples = "risk"\nquantile = 0.1\nat_most = 50')
    r = max(k for k in range(1, 100) if stats.binom.cdf(k - 1, 100, 0.1) <= 0.05)
    s = min(k for k in range(1, 101) if stats.binom.cdf(k - 1, 100, 0.1) >= 0.95)
    assert (found.value, found.interval.low, found.interval.high) == (10, r, s) == (10, 5, 16)
    tiny = made(right(3, 4), risk=np.arange(4.0))
    assert (
        one(tiny, 'samples = "risk"\nquantile = 0.1\nat_least = -5').outcome is OPEN
    )  # no lower bound of four


def test_counting_samples():
    risk = np.where(np.arange(200) < 6, 0.95, 0.1)
    report = made(right(190, 200), risk=risk)
    count = one(report, 'samples = "risk"\nabove = 0.9\ncount_at_most = 20')
    share = one(report, 'samples = "risk"\nabove = 0.9\nshare_at_most = 0.1')
    assert (count.outcome, count.value, count.unit) == (PASS, 6, "samples")
    assert share.value == pytest.approx(0.03)
    assert count.interval.high == pytest.approx(200 * share.interval.high)
    assert one(report, 'samples = "risk"\nabove = 0.9\ncount_at_most = 6').outcome is OPEN
    assert one(report, 'samples = "risk"\nabove = 0.9\ncount_at_most = 6\nconfidence = 0').outcome is PASS
    assert one(report, 'samples = "risk"\nbelow = 0.9\ncount_at_most = 100').outcome is FAIL


# -------------------------------------------------------------------------------------------------- a change


def test_a_change_is_paired_by_id_and_decided_by_mcnemars_exact_test():
    """8 losses and 1 gain: P(Bin(9, 1/2) >= 8) = 10 / 512 < 0.05 fails; 7 and 2 with 46 / 512 do not."""
    n = 400
    before = right(300, n)
    for losses, gains, outcome in ((8, 1, FAIL), (7, 2, OPEN), (5, 0, FAIL), (4, 0, OPEN)):
        now = before.copy()
        now[:losses], now[300 : 300 + gains] = False, True
        order = np.random.default_rng(0).permutation(n)
        ids = np.array([f"i{i:04d}" for i in range(n)])
        found = one(made(now[order], ids=ids[order]), ACCURACY + "change_at_least = 0", made(before))
        assert found.outcome is outcome, (losses, gains)
        assert found.value == pytest.approx((gains - losses) / n)
        assert (found.now, found.before) == pytest.approx((now.mean(), before.mean()))
        assert found.method == f"paired over 400 images ({gains} gained, {losses} lost)"
        tail = stats.binom.sf(losses - 1, losses + gains, 0.5)
        assert (tail <= 0.05) == (outcome is FAIL)


def test_a_mean_changes_by_students_t():
    rng = np.random.default_rng(1)
    a, b = rng.random(50), rng.random(50)
    reports = [made(right(40, 50), risk=x) for x in (a, b)]
    for report, x in zip(reports, (a, b), strict=True):
        object.__setattr__(
            report, "classes", Table({**report.classes.columns, "mean_risk": np.array([x.mean()])})
        )
    found = one(reports[0], 'class = "a"\ncolumn = "mean_risk"\nchange_at_most = 0.5', reports[1])
    d = a - b
    half = stats.t.ppf(0.95, 49) * d.std(ddof=1) / math.sqrt(50)
    assert (found.interval.low, found.interval.high) == pytest.approx((d.mean() - half, d.mean() + half))
    assert "paired t over 50 images" in found.method


def test_what_cannot_be_paired_is_compared_as_if_independent():
    now, before = ranked(100, 90, 130), ranked(110, 100, 120)
    found = one(now, RANK + "change_at_least = -50", before)
    k = stats.t.ppf(0.95, 9) / stats.t.ppf(0.975, 9)
    assert found.interval.low == pytest.approx(-10 - k * math.hypot(10, 10))
    assert found.interval.high == pytest.approx(-10 + k * math.hypot(30, 10))
    assert "as if independent" in found.reason + found.method
    relative = one(now, RANK + "relative_change_at_least = -0.5", before)
    for end in (
        relative.interval.low,
        relative.interval.high,
    ):  # Fieller: on the end, a - r b is as far off as can be
        r = 1 + end
        side = 10 if end < relative.value else 30
        assert abs(100 - r * 110) == pytest.approx(k * math.hypot(side, r * 10))


def test_a_relative_change_divides_by_the_baseline():
    before = right(80, 100)
    now = before.copy()
    now[:8] = False
    found = one(made(now), ACCURACY + "relative_change_at_least = -0.05", made(before))
    assert found.value == pytest.approx(-0.1)
    assert found.outcome is OPEN
    assert one(made(now), ACCURACY + "relative_change_at_least = -0.3", made(before)).outcome is PASS
    worse = before & (np.arange(100) > 30)
    assert one(made(worse), ACCURACY + "relative_change_at_least = -0.05", made(before)).outcome is FAIL
    none = one(made(before), ACCURACY + "relative_change_at_least = -0.05", made(np.zeros(100, bool)))
    assert none.outcome is OPEN
    assert "0 in the baseline" in none.reason


def test_nothing_changed():
    """[0, 0], and so a limit of 0 is kept; one that asks for more is not."""
    report = ranked(100, 50, 150)
    again = dataclasses.replace(report, created="2027-01-01T00:00:00Z")
    for about in (ACCURACY, RANK, 'class = "*"\ncolumn = "accuracy"\n'):
        for rule, outcome in (
            ("change_at_least = 0", PASS),
            ("change_at_least = -0.01", PASS),
            ("relative_change_at_least = 0", PASS),
            ("change_at_most = 0", PASS),
            ("change_at_least = 0.001", FAIL),
        ):
            found = one(again, about + rule, report)
            assert found.outcome is outcome
            assert (found.interval.low, found.interval.high) == (0, 0)
    other = dataclasses.replace(report, samples=Table({**report.samples.columns, "risk": np.zeros(10)}))
    assert one(other, RANK + "change_at_least = 0", other).outcome is PASS
    moved = dataclasses.replace(other, samples=Table({**other.samples.columns, "risk": np.ones(10)}))
    assert (
        one(moved, RANK + "change_at_least = 0", other).outcome is OPEN
    )  # equal by chance: the samples differ


def test_partly_common_samples():
    before = made(right(160, 200))
    half = slice(100, 200)
    ids = before.samples.columns["id"]
    found = one(made(right(160, 200)[half], ids=ids[half]), ACCURACY + "change_at_least = 0", before)
    assert found.value == 0  # on the common ones, although 0.6 stands against 0.8
    few = slice(150, 200)
    apart = one(made(right(160, 200)[few], ids=ids[few]), ACCURACY + "change_at_least = 0", before)
    assert apart.value == pytest.approx(0.2 - 0.8)
    assert apart.outcome is FAIL
    assert "as if independent" in apart.method


def test_other_labels_stop_the_gate():
    one_, other = (made(right(8, 10), label=label) for label in (["a"] * 10, ["a"] * 9 + ["b"]))
    with pytest.raises(
        UsageError, match="1 samples have another class than in the baseline: i0009 is a here and b"
    ):
        one(one_, ACCURACY + "change_at_least = 0", other)
    assert one(one_, ACCURACY + "at_least = 0.1", other).outcome is PASS  # nothing is compared


# -------------------------------------------------------------------------------------------------- every class


def classes(rights: dict[str, tuple[int, int]]) -> Report:
    label = np.concatenate([[name] * n for name, (_, n) in rights.items()])
    return made(np.concatenate([right(k, n) for k, n in rights.values()]), label=label)


EVERY = 'class = "*"\ncolumn = "accuracy"\n'


def test_every_class_passes_alone_and_fails_with_holms_correction():
    good = classes({"a": (95, 100), "b": (90, 100), "c": (99, 100)})
    found = one(good, EVERY + "at_least = 0.8")
    assert (found.outcome, found.label) == (PASS, "b")
    # 71 of 100 against 0.8: p = 0.0208 alone would fail at 0.05, but not as one of three
    p = stats.binom.cdf(71, 100, 0.8)
    assert 0.05 / 3 < p < 0.05
    one_of_three = classes({"a": (95, 100), "b": (71, 100), "c": (99, 100)})
    assert one(one_of_three, EVERY + "at_least = 0.8").outcome is OPEN
    assert one(one_of_three, 'class = "b"\ncolumn = "accuracy"\nat_least = 0.8').outcome is FAIL
    # once a is shown to be worse, b is one of two, and p <= 0.05 / 2
    both = one(classes({"a": (20, 100), "b": (71, 100), "c": (99, 100)}), EVERY + "at_least = 0.8")
    assert p < 0.05 / 2
    assert (both.outcome, both.label) == (FAIL, "a")
    assert "2 of 3 classes break it (a, b)" in both.reason


def test_a_class_that_is_missing_is_never_passed_over():
    now, before = classes({"a": (9, 10), "b": (9, 10)}), classes({"a": (9, 10)})
    found = one(now, EVERY + 'change_at_least = -0.5\nundetermined = "pass"', before)
    assert found.outcome is OPEN
    assert "the baseline has no class b" in found.reason
    nan = dataclasses.replace(
        now, classes=Table({**now.classes.columns, "accuracy": np.array([0.9, np.nan])})
    )
    assert one(nan, EVERY + "at_least = 0.1").outcome is OPEN
    empty = dataclasses.replace(now, classes=Table({**nan.classes.columns, "n": np.array([10, 0])}))
    assert one(empty, EVERY + "at_least = 0.1").outcome is PASS  # nothing of it was evaluated
    unlabeled = sample_report(n=20, labelled=False, thumbnails=0)
    assert "no labels" in one(unlabeled, EVERY + "at_least = 0").reason


# ------------------------------------------------------------------------------------------ what is not known


def test_what_is_missing_is_undetermined_and_never_passes():
    report = sample_report(n=50, k=2, thumbnails=0)
    for rule, said in (
        ('metric = "augmentation_ari"\nat_least = 0', "was skipped: needs augmented views"),
        ('metric = "lidar"\nat_least = 0', "The metric lidar was not measured"),
        (
            'metric = "discriminative_features"\nat_least = 1',
            "no interval, so that only confidence = 0 decides",
        ),
        ('class = "cat"\ncolumn = "intra_class_variance"\nat_most = 9', ""),
        ('class = "airplane"\ncolumn = "intra_class_variance"\nat_most = 9', "no interval"),
    ):
        if "cat" in rule:
            with pytest.raises(UsageError, match="There is no class 'cat'"):
                one(report, rule)
            continue
        for policy, outcome in (("undetermined", OPEN), ("pass", OPEN), ("fail", FAIL)):
            found = one(report, f'{rule}\nundetermined = "{policy}"')
            assert (found.outcome, found.evidence, found.samples_needed) == (outcome, OPEN, None)
            assert said in found.reason
    bare = one(report, 'metric = "discriminative_features"\nat_least = 1\nconfidence = 0')
    assert (bare.outcome, bare.interval) == (PASS, None)
    ranks = sample_report(n=50, labelled=False, thumbnails=0)
    assert "a rank" in one(ranks, 'samples = "risk"\nabove = 0.9\ncount_at_most = 50').reason


def test_samples_without_a_value():
    q = np.where(np.arange(100) < 20, np.nan, 1.0)
    report = made(right(90, 100), q_score=q, feature_norm=q)
    low = one(report, 'samples = "q_score"\nbelow = 0.5\nshare_at_most = 0.5')
    assert low.value == pytest.approx(0.2)  # without a Q-Score: lowest
    assert "20 without a q_score count as lowest" in low.note
    other = one(report, 'samples = "feature_norm"\nbelow = 0.5\nshare_at_most = 0.5')
    assert other.value == 0
    assert "20 without a feature_norm are left out" in other.note
    quantile = one(report, 'samples = "q_score"\nquantile = 0.05\nat_least = 0.5')
    assert (quantile.outcome, quantile.value, quantile.interval) == (FAIL, None, None)
    none = made(right(9, 10), risk=np.full(10, np.nan))
    assert "No sample has a risk" in one(none, 'samples = "risk"\nabove = 0.5\ncount_at_most = 10').reason


def test_an_interval_without_width_is_no_evidence():
    sure = MetricResult(1.0, Interval(1.0, 1.0, "bootstrap over samples", 500))
    report = made(
        right(10, 10), metrics=[("knn_accuracy", sure), ("rankme", MetricResult(5.0, Interval(5, 5, "b", 9)))]
    )
    assert one(report, 'metric = "knn_accuracy"\nat_least = 0.9').outcome is OPEN  # 10 of 10, as if counted
    assert one(report, RANK + "at_least = 4").outcome is OPEN


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('metric = "knn_acuracy"\nat_least = 0', "no metric 'knn_acuracy'.*line 1.*'knn_accuracy'"),
        ('class = "airplan"\ncolumn = "accuracy"\nat_least = 0', "no class 'airplan'.*'airplane'"),
        ('class = "*"\ncolumn = "acuracy"\nat_least = 0', "no column 'acuracy'.*'accuracy'"),
        ('class = "*"\ncolumn = "rankme"\nat_least = 0', "rankme has no values by class.*accuracy"),
        ('class = "*"\ncolumn = "nearest_class"\nat_least = 0', "holds text"),
        ('samples = "rsk"\nabove = 0\ncount_at_most = 1', "no column 'rsk'.*'risk'"),
        ('samples = "prediction"\nabove = 0\ncount_at_most = 1', "'prediction' of the samples holds text"),
        ('metric = "rankme"\nchange_at_least = 0', "there is no baseline.*--baseline"),
    ],
)  # fmt: skip
def test_names_that_no_report_has(rule, said):
    with pytest.raises(UsageError, match=f"(?s){said}"):
        one(sample_report(n=20, k=2, thumbnails=0), rule)


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ("nearest_center_error\"\nat_least = 0.1", True),
        ("nearest_center_error\"\nat_most = 0.1", False),
        ("nearest_center_error\"\nchange_at_least = 0", True),
        ("knn_accuracy\"\nat_most = 1", True),
        ("alpha_req\"\nat_most = 1", False),
        ("alpha_req\"\nat_least = 1", False),
    ],
)  # fmt: skip
def test_a_limit_on_the_wrong_side_is_said(rule, warned):
    report = sample_report(n=20, k=2, thumbnails=0)
    result = evaluate(report, parse_rules('[[rule]]\nname = "r"\nmetric = "' + rule), report)
    assert bool(result.results[0].note) == warned
    assert any("is probably meant" in said for said in result.warnings) == warned


def test_a_share_is_better_low_where_its_samples_are_bad():
    report = sample_report(n=20, k=2, thumbnails=0)
    for about, warned in (('"risk"\nabove', False), ('"risk"\nbelow', True), ('"q_score"\nbelow', False)):
        assert bool("meant" in one(report, f"samples = {about} = 0.1\nshare_at_most = 1").note) == warned


# ------------------------------------------------------------------------------------------------ the whole gate


def test_the_worst_outcome_is_the_gates():
    report = made(right(95, 100))
    rules = {PASS: "at_least = 0.5", OPEN: "at_least = 0.95", FAIL: "at_least = 0.999"}
    for asked, outcome in (((PASS,), PASS), ((PASS, OPEN), OPEN), ((OPEN, FAIL, PASS), FAIL)):
        text = "".join(f"[[rule]]\n{ACCURACY}{rules[o]}\n" for o in asked)
        found = evaluate(report, parse_rules(text))
        assert found.outcome is outcome
        assert [r.outcome for r in found.results] == list(asked)
        assert found.count(PASS) == 1
    with pytest.raises(ValueError, match="at least one rule"):
        GateResult(())


def test_reports_from_files_decide_as_those_in_memory_and_twice_the_same(tmp_path):
    rules = parse_rules(
        f"[[rule]]\n{ACCURACY}change_at_least = -0.01\n[[rule]]\n{EVERY}at_least = 0.5\n"
        '[[rule]]\nsamples = "q_score"\nquantile = 0.1\nchange_at_least = -0.01\n'
        f"[[rule]]\n{RANK}relative_change_at_least = -0.1\n"
    )
    reports = [sample_report(n=300, k=3, seed=seed, thumbnails=0) for seed in (1, 2)]
    first = evaluate(reports[0], rules, reports[1])
    read = []
    for i, report in enumerate(reports):
        write_report(report, tmp_path / str(i))
        read.append(read_report(tmp_path / str(i)))
    again = [evaluate(read[0], rules, read[1]) for _ in range(2)]
    assert again[0] == again[1]
    assert [r.outcome for r in again[0].results] == [r.outcome for r in first.results]
    for a, b in zip(again[0].results, first.results, strict=True):
        assert a.value == pytest.approx(b.value)
        assert a.interval.low == pytest.approx(b.interval.low)


def test_a_gate_on_reports_imports_nothing_heavy():
    code = (
        "import sys, repdiag.gate.evaluate, repdiag.gate.rules, repdiag.gate.init, repdiag.report.reading\n"
        "from repdiag.gate.statistics import share, t_quantile; share(3, 9).low(0.95); t_quantile(0.95, 4)\n"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'scipy.stats', 'faiss', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_estimates_keep_their_promises():
    share = statistics.share(7, 10)
    assert share.times(10).low(0.95) == pytest.approx(10 * share.low(0.95))
    assert share.within(0.5, 0.6).high(0.95) == 0.6
    assert statistics.bare(3).low(0.99) == -math.inf
    assert str(Limit(parse_rules(f"[[rule]]\n{RANK}at_least=1").rules[0].limit.kind, False, 2)) == "at most 2"
    low, high = statistics.change_of_share_ends(0, 0, 10, 0.95)
    assert -1 <= low < 0 < high <= 1
