"""`repdiag finetune` as a user runs it: arms, seeds, results, going on, and what it refuses."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FIXTURES

from repdiag.cli import main
from repdiag.encoders import load_encoder
from repdiag.encoders.features import network_of
from repdiag.errors import DataError
from repdiag.objectives.parameters import DSAParameters, NoneParameters, QScoreParameters
from repdiag.sources import open_source
from repdiag.tuning.plan import ablated
from repdiag.tuning.request import Request
from repdiag.tuning.split import drawn, parts, split

SIMCLR = FIXTURES / "encoders" / "simclr.pt"
FEW = ["--preset", "small", "--epochs", "1", "--batch-size", "32", "--head-epochs", "0.5", "--log", ""]
EPS = ["--qscore-eps", "2.5"]  # at 4 hardly any of 144 images has an active feature
MEASURED = ["--metrics", "linear_probe_accuracy,knn_accuracy,qscore_mean,rankme"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 of the bundled digits, without a split."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    for number in range(10):
        target = folder / str(number)
        target.mkdir(parents=True)
        for image in sorted((FIXTURES / "digits" / "train" / str(number)).iterdir())[:20]:
            shutil.copy(image, target)
    return folder


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def cli(*arguments: str) -> Done:
    """The command line in this process: a new one would import torch each time."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPDIAG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "100")
        yield


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def tuned(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run: control and Q-Score, two seeds."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    before = digest(SIMCLR)
    done = cli("finetune", str(SIMCLR), str(digits), *FEW, *EPS, *MEASURED, "--seeds", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "NO EVIDENCE" in done.stdout or "HELPED" in done.stdout or "HURT" in done.stdout
    assert digest(SIMCLR) == before, "the original is never touched"
    return out


def comparison(out: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((out / "comparison.json").read_text())


def test_all_arms_are_scored_on_images_that_none_was_trained_on(tuned: Path) -> None:
    found = comparison(tuned)
    assert [(a["arm"], a["seed"]) for a in found["arms"]] == [
        ("before", None), ("control", 0), ("control", 1), ("qscore", 0), ("qscore", 1),
    ]  # fmt: skip
    data = found["config"]["data"]
    assert (data["trained_on"], data["held_out_loss_on"], data["scored_on"]) == (144, 16, 40)
    assert {(d["subject"], d["against"]) for d in found["differences"]} == {
        ("qscore", "control"), ("qscore", "before"), ("control", "before"),
    }  # fmt: skip
    assert found["verdict"]["subject"] == "qscore"
    assert found["verdict"]["against"] == "control"


def test_both_arms_leave_the_same_start_and_part_afterwards(tuned: Path) -> None:
    """Same heads, order and views: row 0 of the logs is equal, and the regularizer makes the difference."""
    logs = {
        arm: (tuned / "runs" / f"{arm}-seed0" / "log.csv").read_text().splitlines()
        for arm in ("control", "qscore")
    }
    rows = {
        arm: dict(zip(lines[0].split(","), lines[1].split(","), strict=True)) for arm, lines in logs.items()
    }
    assert rows["control"]["base"] == rows["qscore"]["base"]
    states = [torch.load(tuned / "runs" / f"{arm}-seed0" / "done.pt", weights_only=True) for arm in logs]
    first, second = (state["kept"]["encoder"] for state in states)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_the_tuned_encoder_comes_in_the_layout_it_came_in_and_as_safetensors(tuned: Path) -> None:
    with zipfile.ZipFile(SIMCLR) as given, zipfile.ZipFile(tuned / "tuned-simclr.pt") as back:
        assert given.namelist() == back.namelist()
        changed = [name for name in given.namelist() if given.read(name) != back.read(name)]
        assert changed
        assert all("/data/" in name for name in changed), "everything but weights stays byte for byte"
    opened = [load_encoder(str(tuned / name)) for name in ("tuned-simclr.pt", "tuned.safetensors")]
    start = load_encoder(str(SIMCLR))
    assert opened[0].architecture == opened[1].architecture == start.architecture
    state = torch.load(tuned / "runs" / "qscore-seed0" / "done.pt", weights_only=True)["kept"]["encoder"]
    weight = network_of(opened[1].module).conv1.weight
    assert any(torch.equal(weight, tensor) for tensor in state.values())
    assert not torch.equal(weight, network_of(start.module).conv1.weight)
    said = json.loads((tuned / "provenance.json").read_text())
    assert said["run"]["from"] == start.fingerprint
    assert said["run"]["to"] == opened[1].fingerprint
    assert said["run"]["verdict"] == comparison(tuned)["verdict"]["effect"]
    assert said["regularizer"]["lambda1"] == 1e-4


def test_the_same_command_again_trains_nothing_and_says_the_same(digits: Path, tuned: Path) -> None:
    before = {
        p: digest(p) for p in (tuned / "runs").rglob("*") if p.is_file() and p.name in ("done.pt", "log.csv")
    }
    found = comparison(tuned)
    done = cli(
        "finetune",
        str(SIMCLR),
        str(digits),
        *FEW,
        *EPS,
        *MEASURED,
        "--seeds",
        "2",
        "--out",
        str(tuned),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert before == {p: digest(p) for p in before}
    assert again["differences"] == found["differences"]
    assert again["verdict"]["reason"] == found["verdict"]["reason"]


def test_other_numbers_are_refused_in_a_folder_of_another_run(digits: Path, tuned: Path) -> None:
    done = cli(
        "finetune", str(SIMCLR), str(digits), *FEW, *EPS, *MEASURED, "--lr", "0.5", "--out", str(tuned)
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tuned) in done.stderr.replace("\n", "")


def test_without_labels_nothing_is_proved(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["--unlabeled", "--seeds", "1", "--metrics", "qscore_mean,rankme", "--regularizer", "lasso"]
    done = cli("finetune", str(SIMCLR), str(digits), *FEW, *asked, "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = comparison(out)
    assert found["verdict"]["effect"] == "no evidence"
    assert "label" in found["verdict"]["reason"]
    assert [a["arm"] for a in found["arms"]] == ["before", "control", "lasso"]


def test_ablations_are_arms_of_their_own() -> None:
    assert ablated(QScoreParameters(lambda1=3.0)) == {
        "lambda1": QScoreParameters(lambda1=3.0, lambda2=0.0),
        "lambda2": QScoreParameters(lambda1=0.0),
    }
    assert ablated(DSAParameters())["M=0"] == DSAParameters(arranging="zero")


def test_what_is_judged_and_against_what() -> None:
    def of(**changed: object) -> tuple[str, str]:
        request = Request("m", "d", Path("o"), **changed)  # type: ignore[arg-type]
        return request.name, request.against

    assert of() == ("qscore", "control")
    assert of(arms=("regularizer",)) == ("qscore", "before")
    assert of(arms=("control",)) == ("control", "before")
    assert of(regularizer=NoneParameters()) == ("control", "before")


def test_what_a_regularizer_cannot_do_is_known_before_the_control_is_trained(
    digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cli("finetune", str(SIMCLR), str(digits), *FEW, "--qscore-eps", "9", "--out", str(out))
    assert done.returncode == 2
    assert "S is empty" in done.stderr
    assert not (out / "runs" / "control-seed0").exists()


def test_a_split_of_the_datas_own_stays() -> None:
    source, said = split(open_source(str(FIXTURES / "digits")), 0.2, True)
    assert "own split" in said
    assert source.manifest.fingerprint == open_source(str(FIXTURES / "digits")).manifest.fingerprint


def test_a_share_of_each_class_is_kept_out_and_single_images_train() -> None:
    labels = np.array([0] * 10 + [1] * 5 + [2] + [-1] * 10)
    train = drawn(len(labels), labels, 0.2)
    kept = {int(c): int((~train)[labels == c].sum()) for c in np.unique(labels)}
    assert kept == {-1: 2, 0: 2, 1: 1, 2: 0}
    assert np.array_equal(train, drawn(len(labels), labels, 0.2)), "for every arm and seed the same"
    rows, validation = parts(train, 0.25)
    assert np.array_equal(np.sort(np.concatenate([rows, validation])), np.flatnonzero(train))
    assert len(validation) == round(0.25 * train.sum())
    assert len(parts(np.array([True, True, True, False]), 0.5)[1]) == 0, "two images at least are trained on"


def test_labels_that_are_not_wanted_do_not_reach_training(digits: Path) -> None:
    source, _ = split(open_source(str(digits)), 0.2, False)
    assert source.manifest.labels is None
    assert source.manifest.class_names == ()


def test_too_few_images_are_one_sentence(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "few" / "a"
    folder.mkdir(parents=True)
    for image in sorted((digits / "3").iterdir())[:6]:
        shutil.copy(image, folder)
    with pytest.raises(DataError, match="left to score on"):
        split(open_source(str(tmp_path / "few")), 0.2, True)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--regularizer", "qscor"], 2, "Did you mean 'qscore'?"),
        (["--base", "simclrr"], 2, "Did you mean 'simclr'?"),
        (["--dsa-eta", "5"], 2, "belong to the regularizer dsa"),
        (["--arms", "both"], 2, "control, regularizer"),
        (["--qscore-lower", "96"], 2, "percentiles"),
        (["--ablate", "--regularizer", "lasso"], 2, "nothing to take apart"),
        (["--ablate", "--regularizer", "none"], 2, "none"),
        (["--base", "supcon", "--unlabeled"], 2, "learns from labels"),
        (["--hold-out", "1"], 2, "between 0 and 1"),
        (["--metrics", "rankm"], 2, "Did you mean 'rankme'?"),
        (["--config", "nowhere.toml"], 3, "nowhere.toml"),
        (["--optimizer", "lamb"], 2, "lars"),
        (["--layer", "layer1,layer2"], 2, "Several layers"),
        (["--json", "--dry-run"], 2, "--dry-run has none"),
    ],
)
def test_bad_wishes_are_one_sentence_and_train_nothing(
    options: list[str], code: int, words: str, digits: Path, tmp_path: Path
) -> None:
    done = cli(
        "finetune", str(SIMCLR), str(digits), "--preset", "small", *options, "--out", str(tmp_path / "out")
    )
    assert done.returncode == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "runs").exists()


def test_a_dry_run_says_what_would_be_trained(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = cli(
        "finetune", str(SIMCLR), str(digits), *FEW, "--seeds", "2", "--ablate", "--out", str(out), "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    for words in ("control, seed 1", "lambda2, seed 0", "trained on 144 images", "Nothing was trained"):
        assert words in " ".join(done.stdout.split())
    assert not out.exists()


def test_a_printed_configuration_is_read_back_and_flags_go_before_it(tmp_path: Path) -> None:
    asked = ["finetune", "m.pt", "d", "--preset", "small", "--qscore-lambda2", "0", "--seeds", "7"]
    printed = cli(*asked, "--print-config")
    assert printed.returncode == 0, printed.stderr
    said = tomllib.loads(printed.stdout)
    assert (said["seeds"], said["qscore"]["lambda2"], said["epochs"]) == (7, 0, 5)
    file = tmp_path / "tune.toml"
    file.write_text(printed.stdout)
    again = cli("finetune", "m.pt", "d", "--config", str(file), "--epochs", "9", "--print-config")
    assert tomllib.loads(again.stdout) == {**said, "epochs": 9}
