"""The adapted Q-Score against the definition written out slowly, and when Q-Score is not to be trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs

from repdiag import scores
from repdiag.adapted import adapted
from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS, all_metrics
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=3, eps=3.0)
ADAPTED = scores.BY_NAME["q_score_signed"]
all_metrics()


def points(x: np.ndarray, y: np.ndarray | None = None) -> EmbeddingSet:
    ids = tuple(f"{i:06d}" for i in range(len(x)))
    names = () if y is None else tuple(map(str, range(int(y.max()) + 1)))
    return EmbeddingSet(np.asarray(x, np.float32), ids, y, names)


def slowly(data: EmbeddingSet, eps: float, train: np.ndarray | None = None) -> np.ndarray:
    """The definition, sample by sample in float64."""
    x = data.features.astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    reference = x if train is None else x[train]
    evaluated = x if train is None else x[~train]
    center = reference.mean(0)

    def fires(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        g = row - center
        height = np.abs(g - g.mean())
        return height, height > eps / 2 * g.std()

    frequency = 100 * np.mean([fires(row)[1] for row in reference], axis=0)
    low, high = np.percentile(frequency, [50, 95])
    selected = (frequency >= low) & (frequency <= high) & (frequency > 0)
    out = []
    for row in evaluated:
        height, hit = fires(row)
        out.append(height[hit & selected].mean() if (hit & selected).any() else np.nan)
    return np.array(out)


@pytest.mark.parametrize("relu", [False, True], ids=["signed", "relu"])
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_the_score_is_the_definition(relu: bool, split: bool) -> None:
    data = blobs(relu=relu, split=split)
    found = ADAPTED.values(Workspace(data, CONFIG))
    wanted = slowly(data, 3.0, data.is_train)
    assert np.isfinite(found).any()
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert found[np.isfinite(found)] == pytest.approx(wanted[np.isfinite(wanted)], rel=1e-5)
    other = slowly(data, 2.0, data.is_train)
    assert not np.allclose(np.nan_to_num(found), np.nan_to_num(other)), "this data would not show a wrong eps"


def test_both_sides_count_alike() -> None:
    """Turning the sign of every feature changes nothing; Q-Score itself would count other features."""
    data = blobs(relu=False)
    one = ADAPTED.values(Workspace(data, CONFIG))
    two = ADAPTED.values(Workspace(replace(data, features=-data.features), CONFIG))
    assert np.nan_to_num(one) == pytest.approx(np.nan_to_num(two), abs=1e-7)


def test_an_offset_of_a_feature_does_not_make_it_fire_always() -> None:
    """Four features are large for every sample: by the paper's rule they alone fire, centered they are as others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 64))
    x[:, :4] += 30
    ws = Workspace(points(x), CONFIG)
    assert ws.fires(ws.x).mean(0)[:4].min() > 0.95
    assert ws.fires(ws.x)[:, 4:].mean() < 0.01
    frequency = adapted(ws).activation.frequency
    assert frequency[:4].mean() < 50
    assert frequency[4:].min() > 1


def test_rows_without_a_direction_have_no_score() -> None:
    data = blobs(relu=False, views=False)
    x = data.features.copy()
    x[3] = 0
    x[5] = 7
    found = ADAPTED.values(Workspace(replace(data, features=x), CONFIG))
    assert np.isnan(found[3])
    same = Workspace(replace(data, features=np.ones((240, 24), np.float32)), CONFIG)
    assert np.isnan(ADAPTED.values(same)).all(), "rounding is not a feature that stands out"
    assert isinstance(METRICS.get("qscore_signed_auroc").run(same).outcome, Skipped)


def test_the_adapted_score_finds_errors_that_it_was_made_to_find() -> None:
    """Samples of noise around nothing are wrong, samples with a spike of either sign are right."""
    rng = np.random.default_rng(1)
    y = np.arange(1200) % 4
    x = rng.normal(size=(1200, 40))
    clear = rng.random(1200) < 0.6
    spike = y + 4 * rng.integers(5, size=1200)  # one of five features of the class
    x[clear, spike[clear]] += np.where(spike[clear] % 8 < 4, 1, -1) * 9
    found = METRICS.get("qscore_signed_auroc").run(Workspace(points(x, y), CONFIG)).outcome
    assert isinstance(found, MetricResult)
    assert found.value > 0.7
    assert found.interval is not None
    assert found.interval.low > 0.5
    assert found.null is not None
    assert abs(found.null.mean - 0.5) < 0.05
    assert found.note is None
    rate = METRICS.get("qscore_signed_empty_rate").run(Workspace(points(x, y), CONFIG)).outcome
    assert isinstance(rate, MetricResult)
    values = ADAPTED.values(Workspace(points(x, y), CONFIG))
    assert rate.value == pytest.approx(np.isnan(values).mean())


def test_on_relu_features_the_note_points_to_the_papers_score() -> None:
    found = METRICS.get("qscore_signed_auroc").run(Workspace(blobs(), CONFIG)).outcome
    assert isinstance(found, MetricResult)
    assert "qscore_auroc" in (found.note or "")


# --------------------------------------------------------------------------------------------- trust


def test_q_score_that_ranks_errors_is_trusted() -> None:
    """512 sparse features; a third of the samples has hardly any class in it, and low activations."""
    rng = np.random.default_rng(2)
    y = np.arange(1500) % 5
    x = rng.gamma(0.3, 0.3, size=(1500, 512))
    clear = rng.random(1500) < 0.67
    for j in range(60):
        hit = clear & (y == j % 5) & (rng.random(1500) < 0.5)
        x[hit, j] += 12
    ws = Workspace(points(x, y), replace(CONFIG, eps=4.0, upper=100.0))
    assert scores.trust(ws) is None


def test_the_reasons_against_it_are_said() -> None:
    said = scores.trust(Workspace(blobs(relu=False), CONFIG))
    assert said is not None
    assert "signed" in said
    said = scores.trust(Workspace(blobs(dim=12, labels=False), replace(CONFIG, eps=4.0)))
    assert said is not None
    assert "with 12 features no z-score can exceed 4" in said
    assert "only 0 of 12 features are discriminative" in said
    assert "100.0 % of the samples have none" in said
    said = scores.trust(Workspace(blobs(dim=64, labels=False), replace(CONFIG, eps=4.0)))
    assert said is not None
    assert "at most 3 of 64 features of a sample can have a z-score above 4" in said
    assert "AUROC" not in said, "without labels there is nothing to judge it by"


def test_an_auroc_at_chance_or_below_is_a_reason() -> None:
    """Labels that have nothing to do with the features: whatever the score says of errors is noise."""
    rng = np.random.default_rng(3)
    x = rng.gamma(0.2, 1.0, size=(1000, 256))
    said = scores.trust(Workspace(points(x, rng.integers(3, size=1000)), CONFIG))
    assert said is not None
    assert "its AUROC for the probe's correctness, 0." in said
    assert said.startswith("Q-Score is not to be trusted here: ")
    assert said.endswith(("chance.", "correct."))
