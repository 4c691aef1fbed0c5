"""The page stays small whatever the data, and what it had to leave out of the files in it is said."""

from __future__ import annotations

import base64
import csv
import dataclasses
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_exhibits import shown_ids
from sample_report import sample_report

from repdiag.exhibits import Sprite
from repdiag.report import PAGE, enclosed, write_report
from repdiag.report.enclosed import BUDGET, BUDGETS, Packer, cut_name, some_rows
from repdiag.report.tables import cut
from repdiag.showing.pictures import MAX_GALLERY_BYTES
from repdiag.showing.sprite import MAX_BYTES
from repdiag.types import Report, Table

SMALL, LARGE = 6_000_000, 12_000_000
"""Bytes that the page may take at 10,000 and at 1,000,000 samples."""


def heavy(samples: int, classes: int) -> Report:
    """A report whose pictures take all that they may, whose tables are wide and do not compress."""
    report = sample_report(samples, 512, classes, thumbnails=0)
    rng = np.random.default_rng(0)
    columns = dict(report.samples.columns)
    columns |= {f"score_{i}": rng.random(samples) for i in range(4)}
    shown = shown_ids(report.exhibits)
    each = MAX_GALLERY_BYTES // len(shown)
    sprite = report.exhibits.sprite
    assert sprite is not None
    noise = Sprite(sprite.ids, sprite.tile, sprite.columns, rng.bytes(MAX_BYTES))
    return dataclasses.replace(
        report,
        samples=Table(columns),
        thumbnails={name: rng.bytes(each) for name in shown},
        exhibits=dataclasses.replace(report.exhibits, sprite=noise),
    )


def held(page: str) -> dict[str, dict[str, Any]]:
    """The files in the page by their own names."""
    blocks = re.findall(
        r'<script type="application/json" id="enclosed-([^"]+)">(.*?)</script>', page, re.DOTALL
    )
    return {name: json.loads(block) for name, block in blocks}


def unpacked(block: dict[str, Any]) -> bytes:
    return gzip.decompress(base64.b64decode(block["gzip"]))


def test_ten_thousand_samples_stay_below_six_megabytes(tmp_path: Path) -> None:
    """With 1,000 classes and all the pictures that there may be; the samples' rows make room, and it is said."""
    paths = write_report(heavy(10_000, 1_000), tmp_path)
    page = paths["report.html"].read_text("utf-8")
    assert len(page.encode()) <= PAGE < SMALL
    blocks = held(page)
    rows = list(csv.DictReader(io.StringIO(unpacked(blocks["samples.csv"]).decode())))
    assert blocks["samples.csv"]["name"] == cut_name("samples.csv", len(rows), 10_000)
    assert f"{len(rows):,} of 10,000 rows" in page
    assert 1_000 < len(rows) < 10_000
    for name in ("report.json", "metrics.csv", "classes.csv", "clusters.csv", "features.csv"):
        assert unpacked(blocks[name]) == paths[name].read_bytes()


def test_more_samples_make_no_larger_page(tmp_path: Path) -> None:
    """At 13,000 samples the page has as much as at 10,000, so that at a million it is far below its limit."""
    size = {}
    for samples in (10_000, 13_000):
        paths = write_report(heavy(samples, 20), tmp_path / str(samples))
        size[samples] = paths["report.html"].stat().st_size
    assert abs(size[13_000] - size[10_000]) < 300_000
    assert max(size.values()) < SMALL < LARGE
    page = (tmp_path / "13000" / "report.html").read_text("utf-8")
    text = unpacked(held(page)["samples.csv"]).decode()
    whole = (tmp_path / "13000" / "samples.csv").read_text("utf-8").splitlines()
    lines = text.splitlines()
    assert lines[0] == whole[0]
    places = np.linspace(0, 12_999, len(lines) - 1).round().astype(int)
    assert lines[1:] == [whole[1 + place] for place in places], "evenly spaced rows, each as in the file"


def test_equal_reports_have_equal_files_in_the_page(tmp_path: Path) -> None:
    """No time and no name of a temporary file gets into the compressed bytes."""
    pages = [
        write_report(sample_report(200, 16), tmp_path / name)["report.html"].read_bytes()
        for name in ("a", "b")
    ]
    assert pages[0] == pages[1]


def test_a_packer_holds_no_more_than_its_budget() -> None:
    """What is past the budget is dropped at once, however much comes; what fits comes back whole."""
    noise = np.random.default_rng(0).bytes(3 << 20)
    small = Packer(10_000)
    small.write(noise[:9_000])
    found = small.done("a.csv", 3)
    assert found is not None
    assert gzip.decompress(found.packed) == noise[:9_000]
    assert (found.rows, found.of, found.size) == (3, 3, 9_000)
    large = Packer(10_000)
    for _ in range(3):
        large.write(noise)
        assert large._buffer is None
    assert large.done("a.csv", 3) is None
    assert {"samples.csv", "report.json"} == set(BUDGETS)
    assert enclosed.budget_of("pairs.csv") == BUDGET


def test_the_first_rows_of_an_ordered_table_and_even_ones_of_the_samples() -> None:
    """Pairs are cut behind, samples to those of the map, those without a place left out; too wide a row is none."""
    table = Table({"class_a": np.arange(100)})
    assert some_rows("pairs.csv", table, 7).tolist() == list(range(7))
    assert some_rows("samples.csv", table, 3).tolist() == [0, 50, 99]
    place = np.full(100, np.nan)
    place[::2] = 1.0
    placed = Table({"id": np.arange(100), "umap_x": place, "umap_y": place})
    assert some_rows("samples.csv", placed, 2).tolist() == [0, 98]
    wide = Table({"text": np.array(["".join(map(str, range(i, 9_000))) for i in range(3)], dtype=object)})
    assert cut("pairs.csv", wide, 100) is None
    assert cut("pairs.csv", wide, -5) is None


@pytest.mark.parametrize("name", ["samples.csv", "pairs.csv"])
def test_a_cut_table_fits_and_is_not_cut_more_than_needed(name: str) -> None:
    """The budget holds, and at least four fifths of it are used."""
    rng = np.random.default_rng(0)
    table = Table({"value": rng.random(5_000), "other": rng.random(5_000)})
    found = cut(name, table, 30_000)
    assert found is not None
    assert 24_000 < len(found.packed) <= 30_000
    assert found.name == cut_name(name, found.rows or 0, 5_000)
