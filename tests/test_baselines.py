"""A store of baselines: whole or not at all, safe names, and what tells two reports apart besides quality."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_report import sample_report

from repdiag import baselines
from repdiag.errors import DataError, OutputError, RepdiagError, UsageError
from repdiag.report import write_report
from repdiag.report.reading import read_report
from repdiag.types import Report, Table

CONFIG = {"seed": 0, "folds": 5, "eps": 4.0, "probe_l2": (0.1, 0.01), "clusters": None, "metrics": ["a"]}


def base(**changes: Any) -> Report:
    """A report as `repdiag score` fills it in: facts of the data and the settings."""
    report = sample_report(80, 16, k=4, thumbnails=0)
    facts: dict[str, Any] = {
        "dataset": {
            "name": "birds", "evaluated": 80, "reference": 200, "split": "train/test", "features": 16, "classes": 4,
            "fingerprint": "17ab" * 16, "views": "2 views of 80 samples",
        },
        "config": CONFIG,
        "environment": {"repdiag": "0.1.0"},
        "encoder": {
            "name": "a.pt", "l2": False,
            "features": [{"layer": "output", "pooling": "mean", "dim": 16}],
            "preprocessing": {"summary": "224 pixels", "size": 224, "mean": (0.5, 0.5, 0.5), "origin": "a guess"},
        },
    }  # fmt: skip
    return dataclasses.replace(report, **(facts | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in a folder, with all of its files."""
    out = tmp_path_factory.mktemp("report")
    write_report(base(), out)
    return out


def digests(path: Path) -> dict[str, str]:
    """Every file below `path`, hidden ones too, by its bytes."""
    files = (p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# ------------------------------------------------------------------------------------ the store


def test_what_a_baseline_keeps(folder: Path, tmp_path: Path) -> None:
    """report.json, samples and classes; equal to the report in all that gates read; a report by itself."""
    store = tmp_path / "kept"
    kept = baselines.save(folder, "main", store)
    assert sorted(p.name for p in (store / "main").iterdir()) == ["classes.csv", "report.json", "samples.csv"]
    assert (kept.name, kept.path, kept.encoder, kept.dataset) == ("main", store / "main", "a.pt", "birds")
    assert (kept.samples, kept.repdiag, kept.problem) == (80, "0.1.0", "")
    assert kept.size == sum(p.stat().st_size for p in kept.path.iterdir())
    report, found = read_report(folder), baselines.load("main", store)
    assert kept.values == {
        m.spec.name: report.value(m.spec.name).value  # type: ignore[union-attr]
        for m in report.measurements
        if m.spec.headline and report.value(m.spec.name)
    }
    assert kept.values
    for name in ("config", "dataset", "encoder", "environment", "risk", "verdicts", "warnings", "created"):
        assert getattr(found, name) == getattr(report, name)
    for table in ("samples", "classes"):
        mine, theirs = getattr(found, table).columns, getattr(report, table).columns
        assert list(mine) == list(theirs)
        for column in mine:
            np.testing.assert_array_equal(mine[column], theirs[column])
    assert not found.pairs.columns
    assert len(read_report(store / "main").samples) == 80, "a baseline is a report on its own"
    assert baselines.comparable(found, report) == ()


def test_equal_reports_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    """By folder or file, in another store, over an older one, or kept once more from the store itself."""
    for name, source in (("a", folder), ("b", folder / "report.json")):
        baselines.save(source, name, tmp_path / name)
    baselines.save(folder, "b", tmp_path / "b", force=True)
    baselines.save(tmp_path / "b" / "b", "b", tmp_path / "b", force=True)
    one, other = digests(tmp_path / "a" / "a"), digests(tmp_path / "b" / "b")
    assert one == other
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["b"], "nothing is left beside it"


def test_a_name_is_taken_once(folder: Path, tmp_path: Path) -> None:
    """Without force what is there stays as it is; with force it is replaced whole."""
    baselines.save(folder, "main", tmp_path)
    before = digests(tmp_path)
    write_report(base(created="2030-01-01T00:00:00Z"), tmp_path / "new")
    with pytest.raises(UsageError, match="There is a baseline 'main' already"):
        baselines.save(tmp_path / "new", "main", tmp_path)
    assert {k: v for k, v in digests(tmp_path).items() if k.startswith("main")} == before
    assert baselines.save(tmp_path / "new", "main", tmp_path, force=True).created == "2030-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../a",
        "a\\b",
        "-x",
        "a b",
        "é",
        "a\n",
        "nul",
        "COM1.txt",
        "a.",
        "x" * 101,
        "a:b",
    ],
)
def test_unsafe_names_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """Nothing is written, inside the store or out of it."""
    with pytest.raises(UsageError, match="is no name for a baseline"):
        baselines.save(folder, name, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_safe_names() -> None:
    """Ordinary ones, versions and dates; the check above does not refuse all."""
    for name in ("main", "v1.2.0", "2026-11-21_resnet50", "A", "x" * 100, "console", "7"):
        assert baselines.is_name(name)


def test_a_failed_save_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while the files are written; one while the old one makes place."""
    baselines.save(folder, "main", tmp_path)
    before = digests(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for force, name in ((False, "other"), (True, "main")):
            with pytest.raises(OutputError, match="No space left"):
                baselines.save(folder, name, tmp_path, force=force)
    assert digests(tmp_path) == before
    real = Path.rename

    def stubborn(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            full()
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stubborn)
        with pytest.raises(OutputError, match="No space left"):
            baselines.save(folder, "main", tmp_path, force=True)
    assert digests(tmp_path) == before


def test_a_broken_report_is_not_kept(folder: Path, tmp_path: Path) -> None:
    """It is read before it is kept: a changed table, a missing one, no report at all."""
    broken = tmp_path / "broken"
    write_report(base(), broken)
    samples = broken / "samples.csv"
    samples.write_bytes(samples.read_bytes().replace(b"true", b"false", 1))
    for source in (broken, tmp_path / "nowhere"):
        with pytest.raises(DataError):
            baselines.save(source, "main", tmp_path / "store")
    samples.unlink()
    with pytest.raises(DataError, match=r"samples\.csv is missing"):
        baselines.save(broken, "main", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_list_is_the_folder(folder: Path, tmp_path: Path) -> None:
    """By name; hidden folders and files are none, and one that cannot be read says why."""
    store = tmp_path / "store"
    assert baselines.list_baselines(store) == ()
    for name in ("b", "a"):
        baselines.save(folder, name, store)
    (store / ".c.part").mkdir()
    (store / "README.md").write_text("ours")
    (store / "empty").mkdir()
    newer = store / "newer"
    newer.mkdir()
    (newer / "report.json").write_text(json.dumps({"schema_version": 99}))
    found = {one.name: one for one in baselines.list_baselines(store)}
    assert list(found) == ["a", "b", "empty", "newer"]
    assert found["a"] == baselines.show("a", store)
    assert "no report.json" in found["empty"].problem
    assert "newer repdiag" in found["newer"].problem
    with pytest.raises(DataError, match="newer repdiag"):
        baselines.show("newer", store)
    with pytest.raises(DataError, match="Cannot read the baselines"):
        baselines.list_baselines(store / "README.md")


def test_a_name_or_a_path(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline comes before a folder of its name; `./name` is the folder; what is neither gets a hint."""
    monkeypatch.chdir(tmp_path)
    write_report(base(created="2031-01-01T00:00:00Z"), tmp_path / "main")
    baselines.save(folder, "main")
    assert (tmp_path / "repdiag-baselines" / "main" / "report.json").is_file()
    assert baselines.load("main").created == base().created
    assert baselines.load("./main").created == "2031-01-01T00:00:00Z"
    assert baselines.load(tmp_path / "main" / "report.json").created == "2031-01-01T00:00:00Z"
    for name, said in (
        ("mian", "Did you mean 'main'"),
        ("../main2", "no such report"),
        ("", "no such report"),
        ("a\0b", "no such report"),
    ):
        with pytest.raises(RepdiagError, match=said):
            baselines.load(name)
    with pytest.raises(DataError, match="baseline save"):
        baselines.load("x", tmp_path / "none")


def test_an_older_report_can_be_kept(folder: Path, tmp_path: Path) -> None:
    """Without a list of tables those that are there are kept; fields that nobody knows stay."""
    old = tmp_path / "old"
    write_report(base(), old)
    document = json.loads((old / "report.json").read_text())
    del document["tables"], document["verdicts"]
    (old / "report.json").write_text(json.dumps(document | {"schema_version": 0, "later": [1]}))
    (old / "classes.csv").unlink()
    kept = baselines.save(old, "old", tmp_path / "store")
    assert json.loads((kept.path / "report.json").read_text())["later"] == [1]
    assert len(baselines.load("old", tmp_path / "store").samples) == 80


def test_a_file_in_the_place_of_the_store(folder: Path, tmp_path: Path) -> None:
    """It stays what it is."""
    (tmp_path / "store").write_text("a file")
    with pytest.raises(OutputError):
        baselines.save(folder, "main", tmp_path / "store")
    assert (tmp_path / "store").read_text() == "a file"


# ------------------------------------------------------------------------------------ alike or not


def with_samples(report: Report, **columns: Any) -> Report:
    """`report` with columns of its samples replaced."""
    return dataclasses.replace(report, samples=Table({**report.samples.columns, **columns}))


def marked(report: Report, mark: str | None) -> Report:
    """`report` with another fingerprint of the data."""
    return dataclasses.replace(report, dataset={**report.dataset, "fingerprint": mark})


def test_the_same_images_are_the_same_ids_and_labels() -> None:
    """In any order and whatever the fingerprints, which change with every checkout; `why` tells."""
    a = base()
    turned = dataclasses.replace(a, samples=Table({n: c[::-1] for n, c in a.samples.columns.items()}))
    assert baselines.same_images(a, turned)
    assert "equal fingerprints" in baselines.same_images(a, turned).why
    other = baselines.same_images(a, marked(a, "x"))
    assert other
    assert "fingerprints differ" in other.why
    unknown = with_samples(a, label=np.array([None, *a.samples.columns["label"][1:]], dtype=object))
    assert baselines.same_images(a, unknown)


def test_other_images_are_told() -> None:
    """One id, one label, some samples; equal fingerprints do not help."""
    a = base()
    ids, labels = a.samples.columns["id"].copy(), a.samples.columns["label"].copy()
    ids[0], labels[3] = "other.png", labels[4]
    assert baselines.same_images(a, with_samples(a, id=ids)).why.startswith(
        "79 samples are in both, of 80 and 80"
    )
    assert baselines.same_images(a, with_samples(a, label=labels)).why == "1 of 80 samples have another class"
    part = dataclasses.replace(a, samples=Table({n: c[:50] for n, c in a.samples.columns.items()}))
    for pair in ((a, part), (part, a)):
        assert not baselines.same_images(*pair)


def test_without_ids_fingerprints_decide() -> None:
    """Samples that were not read: equal fingerprints and numbers, or it is not known."""
    a = dataclasses.replace(base(), samples=Table({}))
    assert baselines.same_images(a, a)
    assert not baselines.same_images(a, marked(a, "x"))
    assert not baselines.same_images(marked(a, None), marked(a, None))
    assert "not known" in baselines.comparable(a, marked(a, "x"))[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": CONFIG | {"seed": 1, "eps": 3.0}}, "Settings differ: seed 0 and 1, eps 4 and 3"),
        ({"config": CONFIG | {"clusters": 12}}, "clusters unset and 12"),
        ({"dataset": {"features": 512}}, "This report has 16 features (D), the baseline 512."),
        ({"dataset": {"reference": 1500}}, "200 samples to learn from, the baseline 1,500"),
        ({"dataset": {"classes": 3}}, "4 classes, the baseline 3"),
        (
            {"dataset": {"split": "none"}},
            "The split differs: train/test in this report, none in the baseline.",
        ),
        ({"dataset": {"views": "4 views"}}, "views differ"),
        ({"environment": {"repdiag": "0.2.0"}}, "versions of repdiag differ"),
        ({"encoder": {"preprocessing": {"size": 96}}}, "Preprocessing differs: size 224 and 96"),
        ({"encoder": {"l2": True}}, "Layers differ: l2 False and True"),
        ({"encoder": {"features": [{"layer": "layer4", "pooling": "max"}]}}, "output mean and layer4 max"),
    ],
)
def test_what_differs_is_said_once(change: dict[str, dict[str, Any]], said: str) -> None:
    """One sentence for each kind of difference, and only that."""
    a = base()
    new: dict[str, Any] = {name: {**getattr(a, name), **facts} for name, facts in change.items()}
    b = dataclasses.replace(a, **new)
    found = baselines.comparable(a, b)
    assert len(found) == 1, found
    assert said in found[0]


def test_what_makes_no_difference_is_not_said() -> None:
    """Other metrics, another summary, lists for tuples, a name, what one report does not state."""
    a = base()
    encoder = {**a.encoder, "name": "b.pt", "preprocessing": {**a.encoder["preprocessing"], "summary": "x"}}
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in CONFIG.items()} | {
        "metrics": [],
        "by_size": True,
    }
    dataset = {k: v for k, v in a.dataset.items() if k != "views"} | {"fingerprint": "y"}
    b = dataclasses.replace(a, encoder=encoder, config=config, dataset=dataset)
    assert baselines.comparable(a, b) == ()


def test_other_samples_and_names() -> None:
    """The number of samples is part of the first sentence; the names are the caller's."""
    a = base()
    part = dataclasses.replace(a, samples=Table({n: c[:50] for n, c in a.samples.columns.items()}))
    assert baselines.comparable(a, part) == (
        "Not the same images: 50 samples are in both, of 80 and 50 that were evaluated.",
    )
    b = dataclasses.replace(a, dataset={**a.dataset, "features": 8})
    assert baselines.comparable(a, b, ("A", "B")) == ("A has 16 features (D), B 8.",)
