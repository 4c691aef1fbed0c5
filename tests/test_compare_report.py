"""`repdiag compare` as people run it: files that agree with one another, hostile names, refusals, likeness."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import FIXTURES, blobs
from markupsafe import escape
from sample_report import HOSTILE, sample_report

from repdiag.comparing.held import Held, common, of_cache
from repdiag.comparing.likeness import likeness
from repdiag.comparison.align import scored
from repdiag.comparison.encoders import compare_encoders
from repdiag.comparison.side_by_side import SideBySide
from repdiag.report import write_report
from repdiag.report.side_by_side import write_side_by_side
from repdiag.report.side_by_side_html import render_side_by_side
from repdiag.store import Store
from repdiag.types import Measurement, MetricResult, Report

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ENCODERS = FIXTURES / "encoders"


def sample(seed: int, n: int = 300, shift: float = 0.0, **options: Any) -> Report:
    """A synthetic report whose probe's accuracy is that of its samples."""
    made = sample_report(n, 32, seed=seed, **options)
    measurements = []
    for m in made.measurements:
        outcome = m.outcome
        if isinstance(outcome, MetricResult):
            value = outcome.value + shift
            if m.spec.name == "linear_probe_accuracy":
                value = float(made.samples.columns["correct"].mean())
            interval = outcome.interval and dataclasses.replace(
                outcome.interval, low=outcome.interval.low - outcome.value + value,
                high=outcome.interval.high - outcome.value + value,
            )  # fmt: skip
            outcome = dataclasses.replace(outcome, value=value, interval=interval)
        measurements.append(Measurement(m.spec, outcome, 0.0))
    return dataclasses.replace(made, measurements=tuple(measurements))


def side_by_side(count: int = 3, names: Any = None, **options: Any) -> SideBySide:
    names = names or [f"epoch-{10 * (i + 1)}" for i in range(count)]
    runs = [scored(name, None, sample(i, shift=0.02 * i)) for i, name in enumerate(names)]
    return compare_encoders(runs, bootstrap=300, **options)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def valid(document: Any) -> None:
    schema = json.loads(files("repdiag.report").joinpath("side_by_side_schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)


def test_page_json_and_tables_agree(tmp_path: Path) -> None:
    """Every difference of the JSON is a row of the CSV, and the page shows the verdict and each encoder."""
    made = side_by_side(as_trajectory=True, show_crowding=True)
    paths = write_side_by_side(made, tmp_path)
    document = json.loads(paths["compare.json"].read_text())
    valid(document)
    table = rows(paths["differences.csv"])
    assert [(r["metric"], r["encoder"], r["effect"]) for r in table] == [
        (d["metric"], d["encoder"], d["effect"]) for d in document["differences"]
    ]
    assert [float(r["delta"]) for r in table] == [d["delta"] for d in document["differences"]]
    assert {r["effect"] for r in table} <= {"better", "worse", "not told apart"}
    for name, said in document["tables"].items():
        assert len(rows(paths[name])) == said["rows"]
    page = paths["compare.html"].read_text()
    for name in ("epoch-10", "epoch-20", "epoch-30"):
        assert name in page
    assert str(escape(made.comparison.reason)) in page
    body = page.split("</style>")[1].split('<section id="done"')[0]
    shown = re.sub(r"<[^>]*>", " ", body)
    assert len(shown) > 5000
    assert not re.search(
        r"\b(helped|hurt|control|seeds?|arms?)\b", shown.replace("Stability over seeds", "")
    ), shown
    assert len(re.findall(r'id="([^"]+)"', page)) == len(set(re.findall(r'id="([^"]+)"', page)))
    counts = [int(v["newly_right"]) for v in document["verdicts"]]
    samples = rows(paths["samples.csv"])
    assert counts == [
        sum(r[f"newly_right:{v['encoder']}"] == "true" for r in samples) for v in document["verdicts"]
    ]
    again = write_side_by_side(side_by_side(as_trajectory=True, show_crowding=True), tmp_path / "again")
    for name in document["tables"]:
        assert again[name].read_bytes() == paths[name].read_bytes()


def test_names_that_a_page_would_run(tmp_path: Path) -> None:
    """Encoder and class names are shown, not run; the JSON is strict; a spreadsheet gets no formula."""
    runs = [scored(name, None, sample(i, names=HOSTILE)) for i, name in enumerate(HOSTILE[:4])]
    made = compare_encoders(runs, bootstrap=300, as_trajectory=True, show_crowding=True)
    page = render_side_by_side(made)
    assert page.count("<script>") == 3
    assert "<img src=x" not in page
    assert HOSTILE[0] not in page
    paths = write_side_by_side(made, tmp_path)
    valid(json.loads(paths["compare.json"].read_text(), parse_constant=pytest.fail))
    assert not re.search(r'(^|,)"=HYPERLINK', paths["encoders.csv"].read_text(), re.MULTILINE)


def test_unlabeled_reports_have_no_verdict() -> None:
    """Label-free numbers differ, and nothing says that one is better."""
    runs = [scored(name, None, sample_report(200, 32, labelled=False, seed=i)) for i, name in enumerate("AB")]
    made = compare_encoders([dataclasses.replace(r, report=dataclasses.replace(
        r.report, dataset={**r.report.dataset, "labeled": False})) for r in runs], bootstrap=300)  # fmt: skip
    assert made.comparison.reason.startswith("No verdict: the data have no labels")
    assert "are not told apart" in render_side_by_side(made)
    assert not len(made.classes)


# ---------------------------------------------------------------------------------------------- the command


def test_reports_are_compared_without_torch(tmp_path: Path) -> None:
    """Two report folders: terminal, files, exit code 0, and no torch in the process."""
    for i, name in enumerate(("first", "second")):
        write_report(sample(i, shift=0.05 * i), tmp_path / name)
    code = (
        "import sys\nfrom repdiag.cli import main\n"
        f"try: main(['compare', {str(tmp_path / 'first')!r}, {str(tmp_path / 'second' / 'report.json')!r}, "
        f"'--crowding', '--out', {str(tmp_path / 'out')!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "second against first" in done.stdout
    assert "likeness of embeddings skipped" in done.stdout
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert document["against"] == "first"
    assert document["likeness"]["skipped"]
    assert [e["name"] for e in document["encoders"]] == ["first", "second"]


def test_models_are_scored_on_the_same_images(cli: Run, tmp_path: Path) -> None:
    """Two checkpoints: a report of each, the paired difference of their answers, and how alike they are."""
    out = tmp_path / "out"
    done = cli(
        "compare", ENCODERS / "random.safetensors", ENCODERS / "simclr.safetensors", "--data", FIXTURES / "digits",
        "--metrics", "knn_accuracy,rankme", "--views", "0", "--no-cache", "--json", "--out", out,
    )  # fmt: skip
    document = json.loads(done.stdout)
    valid(document)
    reports = {
        name: json.loads((out / "reports" / name / "report.json").read_text())
        for name in ("random", "simclr")
    }
    values = {
        name: {m["name"]: m["outcome"]["value"] for m in report["measurements"]}
        for name, report in reports.items()
    }
    found = {d["metric"]: d for d in document["differences"]}
    expected = values["simclr"]["knn_accuracy"] - values["random"]["knn_accuracy"]
    assert found["knn_accuracy"]["delta"] == pytest.approx(expected)
    assert found["knn_accuracy"]["interval"]["method"].startswith("paired bootstrap over 600 images")
    (alike,) = document["likeness"]["pairs"]
    assert alike["samples"] == 1797
    assert 0.3 < alike["cka"] < 0.95
    assert alike["neighbors"] > 10 * alike["chance"]
    assert not list(out.glob(".embeddings-*"))


def test_embeddings_in_files(cli: Run, tmp_path: Path) -> None:
    """Files of embeddings are scored as they are and aligned by their ids."""
    for i, name in enumerate(("one", "two")):
        made = blobs(160, spread=0.5 + i)
        order = np.random.default_rng(i).permutation(160)
        np.savez(
            tmp_path / f"{name}.npz", features=made.features[order],
            ids=np.array(made.ids)[order], labels=np.asarray(made.labels)[order],
        )  # fmt: skip
    done = cli(
        "compare", tmp_path / "one.npz", tmp_path / "two.npz", "--metrics", "knn_accuracy", "--json", "--names", "A,B",
        "--out", tmp_path / "out",
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["likeness"]["pairs"][0]["samples"] == 160
    assert document["differences"][0]["interval"]["method"].startswith("paired")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["first"], 2, "One encoder alone"),
        (["first", "nowhere"], 2, "needs images to be scored on"),
        (["first", "second", "--data", "x"], 2, "--data is for models"),
        (["first", "second", "--names", "a"], 2, "--names has 1 names for 2"),
        (["first", "second", "--names", "a,a"], 2, "called 'a'"),
        (["first", "second", "--against", "third"], 2, "no encoder 'third'"),
        (["first", "second", "--epochs", "1,x"], 2, "not a list of numbers"),
        (["first", "second", "--epochs", "2,1"], 2, "must rise"),
        (["first", "broken"], 3, "report.json"),
    ],
)
def test_refusals(
    arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One sentence and an exit code; nothing is written over."""
    from repdiag.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    for i, name in enumerate(("first", "second")):
        write_report(sample(i, n=60), tmp_path / name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("{")
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    said = capsys.readouterr().err
    assert end.value.code == code, said
    assert words in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("repdiag-compare/*"))


# ---------------------------------------------------------------------------------------------- likeness


def test_rows_are_the_same_images_or_it_says_why() -> None:
    """One listing or ids in common; unreadable images are left out of both."""
    x = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    ok = np.ones(100, bool)
    bad = ok.copy()
    bad[3] = False
    one, two = Held(x, ok, listing="l"), Held(x[:, :3], bad, listing="l")
    pair = common(one, two)
    assert not isinstance(pair, str)
    assert pair[0].size == 99
    assert 3 not in pair[0]
    other = Held(x, ok, listing="m")
    found, why = likeness("abc", [one, two, other], [(1, 0), (2, 0)])
    assert len(found) == 1
    assert found[0].n == 99
    assert "other images" in why
    shuffled = np.random.default_rng(1).permutation(100)
    names = np.array([f"i{k}" for k in range(100)])
    (same,), none = likeness(
        "ab", [Held(x, ok, ids=names), Held(x[shuffled], ok, ids=names[shuffled])], [(1, 0)]
    )
    assert same.cka == pytest.approx(1)
    assert same.neighbors == 1
    assert none == ""


def test_the_cache_is_only_read(tmp_path: Path) -> None:
    """A report whose embeddings are not there, or not complete, says so; the folder stays as it is."""
    made = sample(0)
    assert of_cache(made, Store(tmp_path)) == "the report names no cached embeddings"
    known = dataclasses.replace(
        made, dataset={**made.dataset, "fingerprint": "f", "embedding": {"key": "ab" * 32}}
    )
    assert of_cache(known, Store(tmp_path)) == "its embeddings are not in the cache"
    folder = Store(tmp_path).folder("ab" * 32)
    folder.mkdir(parents=True)
    np.save(folder / "features.npy", np.zeros((4, 2), np.float32))
    (folder / "meta.json").write_text(json.dumps({"format": 1, "rows": 4, "dim": 2}))
    (folder / "journal.jsonl").write_text('{"rows": [0, 2], "crc": 1, "corrupt": []}\n')
    assert of_cache(known, Store(tmp_path)) == "its embeddings are not complete in the cache"
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"rows": [2, 4], "crc": 1, "corrupt": [[3, "bad"]]}\n')
    before = sorted(p.name for p in folder.iterdir())
    held = of_cache(known, Store(tmp_path))
    assert isinstance(held, Held)
    assert held.usable.tolist() == [True, True, True, False]
    assert sorted(p.name for p in folder.iterdir()) == before
