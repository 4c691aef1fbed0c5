"""Images held as arrays of pixels: numpy files, IDX, and CIFAR's own archives, whose pickles are never unpickled."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repdiag.errors import DataError, RepdiagError
from repdiag.sources import is_embeddings, open_source, read_embeddings
from repdiag.sources.unpickle import read_plain
from repdiag.types import ImageSource

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)
Y = np.array([2, 0, 2, 5, 0, 5])


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path / "x.npz", **arrays)
    return str(path / "x.npz")


def seen(source: ImageSource, row: int) -> np.ndarray:
    """The pixels that Pillow reads from the bytes of an image."""
    with Image.open(io.BytesIO(source.read(row))) as image:
        return np.asarray(image)


def labels_of(source: ImageSource) -> list[str]:
    assert source.manifest.labels is not None
    return [source.manifest.class_names[label] for label in source.manifest.labels]


def refused(path: str | Path, **options: Any) -> str:
    with pytest.raises(RepdiagError) as caught:
        open_source(str(path), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------ numpy


@pytest.mark.parametrize("key", ["images", "x", "X", "data", "anything"])
def test_arrays_of_three_or_four_axes_are_images(tmp_path: Path, key: str) -> None:
    for images in (GRAY, COLOR):
        path = npz(tmp_path, **{key: images, "labels": Y})
        assert not is_embeddings(path)
        source = open_source(path)
        assert source.manifest.paths == tuple("012345")
        assert labels_of(source) == ["2", "0", "2", "5", "0", "5"]
        for row in range(6):
            np.testing.assert_array_equal(seen(source, row), images[row])


def test_embeddings_stay_embeddings(tmp_path: Path) -> None:
    features = RNG.normal(size=(6, 4)).astype(np.float32)
    views = np.stack([features, features])
    for arrays in (
        {"X": features},
        {"anything": features},
        {"embeddings": features, "views": views, "images": GRAY},
    ):
        assert is_embeddings(npz(tmp_path, **arrays))
        assert len(read_embeddings(str(tmp_path / "x.npz"))) == 6
    np.save(tmp_path / "x.npy", features)
    assert is_embeddings(str(tmp_path / "x.npy"))


def test_channels_may_come_first_and_values_be_floats_or_bits(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        seen(open_source(npz(tmp_path, x=COLOR.transpose(0, 3, 1, 2))), 2), COLOR[2]
    )
    np.testing.assert_array_equal(seen(open_source(npz(tmp_path, x=GRAY[..., None])), 1), GRAY[1])
    np.testing.assert_array_equal(seen(open_source(npz(tmp_path, x=COLOR / 255)), 3), COLOR[3])
    np.testing.assert_array_equal(
        seen(open_source(npz(tmp_path, x=(COLOR / 255).astype(np.float16))), 3), COLOR[3]
    )
    np.testing.assert_array_equal(
        seen(open_source(npz(tmp_path, x=GRAY > 99)), 0), (GRAY[0] > 99) * np.uint8(255)
    )
    alpha = np.concatenate([COLOR, GRAY.repeat(2, 2)[:, :, :7, None]], -1)
    np.testing.assert_array_equal(seen(open_source(npz(tmp_path, x=alpha)), 4), alpha[4])


def test_npy_is_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COLOR)
    source = open_source(str(tmp_path / "x.npy"))
    changed = np.load(tmp_path / "x.npy", mmap_mode="r+")
    changed[4] = 7
    changed.flush()
    assert (seen(source, 4) == 7).all()
    assert any("no labels" in note for note in source.notes)


@pytest.mark.parametrize("form", ["{}_images", "images_{}", "x_{}"])
def test_arrays_named_by_split(tmp_path: Path, form: str) -> None:
    """As MedMNIST (train_images) and Keras (x_train) name them, labels in a column of their own."""
    label = form.replace("images", "labels").replace("x", "y")
    arrays = {form.format("train"): GRAY, label.format("train"): Y[:, None]}
    arrays |= {form.format("test"): GRAY[:2], label.format("test"): Y[:2, None]}
    source = open_source(npz(tmp_path, **arrays))
    assert source.manifest.paths[-2:] == ("train/4", "train/5") or source.manifest.paths[-2:] == (
        "test/0",
        "test/1",
    )
    assert source.manifest.is_train is not None
    assert source.manifest.is_train.sum() == 6
    row = source.manifest.paths.index("train/3")
    np.testing.assert_array_equal(seen(source, row), GRAY[3])
    assert labels_of(source)[row] == "5"


def test_class_names_in_the_file_are_used(tmp_path: Path) -> None:
    source = open_source(npz(tmp_path, images=GRAY, labels=Y // 2, class_names=np.array(["u", "v", "w"])))
    assert labels_of(source) == ["v", "u", "v", "w", "u", "w"]


def test_the_fingerprint_of_arrays_sees_their_content(tmp_path: Path) -> None:
    one = open_source(npz(tmp_path, x=GRAY, y=Y)).manifest.fingerprint
    os.utime(tmp_path / "x.npz", (1, 1))
    assert open_source(str(tmp_path / "x.npz")).manifest.fingerprint == one
    other = GRAY.copy()
    other[5, 0, 0] ^= 1
    assert open_source(npz(tmp_path, x=other, y=Y)).manifest.fingerprint != one


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": GRAY.astype(np.int64)}, "type int64, which is no pixel"),
        ({"x": GRAY.astype(np.uint16)}, "type uint16, which is no pixel"),
        ({"x": COLOR / 25}, "floats from 0"),
        ({"x": np.full((6, 4, 4), np.nan)}, "floats from nan"),
        ({"x": COLOR[..., :2]}, "no axis holds 1, 3 or 4 channels"),
        ({"x": COLOR[:, :3]}, "unclear which axis"),
        ({"x": COLOR[:, :0]}, "images without pixels"),
        ({"x": COLOR[:1]}, "only one image"),
        ({"x": COLOR[:0]}, "no images"),
        ({"x": COLOR, "y": Y[:4]}, "4 labels for 6 images"),
        ({"x": COLOR, "y": np.eye(6)}, "labels 'y' are of shape (6, 6)"),
        ({"x": COLOR, "y": Y * 0.3}, "labels are fractions"),
        ({"x": COLOR, "y": Y, "class_names": np.array(["a"])}, "from 0 to 5, but there are 1 class names"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    assert words in refused(npz(tmp_path, **arrays))


def test_a_float_image_out_of_range_is_unreadable(tmp_path: Path) -> None:
    images = np.zeros((1000, 2, 2))
    images[501] = 1.5
    source = open_source(npz(tmp_path, x=images))
    assert seen(source, 500).max() == 0
    with pytest.raises(OSError, match="outside 0 to 1"):
        source.read(501)


def test_a_damaged_numpy_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = Path(npz(tmp_path, x=GRAY))
    path.write_bytes(path.read_bytes()[:-40])
    for say in (open_source, is_embeddings):
        with pytest.raises(DataError, match=r"no whole \.npz"):
            say(str(path))
    path = Path(npz(tmp_path, x=np.zeros((40, 9, 9), np.uint8), y=np.arange(40)))
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("x.npy").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 900] ^= 255
    path.write_bytes(content)
    assert "no whole .npz" in refused(path)


# ------------------------------------------------------------------------------------------ IDX


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist(folder: Path, packed: bool = False, names: str = "train-{}-{}-ubyte") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, images, labels in (("train", GRAY, Y), ("t10k", GRAY[::-1], Y[::-1])):
        for what, kind, array in (("images", "idx3", images), ("labels", "idx1", labels.astype(np.uint8))):
            name = names.format(what, kind).replace("train", part) + (".gz" if packed else "")
            content = idx(np.ascontiguousarray(array))
            (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("names", ["train-{}-{}-ubyte", "train-{}.{}-ubyte"])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_a_folder_of_mnist_has_its_train_and_test(
    tmp_path: Path, packed: bool, names: str, below: str
) -> None:
    mnist(tmp_path / below, packed, names)
    source = open_source(str(tmp_path))
    assert source.manifest.paths == tuple(f"{split}/{i}" for split in ("test", "train") for i in range(6))
    assert source.manifest.is_train is not None
    assert source.manifest.is_train.tolist() == [False] * 6 + [True] * 6
    np.testing.assert_array_equal(seen(source, 0), GRAY[5])
    np.testing.assert_array_equal(seen(source, 7), GRAY[1])
    assert labels_of(source)[6:] == ["2", "0", "2", "5", "0", "5"]


def test_one_idx_file_is_one_part_with_the_labels_beside_it(tmp_path: Path) -> None:
    mnist(tmp_path)
    source = open_source(str(tmp_path / "t10k-images-idx3-ubyte"))
    assert source.manifest.is_train is None
    assert labels_of(source) == ["5", "0", "5", "2", "0", "2"]
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert open_source(str(tmp_path / "t10k-images-idx3-ubyte")).manifest.labels is None
    assert "not named as one of images" in refused(tmp_path / "train-labels-idx1-ubyte")


def test_a_folder_of_several_sets_is_not_guessed(tmp_path: Path) -> None:
    mnist(tmp_path, names="emnist-letters-train-{}-{}-ubyte")
    mnist(tmp_path, names="emnist-digits-train-{}-{}-ubyte")
    assert "several sets: emnist-digits-, emnist-letters-" in refused(tmp_path)
    assert len(open_source(str(tmp_path / "emnist-letters-train-images-idx3-ubyte")).manifest) == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG" + bytes(90), "no IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x08\x03\0\0", "ends in its header"),
        (idx(GRAY)[:-1], "but it holds"),
        (idx(GRAY) + b"x", "but it holds more"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "the limit is 16 GB"),
        (idx(GRAY.astype(">i4"), 12), "which is no pixel"),
        (idx(GRAY[0]), "not (N, H, W)"),
        (idx(GRAY[:5]), "6 labels for 5 images"),
    ],
)
def test_a_wrong_idx_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    assert words in refused(tmp_path / "train-images-idx3-ubyte")


def test_a_cut_off_gz_is_refused(tmp_path: Path) -> None:
    path = mnist(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:5], b"x" * 50, whole[:30] + b"\xff\xff" + whole[32:]):
        path.write_bytes(content)
        assert "whole .gz" in refused(path) or "but it holds" in refused(path)


# ------------------------------------------------------------------------------------------ CIFAR


def batch(labels: list[int], seed: int, coarse: list[int] | None = None) -> dict[str, Any]:
    data = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    if coarse is None:
        return {"batch_label": "x", "labels": labels, "data": data, "filenames": ["x.png"] * len(labels)}
    return {
        "data": data,
        "fine_labels": labels,
        "coarse_labels": coarse,
        "filenames": ["x.png"] * len(labels),
    }


class Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as in the files that CIFAR's authors publish."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, value: bytes) -> None:
        short = len(value) < 256
        self.write((b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value))) + value)

    dispatch[bytes] = save_bytes


def python2(found: Any) -> bytes:
    def old(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            return {old(key): old(each) for key, each in value.items()}
        return [old(each) for each in value] if isinstance(value, list) else value

    buffer = io.BytesIO()
    Python2(buffer, protocol=2).dump(old(found))
    return buffer.getvalue().replace(b"numpy._core", b"numpy.core")


def bytes_again(found: Any) -> bytes:
    """Read with encoding="bytes" and written again by Python 3."""
    return pickle.dumps({key.encode(): each for key, each in found.items()}, protocol=2)


def cifar10(folder: Path, dump: Any = python2) -> Path:
    folder.mkdir(parents=True)
    for i in range(1, 6):
        (folder / f"data_batch_{i}").write_bytes(dump(batch([i % 3, 1], i)))
    (folder / "test_batch").write_bytes(dump(batch([2, 0, 1], 9)))
    (folder / "batches.meta").write_bytes(
        dump({"label_names": ["airplane", "automobile", "bird"], "num_vis": 3072})
    )
    return folder


@pytest.mark.parametrize(
    "dump", [python2, bytes_again, pickle.dumps, lambda found: pickle.dumps(found, protocol=0)]
)
def test_cifar_10_is_read_from_its_pickles(tmp_path: Path, dump: Any) -> None:
    source = open_source(str(cifar10(tmp_path / "cifar-10-batches-py", dump)))
    assert source.manifest.class_names == ("airplane", "automobile", "bird")
    assert source.manifest.is_train is not None
    assert source.manifest.is_train.tolist() == [True] * 10 + [False] * 3
    assert labels_of(source)[-3:] == ["bird", "airplane", "automobile"]
    rows = batch([2, 0, 1], 9)["data"].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(seen(source, 11), rows[1])


def test_the_archive_of_cifar_10_is_its_folder(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(folder, folder.name)
    packed, plain = open_source(str(tmp_path / "cifar-10-python.tar.gz")), open_source(str(folder))
    assert packed.manifest.fingerprint == plain.manifest.fingerprint
    assert [packed.read(i) for i in range(13)] == [plain.read(i) for i in range(13)]


def test_cifar_100_has_fine_classes_with_coarse_parents(tmp_path: Path) -> None:
    names = {"fine_label_names": ["apple", "bear", "bee"], "coarse_label_names": ["animals", "plants"]}
    (tmp_path / "train").write_bytes(python2(batch([0, 1, 2, 0], 1, [1, 0, 0, 1])))
    (tmp_path / "test").write_bytes(python2(batch([2, 0], 2, [0, 1])))
    (tmp_path / "meta").write_bytes(python2(names))
    source = open_source(str(tmp_path))
    assert labels_of(source) == ["apple", "bear", "bee", "apple", "bee", "apple"]
    assert source.manifest.parents == ("plants", "animals", "animals")
    coarse = open_source(str(tmp_path), level="coarse")
    assert labels_of(coarse) == ["plants", "animals", "animals", "plants", "animals", "plants"]
    (tmp_path / "test").write_bytes(python2(batch([2, 0], 2, [1, 1])))
    assert "two coarse" in refused(tmp_path)


@pytest.mark.parametrize("hundred", [False, True])
def test_the_binary_version_is_read_too(tmp_path: Path, hundred: bool) -> None:
    pixels = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
    fine, coarse = np.array([[1], [0], [1], [2]], np.uint8), np.array([[1], [0], [1], [0]], np.uint8)
    rows = np.concatenate([coarse, fine, pixels] if hundred else [fine, pixels], 1).tobytes()
    for name in (
        ("train.bin", "test.bin")
        if hundred
        else (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
    ):
        (tmp_path / name).write_bytes(rows)
    (tmp_path / ("fine_label_names.txt" if hundred else "batches.meta.txt")).write_text("a\nb\nc\n\n")
    (tmp_path / "coarse_label_names.txt").write_text("u\nv\n")
    source = open_source(str(tmp_path))
    assert labels_of(source)[-4:] == ["b", "a", "b", "c"]
    assert source.manifest.parents == (("u", "v", "u") if hundred else ())
    np.testing.assert_array_equal(seen(source, 2), pixels[2].reshape(3, 32, 32).transpose(1, 2, 0))


def test_only_a_part_of_cifar_is_said_and_a_missing_batch_refused(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "x")
    (folder / "data_batch_3").unlink()
    assert "Batches are missing: data_batch_3" in refused(folder)
    for i in (1, 2, 4, 5):
        (folder / f"data_batch_{i}").unlink()
    source = open_source(str(folder))
    assert len(source.manifest) == 3
    assert source.manifest.is_train is None
    assert "Only the test part is there." in source.notes


# ------------------------------------------------------------------------------------------ hostile pickles


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def hostile(sung: Path) -> dict[str, bytes]:
    path = str(sung).encode()
    array = pickle.dumps(np.zeros(3), protocol=2)
    return {
        "a call": pickle.dumps({"data": Canary(sung)}),
        "a call, old": pickle.dumps(Canary(sung), protocol=0),
        "a class by name": b"cos\nsystem\n(S'mkdir " + path + b"'\ntR.",
        "an instance": b"(S'" + path + b"'\nios\nmkdir\n.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c" + bytes([len(path)]) + path + b"\x85R.",
        "through numpy": array.replace(b"_reconstruct", b"fromfile____"),
        "numpy's ndarray called": b"\x80\x02cnumpy\nndarray\n(M\xff\xffM\xff\xffM\xff\xfftR.",
        "a state for a function": b"\x80\x02c_codecs\nencode\n}(X\x01\x00\x00\x00aK\x01ub.",
        "a state for a class": b"\x80\x02cnumpy\ndtype\n}(X\x05\x00\x00\x00dtypeK\x01ub.",
        "another encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        "a persistent id": b"Pabc\n.",
        "an extension": b"\x80\x02\x82\x01.",
        "a list in itself": b"\x80\x02]q\x00h\x00a.",
        "lists of lists": b"\x80\x02]q\x00" + b"".join(b"](" + b"h\x00" * 99 + b"eq\x00" for _ in range(12)) + b".",
        "bytes of 4 GB": b"\x80\x03B\xff\xff\xff\xffabc.",
        "an array without content": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
        "objects": pickle.dumps(np.array([{}, 3], dtype=object), protocol=2),
        "nothing": b"",
        "no pickle": b"<html>not found</html>",
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(hostile(Path("x"))))
def test_nothing_in_a_pickle_is_ever_run(tmp_path: Path, kind: str) -> None:
    content = hostile(tmp_path / "sung")[kind]
    with pytest.raises(DataError, match="pickle is not read"):
        read_plain(content, "x")
    folder = cifar10(tmp_path / "cifar")
    (folder / "data_batch_2").write_bytes(content)
    assert "pickle is not read" in refused(folder)
    assert not (tmp_path / "sung").exists()
    np.testing.assert_array_equal(
        read_plain(pickle.dumps(np.arange(3)), "x"), np.arange(3)
    )  # nothing has changed


def test_a_pickle_that_numbers_its_references_from_four_billion_costs_nothing() -> None:
    assert read_plain(b"\x80\x02]r\xff\xff\xff\xff.", "x") == []


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "<i4", ">i4", "float64", "bool"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_in_pickles_are_what_they_were(dtype: str, order: Any, protocol: int) -> None:
    array = np.asarray(RNG.integers(0, 2, (3, 4)).astype(dtype), order=order)
    found = read_plain(pickle.dumps({"a": [array, (1, "x", None, 2.5)]}, protocol=protocol), "x")
    np.testing.assert_array_equal(found["a"][0], array)
    assert found["a"][0].dtype == array.dtype
    assert found["a"][1] == [1, "x", None, 2.5]


def test_damage_anywhere_in_a_batch_is_a_sentence_or_goes_unnoticed(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "x")
    whole = (folder / "test_batch").read_bytes()
    noise, words = np.random.default_rng(0), 0
    edges = np.r_[0:600, len(whole) - 300 : len(whole)]  # between them there are only pixels
    for trial in range(300):
        content = bytearray(whole)
        for place in noise.choice(edges, 1 + trial % 4):
            content[place] = noise.integers(256)
        try:
            found = read_plain(bytes(content), "x")
        except DataError:
            words += 1
        else:
            assert isinstance(found, (dict, list, str, bytes, int, float, np.ndarray, type(None)))
    assert words > 50
