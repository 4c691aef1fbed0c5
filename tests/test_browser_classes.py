"""The class table in a real browser, and what tables.js does for every table that sorts or filters."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browsing import Browser
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.keys import Keys

from repdiag.report import write_report
from repdiag.report.tables import unescaped
from repdiag.types import Table

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of written reports: ten classes, hostile names, 200 classes, and 520 with equal values."""
    made = {
        "labelled": sample_report(1200, 40),
        "hostile": sample_report(400, 40, names=HOSTILE),
        "many": sample_report(2000, 40, k=200),
        "crowd": sample_report(2600, 40, k=520),
    }
    columns = dict(made["crowd"].classes.columns)
    columns["n"] = np.arange(520) % 3
    made["crowd"] = dataclasses.replace(made["crowd"], classes=Table(columns))
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, report in made.items():
        write_report(report, folders[name])
    return folders


def column(browser: Browser, title: str) -> int:
    heads = browser.js(
        "return [...document.querySelectorAll('#class-table thead button')].map(b => b.textContent)"
    )
    return [head.replace("\xa0", " ").strip() for head in heads].index(title)


def numbers(cells: list[str]) -> list[float]:
    return [float(text) for text in cells if text != "–"]


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
        assert browser.complaints() == []


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_the_class_table_sorts_both_ways(browser: Browser, reports: dict[str, Path], way: str) -> None:
    """A heading sorts upward, then downward, says so in aria-sort, and missing values stay last."""
    browser.open(reports["labelled"], prefers_reduced_motion="reduce")  # the driver clicks while it scrolls
    heads = browser.all("#class-table thead button")

    def press(at: int) -> None:
        if way == "mouse":
            heads[at].click()
        else:
            heads[at].send_keys(Keys.ENTER)

    accuracy, variance = column(browser, "Accuracy"), column(browser, "Variance inside")
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
    cells = [row[variance] for row in browser.table()]
    assert cells.index("–") == 9
    assert numbers(cells) == sorted(numbers(cells), reverse=True)
    press(0)
    names = [row[0] for row in browser.table()]
    assert names == sorted(names)


def test_equal_rows_keep_their_order(browser: Browser, reports: dict[str, Path]) -> None:
    """Sorting by a second column leaves, among equal ones, the order of the first, whichever way."""
    browser.open(reports["crowd"])
    size, accuracy = column(browser, "Samples"), column(browser, "Accuracy")
    press = "document.querySelectorAll('#class-table thead button')[arguments[0]].click()"
    browser.js("document.querySelector('[data-all]').click()")
    for presses in (1, 2):
        browser.js(press, accuracy)
        for _ in range(presses):
            browser.js(press, size)
        rows = [(float(row[size]), float(row[accuracy])) for row in browser.table()]
        assert len(rows) == 520
        assert rows == sorted(rows, key=lambda r: ((1 if presses == 1 else -1) * r[0], r[1]))


def test_the_filter_narrows_by_any_cell_and_counts(browser: Browser, reports: dict[str, Path]) -> None:
    """Typing leaves the rows with the text in a cell, says how many, and clearing brings all back."""
    browser.open(reports["many"])
    box = browser.one("#class-filter")
    box.send_keys("CLASS_001")
    frame = pd.read_csv(reports["many"] / "classes.csv")
    wanted = frame[
        frame["class"].str.contains("class_001") | frame["nearest_class"].str.contains("class_001")
    ]
    assert [row[0] for row in browser.table()] == list(wanted["class"])
    assert len(wanted) == 11
    assert browser.one("#class-count").text == "11 of 200 classes"
    browser.js("document.querySelectorAll('#class-table thead button')[0].click()")
    assert len(browser.table()) == 11, "sorting keeps the filter"
    box.send_keys("xyz")
    assert browser.table() == []
    assert browser.one("#class-count").text == "0 of 200 classes"
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert len(browser.table()) == 200
    assert browser.one("#class-count").text == "200 classes"
    assert not browser.one("[data-all]").is_displayed(), "all are there already"


def test_many_rows_wait_until_they_are_asked_for(browser: Browser, reports: dict[str, Path]) -> None:
    """The first 200 of the sorted order; a button shows all and puts the keyboard on the next; print has all."""
    browser.open(reports["crowd"], prefers_reduced_motion="reduce")
    assert len(browser.table()) == 200
    accuracy = column(browser, "Accuracy")
    browser.js("document.querySelectorAll('#class-table thead button')[arguments[0]].click()", accuracy)
    lowest = np.sort(pd.read_csv(reports["crowd"] / "classes.csv")["accuracy"])[:200]
    assert [float(row[accuracy]) for row in browser.table()] == list(lowest)
    box = browser.one("#class-filter")
    box.send_keys("class_0519")
    assert browser.one("#class-count").text == "2 of 520 classes", "the filter looks at all"
    assert not browser.one("[data-all]").is_displayed()
    browser.js("const b = arguments[0]; b.value = ''; b.dispatchEvent(new Event('input'))", box)
    browser.media(kind="print")
    assert (
        browser.js(
            "return [...document.querySelectorAll('#class-table tbody tr')].filter(r => r.checkVisibility()).length"
        )
        == 520
    )
    browser.media(prefers_reduced_motion="reduce")
    button = browser.one("[data-all]")
    assert button.text == "Show all 520, not only the first 200"
    button.send_keys(Keys.ENTER)
    assert len(browser.table()) == 520
    assert not button.is_displayed()
    assert (
        browser.js(
            "return [...document.querySelectorAll('#class-table tbody tr')].indexOf(document.activeElement)"
        )
        == 200
    )


def test_the_worst_class_is_marked_by_a_word(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["labelled"])
    frame = pd.read_csv(reports["labelled"] / "classes.csv").set_index("class")
    marked = browser.js(
        """return [...document.querySelectorAll("#class-table .mark")].map(
             m => [m.closest("tr").cells[0].textContent, m.textContent])"""
    )
    assert marked == [[frame["accuracy"].idxmin(), "lowest"]]
    lead = browser.one("#classes .lead").text
    assert f"{100 * frame['accuracy'].min():.1f}% ({frame['accuracy'].idxmin()})" in lead
    assert f"{100 * frame['accuracy'].max():.1f}% ({frame['accuracy'].idxmax()})" in lead


def test_a_bar_is_as_long_as_its_share(browser: Browser, reports: dict[str, Path]) -> None:
    """What is painted: the part of the track in the accent color, to a step of 2%."""
    browser.open(reports["labelled"])
    accuracy = column(browser, "Accuracy")
    found = browser.js(
        """return [...document.querySelectorAll("#class-table tbody tr")].map(r => { const c = r.cells[arguments[0]];
             return [Number(c.querySelector("data").value), getComputedStyle(c).backgroundImage]; })""",
        accuracy,
    )
    for share, image in found:
        painted = float(image.split("%")[0].rsplit(" ", 1)[1])
        assert abs(painted - 100 * share) <= 1 + 1e-9


def test_the_name_stays_while_the_table_scrolls_on_a_phone(
    browser: Browser, reports: dict[str, Path]
) -> None:
    browser.size(390)
    try:
        browser.open(reports["labelled"])
        places = browser.js(
            """const box = document.querySelector("#classes .scroll"), name = box.querySelector("tbody th");
            const left = () => [name, name.nextElementSibling].map(e => e.getBoundingClientRect().left);
            const before = left(); box.scrollLeft = 300; return [box.scrollLeft, before, left()]"""
        )
        assert places[0] == 300
        assert places[1][0] == places[2][0], "the name does not move"
        assert places[2][1] == places[1][1] - 300
    finally:
        browser.size(0)
