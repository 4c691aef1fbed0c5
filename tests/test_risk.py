"""The risk column: what it learns, whether it holds as a probability, and what setting the riskiest aside leaves."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from scipy.stats import binomtest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from repdiag import risk, scores
from repdiag.config import ScoreConfig
from repdiag.kernels import calibration, ranking, resample
from repdiag.metrics import METRICS
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=5, null_draws=2, kmeans_seeds=3, eps=2.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def cross_fit(found: dict[str, np.ndarray], wrong: np.ndarray, seed: int = 0) -> np.ndarray:
    return risk._cross_fit(found, np.arange(wrong.size), wrong, rng(seed)).values


def outcome(name: str, ws: Workspace) -> MetricResult:
    found = METRICS.get(name).run(ws).outcome
    assert isinstance(found, MetricResult), found
    return found


def with_risk(values: np.ndarray, ws: Workspace) -> Workspace:
    """`ws`, its risk column being `values`."""
    wrong = ~ws.probe.correct
    judged = risk.judge(values, wrong, np.full(len(ws), wrong.mean()), ws.draws)
    ws.once("risk", lambda: risk.Risk(values, "x", "x", True, 0.5, (0.4, 0.6), {}, "said.", judged))
    return ws


def noisy(n: int = 600) -> Workspace:
    """Overlapping classes: the probe errs on about a fifth."""
    return Workspace(blobs(n=n, spread=1.5, views=False), CONFIG)


# ------------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_the_logistic_regression_is_scikit_learns(l2: float) -> None:
    x = rng().normal(size=(500, 4))
    y = rng(1).random(500) < calibration.sigmoid(x @ np.array([1.0, -2, 0, 0.5]) - 1)
    peer = LogisticRegression(C=1 / (500 * l2), tol=1e-10, max_iter=1000).fit(x, y)
    own = calibration.fit_logistic(x, y, l2)
    np.testing.assert_allclose(own(x), peer.predict_proba(x)[:, 1], atol=1e-6)
    warm = calibration.fit_logistic(x, y, l2, calibration.fit_logistic(x, y, 1.0))
    np.testing.assert_allclose(warm.weights, own.weights, atol=1e-6)


def test_outcomes_that_a_line_separates_do_not_run_away() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    model = calibration.fit_logistic(x, x[:, 0] > 0, 1e-4)
    assert np.isfinite(model.weights).all()
    assert ((model(x) > 0.5) == (x[:, 0] > 0)).all()


def test_quantiles_are_middle_ranks_whatever_the_unit() -> None:
    learned = np.array([3.0, 1.0, 1.0, 1e9])
    places = calibration.Quantiles(learned)(np.array([0.0, 1.0, 2.0, 3.0, 1e12])) / np.sqrt(12) + 0.5
    np.testing.assert_allclose(places, [0, 0.25, 0.5, 0.625, 1])
    squeezed = calibration.Quantiles(np.log(learned))(np.log([1.0, 2.0, 3.0])) / np.sqrt(12) + 0.5
    np.testing.assert_allclose(squeezed, [0.25, 0.5, 0.625])


def test_the_monotone_curve_keeps_the_order_and_straightens_a_bent_probability() -> None:
    said = np.sort(rng().random(4000))
    happened = rng(1).random(4000) < said**2
    curve = calibration.fit_monotone(said, happened)
    assert (np.diff(curve(np.linspace(0, 1, 200))) > 0).all()
    grid = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(curve(grid), grid**2, atol=0.08)
    isotonic = IsotonicRegression().fit(said, happened).predict(grid)
    np.testing.assert_allclose(curve(grid), isotonic, atol=0.08)


def test_wilsons_interval_is_scipys() -> None:
    for k, n in ((0, 7), (3, 10), (10, 10), (90, 400)):
        peer = binomtest(k, n).proportion_ci(method="wilson")
        assert calibration.wilson(k, n) == pytest.approx((peer.low, peer.high), abs=1e-9)


def test_bins_are_of_equal_count_and_equal_scores_share_one() -> None:
    assert np.bincount(calibration.equal_bins(rng().random(1000), 10)).tolist() == [100] * 10
    tied = np.array([0.1] * 50 + [0.2] * 45 + [0.9] * 5)
    number = calibration.equal_bins(tied, 10)
    assert len({*zip(tied.tolist(), number.tolist(), strict=True)}) == np.unique(tied).size
    assert calibration.equal_bins(np.ones(9), 10).tolist() == [0] * 9


def test_hand_computed_brier_score_and_calibration_error() -> None:
    draws = np.ones((50, 3), np.uint8)
    wrong = np.array([False, False, True])
    judged = risk.judge(np.array([0.1, 0.1, 0.8]), wrong, np.full(3, 1 / 3), draws)
    assert judged.brier == pytest.approx(0.02)
    assert judged.brier == pytest.approx(brier_score_loss(wrong, [0.1, 0.1, 0.8]))
    assert judged.base == pytest.approx(2 / 9)
    assert judged.skill == pytest.approx(1 - 0.02 * 9 / 2)
    gap = np.array([0.2, 0.2, 0.7, 0.7]) - np.array([0, 0, 1, 0])
    assert calibration.calibration_error(np.array([0, 0, 1, 1]), gap) == pytest.approx(0.2)
    only = np.array([2, 0, 0, 0], np.uint8)
    assert calibration.calibration_error(np.array([0, 0, 1, 1]), gap, only) == pytest.approx(0.2)


def test_precision_among_the_first_breaks_ties_as_chance_would() -> None:
    score = np.array([3.0, 2, 2, 2, 1])
    good = np.array([True, False, True, True, False])
    shares = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    expected = np.zeros(5)
    for order in itertools.permutations((1, 2, 3)):
        listed = good[[0, *order, 4]]
        expected += [listed[: round(5 * s)].mean() / 6 for s in shares]
    rank = ranking.Ranking(score, good)
    np.testing.assert_allclose(rank.precision(shares), expected)
    weights = np.array([2, 0, 1, 3, 1], np.uint8)
    repeated = ranking.Ranking(np.repeat(score, weights), np.repeat(good, weights))
    np.testing.assert_allclose(rank.precision(shares, weights), repeated.precision(shares))
    assert np.isnan(rank.precision(shares, np.zeros(5, np.uint8))).all()


# ------------------------------------------------------------------------------------------ what it learns


def test_a_perfectly_informative_score_gives_risks_of_nearly_zero_and_one() -> None:
    score = rng().normal(size=1000)
    wrong = score < -0.5
    values = cross_fit({"knows": score, "noise": rng(1).normal(size=1000)}, wrong)
    assert ranking.auroc(values, wrong) > 0.999
    assert ((values - wrong) ** 2).mean() < 0.1 * wrong.mean() * (1 - wrong.mean())


def test_useless_scores_are_at_chance_and_cost_next_to_nothing_against_the_error_rate() -> None:
    aurocs, skills = [], []
    for seed in range(8):
        draw = rng(seed)
        wrong = draw.random(600) < 0.3
        values = cross_fit({f"noise {i}": draw.normal(size=600) for i in range(6)}, wrong, seed)
        aurocs.append(ranking.auroc(values, wrong))
        skills.append(1 - ((values - wrong) ** 2).mean() / (wrong.mean() * (1 - wrong.mean())))
    assert abs(np.mean(aurocs) - 0.5) < 0.03
    assert -0.03 < np.mean(skills) < 0.01


@pytest.mark.parametrize("bent", [False, True], ids=["logistic in the rank", "a step in the rank"])
def test_risks_are_calibrated_on_outcomes_drawn_from_known_probabilities(bent: bool) -> None:
    draw = rng(3)
    place = draw.permutation(4000) / 4000
    truth = np.where(place > 0.7, 0.6, 0.05) if bent else calibration.sigmoid(5 * place - 4)
    wrong = draw.random(4000) < truth
    values = cross_fit({"score": -np.exp(3 * place), "noise": draw.normal(size=4000)}, wrong)
    logit = np.log(values / (1 - values))[:, None]
    slope = LogisticRegression(C=1e6).fit(logit, wrong).coef_[0, 0]
    assert slope == pytest.approx(1, abs=0.15)
    assert np.abs(values - truth).mean() < 0.04
    for b in calibration.reliability(values, wrong, 10):
        assert b.low - 0.06 < b.predicted < b.high + 0.06


def test_scores_that_complete_each_other_are_combined_and_beat_the_best_alone() -> None:
    draw = rng(5)
    one, two = draw.normal(size=(2, 2000))
    wrong = draw.random(2000) < calibration.sigmoid(-1.5 * one - 1.5 * two - 1)
    found = {"one": one, "two": two, "noise": draw.normal(size=2000)}
    fitted = risk._cross_fit(found, np.arange(2000), wrong, rng())
    together = ranking.auroc(fitted.values, wrong)
    assert all(len(model.names) == 3 for model in fitted.models)
    assert together > max(ranking.auroc(-s, wrong) for s in found.values()) + 0.05
    weights = risk._weights(fitted.models)
    assert list(weights)[-1] == "noise"
    assert weights["one"] < -0.5 > weights["two"]


def test_one_score_that_says_it_all_may_stand_alone_among_noise() -> None:
    draw = rng(6)
    known = draw.normal(size=300)
    wrong = draw.random(300) < calibration.sigmoid(-3 * known - 1)
    noise = {f"noise {i}": draw.normal(size=300) for i in range(20)}
    fitted = risk._cross_fit({"known": known, **noise}, np.arange(300), wrong, rng())
    alone = [model.names for model in fitted.models if len(model.names) == 1]
    assert len(alone) >= 3
    assert set(alone) == {("known",)}


def test_an_inverted_score_is_used_the_right_way_round() -> None:
    """The scores claim that high is trustworthy; where the opposite holds, all together learn it."""
    known = rng().normal(size=1500)
    wrong = rng(1).random(1500) < calibration.sigmoid(2 * known - 1)
    values = cross_fit({"inverted": known, "noise": rng(2).normal(size=1500)}, wrong)
    assert ranking.auroc(values, wrong) > 0.75


def test_a_score_that_differs_by_rounding_only_is_no_candidate() -> None:
    data = blobs(views=False)
    unit = data.features / np.linalg.norm(data.features, axis=1, keepdims=True)
    ws = Workspace(replace(data, features=unit), CONFIG)
    assert np.unique(scores.BY_NAME["feature_norm"].values(ws)).size > 1
    assert "feature_norm" not in risk.candidates(ws)
    assert "feature_norm" in risk.candidates(Workspace(data, CONFIG))


def test_choosing_on_a_part_of_many_samples_still_answers_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    known = rng().normal(size=2000)
    wrong = rng(1).random(2000) < calibration.sigmoid(-2 * known - 2)
    found = {"known": known, "noise": rng(2).normal(size=2000)}
    whole = cross_fit(found, wrong)
    monkeypatch.setattr(risk, "CHOICE_ROWS", 500)
    part = cross_fit(found, wrong)
    assert np.isfinite(part).all()
    assert np.corrcoef(part, whole)[0, 1] > 0.95


# ------------------------------------------------------------------------------------------ metrics


def test_an_oracle_leaves_the_oracles_accuracy_and_an_inverted_one_the_worst() -> None:
    ws = noisy()
    correct = ws.probe.correct
    found = outcome("selective_accuracy", with_risk((~correct).astype(np.float64), ws))
    for row in found.table:
        assert row["accuracy"] == pytest.approx(row["oracle"])
        assert row["random"] == pytest.approx(correct.mean())
        assert row["q_score"] is not None
    worst = outcome("selective_accuracy", with_risk(correct.astype(np.float64), noisy()))
    kept = 0.9 * correct.size
    assert worst.value == pytest.approx((correct.sum() - 0.1 * correct.size) / kept)
    assert worst.note is not None
    assert "not shown to help" in worst.note


def test_a_constant_risk_leaves_the_plain_accuracy_at_every_share() -> None:
    ws = noisy()
    found = outcome("selective_accuracy", with_risk(np.full(len(ws), 0.2), ws))
    for row in found.table:
        assert row["accuracy"] == pytest.approx(ws.probe.correct.mean())
        assert row["gain_low"] == pytest.approx(0)


def test_the_probes_own_confidence_stands_beside_the_risk() -> None:
    ws = noisy()
    row = outcome("selective_accuracy", ws).table[2]
    order = np.argsort(-ws.probe.probabilities.max(1), kind="stable")[: round(0.8 * len(ws))]
    assert row["confidence"] == pytest.approx(ws.probe.correct[order].mean(), abs=1e-9)


def test_an_overconfident_risk_is_beyond_what_calibration_gives_and_an_honest_one_is_not() -> None:
    ws = noisy(900)
    wrong = ~ws.probe.correct
    truth = np.where(wrong, 0.45, 0.15) + 0.001 * rng().random(len(ws))
    rate = np.array([wrong[truth < 0.3].mean(), wrong[truth > 0.3].mean()])
    honest = np.where(truth > 0.3, rate[1], rate[0])
    assert outcome("risk_ece", with_risk(honest, ws)).value == pytest.approx(0, abs=1e-9)
    half = rng(1).random(len(ws)) < 0.5
    loud = outcome("risk_ece", with_risk(np.where(half, 0.95, 0.02), noisy(900)))
    assert loud.null is not None
    assert loud.value > loud.null.mean + 5 * loud.null.std
    assert loud.note is not None
    assert loud.note.startswith("Beyond")


def test_the_brier_scores_null_is_the_error_rate_and_its_table_the_reliability_curve() -> None:
    ws = noisy()
    found = outcome("risk_brier", ws)
    wrong = ~ws.probe.correct
    assert found.null is not None
    assert found.null.mean == pytest.approx(wrong.mean() * (1 - wrong.mean()), rel=0.01)
    assert found.parameters["skill"] == pytest.approx(1 - found.value / found.null.mean)
    assert sum(row["n"] for row in found.table) == len(ws)
    assert sum(row["n"] * row["observed"] for row in found.table) == pytest.approx(wrong.sum())
    predicted = [row["predicted"] for row in found.table]
    assert predicted == sorted(predicted)
    assert all(row["low"] <= row["observed"] <= row["high"] for row in found.table)
    constant = outcome("risk_brier", with_risk(np.full(len(ws), wrong.mean()), noisy()))
    assert constant.parameters["skill"] == pytest.approx(0)
    assert constant.note is not None
    assert "not shown" in constant.note


def test_with_few_errors_the_risk_is_a_rank_and_claims_no_probability() -> None:
    draw = rng()
    y = np.arange(200) % 2
    x = np.abs(np.eye(2, 8)[y] * 5 + draw.normal(scale=0.3, size=(200, 8))).astype(np.float32)
    data = EmbeddingSet(x, tuple(f"{i:03d}" for i in range(200)), y, ("a", "b"))
    ws = Workspace(data, CONFIG)
    assert not risk.assess(ws).validated
    assert risk.assess(ws).calibration is None
    for name in ("risk_auroc", "risk_brier", "risk_ece"):
        found = METRICS.get(name).run(ws).outcome
        assert isinstance(found, Skipped)
        assert "too few to calibrate on" in found.reason
    kept = outcome("selective_accuracy", ws)
    assert kept.note is not None
    assert "not a probability" in kept.note


def test_the_notes_say_when_q_score_is_not_to_be_trusted() -> None:
    """At eps = 4 nothing stands out of 24 features: Q-Score is undefined for nearly all."""
    found = outcome("qscore_auroc", Workspace(blobs(n=400, spread=1.5, views=False), CONFIG))
    said = scores.trust(Workspace(blobs(n=400, spread=1.5, views=False), CONFIG))
    assert said is not None
    assert said in (found.note or "")


def test_the_interval_of_a_gain_is_paired() -> None:
    """From the same draws as the plain accuracy: narrower than the two intervals apart."""
    ws = noisy()
    row = outcome("selective_accuracy", ws).table[1]
    plain = resample.weighted_means(ws.probe.correct.astype(np.float64), ws.draws)
    apart = np.hypot(float(row["high"]) - float(row["low"]), np.ptp(np.quantile(plain, [0.025, 0.975])))
    assert float(row["gain_high"]) - float(row["gain_low"]) < apart


def test_the_curve_and_the_calibration_error_rest_on_ten_bins_of_equal_count_as_documented() -> None:
    ws = with_risk(rng(9).uniform(0.1, 0.9, 600), noisy())
    brier, error = outcome("risk_brier", ws), outcome("risk_ece", ws)
    assert [row["n"] for row in brier.table] == [60] * 10
    assert brier.parameters["bins"] == error.parameters["bins"] == 10
