"""Lists of images: csv, tsv, txt, jsonl and parquet with paths, below a folder or inside an archive."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from repdiag.errors import DataError, RepdiagError, UsageError
from repdiag.sources import is_embeddings, open_source
from repdiag.types import ImageSource

IMAGES = {"a/1.png": 10, "a/2.png": 20, "b/3.PNG": 30, "b/4 x.png": 40}


def png(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of four images, `data`, in which lists are written."""
    for name, color in IMAGES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(color))
    return tmp_path / "data"


def listed(source: ImageSource) -> list[tuple[str, str | None, bool | None]]:
    """(path, class, train) in the source's order; every image's bytes are those of its file."""
    manifest = source.manifest
    for row, path in enumerate(manifest.paths):
        assert source.read(row) == png(IMAGES[path])
    labels: list[str | None] = [None] * len(manifest)
    if manifest.labels is not None:
        labels = [manifest.class_names[label] for label in manifest.labels]
    train = [None] * len(manifest) if manifest.is_train is None else manifest.is_train.tolist()
    return list(zip(manifest.paths, labels, train, strict=True))


def refused(path: Path, **options: object) -> str:
    with pytest.raises(RepdiagError) as caught:
        open_source(str(path), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


EXPECTED = [("b/4 x.png", "z", None), ("a/1.png", "y", None), ("b/3.PNG", "z", None)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "path,label\nb/4 x.png,z\na/1.png,y\nb/3.PNG,z\n"),
        ("x.csv", "\ufeffClass;more;File_Name\r\nz;1;b/4 x.png\r\ny;2;./a/1.png\r\nz;3;b/3.PNG\r\n"),
        ("x.csv", "b/4 x.png,z\na/1.png,y\nb/3.PNG,z\n"),
        ("x.tsv", 'target\timage\nz\t"b/4 x.png"\ny\ta/1.png\nz\tb/3.PNG\n'),
        ("x.txt", "b/4 x.png z\na/1.png y\n\nb/3.PNG z\n"),
        ("x.txt", "# a list\nb/4 x.png,z\na/1.png,y\nb/3.PNG,z"),
        ("x.txt", "b/4 x.png\tz\t0\t32\t44\na/1.png\ty\t0\t3\t4\nb/3.PNG\tz\t1\t2\t3"),
        ("x.jsonl", "".join(json.dumps({"y": y, "file": p}) + "\n" for p, y, _ in EXPECTED)),
    ],
    ids=["csv", "csv in another dress", "csv without heading", "tsv", "txt", "commas", "boxes", "jsonl"],
)  # fmt: skip
def test_a_list_is_read_in_its_order(root: Path, name: str, text: str) -> None:
    assert listed(open_source(str(write(root / name, text)))) == EXPECTED


def test_parquet_with_paths_is_a_list_and_no_embeddings(root: Path) -> None:
    frame = pd.DataFrame({"image_path": list(IMAGES), "label": [3, 1, 3, 1], "x0": 0.5, "y0": 0.25})
    frame.to_parquet(root / "x.parquet")
    assert not is_embeddings(str(root / "x.parquet"))
    assert [label for _, label, _ in listed(open_source(str(root / "x.parquet")))] == ["3", "1", "3", "1"]
    frame = pd.DataFrame({"path": list(IMAGES), "f0": 0.5, "f1": 0.25})
    frame.to_parquet(root / "y.parquet")
    assert is_embeddings(str(root / "y.parquet"))


def test_columns_can_be_named(root: Path) -> None:
    path = write(root / "x.csv", "where,label,kind\na/1.png,1,p\na/2.png,2,q\n")
    assert "--path-column" in refused(path)
    source = open_source(str(path), path_column="where", label_column="kind")
    assert listed(source) == [("a/1.png", "p", None), ("a/2.png", "q", None)]
    assert "Did you mean 'kind'" in refused(path, path_column="where", label_column="kinds")
    both = write(root / "y.csv", "path,class,label\na/1.png,u,1\na/2.png,v,2\n")
    assert any("column 'label', not class" in note for note in open_source(str(both)).notes)


def test_numbers_are_ordered_as_numbers_and_keep_their_gaps(root: Path) -> None:
    text = "path,label\na/1.png,10\na/2.png,9\nb/3.PNG,-7\nb/4 x.png,10.0\n"
    manifest = open_source(str(write(root / "x.csv", text))).manifest
    assert manifest.class_names == ("-7", "9", "10")
    assert manifest.labels is not None
    assert manifest.labels.tolist() == [2, 1, 0, 2]


def test_class_names_may_be_any_text(root: Path) -> None:
    text = 'path,label\na/1.png,"<b>""猫""</b>"\na/2.png,"Äpfel, rot"\nb/3.PNG,007\n'
    manifest = open_source(str(write(root / "x.csv", text))).manifest
    assert manifest.class_names == ("007", '<b>"猫"</b>', "Äpfel, rot")


def test_a_list_without_labels_is_unlabeled_and_says_so(root: Path) -> None:
    source = open_source(str(write(root / "x.txt", "a/1.png\nb/4 x.png\n")))
    assert listed(source) == [("a/1.png", None, None), ("b/4 x.png", None, None)]
    assert any("unlabeled" in note for note in source.notes)
    path = write(root / "x.csv", "path,label\na/1.png,\na/2.png,\n")
    assert open_source(str(path)).manifest.labels is None
    labeled = write(root / "y.csv", "path,label\na/1.png,1\na/2.png,2\n")
    assert open_source(str(labeled), labeled=False).manifest.labels is None


def test_a_split_column_says_what_teaches(root: Path) -> None:
    rows = ["a/1.png,y,train", "a/2.png,y,val", "b/3.PNG,z,test", "b/4 x.png,z,extra"]
    path = write(root / "x.csv", "path,label,split\n" + "\n".join(rows))
    source = open_source(str(path))
    assert listed(source) == [("a/1.png", "y", True), ("b/3.PNG", "z", False)]
    assert (
        "Splits that are read: 'train' and 'test'; left out: 'val' (1 images), 'extra' (1 images)."
        in source.notes
    )
    chosen = open_source(str(path), eval_split="extra", train_split="val")
    assert listed(chosen) == [("a/2.png", "y", True), ("b/4 x.png", "z", False)]
    assert "Did you mean 'extra'" in refused(path, eval_split="extr")
    odd = write(root / "y.csv", "path,label,split\na/1.png,y,easy\na/2.png,y,hard\n")
    assert "--eval-split" in refused(odd)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "folder"])
def test_paths_begin_in_the_root(root: Path, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "x.csv", "path,label\na/1.png,y\nb/4 x.png,z\nb/3.PNG,z\n")
    where = root if kind == "folder" else tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(where, "w") as archive:
            for name in IMAGES:
                archive.write(root / name, f"data/{name}")
    elif kind != "folder":
        with tarfile.open(where, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.add(root, "data")
    source = open_source(str(path), root=str(where))
    assert [name for name, _, _ in listed(source)] == ["a/1.png", "b/4 x.png", "b/3.PNG"]
    ends = f"3 listed paths are the ends of paths in x.{kind}."
    assert (ends in source.notes) is (kind != "folder")


def test_absolute_paths_and_paths_above_the_list_are_followed(root: Path) -> None:
    (root / "lists").mkdir()
    rows = [f"{root}/a/1.png,1", "../a/2.png,2"]
    source = open_source(str(write(root / "lists/x.csv", "path,label\n" + "\n".join(rows))))
    assert source.read(0) == png(10)
    assert source.read(1) == png(20)


def test_a_path_that_may_be_two_files_of_an_archive_is_not_guessed(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("u/1.png", "v/1.png"):
            archive.write(root / "a/1.png", name)
    path = write(tmp_path / "x.txt", "1.png 0\nu/1.png 1")
    assert "may be any of 2 files" in refused(path, root=str(tmp_path / "x.zip"))


def test_listed_images_that_do_not_exist_are_named_and_unreadable(root: Path) -> None:
    (root / "pipe.png").mkdir()
    path = write(root / "x.csv", "path,label\na/1.png,1\ngone.png,2\npipe.png,1\na/2.png,2\n")
    source = open_source(str(path))
    assert "2 of 4 listed images do not exist: gone.png, pipe.png." in source.notes
    for row in (1, 2):
        with pytest.raises(FileNotFoundError):
            source.read(row)
    assert "None of the 2 listed images" in refused(write(root / "y.csv", "path,label\nq.png,1\nr.png,2\n"))
    with zipfile.ZipFile(root / "x.zip", "w") as archive:
        archive.write(root / "a/1.png", "a/1.png")
    packed = open_source(str(path), root=str(root / "x.zip"))
    with pytest.raises(OSError, match=r"not in x\.zip"):
        packed.read(1)


def test_a_repeated_row_counts_once_and_a_contradicting_one_is_refused(root: Path) -> None:
    text = "path,label\na/1.png,1\na/2.png,2\na/1.png,1\n./a/1.png,1\n"
    source = open_source(str(write(root / "x.csv", text)))
    assert source.manifest.paths == ("a/1.png", "a/2.png")
    assert any(note.startswith("2 rows repeat a path") for note in source.notes)
    path = write(root / "x.csv", "path,label\na/1.png,1\na/2.png,2\na/1.png,2\n")
    assert "a/1.png is listed with two labels, '1' and '2'" in refused(path)
    assert len(open_source(str(path), labeled=False).manifest) == 2
    path = write(root / "x.csv", "path,split\na/1.png,train\na/2.png,test\na/1.png,test\n")
    assert "two splits" in refused(path)


def test_a_hostile_list_reads_no_other_kind_of_file(root: Path) -> None:
    """A list may name a device or a folder; nothing but regular files is opened."""
    path = write(root / "x.txt", "/dev/zero.png 0\n/dev/zero 1\na/1.png 0\n../../../../../../etc 1\n")
    source = open_source(str(path))
    for row in (0, 1, 3):
        with pytest.raises(OSError, match="No such file"):
            source.read(row)


def test_the_fingerprint_sees_order_labels_split_and_content(root: Path) -> None:
    texts = [
        "path,label,split\na/1.png,1,train\na/2.png,2,test\nb/3.PNG,1,test\n",
        "path,label,split\na/2.png,2,test\na/1.png,1,train\nb/3.PNG,1,test\n",
        "path,label,split\na/1.png,2,train\na/2.png,2,test\nb/3.PNG,1,test\n",
        "path,label,split\na/1.png,1,test\na/2.png,2,train\nb/3.PNG,1,test\n",
    ]
    found = [open_source(str(write(root / "x.csv", text))).manifest.fingerprint for text in texts]
    assert open_source(str(root / "x.csv")).manifest.fingerprint == found[-1]
    (root / "a/1.png").write_bytes(png(99) + b" ")
    assert len({*found, open_source(str(root / "x.csv")).manifest.fingerprint}) == 5


def test_half_a_character_in_json_is_text_like_any_other(root: Path) -> None:
    text = '{"path": "a/1.png", "label": "\\ud800"}\n{"path": "\\ud801.png", "label": "b"}\n'
    source = open_source(str(write(root / "x.jsonl", text)))
    assert source.manifest.class_names == ("b", "\\ud800")
    assert source.manifest.paths == ("a/1.png", "\\ud801.png")
    source.manifest.paths[1].encode()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "table is empty"),
        ("x.txt", b"\n\n", "list is empty"),
        ("x.csv", b"path,label\n", "no images"),
        ("x.csv", b"path,label\na/1.png,1\n", "only one image"),
        ("x.csv", b"path,label\na/1.png\na/2.png,2\n", "Row 1 has 1 fields for 2 columns"),
        ("x.csv", b"path,path\na/1.png,1\na/2.png,2\n", "column 'path' occurs twice"),
        ("x.csv", b'path,label\n"a/1.png,1\na/2.png,2\n', "no table"),
        ("x.csv", b"path,label\n,1\na/2.png,2\n", "Row 1 has no path"),
        ("x.csv", b"path,label\na/1.png,0.5\na/2.png,0.25\n", "labels are fractions"),
        ("x.csv", b"\xff\xfe\x00p", "no text in UTF-8"),
        ("x.csv", b"path,label\na/1.png,1\0\n", "NUL"),
        ("x.txt", b"a/1.png 1\na/2.png\n", "1 of 2 lines have no label: a/2.png"),
        ("x.jsonl", b'{"path": "a/1.png"}\n{"path"', "Line 2 is no JSON"),
        ("x.jsonl", b"[1]\n", "Line 1 is no JSON object"),
        ("x.jsonl", b"[" * 100_000, "Line 1 is no JSON"),
        ("x.jsonl", b'{"path": 3}\n', "Row 1 has no path"),
        ("x.txt", b"The quick brown fox\njumps over\n", "None of the 2 listed images"),
    ],
)
def test_a_malformed_list_is_refused_in_a_sentence(root: Path, name: str, content: bytes, words: str) -> None:
    (root / name).write_bytes(content)
    message = refused(root / name)
    assert words in message
    assert str(root / name) in message


def test_a_root_that_is_none_and_an_option_that_means_nothing_are_refused(root: Path) -> None:
    path = write(root / "x.csv", "path,label\na/1.png,1\na/2.png,2\n")
    assert "no such folder or archive" in refused(path, root=str(root / "gone"))
    assert "a folder, a .zip or a .tar" in refused(path, root=str(root / "a/1.png"))
    for option in ({"root": "x"}, {"path_column": "x"}, {"label_column": "x"}):
        with pytest.raises(UsageError, match="means nothing for a folder of images"):
            open_source(str(root), **option)
    with pytest.raises(UsageError, match="--trust-listing means nothing for a list"):
        open_source(str(path), trust_listing=True)
    with pytest.raises(DataError, match="no splits"):
        open_source(str(path), eval_split="val")


@pytest.mark.shared
def test_tiny_imagenets_own_annotations_label_its_archive(shared: Path) -> None:
    """The original list names files without the folders that the archive has them in; both say the same class."""
    data = shared / "tiny-imagenet"
    by_list = open_source(str(data / "val_annotations.txt"), root=str(data / "tiny-imagenet-val.zip"))
    by_folder = open_source(str(data / "tiny-imagenet-val.zip"))
    assert by_list.manifest.class_names == by_folder.manifest.class_names
    assert by_list.manifest.labels is not None
    assert by_folder.manifest.labels is not None
    known = dict(
        zip((p.split("/")[-1] for p in by_folder.manifest.paths), by_folder.manifest.labels, strict=True)
    )
    expected = np.array([known[path] for path in by_list.manifest.paths])
    np.testing.assert_array_equal(by_list.manifest.labels, expected)
    row = by_folder.manifest.paths.index("val/n03444034/val_0.JPEG")
    assert by_list.read(0) == by_folder.read(row)
