"""The same from Python as from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, blobs

import repdiag
from repdiag.errors import DataError, UsageError
from repdiag.types import MetricResult, Skipped

FAST = repdiag.ScoreConfig(bootstrap=50, permutations=5)


def test_score_takes_a_request_and_returns_a_report_that_can_be_written(tmp_path: Path) -> None:
    request = repdiag.Request(
        str(FIXTURES / "encoders" / "simclr.safetensors"),
        str(FIXTURES / "digits"),
        config=FAST,
        cache=tmp_path / "cache",
        metrics=("probes",),
        draw_map=False,
    )
    seen: list[tuple[str, int, int]] = []
    report = repdiag.score(request, progress=lambda step, done, total: seen.append((step, done, total)))
    found = report.value("linear_probe_accuracy")
    assert isinstance(found, MetricResult)
    assert found.value > 0.9
    assert {s for s, _, _ in seen} >= {"embed"}
    assert all(done <= total for _, done, total in seen)
    files = repdiag.write_report(report, tmp_path / "out")
    assert files["report.html"].is_file()
    assert set(report.thumbnails) >= {risky.id for risky in report.exhibits.riskiest}
    assert all(t.startswith(b"\xff\xd8") for t in report.thumbnails.values())


def test_a_request_says_everything_itself() -> None:
    request = repdiag.Request("-", blobs(), config=FAST, metrics=("rankme",), draw_map=False)
    assert repdiag.score(request).value("rankme") is not None
    for more in ({"seed": 3}, {"folds": 3}, {"data": blobs()}, {"metrics": ["cdnv"]}):
        with pytest.raises(UsageError, match="A Request says everything itself"):
            repdiag.score(request, **more)


def test_diagnose_takes_arrays() -> None:
    report = repdiag.diagnose(blobs(), FAST, draw_map=False)
    assert len(report.samples) == 240
    assert report.dataset["classes"] == 4
    assert report.value("r2_separation") is not None


def test_measurements_can_be_asked_for_by_name() -> None:
    report = repdiag.diagnose(blobs(labels=False), FAST, draw_map=False, metrics=["cdnv", "rankme"])
    assert [m.spec.name for m in report.measurements] == ["cdnv", "rankme"]
    cdnv = report.measurement("cdnv")
    assert cdnv is not None
    assert isinstance(cdnv.outcome, Skipped)
    assert report.value("cdnv") is None
    assert report.measurement("alignment") is None
    with pytest.raises(UsageError, match="rankme"):
        repdiag.diagnose(blobs(), FAST, metrics=["rankmee"])


def test_the_map_is_the_same_for_the_same_seed_and_covers_every_sample() -> None:
    one, two = (repdiag.diagnose(blobs(), FAST, metrics=["rankme"]) for _ in range(2))
    for axis in ("umap_x", "umap_y"):
        np.testing.assert_array_equal(one.samples.columns[axis], two.samples.columns[axis])
        assert np.isfinite(one.samples.columns[axis]).all()


def test_warnings_name_what_a_reader_should_know() -> None:
    data = blobs(n=100)
    copies = repdiag.EmbeddingSet(
        np.concatenate([data.features, data.features[:7]]), tuple(str(i) for i in range(107))
    )
    found = " ".join(repdiag.diagnose(copies, FAST, metrics=["rankme"], draw_map=False).warnings)
    assert "7 of 107 embeddings are exact copies" in found
    assert "No labels" in found
    assert "Only 107 samples" in found


def test_too_little_data_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match="Only 3 samples"):
        repdiag.diagnose(blobs(n=3, k=2), FAST)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = repdiag.nonsense
    assert "score" in dir(repdiag)
