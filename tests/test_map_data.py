"""What the map puts into the page: which samples, on which planes, and columns that come back as they were."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sample_exhibits import sample_sprite
from sample_report import HOSTILE, sample_report

from repdiag.report import packed
from repdiag.report.scatter import map_data, scatter, sprite_data, still
from repdiag.report.sections import map as section
from repdiag.types import Report, Table


def unpack(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), "<u2")


def decoded(coded: dict[str, Any]) -> list[str]:
    """Front-coded texts as the page's script reads them: prefixes in UTF-16 units."""
    out, before = [], b""
    for same, rest in zip(unpack(coded["shared"]), coded["rest"], strict=True):
        before = before[: 2 * int(same)] + rest.encode("utf-16-le", "surrogatepass")
        out.append(before.decode("utf-16-le"))
    return out


def without(report: Report, *names: str, **columns: Any) -> Report:
    kept = {name: column for name, column in report.samples.columns.items() if name not in names}
    return dataclasses.replace(report, samples=Table({**kept, **columns}))


def test_texts_come_back_from_front_coding_and_cost_little() -> None:
    """Any texts, shared beginnings, letters beyond 16 bits; 10,000 sorted names cost 8 bytes of rest each."""
    texts = [*HOSTILE, "🦊🦊a", "🦊🦊b", "🦊", "", "", "same", "same", "x" * 70_000 + "1", "x" * 70_000 + "2"]
    coded = packed.front_coded(texts, 10**7, 64)
    assert decoded(coded) == texts
    assert not coded["cut"]
    names = [f"test/airplane_{i // 1000}/{i:06d}.png" for i in range(10_000)]
    coded = packed.front_coded(names, 10**7, 64)
    assert decoded(coded) == names
    assert len(json.dumps(coded["rest"], separators=(",", ":"))) < 90_000


def test_texts_beyond_their_budget_are_cut_and_that_is_said() -> None:
    """What would make the page too heavy is cut to 64 characters, which the data admits."""
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(97, 123, 400))) for _ in range(200)]
    coded = packed.front_coded(texts, 20_000, 64)
    assert coded["cut"]
    assert all(
        len(text) == 64 and text[:30] == own[:30] for text, own in zip(decoded(coded), texts, strict=True)
    )
    assert packed.whole_or_shortened(["a", "b"], 8, 64) == (["a", "b"], False)
    assert packed.whole_or_shortened(texts, 20_000, 64)[1]


def test_magnitudes_come_back_within_half_a_step() -> None:
    """Values over any range are off by at most (high - low) / (2 * 65534); NaN is MISSING; one value is itself."""
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(size=500),
        rng.normal(size=500) * 1e300,
        np.full(9, 0.25),
        np.array([-1e308, 1e308]),
    ):
        values = np.concatenate([values, [np.nan, np.inf]])
        coded = packed.magnitudes(values)
        assert coded is not None
        code = unpack(coded["codes"]).astype(float)
        assert (code[-2:] == packed.MISSING).all()
        share = code[:-2] / packed.STEPS
        back = coded["low"] * (1 - share) + coded["high"] * share
        step = coded["high"] / packed.STEPS - coded["low"] / packed.STEPS
        assert (np.abs(back - values[:-2]) <= 0.5000001 * step).all()
        json.dumps(coded, allow_nan=False)
    assert packed.magnitudes(np.array([np.nan])) is None


def test_both_planes_show_the_same_samples_in_true_shape() -> None:
    """Each plane is its columns moved and scaled alike on both axes, its longer side all of the range, centered."""
    report = sample_report(300, 16)
    umap_x = report.samples.columns["umap_x"].copy()
    umap_x[[3, 250]] = np.nan
    report = without(report, umap_x=umap_x)
    shown = scatter(report)
    assert shown is not None
    assert [p.key for p in shown.planes] == ["umap", "pca"]
    assert (shown.placed, shown.rows.size, shown.total, shown.thinned) == (298, 298, 300, False)
    for plane in shown.planes:
        x, y = (report.samples.columns[f"{plane.key}_{axis}"][shown.rows].astype(float) for axis in "xy")
        factor = np.ptp(plane.x) / np.ptp(x)
        np.testing.assert_allclose(plane.x - plane.x[0], (x - x[0]) * factor, atol=1e-6 * packed.STEPS)
        np.testing.assert_allclose(plane.y - plane.y[0], -(y - y[0]) * factor, atol=1e-6 * packed.STEPS)
        assert max(np.ptp(plane.x), np.ptp(plane.y)) == pytest.approx(packed.STEPS)
        for v in (plane.x, plane.y):
            assert (v.min() + v.max()) / 2 == pytest.approx(packed.STEPS / 2)


def test_one_plane_or_none() -> None:
    """Only PCA: it is shown alone. PCA that lacks a sample is left out. No places: no section. One point is fine."""
    report = sample_report(40, 16)
    alone = scatter(without(report, "umap_x", "umap_y"))
    assert alone is not None
    assert [p.key for p in alone.planes] == ["pca"]
    broken = report.samples.columns["pca_x"].copy()
    broken[5] = np.nan
    partly = scatter(without(report, pca_x=broken))
    assert partly is not None
    assert [p.key for p in partly.planes] == ["umap"]
    assert section.view(without(report, "umap_x", "umap_y", "pca_x", "pca_y"), {}) is None
    nowhere = {name: np.full(40, np.nan) for name in ("umap_x", "umap_y", "pca_x", "pca_y")}
    assert section.view(without(report, **nowhere), {}) is None
    single = dict.fromkeys(("umap_y", "pca_x", "pca_y"), np.zeros(40))
    one = scatter(without(report, umap_x=np.where(np.arange(40) == 7, 2.0, np.nan), **single))
    assert one is not None
    assert one.rows.tolist() == [7]


def test_captions_say_what_each_plane_can_tell() -> None:
    """UMAP's says it is for looking only, PCA's the share of the variance that its axes hold."""
    view = section.view(sample_report(60, 16), {})
    assert view is not None
    umap, pca = view.panels
    assert umap.caption.startswith("For looking only")
    assert "hold 29.0% of the variance (18.0% and 11.0%)" in pca.caption


def test_tiles_follow_the_ids_of_the_samples() -> None:
    """A sprite in the map's own order needs no table; in another order, each sample keeps its own picture."""
    report = sample_report(50, 16)
    ids = [str(i) for i in report.samples.columns["id"]]
    shown = scatter(report)
    assert shown is not None
    plain = sprite_data(report, shown)
    assert plain is not None
    assert "tiles" not in plain
    mixed = [*np.random.default_rng(0).permutation(ids)[:30], "unknown"]
    sprite = sample_sprite(tuple(map(str, mixed)))
    other = sprite_data(
        dataclasses.replace(report, exhibits=dataclasses.replace(report.exhibits, sprite=sprite)), shown
    )
    assert other is not None
    expected = [mixed.index(i) if i in mixed else packed.MISSING for i in ids]
    assert unpack(other["tiles"]).tolist() == expected
    assert Image.open(io.BytesIO(base64.b64decode(other["jpeg"]))).width == other["columns"] * other["tile"]


def test_ten_thousand_samples_stay_below_their_share_of_the_page() -> None:
    """Places, categories and magnitudes of 10,000 samples cost less than 450 KB; ids come on top and are whole."""
    report = sample_report(10_500, 16)
    shown = scatter(report)
    assert shown is not None
    assert shown.thinned
    data = map_data(report, shown)
    ids = data.pop("ids")
    assert len(json.dumps(data, separators=(",", ":"))) < 450_000
    assert decoded(ids) == [str(i) for i in report.samples.columns["id"][shown.rows]]
    assert len(json.dumps(ids, separators=(",", ":"))) < 250_000


def test_without_scripts_there_are_dots_of_the_classes() -> None:
    """The still picture has every sample once, at most 1,500, in the colors of at most eight classes."""
    for n, k, colors in ((300, 5, 5), (3000, 5, 5), (300, 20, 1)):
        report = sample_report(n, 16, k=k)
        shown = scatter(report)
        assert shown is not None
        for _, paths in still(report, shown):
            assert len(paths) == colors
            assert sum(path.count("M") for _, path in paths) == min(n, 1500)
