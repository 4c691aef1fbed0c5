"""Shared fixtures: where things are, embedding sets with a known answer, and the real command line."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest-xdist runs a process per core

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsing import browser as browser  # the fixture, for all tests in a browser

from repdiag.types import Companion, EmbeddingSet, Views

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"
SHARED = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the real encoders and images skip, visibly, where those are not beside the checkout."""
    if SHARED.is_dir():
        return
    absent = pytest.mark.skip(reason="../shared/data is not here: real encoders and images are not tested")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(absent)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real encoders and images (tests that use it are marked `shared`)."""
    return SHARED


def blobs(
    n: int = 240,
    dim: int = 24,
    k: int = 4,
    spread: float = 0.5,
    seed: int = 0,
    split: bool = False,
    views: bool = True,
    relu: bool = True,
    labels: bool = True,
    hierarchy: bool = False,
    companions: bool = False,
) -> EmbeddingSet:
    """Noisy classes around sparse non-negative centers: every metric has something to measure.

    `hierarchy` puts the classes under two coarse ones, `companions` adds another layer and two earlier checkpoints.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    centers = rng.gamma(0.3, 1.0, size=(k, dim))
    x = centers[truth] + rng.gamma(0.3, spread, size=(n, dim))
    y = np.where(rng.random(n) < 0.15, rng.integers(k, size=n), truth)  # errors for the risk scores to find
    if not relu:
        x = x - x.mean()
    x = x.astype(np.float32)
    moved = np.abs(x[None] + rng.normal(scale=0.1, size=(2, n, dim))).astype(np.float32)
    return EmbeddingSet(
        features=x,
        ids=tuple(f"{i:05d}.png" for i in range(n)),
        labels=y.astype(np.int64) if labels else None,
        class_names=tuple(f"class {c}" for c in range(k)) if labels else (),
        is_train=(np.arange(n) // k) % 2 == 0 if split else None,
        views=Views(moved, np.arange(n), "test noise") if views else None,
        parents=tuple(f"coarse {c % 2}" for c in range(k)) if labels and hierarchy else (),
        companions=_companions(x, rng) if companions else (),
    )


def _companions(x: np.ndarray, rng: np.random.Generator) -> tuple[Companion, ...]:
    """Another layer (a projection) and two earlier checkpoints (the same rows under noise)."""
    dim = x.shape[1]
    layer = (x @ rng.normal(size=(dim, max(2, dim // 2)))).astype(np.float32)
    early, later = (x + rng.gamma(0.3, scale, size=x.shape).astype(np.float32) for scale in (1.0, 0.3))
    return (
        Companion("layer", "projector", layer),
        Companion("checkpoint", "epoch-1", early),
        Companion("checkpoint", "epoch-2", later),
    )


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """Runs `python -m repdiag` in a process of its own, with a cache of its own."""

    def run(*arguments: object, check: int | None = 0, **more: object) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "REPDIAG_CACHE": str(tmp_path / "cache"),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "repdiag", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=more.pop("cwd", ROOT),
            timeout=300,
            **more,  # type: ignore[call-overload]
        )
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
