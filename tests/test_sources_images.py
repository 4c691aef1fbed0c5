"""Folders and archives of images: what is listed, how it is labeled, what is refused."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repdiag.errors import DataError, RepdiagError
from repdiag.sources import open_source, tars, zipball
from repdiag.sources.layout import arrange

CLASSED = ("cat/1.png", "cat/2.png", "dog/1.png")


def png(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path, names: Iterable[str]) -> Path:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    return root


def zipped(path: Path, names: Iterable[str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, png(seed))
    return path


def tarred(path: Path, names: Iterable[str], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for seed, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = len(png(seed))
            archive.addfile(member, io.BytesIO(png(seed)))
    return path


def labels_of(names: Iterable[str], labeled: bool = True) -> dict[str, str | None]:
    layout = arrange(sorted(names), labeled=labeled, where="here")
    found = [None] * len(layout.names) if layout.labels is None else layout.labels.tolist()
    return {
        name: None if label is None else layout.class_names[label]
        for name, label in zip(layout.names, found, strict=True)
    }


def train_of(names: Iterable[str]) -> set[str] | None:
    layout = arrange(sorted(names), labeled=True, where="here")
    if layout.is_train is None:
        return None
    return {name for name, train in zip(layout.names, layout.is_train, strict=True) if train}


# ------------------------------------------------------------------------------------------ layout


def test_folders_are_classes_in_sorted_order() -> None:
    layout = arrange(CLASSED, labeled=True, where="here")
    assert layout.class_names == ("cat", "dog")
    assert layout.labels is not None
    assert layout.labels.tolist() == [0, 0, 1]
    assert layout.is_train is None


def test_images_in_no_folder_are_unlabeled() -> None:
    assert labels_of(["b.png", "a.png"]) == {"a.png": None, "b.png": None}


@pytest.mark.parametrize("wrapper", ["cifar/", "data/cifar/"])
def test_folders_that_wrap_everything_are_looked_through(wrapper: str) -> None:
    assert labels_of(wrapper + name for name in CLASSED) == {
        wrapper + name: name.split("/")[0] for name in CLASSED
    }


def test_one_folder_of_images_is_a_wrapper_as_zip_tools_make_it() -> None:
    assert set(labels_of(["photos/1.png", "photos/2.png"]).values()) == {None}


def test_one_class_in_a_split_is_a_class() -> None:
    assert set(labels_of(["test/cat/1.png", "test/cat/2.png"]).values()) == {"cat"}


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation", "Test"])
def test_train_beside_an_evaluation_folder_is_a_split(name: str) -> None:
    train = [f"train/{image}" for image in CLASSED]
    names = [*train, f"{name}/cat/9.png", f"{name}/bird/9.png"]
    assert train_of(names) == set(train)
    assert set(labels_of(names).values()) == {"cat", "dog", "bird"}


@pytest.mark.parametrize("name", ["train", "test", "val"])
def test_a_single_split_folder_is_no_split(name: str) -> None:
    names = [f"cifar/{name}/{image}" for image in CLASSED]
    assert train_of(names) is None
    assert set(labels_of(names).values()) == {"cat", "dog"}


def test_a_class_called_train_among_others_is_a_class() -> None:
    names = ["train/1.png", "car/1.png", "bus/1.png"]
    assert set(labels_of(names).values()) == {"train", "car", "bus"}


def test_of_test_and_val_the_labeled_one_counts_and_the_other_is_named() -> None:
    names = [
        "train/cat/1.png",
        "train/dog/1.png",
        "val/cat/1.png",
        "val/dog/1.png",
        "test/1.png",
        "test/2.png",
    ]
    layout = arrange(sorted(names), labeled=True, where="here")
    assert [name for name in layout.names if name.startswith("test")] == []
    assert layout.notes == ("train/ and val/ are read; left out: test/.",)


def test_folders_beside_a_split_are_left_out_and_named() -> None:
    names = ["train/cat/1.png", "test/cat/1.png", "figures/plot.png", "logo.png"]
    layout = arrange(sorted(names), labeled=True, where="here")
    assert layout.names == ("test/cat/1.png", "train/cat/1.png")
    assert "figures/, images outside them" in layout.notes[0]


def test_a_split_without_common_classes_is_said() -> None:
    layout = arrange(["test/b/1.png", "train/a/1.png"], labeled=True, where="here")
    assert layout.notes == ("train/ and test/ have no class in common.",)


def test_deeper_folders_belong_to_their_class() -> None:
    assert labels_of(["Greek/alpha/1.png", "Latin/a/1.png"]) == {
        "Greek/alpha/1.png": "Greek",
        "Latin/a/1.png": "Latin",
    }


@pytest.mark.parametrize(
    "names", [[*CLASSED, "stray.png"], ["train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png"]]
)
def test_images_outside_the_class_folders_are_refused_unless_unlabeled(names: list[str]) -> None:
    with pytest.raises(DataError, match=r"lie outside the class folders.*--unlabeled"):
        labels_of(names)
    assert labels_of(names, labeled=False) == dict.fromkeys(sorted(names))


# ------------------------------------------------------------------------------------------ containers


@pytest.fixture(params=["folder", "zip", "tar", "tar.gz"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """The same images in each container, with a wrapper, a split and clutter."""
    names = [f"set/{part}/{name}" for part in ("train", "test") for name in CLASSED]
    clutter = ["set/._x.png", "__MACOSX/set/train/cat/1.png", "set/.hidden/1.png"]
    if request.param == "folder":
        return folder(tmp_path / "data", [*names, *clutter]), names
    path = tmp_path / f"data.{request.param}"
    if request.param == "zip":
        return zipped(path, [*names, *clutter]), names
    return tarred(path, [*names, *clutter], "w:gz" if request.param == "tar.gz" else "w"), names


def test_every_container_lists_and_reads_the_same(dataset: tuple[Path, list[str]]) -> None:
    path, names = dataset
    source = open_source(str(path))
    assert source.name == str(path)
    assert source.manifest.paths == tuple(sorted(names))
    assert source.manifest.class_names == ("cat", "dog")
    assert source.manifest.is_train is not None
    assert source.manifest.is_train.tolist() == [False] * 3 + [True] * 3
    for index, name in enumerate(source.manifest.paths):
        assert source.read(index) == png(names.index(name))


def test_many_threads_read_what_one_reads(dataset: tuple[Path, list[str]]) -> None:
    source = open_source(str(dataset[0]))
    alone = [source.read(index) for index in range(6)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, list(range(6)) * 100)) == alone * 100


def test_the_fingerprint_is_stable_and_sees_content_labels_and_split(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", CLASSED)
    first = open_source(str(root)).manifest.fingerprint
    assert open_source(str(root)).manifest.fingerprint == first
    assert open_source(str(root), labeled=False).manifest.fingerprint != first
    os.utime(root / "cat/1.png", ns=(1, 1))
    touched = open_source(str(root)).manifest.fingerprint
    (root / "dog").rename(root / "dogs")
    assert len({first, touched, open_source(str(root)).manifest.fingerprint}) == 3


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_s_fingerprint_changes_with_an_image(tmp_path: Path, kind: str) -> None:
    make = {"zip": zipped, "tar": tarred}[kind]
    one = open_source(str(make(tmp_path / f"a.{kind}", CLASSED))).manifest.fingerprint
    two = open_source(str(make(tmp_path / f"b.{kind}", [*CLASSED[1:], CLASSED[0]]))).manifest.fingerprint
    assert one != two


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path, CLASSED)
    (root / "cat/notes.txt").write_text("x")
    (root / "cat/Thumbs.db").write_text("x")
    assert open_source(str(root)).notes == ("Files that are no images were ignored: 2.",)


@pytest.mark.parametrize("ending", ["JPEG", "Png", "bmp", "webp", "tif", "gif", "ppm"])
def test_image_names_end_in_either_case(tmp_path: Path, ending: str) -> None:
    assert len(open_source(str(folder(tmp_path, [f"1.{ending}", f"2.{ending}"]))).manifest) == 2


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", ["cat/1.png", "cat/2.png"])
    (root / "dog").symlink_to(folder(tmp_path / "elsewhere", ["1.png"]))
    (root / "cat/again").symlink_to(root)
    assert open_source(str(root)).manifest.paths == ("cat/1.png", "cat/2.png", "dog/1.png")


def test_a_link_to_nowhere_is_listed_and_fails_to_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", ["1.png"])
    (root / "2.png").symlink_to(tmp_path / "gone.png")
    source = open_source(str(root))
    with pytest.raises(FileNotFoundError):
        source.read(source.manifest.paths.index("2.png"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    root = folder(tmp_path, ["1.png", "2.png"])
    os.mkfifo(root / "3.png")
    assert len(open_source(str(root)).manifest) == 2


def test_names_that_are_not_utf8_are_escaped_and_read(tmp_path: Path) -> None:
    root = folder(tmp_path, ["a.png"])
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.png")).write_bytes(b"bytes")
    source = open_source(str(root))
    assert "\\xff.png" in source.manifest.paths
    assert source.read(source.manifest.paths.index("\\xff.png")) == b"bytes"


@pytest.mark.parametrize("make", [zipped, tarred])
def test_names_that_climb_out_are_only_names(tmp_path: Path, make: type) -> None:
    kind = "zip" if make is zipped else "tar"
    names = ["../../etc/cat/1.png", "/abs/dog/1.png", "./abs/dog/2.png"]
    source = open_source(str(make(tmp_path / f"x.{kind}", names)))
    assert source.manifest.paths == ("abs/dog/1.png", "abs/dog/2.png", "etc/cat/1.png")
    assert {path.name for path in tmp_path.iterdir()} == {f"x.{kind}"}


def test_backslashes_of_windows_zip_tools_separate_folders(tmp_path: Path) -> None:
    source = open_source(str(zipped(tmp_path / "w.zip", [name.replace("/", "\\") for name in CLASSED])))
    assert source.manifest.class_names == ("cat", "dog")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_repeated_name_the_last_counts_and_it_is_said(tmp_path: Path) -> None:
    source = open_source(str(zipped(tmp_path / "d.zip", ["a.png", "b.png", "a.png"])))
    assert source.read(0) == png(2)
    assert source.notes == ("Names that occur twice, of which the later file counts: 1.",)


# ------------------------------------------------------------------------------------------ refusals


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        open_source(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/readme.md").write_text("x")
    folder(tmp_path / "one", ["1.png"])
    assert "no such file" in refused(tmp_path / "gone")
    assert "no data set" in refused(tmp_path / "model.pt")
    assert "no images, nothing" in refused(tmp_path / "empty")
    assert "only 1 other files" in refused(tmp_path / "text")
    assert "only one image" in refused(tmp_path / "one")


def test_embeddings_are_no_images(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 2), np.float32))
    assert "holds embeddings" in refused(tmp_path / "x.npy")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(40)]
    whole = tmp_path / f"whole.{kind}"
    if kind == "zip":
        zipped(whole, names)
    else:
        tarred(whole, names, "w:gz" if kind == "tar.gz" else "w")
    cut = tmp_path / f"cut.{kind}"
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content)) + (100 if share else 0)])
    assert "no whole" in refused(cut)


def test_a_tar_with_a_broken_header_in_the_middle_is_not_read_up_to_there(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", CLASSED)
    content = bytearray(path.read_bytes())
    content[1024 : 1024 + 512] = b"\x07" * 512  # the second member's header
    path.write_bytes(content)
    assert "no whole tar" in refused(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ["a.png", "b.png"])
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refused(path)


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_an_enormous_image_is_not_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from repdiag.sources import folder as folder_module

    names = ["a.png", "b.png"]
    path = {"zip": zipped, "tar": tarred, "folder": folder}[kind](tmp_path / f"x.{kind}", names)
    source = open_source(str(path))
    for module in (zipball, tars, folder_module):
        monkeypatch.setattr(module, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(OSError, match="the limit is"):
        source.read(0)


def test_damage_inside_a_zip_is_an_error_of_that_image_only(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ["a.png", "b.png"])
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    source = open_source(str(path))
    with pytest.raises(OSError, match="damaged in the zip"):
        source.read(0)
    assert source.read(1) == png(1)


def test_a_compressed_tar_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tarred(tmp_path / "x.tar.gz", CLASSED, "w:gz")
    monkeypatch.setattr(tars, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(RepdiagError, match="unpacks to more than"):
        open_source(str(path))


@pytest.mark.shared
def test_real_archives_are_read_as_their_authors_meant() -> None:
    data = Path(__file__).parents[2] / "shared/data"
    expected = {
        "cifar10/cifar10-test-png.zip": (10000, 10),
        "tiny-imagenet/tiny-imagenet-val.zip": (10000, 200),
        "caltech101/caltech101-20.zip": (2020, 101),
        "omniglot/images_background_small1.zip": (2720, 5),
    }
    for name, (images, classes) in expected.items():
        source = open_source(str(data / name))
        assert (len(source.manifest), len(source.manifest.class_names)) == (images, classes)
        assert source.manifest.is_train is None
        with Image.open(io.BytesIO(source.read(images - 1))) as image:
            image.load()
