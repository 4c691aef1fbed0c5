"""Classes of classes and names of classes, from tables beside the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repdiag.errors import RepdiagError
from repdiag.sources import open_source

TABLE = "fine,coarse\nant,animal\nbee,animal\nfir,plant\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images of each of three classes."""
    for name in ("ant", "bee", "fir"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def write(data: Path, text: str) -> str:
    path = data.parent / "table.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(data: Path, **options: Any) -> str:
    with pytest.raises(RepdiagError) as caught:
        open_source(str(data), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "fir,plant\nbee,animal\nant,animal\nunused,plant\n",
        "\ufeffno;superclass;note;label\n1;animal;x;ant\n2;plant;x;fir\n3;animal;y;bee\n",
        "ant\tanimal\nbee\tanimal\nfir\tplant\n",
    ],
    ids=["two columns", "without heading", "among others", "tabs"],
)
def test_each_class_gets_its_parent(data: Path, text: str) -> None:
    manifest = open_source(str(data), hierarchy=write(data, text)).manifest
    assert manifest.class_names == ("ant", "bee", "fir")
    assert manifest.parents == ("animal", "animal", "plant")


def test_the_coarse_level_labels_by_the_parents(data: Path) -> None:
    fine = open_source(str(data), hierarchy=write(data, TABLE))
    coarse = open_source(str(data), hierarchy=write(data, TABLE), level="coarse")
    assert coarse.manifest.class_names == ("animal", "plant")
    assert coarse.manifest.labels is not None
    assert coarse.manifest.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert coarse.manifest.parents == ()
    assert coarse.manifest.fingerprint != fine.manifest.fingerprint
    assert coarse.read(5) == fine.read(5)
    assert "Labels are the 2 coarse classes of 3 fine ones." in coarse.notes


def test_columns_of_a_hierarchy_can_be_named(data: Path) -> None:
    text = "id,kingdom,legs\nant,animal,6\nbee,animal,6\nfir,plant,0\n"
    assert "--hierarchy-columns" in refused(data, hierarchy=write(data, text))
    manifest = open_source(str(data), hierarchy=write(data, text), hierarchy_columns=("id", "legs")).manifest
    assert manifest.parents == ("6", "6", "0")
    message = refused(data, hierarchy=write(data, text), hierarchy_columns=("id", "leg"))
    assert "Did you mean 'legs'" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fine,coarse\nant,animal\n", "2 of 3 classes are not in the table: bee, fir"),
        ("fine,coarse\nx,y\nz,y\n", "3 of 3 classes are not in the table: ant, bee, fir"),
        ("fine,coarse\nant,animal\nbee,\nfir,plant\n", "1 of 3 classes have no coarse class: bee"),
        (TABLE + "ant,plant\n", "'ant' is there twice, as 'animal' and 'plant'"),
        ("ant\nbee\nfir\n", "no table of at least two columns"),
        ("", "no table of at least two columns"),
        (TABLE + "x\n", "A row has 1 fields, not 2"),
        ('fine,coarse\n"ant,animal\n', "no table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(data: Path, text: str, words: str) -> None:
    assert words in refused(data, hierarchy=write(data, text))


def test_what_needs_labels_or_a_table_says_so(data: Path) -> None:
    table = write(data, TABLE)
    assert "--hierarchy needs labels" in refused(data, hierarchy=table, labeled=False)
    assert "--class-names needs labels" in refused(data, class_names_file=table, labeled=False)
    assert "No coarse classes are known" in refused(data, level="coarse")
    assert "no level 'coars'. Did you mean 'coarse'" in refused(data, level="coars")
    assert "needs --hierarchy" in refused(data, hierarchy_columns=("a", "b"))
    assert "Cannot read it" in refused(data, hierarchy=str(data / "gone.csv"))
    assert "Cannot read it" in refused(data, hierarchy=str(data))


def test_classes_are_called_as_a_table_says(data: Path) -> None:
    text = "index,wnid,name\n0,ant,Crane\n1,bee,Crane\n2,fir,<i>Tanne</i>\n"
    source = open_source(str(data), class_names_file=write(data, text))
    assert source.manifest.class_names == ("Crane (ant)", "Crane (bee)", "<i>Tanne</i>")
    assert source.manifest.labels is not None
    np.testing.assert_array_equal(source.manifest.labels, [0, 0, 1, 1, 2, 2])


@pytest.mark.shared
def test_tiny_imagenets_table_names_its_classes(shared: Path) -> None:
    folder = shared / "tiny-imagenet"
    archive, table = str(folder / "tiny-imagenet-val.zip"), str(folder / "classes.csv")
    named = open_source(archive, class_names_file=table).manifest
    plain = open_source(archive).manifest
    assert named.class_names[plain.class_names.index("n02124075")] == "Egyptian cat"
    message = refused(Path(archive), hierarchy=table, hierarchy_columns=("wnid", "mini_imagenet_split"))
    assert "175 of 200 classes have no coarse class" in message


def nested(tmp_path: Path, *folders: str) -> str:
    for folder in folders:
        (tmp_path / "deep" / folder).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "deep" / folder / f"{i}.png")
    return str(tmp_path / "deep")


def test_two_levels_of_folders_name_classes_and_their_coarse_classes(tmp_path: Path) -> None:
    data = nested(tmp_path, "train/greek/a", "train/latin/a", "test/greek/a/scans", "test/latin/b")
    found = open_source(data, class_depth=2).manifest
    assert found.class_names == ("greek/a", "latin/a", "latin/b")
    assert found.parents == ("greek", "latin", "latin")
    labels = dict(zip(found.paths, found.labels, strict=True))
    assert labels["test/greek/a/scans/0.png"] == labels["train/greek/a/1.png"] == 0
    coarse = open_source(data, class_depth=2, level="coarse").manifest
    assert coarse.class_names == ("greek", "latin")
    plain = open_source(data).manifest
    assert plain.class_names == ("greek", "latin")
    assert plain.parents == ()
    assert plain.fingerprint != found.fingerprint


def test_images_that_lie_less_deep_than_asked_are_named(tmp_path: Path) -> None:
    data = nested(tmp_path, "greek/a", "latin")
    with pytest.raises(RepdiagError, match=r"2 of 4 images lie less than 2 folders deep: latin/0.png"):
        open_source(data, class_depth=2)
    assert open_source(data, class_depth=2, labeled=False).manifest.labels is None


def test_a_class_depth_means_nothing_for_a_list(tmp_path: Path) -> None:
    data = nested(tmp_path, "greek/a")
    path = tmp_path / "list.csv"
    path.write_text("path,label\ndeep/greek/a/0.png,x\ndeep/greek/a/1.png,x\n")
    assert data
    with pytest.raises(RepdiagError, match="--class-depth means nothing"):
        open_source(str(path), class_depth=2)


@pytest.mark.shared
def test_omniglots_alphabets_are_the_coarse_classes_of_its_characters(shared: Path) -> None:
    found = open_source(str(shared / "omniglot" / "images_background_small1.zip"), class_depth=2).manifest
    assert len(found.class_names) == 136
    assert set(found.parents) == {"Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"}
