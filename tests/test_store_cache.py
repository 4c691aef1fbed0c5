"""The cache as whole runs meet it: killed again and again, shared, damaged anywhere, on a disk that is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repdiag.encoders import Encoder, Loading, Preprocessing
from repdiag.errors import OutputError
from repdiag.extraction import EmbedConfig, embed, embedding_key
from repdiag.sources import open_source
from repdiag.store import Store, disk
from repdiag.types import EmbeddingSet

N = 40
CONFIG = EmbedConfig(device="cpu", batch_size=4, view_samples=10, workers=1, max_corrupt=0.2)
BROKEN = {3, 17}


class Net(torch.nn.Module):
    """Counts the images it sees, and may dawdle over each batch."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.seconds, self.seen = torch.nn.Conv2d(3, 6, 3), seconds, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        time.sleep(self.seconds)
        return self.conv(x).relu().mean((2, 3))


def encoder(net: Net, fingerprint: str = "a" * 64) -> Encoder:
    how = Preprocessing(8, 8, "bilinear", (0.5,) * 3, (0.25,) * 3, 3, "test")
    return Encoder(net.eval().requires_grad_(False), "net", "net", 6, how, fingerprint, Loading("test"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(N):
        path = tmp_path / f"data/{i:02d}.png"
        Image.fromarray(noise.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(path)
        if i in BROKEN:
            path.write_bytes(path.read_bytes()[:70])
    return tmp_path


def run(
    root: Path, net: Net | None = None, cached: bool = True, fingerprint: str = "a" * 64, batch_size: int = 4
) -> EmbeddingSet:
    store = Store(root / "cache") if cached else None
    config = replace(CONFIG, batch_size=batch_size)
    return embed(encoder(net or Net(), fingerprint), open_source(str(root / "data")), config, store=store)


def entry(root: Path) -> Path:
    key = embedding_key(encoder(Net()), open_source(str(root / "data")).manifest, CONFIG)
    return Store(root / "cache").folder(key)


def same(one: EmbeddingSet, other: EmbeddingSet) -> bool:
    assert one.views is not None
    assert other.views is not None
    return (
        (one.ids, one.corrupt) == (other.ids, other.corrupt)
        and np.array_equal(one.features, other.features)
        and np.array_equal(one.views.features, other.views.features)
        and np.array_equal(one.views.rows, other.views.rows)
    )


START = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_store_cache as t
root = Path(sys.argv[2])
"""


def child(root: Path, body: str) -> subprocess.Popen[str]:
    """A Python process of its own with this module as `t`."""
    program = START + body
    return subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )


# ------------------------------------------------------------------------------------------ killed, shared


def test_killed_again_and_again_it_ends_with_the_same_bits(root: Path) -> None:
    """kill -9 wherever each run happens to be, once it has finished something more."""
    finished = [0]
    for _ in range(3):
        process = child(root, "t.disk.SYNC_SECONDS = 0.0\nt.run(root, t.Net(0.05))")
        journal = entry(root) / disk.JOURNAL
        while process.poll() is None and (
            not journal.exists() or journal.read_bytes().count(b"\n") <= finished[-1]
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finished.append(journal.read_bytes().count(b"\n"))
    assert finished == sorted(set(finished))  # every run went on from the one before
    assert finished[-1] < N // 4  # and none came to the end
    net = Net()
    resumed = run(root, net)
    assert resumed.provenance["run"]["rows_reused"] == 4 * finished[-1]
    assert same(resumed, run(root, cached=False))
    assert not (set(resumed.ids) & {f"{i:02d}.png" for i in BROKEN})


def test_two_runs_at_once_make_everything_once(root: Path) -> None:
    """The second waits for the first, and takes all from it."""
    body = "net = t.Net(0.02)\nfound = t.run(root, net)\nprint(net.seen, len(found), float(found.features.sum()))"
    answers = [process.communicate(timeout=120) for process in [child(root, body), child(root, body)]]
    alone = Net()
    expected = run(root, alone, cached=False)
    told = sorted((line.split() for line, _ in answers), key=lambda words: int(words[0]))
    assert [words[0] for words in told] == ["0", str(alone.seen)], answers
    assert {tuple(words[1:]) for words in told} == {(str(N - 2), str(float(expected.features.sum())))}
    assert same(run(root), expected)


def test_encoders_of_equal_shape_do_not_share(root: Path) -> None:
    """Another fingerprint, another entry: neither finds nor spoils what the first made."""
    first = run(root)
    other = Net()
    other.conv.weight.data += 1
    second = run(root, other, fingerprint="b" * 64)
    assert other.seen > 0
    assert not np.array_equal(first.features, second.features)
    untouched = Net()
    assert same(run(root, untouched), first)
    assert untouched.seen == 0


# ------------------------------------------------------------------------------------------ damaged


@pytest.mark.parametrize("name", ["features.npy", "views.npy", disk.JOURNAL, "meta.json"])
@pytest.mark.parametrize("how", ["changed", "cut", "longer", "zeros"])
def test_damage_anywhere_in_an_entry_never_changes_a_number(root: Path, name: str, how: str) -> None:
    """Whatever happened to a file of the cache, the next run gives what it would give without one."""
    expected = run(root, cached=False)
    noise = np.random.default_rng(0)
    for _ in range(12):
        run(root)
        path = entry(root) / name
        content = bytearray(path.read_bytes())
        place = int(noise.integers(len(content)))
        if how == "changed":
            content[place] ^= 1 << int(noise.integers(8))
        elif how == "cut":
            del content[place:]
        elif how == "longer":
            content += noise.bytes(50)
        else:
            content[place : place + 64] = bytes(min(64, len(content) - place))
        path.write_bytes(content)
        assert same(run(root), expected)


@pytest.mark.parametrize("line", ["row", "reason", "none"])
def test_a_journal_that_names_other_corrupt_images_is_not_believed(root: Path, line: str) -> None:
    """The checksum of a line covers what it says about corrupt images, not only their rows' numbers."""
    expected = run(root)
    journal = entry(root) / disk.JOURNAL
    lines = [json.loads(text) for text in journal.read_text().splitlines()]
    wrong = next(record for record in lines if record["corrupt"])
    row, reason = wrong["corrupt"][0]
    wrong["corrupt"] = {"row": [[row - 1, reason]], "reason": [[row, "another"]], "none": []}[line]
    journal.write_text("".join(json.dumps(record) + "\n" for record in lines))
    net = Net()
    assert same(run(root, net), expected)
    assert net.seen > 0


@pytest.mark.parametrize("rows", [-1, True, 1.5, "40", None])
def test_a_status_is_told_only_of_an_entry_that_makes_sense(root: Path, rows: object) -> None:
    """`--dry-run` reads meta.json without the lock; damage there means that nothing is known."""
    run(root)
    meta = entry(root) / "meta.json"
    key = entry(root).name
    assert Store(root / "cache").status(key) == (N, N)
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"rows": rows}))
    assert Store(root / "cache").status(key) is None
    assert len(run(root)) == N - 2


# ------------------------------------------------------------------------------------------ unusable


def refused(root: Path) -> str:
    with pytest.raises(OutputError) as caught:
        run(root)
    message = str(caught.value)
    assert "--cache" in message
    assert "--no-cache" in message
    return message


@pytest.mark.parametrize("name", ["features.npy", disk.JOURNAL, "meta.json", "lock"])
def test_a_folder_where_a_file_belongs_is_refused_in_a_sentence(root: Path, name: str) -> None:
    """Even root cannot write to a folder as to a file."""
    (entry(root) / name).mkdir(parents=True)
    assert "directory" in refused(root).lower()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_permission_is_refused(root: Path) -> None:
    (root / "cache").mkdir(mode=0o500)
    assert "Permission denied" in refused(root)


FULL = """
import resource
from repdiag.errors import RepdiagError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    t.run(root, batch_size=1)
except RepdiagError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("limit", [100, 1000, 1200])
def test_files_that_may_not_grow_further_are_refused_in_a_sentence(root: Path, limit: int) -> None:
    """RLIMIT_FSIZE stands for a full disk or a quota: at meta.json, at the arrays, and at the journal."""
    body = FULL.format(limit=limit)
    out, err = child(root, body).communicate(timeout=120)
    assert out.startswith("OutputError"), err
    assert "File too large" in out
    assert "--no-cache" in out
    assert same(run(root, batch_size=1), run(root, cached=False, batch_size=1))  # what is left does no harm


def test_the_limits_above_lie_where_they_are_meant_to(root: Path) -> None:
    """The sizes of the files that the limits of the test before cut."""
    run(root, batch_size=1)
    sizes = {path.name: path.stat().st_size for path in entry(root).iterdir()}
    assert 100 < sizes["meta.json"] < 1000 < sizes["features.npy"] < 1200 < sizes[disk.JOURNAL]
