"""Listing a folder: every file is asked for its size and time, or, on request, an unchanged folder is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repdiag.errors import OutputError, UsageError
from repdiag.sources import listing, listing_cache, open_source
from repdiag.sources.images import Images


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six images in two class folders, with other files and a link; old enough to be believed."""
    root = tmp_path / "data"
    for name in ("b", "a", "a-b"):
        (root / name).mkdir(parents=True)
        for i in (2, 10, 1):
            (root / name / f"{i}.png").write_bytes(name.encode() * i)
    (root / "a/notes.txt").write_text("x")
    (root / "b/link.png").symlink_to("../a/1.png")
    (root / "b/gone.png").symlink_to("nowhere.png")
    age(root)
    return root


def age(root: Path) -> None:
    for folder in (root, *(each for each in root.rglob("*") if each.is_dir())):
        os.utime(folder, ns=(10**18, folder.stat().st_mtime_ns - 10**13))


def trusted(root: Path, cache: Path) -> Images:
    return open_source(str(root), trust_listing=True, listings=cache)


def test_a_kept_listing_gives_what_a_fresh_one_gives(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = open_source(str(data))
    first = trusted(data, tmp_path / "cache")
    scanned: list[str] = []
    asked: list[str] = []
    monkeypatch.setattr(listing, "_scan", lambda *a: scanned.append(a[0]))
    monkeypatch.setattr(listing, "stamp", lambda path: asked.append(path))
    second = trusted(data, tmp_path / "cache")
    assert scanned == asked == []
    for found in (first, second):
        assert found.manifest.paths == fresh.manifest.paths
        assert found.manifest.fingerprint == fresh.manifest.fingerprint
        assert found.notes == fresh.notes
        assert [found.read(i) for i in (0, 8)] == [fresh.read(i) for i in (0, 8)]


@pytest.mark.parametrize("change", ["more", "fewer", "renamed", "replaced", "folder"])
def test_a_changed_folder_is_looked_through_again_and_only_that(
    data: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trusted(data, tmp_path / "cache").manifest
    if change == "more":
        (data / "a/3.png").write_bytes(b"x")
    elif change == "fewer":
        (data / "a/10.png").unlink()
    elif change == "renamed":
        (data / "a/10.png").rename(data / "a/11.png")
    elif change == "replaced":  # as most programs write: a new file in the old one's place
        (data / "new").write_bytes(b"another")
        (data / "new").rename(data / "a/10.png")
    else:
        (data / "a/deeper").mkdir()
        (data / "a/deeper/1.png").write_bytes(b"x")
    scanned: list[str] = []
    scan = listing._scan
    monkeypatch.setattr(listing, "_scan", lambda *a: (scanned.append(a[1]), scan(*a))[1])
    after = trusted(data, tmp_path / "cache").manifest
    assert "a/" in scanned
    assert "b/" not in scanned
    assert after.fingerprint == open_source(str(data)).manifest.fingerprint != before.fingerprint


def test_without_trust_a_file_rewritten_in_place_is_seen_and_with_it_not(data: Path, tmp_path: Path) -> None:
    """What --trust-listing gives up, as its page says: writing into a file leaves the folder's time alone."""
    old = trusted(data, tmp_path / "cache").manifest.fingerprint
    with (data / "a/1.png").open("ab") as file:
        file.write(b"more")
    assert trusted(data, tmp_path / "cache").manifest.fingerprint == old
    assert open_source(str(data)).manifest.fingerprint != old


def test_a_folder_that_changed_a_moment_ago_is_not_believed(data: Path, tmp_path: Path) -> None:
    os.utime(data / "a")
    trusted(data, tmp_path / "cache")
    kept = listing_cache.load(listing_cache.place_of(tmp_path / "cache", str(data)))
    assert sorted(kept) == ["", "a-b/", "b/"]


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "other"])
def test_a_damaged_kept_listing_is_made_again(data: Path, tmp_path: Path, damage: str) -> None:
    fresh = trusted(data, tmp_path / "cache").manifest.fingerprint
    path = listing_cache.place_of(tmp_path / "cache", str(data))
    whole = path.read_bytes()
    content = {
        "cut": whole[: len(whole) // 2],
        "noise": os.urandom(500),
        "empty": b"",
        "other": whole.replace(b"1.png", b"7.png"),
    }
    path.write_bytes(content[damage])
    assert trusted(data, tmp_path / "cache").manifest.fingerprint == fresh
    assert listing_cache.load(path)


def test_two_roots_have_listings_of_their_own(data: Path, tmp_path: Path) -> None:
    one, two = trusted(data / "a", tmp_path / "cache"), trusted(data / "b", tmp_path / "cache")
    assert one.manifest.fingerprint != two.manifest.fingerprint
    assert len(list((tmp_path / "cache/listings").iterdir())) == 2


def test_trust_needs_a_place_that_can_be_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a cache"):
        open_source(str(data), trust_listing=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="listing cannot be kept"):
        trusted(data, tmp_path / "file")


def test_slow_drives_are_asked_in_parallel_with_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(1300):
            (tmp_path / name / f"{i}.png").write_bytes(b"x" * (i % 7))
    alone = open_source(str(tmp_path)).manifest.fingerprint
    pools: list[int] = []
    pool = listing.ThreadPoolExecutor
    monkeypatch.setattr(listing, "ThreadPoolExecutor", lambda n, **k: (pools.append(n), pool(n, **k))[1])
    monkeypatch.setattr(listing, "SLOW_SECONDS", 0.0)
    assert open_source(str(tmp_path)).manifest.fingerprint == alone
    assert pools


def test_splits_can_be_named(data: Path) -> None:
    found = open_source(str(data), eval_split="a", train_split="a-b", labeled=False)
    assert found.manifest.is_train is not None
    assert [path.split("/")[0] for path in found.manifest.paths] == ["a-b"] * 3 + ["a"] * 3
    assert found.manifest.is_train.tolist() == [True] * 3 + [False] * 3
    assert any("left out: b/" in note for note in found.notes)
