"""Masks from folders and boxes: layouts, matching of names, and what hostile files do."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repdiag.errors import DataError
from repdiag.heatmaps.boxes import Box, drawn
from repdiag.heatmaps.boxes import read as read_boxes
from repdiag.heatmaps.masks import MaskPair, Masks, open_masks

SIZE = (6, 4)


def gray(path: Path, value: int | np.ndarray = 255, size: tuple[int, int] = SIZE) -> None:
    """A picture of one value, or of the given ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full(size[::-1], value, np.uint8) if isinstance(value, int) else value
    Image.fromarray(values).save(path)


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def get(masks: Masks, sample: str, size: tuple[int, int] = SIZE) -> MaskPair:
    found = masks.get(sample, size)
    assert found is not None
    return found


def core(masks: Masks, sample: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    found = get(masks, sample, size).core
    assert found is not None
    assert found.dtype == np.float32
    assert found.shape == size[::-1]
    return found


# --------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("kept", "gone"),
    [
        ("core/cat/a.png", "spurious/cat/a.png"),
        ("Core/cat/a.PNG", "cat/SPURIOUS/a.png"),
        ("cat/a_core.png", "cat/a_spurious.png"),
        ("cat/a.core.png", "cat/a-spurious-1.png"),
        ("core/cat/feature_12/a.png", "spurious/cat/feature_7/a.png"),
    ],
)
def test_every_layout_says_what_is_core_and_what_is_spurious(tmp_path: Path, kept: str, gone: str) -> None:
    gray(tmp_path / kept, 255)
    gray(tmp_path / gone, 51)
    masks = open_masks(tmp_path)
    assert masks.kind == "masks"
    assert masks.ids == ("cat/a",)
    found = get(masks, "cat/a.jpg")
    assert found.core is not None
    assert found.spurious is not None
    assert (found.core == 1).all()
    assert np.allclose(found.spurious, 0.2)
    assert masks.notes == ()


def test_several_masks_of_one_image_are_merged_by_their_maximum(tmp_path: Path) -> None:
    first, second = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    first[0], second[:, 0] = 102, 204
    gray(tmp_path / "core/feature_1/a.png", first)
    gray(tmp_path / "core/feature_2/a.png", second)
    gray(tmp_path / "b_core_1.png", first)
    gray(tmp_path / "b_core_2.png", second)
    masks = open_masks(str(tmp_path))
    for name in ("a.png", "b.png"):
        assert np.allclose(core(masks, name) * 255, np.maximum(first, second))
        assert get(masks, name).spurious is None


def test_masks_that_do_not_say_what_they_are_of_are_core_and_that_is_told(tmp_path: Path) -> None:
    gray(tmp_path / "a.png")
    assert (core(open_masks(tmp_path), "a.png") == 1).all()
    assert open_masks(tmp_path).notes == (
        "The masks are called neither core nor spurious: all were taken for core.",
    )
    gray(tmp_path / "spurious/b.png")
    (tmp_path / "readme.txt").write_text("hello")
    notes = open_masks(tmp_path).notes
    assert notes[0] == "Masks called neither core nor spurious, taken for core: 1."
    assert notes[1] == "Files beside the masks that are no images: 1."


def test_values_of_other_pictures_are_brought_to_the_same_scale(tmp_path: Path) -> None:
    ramp = np.arange(24, dtype=np.uint8).reshape(4, 6) * 11
    gray(tmp_path / "a.png", ramp)
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.stack([ramp] * 3, -1)).save(tmp_path / "rgb.png")
    Image.fromarray(np.stack([ramp, np.full_like(ramp, 255)], -1), "LA").save(tmp_path / "la.png")
    Image.fromarray(ramp > 100).save(tmp_path / "bits.png")
    gray(tmp_path / "binary.png", (ramp > 100).astype(np.uint8))
    masks = open_masks(tmp_path)
    for name in ("a", "deep", "rgb", "la"):
        assert np.allclose(core(masks, name) * 255, ramp, atol=1e-3), name
    for name in ("bits", "binary"):
        assert np.array_equal(core(masks, name), ramp > 100), name
    said = " ".join(masks.notes)
    assert "Masks of 16 bits, read with 65535 as 1: 1 (first: deep.png)." in said
    assert "Masks of only the values 0 and 1, taken for 0 and 255: 1 (first: binary.png)." in said


def test_a_mask_of_another_size_is_resized_and_that_is_told(tmp_path: Path) -> None:
    half = np.zeros((8, 12), np.uint8)
    half[:, :6] = 255
    gray(tmp_path / "a.png", half)
    gray(tmp_path / "b.png", half)
    masks = open_masks(tmp_path)
    found = core(masks, "a.png")
    assert (found[:, :2] == 1).all()
    assert (found[:, 4:] == 0).all()
    assert core(masks, "b.png", (8, 8)).shape == (8, 8)
    core(masks, "a.png")  # told once
    assert masks.notes[1:] == (
        "Masks of another size than their image, resized to it: 1 (first: a.png).",
        "Masks of other proportions than their image, stretched onto it: 1 (first: b.png).",
    )


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    gray(tmp_path / "good.png")
    content = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:-26])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "eps.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n")
    Image.fromarray(np.zeros((4, 6, 3), np.uint8) + np.uint8([1, 2, 3])).save(tmp_path / "color.png")
    Image.fromarray(np.zeros((4, 6), np.uint8)).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(np.zeros((4, 6, 4), np.uint8)).save(tmp_path / "clear.png")
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    bomb = (
        content[:8] + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    masks = open_masks(tmp_path)
    bad = sorted(set(masks.ids) - {"good"})
    assert len(bad) == 9
    for name in bad:
        assert masks.get(f"{name}.png", SIZE) is None, name
    assert (core(masks, "good.png") == 1).all()
    assert masks.notes[-1].startswith(
        "Masks that cannot be read and are left out: 9 (first: bomb.png: Image size"
    )


def test_where_there_are_no_masks_a_sentence_says_so(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "no masks in this folder"), (tmp_path / "no", "no such masks")):
        with pytest.raises(DataError, match=said):
            open_masks(path)


# --------------------------------------------------------------------------------------------- names


def named(tmp_path: Path, *names: str) -> Path:
    rows = "\n".join(f"{name},{i},0,5,3" for i, name in enumerate(names))
    return table(tmp_path / "boxes.csv", f"path,x0,y0,x1,y1\n{rows}\n")


def width(masks: Masks, sample: str) -> int | None:
    """Which line's box a sample has: the first begins at 0, the next at 1, ..."""
    found = masks.get(sample, SIZE)
    return None if found is None or found.core is None else 6 - int(found.core[0].sum())


def test_a_sample_has_the_mask_of_its_path_else_of_its_only_name(tmp_path: Path) -> None:
    masks = open_masks(named(tmp_path, "c1/a.jpg", "c2/a.jpg", "b.png", "./c3\\d.JPEG", "e.jpg", "e.png"))
    assert width(masks, "c1/a.jpg") == 0  # the path
    assert width(masks, "val/c2/a.jpg") == 1  # its end
    assert width(masks, "c2/a.png") == 1  # but for the ending
    assert width(masks, "x/y/b.jpg") == 2  # the only one of that name
    assert width(masks, "c3/d.jpg") == 3
    assert width(masks, "z/e.png") == 5
    assert width(masks, "c9/a.jpg") is None  # two are called so
    assert width(masks, "nobody.jpg") is None
    assert masks.notes == (
        "Samples matched to a mask by their file name alone: 2 of 8.",
        "Samples without a mask because several files have their name, so that it is in doubt whose it is: 1 of 8 "
        "(first: c9/a.jpg).",
        "Samples without a mask: 1 of 8 (first: nobody.jpg).",
    )


def test_a_mask_that_two_samples_might_own_is_given_to_neither(tmp_path: Path) -> None:
    path = named(tmp_path, "a.jpg", "c1/b.jpg")
    samples = ["c1/a.jpg", "c2/a.jpg", "val/c1/b.jpg", "val/c2/b.jpg"]
    for masks in (open_masks(path, samples), open_masks(path).among(samples)):
        assert masks.ids == ("val/c1/b.jpg",)  # whose folder agrees
        assert [width(masks, sample) for sample in samples] == [None, None, 1, None]
        assert "whose it is: 2 of 4 (first: c1/a.jpg)" in masks.notes[0]
    unknown = open_masks(path)  # without the list, the first that asks
    assert [width(unknown, sample) for sample in samples] == [0, None, 1, None]
    exact = open_masks(path, ["a.jpg", "c1/a.jpg"])
    assert exact.ids == ("a.jpg",)


def test_names_that_lead_elsewhere_are_names_and_nothing_else(tmp_path: Path) -> None:
    inside = tmp_path / "masks"
    gray(tmp_path / "secret.png")
    gray(inside / "a.png")
    masks = open_masks(inside)
    for sample in (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "a.png/../../secret.png",
        "",
        "/",
        "\0",
        "." * 5000,
    ):
        assert masks.get(sample, SIZE) is None
    boxes = open_masks(named(tmp_path, "../../etc/passwd", "/etc/hosts.png"))
    assert width(boxes, "etc/passwd") == 0


# --------------------------------------------------------------------------------------------- boxes


def test_boxes_include_both_ends_and_several_are_one_mask(tmp_path: Path) -> None:
    path = table(
        tmp_path / "boxes.csv",
        "\ufefffile;XMin;ymin;xmax;ymax;label;Kind\n"
        "a.png;0;1;2;2;cat;\n\na.png;5;0;5;3;cat;core\na.png;3;3;4;3;leash;Spurious\nb.png;1.5;0;2;0.0;dog;core\n",
    )
    masks = open_masks(path)
    assert masks.kind == "boxes"
    found = get(masks, "a.png")
    assert found.core is not None
    assert found.spurious is not None
    assert found.core.tolist() == [
        [0, 0, 0, 0, 0, 1],
        [1, 1, 1, 0, 0, 1],
        [1, 1, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
    ]
    assert found.spurious.sum() == 2
    assert found.spurious[3, 3:5].tolist() == [1, 1]
    assert core(masks, "b.png")[0].tolist() == [0, 0.5, 1, 0, 0, 0]
    assert masks.notes == ()


def test_boxes_beyond_the_image_are_cut_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = table(
        tmp_path / "boxes.csv",
        "id,left,top,right,bottom\na,-1e300,-5,2,1e300\nb,100,100,120,120\nc,3,3,1,1\nd,0,0,0,0\nd,4,4,3,9\n",
    )
    masks = open_masks(path)
    assert core(masks, "a").sum() == 3 * 4
    assert masks.get("b", SIZE) is None
    assert masks.get("c", SIZE) is None
    assert core(masks, "d").sum() == 1
    assert masks.notes[0] == "Boxes that end before they begin, left out: 2 (first: line 4)."
    said = " ".join(masks.notes[1:])
    assert "Images with boxes that reach beyond them, cut off at their edge: 2 (first: a);" in said
    assert "Images whose boxes lie outside of them, so that they have no mask: 1 (first: b)." in said
    assert drawn([Box(0, 0, 63, 63)], (64, 64)).all()  # type: ignore[union-attr]
    assert not Box(0, 0, 63, 63).beyond((64, 64))
    assert Box(0, 0, 64.5, 63).beyond((64, 64))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,x0,y0,x1,y1\na.png,0,0,5,3\nb.png,0,zero,5,3\n", "Line 3 has 'zero' for a coordinate"),
        ("path,x0,y0,x1,y1\na.png,0,nan,5,3\n", "Line 2 has 'nan'"),
        (f"path,x0,y0,x1,y1\na.png,0,{'9' * 4000},5,3\n", "Line 2 has '9999"),
        ("path,x0,y0,x1,y1\na.png,0,0,5\n", "Line 2 has 4 fields for 5 columns"),
        ("path,x0,y0,x1,y1\n,0,0,5,5\n", "Line 2 names no image"),
        ("path,x0,y0,x1,y1,kind\na.png,0,0,5,5,both\n", "Line 2 has the kind 'both'.*core or spurious"),
        ("path,x0,y0,width,height\na.png,0,0,5,5\n", "names no column x1 and no y1.*path,x0,y0,x1,y1"),
        ("a.png,0,0,5,5\n", "names no column path"),
        ("path,x0,y0,x1,y1\n", "no boxes in it"),
        ("", "no boxes in it"),
        ('path,x0,y0,x1,y1\n"a.png,0,0,5,5\n', "no table"),
        ("path,x0,y0,x1,y1\na.png,5,5,0,0\n", "All boxes in it are empty"),
        ("v.JPEG\tn1\t0\t0\t5\t5\nw.JPEG\tn1\t0\t0\t5\n", "Line 2 has 5 fields, not 6"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as raised:
        open_masks(table(tmp_path / "boxes.csv", text))
    assert len(str(raised.value)) < 400 + len(str(tmp_path))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"path,x0,y0,x1,y1\n\xff\xfe,0,0,1,1\n")
    with pytest.raises(DataError, match="no text in UTF-8"):
        open_masks(tmp_path / "x.csv")


def test_tiny_imagenets_lines_are_understood(tmp_path: Path) -> None:
    path = table(
        tmp_path / "val_annotations.txt",
        "val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn1\t52\t55\t57\t59\n",
    )
    assert read_boxes(path).by["val_1.JPEG"] == (Box(52, 55, 57, 59),)
    masks = open_masks(path, ["val/n03444034/val_0.JPEG", "val/n1/val_1.JPEG", "val/n1/val_2.JPEG"])
    assert masks.ids == ("val/n03444034/val_0.JPEG", "val/n1/val_1.JPEG")
    assert core(masks, "val/n03444034/val_0.JPEG", (64, 64)).sum() == 45 * 31


@pytest.mark.shared
@pytest.mark.parametrize(
    ("images", "boxes"),
    [("tiny-imagenet-val.zip", "val_annotations.txt"), ("tiny-imagenet-train-50.zip", "train-50_boxes.txt")],
)
def test_every_real_image_has_its_real_box(shared: Path, images: str, boxes: str) -> None:
    with zipfile.ZipFile(shared / "tiny-imagenet" / images) as archive:
        samples = archive.namelist()
    masks = open_masks(shared / "tiny-imagenet" / boxes, samples)
    assert set(masks.ids) == set(samples)
    shares = [core(masks, sample, (64, 64)).mean() for sample in samples[::100]]
    assert 0.2 < np.mean(shares) < 0.8
    assert masks.notes == ("Samples matched to a mask by their file name alone: 10,000 of 10,000.",)
