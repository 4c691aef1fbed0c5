"""webdataset shards: one, a pattern of them, a folder of them; their labels, splits and damage."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from repdiag.errors import DataError, RepdiagError
from repdiag.sources import open_source
from repdiag.sources.shards import expand
from repdiag.types import ImageSource


def png(color: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path: Path, members: Mapping[str, bytes | str | int], mode: str = "w") -> Path:
    """A tar with these members; a number is an image of that color."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            data = (
                content.encode()
                if isinstance(content, str)
                else png(content)
                if isinstance(content, int)
                else content
            )
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def listed(source: ImageSource) -> dict[str, str | None]:
    labels = source.manifest.labels
    names = (
        [None] * len(source.manifest) if labels is None else [source.manifest.class_names[i] for i in labels]
    )
    return dict(zip(source.manifest.paths, names, strict=True))


def refused(path: Path | str, **options: object) -> str:
    with pytest.raises(RepdiagError) as caught:
        open_source(str(path), **options)
    return str(caught.value)


CLS = {"0.png": 1, "0.cls": "10\n", "1.png": 2, "1.cls": "9", "1.json": "{}", "2.png": 3, "2.cls": "10"}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_one_shard_with_classes(tmp_path: Path, mode: str) -> None:
    source = open_source(str(shard(tmp_path / ("x.tar.gz" if "gz" in mode else "x.tar"), CLS, mode)))
    assert listed(source) == {"0.png": "10", "1.png": "9", "2.png": "10"}
    assert source.manifest.class_names == ("9", "10")
    assert [source.read(i) for i in range(3)] == [png(1), png(2), png(3)]


def test_labels_in_json_are_the_usual_field_or_the_one_named(tmp_path: Path) -> None:
    members: dict[str, str | int] = {}
    for key, label in enumerate(["cat", "dog", "cat"]):
        members |= {
            f"s/{key}.jpg": key,
            f"s/{key}.json": json.dumps({"label": label, "place": key // 2, "box": [1]}),
        }
    path = shard(tmp_path / "x.tar", members)
    assert list(listed(open_source(str(path))).values()) == ["cat", "dog", "cat"]
    assert list(listed(open_source(str(path), label_column="place")).values()) == ["0", "0", "1"]
    assert "not one label" in refused(path, label_column="box")
    assert "There is no column 'plaice'" in refused(path, label_column="plaice")
    assert open_source(str(path), labeled=False).manifest.labels is None


def test_texts_are_labels_where_they_repeat_and_captions_where_not(tmp_path: Path) -> None:
    labels = {
        f"{i}.{end}": i if end == "jpg" else f"kind {i % 2}" for i in range(4) for end in ("jpg", "txt")
    }
    assert set(listed(open_source(str(shard(tmp_path / "x.tar", labels)))).values()) == {"kind 0", "kind 1"}
    captions = {
        f"{i}.{end}": i if end == "jpg" else f"a photo of {i}" for i in range(4) for end in ("jpg", "txt")
    }
    source = open_source(str(shard(tmp_path / "y.tar", captions)))
    assert source.manifest.labels is None
    assert any("captions" in note for note in source.notes)


def test_a_tar_of_class_folders_stays_one(tmp_path: Path) -> None:
    members = {"cat/1.jpg": 1, "cat/1.txt": "a photo", "dog/1.jpg": 2, "dog/1.txt": "another"}
    assert open_source(str(shard(tmp_path / "x.tar", members))).manifest.class_names == ("cat", "dog")


@pytest.mark.parametrize("form", ["a-{000..001}.tar", "a-{000,001}.tar", ""])
def test_several_shards_are_one_data_set(tmp_path: Path, form: str) -> None:
    data = tmp_path / "shards"
    data.mkdir()
    for i in range(2):
        shard(
            data / f"a-{i:03d}.tar",
            {"k.png": 10 + i, "k.cls": str(i), "l.seg.png": 7, "l.png": 20 + i, "l.cls": "1"},
        )
    (data / "sizes.json").write_text("{}")
    source = open_source(str(data / form))
    assert listed(source) == {
        "a-000.tar/k.png": "0", "a-000.tar/l.png": "1", "a-001.tar/k.png": "1", "a-001.tar/l.png": "1",
    }  # fmt: skip
    assert [source.read(i) for i in range(4)] == [png(10), png(20), png(11), png(21)]


def test_the_names_of_shards_say_the_split(tmp_path: Path) -> None:
    for i, word in enumerate(["train", "val", "extra"]):
        shard(
            tmp_path / f"set-{word}-000000.tar",
            {f"{k}.{e}": i if e == "png" else "1" for k in "ab" for e in ("png", "cls")},
        )
    assert "set-extra" not in str(open_source(str(tmp_path), eval_split="val").manifest.paths)
    manifest = open_source(str(tmp_path), eval_split="extra").manifest
    assert manifest.is_train is not None
    assert {path.split("-")[1]: bool(train) for path, train in zip(manifest.paths, manifest.is_train, strict=True)} == {
        "train": True, "extra": False,
    }  # fmt: skip


def test_patterns_stand_for_what_a_shell_makes_of_them() -> None:
    assert expand("a{8..11}.tar", "x") == ["a8.tar", "a9.tar", "a10.tar", "a11.tar"]
    assert expand("{a,b}{00..01}", "x") == ["a00", "a01", "b00", "b01"]
    for wrong in ("{3..1}", "{x}", "{0..999999999}", "{00..99}{00..99}{00..99}"):
        with pytest.raises(DataError):
            expand(wrong, "x")


def test_missing_and_damaged_shards_are_named(tmp_path: Path) -> None:
    shard(tmp_path / "a-0.tar", CLS)
    assert "2 of 3 shards are not there: a-1.tar, a-2.tar" in refused(tmp_path / "a-{0..2}.tar")
    whole = (tmp_path / "a-0.tar").read_bytes()
    (tmp_path / "a-1.tar").write_bytes(whole[:1000])
    message = refused(tmp_path / "a-{0..1}.tar")
    assert "no whole tar file" in message
    assert "a-1.tar" in message


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"0.png": 1, "0.jpg": 2, "0.cls": "1", "1.png": 1, "1.cls": "1"}, "several images: 0.png, 0.jpg"),
        ({"0.a.png": 1, "0.b.png": 2, "0.cls": "1"}, "several images: 0.a.png, 0.b.png"),
        ({"0.png": 1, "0.cls": "1"}, "only one image"),
        ({"0.png": 1, "0.json": "{", "1.png": 1, "1.json": "{}"}, ".json file is damaged"),
        ({"0.png": 1, "0.cls": "x" * 2**21, "1.png": 1, "1.cls": "1"}, "2 MB long"),
    ],
)
def test_contradictions_in_a_shard_are_refused(
    tmp_path: Path, members: Mapping[str, str | int], words: str
) -> None:
    assert words in refused(shard(tmp_path / "x.tar", members))


def test_a_key_that_occurs_twice_counts_once(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in (
            ("0.png", png(1)),
            ("0.cls", b"1"),
            ("0.png", png(2)),
            ("1.png", png(3)),
            ("1.cls", b"2"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    source = open_source(str(tmp_path / "x.tar"))
    assert listed(source) == {"0.png": "1", "1.png": "2"}
    assert source.read(0) == png(1)


def test_samples_without_an_image_are_counted(tmp_path: Path) -> None:
    source = open_source(str(shard(tmp_path / "x.tar", {**CLS, "9.cls": "3"})))
    assert len(source.manifest) == 3
    assert "Samples without an image were ignored: 1." in source.notes


def test_shards_written_by_webdataset_itself(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as sink:
        for i in range(4):
            sink.write({"__key__": f"sample{i:06d}", "png": png(i), "cls": i % 2})
    source = open_source(str(tmp_path / "x.tar"))
    assert list(listed(source).values()) == ["0", "1", "0", "1"]
    assert source.read(3) == png(3)
