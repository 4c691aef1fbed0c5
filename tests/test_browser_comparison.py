"""A comparison's page in a real browser: offline, without an error, usable by mouse and by keyboard."""

from __future__ import annotations

import base64
import csv
import gzip
import math
from pathlib import Path

import pytest
import test_browser_report as page
from browsing import Browser
from sample_comparison import hostile_comparison, sample_comparison
from sample_report import HOSTILE
from selenium.webdriver.common.keys import Keys
from test_compare_report import side_by_side

from repdiag.report.comparison import write_comparison
from repdiag.report.side_by_side import write_side_by_side

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of written comparisons."""
    made = {
        "three": sample_comparison(600),
        "seven": sample_comparison(1000, 200, seeds=5, ablations=4, gain=-1.0, collapsed="M=0"),
        "unlabeled": sample_comparison(300, labelled=False),
        "hostile": hostile_comparison(300),
    }
    found = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, comparison in made.items():
        write_comparison(comparison, found[name])
    found["side"] = tmp_path_factory.mktemp("side")
    write_side_by_side(side_by_side(as_trajectory=True, show_crowding=True), found["side"])
    return found


def show(browser: Browser, folder: Path, **media: str) -> None:
    """Open the comparison in `folder` under media features such as `prefers_color_scheme`."""
    browser.open(folder / ("compare.html" if folder.name.startswith("side") else "comparison.html"), **media)


@pytest.mark.parametrize("name", ["three", "seven", "unlabeled", "hostile", "side"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_error_and_no_request(browser: Browser, folders: dict[str, Path], name: str, scheme: str) -> None:
    """Opening a page logs nothing, violates no policy, and asks for its own file alone."""
    show(browser, folders[name], prefers_color_scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [browser.driver.current_url]


def test_the_policy_is_in_force(browser: Browser, folders: dict[str, Path]) -> None:
    """Code that the page did not bring does not run, and the log says so: the test above can fail."""
    show(browser, folders["three"])
    browser.js(
        'const s = document.createElement("script"); s.textContent = "window.injected = true";'
        "document.body.append(s);"
    )
    assert browser.js("return window.injected === undefined")
    assert any("Content Security Policy" in line for line in browser.complaints())


def test_hostile_text_stays_text(browser: Browser, folders: dict[str, Path]) -> None:
    """Names that look like markup are shown letter by letter and never run."""
    show(browser, folders["hostile"])
    assert browser.driver.title.startswith(f"{HOSTILE[2]} against control: ")
    assert browser.js("return document.querySelector('#verdict h2').textContent") == f"{HOSTILE[2]} helped."
    shown = browser.js("return [...document.querySelectorAll('.warnings bdi')].map(e => e.textContent)")
    assert shown == list(HOSTILE)
    assert browser.js("return document.querySelectorAll('script:not([type])').length") == 3
    assert browser.js("return [...document.images].every(i => i.src.startsWith('data:image/jpeg;base64,'))")
    assert sorted(row[0] for row in browser.table()) == sorted(HOSTILE)


def test_values_equal_the_csv(browser: Browser, folders: dict[str, Path]) -> None:
    """Every metric's numbers, in the forest and in the table, are those of differences.csv."""
    for name in ("three", "unlabeled"):
        show(browser, folders[name])
        with (folders[name] / "differences.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if (r["subject"], r["against"]) == ("qscore", "control")]
        expected = {row["metric"]: row for row in rows}
        shown = browser.js(
            """return [...document.querySelectorAll("#metric-table tbody tr")].map(r => [r.dataset.metric,
            [...r.querySelectorAll("data")].map(d => d.value), r.textContent])"""
        )
        assert {metric for metric, *_ in shown} == set(expected)
        for metric, values, text in shown:
            row = expected[metric]
            numbers = [float(row["other"]), float(row["value"]), float(row["delta"])]
            assert [float(v) for v in values[1:]] == numbers, (
                "control, after and change; before is of another pair"
            )
            assert row["effect"] in text or "moved" in text
        forest = browser.js(
            """return [...document.querySelectorAll("#differences tr[data-metric]")].map(r => [r.dataset.metric,
            r.querySelector("data").value])"""
        )
        assert {metric: float(value) for metric, value in forest} == {
            metric: float(row["delta"]) for metric, row in expected.items()
        }


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_every_table_sorts_both_ways(browser: Browser, folders: dict[str, Path], way: str) -> None:
    """A heading sorts upward, then downward, says so in aria-sort, and leaves the other tables alone."""
    show(browser, folders["three"], prefers_reduced_motion="reduce")
    for table, title in (("metric-table", "Change"), ("class-table", "Change"), ("image-table", "Label")):
        heads = browser.all(f"#{table} thead th")
        column = next(i for i, head in enumerate(heads) if head.text.strip().startswith(title))
        button = heads[column].find_element("tag name", "button")
        others = [other for other in ("metric-table", "class-table", "image-table") if other != table]
        before = {other: browser.table(f"#{other}") for other in others}
        for state in ("ascending", "descending"):
            if way == "mouse":
                browser.js("arguments[0].scrollIntoView({block: 'center'})", button)
                button.click()
            else:
                button.send_keys(Keys.ENTER)
            cells = [row[column] for row in browser.table(f"#{table}")]
            keys = cells if title == "Label" else [float(cell) for cell in cells]
            assert keys == sorted(keys, reverse=state == "descending")
            assert len(set(keys)) > 1
            assert heads[column].get_attribute("aria-sort") == state
        assert {other: browser.table(f"#{other}") for other in others} == before


def test_the_filter_narrows_and_counts(browser: Browser, folders: dict[str, Path]) -> None:
    """Typing leaves the rows that have the text; clearing brings all back."""
    show(browser, folders["seven"])
    box = browser.one("[data-filter='#class-table']")
    box.send_keys("CLASS_001")
    assert sorted(row[0] for row in browser.table()) == [f"class_{i:04d}" for i in range(10, 20)]
    assert browser.one("[data-count='#class-table']").text == "10 of 200 classes"
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert len(browser.table()) == 200
    assert browser.one("[data-count='#class-table']").text == "200 classes"


def test_folded_metrics_open(browser: Browser, folders: dict[str, Path]) -> None:
    """What shows nothing is folded away until asked for, by keyboard too."""
    show(browser, folders["three"])
    summary = browser.one("details.more > summary")
    row = browser.one("details.more tr[data-metric]")
    assert not row.is_displayed()
    summary.send_keys(Keys.ENTER)
    assert row.is_displayed()


def test_bars_lie_where_the_numbers_say(browser: Browser, folders: dict[str, Path]) -> None:
    """In the forest, the dot lies right of zero exactly where the change is above zero, within its bar."""
    show(browser, folders["three"])
    found = browser.js(
        """document.querySelectorAll("details").forEach(d => d.open = true);
        return [...document.querySelectorAll("#differences tr[data-metric]")].map(r => {
          const middle = e => { const b = e.getBoundingClientRect(); return (b.left + b.right) / 2; };
          const bar = r.querySelector("rect.bar").getBoundingClientRect();
          const dot = middle(r.querySelector("circle.effect"));
          return [Number(r.querySelector("data").value), dot - middle(r.querySelector(".zero")),
                  dot >= bar.left - 0.1 && dot <= bar.right + 0.1]; })""".replace("\n", " ")
    )
    assert len(found) == 27
    for delta, right, inside in found:
        assert inside
        assert math.copysign(1, delta) == math.copysign(1, right) or abs(right) < 0.6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Browser, folders: dict[str, Path], scheme: str) -> None:
    """All text reaches a contrast of 4.5 to 1 on its background (WCAG AA), marks of arms and effects 3 to 1."""
    show(browser, folders["seven"], prefers_color_scheme=scheme)
    texts = browser.js(
        """const back = e => { for (; e; e = e.parentElement) {
             const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(", 0)")) return c; } };
           return [...document.querySelectorAll("p, h1, h2, h3, th, td, a, li, dt, dd, summary, b, bdi, figcaption,
             button, .status, .flag, .effect-tag, .unit, .interval")].filter(e => e.checkVisibility()).map(e =>
             [e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 30),
              getComputedStyle(e).color, back(e)])""".replace("\n", " ")
    )
    marks = browser.js(
        """const back = getComputedStyle(document.querySelector("figure")).backgroundColor;
           return [...document.querySelectorAll(".key .curve")].map(e => [e.getAttribute("class"),
             getComputedStyle(e).stroke, back]).concat([...document.querySelectorAll("circle.effect")].map(e =>
             [e.getAttribute("class"), getComputedStyle(e).fill, back]))""".replace("\n", " ")
    )
    assert len(texts) > 500
    assert len({where for where, *_ in marks if "curve" in where}) >= 6
    for least, found in ((4.5, texts), (3.0, marks)):
        for where, front, behind in found:
            bright, dim = sorted((page.luminance(front), page.luminance(behind)), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= least, where


@pytest.mark.parametrize("name", ["three", "seven", "unlabeled", "hostile", "side"])
def test_no_screen_scrolls_sideways(browser: Browser, folders: dict[str, Path], name: str) -> None:
    """At 1440, 768 and 390 pixels nothing makes the page itself scroll sideways, whatever is open."""
    try:
        for width in (1440, 768, 390):
            browser.size(width)
            show(browser, folders[name])
            browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert browser.js("return document.documentElement.scrollWidth") <= width
    finally:
        browser.size(0)


@pytest.mark.parametrize(("name", "scheme"), [("three", "light"), ("side", "dark")])
def test_the_accessibility_checker_is_content(
    browser: Browser, folders: dict[str, Path], name: str, scheme: str
) -> None:
    show(browser, folders[name], prefers_color_scheme=scheme)
    assert browser.accessibility() == []


def test_the_page_is_in_the_frame_of_all(browser: Browser, folders: dict[str, Path]) -> None:
    """Each link of the navigation leads to a section, the theme switch answers, the warning's link opens it."""
    for name in ("three", "side"):
        show(browser, folders[name], prefers_color_scheme="light")
        links = browser.js("return [...document.querySelectorAll('nav a')].map(a => a.hash)")
        assert len(links) >= 8
        assert browser.js("return arguments[0].every(id => document.querySelector(id + ' h2'))", links)
        paper = browser.js(f"return {page.PAPER}")
        browser.js("document.querySelector('input[name=theme][value=dark]').click()")
        assert browser.js(f"return {page.PAPER}") != paper
    show(browser, folders["three"])
    assert browser.one("header .warned").text == "1 warning"
    assert browser.js("return document.querySelector(document.querySelector('.warned').hash) !== null")


def test_every_file_is_in_the_page_byte_by_byte(browser: Browser, folders: dict[str, Path]) -> None:
    """The blocks behind the buttons hold what lies beside the page; a table has a button of its own."""
    for name in ("three", "side"):
        show(browser, folders[name])
        held = browser.js(
            """return [...document.querySelectorAll("script[id^=enclosed-]")].map(e =>
            [e.id.slice(9), JSON.parse(e.textContent).gzip])"""
        )
        beside = {p.name: p.read_bytes() for p in folders[name].iterdir() if p.suffix != ".html"}
        assert {file: gzip.decompress(base64.b64decode(packed)) for file, packed in held} == beside
        assert browser.one("#metrics [data-download='differences.csv']").is_displayed()
        assert len(browser.all("#downloads button[data-download]")) == len(beside)


def test_values_side_by_side_lie_in_the_metrics_range(browser: Browser, folders: dict[str, Path]) -> None:
    """Of a share each encoder's mark lies at that percentage of the strip, and its null is dashed."""
    show(browser, folders["side"])
    shown, marks, nulls = browser.js(
        """const row = document.querySelector("#metric-table tr[data-metric=linear_probe_accuracy]");
        const box = row.querySelector("svg").getBoundingClientRect();
        const middle = b => (b.left + b.right) / 2;
        const at = e => (middle(e.getBoundingClientRect()) - box.left) / box.width;
        return [[...row.querySelectorAll("data")].slice(0, 3).map(d => Number(d.value)),
          [...row.querySelectorAll("circle, svg svg rect")].map(at), [...row.querySelectorAll("line.null")].map(at)];"""
    )
    assert marks == pytest.approx(shown, abs=0.01)
    assert nulls == pytest.approx([0.1] * 3, abs=0.01)


def test_it_prints(browser: Browser, folders: dict[str, Path]) -> None:
    """In print the navigation and controls are gone, tables are whole, and a PDF comes out."""
    show(browser, folders["three"])
    browser.media(kind="print")
    assert not browser.one("nav").is_displayed()
    assert not browser.one("[data-filter='#class-table']").is_displayed()
    assert browser.js(
        "return [...document.querySelectorAll('.scroll')].every(s => s.scrollHeight <= s.clientHeight + 1)"
    )
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    browser.media()


def test_everything_can_be_reached_by_keyboard(browser: Browser, folders: dict[str, Path]) -> None:
    """Tab visits the skip link, navigation, folded metrics, filters, headings and scrolling tables in order."""
    show(browser, folders["three"])
    visited: list[str] = []
    while "#image-table" not in visited and len(visited) < 150:
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        visited.append(
            browser.js(
                "const a = document.activeElement;"
                "return a.dataset.filter || a.className || a.getAttribute('href') || a.tagName"
            )
        )
    wanted = [
        "skip",
        "#verdict",
        "SUMMARY",
        "#metric-table",
        "BUTTON",
        "scroll",
        "#class-table",
        "#image-table",
    ]
    places = [visited.index(place) for place in wanted]
    assert places == sorted(places)
