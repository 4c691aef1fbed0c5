"""The built wheel, installed where no source is: what a user gets from the registry."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import FIXTURES, ROOT

pytestmark = [pytest.mark.wheel, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git tracks, so that a file someone forgot to add is missing here too."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "fixtures/digits/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)],
        check=True,
    )
    return next(out.glob("repdiag-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with the wheel alone; the libraries come from the test venv by path, repdiag's source does not."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    site = next((place / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place / "bin"


def test_the_wheel_carries_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "repdiag/py.typed" in names
    assert any(n.endswith("architectures.json.gz") for n in names)
    assert any(n.endswith(".html.j2") for n in names)
    assert any(n.endswith("LICENSE") for n in names)
    top = {n.split("/")[0] for n in names}
    assert all(t == "repdiag" or t.endswith(".dist-info") for t in top), top


def test_the_installed_command_scores_the_fixtures(installed: Path, tmp_path: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "REPDIAG_CACHE": str(tmp_path / "cache")
    }
    where = subprocess.run(
        [installed / "python", "-c", "import repdiag; print(repdiag.__file__)"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(installed.parent) in where, "the source tree must not be what is tested here"
    done = subprocess.run(
        [
            installed / "repdiag",
            "score",
            FIXTURES / "encoders" / "simclr.safetensors",
            FIXTURES / "digits",
            "--out",
            tmp_path / "report",
            "--metrics",
            "probes,spectrum",
            "--no-map",
        ],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Linear probe accuracy" in done.stdout
    assert (tmp_path / "report" / "report.html").stat().st_size > 20_000
