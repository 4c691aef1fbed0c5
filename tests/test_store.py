"""The cache of embeddings: what survives a kill, what is believed, who may write."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from repdiag.errors import OutputError
from repdiag.store import MemoryEntry, Shape, Store, default_root, disk, key_of
from repdiag.types import FloatArray

SHAPE = Shape(rows=10, dim=3, views=2, view_rows=np.array([1, 4, 5, 9]))
KEY = key_of({"test": 1})
FEATURES = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
VIEWS = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(disk, "SYNC_SECONDS", 0.0)
    return Store(tmp_path / "cache")


def block(start: int, stop: int) -> tuple[int, FloatArray, FloatArray]:
    return start, FEATURES[start:stop], VIEWS[:, SHAPE.span(start, stop)]


def fill(store: Store, *spans: tuple[int, int]) -> None:
    with store.open(KEY, SHAPE, {}) as entry:
        for span in spans:
            entry.write(*block(*span), {})


def done(store: Store) -> list[int]:
    with store.open(KEY, SHAPE, {}) as entry:
        return np.flatnonzero(entry.done).tolist()


def journal(store: Store) -> Path:
    return store.folder(KEY) / "journal.jsonl"


def test_what_is_written_is_read_by_the_next_process(store: Store) -> None:
    fill(store, (0, 4), (4, 8))
    assert store.status(KEY) == (8, 10)
    with store.open(KEY, SHAPE, {}) as entry:
        assert np.flatnonzero(~entry.done).tolist() == [8, 9]
        entry.write(*block(8, 10), {9: "torn"})
    with store.open(KEY, SHAPE, {}) as entry:
        features, views = entry.arrays()
        assert entry.corrupt == {9: "torn"}
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(views, VIEWS)
    assert isinstance(features, np.memmap)
    assert not features.flags.writeable
    np.testing.assert_array_equal(np.load(store.folder(KEY) / "features.npy"), FEATURES)
    np.testing.assert_array_equal(np.load(store.folder(KEY) / "views.npy"), VIEWS)


def test_memory_and_disk_hold_the_same(store: Store) -> None:
    memory = MemoryEntry(SHAPE)
    with store.open(KEY, SHAPE, {}) as entry:
        for target in (memory, entry):
            target.write(*block(0, 10), {2: "x"})
        for here, there in zip(memory.arrays(), entry.arrays(), strict=True):
            np.testing.assert_array_equal(here, there)
        assert memory.corrupt == entry.corrupt
        assert memory.done.all()


def test_no_entry_has_no_status(store: Store) -> None:
    assert store.status(KEY) is None


def test_a_journal_torn_anywhere_loses_only_what_is_torn(store: Store) -> None:
    fill(store, (0, 4), (4, 8), (8, 10))
    whole = journal(store).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        journal(store).write_bytes(whole[:cut])
        expected = [0, 4, 8, 10][sum(end <= cut for end in ends)]
        assert done(store) == list(range(expected))
    assert journal(store).read_bytes() == whole[: ends[1]]  # the torn end is gone, so appending is safe


def test_rows_that_do_not_match_their_checksum_are_done_again(store: Store) -> None:
    fill(store, (0, 4), (4, 8))
    path = store.folder(KEY) / "features.npy"
    content = bytearray(path.read_bytes())
    content[-6 * 12] ^= 1  # in row 4
    path.write_bytes(content)
    assert done(store) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["features.npy", "views.npy"])
def test_a_lost_or_shortened_array_is_done_again(store: Store, name: str) -> None:
    fill(store, (0, 10))
    path = store.folder(KEY) / name
    path.write_bytes(path.read_bytes()[:-4])
    assert done(store) == []
    fill(store, (0, 10))
    path.unlink()
    assert done(store) == []


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[1]\n", b"nonsense\n", b'{"rows":[5,50],"crc":0,"corrupt":[]}\n']
)
def test_lines_that_make_no_sense_are_passed_over(store: Store, line: bytes) -> None:
    fill(store, (0, 4))
    journal(store).write_bytes(line + journal(store).read_bytes())
    assert done(store) == [0, 1, 2, 3]


@pytest.mark.parametrize("meta", ["", "{}", "[]", None])
def test_an_entry_without_its_description_starts_again(store: Store, meta: str | None) -> None:
    fill(store, (0, 4))
    path = store.folder(KEY) / "meta.json"
    path.unlink() if meta is None else path.write_text(meta)
    assert store.status(KEY) is None
    assert done(store) == []


def test_rows_that_are_not_final_are_not_journaled(store: Store) -> None:
    with store.open(KEY, SHAPE, {}) as entry:
        entry.write(*block(0, 4), {}, final=False)
        assert entry.done[:4].all()
        np.testing.assert_array_equal(entry.arrays()[0][:4], FEATURES[:4])
    assert done(store) == []


def test_an_error_in_the_block_keeps_what_was_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SYNC_SECONDS", 1e9)

    def interrupted() -> None:
        with store.open(KEY, SHAPE, {}) as entry:
            entry.write(*block(0, 4), {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done(store) == [0, 1, 2, 3]


def test_a_second_process_waits_for_the_first(store: Store) -> None:
    program = (
        "import sys; from pathlib import Path; import numpy as np; from repdiag.store import Store, Shape\n"
        "shape = Shape(10, 3, 2, np.array([1, 4, 5, 9]))\n"
        "def waiting(): print('waiting', flush=True)\n"
        "with Store(Path(sys.argv[1])).open(sys.argv[2], shape, {}, waiting) as entry:\n"
        "    print(int(entry.done.sum()), flush=True)\n"
    )
    with store.open(KEY, SHAPE, {}) as entry:
        other = subprocess.Popen(
            [sys.executable, "-c", program, str(store.root), KEY], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
        entry.write(*block(0, 10), {})
    assert other.communicate(timeout=60)[0] == "10\n"
    assert other.returncode == 0


def test_a_killed_process_lets_go_of_its_lock(store: Store) -> None:
    program = (
        "import sys, time; from pathlib import Path; import numpy as np; from repdiag.store import Store, Shape\n"
        "with Store(Path(sys.argv[1])).open(sys.argv[2], Shape(10, 3, 2, np.array([1, 4, 5, 9])), {}) as entry:\n"
        "    print('mine', flush=True); time.sleep(600)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root), KEY], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "mine\n"
    other.kill()
    other.communicate()
    assert done(store) == []


def unusable(store: Store) -> str:
    with pytest.raises(OutputError) as caught:
        fill(store, (0, 4))
    message = str(caught.value)
    assert "--cache" in message
    assert "--no-cache" in message
    assert str(store.root) in message
    return message


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot be used" in unusable(Store(tmp_path / "file"))


def test_a_cache_on_a_disk_that_is_not_writable_is_refused() -> None:
    assert "cannot be used" in unusable(Store(Path("/proc/repdiag")))


def test_a_disk_that_is_too_small_is_refused_before_the_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    assert "more than the disk has free" in unusable(store)
    assert not (store.folder(KEY) / "features.npy").exists()


def test_a_disk_that_fills_up_on_the_way_is_refused_and_what_was_done_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    with store.open(KEY, SHAPE, {}) as entry:
        entry.write(*block(0, 4), {})

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            entry.write(*block(4, 8), {})
        monkeypatch.setattr(os, "fsync", real)
    assert done(store)[:4] == [0, 1, 2, 3]


def test_no_views_take_no_room(store: Store) -> None:
    shape = Shape(4, 3, 0, np.array([], dtype=np.int64))
    with store.open(KEY, shape, {}) as entry:
        entry.write(0, FEATURES[:4], np.zeros((0, 0, 3), np.float32), {})
        features, views = entry.arrays()
    np.testing.assert_array_equal(features, FEATURES[:4])
    assert views.shape == (0, 0, 3)


def test_the_default_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "own"))
    assert default_root() == tmp_path / "own"
    monkeypatch.delenv("REPDIAG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Store().root == tmp_path / "repdiag"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Store().folder("abcd") == tmp_path / "home/.cache/repdiag/ab/abcd"


def test_a_key_does_not_depend_on_the_order_of_its_parts() -> None:
    assert key_of({"a": 1, "b": [1.5, None]}) == key_of({"b": [1.5, None], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": "1"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"a": float("nan")})
