"""What an explanation is written as: JSON by its schema, CSV, pictures, a page, a terminal; the command on files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import FIXTURES, ROOT
from PIL import Image
from rich.cells import cell_len
from rich.console import Console
from sample_report import HOSTILE

from repdiag.cli import main
from repdiag.exhibits import FeatureCard
from repdiag.explaining.outputs import pictures, views, words
from repdiag.explaining.outputs.html import render
from repdiag.explaining.outputs.json_form import to_json
from repdiag.explaining.outputs.terminal import terminal
from repdiag.explaining.outputs.write import write_explanation
from repdiag.explaining.shown import NO_FEATURE
from repdiag.explaining.types import (
    Claim,
    Explained,
    Explanation,
    FeatureMaps,
    Overlaps,
    Place,
    Quantity,
    Summed,
    Target,
    Tile,
)
from repdiag.report.json_form import dumps
from repdiag.report.tables import unescaped
from repdiag.types import Interval, Null, Skipped, Table

SIDE = 48


def tile(name: str, rng: np.random.Generator, mask: bool = True) -> Tile:
    heat = rng.random((6, 6)).astype(np.float32) ** 3
    core = np.zeros((SIDE, SIDE), bool)
    core[10:30, 8:40] = True
    low = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(low).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return Tile(name, picture, heat, "", core if mask else None, ~core if mask else None)


def quantity(
    measure: Any, region: Any, group: Any, value: float, features: Any = "discriminative"
) -> Quantity:
    null = Null("the mask of another image", value - 0.1, 0.004, 10) if features == "discriminative" else None
    ends = Interval(value - 0.02, value + 0.02, "bootstrap over images, percentiles", 500)
    return Quantity(measure, region, group, features, value, 900, ends, null, 0.25)


def made(samples: int = 12, names: tuple[str, ...] = ("cat", "dog"), masks: bool = True) -> Explanation:
    """An explanation with everything in it: maps and none, right and wrong, a sample of the train part."""
    rng = np.random.default_rng(0)
    ids = [f"{names[i % len(names)]}/{i:03d}.png" for i in range(samples)]
    explained = []
    for i, name in enumerate(ids):
        shown = tile(name, rng, masks)
        if i == 1:
            shown = Tile(name, shown.picture, None, NO_FEATURE, shown.core)
        if i == 2:
            shown = Tile(name, None, None, "the image could not be read again: gone")
        train = i == 3
        explained.append(
            Explained(
                shown,
                names[i % len(names)],
                None if train else names[(i + i % 2) % len(names)],
                None if train else i % 2 == 0,
                float("nan") if train else 0.9 - 0.03 * i,
                float("nan") if train else 0.6,
                float("nan"),
                not train,
                i == 0,
                None if train else i + 1,
                0 if i == 1 else 15,
                () if i == 1 else tuple(Summed(j, -1 if j == 2 else 1, 3.0 / (1 + j)) for j in range(12)),
                ("7 of its 10 nearest neighbors are labeled 'dog'",) if i % 3 == 0 else (),
                {"iou_core": 0.4, "mass_core": 0.5} if masks else {},
            )
        )
    top = tuple(ids[:5])
    card = FeatureCard(
        7,
        0.31,
        "variance between classes",
        2.5,
        True,
        top,
        (9.0, 8, 7, 6, 5)[: len(top)],
        names[:1] * len(top),
    )
    overlaps = Overlaps(
        "masks",
        "masks/",
        0.5,
        950,
        900,
        ("core", "spurious"),
        (
            quantity("iou", "core", "all", 0.4),
            quantity("iou", "core", "correct", 0.42),
            quantity("iou", "core", "misclassified", 0.3),
            quantity("iou", "core", "all", 0.32, "random"),
            quantity("mass", "core", "all", 0.55),
            quantity("mass", "spurious", "all", 0.3),
        ),
        (
            *(
                Claim(key, f"Statement {key}", "ours", word, "a minus b", f"{value:+g}.", value, ends, 9)  # type: ignore[arg-type]
                for key, word, value, ends in (
                    ("above-other-masks", "holds", 0.1, Interval(0, 0.2, "b", 9)),
                    ("correct-above-misclassified", "does not hold", -0.1, Interval(-1, -0.05, "b", 9)),
                    ("correct-above-misclassified-at-equal-objects", "not decided", 0.01, Interval(-1, 1, "b", 9)),
                )
            ),
            Claim("above-random-features", "Above random", "ours", "not tested", "a minus b", "Not tested: none."),
        ),
        ("3 masks were resized.",),
    )  # fmt: skip
    return Explanation(
        "2026-01-02T03:04:05+00:00",
        {"name": "encoder", "architecture": "resnet18", "loading": {"container": "torch", "warnings": []}},
        {"name": "images", "samples": 1000, "evaluated": 1000},
        {"samples": ids[:1], "riskiest": samples, "masks": "masks/" if masks else None},
        {"torch": "2", "device": "cpu"},
        Target("q-score", False, "no feature is negative", "t_i = sum of h_ij", "a paper", 40, 128, 1000, 50),
        Place("convolution", "layer4", (6, 6), 512, "gradcam"),
        tuple(explained),
        (FeatureMaps(card, tuple(tile(name, rng, False) for name in ids[:5])),) if samples else (),
        overlaps if masks else Skipped("no masks were given (--masks)"),
        Table({"id": np.array(ids, dtype=object), "iou_core": np.linspace(0, 1, samples)}),
        {"title": "Closeness to its neighbors", "validated": True},
        {"features": "With the labels shuffled a feature has 0.01."},
        ("An odd file.",),
        {"total": 1.5},
    )  # fmt: skip


def hostile() -> Explanation:
    found = made(names=HOSTILE)
    return dataclasses.replace(
        found, encoder={"name": HOSTILE[0]}, dataset={"name": HOSTILE[1]}, warnings=HOSTILE
    )


# ------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("found", [made(), made(masks=False), hostile(), made(samples=0)])
def test_json_follows_its_schema(found: Explanation, tmp_path: Path) -> None:
    write_explanation(found, tmp_path)
    document = json.loads((tmp_path / "explain.json").read_text())
    schema = json.loads(files("repdiag.explaining.outputs").joinpath("schema.json").read_text())
    jsonschema.validate(document, schema)
    assert document == json.loads(dumps(to_json(found)))  # files there or not
    assert document["tables"]["samples.csv"]["rows"] == len(found.table)
    if found.samples:
        heat = found.samples[0].tile.heat
        assert heat is not None
        assert np.array_equal(np.array(document["samples"][0]["heat"], np.float32), heat)
        assert document["samples"][1]["heat"] is None
        assert document["samples"][1]["none"] == NO_FEATURE


def test_tables_hold_the_numbers(tmp_path: Path) -> None:
    found = hostile()
    write_explanation(found, tmp_path)
    with (tmp_path / "quantities.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert isinstance(found.overlaps, Overlaps)
    assert [row["name"] for row in rows] == [q.name for q in found.overlaps.quantities]
    assert [float(row["value"]) for row in rows] == [q.value for q in found.overlaps.quantities]
    assert [row["null_mean"] == "" for row in rows] == [q.null is None for q in found.overlaps.quantities]
    with (tmp_path / "samples.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert [unescaped(row["id"]) for row in listed] == [str(i) for i in found.table.columns["id"]]


def test_the_same_explanation_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_explanation(made(), tmp_path / name, save_maps=True)
    one = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a").rglob("*.*")}
    other = {p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*.*")}
    assert one == other
    maps = [path for path in one if path.parts[0] == "heatmaps"]
    assert len(maps) == 2 * (10 + 5)  # two of the twelve samples have no map


def test_saved_maps_have_safe_names_and_hold_the_map(tmp_path: Path) -> None:
    found = hostile()
    written = write_explanation(found, tmp_path, save_maps=True)
    assert written["heatmaps"] == tmp_path / "heatmaps"
    names = sorted(p.name for p in (tmp_path / "heatmaps").iterdir())
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)
    gray = next((tmp_path / "heatmaps").glob("sample-0001-*.gray.png"))
    values = np.asarray(Image.open(gray))
    assert values.shape == (SIDE, SIDE)
    assert values.max() == 255
    heat = found.samples[0].tile.heat
    assert heat is not None
    peak = np.unravel_index(values.argmax(), values.shape)
    assert (int(peak[0]) * 6 // SIDE, int(peak[1]) * 6 // SIDE) == np.unravel_index(heat.argmax(), heat.shape)


# ------------------------------------------------------------------------------------ pictures


def test_the_ramp_only_grows_lighter() -> None:
    """Eyes of any kind, and a gray printer, put its colors in order; what is hotter hides more."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    luminance = (pictures.ramp() / 255.0) ** 2.2 @ weights
    assert (np.diff(luminance) > 0).all()
    assert (np.diff(pictures.alpha().astype(int)) >= 0).all()
    assert pictures.alpha()[0] == 0


def test_an_overlay_is_the_map_in_color() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 0.125
    image = np.asarray(Image.open(io.BytesIO(pictures.overlay(heat))).convert("RGBA"))
    assert image.shape == (pictures.OVERLAY, pictures.OVERLAY, 4)
    hot = np.argwhere(image[..., 3] == image[..., 3].max())
    assert (hot.mean(0) / (pictures.OVERLAY / 4)).astype(int).tolist() == [1, 2]
    assert tuple(image[tuple(hot[0])][:3]) == tuple(pictures.ramp()[-1])
    assert image[-1, 0, 3] == 0


def _area(path: str) -> float:
    """Signed area of all loops of a path, in units of the whole square; holes count against it."""
    total = 0.0
    for loop in re.findall(r"M([^Z]+)Z", path):
        points = np.array([[float(v) for v in p.split(",")] for p in loop.split("L")]) / 1000
        x, y = points.T
        total += float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
    return total


def test_an_outline_encloses_its_mask() -> None:
    """Boxes, holes, touching corners: the enclosed area is the mask's; a finer one is drawn coarser, not left out."""
    mask = np.zeros((20, 20), bool)
    mask[2:12, 3:9] = True
    mask[5:7, 5:7] = False
    mask[12:15, 9:13] = True  # touches at a corner
    assert _area(pictures.outline(mask)) == pytest.approx(mask.mean(), abs=1e-9)
    assert pictures.outline(np.zeros((8, 8), bool)) == ""
    assert pictures.outline(np.ones((8, 8), bool)) == "M0,0L1000,0L1000,1000L0,1000Z"
    noise = np.random.default_rng(0).random((96, 96)) < 0.5
    assert 0 < len(pictures.outline(noise)) < 12_000


def test_a_page_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it pictures are left out and counted, samples cut and the cut is said."""
    found = made(samples=40)
    monkeypatch.setattr(views, "MOST_SAMPLES", 30)
    monkeypatch.setattr(views, "MOST_BYTES", 30_000)
    page = views.page(found)
    assert len(page.cards) == 30
    assert page.left_out > 0
    text = render(found)
    assert "The first 30 of 40 samples; explain.json has all." in text
    assert f"{page.left_out} pictures are left out" in text
    assert len(render(made(samples=40))) < 600_000


# ------------------------------------------------------------------------------------ words and the terminal


def test_words() -> None:
    heat = np.zeros((6, 6), np.float32)
    heat[0, 5] = 1
    assert words.where(heat) == "strongest in the upper right"
    heat[3, 3] = 2
    assert words.where(heat) == "strongest in the middle"
    assert words.summed(made().samples[0]) == "0, 1, -2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more"
    assert words.summed(made().samples[1]) == "none stands out"
    assert (
        words.chosen(made())
        == "1 sample that was asked for, and the 11 riskiest samples, by Closeness to its neighbors."
    )


def test_the_evidence_says_what_was_found() -> None:
    """The page's words follow from explain.json: the same encoder with other words gives another page."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.catalog import ENCODERS
    from benchmarks.evidence import heatmaps

    document = to_json(made())
    other = json.loads(json.dumps(document))
    other["overlap"]["claims"][0]["found"] = "does not hold"
    text = heatmaps.page(
        [heatmaps.Found(e, d, 0.25) for e, d in zip(ENCODERS, (document, other), strict=False)]
    )
    first, second = ENCODERS[0].title, ENCODERS[1].title
    assert f"holds for 1 of 2 encoders; the opposite for *{second}*." in text
    assert f"the opposite for *{first}* and *{second}*" in text
    assert "holds for 0 of 0 encoders" in text  # random features: not tested
    assert "0.400 [0.380, 0.420]" in text
    assert "not tested" in text


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_terminal_is_narrow_and_inert(width: int, encoding: str) -> None:
    """No line is wider, nothing foreign is obeyed, every number of the quantities is there."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    terminal(hostile(), Console(file=out, width=width, highlight=False), [Path("out/explain.html")])
    out.flush()
    text = raw.getvalue().decode(encoding)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text
    flat = " ".join(text.split())
    assert "0.400 [0.380, 0.420]" in flat
    assert "does not hold" in flat
    assert "explain.html" in flat


# ------------------------------------------------------------------------------------ the command


def test_the_command_on_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embeds, explains, writes; a mistyped sample gets a suggestion and exit code 2; embeddings have no pixels."""
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "digits"
    for name in ("0", "1", "7"):
        (data / name).mkdir(parents=True)
        for path in sorted((FIXTURES / "digits/test" / name).iterdir())[:20]:
            shutil.copy(path, data / name)
    listed = sorted(str(p.relative_to(data)) for p in data.rglob("*.png"))
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x0,y0,x1,y1\n" + "".join(f"{name},1,1,5,6\n" for name in listed))
    out = tmp_path / "out"
    given = [
        "explain",
        str(FIXTURES / "encoders/simclr.safetensors"),
        str(data),
        "--views",
        "0",
        "--out",
        str(out),
    ]
    asked = [
        "--features",
        "2",
        "--masks",
        str(boxes),
        "--sample",
        listed[3],
        "--riskiest",
        "2",
        "--save-maps",
    ]
    with pytest.raises(SystemExit) as stopped:
        main([*given, *asked, "--json"])
    assert stopped.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "explain.json").read_text())
    assert document["samples"][0]["id"] == listed[3]
    assert document["overlap"]["masked"] == 60
    files_there = {"explain.html", "explain.json", "samples.csv", "quantities.csv", "heatmaps"}
    assert {p.name for p in out.iterdir()} == files_there
    for wrong, said in (
        ([*given, "--sample", listed[3][:-5] + "x.png"], "Did you mean"),
        (["explain", "-", str(data)], "no pixels"),
        ([*given, "--masks", str(tmp_path / "none")], "no such masks"),
        ([*given, "--target", "q-score", "--threshold", "0"], "threshold"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code in (2, 3)
        told = capsys.readouterr().err
        assert said in " ".join(told.split())
        assert "Traceback" not in told
