"""Files of embeddings that people save by accident or with another tool, and damage anywhere in them."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repdiag.errors import DataError
from repdiag.sources import read_embeddings

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path / "x.npz", **arrays)
    return str(path / "x.npz")


def refused(path: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        read_embeddings(str(path))
    return str(caught.value)


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# ------------------------------------------------------------------------------------------ numpy's files


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "raw.npz", "raw.npy"])
def test_pickled_objects_are_refused_and_never_unpickled(tmp_path: Path, name: str) -> None:
    sung = tmp_path / "sung"
    objects = np.empty(6, dtype=object)
    objects[:] = [Canary(sung) for _ in range(6)]
    path = tmp_path / name
    if name == "x.npz":
        np.savez(path, X=X, labels=objects)
    elif name == "x.npy":
        np.save(path, objects)
    else:
        path.write_bytes(pickle.dumps(Canary(sung)))
    assert "pickled Python objects" in refused(path)
    assert not sung.exists()


def test_an_npz_named_npy_is_told_apart(tmp_path: Path) -> None:
    Path(npz(tmp_path, X=X)).rename(tmp_path / "x.npy")
    assert "Rename it to .npz" in refused(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", X)
    (tmp_path / "y.npy").rename(tmp_path / "y.npz")
    assert "Rename it to .npy" in refused(tmp_path / "y.npz")


def test_members_of_an_npz_that_are_no_arrays_are_passed_over(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, X)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("mine.npy", buffer.getvalue())
        archive.writestr("readme.txt", b"made yesterday")
    np.testing.assert_array_equal(read_embeddings(str(tmp_path / "x.npz")).features, X)


def test_an_encrypted_npz_is_refused(tmp_path: Path) -> None:
    path = Path(npz(tmp_path, X=X))
    content = bytearray(path.read_bytes())
    for place in (6, content.index(b"PK\x01\x02") + 8):
        content[place] |= 1
    path.write_bytes(content)
    assert "encrypted" in refused(path)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint16", ">f8", "longdouble"])
def test_npy_of_any_numbers_in_any_order(tmp_path: Path, dtype: str, order: Any) -> None:
    values = np.array((X * 10).round(), dtype=dtype if "u" not in dtype else "float32", order=order)
    np.save(tmp_path / "x.npy", np.abs(values).astype(dtype, order=order))
    found = read_embeddings(str(tmp_path / "x.npy"))
    assert found.features.dtype == np.float32
    assert found.features.flags.c_contiguous
    np.testing.assert_array_equal(found.features, np.abs((X * 10).round()))


@pytest.mark.parametrize("array", [np.float32(3), np.zeros(5, np.float32), np.array(["a", "b"])])
def test_npy_that_holds_no_table_is_refused(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "x.npy", array)
    assert "not (samples, features)" in refused(tmp_path / "x.npy") or "not numbers" in refused(
        tmp_path / "x.npy"
    )


@pytest.mark.parametrize("key", ["labels", "label", "targets", "target", "y"])
@pytest.mark.parametrize("values", [np.array([b"v", b"u"] * 3), np.array([1, 0] * 3, np.uint8)])
def test_labels_under_any_of_their_names(tmp_path: Path, key: str, values: Any) -> None:
    found = read_embeddings(npz(tmp_path, X=X, **{key: values}))
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0] * 3
    assert found.class_names == (("u", "v") if values.dtype.kind == "S" else ("0", "1"))


@pytest.mark.parametrize(
    "split", [[True, False] * 3, [1, 0] * 3, ["Train", "VAL"] * 3, [b"train", b"test"] * 3]
)
def test_a_split_in_any_of_its_forms(tmp_path: Path, split: list[Any]) -> None:
    for key in ("split", "is_train"):
        found = read_embeddings(npz(tmp_path, X=X, **{key: np.array(split)}))
        assert found.is_train is not None
        assert found.is_train.tolist() == [True, False] * 3


def test_ids_may_be_numbers_and_repeat(tmp_path: Path) -> None:
    found = read_embeddings(npz(tmp_path, X=X, id=np.array([7, 8, 7, 9, 8, 7])))
    assert found.ids == ("7", "8", "7#2", "9", "8#2", "7#3")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.array([0, 1, np.inf, 0, 1, 0])}, "labels are fractions"),
        ({"y": np.array([0, 1, 2**63 + 5, 0, 1, 0], np.uint64)}, "larger than 64-bit"),
        ({"y": np.array([0, 1e30, 1, 0, 1, 0])}, "larger than 64-bit"),
        ({"y": np.array(3)}, "labels are of shape ()"),
        ({"y": np.eye(6)}, "labels are of shape (6, 6)"),
        ({"y": np.arange(6), "class_names": np.array("a")}, "class names are of shape ()"),
        ({"y": np.arange(6), "class_names": np.array([list("abcdef")])}, "class names are of shape (1, 6)"),
        ({"y": np.array([0, 1] * 3), "class_names": np.array(["a", "a"])}, "not distinct"),
        ({"ids": np.arange(5)}, "ids are of shape (5,) for 6"),
        ({"split": np.array(["train"] * 7)}, "split are of shape (7,) for 6"),
        ({"views": np.zeros((1, 0, 4)), "view_rows": np.zeros(0, int)}, "hold nothing"),
        ({"views": np.zeros((0, 6, 4))}, "hold nothing"),
        ({"views": np.zeros((2, 6, 3))}, "do not fit"),
        ({"views": X}, "not (views, samples, features)"),
        ({"views": X[None], "view_rows": np.arange(6) * 0.5}, "do not fit"),
    ],
)
def test_contradictions_are_told_in_their_own_words(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    assert words in refused(npz(tmp_path, X=X, **arrays))


# ------------------------------------------------------------------------------------------ parquet


def test_parquet_texts_may_be_bytes(tmp_path: Path) -> None:
    table = {
        "embedding": X.tolist(),
        "label": [b"caf\xc3\xa9", b"u"] * 3,
        "id": [b"%d" % i for i in range(6)],
    }
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    found = read_embeddings(str(tmp_path / "x.parquet"))
    assert found.class_names == ("café", "u")
    assert found.ids == ("0", "1", "2", "3", "4", "5")


def test_parquet_in_many_row_groups_below_a_folder_that_looks_like_a_partition(tmp_path: Path) -> None:
    (tmp_path / "seed=3").mkdir()
    path = tmp_path / "seed=3/x.parquet"
    columns = {f"f{i}": X[:, i] for i in range(4)}
    pq.write_table(pa.table({**columns, "is_train": [True, False] * 3}), path, row_group_size=2)
    found = read_embeddings(str(path))
    np.testing.assert_array_equal(found.features, X)
    assert found.is_train is not None
    assert found.is_train.tolist() == [True, False] * 3


@pytest.mark.parametrize("index", [None, list("fedcba")])
def test_a_data_frame_as_pandas_writes_it(tmp_path: Path, index: list[str] | None) -> None:
    frame = pd.DataFrame(X.astype(np.float64), columns=[f"dim_{i}" for i in range(4)], index=index)
    frame["label"] = pd.Categorical(["b", "a"] * 3)
    frame.to_parquet(tmp_path / "x.parquet")
    found = read_embeddings(str(tmp_path / "x.parquet"))
    np.testing.assert_array_equal(found.features, X)
    assert found.class_names == ("a", "b")


def test_a_data_frame_of_rows_of_arrays(tmp_path: Path) -> None:
    pd.DataFrame({"features": list(X), "target": [3, 5] * 3}).to_parquet(tmp_path / "x.parquet")
    found = read_embeddings(str(tmp_path / "x.parquet"))
    np.testing.assert_array_equal(found.features, X)
    assert found.class_names == ("3", "5")


@pytest.mark.parametrize("rows", [0, 1])
def test_parquet_of_too_few_rows_is_refused(tmp_path: Path, rows: int) -> None:
    for i, table in enumerate(
        ({"embedding": pa.array(X[:rows].tolist(), pa.list_(pa.float32()))}, {"f": X[:rows, 0]})
    ):
        pq.write_table(pa.table(table), tmp_path / f"{i}.parquet")
        assert f"{rows} embeddings" in refused(tmp_path / f"{i}.parquet")


# ------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("form", ["npy", "npz", "compressed.npz", "parquet"])
def test_damage_anywhere_is_a_data_error_or_goes_unnoticed(tmp_path: Path, form: str) -> None:
    """Whatever bytes are wrong, the answer is an EmbeddingSet or a sentence."""
    noise = np.random.default_rng(0)
    path = tmp_path / f"x.{form}"
    if form == "npy":
        np.save(path, X)
    elif form == "parquet":
        pq.write_table(pa.table({"embedding": X.tolist(), "label": ["a", "b"] * 3}), path)
    else:
        save = np.savez if form == "npz" else np.savez_compressed
        save(path, X=X, labels=np.array(["a", "b"] * 3))
    content, words = path.read_bytes(), 0
    for trial in range(200):
        damaged = bytearray(content)
        for place in noise.integers(0, min(len(content), 4000), size=1 + trial % 6):
            damaged[place] = noise.integers(256)
        path.write_bytes(damaged)
        try:
            found = read_embeddings(str(path))
        except DataError:
            words += 1
        else:
            assert np.isfinite(found.features).all()
    assert words
