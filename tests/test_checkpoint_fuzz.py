"""Some hundred damaged checkpoint files, read in worker processes (docs/benchmarks/fuzz.md has thousands)."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fuzz_checkpoints", ROOT / "scripts" / "fuzz_checkpoints.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the workers' limits are Linux's")


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused_or_read_right(fuzzer: ModuleType, tmp_path: Path) -> None:
    """No traceback, no crash, no execution, no time-out, and no wrong weights where a checksum covers them."""
    seeds = fuzzer.make_seeds(tmp_path / "seeds")
    counts: Counter[str] = Counter()
    for case, outcome, detail in fuzzer.fuzz(seeds, 160, tmp_path, 2, None):
        assert not fuzzer.forbidden(case, outcome), f"{case.seed.name}, {case.kind}: {outcome}, {detail}"
        counts[outcome] += 1
    assert counts["exit 3"] > 80
    assert counts["exit 7"] > 5
    assert counts["equal"] > 2
    assert counts["other weights"] > 2  # where nothing covers them: the comparison can fail


def test_the_worker_notices_what_must_not_happen(fuzzer: ModuleType, tmp_path: Path) -> None:
    """A file that is trusted does run its call; a worker that dies or hangs is no silent success."""
    seeds = fuzzer.make_seeds(tmp_path / "seeds")
    plain, hostile = seeds[0], seeds[1]
    worker = fuzzer.Worker(tmp_path / "seeds" / fuzzer.CANARY, [plain.path])
    try:
        assert worker.read(fuzzer.Case(plain, "none", plain.path, False)) == ("equal", "")
        worker.trust = True
        assert worker.read(fuzzer.Case(hostile, "none", hostile.path, False))[0] == "EXECUTED"
        worker.process.kill()
        outcome, detail = worker.read(fuzzer.Case(plain, "none", plain.path, False))
        assert (outcome, detail) == ("CRASH", "the process ended with -9")
    finally:
        worker.stop()
    assert fuzzer.forbidden(fuzzer.Case(plain, "none", plain.path, False), "other weights")
    assert not fuzzer.forbidden(fuzzer.Case(plain, "none", plain.path, True), "other weights")


def test_every_kind_of_damage_damages(fuzzer: ModuleType, tmp_path: Path) -> None:
    """Each changes most files, and the same seed makes the same damage."""
    path = next(s.path for s in fuzzer.make_seeds(tmp_path) if s.name == "torch.save (zip)")
    data = path.read_bytes()
    for change in (*fuzzer.PLAIN, fuzzer.reseal):
        made = [change(random.Random(i), data) for i in range(20)]
        assert sum(result != data for result in made) >= 15, change.__name__
        assert len(set(made)) > 10, change.__name__
        if change is not fuzzer.reseal:  # zipfile writes the time of day
            assert made[3] == change(random.Random(3), data)
