"""Files of ready embeddings: which forms are understood, what is refused in which words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repdiag.errors import DataError
from repdiag.sources import is_embeddings, read_embeddings

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path / "x.npz", **arrays)
    return str(path / "x.npz")


def parquet(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path / "x.parquet")
    return str(path / "x.parquet")


def refused(path: str) -> str:
    with pytest.raises(DataError) as caught:
        read_embeddings(path)
    assert path in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.npz", True), ("a.NPY", True), ("a.parquet", True), ("a", False)]
)
def test_embeddings_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_embeddings(name) is expected


def test_npy_is_mapped_and_read_only(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    found = read_embeddings(str(tmp_path / "x.npy"))
    assert isinstance(found.features, np.memmap)
    assert found.ids == ("0", "1", "2", "3")
    assert found.labels is None
    np.testing.assert_array_equal(found.features, X)


@pytest.mark.parametrize("key", ["embeddings", "features", "X", "x", "anything"])
def test_npz_with_all_that_can_be_known(tmp_path: Path, key: str) -> None:
    views = np.stack([X[[3, 1]], X[[3, 1]] + 1])
    path = npz(
        tmp_path,
        **{key: X},
        labels=np.array(["b", "a", "b", "a"]),
        paths=np.array(["p", "q", "r", "s"]),
        split=np.array(["train", "test", "val", "train"]),
        class_names=np.array(["b", "a"]),
        views=views,
        view_rows=np.array([3, 1]),
    )
    found = read_embeddings(path)
    np.testing.assert_array_equal(found.features, X)
    assert found.labels is not None
    assert [found.class_names[label] for label in found.labels] == ["b", "a", "b", "a"]
    assert found.ids == ("p", "q", "r", "s")
    assert found.is_train is not None
    assert found.is_train.tolist() == [True, False, False, True]
    assert found.views is not None
    assert found.views.rows.tolist() == [1, 3]
    np.testing.assert_array_equal(found.views.features[1], X[[1, 3]] + 1)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", ">f4"])
def test_numbers_become_float32(tmp_path: Path, dtype: str) -> None:
    found = read_embeddings(npz(tmp_path, X=X.astype(dtype)))
    assert found.features.dtype == np.float32
    np.testing.assert_array_equal(found.features, X)


def test_labels_with_gaps_become_consecutive_and_keep_their_names(tmp_path: Path) -> None:
    found = read_embeddings(npz(tmp_path, X=X, y=np.array([10, 2, 7, 10])))
    assert found.class_names == ("2", "7", "10")
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("labels", [[-1] * 4, [np.nan] * 4, [""] * 4])
def test_labels_that_are_all_missing_are_none(tmp_path: Path, labels: list[Any]) -> None:
    assert read_embeddings(npz(tmp_path, X=X, labels=np.array(labels))).labels is None


@pytest.mark.parametrize("split", [[1, 1, 1, 1], ["test"] * 4])
def test_one_part_is_no_split(tmp_path: Path, split: list[Any]) -> None:
    assert read_embeddings(npz(tmp_path, X=X, split=np.array(split))).is_train is None


def test_repeated_ids_are_told_apart(tmp_path: Path) -> None:
    found = read_embeddings(npz(tmp_path, X=X, ids=np.array(["a", "a", "a#2", "a"])))
    assert found.ids == ("a", "a#3", "a#2", "a#4")
    assert len(found.provenance["notes"]) == 1


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": X[:0]}, "0 embeddings"),
        ({"X": X[:1]}, "two rows are the least"),
        ({"X": X[:, :0]}, "of 0 features"),
        ({"X": X.reshape(2, 2, 3)}, "shape (2, 2, 3)"),
        ({"X": X.astype(complex)}, "not numbers"),
        ({"a": X, "b": X}, "unclear which array holds the embeddings: a (4, 3), b (4, 3)"),
        ({"labels": np.arange(4)}, "unclear which array"),
        ({"X": X, "y": np.array([0.5, 1, 2, 0])}, "fractions"),
        ({"X": X, "y": np.arange(3)}, "shape (3,) for 4 embeddings"),
        ({"X": X, "y": np.arange(4), "class_names": np.array(["a", "b"])}, "from 0 to 3"),
        ({"X": X, "y": np.array(list("abca")), "class_names": np.array(["a", "b"])}, "label 'c'"),
        ({"X": X, "split": np.array(["train", "test", "dev", "test"])}, "split 'dev' is unknown"),
        ({"X": X, "split": np.array([0.5, 1, 0, 0])}, "neither text nor"),
        ({"X": X, "views": X[None]}, ""),
        ({"X": X, "views": X[None, :2]}, "do not fit"),
        ({"X": X, "views": X[None, :2], "view_rows": np.array([1, 4])}, "below 4"),
        ({"X": X, "views": X[None, :2], "view_rows": np.array([1, 1])}, "distinct"),
        ({"X": X, "views": X[None, :2] * np.nan, "view_rows": np.array([1, 2])}, "views hold NaN"),
        ({"X": X, "y": np.array([{}, 1, 2, 3], dtype=object)}, "pickled Python objects"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    path = npz(tmp_path, **arrays)
    if not words:  # views of every row need no view_rows
        assert read_embeddings(path).views is not None
        return
    assert words in refused(path)


def test_rows_that_are_not_finite_are_counted_and_named(tmp_path: Path) -> None:
    bad = X.astype(np.float64)
    bad[1, 0], bad[2, 1], bad[3, 2] = np.nan, np.inf, 1e300  # the last is infinite in float32
    message = refused(npz(tmp_path, X=bad, ids=np.array(list("abcd"))))
    assert "3 of 4 embeddings hold NaN or infinity: b, c, d" in message


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.parquet"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 50, b"PK\x03\x04" + b"\0" * 60, b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    message = refused(str(tmp_path / name))
    assert re.search("no whole|pickled", message)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for name in (npz(tmp_path, X=X), parquet(tmp_path, embedding=X.tolist())):
        Path(name).write_bytes(Path(name).read_bytes()[:-40])
        assert "no whole" in refused(name)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.large_list(pa.float16()), pa.list_(pa.int64())],
)
def test_parquet_with_a_column_of_lists(tmp_path: Path, kind: pa.DataType) -> None:
    lists = pa.array(
        X.astype(np.int64 if kind.value_type == pa.int64() else np.float16).tolist(),
        pa.list_(kind.value_type),
    )
    path = parquet(
        tmp_path,
        embedding=lists.cast(kind),
        label=pa.array(["u", "v", "u", "v"]).dictionary_encode(),
        id=["a", "b", "c", "d"],
        split=["train", "train", "test", "test"],
    )
    found = read_embeddings(path)
    np.testing.assert_array_equal(found.features, X)
    assert found.class_names == ("u", "v")
    assert found.ids == ("a", "b", "c", "d")
    assert found.is_train is not None
    assert found.is_train.tolist() == [True, True, False, False]


def test_parquet_with_a_column_per_feature(tmp_path: Path) -> None:
    path = parquet(tmp_path, f0=X[:, 0], f1=X[:, 1], label=[3, 1, 3, 1], f2=X[:, 2], index=[9, 9, 9, 9])
    found = read_embeddings(path)
    np.testing.assert_array_equal(found.features, X)
    assert found.class_names == ("1", "3")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": ["a", "b"]}, "no column of embeddings"),
        ({"embedding": [[1.0, 2.0], [1.0]]}, "differ in length"),
        ({"embedding": [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]}, "differ in length"),
        ({"embedding": [[1.0, 2.0], None]}, "nulls"),
        ({"embedding": [[1.0, None], [1.0, 2.0]]}, "nulls"),
        ({"embedding": [["a"], ["b"]]}, "no numbers"),
        ({"f0": [1.0, None, 2.0]}, "1 of 3 embeddings hold NaN"),
    ],
)
def test_parquet_contradictions_are_refused(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    assert words in refused(parquet(tmp_path, **columns))


def test_a_folder_is_no_file_of_embeddings(tmp_path: Path) -> None:
    assert "no file of embeddings" in refused(str(tmp_path))
    assert "no such file" in refused(str(tmp_path / "gone.npz"))
