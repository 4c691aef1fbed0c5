"""A verdict follows from stated rules: what each says at its limits, and nothing where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import blobs

from repdiag.config import ScoreConfig
from repdiag.metrics import FAMILIES, METRICS, all_metrics
from repdiag.types import Interval, Level, Measurement, MetricResult, Null, Row, Skipped
from repdiag.verdicts import RULES, band, verdicts
from repdiag.workspace import Workspace


def measured(
    name: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    null: tuple[float, float] | None = None,
    per_class: list[float] | None = None,
    table: tuple[Row, ...] = (),
    parameters: dict[str, object] | None = None,
) -> Measurement:
    spread = Interval(value if low is None else low, value if high is None else high, "made up", 100)
    result = MetricResult(
        value,
        spread,
        None if null is None else Null("made up", *null, 20),
        per_class=None if per_class is None else np.array(per_class),
        table=table,
        parameters=parameters or {},
    )
    return Measurement(METRICS.get(name).spec, result, 0.0)


def level_of(family: str, *found: Measurement) -> Level:
    (verdict,) = (v for v in verdicts(found) if v.family == family)
    return verdict.level


@pytest.mark.parametrize(
    ("low", "high", "level"),
    [
        (0.6, 0.9, Level.GOOD),
        (0.59, 0.9, Level.WATCH),
        (0.2, 0.59, Level.WATCH),
        (0.1, 0.3, Level.WATCH),
        (0.1, 0.19, Level.POOR),
        (0.1, 0.2, Level.WATCH),
        (0.1, 0.6, Level.UNDETERMINED),
        (0.0, 0.3, Level.UNDETERMINED),  # from chance past the lower limit
        (-0.1, 0.1, Level.POOR),
    ],
)
def test_a_band_needs_the_whole_interval_on_one_side(low: float, high: float, level: Level) -> None:
    assert band(low, high, 0.2, 0.6) is level


@pytest.mark.parametrize(
    ("value", "low", "high", "level"),
    [
        (0.90, 0.88, 0.92, Level.GOOD),
        (0.40, 0.38, 0.42, Level.WATCH),
        (0.12, 0.11, 0.13, Level.POOR),  # above chance, but hardly
        (0.12, 0.05, 0.19, Level.POOR),  # the interval holds chance, and nothing that would be more than poor
        (0.30, 0.05, 0.55, Level.UNDETERMINED),  # the interval holds chance, and more than that
        (0.50, 0.15, 0.95, Level.UNDETERMINED),
    ],
)
def test_the_probe_is_judged_from_chance_to_perfect(
    value: float, low: float, high: float, level: Level
) -> None:
    assert level_of("probes", measured("linear_probe_accuracy", value, low, high, (0.1, 0.005))) is level


def test_errors_count_downward_from_chance_to_none() -> None:
    good = measured("nearest_center_error", 0.1, 0.08, 0.12, (0.9, 0.01), [0.1, 0.1])
    poor = measured("nearest_center_error", 0.8, 0.79, 0.81, (0.9, 0.01), [0.4, 0.4])
    assert level_of("crowding", good) is Level.GOOD
    assert level_of("crowding", poor) is Level.POOR


def test_one_lost_class_is_said_though_the_mean_is_good() -> None:
    found = measured("nearest_center_error", 0.1, 0.08, 0.12, (0.9, 0.01), [0.02, 0.7, float("nan")])
    (verdict,) = verdicts([found])
    assert verdict.level is Level.WATCH
    assert verdict.reason.startswith("In 1 of 2 classes")
    assert {f.rule: f.level for f in verdict.findings} == {"centers": Level.GOOD, "every class": Level.WATCH}


def test_stable_clusters_that_are_not_the_classes_are_poor() -> None:
    stable = measured("seed_ari", 0.99, 0.98, 1.0, (0.1, 0.02))
    wrong = measured("label_ari", 0.001, -0.002, 0.003, (0.0, 0.002))
    right = measured("label_ari", 0.8, 0.7, 0.9, (0.0, 0.002))
    assert level_of("stability", stable) is Level.GOOD
    assert level_of("stability", stable, right) is Level.GOOD
    assert level_of("stability", stable, wrong) is Level.POOR
    few = measured("label_ari", 0.1, null=(0.0, 0.2))  # so few samples that nothing could be told
    assert level_of("stability", few) is Level.UNDETERMINED


@pytest.mark.parametrize(
    ("low", "high", "level"),
    [(0.01, 0.03, Level.GOOD), (-0.01, 0.02, Level.WATCH), (-0.03, -0.01, Level.POOR)],
)
def test_compression_is_judged_by_the_paired_difference_to_random_features(
    low: float, high: float, level: Level
) -> None:
    row = {"kept": 0.6, "gain": (low + high) / 2, "gain_low": low, "gain_high": high}
    assert level_of("features", measured("compression", 0.7, table=({"kept": 0.8}, row))) is level


def test_q_score_is_not_trusted_where_it_is_empty_or_as_by_chance() -> None:
    spoken, silent = measured("qscore_empty_rate", 0.1), measured("qscore_empty_rate", 0.9)
    chance, useful = measured("qscore_auroc", 0.52, 0.49, 0.55), measured("qscore_auroc", 0.7, 0.68, 0.72)
    assert level_of("risk", spoken, useful) is Level.GOOD
    assert level_of("risk", spoken, chance) is Level.WATCH
    assert level_of("risk", silent, useful) is Level.WATCH
    assert level_of("risk", spoken) is Level.UNDETERMINED  # without labels nobody knows


def test_a_collapsed_space_is_poor_and_a_wide_one_good() -> None:
    size = {"samples": 1000, "features": 512}
    assert level_of("spectrum", measured("rankme", 5.0, 4.5, 5.5, parameters=size)) is Level.POOR
    assert level_of("spectrum", measured("rankme", 300.0, 290.0, 310.0, parameters=size)) is Level.GOOD
    assert (
        level_of("spectrum", measured("rankme", 1.0, 1.0, 1.0, parameters={"samples": 99, "features": 16}))
        is Level.POOR
    )
    assert level_of(
        "spectrum", measured("rankme", 5.0, 4.9, 5.1, parameters={"samples": 6, "features": 8})
    ) is (Level.UNDETERMINED)
    few = {"samples": 20, "features": 512}
    assert level_of("spectrum", measured("rankme", 10.0, 9.0, 11.0, parameters=few)) is Level.GOOD


def test_what_is_undetermined_does_not_hide_what_is_decided() -> None:
    open_ = measured("seed_ari", 0.5, 0.05, 0.95, (0.0, 0.01))
    good = measured("subsample_ari", 0.9, 0.88, 0.92, (0.0, 0.01))
    assert level_of("stability", open_) is Level.UNDETERMINED
    assert level_of("stability", open_, good) is Level.GOOD


def test_a_family_that_was_skipped_is_undetermined_with_the_reason() -> None:
    skipped = Measurement(
        METRICS.get("linear_probe_accuracy").spec, Skipped("the data set has no labels"), 0.0
    )
    (verdict,) = verdicts([skipped])
    assert verdict.level is Level.UNDETERMINED
    assert verdict.reason == "No rule applies: the data set has no labels."


def test_real_measurements_get_one_verdict_per_family_with_a_reason() -> None:
    config = ScoreConfig(bootstrap=50, permutations=5, null_draws=2, kmeans_seeds=3, eps=2.0)
    ws = Workspace(blobs(), config)
    wanted = {name for rule in RULES for name in rule.needs}
    found = verdicts([m.run(ws) for m in all_metrics() if m.spec.name in wanted])
    assert [v.family for v in found] == [f for f in FAMILIES if f in {r.family for r in RULES}]
    for verdict in found:
        assert verdict.reason.endswith(".")
        assert verdict.level in {f.level for f in verdict.findings}


def test_every_rule_names_metrics_and_a_family_that_exist_and_no_two_share_a_name() -> None:
    known = {m.spec.name: m.spec.family for m in all_metrics()}
    for rule in RULES:
        assert rule.family in FAMILIES
        assert {known[name] for name in rule.needs} <= set(FAMILIES)
        assert rule.text
    assert len({(r.family, r.name) for r in RULES}) == len(RULES)
