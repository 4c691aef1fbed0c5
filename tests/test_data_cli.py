"""Data options on the command line: what is read reaches the report, and what is wrong is one sentence."""

from __future__ import annotations

import csv
import inspect
import json
import shutil
from pathlib import Path

import pytest
from conftest import FIXTURES, Run

from repdiag.cli.options.data import DataOptions, Level
from repdiag.errors import UsageError
from repdiag.sources import open_source

ENCODER = FIXTURES / "encoders/simclr.safetensors"
QUICK = ("--metrics", "linear_probe_accuracy", "--views", 0, "--no-map", "--quiet", "--bootstrap", 50)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve test images of each of four digits."""
    root = tmp_path_factory.mktemp("digits")
    for digit in "0148":
        (root / digit).mkdir()
        for path in sorted((FIXTURES / "digits/test" / digit).iterdir())[:12]:
            shutil.copy(path, root / digit / path.name)
    return root


def test_a_hierarchy_reaches_the_tables(cli: Run, digits: Path, tmp_path: Path) -> None:
    rows = [(path.relative_to(digits).as_posix(), path.parent.name) for path in sorted(digits.rglob("*.png"))]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("where", "digit"), *rows])
    (tmp_path / "kinds.csv").write_text("digit,kind\n0,round\n1,straight\n4,straight\n8,<b>round</b>\n")
    reading = (
        "--root", digits, "--path-column", "where", "--label-column", "digit", "--hierarchy", tmp_path / "kinds.csv",
        "--hierarchy-columns", "digit,kind",
    )  # fmt: skip
    cli("score", ENCODER, tmp_path / "list.csv", *reading, *QUICK, "--out", tmp_path / "fine")
    classes = list(csv.DictReader((tmp_path / "fine/classes.csv").open()))
    assert {row["class"]: row["parent"] for row in classes} == {
        "0": "round", "1": "straight", "4": "straight", "8": "<b>round</b>",
    }  # fmt: skip
    assert "<b>round</b>" not in (tmp_path / "fine/report.html").read_text()
    cli(
        "score",
        ENCODER,
        tmp_path / "list.csv",
        *reading,
        "--level",
        "coarse",
        *QUICK,
        "--out",
        tmp_path / "coarse",
    )
    classes = list(csv.DictReader((tmp_path / "coarse/classes.csv").open()))
    assert {row["class"]: row["n"] for row in classes} == {
        "round": "12",
        "straight": "24",
        "<b>round</b>": "12",
    }
    assert "parent" not in classes[0]
    report = json.loads((tmp_path / "coarse/report.json").read_text())
    assert any("3 coarse classes of 4 fine ones" in warning for warning in report["warnings"])


def test_what_is_wrong_is_said_in_one_sentence(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,label\ngone.png,1\nlost.png,2\n")
    done = cli("score", ENCODER, tmp_path / "x.csv", "--root", FIXTURES, "--dry-run", check=3)
    assert "None of the 2 listed images is in" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_every_keyword_of_open_source_is_an_option() -> None:
    options = DataOptions(
        root="r", path_column="p", label_column="l", eval_split="e", train_split="t", hierarchy="h",
        hierarchy_columns="a, b", level=Level.coarse, class_names="n", trust_listing=True, class_depth=2,
    )  # fmt: skip
    found = options.keywords(Path("cache"))
    assert set(found) == set(inspect.signature(open_source).parameters) - {"path", "labeled"}
    assert found["hierarchy_columns"] == ("a", "b")
    assert DataOptions().keywords(Path("cache")) == {}
    with pytest.raises(UsageError, match="is not two columns"):
        DataOptions(hierarchy_columns="a").keywords()
