"""The page gives out its tables by itself: the very bytes of the files beside it, in a real browser."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import Browser
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.keys import Keys

from repdiag.report import enclosed, write_report
from repdiag.types import Report

pytestmark = pytest.mark.browser

FILES = (
    "report.json",
    "metrics.csv",
    "classes.csv",
    "pairs.csv",
    "clusters.csv",
    "features.csv",
    "kept_features.csv",
    "samples.csv",
)


def with_choice(report: Report) -> Report:
    """The report with a chosen subset of the features, so that kept_features.csv is there."""
    columns = dict(report.features.columns)
    columns["kept"] = np.arange(len(report.features)) % 3 == 0
    return dataclasses.replace(report, features=dataclasses.replace(report.features, columns=columns))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with hostile names, and one of which the page cannot hold all samples."""
    made = {"hostile": tmp_path_factory.mktemp("hostile"), "large": tmp_path_factory.mktemp("large")}
    prefix = "</script>'\">/"
    write_report(with_choice(sample_report(300, 48, names=HOSTILE, prefix=prefix)), made["hostile"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(enclosed.BUDGETS, "samples.csv", 20_000)
        write_report(sample_report(900, 48, thumbnails=0), made["large"])
    return made


def saved(browser: Browser, into: Path, name: str) -> bytes:
    """The bytes of the download called `name`, once it is whole."""
    end = time.monotonic() + 15
    while not (into / name).is_file():
        assert time.monotonic() < end, (
            f"{name} never came; there are {sorted(p.name for p in into.iterdir())}"
        )
        time.sleep(0.02)
    return (into / name).read_bytes()


def accept(browser: Browser, into: Path) -> None:
    into.mkdir(exist_ok=True)
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(into)}
    )


def press(browser: Browser, name: str, selector: str = "#downloads") -> None:
    """Press the button with the keyboard, as somebody without a pointer would."""
    button = browser.one(f"{selector} button[data-download='{name}']")
    browser.js("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)


def test_every_button_saves_the_bytes_of_its_file(
    browser: Browser,
    folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Sent alone, the page gives out every file whole: equal bytes, no complaint, no request."""
    alone = tmp_path / "sent" / "report.html"
    alone.parent.mkdir()
    shutil.copy(folders["hostile"] / "report.html", alone)
    browser.open(alone)
    accept(browser, tmp_path / "got")
    buttons = [b.get_attribute("data-download") for b in browser.all("#downloads button[data-download]")]
    assert buttons == list(FILES)
    for name in FILES:
        press(browser, name)
        assert saved(browser, tmp_path / "got", name) == (folders["hostile"] / name).read_bytes()
    browser.wait("document.getElementById('page-said').textContent.includes('samples.csv')")
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("blob:")] == [alone.as_uri()]


def test_of_a_large_table_the_page_gives_some_rows_and_says_so(
    browser: Browser,
    folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Rows are evenly spaced, first and last included, each as in the whole file, under a name that tells how many."""
    browser.open(folders["large"])
    accept(browser, tmp_path / "got")
    press(browser, "samples.csv")
    said = browser.one("#downloads .cut").text
    rows = int(said.split()[3])
    assert said == (f"In the page: {rows} of 900 rows, evenly spaced; samples.csv beside the page has all.")
    saved(browser, tmp_path / "got", f"samples-{rows}-of-900.csv")
    some = pd.read_csv(tmp_path / "got" / f"samples-{rows}-of-900.csv")
    whole = pd.read_csv(folders["large"] / "samples.csv")
    places = np.linspace(0, 899, rows).round().astype(int)
    pd.testing.assert_frame_equal(some, whole.iloc[places].reset_index(drop=True))
    assert 100 < rows < 900
    button = browser.one("#downloads button[data-download='samples.csv']")
    assert f"samples-{rows}-of-900.csv" in button.get_attribute("aria-label")


def test_a_browser_that_cannot_unpack_says_so(browser: Browser, folders: dict[str, Path]) -> None:
    """Without DecompressionStream there is no button that fails, and a sentence that names the way out."""
    script = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"}
    )
    try:
        browser.open(folders["hostile"])
        assert not any(b.is_displayed() for b in browser.all("button[data-download]"))
        assert "too old" in browser.one("#downloads-old").text
        assert browser.one("#downloads a[href='samples.csv']").is_displayed()
        assert browser.complaints() == []
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    browser.open(folders["hostile"])
    assert all(b.is_displayed() for b in browser.all("#downloads button[data-download]"))
    assert not browser.one("#downloads-old").is_displayed()


def test_a_broken_page_says_that_it_cannot_unpack(browser: Browser, folders: dict[str, Path]) -> None:
    """Damaged bytes give no file, and a sentence."""
    browser.open(folders["hostile"])
    browser.js(
        'document.getElementById(\'enclosed-classes.csv\').textContent = \'{"name":"x.csv","gzip":"AAAA"}\''
    )
    press(browser, "classes.csv")
    browser.wait("document.getElementById('page-said').textContent.startsWith('x.csv cannot be unpacked')")
    assert browser.js("return document.querySelectorAll('button[aria-busy]').length") == 0


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (768, "dark"), (390, "dark")])
def test_it_fits(
    browser: Browser,
    folders: dict[str, Path],
    width: int,
    scheme: str,
) -> None:
    """Nothing sticks out and nothing overlaps."""
    browser.size(width)
    try:
        browser.open(folders["large"], prefers_color_scheme=scheme)
        boxes: list[dict[str, Any]] = browser.js(
            """return [...document.querySelectorAll('#downloads li > *')].map(e => {
            const b = e.getBoundingClientRect();
            return {left: b.left, right: b.right, top: b.top, bottom: b.bottom}})"""
        )
        assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        for i, one in enumerate(boxes):
            for other in boxes[i + 1 :]:
                apart = one["right"] <= other["left"] or other["right"] <= one["left"]
                above = one["bottom"] <= other["top"] + 0.5 or other["bottom"] <= one["top"] + 0.5
                assert apart or above
    finally:
        browser.size(0)
