"""Data sets as people really have them: odd names, lone classes, links to themselves, damage anywhere."""

from __future__ import annotations

import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repdiag.errors import DataError
from repdiag.sources import open_source
from repdiag.types import Manifest

SPLIT = {
    "train/Äpfel/eins.png": 1,
    "train/Äpfel/zwei.PNG": 2,
    "train/猫/一.png": 3,
    "test/Äpfel/drei.png": 4,
    "test/猫/二 .png": 5,
}


def make(root: Path, images: dict[str, int]) -> Path:
    """A folder of 3 x 3 PNGs, each of one color."""
    for name, color in images.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (color, 0, 0)).save(path, "PNG")
    return root


def pack(folder: Path, kind: str) -> Path:
    """What `zip -r` and `tar -c` make of the folder."""
    made = shutil.make_archive(str(folder), {"tar.gz": "gztar"}.get(kind, kind), folder.parent, folder.name)
    return Path(made)


def listing(manifest: Manifest) -> list[tuple[str, str | None, bool | None]]:
    """(path below the wrapper, class, train) of every image."""
    names: list[str | None] = [None] * len(manifest)
    if manifest.labels is not None:
        names = [manifest.class_names[label] for label in manifest.labels]
    train = [None] * len(manifest) if manifest.is_train is None else manifest.is_train.tolist()
    return list(zip(manifest.paths, names, train, strict=True))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_means_what_its_folder_means(tmp_path: Path, kind: str) -> None:
    """Same classes, split and bytes, with names in any script; only the wrapper that tools add is more."""
    root = make(tmp_path / "data", SPLIT)
    (root / "Thumbs.db").write_bytes(b"x")
    plain, packed = open_source(str(root)), open_source(str(pack(root, kind)))
    assert listing(plain.manifest) == [
        ("test/Äpfel/drei.png", "Äpfel", False),
        ("test/猫/二 .png", "猫", False),
        ("train/Äpfel/eins.png", "Äpfel", True),
        ("train/Äpfel/zwei.PNG", "Äpfel", True),
        ("train/猫/一.png", "猫", True),
    ]
    assert [(path.removeprefix("data/"), *more) for path, *more in listing(packed.manifest)] == listing(
        plain.manifest
    )
    assert [packed.read(i) for i in range(5)] == [plain.read(i) for i in range(5)]


def test_a_class_may_have_one_image(tmp_path: Path) -> None:
    manifest = open_source(str(make(tmp_path, {"a/1.png": 1, "a/2.png": 2, "b/1.png": 3}))).manifest
    assert manifest.labels is not None
    assert np.bincount(manifest.labels).tolist() == [2, 1]


def test_a_folder_of_only_test_has_no_split(tmp_path: Path) -> None:
    manifest = open_source(str(make(tmp_path, {"test/a/1.png": 1, "test/b/1.png": 2}))).manifest
    assert listing(manifest) == [("test/a/1.png", "a", None), ("test/b/1.png", "b", None)]


def test_twenty_thousand_files_are_listed_in_order(tmp_path: Path) -> None:
    for label in range(20):
        folder = tmp_path / f"{label:02d}"
        folder.mkdir()
        for i in range(1000):
            (folder / f"{i:04d}.jpg").touch()
    manifest = open_source(str(tmp_path)).manifest
    assert len(manifest) == 20_000
    assert list(manifest.paths) == sorted(manifest.paths)
    assert manifest.labels is not None
    assert manifest.labels.tolist() == [i // 1000 for i in range(20_000)]


# ------------------------------------------------------------------------------------------ fingerprint


def test_the_fingerprint_does_not_depend_on_what_is_no_image_or_where_the_folder_is(tmp_path: Path) -> None:
    root = make(tmp_path / "data", SPLIT)
    first = open_source(str(root)).manifest.fingerprint
    (root / "readme.txt").write_text("x")
    (root / "train/.DS_Store").write_text("x")
    os.utime(root / "train")
    moved = root.rename(tmp_path / "elsewhere")
    assert open_source(str(moved)).manifest.fingerprint == first
    assert open_source(f"{moved}/").manifest.fingerprint == first


@pytest.mark.parametrize("change", ["content", "label", "split", "more", "fewer"])
def test_the_fingerprint_changes_with_any_image(tmp_path: Path, change: str) -> None:
    root = make(tmp_path / "data", SPLIT)
    first = open_source(str(root)).manifest.fingerprint
    image = root / "train/Äpfel/eins.png"
    if change == "content":
        Image.new("RGB", (50, 50)).save(image)
    elif change == "label":
        image.rename(root / "train/猫/eins.png")
    elif change == "split":
        image.rename(root / "test/Äpfel/eins.png")
    elif change == "more":
        make(root, {"train/Äpfel/neu.png": 9})
    else:
        image.unlink()
    assert open_source(str(root)).manifest.fingerprint != first


def test_the_fingerprint_of_a_zip_sees_its_content_not_its_date(tmp_path: Path) -> None:
    path = pack(make(tmp_path / "data", SPLIT), "zip")
    first = open_source(str(path)).manifest.fingerprint
    os.utime(path, (1, 1))
    assert open_source(str(path)).manifest.fingerprint == first
    again = pack(make(tmp_path / "data", {**SPLIT, "train/猫/一.png": 7}), "zip")
    assert open_source(str(again)).manifest.fingerprint != first


# ------------------------------------------------------------------------------------------ hostile, broken


@pytest.mark.parametrize("name", ["loop.png", "loop"])
def test_a_link_to_itself_does_not_stop_the_listing(tmp_path: Path, name: str) -> None:
    make(tmp_path, {"1.png": 1, "2.png": 2})
    (tmp_path / name).symlink_to(name)
    source = open_source(str(tmp_path))
    assert source.manifest.paths == ("1.png", "2.png", *([name] if name.endswith(".png") else []))
    if name.endswith(".png"):
        with pytest.raises(OSError, match="symbolic links"):
            source.read(2)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/data", "a\0b"])
def test_a_path_that_cannot_be_is_said_not_to_exist(path: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_source(path)


def test_a_tar_that_climbs_out_writes_nothing(tmp_path: Path) -> None:
    """Listing and reading leave the folder above, and every other one, as they were."""
    image = make(tmp_path / "made", {"x.png": 1}) / "x.png"
    path = tmp_path / "inner" / "x.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../../escaped.png", str(tmp_path / "absolute.png"), "a/../../b.png"):
            archive.add(image, name)
    before = sorted(tmp_path.rglob("*"))
    source = open_source(str(path), labeled=False)
    assert {source.read(i) for i in range(len(source.manifest))} == {image.read_bytes()}
    assert len(source.manifest) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_entry_that_says_300_megabytes_is_not_read(tmp_path: Path) -> None:
    path = pack(make(tmp_path / "data", {"a.png": 1, "b.png": 2}), "zip")
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    entry = entry if b"a.png" in content[entry : entry + 60] else content.index(b"PK\x01\x02", entry + 4)
    struct.pack_into("<I", content, entry + 24, 300 * 2**20)
    path.write_bytes(content)
    source = open_source(str(path))
    index = next(i for i, name in enumerate(source.manifest.paths) if name.endswith("a.png"))
    with pytest.raises(OSError, match="300 MB; the limit is 256 MB"):
        source.read(index)
    assert source.read(1 - index)


@pytest.mark.parametrize(
    ("container", "method"),
    [("zip", m) for m in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)]
    + [(kind, None) for kind in ("tar", "tar.gz", "tar.xz", "tar.bz2")],
)
def test_damage_anywhere_is_an_error_in_words(tmp_path: Path, container: str, method: int | None) -> None:
    """Whatever byte is wrong: the archive is refused, or an image is, or nothing is noticed; never a crash."""
    noise = np.random.default_rng(0)
    whole = tmp_path / f"whole.{container}"
    if method is not None:
        with zipfile.ZipFile(whole, "w", method) as archive:
            for name in ("a/1.png", "a/2.png", "b/3.png"):
                archive.writestr(name, noise.bytes(300))
    else:
        data = tmp_path / "data"
        data.mkdir()
        for name in ("1.png", "2.png", "3.png"):
            (data / name).write_bytes(noise.bytes(300))
        with tarfile.open(whole, "w:" + (container.partition(".")[2])) as tar:
            tar.add(data, "data")
    content = whole.read_bytes()
    refused = 0
    for trial in range(150):
        damaged = bytearray(content)
        for place in noise.integers(0, len(content), size=1 + trial % 8):
            damaged[place] = noise.integers(256)
        path = tmp_path / f"damaged.{container}"
        path.write_bytes(damaged)
        try:
            source = open_source(str(path))
        except DataError:
            refused += 1
            continue
        for i in range(len(source.manifest)):
            try:
                source.read(i)
            except OSError:
                refused += 1
    assert refused
