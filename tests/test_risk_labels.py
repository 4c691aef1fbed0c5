"""Labels of some samples only: how they come in, what is measured on whom, and what the others are told."""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Run, blobs
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

import repdiag
from repdiag import risk, scores
from repdiag.cautions import with_enough_labels
from repdiag.config import ScoreConfig
from repdiag.diagnosis import diagnose
from repdiag.encoders import Preprocessing
from repdiag.errors import DataError
from repdiag.kernels import ranking
from repdiag.sources import open_source, read_embeddings
from repdiag.sources.labels import index_labels, number_labels
from repdiag.types import EmbeddingSet, Manifest, Report
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=50, permutations=5, null_draws=2, kmeans_seeds=2, eps=2.0)
METRICS = ["linear_probe_accuracy", "knn_purity", "rankme", "risk"]
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def some(keep: float = 0.6, n: int = 480, split: bool = False) -> tuple[EmbeddingSet, EmbeddingSet]:
    """An embedding set in random order, with the labels of a share of it, and with all of them."""
    full = blobs(n=n, spread=1.5, split=split)
    assert full.labels is not None
    known = np.random.default_rng(1).random(n) < keep
    return replace(full, labels=np.where(known, full.labels, -1)), full


def told(data: EmbeddingSet) -> Report:
    return diagnose(data, CONFIG, metrics=METRICS, draw_map=False)


# ------------------------------------------------------------------------------------------ coming in


@pytest.mark.parametrize(
    ("given", "labels", "names"),
    [
        ([3, -1, 10, None], [0, -1, 1, -1], ("3", "10")),
        (["3", "", "10", "-1"], [0, -1, 1, -1], ("3", "10")),
        (["b", None, "a", " "], [1, -1, 0, -1], ("a", "b")),
        (["b", float("nan"), "a", "-1"], [1, -1, 0, -1], ("a", "b")),
        ([1.0, float("nan"), 0.0, -1.0], [1, -1, 0, -1], ("0", "1")),
    ],
)
def test_what_is_missing_in_a_list_becomes_minus_one(
    given: list[Any], labels: list[int], names: tuple[str, ...]
) -> None:
    found, classes = index_labels(given, None, "x")
    assert found is not None
    assert found.tolist() == labels
    assert classes == names


def test_missing_labels_do_not_shift_given_class_names() -> None:
    for values in (np.array([2, -1, 0]), np.array([2.0, np.nan, 0]), np.array(["c", "", "a"])):
        found, classes = number_labels(values, np.array(["a", "b", "c"]), "x")
        assert found is not None
        assert found.tolist() == [2, -1, 0]
        assert classes == ("a", "b", "c")
    with pytest.raises(DataError, match="from -2 to 2"):
        number_labels(np.array([2, -1, -2]), np.array(["a", "b", "c"]), "x")


def test_below_minus_one_no_label_is_taken() -> None:
    with pytest.raises(ValueError, match="or be -1"):
        Manifest(("a", "b"), np.array([0, -2]), ("x",), None, "f")
    with pytest.raises(ValueError, match="or be -1"):
        EmbeddingSet(X, tuple("abcd"), np.array([0, -2, 0, 0]), ("x",))


@pytest.mark.parametrize("labels", [np.array([0, -1, 1, 0]), np.array([0, np.nan, 1, 0])])
def test_embeddings_in_npz(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", X=X, y=labels)
    found = read_embeddings(str(tmp_path / "x.npz"))
    assert found.labels is not None
    assert found.labels.tolist() == [0, -1, 1, 0]
    assert found.class_names == ("0", "1")


@pytest.mark.parametrize("labels", [["b", None, "a", "b"], [5, None, 2, 5]])
def test_embeddings_in_parquet(tmp_path: Path, labels: list[Any]) -> None:
    pq.write_table(pa.table({"f0": X[:, 0], "f1": X[:, 1], "label": labels}), tmp_path / "x.parquet")
    found = read_embeddings(str(tmp_path / "x.parquet"))
    assert found.labels is not None
    assert found.labels.tolist() == [1, -1, 0, 1]
    assert len(found.class_names) == 2


def png(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_in_every_kind_of_list(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    (tmp_path / "x.csv").write_text("path,label\n0.png,cat\n1.png,\n2.png,ant\n")
    (tmp_path / "x.jsonl").write_text(
        '{"path": "0.png", "label": "cat"}\n{"path": "1.png", "label": null}\n{"path": "2.png", "label": "ant"}\n'
    )
    cells = [png(i) for i in range(3)]
    pq.write_table(pa.table({"image": cells, "label": ["cat", None, "ant"]}), tmp_path / "x.parquet")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i, name in enumerate(("cat", "", "ant")):
            for ending, content in (("png", cells[i]), ("cls", name.encode())):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4, 4), np.uint8), y=np.array([1, -1, 0]))
    for name in ("x.csv", "x.jsonl", "x.parquet", "x.tar", "x.npz"):
        manifest = open_source(str(tmp_path / name)).manifest
        assert manifest.labels is not None, name
        assert manifest.labels.tolist() == [1, -1, 0], name


def test_coarse_labels_stay_missing(tmp_path: Path) -> None:
    """-1 as an index would make the last coarse class of it."""
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    (tmp_path / "x.csv").write_text("path,label\n0.png,cat\n1.png,\n2.png,ant\n3.png,dog\n")
    (tmp_path / "h.csv").write_text("fine,coarse\ncat,pet\nant,insect\ndog,pet\n")
    found = open_source(str(tmp_path / "x.csv"), hierarchy=str(tmp_path / "h.csv"), level="coarse").manifest
    assert found.labels is not None
    assert found.class_names == ("insect", "pet")
    assert found.labels.tolist() == [1, -1, 0, 1]


N = 12
IMAGES = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(N)]
HOW = Preprocessing(8, 8, "bilinear", (0.4,) * 3, (0.2,) * 3, 3, "test")
TRUTH = [i % 3 if i % 4 else -1 for i in range(N)]


class Items(Dataset[Any]):
    """Pictures with a class number, or None; the first batch may have none at all."""

    classes: tuple[str, ...] = ("ant", "bee", "cat")

    def __init__(self, labels: list[int]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Image.Image, int | None]:
        return IMAGES[i], None if self.labels[i] < 0 else self.labels[i]


@pytest.mark.parametrize(
    "labels",
    [
        TRUTH,
        [None if y < 0 else y for y in TRUTH],
        [float("nan") if y < 0 else float(y) for y in TRUTH],
        [float("nan") if y < 0 else "abc"[y] for y in TRUTH],
        ["" if y < 0 else "abc"[y] for y in TRUTH],
        np.array(TRUTH),
        np.array([None if y < 0 else y for y in TRUTH], dtype=object),
        torch.tensor(TRUTH),
        pd.array([None if y < 0 else y for y in TRUTH], dtype="Int64"),
    ],
    ids=["-1", "None", "nan", "text, nan", "text, blank", "array", "objects", "tensor", "pandas NA"],
)
def test_labels_as_python_has_them(labels: Any) -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = repdiag.embed(encoder, IMAGES, labels=labels, preprocessing=HOW)
    assert found.labels is not None
    assert found.labels.tolist() == TRUTH
    assert len(found.class_names) == 3


@pytest.mark.parametrize(
    "labels", [TRUTH, [-1] * 8 + [0, 1, 2, 0]], ids=["here and there", "a batch without"]
)
def test_labels_of_a_data_set_keep_its_class_names(labels: list[int]) -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = repdiag.embed(encoder, Items(labels), preprocessing=HOW, batch_size=4)
    assert found.labels is not None
    assert found.labels.tolist() == labels
    assert found.class_names == Items.classes


def test_a_data_frame_with_blanks(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    frame = pd.DataFrame(
        {"path": [str(tmp_path / f"{i}.png") for i in range(4)], "label": ["b", None, "a", "b"]}
    )
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = repdiag.embed(encoder, frame, preprocessing=HOW)
    assert found.labels is not None
    assert found.labels.tolist() == [1, -1, 0, 1]


# ------------------------------------------------------------------------------------------ the workspace


def test_a_workspace_is_about_the_labeled_and_its_whole_about_everyone() -> None:
    part, full = some()
    assert part.labels is not None
    known = part.labels >= 0
    ws = Workspace(part, CONFIG)
    assert len(ws) == known.sum()
    assert (ws.labels >= 0).all()
    np.testing.assert_array_equal(ws.raw, full.features[known])
    assert len(ws.whole) == len(full)
    assert not ws.whole.labeled
    assert ws.whole.n_clusters == 4
    np.testing.assert_array_equal(ws.whole.ids[ws.place], ws.ids)
    assert Workspace(full, CONFIG).whole.labeled


def test_labeled_measures_are_those_of_the_labeled_rows_alone() -> None:
    part, full = some()
    assert part.labels is not None
    assert full.views is not None
    known = np.flatnonzero(part.labels >= 0)
    alone = replace(
        full,
        features=full.features[known],
        ids=tuple(full.ids[i] for i in known),
        labels=part.labels[known],
        views=replace(full.views, features=full.views.features[:, known], rows=np.arange(known.size)),
    )
    one, other, everyone = told(part), told(alone), told(replace(full, labels=None, class_names=()))
    for name in ("linear_probe_accuracy", "knn_purity"):
        found, expected = one.value(name), other.value(name)
        assert found is not None
        assert expected is not None
        assert found.value == expected.value
        assert found.interval == expected.interval
    spectrum, whole = one.value("rankme"), everyone.value("rankme")
    assert spectrum is not None
    assert whole is not None
    assert spectrum.value == whole.value


def test_rows_in_any_order_give_the_same_report() -> None:
    part, _ = some()
    assert part.labels is not None
    p = np.random.default_rng(4).permutation(len(part))
    shuffled = replace(
        part,
        features=part.features[p],
        ids=tuple(part.ids[i] for i in p),
        labels=part.labels[p],
        views=None,
    )
    one, other = told(replace(part, views=None)), told(shuffled)
    for name, column in one.samples.columns.items():
        assert [str(v) for v in column] == [str(v) for v in other.samples.columns[name]], name


# ------------------------------------------------------------------------------------------ the report


@pytest.mark.parametrize("split", [False, True], ids=["cross-fitted", "split"])
def test_everyone_has_a_prediction_and_a_risk_that_hold_for_those_whose_labels_were_hidden(
    split: bool,
) -> None:
    part, full = some(n=2400, split=split)
    report = told(part)
    columns = report.samples.columns
    assert part.labels is not None
    assert full.labels is not None
    rows = np.array([full.ids.index(name) for name in columns["id"]])
    assert len(rows) == (len(full) if full.is_train is None else (~full.is_train).sum())
    truth, hidden = np.array(full.class_names)[full.labels[rows]], part.labels[rows] < 0
    assert all((v is None) == gone for v, gone in zip(columns["label"], hidden, strict=True))
    assert all((v is None) == gone for v, gone in zip(columns["correct"], hidden, strict=True))
    right = columns["prediction"] == truth
    np.testing.assert_array_equal(columns["correct"][~hidden].astype(bool), right[~hidden])
    assert right[hidden].mean() == pytest.approx(right[~hidden].mean(), abs=0.06)
    values = columns["risk"]
    assert np.isfinite(values).all()
    assert values[hidden].mean() == pytest.approx((~right[hidden]).mean(), abs=0.05)
    assert ranking.auroc(values[hidden], ~right[hidden]) > 0.55
    assert report.dataset["labeled_samples"] == (~hidden).sum()
    assert report.dataset["evaluated"] == len(rows)
    assert report.classes.columns["n"].sum() == (~hidden).sum()
    assert any(f"Labels are known for {(part.labels >= 0).sum():,} of" in said for said in report.warnings)


def test_a_labels_value_does_not_reach_the_risk_of_its_own_sample_through_the_score() -> None:
    """Scores are computed among everyone, without labels: other labels give the same scores."""
    part, _ = some()
    assert part.labels is not None
    other = replace(part, labels=np.where(part.labels >= 0, (part.labels + 1) % 4, -1))
    for name in ("knn_density", "kmeans_margin", "q_score"):
        one = scores.BY_NAME[name].values(Workspace(part, CONFIG))
        np.testing.assert_array_equal(one, scores.BY_NAME[name].values(Workspace(other, CONFIG)))


def test_the_risk_metrics_are_about_the_column_that_the_report_shows() -> None:
    part, _ = some()
    report = told(part)
    columns, auroc = report.samples.columns, report.value("risk_auroc")
    known = np.array([v is not None for v in columns["label"]])
    wrong = ~columns["correct"][known].astype(bool)
    assert auroc is not None
    assert auroc.value == pytest.approx(ranking.auroc(columns["risk"][known], wrong))


def test_with_few_errors_everyone_is_ranked_on_one_scale() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = np.abs(np.eye(2, 8)[y] * 5 + rng.normal(scale=0.3, size=(300, 8))).astype(np.float32)
    labels = np.where(rng.random(300) < 0.3, y, -1)
    ws = Workspace(EmbeddingSet(x, tuple(f"{i:03d}" for i in range(300)), labels, ("a", "b")), CONFIG)
    found = risk.assess(ws)
    assert not found.validated
    assert found.everyone is not None
    np.testing.assert_allclose(np.sort(found.everyone), (np.arange(300) + 0.5) / 300)
    np.testing.assert_array_equal(found.everyone[ws.place], found.values)


@pytest.mark.parametrize("labels", [np.arange(240) % 4, np.zeros(240, int)], ids=["few", "one class"])
def test_too_few_labels_are_not_used_and_that_is_said(labels: np.ndarray) -> None:
    keep = np.arange(240) < (19 if labels.any() else 100)
    report = told(replace(blobs(), labels=np.where(keep, labels, -1)))
    assert not report.dataset["labeled"]
    assert "label" not in report.samples.columns
    assert not report.risk["validated"]
    assert any("are not used" in said for said in report.warnings)
    enough = with_enough_labels(
        replace(blobs(), labels=np.where(np.arange(240) < 20, np.arange(240) % 4, -1))
    )
    assert enough[0].labels is not None


def test_a_test_part_without_labels_gets_what_the_train_part_teaches() -> None:
    full = blobs(n=1600, spread=1.5, split=True)
    assert full.labels is not None
    assert full.is_train is not None
    report = told(replace(full, labels=np.where(full.is_train, full.labels, -1)))
    columns = report.samples.columns
    assert len(report.samples) == 1600
    order = np.array([full.ids.index(name) for name in columns["id"]])
    test = ~full.is_train[order]
    right = columns["prediction"] == np.array(full.class_names)[full.labels[order]]
    assert right[test].mean() == pytest.approx(right[~test].mean(), abs=0.05)
    assert columns["risk"][test].mean() == pytest.approx((~right[test]).mean(), abs=0.05)
    assert any("the split is set aside" in said for said in report.warnings)


def test_a_train_part_without_labels_leaves_the_test_part_cross_fitted() -> None:
    full = blobs(n=480, spread=1.5, split=True)
    assert full.labels is not None
    assert full.is_train is not None
    report = told(replace(full, labels=np.where(full.is_train, -1, full.labels)))
    assert len(report.samples) == 240
    assert all(v is not None for v in report.samples.columns["correct"])
    assert any("train part has no labels" in said for said in report.warnings)


def test_the_command_line_writes_blanks_where_nothing_is_known(cli: Run, tmp_path: Path) -> None:
    part, _ = some(n=240)
    assert part.labels is not None
    path = tmp_path / "x.npz"
    np.savez(path, X=part.features, y=part.labels, ids=np.array(part.ids))
    done = cli("score", "-", path, "--no-map", "--metrics", "risk", "--out", tmp_path / "out")
    assert "Labels are known for" in " ".join((done.stdout + done.stderr).split())
    with (tmp_path / "out" / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 240
    hidden = {name for name, y in zip(part.ids, part.labels, strict=True) if y < 0}
    for row in rows:
        assert (row["label"] == "") == (row["correct"] == "") == (row["id"] in hidden)
        assert row["prediction"] in {"0", "1", "2", "3"}
        assert 0 <= float(row["risk"]) <= 1
