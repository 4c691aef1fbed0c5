"""Crowding and stability in a real browser: cells by pointer and keyboard, the toggle, tables, hostile names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browsing import Browser
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.keys import Keys

from repdiag.exhibits import ClassMatrix
from repdiag.report import write_report
from repdiag.report.columns import CLUSTER_COLUMNS, PAIR_COLUMNS
from repdiag.report.tables import unescaped
from repdiag.types import Report

pytestmark = pytest.mark.browser

MADE: dict[str, dict[str, Any]] = {
    "labelled": {"n": 600},
    "unlabelled": {"n": 300, "labelled": False},
    "hostile": {"n": 300, "names": HOSTILE, "prefix": "</script>'\">/"},
    "many": {"n": 1000, "k": 200},
    "small": {"n": 100, "k": 3},
}


@pytest.fixture(scope="module")
def made() -> dict[str, Report]:
    return {name: sample_report(d=32, **settings) for name, settings in MADE.items()}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Report]) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, report in made.items():
        write_report(report, folders[name])
    return folders


def matrix_of(report: Report) -> ClassMatrix:
    assert report.exhibits.matrix is not None
    return report.exhibits.matrix


def percent(share: float) -> str:
    return "less than 0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def share_words(matrix: ClassMatrix, i: int, j: int) -> str:
    """What a cell says, worked out from the exhibit."""
    a, b = (f"\u2068{matrix.classes[n]}\u2069" for n in (i, j))
    shown, own = percent(matrix.nearer[i, j]), percent(matrix.nearer[i, i])
    if i == j:
        rest = ""
        if len(matrix.classes) < matrix.of:
            rest = f", and {percent(matrix.mass[i])} to a class that is not shown"
        return f"{own} of {a}'s images lie nearest to their own center{rest}"
    return f"{shown} of {a}'s images lie nearer to {b}'s center than to any other (own: {own})"


def hover(browser: Browser, i: int, j: int) -> str:
    """What is said when the pointer is over a cell."""
    said: str = browser.js(
        """const svg = document.querySelector("svg.cells"), b = svg.getBoundingClientRect();
        const m = JSON.parse(document.getElementById("matrix-data").textContent).classes.length;
        svg.dispatchEvent(new PointerEvent("pointermove", {bubbles: true,
          clientX: b.left + b.width * (arguments[1] + .5) / m, clientY: b.top + b.height * (arguments[0] + .5) / m}));
        const tip = document.getElementById("matrix-tip");
        return tip.hidden ? "" : tip.textContent;""",
        i,
        j,
    )
    return said


@pytest.mark.parametrize("name", ["labelled", "hostile", "many"])
def test_the_pointer_reads_a_cell(
    browser: Browser, pages: dict[str, Path], made: dict[str, Report], name: str
) -> None:
    """The tooltip says the matrix's own numbers and names, whatever is in them; it goes when the pointer does."""
    browser.open(pages[name])
    matrix = matrix_of(made[name])
    m = len(matrix.classes)
    for i, j in ((0, 1), (1, 0), (m - 1, m - 2), (2, 2), (0, m - 1)):
        assert hover(browser, i, j) == share_words(matrix, i, j)
    assert browser.js("return document.querySelectorAll('.matrix li.on').length") == 2
    browser.js("document.querySelector('svg.cells').dispatchEvent(new PointerEvent('pointerleave'))")
    assert browser.js("return document.getElementById('matrix-tip').hidden")
    assert browser.complaints() == []
    assert browser.requests() == [(pages[name] / "report.html").as_uri()]


def test_arrow_keys_walk_through_the_matrix(
    browser: Browser, pages: dict[str, Path], made: dict[str, Report]
) -> None:
    """Each arrow moves one cell and says it in the live region; ends hold; Escape hides what is shown."""
    browser.open(pages["many"])
    matrix = matrix_of(made["many"])
    frame, last = browser.one("#matrix-frame"), len(matrix.classes) - 1
    assert frame.get_attribute("role") == "application"
    assert browser.one("#matrix-said").get_attribute("aria-live") == "polite"
    walk = [
        (Keys.ARROW_RIGHT, (0, 0)),  # the first key only shows where one is
        (Keys.ARROW_RIGHT, (0, 1)),
        (Keys.ARROW_DOWN, (1, 1)),
        (Keys.ARROW_LEFT, (1, 0)),
        (Keys.ARROW_LEFT, (1, 0)),
        (Keys.END, (1, last)),
        (Keys.ARROW_UP, (0, last)),
        (Keys.ARROW_UP, (0, last)),
        (Keys.HOME, (0, 0)),
    ]
    for key, (i, j) in walk:
        frame.send_keys(key)
        assert browser.js("return document.getElementById('matrix-said').textContent") == share_words(
            matrix, i, j
        )
        assert browser.js("return document.getElementById('matrix-tip').hidden") is False
    frame.send_keys(Keys.ESCAPE)
    assert browser.js("return document.getElementById('matrix-tip').hidden")
    assert browser.js("return document.querySelectorAll('.matrix li.on').length") == 0


def test_the_toggle_shows_distances_alike_both_ways(
    browser: Browser, pages: dict[str, Path], made: dict[str, Report]
) -> None:
    """By distance a cell and its mirror say one number and have one color; by share they differ."""
    browser.open(pages["labelled"])
    matrix = matrix_of(made["labelled"])
    shares = {hover(browser, i, j).split("%")[0] for i, j in ((2, 3), (3, 2))}
    assert len(shares) == 2
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert browser.js(shown, "svg.cells g.distance") == "none"
    browser.one("#matrix-by-nearer").send_keys(Keys.ARROW_RIGHT)  # radio buttons, by keyboard
    assert browser.js(shown, "svg.cells g.distance") != "none"
    assert browser.js(shown, "svg.cells g.nearer") == "none"
    assert browser.js(shown, ".ramp-of.nearer") == "none"
    for i, j in ((2, 3), (0, 9)):
        expected = f"{matrix.distance[i, j]:.3f} apart"
        assert hover(browser, i, j).endswith(expected)
        assert hover(browser, j, i).endswith(expected)
    colors = browser.js(
        """const at = {};
        for (const p of document.querySelectorAll("svg.cells g.distance path"))
          for (const [, x, y, w] of p.getAttribute("d").matchAll(/M(\\d+) (\\d+)h(\\d+)/g))
            for (let k = 0; k < w / 20; k++) at[[y / 20, x / 20 + k]] = p.getAttribute("class");
        return Object.entries(at).map(([key, color]) => [...key.split(",").map(Number), color]);"""
    )
    painted = {(i, j): color for i, j, color in colors}
    assert len(painted) == 90
    assert all(painted[j, i] == color for (i, j), color in painted.items())


def test_without_scripts_all_is_there(browser: Browser, pages: dict[str, Path]) -> None:
    """The matrix, its other coloring and its numbers need no script."""
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get((pages["labelled"] / "report.html").as_uri())
        found = browser.driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {
                "returnByValue": True,
                "expression": """(() => { const r = document.getElementById("matrix-by-distance"); r.checked = true;
                  const shown = q => getComputedStyle(document.querySelector(q)).display !== "none";
                  return [document.getElementById("matrix-frame").getAttribute("role"),
                    document.getElementById("matrix-said").hidden, shown("g.distance"), shown("g.nearer"),
                    document.querySelectorAll("#matrix-cells tbody tr").length,
                    document.querySelectorAll("#cluster-table svg circle").length]; })()""",
            },
        )["result"]["value"]
        assert found == ["region", True, True, False, 50, 10]
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


TABLES = {"pairs": "#pair-table", "clusters": "#cluster-table"}


@pytest.mark.parametrize("part", ["pairs", "clusters"])
@pytest.mark.parametrize("name", ["labelled", "hostile", "many"])
def test_pair_and_cluster_values_equal_the_csv(
    browser: Browser, pages: dict[str, Path], part: str, name: str
) -> None:
    """Every cell shown is that of the file, whose column it stands in; text stays text."""
    browser.open(pages[name])
    frame = pd.read_csv(pages[name] / f"{part}.csv", dtype=str, keep_default_na=False)
    known = {"pairs": PAIR_COLUMNS, "clusters": CLUSTER_COLUMNS}[part]
    heads = browser.js(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.querySelector('button')?.textContent.trim())",
        f"{TABLES[part]} thead th",
    )
    named = {column.title: key for key, column in known.items()}
    rows = browser.table(TABLES[part])
    if part == "clusters":
        frame = frame.iloc[frame["jaccard"].astype(float).argsort(kind="stable")]
        assert len(rows) == (20 if name == "many" else len(frame))
    else:
        assert len(rows) == min(300, len(frame))
    assert {named[head] for head in heads if head} == set(frame.columns)
    for row, (_, expected) in zip(rows, frame.head(len(rows)).iterrows(), strict=True):
        for cell, head in zip(row, heads, strict=True):
            if head is None:
                continue  # the drawing
            value = expected[named[head]]
            try:
                assert float(cell) == float(value)
            except ValueError:
                assert cell == (unescaped(value) or "–")


def test_forests_and_cells_equal_the_files(
    browser: Browser, pages: dict[str, Path], made: dict[str, Report]
) -> None:
    """Values in the forests are metrics.csv's; the largest cells are the matrix's, largest first."""
    browser.open(pages["labelled"])
    frame = pd.read_csv(pages["labelled"] / "metrics.csv").set_index("name")
    rows = browser.js(
        "return [...document.querySelectorAll('tr[data-row]')].map(r => [r.dataset.row, r.querySelector('data').value])"
    )
    assert {"nearest_center_error", "cdnv", "seed_ari"} <= {name for name, _ in rows}
    assert all(float(value) == frame.loc[name, "value"] for name, value in rows)
    matrix = matrix_of(made["labelled"])
    number_of = {name: i for i, name in enumerate(matrix.classes)}
    cells = browser.table("#matrix-cells")
    for a, b, share, own, distance in cells:
        i, j = number_of[a], number_of[b]
        assert (float(share), float(own), float(distance)) == (
            matrix.nearer[i, j],
            matrix.nearer[i, i],
            matrix.distance[i, j],
        )
    shares = [float(row[2]) for row in cells]
    assert shares == sorted(shares, reverse=True)


def test_tables_sort_by_their_headings(browser: Browser, pages: dict[str, Path]) -> None:
    """The clusters come sorted by how well they come back; a heading sorts them by size, drawings and all."""
    browser.open(pages["labelled"])
    heads = browser.all("#cluster-table thead th")
    assert [h.get_attribute("aria-sort") for h in heads].count("ascending") == 1
    jaccard = next(i for i, h in enumerate(heads) if h.get_attribute("aria-sort") == "ascending")
    place = "return [...document.querySelectorAll('#cluster-table circle')].map(c => parseFloat(c.getAttribute('cx')))"
    before = browser.js(place)
    assert before == sorted(before)
    size = next(i for i, h in enumerate(heads) if h.text.strip().startswith("Samples"))
    browser.one(f"#cluster-table thead th:nth-child({size + 1}) button").send_keys(Keys.ENTER)
    rows = browser.table("#cluster-table")
    assert [int(row[size]) for row in rows] == sorted(int(row[size]) for row in rows)
    after = browser.js(place)
    assert after != before
    assert after == pytest.approx([100 * float(row[jaccard]) for row in rows], abs=0.01)


@pytest.mark.parametrize("name", ["hostile", "many"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_width_scrolls_the_page_sideways(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    """On any screen wide things scroll inside; the matrix's rows keep their names, aligned with the cells."""
    browser.size(width)
    try:
        browser.open(pages[name])
        browser.js(
            "document.querySelectorAll('#crowding details, #stability details').forEach(d => d.open = true)"
        )
        assert browser.js("return document.documentElement.scrollWidth") <= width
        over = browser.js(
            """const page = document.documentElement.clientWidth;
            return [...document.querySelectorAll("#crowding *, #stability *")].filter(
              e => !e.closest(".scroll *, svg, .pair thead th *")
              && e.getBoundingClientRect().right > page + 1).map(e => e.outerHTML.slice(0, 80))"""
        )
        assert over == []
        offset = browser.js(
            """const svg = document.querySelector("svg.cells").getBoundingClientRect();
            const rows = [...document.querySelectorAll(".matrix .rows li")].map(e => e.getBoundingClientRect());
            const owns = [...document.querySelectorAll(".matrix .owns li")].map(e => e.getBoundingClientRect());
            const cell = svg.height / rows.length;
            return Math.max(...[rows, owns].flatMap(list => list.map((r, i) =>
              Math.abs(r.top + r.height / 2 - svg.top - (i + .5) * cell))));"""
        )
        assert offset < 1.5
        assert browser.complaints() == []
    finally:
        browser.size(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_cells_can_be_read(browser: Browser, pages: dict[str, Path], scheme: str) -> None:
    """Text in a cell has a contrast of 4.5 to 1 on each color of the ramp, which the checker does not see in SVG."""
    browser.open(pages["labelled"], prefers_color_scheme=scheme)
    found = browser.js(
        """const svg = document.querySelector("svg.cells"), style = e => getComputedStyle(e).fill;
        const make = (name, c) => { const e = document.createElementNS(svg.namespaceURI, name);
          e.setAttribute("class", c); svg.append(e); return e; };
        return [1, 2, 3, 4, 5, 6, 7, 8].map(n =>
          [style(make("path", `h${n}`)), style(make("text", n > 5 ? "on-dark" : ""))]);"""
    )
    assert len({back for back, _ in found}) == 8

    def luminance(color: str) -> float:
        channels = [float(c) / 255 for c in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    steps = [luminance(back) for back, _ in found]
    assert steps == sorted(steps, reverse=scheme == "light"), "the ramp goes one way"
    for back, front in found:
        low, high = sorted((luminance(back), luminance(front)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (back, front)


def test_pictures_of_pairs_are_pictures(
    browser: Browser, pages: dict[str, Path], made: dict[str, Report]
) -> None:
    """Each card has the chosen images, a's on the left, and each is named by its sample's id."""
    browser.open(pages["labelled"])
    browser.js("document.querySelectorAll('#crowding details').forEach(d => d.open = true)")
    browser.wait("[...document.querySelectorAll('.pair img')].every(i => i.complete)")
    found = browser.js(
        """return [...document.querySelectorAll(".pair")].map(card => [...card.querySelectorAll(".border ul")].map(
        side => [...side.querySelectorAll("img")].map(i => [i.title, i.naturalWidth > 0])))"""
    )
    chosen = made["labelled"].exhibits.pairs
    assert found == [[[[i, True] for i in ids] for ids in (pair.a_ids, pair.b_ids)] for pair in chosen]


def test_without_labels_there_are_clusters_and_no_classes(browser: Browser, pages: dict[str, Path]) -> None:
    """An unlabelled report has no crowding; its clusters have no majority and are shown all the same."""
    browser.open(pages["unlabelled"])
    assert browser.all("#crowding") == []
    assert len(browser.table("#cluster-table")) == 10
    assert "Mostly" not in browser.one("#cluster-table thead").text
    assert "Against the classes" not in browser.one("#stability").text
    assert browser.complaints() == []
