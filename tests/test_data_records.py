"""Tables with the images in them: parquet, and what Hugging Face's `datasets` writes and loads."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from repdiag.errors import RepdiagError, ResourceError, UsageError
from repdiag.sources import is_embeddings, open_source, records
from repdiag.types import ImageSource


def png(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def table(path: Path, n: int = 6, rows_at_once: int = 2, **columns: Any) -> str:
    """A parquet file of n images in a column `img` of bytes, in several row groups."""
    columns = {"img": [png(i) for i in range(n)], **columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows_at_once)
    return str(path)


def refused(path: str | Path, **options: Any) -> str:
    with pytest.raises(RepdiagError) as caught:
        open_source(str(path), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels_of(source: ImageSource) -> list[str]:
    assert source.manifest.labels is not None
    return [source.manifest.class_names[label] for label in source.manifest.labels]


# ------------------------------------------------------------------------------------------ parquet


def test_parquet_with_bytes_is_images_and_no_embeddings(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", label=["b", "a"] * 3, id=list("uvwxyz"))
    assert not is_embeddings(path)
    source = open_source(path)
    assert source.manifest.paths == tuple("uvwxyz")
    assert labels_of(source) == ["b", "a"] * 3
    order = [5, 0, 3, 1, 4, 2] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, order)) == [png(i) for i in order]


def test_the_struct_of_bytes_and_path_gives_images_and_names(tmp_path: Path) -> None:
    cells = [{"bytes": png(i), "path": f"{i}.png"} for i in range(4)]
    pq.write_table(pa.table({"image": cells, "kind": [1, 0, 1, 0]}), tmp_path / "x.parquet")
    source = open_source(str(tmp_path / "x.parquet"), label_column="kind")
    assert source.manifest.paths == ("0.png", "1.png", "2.png", "3.png")
    assert labels_of(source) == ["1", "0", "1", "0"]
    (tmp_path / "9.png").write_bytes(png(9))
    cells = [
        {"bytes": None, "path": "9.png"},
        {"bytes": None, "path": "8.png"},
        {"bytes": None, "path": None},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), tmp_path / "y.parquet")
    source = open_source(str(tmp_path / "y.parquet"))
    assert source.read(0) == png(9)
    for row in (1, 2):
        with pytest.raises(OSError, match=r"No such file|no bytes"):
            source.read(row)


def test_a_column_of_bytes_of_any_name_can_be_named(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"a": [png(0), png(1)], "b": [b"x", b"y"], "kind": ["p", "q"]}), tmp_path / "x.parquet"
    )
    assert "--path-column" in refused(tmp_path / "x.parquet")
    assert open_source(str(tmp_path / "x.parquet"), path_column="a").read(1) == png(1)


@pytest.mark.parametrize("form", ["data", "folders", "flat"])
def test_a_folder_of_parquet_files_has_its_splits_in_their_names(tmp_path: Path, form: str) -> None:
    names = {
        "data": (
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/test-0.parquet",
        ),
        "folders": ("train/0.parquet", "train/1.parquet", "test/0.parquet"),
        "flat": ("x-train-0.parquet", "x-train-1.parquet", "x-test-0.parquet"),
    }[form]
    for i, name in enumerate(names):
        table(tmp_path / "set" / name, 3, label=[i] * 3)
    (tmp_path / "set/README.md").write_text("x")
    source = open_source(str(tmp_path / "set"))
    assert source.manifest.is_train is not None
    of_split = {
        path: bool(train) for path, train in zip(source.manifest.paths, source.manifest.is_train, strict=True)
    }
    assert of_split == {**{f"train/{i}": True for i in range(6)}, **{f"test/{i}": False for i in range(3)}}
    assert labels_of(source) == {"flat": list("222000111")}.get(form, list("222000111"))
    assert source.read(source.manifest.paths.index("train/4")) == png(1)


def test_damage_to_a_row_group_is_an_error_of_its_images(tmp_path: Path) -> None:
    noise = [np.random.default_rng(i).bytes(3000) for i in range(6)]
    path = table(tmp_path / "x.parquet", img=noise, label=[0, 1] * 3)
    content = bytearray(Path(path).read_bytes())
    at = content.index(noise[0][:64])
    content[4:at] = bytes(at - 4)  # the page header and the lengths before the first image
    Path(path).write_bytes(content)
    source = open_source(path)
    with pytest.raises(OSError, match=r"damaged in x\.parquet"):
        source.read(0)
    assert source.read(5) == noise[5]


def test_parquet_that_is_cut_off_or_too_wide_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "set/x.parquet", label=[0, 1] * 3)
    monkeypatch.setattr(records, "_MAX_GROUP_BYTES", 10)
    with pytest.raises(ResourceError, match="row_group_size"):
        open_source(path)
    Path(path).write_bytes(Path(path).read_bytes()[:-30])
    assert "no whole parquet" in refused(tmp_path / "set")


def test_files_of_different_columns_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "a-train.parquet", label=[0, 1] * 3)
    pq.write_table(pa.table({"other": [b"x"], "label": [1]}), tmp_path / "b-test.parquet")
    assert "not of the same kind" in refused(tmp_path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (pa.array([2**63 + 1, 3], pa.uint64()), "larger than 64-bit integers"),
        (pa.array([[1], [2]]), "A label is [1], not one class"),
        (pa.array([{"a": 1}, None]), "A label is {'a': 1}, not one class"),
        (pa.array([1.5, float("nan")]), "labels are fractions"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: pa.Array, words: str) -> None:
    pq.write_table(pa.table({"image": [png(0), png(1)], "label": labels}), tmp_path / "x.parquet")
    assert words in refused(tmp_path / "x.parquet")


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    cells = pa.array([png(0), png(1)])
    pq.write_table(pa.table([cells, cells], names=["image", "image"]), tmp_path / "x.parquet")
    assert "'image' occurs twice" in refused(tmp_path / "x.parquet")


# ------------------------------------------------------------------------------------------ datasets


def hugging(n: int, start: int = 0) -> Any:
    """A data set as `datasets` makes it: an image feature and a ClassLabel."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ant", "<b>"])}
    )
    rows = {
        "image": [{"bytes": png(start + i), "path": None} for i in range(n)],
        "label": [i % 3 for i in range(n)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_saved_dataset_keeps_its_class_names(tmp_path: Path) -> None:
    hugging(7).save_to_disk(str(tmp_path / "x"), num_shards=2)
    source = open_source(str(tmp_path / "x"))
    assert source.manifest.class_names == ("zebra", "ant", "<b>")
    assert labels_of(source) == ["zebra", "ant", "<b>", "zebra", "ant", "<b>", "zebra"]
    assert [source.read(i) for i in range(7)] == [png(i) for i in range(7)]


def test_a_saved_selection_is_what_was_selected(tmp_path: Path) -> None:
    hugging(9).select([8, 0, 4]).save_to_disk(str(tmp_path / "x"))
    source = open_source(str(tmp_path / "x"))
    assert [source.read(i) for i in range(3)] == [png(8), png(0), png(4)]


def test_a_saved_dict_has_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": hugging(6), "validation": hugging(3, 100), "unused": hugging(2, 200)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "x"))
    source = open_source(str(tmp_path / "x"))
    assert source.manifest.is_train is not None
    assert source.manifest.is_train.tolist() == [True] * 6 + [False] * 3
    assert source.read(6) == png(100)
    assert any("'unused' (2 images)" in note for note in source.notes)
    other = open_source(str(tmp_path / "x"), eval_split="unused", train_split="validation")
    assert [other.read(i) for i in range(5)] == [png(i) for i in (100, 101, 102, 200, 201)]


def test_parquet_as_datasets_writes_it_keeps_its_class_names(tmp_path: Path) -> None:
    hugging(4).to_parquet(str(tmp_path / "x.parquet"))
    source = open_source(str(tmp_path / "x.parquet"))
    assert labels_of(source) == ["zebra", "ant", "<b>", "zebra"]
    assert source.read(3) == png(3)


def test_damaged_and_hostile_folders_are_refused(tmp_path: Path) -> None:
    hugging(5).save_to_disk(str(tmp_path / "x"))
    state = json.loads((tmp_path / "x/state.json").read_text())
    arrow = tmp_path / "x" / state["_data_files"][0]["filename"]
    whole = arrow.read_bytes()
    arrow.write_bytes(whole[: len(whole) // 2])
    assert "no whole Arrow file" in refused(tmp_path / "x")
    for files in ([{"filename": "../../etc/passwd"}], [{"filename": 3}], "x", []):
        (tmp_path / "x/state.json").write_text(json.dumps({"_data_files": files}))
        assert refused(tmp_path / "x")
    (tmp_path / "x/state.json").write_text("{")
    assert "Cannot read state.json" in refused(tmp_path / "x")
    (tmp_path / "x/dataset_dict.json").write_text('{"splits": ["../y"]}')
    assert "names no splits" in refused(tmp_path / "x")


FLIPS = """
import sys, pathlib, numpy as np
from repdiag.errors import DataError
from repdiag.sources import open_source
folder, file = map(pathlib.Path, sys.argv[1:])
whole, noise, refused = file.read_bytes(), np.random.default_rng(0), 0
for trial in range(300):
    content = bytearray(whole)
    for place in noise.integers(0, len(content), 1 + trial % 6): content[place] = noise.integers(256)
    file.write_bytes(content)
    try:
        source = open_source(str(folder))
    except DataError:
        refused += 1
        continue
    for row in range(len(source.manifest)):
        try: source.read(row)
        except OSError: refused += 1
print("refused", refused)
"""


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_bit_flips_are_refused_or_go_unnoticed(tmp_path: Path, form: str) -> None:
    """Offsets that point outside the file must not be followed: in a process of its own, which must not die."""
    if form == "arrow":
        hugging(5).save_to_disk(str(tmp_path / "x"))
    else:
        cells = [{"bytes": png(i), "path": f"{i}.png"} for i in range(12)]
        table(tmp_path / "x/x.parquet", 12, 5, img=cells, label=[0, 1] * 6)
    file = next((tmp_path / "x").glob(f"*.{form}"))
    done = subprocess.run([sys.executable, "-c", FLIPS, tmp_path / "x", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 20


def test_the_hub_is_asked_without_its_code_and_its_splits_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []

    def load(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return datasets.DatasetDict({"train": hugging(4), "test": hugging(3, 50)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = open_source("hf:someone/digits:plain")
    assert asked[0][0] == ("someone/digits", "plain")
    assert asked[0][1].get("trust_remote_code", False) is False
    assert source.manifest.paths[:2] == ("train/0", "train/1")
    assert source.manifest.class_names == ("zebra", "ant", "<b>")
    assert source.read(4) == png(50)


def test_the_hub_without_a_network_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    script = "from repdiag.sources import open_source\nopen_source('hf:someone/digits')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "DataError: The hub gives no such data set: " in done.stderr.splitlines()[-1]
    assert "(hf:someone/digits)" in done.stderr.splitlines()[-1]


def test_without_the_extra_the_command_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'repdiag\[hf\]'"):
        open_source("hf:someone/digits")


def test_a_saved_dataset_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging(4).save_to_disk(str(tmp_path / "x"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert open_source(str(tmp_path / "x")).read(2) == png(2)
