"""The report in a real browser: offline, without an error, usable by mouse and by keyboard."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browsing import Browser
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.keys import Keys

from repdiag.report import write_report
from repdiag.report.columns import CLUSTER_COLUMNS, PAIR_COLUMNS
from repdiag.report.tables import unescaped

pytestmark = pytest.mark.browser

PLACE = {"pairs": "crowding", "clusters": "stability"}  # the sections that show these tables


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of written reports: labelled, unlabelled, hostile, and one with many classes."""
    made = {
        "labelled": sample_report(1200, 64),
        "unlabelled": sample_report(600, 64, labelled=False),
        "hostile": sample_report(400, 64, names=HOSTILE, prefix="</script>'\">/", warnings=HOSTILE),
        "many": sample_report(2000, 64, k=200),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, report in made.items():
        if name == "hostile":
            report = dataclasses.replace(report, encoder={"name": HOSTILE[0], HOSTILE[1]: HOSTILE[2]})
        write_report(report, folders[name])
    return folders


@pytest.mark.parametrize("name", ["labelled", "unlabelled", "hostile", "many"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_error_and_no_request(browser: Browser, reports: dict[str, Path], name: str, scheme: str) -> None:
    """Opening a report logs nothing, violates no policy, and asks for its own file alone."""
    browser.open(reports[name], prefers_color_scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [(reports[name] / "report.html").as_uri()]
    assert browser.js("return performance.getEntriesByType('resource').length") == 0


def test_the_policy_is_in_force(browser: Browser, reports: dict[str, Path]) -> None:
    """Code that the page did not bring does not run, and the log says so: the test above can fail."""
    browser.open(reports["labelled"])
    browser.js(
        """const s = document.createElement("script"); s.textContent = "window.injected = true";
        document.body.append(s);
        const i = new Image(); i.src = "file:///nowhere.png"; document.body.append(i);"""
    )
    assert browser.js("return window.injected === undefined")
    assert any("Content Security Policy" in line for line in browser.complaints())


def test_hostile_text_stays_text(browser: Browser, reports: dict[str, Path]) -> None:
    """Names that look like markup are shown letter by letter and never run."""
    browser.open(reports["hostile"])
    assert browser.driver.title == f"{HOSTILE[0]} on cifar10-images · repdiag"
    shown = browser.js("return [...document.querySelectorAll('.warnings bdi')].map(e => e.textContent)")
    assert shown == list(HOSTILE)
    assert [row[0] for row in browser.table()] == list(HOSTILE)
    assert browser.js("return [...document.images].every(i => i.src.startsWith('data:image/jpeg;base64,'))")
    assert browser.js("return document.scripts.length") == 3
    options = browser.js("return [...document.getElementById('map-class').options].map(o => o.text)")
    assert len(options) == 1 + len(HOSTILE)
    assert browser.js(
        "return [...document.querySelectorAll('#map-legend bdi')].map(e => e.textContent)"
    ) == list(HOSTILE)


def test_class_values_equal_the_csv(browser: Browser, reports: dict[str, Path]) -> None:
    """Every cell of the class table is that of classes.csv, text and exact number."""
    for name in ("labelled", "many", "hostile"):
        browser.open(reports[name])
        frame = pd.read_csv(reports[name] / "classes.csv", dtype=str, keep_default_na=False)
        rows = browser.table()
        assert len(rows) == len(frame)
        for row, (_, expected) in zip(rows, frame.iterrows(), strict=True):
            for cell, value in zip(row, expected, strict=True):
                try:
                    assert float(cell) == float(value)
                except ValueError:
                    assert cell == (unescaped(value) or "–")


@pytest.mark.parametrize("part", ["pairs", "clusters"])
def test_pair_and_cluster_values_equal_the_csv(browser: Browser, reports: dict[str, Path], part: str) -> None:
    """Every cell shown is that of the file, whose column it stands in; text stays text."""
    for name in ("labelled", "hostile"):
        browser.open(reports[name])
        frame = pd.read_csv(reports[name] / f"{part}.csv", dtype=str, keep_default_na=False)
        known = {"pairs": PAIR_COLUMNS, "clusters": CLUSTER_COLUMNS}[part]
        heads = browser.js(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)",
            f"#{PLACE[part]} table thead th",
        )
        named = {column.title: key for key, column in known.items()}
        rows = browser.table(f"#{PLACE[part]} table")
        assert len(rows) == min(15 if part == "pairs" else 200, len(frame))
        for row, (_, expected) in zip(rows, frame.head(len(rows)).iterrows(), strict=True):
            for cell, head in zip(row, heads, strict=True):
                value = expected[named[head]]
                try:
                    assert float(cell) == float(value)
                except ValueError:
                    assert cell == (unescaped(value) or "–")


def test_verdicts_open_to_their_findings(browser: Browser, reports: dict[str, Path]) -> None:
    """Findings are folded away until a click, and each level is legible as a word."""
    browser.open(reports["labelled"])
    levels = browser.js(
        "return [...document.querySelectorAll('.verdicts > li > .level')].map(e => e.innerText)"
    )
    assert levels == ["Good", "Watch", "Good", "Undetermined", "Poor", "Good"]
    assert browser.js(
        "return [...document.querySelectorAll('.verdicts .level b')].every(e => e.offsetHeight < 30)"
    )
    finding = browser.one(".verdicts details ul")
    assert not finding.is_displayed()
    browser.one(".verdicts summary").click()
    assert finding.is_displayed()


def test_metric_values_equal_the_csv(browser: Browser, reports: dict[str, Path]) -> None:
    """Metric rows and headline cards hold metrics.csv's values; skipped ones its reasons and no value."""
    for name in ("labelled", "unlabelled"):
        browser.open(reports[name])
        frame = pd.read_csv(reports[name] / "metrics.csv").set_index("name")
        shown = browser.js(
            """return [...document.querySelectorAll("tr[data-metric]")].map(r => [r.dataset.metric,
            r.querySelector("td.value data")?.value ?? null, r.textContent])"""
        )
        assert sorted(metric for metric, _, _ in shown) == sorted(frame.index)
        for metric, value, text in shown:
            if value is None:
                assert frame.loc[metric, "skipped"] in text
                assert np.isnan(frame.loc[metric, "value"])
            else:
                assert float(value) == frame.loc[metric, "value"]
        cards = browser.js(
            "return [...document.querySelectorAll('.card')].map(c => "
            "[c.dataset.metric, c.querySelector('data').value])"
        )
        assert cards
        assert all(float(value) == frame.loc[metric, "value"] for metric, value in cards)


def numbers(column: list[str]) -> list[float]:
    return [float(text) for text in column if text != "–"]


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_the_class_table_sorts_both_ways(browser: Browser, reports: dict[str, Path], way: str) -> None:
    """A heading sorts upward, then downward, says so in aria-sort, and missing values stay last."""
    browser.open(reports["labelled"], prefers_reduced_motion="reduce")  # the driver clicks while it scrolls
    heads = browser.all("#class-table thead button")
    titles = [head.text.strip() for head in heads]

    def press(column: int) -> None:
        if way == "mouse":
            heads[column].click()
        else:
            heads[column].send_keys(Keys.ENTER)

    accuracy, variance = titles.index("Accuracy"), titles.index("Variance inside")
    press(accuracy)
    upward = numbers([row[accuracy] for row in browser.table()])
    assert upward == sorted(upward)
    assert len(set(upward)) > 1
    states = [head.get_attribute("aria-sort") for head in browser.all("#class-table thead th")]
    assert states == ["ascending" if i == accuracy else "none" for i in range(len(states))]
    press(accuracy)
    assert numbers([row[accuracy] for row in browser.table()]) == upward[::-1]
    press(variance)
    assert [row[variance] for row in browser.table()].index("–") == 9
    press(variance)
    column = [row[variance] for row in browser.table()]
    assert column.index("–") == 9
    assert numbers(column) == sorted(numbers(column), reverse=True)
    press(0)
    names = [row[0] for row in browser.table()]
    assert names == sorted(names)


def test_the_filter_narrows_and_counts(browser: Browser, reports: dict[str, Path]) -> None:
    """Typing leaves the classes whose name has the text; clearing brings all back."""
    browser.open(reports["many"])
    box = browser.one("#class-filter")
    box.send_keys("CLASS_001")
    assert [row[0] for row in browser.table()] == [f"class_{i:04d}" for i in range(10, 20)]
    assert browser.one("#class-count").text == "10 of 200 classes"
    box.send_keys("xyz")
    assert browser.table() == []
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert len(browser.table()) == 200
    assert browser.one("#class-count").text == "200 classes"


def luminance(color: str) -> float:
    channels = np.array([float(c) for c in color[color.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Browser, reports: dict[str, Path], scheme: str) -> None:
    """All text reaches a contrast of 4.5 to 1 on its background (WCAG AA), and dark is dark."""
    browser.open(reports["labelled"], prefers_color_scheme=scheme)
    pairs = browser.js(
        """const back = e => { for (; e; e = e.parentElement) {
             const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(", 0)")) return c; } };
           return [...document.querySelectorAll("p, h1, h2, h3, th, td, a, li, dt, dd, summary, label > span,
             figcaption, button, .status, .flag, .seen")].filter(e => e.checkVisibility()).map(e =>
             [e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 30),
              getComputedStyle(e).color, back(e)])""".replace("\n", " ")
    )
    assert len(pairs) > 200
    page = luminance(browser.js("return getComputedStyle(document.body).backgroundColor"))
    assert (page < 0.02) if scheme == "dark" else (page > 0.9)
    for where, front, behind in pairs:
        if "rgba" in behind:
            continue  # the chosen color button is tinted; its text is the page's own
        bright, dim = sorted((luminance(front), luminance(behind)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, where


def test_it_prints(browser: Browser, reports: dict[str, Path]) -> None:
    """In print the navigation and controls are gone, tables are whole, and a PDF comes out."""
    browser.open(reports["many"])
    browser.media(kind="print")
    assert not browser.one("nav").is_displayed()
    assert not browser.one("#class-filter").is_displayed()
    assert browser.js(
        "const s = document.querySelector('#classes .scroll'); return s.scrollHeight <= s.clientHeight + 1"
    )
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    browser.media()


@pytest.mark.parametrize("name", ["labelled", "hostile", "many"])
def test_a_narrow_screen_scrolls_down_only(browser: Browser, reports: dict[str, Path], name: str) -> None:
    """At 400 pixels nothing makes the page itself scroll sideways."""
    metrics = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.open(reports[name])
        browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.js("return document.documentElement.scrollWidth") <= 400
        assert browser.complaints() == []
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_can_be_reached_by_keyboard(browser: Browser, reports: dict[str, Path]) -> None:
    """Tab visits the skip link, navigation, metric details, map controls, map, filter and headings in order."""
    browser.open(reports["labelled"])
    visited: list[str] = []
    for _ in range(160):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        visited.append(
            browser.js(
                "const a = document.activeElement;"
                "return a.id || a.className || a.value || a.getAttribute('href') || a.tagName"
            )
        )
    wanted = [
        "skip",
        "#verdicts",
        "#headline",
        "SUMMARY",
        "class",
        "map-class",
        "map-canvas",
        "class-filter",
        "BUTTON",
    ]
    places = [visited.index(place) for place in wanted]
    assert places == sorted(places)
