"""What an audit is written as: the command on files, equal bytes, hostile names, and each tool's documented format."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console
from sample_report import HOSTILE, sample_report

from repdiag.audits import Audit, audit
from repdiag.audits.outputs import label_studio, views
from repdiag.audits.outputs.fiftyone import ending
from repdiag.audits.outputs.html import render
from repdiag.audits.outputs.json_form import to_json
from repdiag.audits.outputs.terminal import terminal
from repdiag.audits.outputs.write import write_audit
from repdiag.audits.vectors import Vectors
from repdiag.cli import main
from repdiag.report import write_report
from repdiag.report.tables import unescaped
from repdiag.types import Report


def made(budget: int = 60, n: int = 300, **options: Any) -> Audit:
    """An audit with everything in it: copies that leak and that conflict, suspects, groups."""
    report = sample_report(n, 16, thumbnails=0, **options)
    report = dataclasses.replace(report, risk={**report.risk, "brier": 0.09})
    x = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    x[n - 20 :] = x[:20] + np.float32(0.01)
    labels = report.samples.columns.get("label")
    given = None if labels is None else tuple(labels)
    ids = tuple(map(str, report.samples.columns["id"]))
    return audit(report, budget, vectors=Vectors(x, ids, given, np.arange(n) % 2 == 0, "x.npz"))


def hostile() -> Audit:
    found = made(names=HOSTILE, prefix="</script>'\">/")
    odd = dataclasses.replace(found.report, encoder={"name": HOSTILE[0]}, dataset={"name": HOSTILE[1]})
    return dataclasses.replace(found, report=odd, warnings=HOSTILE)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with its images beside it, each of its own color."""
    root = tmp_path_factory.mktemp("audited")
    report = sample_report(120, 16, thumbnails=0, k=4, prefix="")
    write_report(dataclasses.replace(report, risk={**report.risk, "brier": 0.09}), root / "report")
    rng = np.random.default_rng(0)
    for name in report.samples.columns["id"]:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    ids = report.samples.columns["id"].astype(str)
    x = rng.normal(size=(120, 8)).astype(np.float32)
    x[60:64] = x[:4]
    np.savez(root / "x.npz", embeddings=x, ids=ids, labels=report.samples.columns["label"].astype(str))
    return root


def run(*arguments: object) -> int:
    """The exit code of `repdiag audit`."""
    try:
        main(["audit", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


# ------------------------------------------------------------------------------------------- the command


def test_the_command_writes_everything_and_twice_the_same_bytes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", folder / "images", "--embeddings", folder / "x.npz", "--budget", 40)
    for name in ("one", "two"):
        more = ("--fiftyone", folder / name / "fo", "--atlas", folder / name / "a.parquet")
        assert run(folder / "report", *options, "--out", folder / name, *more, "--quiet") == 0
    assert capsys.readouterr().out == ""
    first = {
        p.relative_to(folder / "one"): p.read_bytes() for p in (folder / "one").rglob("*") if p.is_file()
    }
    second = {
        p.relative_to(folder / "two"): p.read_bytes() for p in (folder / "two").rglob("*") if p.is_file()
    }
    assert first == second
    assert {str(p) for p in first if len(p.parts) == 1} == {
        "audit.html", "audit.json", "review.csv", "duplicates.csv", "label_errors.csv", "label-studio.json",
        "label-studio.xml", "a.parquet",
    }  # fmt: skip
    assert str(folder).encode() not in b"".join(first.values())
    document = json.loads(first[Path("audit.json")])
    assert document["duplicates"]["samples"] == 8
    assert first[Path("audit.html")].count(b"data:image/jpeg;base64,") >= 40
    assert len(list((folder / "one/fo/data").iterdir())) == 40


def test_json_on_stdout_is_the_file_and_the_summary_is_text(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "three"
    assert run(folder / "report/report.json", "--out", out, "--json", "--budget", 10) == 0
    assert capsys.readouterr().out == (out / "audit.json").read_text()
    assert run(folder / "report", "--out", out, "--budget", 10) == 0
    said = capsys.readouterr().out
    assert "The 10 riskiest images of 120." in said
    assert "Near-duplicates were not looked for" in said.replace("\n               ", " ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 3, "There is no such report"),
        (("{}/report", "--data", "{}/x.npz"), 3, "Give it as --embeddings"),
        (("{}/report", "--data", "{}/report"), 3, "no images|no data set|None of the report's samples"),
        (("{}/report", "--label-column", "y"), 2, "tells how --data is read"),
        (("{}/report", "--fiftyone", "{}/f"), 2, "Name the data set with --data"),
        (("{}/report", "--device", "tpu"), 2, "cannot be searched on 'tpu'"),
        (("{}/report", "--duplicate-cosine", "2"), 2, "lies in"),
        (("{}/report", "--out", "{}/x.npz"), 6, "is a file"),
    ],
)
def test_bad_input_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    given = [argument.format(folder) for argument in arguments]
    assert run(*given, *(() if "--out" in given else ("--out", folder / "bad"))) == code
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert "Traceback" not in error


def test_a_report_without_risk_exits_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = sample_report(60, 16, thumbnails=0)
    bare = {k: v for k, v in report.samples.columns.items() if k != "risk"}
    write_report(dataclasses.replace(report, samples=type(report.samples)(bare)), tmp_path / "r")
    assert run(tmp_path / "r", "--out", tmp_path / "o") == 3
    assert "no risk of any sample" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_auditing_without_pictures_loads_no_torch(folder: Path) -> None:
    code = (
        "import atexit, sys; from repdiag.cli import main\n"
        "atexit.register(lambda: print(sorted({'torch', 'timm', 'sklearn'} & set(sys.modules))))\n"
        f"main(['audit', {str(folder / 'report')!r}, '--embeddings', {str(folder / 'x.npz')!r},"
        f" '--out', {str(folder / 'four')!r}, '-q'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------- JSON and CSV


@pytest.mark.parametrize("labelled", [True, False])
def test_json_follows_its_schema(labelled: bool) -> None:
    schema = json.loads(files("repdiag.audits.outputs").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    document = to_json(made(labelled=labelled))
    json.dumps(document, allow_nan=False)
    jsonschema.validate(document, schema)
    document["reviewed"][0]["risk"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_tables_say_what_the_audit_says(tmp_path: Path) -> None:
    found = made()
    write_audit(found, tmp_path)
    for row, one in zip(rows(tmp_path / "review.csv"), found.reviewed, strict=True):
        assert (row["id"], row["label"], row["prediction"], row["action"]) == (
            one.id, one.label, one.prediction, one.action.value,
        )  # fmt: skip
        assert float(row["risk"]) == one.risk
        assert row["reason"].split("; ") == list("; ".join(one.reasons).split("; "))
        assert row["duplicate_group"] == ("" if one.copies is None else str(one.copies))
    copies = rows(tmp_path / "duplicates.csv")
    assert len(copies) == 40
    assert {(r["labels_differ"], r["train_and_test"]) for r in copies} == {("false", "false")}
    errors = rows(tmp_path / "label_errors.csv")
    assert errors
    assert [float(r["confidence"]) for r in errors] == sorted(
        (float(r["confidence"]) for r in errors), reverse=True
    )


def test_nothing_found_is_a_table_with_headings(tmp_path: Path) -> None:
    write_audit(audit(sample_report(60, 16, labelled=False, thumbnails=0), 5), tmp_path)
    assert (tmp_path / "duplicates.csv").read_text().startswith('"group","id","label"')
    assert (tmp_path / "label_errors.csv").read_text().startswith('"id","label","suggested"')


def test_hostile_names_are_data_in_every_file(tmp_path: Path) -> None:
    found = hostile()
    write_audit(found, tmp_path)
    labels = {unescaped(row["label"]) for row in rows(tmp_path / "review.csv")}
    assert labels <= set(HOSTILE)
    assert not any(row["label"].startswith("=") for row in rows(tmp_path / "review.csv"))
    document = json.loads((tmp_path / "audit.json").read_text())
    assert {one["label"] for one in document["reviewed"]} <= set(HOSTILE)
    page = (tmp_path / "audit.html").read_text()
    assert "<script>document.title" not in page
    assert "<img src=x" not in page
    assert page.count("<script>") == 4
    interface = ElementTree.fromstring((tmp_path / "label-studio.xml").read_text())
    assert len(interface.findall(".//Choice")) == len(HOSTILE)
    tasks = json.loads((tmp_path / "label-studio.json").read_text())
    assert all(re.fullmatch(r"/data/local-files/\?d=[A-Za-z0-9_.~/%-]+", t["data"]["image"]) for t in tasks)


# ------------------------------------------------------------------------------------------- the tools


def test_label_studio_tasks_have_the_documented_form() -> None:
    found = made()
    tasks = label_studio.tasks(found, "https://images.example/")
    names = {e.attrib["value"] for e in ElementTree.fromstring(label_studio.interface(found)).iter("Choice")}
    for task, one in zip(tasks, found.reviewed, strict=True):
        assert task["data"]["image"] == f"https://images.example/{one.path}"
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        assert 0 <= prediction["score"] <= 1
        assert (result["from_name"], result["to_name"], result["type"]) == ("class", "image", "choices")
        assert set(result["value"]["choices"]) <= names
    interface = ElementTree.fromstring(label_studio.interface(found))
    assert interface.find("Image").attrib["name"] == "image"  # type: ignore[union-attr]
    assert interface.find("Choices").attrib["name"] == "class"  # type: ignore[union-attr]
    assert "predictions" not in label_studio.tasks(made(labelled=False))[0]


def test_fiftyone_finds_an_image_for_each_label(folder: Path) -> None:
    out = folder / "five"
    data = ("--data", folder / "images", "--fiftyone", out / "fo", "--budget", 15, "-q")
    assert run(folder / "report", "--out", out, *data) == 0
    listed = json.loads((out / "fo/labels.json").read_text())["labels"]
    images = {path.stem: path for path in (out / "fo/data").iterdir()}
    assert set(images) == set(listed)
    for row in rows(out / "review.csv"):
        name = f"{int(row['rank']):02d}"
        assert listed[name]["label"] == row["label"]
        assert listed[name]["attributes"]["id"] == row["id"]
        assert images[name].read_bytes() == (folder / "images" / row["path"]).read_bytes()
    assert "q_score" not in listed["01"]["attributes"] or listed["01"]["attributes"]["q_score"] is not None


@pytest.mark.parametrize(
    ("content", "path", "suffix"),
    [
        (b"\x89PNG\r\n", "a.jpg", ".png"), (b"\xff\xd8\xff\xe0", "a", ".jpg"), (b"RIFF0000WEBP", "a", ".webp"),
        (b"\0\0\0", "a/b.HEIC", ".heic"), (b"\0\0\0", "a.b/c", ".png"), (b"\0\0\0", "a.x y", ".png"),
    ],
)  # fmt: skip
def test_the_ending_is_that_of_the_bytes(content: bytes, path: str, suffix: str) -> None:
    assert ending(content, path) == suffix


def test_the_atlas_has_every_sample_and_its_true_neighbors(folder: Path) -> None:
    out = folder / "six"
    options = ("--embeddings", folder / "x.npz", "--atlas", out / "a.parquet", "--budget", 15, "-q")
    assert run(folder / "report", "--out", out, *options) == 0
    table = pq.read_table(out / "a.parquet").to_pylist()
    with np.load(folder / "x.npz") as found:
        x, ids = found["embeddings"].astype(np.float64), found["ids"].tolist()
    assert [row["id"] for row in table] == ids
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = u @ u.T
    np.fill_diagonal(cosine, -np.inf)
    for i, row in enumerate(table):
        near, far = row["neighbors"]["ids"], row["neighbors"]["distances"]
        assert i not in near
        np.testing.assert_allclose(sorted(cosine[i])[::-1][:10], 1 - np.array(far), atol=1e-6)
        np.testing.assert_allclose(cosine[i][near], 1 - np.array(far), atol=1e-6)
        assert isinstance(row["x"], float)
    assert sorted(row["review_rank"] for row in table if row["review_rank"]) == list(range(1, 16))
    assert sum(row["duplicate_group"] is not None for row in table) == 8


# ------------------------------------------------------------------------------------------- terminal and page


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("which", ["made", "hostile", "unlabeled"])
def test_the_summary_fits_and_obeys_nothing(width: int, encoding: str, which: str) -> None:
    found = {"made": made, "hostile": hostile, "unlabeled": lambda: made(labelled=False)}[which]()
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    terminal(found, Console(file=stream, width=width), [Path("out/audit.html")])
    stream.flush()
    stream.seek(0)
    printed = stream.read()
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert max(cell_len(line) for line in printed.splitlines()) <= width
    assert "The 60 riskiest images of 300." in printed


def test_the_page_stays_small_and_says_what_it_leaves_out() -> None:
    found = made(budget=2000, n=2000)
    image = bytes(6000)
    pictures = {one.id: image for one in found.reviewed}
    page = render(found, pictures)
    assert len(page.encode()) < 6_000_000
    assert "The first 600 of 2,000; review.csv has all." in page
    assert "pictures are left out to keep the page small" in page
    assert page.count("data:image/jpeg;base64,") == views.MAX_IMAGE_BYTES // 6000
    assert "default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-" in page


def test_the_page_of_every_kind_of_audit_renders() -> None:
    odd: list[Report] = [
        sample_report(40, 8, thumbnails=0, labelled=False, clusters=type(sample_report(4, 4).samples)({})),
        sample_report(40, 8, thumbnails=0, risk={}),
    ]
    bare = sample_report(40, 8, thumbnails=0)
    kept = {name: bare.samples.columns[name] for name in ("id", "risk")}
    odd.append(dataclasses.replace(bare, samples=type(bare.samples)(kept)))
    for report in odd:
        found = audit(report, 10)
        page = render(found, {})
        assert page.count('data-id="') >= 10
        assert "Give --data to see the images." in page


def test_the_how_to_names_options_and_files_that_exist(folder: Path) -> None:
    from typer.main import get_command

    from repdiag.cli import app

    text = (Path(__file__).parent.parent / "docs/how-to/audit.md").read_text(encoding="utf-8")
    options = {o for p in get_command(app).commands["audit"].params for o in p.opts}  # type: ignore[attr-defined]
    foreign = {"--x", "--y", "--neighbors"}  # of embedding-atlas
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - foreign
    assert {"--budget", "--data", "--fiftyone"} <= named <= options
    out = folder / "seven"
    assert run(folder / "report", "--out", out, "-q") == 0
    listed = re.findall(r"`([a-z_-]+\.(?:html|csv|json|xml))`", text)
    assert {path.name for path in out.iterdir()} == set(listed)
