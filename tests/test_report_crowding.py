"""Heat map, pair cards, forests and cluster rows against plain loops and cases worked out by hand."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from sample_report import sample_report

from repdiag.exhibits import ClassMatrix, Exhibits, PairPictures
from repdiag.metrics.cluster_validity import category
from repdiag.report import cluster_figures, heatmap, pair_cards
from repdiag.report.axes_figure import end_labels, forest_row, mark
from repdiag.report.heatmap import UNIT, Steps, distance_steps, share_steps
from repdiag.report.html import render
from repdiag.report.numbers import number
from repdiag.report.sections import crowding, stability
from repdiag.report.svg import Scale, own_scale
from repdiag.types import Interval, Measurement, MetricResult, Null, Report, Skipped, Table


def matrix(m: int, of: int | None = None, seed: int = 0) -> ClassMatrix:
    """Random shares that add up to at most 1, and a symmetric distance."""
    rng = np.random.default_rng(seed)
    near = rng.dirichlet(np.full(m + 1, 0.2), m)
    points = rng.normal(size=(m, 3))
    apart = np.sqrt(((points[:, None] - points) ** 2).sum(2))
    return ClassMatrix(tuple(f"class {i}" for i in range(m)), near[:, :m], apart, near[:, m], of or m)


def painted(svg: str, group: str, m: int) -> list[list[int]]:
    """The color of each cell, read back from the paths: 0 where nothing was painted."""
    body = re.search(rf'<g class="{group}">(.*?)</g>', svg)
    assert body is not None
    out = [[0] * m for _ in range(m)]
    for d, name in re.findall(r'<path d="([^"]*)" class="([^"]*)"', body.group(1)):
        for x, y, width, down in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", d):
            assert int(down) == UNIT
            for j in range(int(x) // UNIT, (int(x) + int(width)) // UNIT):
                assert out[int(y) // UNIT][j] == 0, "no cell is painted twice"
                out[int(y) // UNIT][j] = -1 if name == "unknown" else int(name[1:])
    return out


@pytest.mark.parametrize("m", [2, 10, 60])
def test_every_cell_has_the_color_of_its_step(m: int) -> None:
    """A loop over cells and edges finds the colors that the joined paths paint; the diagonal stays free."""
    found = matrix(m)
    drawn = heatmap.heatmap(found)
    assert drawn is not None
    off = ~np.eye(m, dtype=bool)
    for group, steps, values in (
        ("nearer", share_steps(found.nearer[off]), found.nearer),
        ("distance", distance_steps(found.distance[off]), found.distance),
    ):
        assert steps is not None
        assert steps.edges[0] <= values[off].min() + 1e-12
        assert values[off].max() <= steps.edges[-1] + 1e-12
        seen = painted(drawn.svg, group, m)
        for i in range(m):
            for j in range(m):
                step = next(s for s in range(1, len(steps.edges)) if values[i, j] <= steps.edges[s] + 1e-9)
                expected = 0 if i == j or (group == "nearer" and values[i, j] == 0) else steps.color(step)
                assert seen[i][j] == expected


def test_a_full_matrix_of_sixty_stays_light() -> None:
    """Drawing and data of 60 x 60 cells without an empty one are under 150 kB."""
    rng = np.random.default_rng(1)
    found = dataclasses.replace(matrix(60, 1000), nearer=rng.uniform(0.001, 0.016, (60, 60)))
    drawn = heatmap.heatmap(found)
    assert drawn is not None
    assert len(drawn.svg) + len(str(drawn.data)) < 150_000
    assert drawn.data["elsewhere"] is not None
    assert drawn.size == 60


def test_colors_rise_with_the_share_and_fall_with_the_distance() -> None:
    """Equal steps use the whole ramp; nothing is level 0, unknown is -1; one value has one strong color."""
    shares = Steps((0.0, 0.1, 0.2, 0.3))
    values = np.array([0.0, 1e-9, 0.1, 0.11, 0.3, np.nan])
    assert shares.colors(values).tolist() == [0, 1, 1, shares.color(2), 8, -1]
    assert 1 < shares.color(2) < 8
    assert [Steps((0.5, 0.6, 0.7), dark_low=True).color(s) for s in (1, 2)] == [8, 1]
    same = distance_steps(np.array([0.8, 0.8]))
    assert same is not None
    assert same.colors(np.array([0.8])).tolist() == [8]
    assert share_steps(np.array([0.0, np.nan])) is None
    assert distance_steps(np.array([np.nan])) is None


def test_three_classes_by_hand() -> None:
    """What is listed, said and drawn beside the matrix is what the matrix holds."""
    near = np.array([[0.61, 0.23, 0.0], [0.1, 0.9, 0.0], [np.nan, np.nan, np.nan]])
    apart = np.array([[0.0, 0.5, np.nan], [0.5, 0.0, np.nan], [np.nan, np.nan, np.nan]])
    drawn = heatmap.heatmap(ClassMatrix(("cat", "dog", "none"), near, apart, np.array([0.16, 0, np.nan]), 9))
    assert drawn is not None
    assert [[cell.shown for cell in row] for row in drawn.cells] == [
        ["cat", "dog", "23.0%", "61.0%", "0.500"],
        ["dog", "cat", "10.0%", "90.0%", "0.500"],
    ]
    assert drawn.of_cells == 2
    assert [cell.shown for cell, _ in drawn.own] == ["61.0%", "90.0%", "–"]
    assert re.findall(r'<rect( x="[^"]*")? width="([^"]*)" height="100%" class="(\w+)"', drawn.own[0][1]) == [
        ("", "100%", "shown"),
        ("", "61.0%", "self"),
        (' x="84.0%"', "16.0%", "elsewhere"),
    ]
    assert drawn.data == {
        "classes": ("cat", "dog", "none"),
        "nearer": [[61.0, 23.0, 0], [10.0, 90.0, 0], [None] * 3],
        "distance": [[0.5, None], [None], []],
        "elsewhere": [16.0, 0, None],
    }
    assert painted(drawn.svg, "nearer", 3) == [[0, 8, 0], [3, 0, 0], [-1, -1, 0]]
    assert painted(drawn.svg, "distance", 3) == [[0, 8, -1], [8, 0, -1], [-1, -1, 0]]


def test_one_class_or_nothing_known_has_no_matrix() -> None:
    assert heatmap.heatmap(matrix(1)) is None
    nothing = np.full((2, 2), np.nan)
    assert heatmap.heatmap(ClassMatrix(("a", "b"), nothing, nothing, np.full(2, np.nan), 2)) is None
    alone = heatmap.heatmap(ClassMatrix(("a", "b"), np.eye(2), nothing, np.zeros(2), 2))
    assert alone is None, "no share off the diagonal and no distance: nothing to color"


def test_cards_read_their_row_either_way_round() -> None:
    """A pair that pairs.csv lists as (b, a) shows b's numbers on b's side."""
    report = sample_report(200, 16)
    columns = report.pairs.columns
    a, b = str(columns["class_a"][0]), str(columns["class_b"][0])
    ids = tuple(report.thumbnails)
    for names in ((a, b), (b, a)):
        pair = PairPictures(*names, ids[:6], ids[6:9])
        (card,), _ = pair_cards.pair_cards(dataclasses.replace(report, exhibits=Exhibits(pairs=(pair,))))
        sides = ("ab", "ba") if names == (a, b) else ("ba", "ab")
        assert [float(cell.exact) for cell in (card.shares[0][0], card.shares[0][2])] == [
            columns[f"nearer_{side}"][0] for side in sides
        ]
        assert float(card.numbers[0][1].exact) == columns["distance"][0]
        assert [len(card.a_images), len(card.b_images)] == [4, 3]
    assert columns["nearer_ab"][0] != columns["nearer_ba"][0]


def test_cards_without_pictures_keep_their_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thumbnails, no chosen pairs, or images beyond the page's budget: facts stay."""
    bare = sample_report(200, 16, thumbnails=0)
    cards, _ = pair_cards.pair_cards(bare)
    assert cards
    assert all(card.shares and not card.a_images for card in cards)
    unchosen, _ = pair_cards.pair_cards(dataclasses.replace(bare, exhibits=Exhibits()))
    assert [(c.a, c.b) for c in unchosen] == list(
        zip(bare.pairs.columns["class_a"][:10], bare.pairs.columns["class_b"][:10], strict=True)
    )
    text = render(bare)
    assert "On the left" not in text
    assert "Pairs that crowd each other most" in text
    full = sample_report(200, 16)
    most = sum(len(full.thumbnails[i]) for i in full.exhibits.pairs[0].a_ids)
    monkeypatch.setattr(pair_cards, "MAX_BYTES", most)
    found, left_out = pair_cards.pair_cards(full)
    assert [len(found[0].a_images), len(found[0].b_images), len(found[1].a_images)] == [4, 0, 0]
    assert left_out == 8 * len(full.exhibits.pairs) - 4
    assert all(card.shares for card in found)
    assert f"{left_out} more pictures are left out" in render(full)


# ------------------------------------------------------------------------------------ forests


def measured(name: str, report: Report, **changes: Any) -> Measurement:
    found = report.measurement(name)
    assert found is not None
    assert isinstance(found.outcome, MetricResult)
    return dataclasses.replace(found, outcome=dataclasses.replace(found.outcome, **changes))


def places(svg: str, class_: str) -> list[float]:
    """Left ends (x, x1 or cx) of the marks of a class, in percent."""
    return [
        float(x)
        for x in re.findall(rf'<\w+ (?:c?x|x1)="([\d.]+)%"(?: [^>]*)? class="{re.escape(class_)}"', svg)
    ]


def test_a_row_is_drawn_to_scale() -> None:
    """Value, interval and null at their places by hand; what lies outside stays inside the drawing."""
    result = MetricResult(0.5, Interval(0.25, 0.6, "b", 10), Null("n", 0.1, 0.1, 5))
    svg = mark(Scale(0.0, 1.0), result, "said", guides=(0.0, 1.0))
    assert places(svg, "dot") == [50.0]
    assert places(svg, "interval") == [25.0]
    assert places(svg, "chance") == [0.0], "0.1 - 2 * 0.1 lies below the scale"
    assert places(svg, "null") == [10.0]
    assert places(svg, "guide") == [0.0, 100.0]
    assert 'width="35.00%"' in svg
    assert Scale(0.01, 100.0, log=True).at(1.0) == pytest.approx(50)
    for low, high, log in ((1.0, 1.0, False), (0.0, 1.0, True)):
        with pytest.raises(ValueError, match="no scale"):
            Scale(low, high, log)


def test_only_numbers_far_apart_get_a_logarithmic_scale() -> None:
    """CDNV beside its null of hundreds is logarithmic and says so; a bounded metric never is."""
    report = sample_report(200, 16)
    far = measured("cdnv", report)
    assert isinstance(far.outcome, MetricResult)
    scale = own_scale(far.spec, far.outcome)
    assert (scale.low, scale.high, scale.log) == (0.1, 1000.0, True)
    assert end_labels(scale, far.spec) == ("0.1 (log scale)", "1,000 →")
    near = measured("cdnv", report, null=None)
    assert isinstance(near.outcome, MetricResult)
    assert not own_scale(near.spec, near.outcome).log
    share = measured("nearest_center_error", report, value=1e-6, interval=None)
    assert isinstance(share.outcome, MetricResult)
    assert own_scale(share.spec, share.outcome) == Scale(0.0, 1.0)
    assert forest_row(dataclasses.replace(share, outcome=Skipped("why"))) is None


def test_the_sections_show_what_was_measured_and_say_why_not() -> None:
    """Forests hold every measured metric with its exact value; skipped axes are named with their reasons."""
    report = sample_report(200, 16)
    text = render(report)
    for measurement in report.measurements:
        outcome, name = measurement.outcome, measurement.spec.name
        if measurement.spec.family == "crowding" and isinstance(outcome, MetricResult):
            assert f'data-row="{name}"' in text
    for name in ("seed_ari", "subsample_ari", "cdnv"):
        row = text[text.index(f'data-row="{name}"') :]
        row = row[: row.index("</tr>")]
        found = report.value(name)
        assert found is not None
        assert found.null is not None
        assert f'<data value="{found.value}">{number(found.value)}</data>' in row
        assert number(found.null.mean, like=found.value) in row
        assert f'href="#metric-{name}"' in row
    view = stability.view(report, {})
    assert view is not None
    assert [(one.name, "augmented views" in one.reason) for one in view.skipped] == [
        ("augmentation_ari", True)
    ]
    assert "Stable does not mean right" in text
    assert view.right is not None


def test_the_worst_classes_come_from_the_class_table() -> None:
    report = sample_report(200, 16)
    share = report.classes.columns["nearest_center_error"]
    names = report.classes.columns["class"]
    expected = sorted(zip(share, names, strict=True), key=lambda pair: -pair[0])[:3]
    assert [(float(cell.exact), name) for name, cell in crowding.worst_classes(report)] == expected
    perfect = dict(report.classes.columns) | {"nearest_center_error": np.zeros(len(share))}
    changed = dataclasses.replace(report, classes=Table(perfect))
    assert crowding.worst_classes(changed) == ()
    assert "No class has images nearer" in render(changed)


# ------------------------------------------------------------------------------------ clusters


def test_levels_are_those_of_the_categories() -> None:
    """The lines and words of the drawing are where `category` changes its answer."""
    ends = (0.0, *cluster_figures.LEVELS, 1.0)
    assert len(cluster_figures.WORDS) == len(ends) - 1
    for low, high, word in zip(ends[:-1], ends[1:], cluster_figures.WORDS, strict=True):
        assert category((low + high) / 2) == word


def test_clusters_are_rows_from_the_lowest_up() -> None:
    """Dots stand at their Jaccard; one that is not known has none, and is last."""
    report = sample_report(200, 16)
    jaccard = report.clusters.columns["jaccard"].copy()
    jaccard[3] = np.nan
    changed = dataclasses.replace(
        report, clusters=Table(dict(report.clusters.columns) | {"jaccard": jaccard})
    )
    found = cluster_figures.dots(changed, Null("n", 0.3, 0.05, 3))
    assert found is not None
    order = sorted((i for i in range(10) if i != 3), key=lambda i: jaccard[i])
    assert [row.before[0].exact for row in found.rows] == [*map(str, order), "3"]
    assert [places(row.svg, "dot") for row in found.rows] == [
        *([pytest.approx(100 * jaccard[i], abs=0.01)] for i in order),
        [],
    ]
    assert all(places(row.svg, "chance") == [20.0] for row in found.rows)
    assert cluster_figures.histogram(changed, None) is None, "ten clusters are drawn one by one"


def test_many_clusters_are_a_histogram_and_the_lowest() -> None:
    """Counts of the bars are those of a loop, and add up to all; the 20 lowest follow."""
    report = sample_report(400, 16, k=90)
    values = report.clusters.columns["jaccard"]
    figure = cluster_figures.histogram(report, Null("n", 0.3, 0.05, 3))
    assert figure is not None
    counts = {round(row["jaccard from"], 6): row["clusters"] for row in figure.rows}
    assert sum(counts.values()) == 90
    for low, count in counts.items():
        assert count == sum(low <= v < low + 0.05 for v in values)
    assert figure.svg.count('class="column"') == len(counts)
    assert "0.300 on average" in figure.caption
    found = cluster_figures.dots(report, None)
    assert found is not None
    assert (len(found.rows), found.total) == (20, 90)
    assert [float(row.jaccard.exact) for row in found.rows] == sorted(values)[:20]


def test_what_is_cut_is_said() -> None:
    """A thousand classes: the page says how many of the matrix, the pairs and the clusters it shows."""
    text = render(sample_report(1000, 16, k=1000, thumbnails=0))
    for words in (
        "Shown are 40 of 1,000 classes",
        "The 300 closest of 2,994 pairs",
        "The 50 largest of 1,560 cells",
        "Shown are the 20 of 1,000 that come back least",
        "The 200 of 1,000 clusters that come back least",
    ):
        assert words in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text)), words
