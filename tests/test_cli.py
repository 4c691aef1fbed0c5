"""The real command line, in processes of its own, on the fixtures and on bad input."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES, ROOT, blobs

DIGITS = FIXTURES / "digits"
ENCODERS = FIXTURES / "encoders"
SIMCLR = ENCODERS / "simclr.safetensors"
FAST = ("--metrics", "linear_probe_accuracy,spectrum", "--no-map", "--no-by-size", "--quiet")
TABLES = ("metrics", "classes", "pairs", "clusters", "features", "samples")
FILES = {"report.html", "report.json", *(f"{name}.csv" for name in TABLES)}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def values(out: Path) -> dict[str, float]:
    return {m["name"]: m["outcome"]["value"] for m in report(out)["measurements"] if "value" in m["outcome"]}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "encoder", sorted(p.name for p in ENCODERS.iterdir() if p.suffix in (".safetensors", ".pt"))
)
def test_every_fixture_goes_through_the_whole_line(encoder: str, cli: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    drawn = (
        () if encoder == "simclr.safetensors" else ("--no-map",)
    )  # compiling UMAP takes as long as all the rest
    done = cli("score", ENCODERS / encoder, DIGITS, "--out", out, *drawn)
    assert {p.name for p in out.iterdir()} - {"kept_features.csv"} == FILES
    assert "Linear probe accuracy" in done.stdout
    assert str(out / "report.html") in done.stdout.replace("\n", "")
    found = report(out)
    skipped = {m["name"]: m["outcome"]["skipped"] for m in found["measurements"] if "skipped" in m["outcome"]}
    asked_for = ("--hierarchy", "--layer", "--earlier")  # what this run did not give
    skipped = {name: reason for name, reason in skipped.items() if not any(o in reason for o in asked_for)}
    if encoder.startswith(
        "random"
    ):  # one feature towers over all others, always: S is empty, and Q-Score with it
        assert all("discriminative feature" in reason for reason in skipped.values()), skipped
        assert "qscore_mean" in skipped
    else:
        assert skipped == {}
    samples = table(out / "samples.csv")
    assert len(samples) == found["dataset"]["evaluated"] == len(list((DIGITS / "test").rglob("*.png")))
    accuracy = np.mean([row["correct"] == "true" for row in samples])
    assert accuracy == pytest.approx(values(out)["linear_probe_accuracy"])
    assert {row["label"] for row in samples} == set("0123456789")
    assert all(0 <= float(row["risk"]) <= 1 for row in samples)
    assert len(table(out / "classes.csv")) == 10
    assert len(table(out / "features.csv")) == 128


def test_the_checkpoint_in_a_container_scores_as_the_bare_weights(cli: Run, tmp_path: Path) -> None:
    for name in ("simclr.safetensors", "simclr.pt"):
        cli("score", ENCODERS / name, DIGITS, "--out", tmp_path / name, *FAST)
    assert values(tmp_path / "simclr.pt") == values(tmp_path / "simclr.safetensors")


def test_the_same_seed_gives_the_same_report_but_for_time_stamps(cli: Run, tmp_path: Path) -> None:
    reports = []
    for name in ("one", "two"):
        cli(
            "score",
            SIMCLR,
            DIGITS,
            "--out",
            tmp_path / name,
            "--quiet",
            "--no-map",  # test_api has the maps' own test
            "--cache",
            tmp_path / f"cache-{name}",
        )
        found = report(tmp_path / name)
        found.pop("created")
        found.pop("timing")
        reports.append(found)
    assert reports[0] == reports[1]
    other = tmp_path / "three"
    cli("score", SIMCLR, DIGITS, "--out", other, "--quiet", "--seed", 1, "--no-map")
    assert values(other)["seed_ari"] != values(tmp_path / "one")["seed_ari"]


def _as_zip(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder.parent))
    return to


def _as_tar(folder: Path, to: Path) -> Path:
    with tarfile.open(to, "w") as archive:
        archive.add(folder, folder.name)
    return to


def test_folder_zip_and_tar_of_the_same_images_give_the_same_numbers(cli: Run, tmp_path: Path) -> None:
    found = []
    for data in (DIGITS, _as_zip(DIGITS, tmp_path / "d.zip"), _as_tar(DIGITS, tmp_path / "d.tar")):
        out = tmp_path / f"out-{data.name}"
        cli("score", SIMCLR, data, "--out", out, *FAST)
        found.append(values(out))
    assert found[0] == found[1] == found[2]


def test_a_flat_folder_is_unlabeled_and_its_report_says_so(cli: Run, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted((DIGITS / "test").rglob("*.png"))[:200]:
        shutil.copy(path, flat / f"{path.parent.name}-{path.name}")
    done = cli("score", SIMCLR, flat, "--out", tmp_path / "out", "--no-map")
    found = report(tmp_path / "out")
    skipped = {m["name"]: m["outcome"]["skipped"] for m in found["measurements"] if "skipped" in m["outcome"]}
    assert "linear_probe_accuracy" in skipped
    assert "no labels" in skipped["cdnv"]
    assert "rankme" in values(tmp_path / "out")
    assert found["risk"]["validated"] is False
    assert "nvalidated" in done.stdout or "not validated" in done.stdout
    row = table(tmp_path / "out" / "samples.csv")[0]
    assert "label" not in row
    assert 0 <= float(row["risk"]) <= 1


def test_ignoring_labels_gives_the_label_free_numbers_unchanged(cli: Run, tmp_path: Path) -> None:
    cli("score", SIMCLR, DIGITS, "--out", tmp_path / "with", "--quiet", "--no-map", "--clusters", 10)
    cli(
        "score",
        SIMCLR,
        DIGITS,
        "--out",
        tmp_path / "without",
        "--quiet",
        "--no-map",
        "--clusters",
        10,
        "--unlabeled",
    )
    labeled, unlabeled = values(tmp_path / "with"), values(tmp_path / "without")
    assert "linear_probe_accuracy" not in unlabeled
    for name in ("rankme", "qscore_mean", "seed_ari", "uniformity", "alignment", "activation_frequency"):
        assert unlabeled[name] == labeled[name]


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    e = blobs()
    path = tmp_path / "e.npz"
    np.savez(path, embeddings=e.features, labels=e.labels, ids=np.array(e.ids))
    return path


def test_precomputed_embeddings_need_no_model(embeddings: Path, cli: Run, tmp_path: Path) -> None:
    done = cli("score", "-", embeddings, "--out", tmp_path / "out", "--no-map", "--full")
    found = values(tmp_path / "out")
    assert "linear_probe_accuracy" in found
    assert "alignment" not in found
    assert "augmented views" in done.stdout


def test_json_on_stdout_is_the_report(embeddings: Path, cli: Run, tmp_path: Path) -> None:
    done = cli(
        "score", "-", embeddings, "--out", tmp_path / "out", "--json", "--no-map", "--metrics", "spectrum"
    )
    assert json.loads(done.stdout) == report(tmp_path / "out")


def test_dry_run_prints_the_plan_and_writes_nothing(cli: Run, tmp_path: Path) -> None:
    done = cli("score", SIMCLR, DIGITS, "--out", tmp_path / "out", "--dry-run")
    assert "1797" in done.stdout
    assert "0/1797" in done.stdout
    assert "linear_probe_accuracy" in done.stdout
    assert "Nothing was computed" in done.stdout
    assert not (tmp_path / "out").exists()
    cli("score", SIMCLR, DIGITS, "--out", tmp_path / "out", *FAST)
    again = cli("score", SIMCLR, DIGITS, "--out", tmp_path / "out", "--dry-run")
    assert "1797/1797" in again.stdout


def test_metrics_lists_every_metric(cli: Run) -> None:
    listed = json.loads(cli("metrics", "--json").stdout)
    text = cli("metrics").stdout
    assert len(listed) >= 30
    for spec in listed:
        assert spec["name"] in text
    assert "cdnv" in cli("metrics", "crowding").stdout
    assert "rankme" not in cli("metrics", "crowding").stdout


# ------------------------------------------------------------------------------------------ what goes wrong


def _text(path: Path, content: str = "just some text\n") -> Path:
    path.write_text(content)
    return path


BAD: dict[str, tuple[Callable[[Path], list[object]], int, str]] = {
    "no such model": (lambda t: ["nowhere.pt", DIGITS], 3, "nowhere.pt"),
    "model is text": (lambda t: [_text(t / "m.pt"), DIGITS], 3, "m.pt"),
    "model is empty": (lambda t: [_text(t / "m.pt", ""), DIGITS], 3, "empty"),
    "model is a folder": (lambda t: [t, DIGITS], 3, ""),
    "no such data": (lambda t: [SIMCLR, t / "nothing"], 3, "nothing"),
    "data is an empty folder": (lambda t: [SIMCLR, _empty(t)], 3, "no images"),
    "data is text": (lambda t: [SIMCLR, _text(t / "d.csv")], 3, "d.csv"),
    "unknown architecture": (lambda t: [SIMCLR, DIGITS, "--arch", "resnet1"], 2, "resnet1"),
    "wrong architecture": (lambda t: [SIMCLR, DIGITS, "--arch", "resnet18"], 3, "lacks"),
    "embeddings with a model": (lambda t: [SIMCLR, _embeddings(t)], 2, "'-'"),
    "no model but images": (lambda t: ["-", DIGITS], 2, "MODEL"),
    "unknown metric": (lambda t: [SIMCLR, DIGITS, "--metrics", "rankm"], 2, "rankme"),
    "limits crossed": (lambda t: [SIMCLR, DIGITS, "--lower", "96"], 2, "lower"),
    "eps is no number": (lambda t: [SIMCLR, DIGITS, "--eps", "nan"], 2, "eps"),
    "seed too large": (lambda t: [SIMCLR, DIGITS, "--seed", 2**70], 2, "seed"),
    "mean is no number": (lambda t: [SIMCLR, DIGITS, "--mean", "a,b"], 2, "--mean"),
    "no such device": (lambda t: [SIMCLR, DIGITS, "--device", "tpu"], 2, "tpu"),
    "out is a file": (lambda t: [SIMCLR, DIGITS, "--out", _text(t / "o")], 6, "--out"),
    "out cannot be made": (lambda t: [SIMCLR, DIGITS, "--out", "/proc/nowhere/out"], 6, "/proc/nowhere"),
    "cache cannot be made": (lambda t: [SIMCLR, DIGITS, "--cache", "/proc/nowhere"], 6, "--no-cache"),
}


def _empty(t: Path) -> Path:
    (t / "empty").mkdir()
    return t / "empty"


def _embeddings(t: Path) -> Path:
    np.save(t / "e.npy", blobs().features)
    return t / "e.npy"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_its_exit_code(case: str, cli: Run, tmp_path: Path) -> None:
    arguments, code, says = BAD[case]
    given = [str(a) for a in arguments(tmp_path)]
    out = [] if "--out" in given else ["--out", tmp_path / "out"]
    done = cli("score", *given, *out, check=code)
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert done.stdout == ""


def test_extreme_settings_are_carried_out_or_skipped(embeddings: Path, cli: Run, tmp_path: Path) -> None:
    extreme = (
        "--clusters",
        900,
        "--folds",
        1000,
        "--neighbors",
        100_000,
        "--lower",
        0,
        "--upper",
        100,
        "--eps",
        0.01,
    )
    done = cli("score", "-", embeddings, "--out", tmp_path / "out", "--no-map", "--full", *extreme)
    assert "too few for 900 clusters" in done.stdout.replace("\n", " ")
    assert "linear_probe_accuracy" in values(tmp_path / "out")


def test_debug_shows_the_traceback(cli: Run) -> None:
    done = cli("score", "nowhere.pt", DIGITS, "--debug", check=3)
    assert "Traceback" in done.stderr
    assert "CheckpointError" in done.stderr


def test_corrupt_images_are_named_counted_and_left_out(cli: Run, tmp_path: Path) -> None:
    data = tmp_path / "digits"
    shutil.copytree(DIGITS, data)
    broken = sorted((data / "test").rglob("*.png"))[:2]
    for path in broken:
        path.write_bytes(path.read_bytes()[:40])
    cli("score", SIMCLR, data, "--out", tmp_path / "out", *FAST)
    found = report(tmp_path / "out")
    assert {c["path"] for c in found["dataset"]["corrupt"]} == {str(p.relative_to(data)) for p in broken}
    assert any("2 images" in w for w in found["warnings"])
    (data / "notes.txt").write_text("not an image")
    cli("score", SIMCLR, data, "--out", tmp_path / "out", *FAST)
    assert any("ignored" in w for w in report(tmp_path / "out")["warnings"])
    done = cli("score", SIMCLR, data, "--out", tmp_path / "out", "--max-corrupt", "0.0001", *FAST, check=3)
    assert broken[0].name in done.stderr


def _limited(bytes_per_file: int) -> Callable[[], None]:
    """A disk that is full after so many bytes of a file, as the operating system would say it."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))

    return limit


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(
    embeddings: Path, cli: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("score", "-", embeddings, "--out", out, "--metrics", "spectrum", "--no-map")
    done = cli(*arguments, check=6, preexec_fn=_limited(2000))
    assert "Traceback" not in done.stderr
    assert "Cannot write" in done.stderr
    assert not [p.name for p in out.iterdir() if p.name.endswith(".part")]
    for path in out.iterdir():
        assert path.stat().st_size < 2000
    cli(*arguments)
    assert {p.name for p in out.iterdir()} == FILES


def test_a_full_disk_in_the_cache_names_the_cache(cli: Run, tmp_path: Path) -> None:
    done = cli(
        "score", SIMCLR, DIGITS, "--out", tmp_path / "out", *FAST, check=6, preexec_fn=_limited(20_000)
    )
    assert "--no-cache" in done.stderr
    assert "Traceback" not in done.stderr


def _many_images(tmp_path: Path) -> Path:
    """Enough images that a kill lands in the middle of extraction."""
    data = tmp_path / "many"
    for copy in range(6):
        for path in (DIGITS / "test").rglob("*.png"):
            to = data / path.parent.name / f"{copy}-{path.name}"
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    return data


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_extraction_goes_on_after_a_kill(kill: signal.Signals, cli: Run, tmp_path: Path) -> None:
    data, cache = _many_images(tmp_path), tmp_path / "cache"
    arguments = ["score", SIMCLR, data, "--out", tmp_path / "out", "--batch-size", "8", *FAST]
    process = subprocess.Popen(
        [sys.executable, "-m", "repdiag", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "REPDIAG_CACHE": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    plan = ""
    while time.monotonic() < deadline and process.poll() is None:
        if any(p.stat().st_size for p in cache.rglob("*journal*")):
            break
        time.sleep(0.02)
    process.send_signal(kill)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0, "the run ended before it could be killed"
    if kill is signal.SIGINT:
        assert process.returncode == 130
        assert "goes on from there" in errors.replace("\n", " ")
        assert "Traceback" not in errors
    plan = cli("score", SIMCLR, data, "--batch-size", "8", "--dry-run").stdout
    cached = re.search(r"\((\d+)/(\d+) cached", plan)
    assert cached is not None, plan
    assert 0 < int(cached[1]) < int(cached[2])
    cli(*arguments)
    interrupted = values(tmp_path / "out")
    cli(*arguments, "--cache", tmp_path / "fresh")
    assert values(tmp_path / "out") == interrupted
