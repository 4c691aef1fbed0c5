"""`repdiag score` with chosen features: a report per layer, one table; unit rows in three states."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES, blobs

from repdiag.cli import main
from repdiag.companions import columns
from repdiag.config import ScoreConfig
from repdiag.diagnosis import diagnose
from repdiag.encoders import load_encoder
from repdiag.errors import UsageError
from repdiag.extraction import EmbedConfig
from repdiag.metrics import Rows, all_metrics
from repdiag.pipeline import Request, make_plan, reports, run
from repdiag.report.layers import folders
from repdiag.types import EmbeddingSet, Report
from repdiag.workspace import Workspace

SIMCLR, DIGITS = FIXTURES / "encoders" / "simclr.safetensors", FIXTURES / "digits" / "test"
FAST = ("--metrics", "rankme,uniformity", "--no-map", "--views", "0", "--unlabeled")
Outcome = tuple[int, str, str]


@pytest.fixture
def repdiag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """The command line in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> Outcome:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


def request(**more: Any) -> Request:
    return Request(
        str(SIMCLR),
        str(DIGITS),
        embed=EmbedConfig(device="cpu", views=0),
        use_cache=False,
        use_labels=False,
        metrics=("rankme", "uniformity"),
        draw_map=False,
        **more,
    )


def values(report: Report) -> dict[str, float]:
    found = {m.spec.name: report.value(m.spec.name) for m in report.measurements}
    return {name: result.value for name, result in found.items() if result is not None}


# ------------------------------------------------------------------------------------------ layers


def test_layers_get_a_report_each_and_one_table(cli: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = cli("score", SIMCLR, DIGITS, "--layer", "layer1,layer2", "--out", out, *FAST)
    assert sorted(path.name for path in out.iterdir()) == ["layer1", "layer2", "layers.csv"]
    with (out / "layers.csv").open(newline="") as file:
        table = {row["layer"]: row for row in csv.DictReader(file)}
    assert list(table) == ["layer1", "layer2"]
    for name, width in (("layer1", 16), ("layer2", 32)):
        found = json.loads((out / name / "report.json").read_text())
        assert (out / name / "report.html").stat().st_size > 10_000
        measured = {m["name"]: m["outcome"]["value"] for m in found["measurements"]}
        assert {metric: float(table[name][metric]) for metric in measured} == measured
        assert found["encoder"]["layer"] == name
        assert found["encoder"]["features"] == [{"layer": name, "pooling": "global average", "dim": width}]
        assert (
            found["dataset"]["features"] == found["encoder"]["dim"] == int(table[name]["features"]) == width
        )
        assert f"{width} features of {name} (global average)" in found["encoder"]["summary"]
        assert [line.split()[:2] for line in done.stdout.splitlines()].count([name, str(width)]) == 1
    assert str(out / "layers.csv") in done.stdout.replace("\n", "")


def test_a_layer_among_others_measures_as_it_does_alone() -> None:
    together = list(reports(make_plan(request(loading={"layer": "layer2,layer3"}))))
    for name, report in zip(("layer2", "layer3"), together, strict=True):
        alone = run(make_plan(request(loading={"layer": name})))
        assert values(report) == values(alone)
        assert report.encoder["layer"] == name
        assert "layer" not in alone.encoder
        assert alone.dataset["embedding"]["made_of"]["features"][0]["layer"] == name


def test_one_report_of_several_layers_is_refused() -> None:
    plan = make_plan(request(loading={"layer": "layer1,layer2"}))
    with pytest.raises(UsageError, match="The layers layer1, layer2 have a report each"):
        run(plan)


def test_the_columns_of_a_layer_are_no_copy() -> None:
    encoder = load_encoder(str(SIMCLR), layer="layer1,layer2")
    whole = blobs(dim=48)
    part = columns(whole, encoder.outputs[1], encoder.outputs)
    assert part.features.shape == (240, 32)
    assert np.shares_memory(part.features, whole.features)
    assert part.views is not None
    assert whole.views is not None
    assert np.shares_memory(part.views.features, whole.views.features)
    np.testing.assert_array_equal(part.views.features, whole.views.features[:, :, 16:])


def test_json_is_an_object_by_layer(repdiag: Callable[..., Outcome], tmp_path: Path) -> None:
    layers = ("--layer", "-2,output", "--l2", "--pool", "gem")
    code, out, _ = repdiag("score", SIMCLR, DIGITS, *layers, "--out", tmp_path, "--json", "-q", *FAST)
    assert code == 0
    found = json.loads(out)
    assert list(found) == ["layer3", "output"]
    for name, document in found.items():
        assert document == json.loads((tmp_path / name / "report.json").read_text()) | {
            key: document[key] for key in ("timing",)
        }
        assert document["config"]["l2"] is True
        assert document["encoder"]["l2"] is True
        assert document["encoder"]["features"][0]["pooling"].startswith("generalized mean, p = 3")


def test_the_plan_names_the_layers_and_writes_nothing(
    repdiag: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said, _ = repdiag("score", SIMCLR, DIGITS, "--layer", "layer1,-1", "--out", out, "--dry-run", *FAST)
    assert code == 0
    assert "layer1 (16, global average); layer4 (128, global average)" in " ".join(said.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "layer7"), "The encoder has no layer 'layer7' (simclr.safetensors). Did you mean"),
        (("--layer", "layer1", "--pool", "cls"), "--pool cls is for tokens, and layer1 gives a feature map"),
        (("--layer", "projector"), "No projector can be read from the checkpoint"),
    ],
)
def test_a_choice_that_the_encoder_does_not_have_ends_with_a_sentence(
    repdiag: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, said = repdiag("score", SIMCLR, DIGITS, *arguments, "--out", tmp_path / "out")
    assert (code, "Traceback" in said) == (2, False)
    assert message in said


def test_ready_embeddings_have_no_layers_but_rows_of_unit_length(
    repdiag: Callable[..., Outcome], tmp_path: Path
) -> None:
    data = blobs()
    np.savez(tmp_path / "e.npz", embeddings=data.features, labels=data.labels)
    code, _, said = repdiag("score", "-", tmp_path / "e.npz", "--layer", "layer1", "--pool", "gem")
    assert code == 2
    assert "--layer and --pool choose features of an encoder" in said
    code, _, _ = repdiag("score", "-", tmp_path / "e.npz", "--l2", "--out", tmp_path / "out", "-q", *FAST)
    assert code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["config"]["l2"] is True


def test_folders_are_safe_and_distinct() -> None:
    names = ["blocks.3", "a/b", "a b", "Conv", "conv", "..", "layers.csv", "-x"]
    found = folders(names)
    assert found["blocks.3"] == "blocks.3"
    assert len({name.lower() for name in found.values()}) == len(names)
    assert "layers.csv" not in found.values()
    assert not any("/" in name or name.startswith((".", "-")) for name in found.values())


# ------------------------------------------------------------------------------------------ unit rows

QUICK = ScoreConfig(bootstrap=50, permutations=2, kmeans_seeds=3, null_draws=2, eps=2.0)


def stretched(data: EmbeddingSet) -> EmbeddingSet:
    """The same directions at other lengths, the views' too."""
    lengths = np.random.default_rng(5).uniform(0.2, 5, (len(data), 1)).astype(np.float32)
    assert data.views is not None
    views = replace(data.views, features=data.views.features * lengths[data.views.rows])
    return replace(data, features=data.features * lengths, views=views)


def test_without_l2_exactly_the_metrics_that_say_so_see_the_lengths() -> None:
    data = blobs(hierarchy=True, companions=True)
    one, other = (
        diagnose(each, replace(QUICK, l2=False), draw_map=False) for each in (data, stretched(data))
    )
    before, after = values(one), values(other)
    said = {m.spec.name: m.rows for m in all_metrics()}
    assert set(before) == set(said)
    for name, rows in said.items():
        result = one.value(name)
        assert result is not None
        assert result.parameters["rows"] == rows.value
        if rows is Rows.UNIT:
            assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-6), name
            assert "unit length" in (result.note or "")
        elif rows is Rows.GIVEN:
            moved = after[name] != pytest.approx(before[name], rel=1e-4)
            assert moved or other.value(name).table != result.table, name  # a subset is chosen in steps


def test_by_default_lengths_matter_to_nobody_and_nothing_is_said_of_rows() -> None:
    data = blobs()
    one, other = (diagnose(each, QUICK, draw_map=False) for each in (data, stretched(data)))
    lengths = {"score_comparison", "selective_accuracy"}  # the norm is one of the scores that stand trial
    lengths |= {"risk_auroc", "risk_brier", "risk_ece"}
    assert {n: v for n, v in values(one).items() if n not in lengths} == pytest.approx(
        {n: v for n, v in values(other).items() if n not in lengths}, rel=1e-4, abs=1e-6
    )
    assert not any(
        "rows" in result.parameters for m in one.measurements if (result := one.value(m.spec.name))
    )


def test_without_l2_numbers_are_those_of_the_rows_as_given() -> None:
    data = stretched(blobs())
    found = values(diagnose(data, replace(QUICK, l2=False), metrics=["rankme", "cdnv"], draw_map=False))
    x = data.features.astype(np.float64)
    singular = np.linalg.svd(x, compute_uv=False)
    p = singular / singular.sum() + 1e-7
    assert found["rankme"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)
    assert data.labels is not None
    parts = [x[data.labels == c] for c in range(4)]
    variance = [((part - part.mean(0)) ** 2).sum(1).mean() for part in parts]
    pairs = [
        (variance[i] + variance[j]) / (2 * ((parts[i].mean(0) - parts[j].mean(0)) ** 2).sum())
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    assert found["cdnv"] == pytest.approx(np.mean(pairs), rel=1e-6)


def test_with_l2_nothing_sees_a_length_and_rows_of_zeros_are_counted() -> None:
    data = stretched(blobs())
    features = data.features.copy()
    features[[3, 5]] = 0
    ws = Workspace(replace(data, features=features), replace(QUICK, l2=True))
    assert ws.raw is ws.x
    assert sorted(set(ws.lengths.tolist())) == [0.0, 1.0]
    assert not ws.raw[[3, 5]].any()
    report = diagnose(
        replace(data, features=features), replace(QUICK, l2=True), metrics=["rankme"], draw_map=False
    )
    assert any(warning.startswith("2 embeddings are all zeros") for warning in report.warnings)
    assert report.config["l2"] is True


def test_an_encoder_of_unit_rows_makes_the_report_say_so_and_has_no_rows_as_given() -> None:
    encoder = load_encoder(str(SIMCLR), l2=True)
    plan = make_plan(replace(request(), model=encoder))
    assert plan.request.config.l2 is True
    with pytest.raises(UsageError, match="none as given"):
        make_plan(replace(request(config=ScoreConfig(l2=False)), model=encoder))
