"""An audit's page in a real browser: offline, without an error, narrowed by mouse and by keyboard."""

from __future__ import annotations

import base64
import csv
import gzip
from pathlib import Path
from typing import Any

import pytest
import test_browser_report as page
from browsing import Browser
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from test_audit_outputs import hostile, made

from repdiag.audits.outputs import write
from repdiag.report.tables import unescaped

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of written audits, the first with pictures."""
    pictures = sample_report(300, 16, thumbnails=120).thumbnails
    audits = {"whole": made(), "unlabeled": made(labelled=False), "hostile": hostile()}
    found = {name: tmp_path_factory.mktemp(name) for name in audits}
    patch = pytest.MonkeyPatch()
    patch.setattr(write, "thumbnails", lambda *_: pictures)
    for name, audit in audits.items():
        source: Any = object() if name == "whole" else None
        write.write_audit(audit, found[name], source)
    patch.undo()
    return found


def show(browser: Browser, folder: Path, **media: str) -> None:
    """Open the audit in `folder` under media features such as `prefers-color-scheme`."""
    browser.open(folder / "audit.html", **media)


def shown(browser: Browser) -> list[str]:
    """Ids of the cards that can be seen."""
    found: list[str] = browser.js(
        "return [...document.querySelectorAll('.gallery.review > li')].filter(e => e.checkVisibility())"
        ".map(e => e.dataset.id)"
    )
    return found


def review(folder: Path) -> list[dict[str, str]]:
    with (folder / "review.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["whole", "unlabeled", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_error_and_no_request(browser: Browser, folders: dict[str, Path], name: str, scheme: str) -> None:
    """Opening a page logs nothing, violates no policy, and asks for its own file alone."""
    show(browser, folders[name], prefers_color_scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [(folders[name] / "audit.html").as_uri()]
    assert len(shown(browser)) == 60


def test_hostile_text_stays_text(browser: Browser, folders: dict[str, Path]) -> None:
    """Names that look like markup are shown letter by letter and never run."""
    show(browser, folders["hostile"])
    assert browser.driver.title.startswith(f"{HOSTILE[0]} on ")
    said = browser.js("return [...document.querySelectorAll('.warnings bdi')].map(e => e.textContent)")
    assert said == list(HOSTILE)
    assert browser.js("return document.querySelectorAll('script:not([type])').length") == 4
    assert sorted(shown(browser)) == sorted(unescaped(row["id"]) for row in review(folders["hostile"]))


def test_the_cards_say_what_the_csv_says(browser: Browser, folders: dict[str, Path]) -> None:
    show(browser, folders["whole"])
    rows = {row["id"]: row for row in review(folders["whole"])}
    cards = browser.js(
        """return [...document.querySelectorAll(".gallery.review > li")].map(e => [e.dataset.id,
        e.querySelector("data").value, e.querySelector(".action").textContent,
        [...e.querySelectorAll(".why li")].map(r => r.textContent.trim()).join("; "),
        e.querySelector("img") !== null])"""
    )
    assert len(cards) == 60
    for name, risk, action, reason, pictured in cards:
        row = rows[name]
        assert (float(risk), action, reason) == (float(row["risk"]), row["action"], row["reason"])
        assert pictured


def test_the_list_narrows_by_every_control_and_comes_back(browser: Browser, folders: dict[str, Path]) -> None:
    show(browser, folders["whole"], prefers_reduced_motion="reduce")
    rows = review(folders["whole"])
    count = browser.one("#list-count")

    def ids(**wanted: str) -> list[str]:
        return sorted(row["id"] for row in rows if all(row[k] == v for k, v in wanted.items()))

    group = rows[0]["group"]
    option = next(o for o in Select(browser.one("#pick-pair")).options if o.text.startswith(f"{group} ("))
    Select(browser.one("#pick-pair")).select_by_visible_text(option.text)
    assert sorted(shown(browser)) == ids(group=group)
    assert count.text == f"{len(ids(group=group))} of 60 images"
    assert len([e for e in browser.all(".pair") if e.is_displayed()]) == 1, "empty groups go with their cards"
    browser.one("#show-all").send_keys(Keys.ENTER)
    assert len(shown(browser)) == 60
    assert count.text == "60 images"
    Select(browser.one("#pick-mark")).select_by_value("wrong")
    assert sorted(shown(browser)) == ids(correct="false")
    Select(browser.one("#pick-mark")).select_by_value("suspect")
    assert sorted(shown(browser)) == ids(label_error="true")
    browser.one("#show-all").click()
    cluster = rows[3]["cluster"]
    link = next(e for e in browser.all("#cluster-table a") if e.text == cluster)
    link.send_keys(Keys.ENTER)
    assert sorted(shown(browser)) == ids(cluster=cluster)
    browser.one("#show-all").click()
    browser.one("#find").send_keys(rows[5]["id"].upper())
    assert shown(browser) == [rows[5]["id"]]


def test_the_tables_of_groups_sort(browser: Browser, folders: dict[str, Path]) -> None:
    show(browser, folders["whole"])
    head = browser.all("#pair-table thead th")[4]
    for state in ("ascending", "descending"):
        head.find_element("tag name", "button").send_keys(Keys.ENTER)
        values = [float(row[4]) for row in browser.table("#pair-table")]
        assert values == sorted(values, reverse=state == "descending")
        assert head.get_attribute("aria-sort") == state


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Browser, folders: dict[str, Path], scheme: str) -> None:
    """All text reaches a contrast of 4.5 to 1 on its background (WCAG AA)."""
    show(browser, folders["whole"], prefers_color_scheme=scheme)
    texts = browser.js(
        """const back = e => { for (; e; e = e.parentElement) {
             const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(", 0)")) return c; } };
           return [...document.querySelectorAll("p, h1, h2, h3, th, td, a, li, dt, dd, b, bdi, span, figcaption,
             button")].filter(e => e.checkVisibility()).map(e => [e.tagName + "." + e.className + ": " +
             e.textContent.trim().slice(0, 30), getComputedStyle(e).color, back(e)])""".replace("\n", " ")
    )
    assert len(texts) > 500
    for where, front, behind in texts:
        bright, dim = sorted((page.luminance(front), page.luminance(behind)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, where


@pytest.mark.parametrize("name", ["whole", "unlabeled", "hostile"])
def test_no_screen_scrolls_sideways(browser: Browser, folders: dict[str, Path], name: str) -> None:
    """At 1440, 768 and 390 pixels nothing makes the page itself scroll sideways."""
    try:
        for width in (1440, 768, 390):
            browser.size(width)
            show(browser, folders[name])
            assert browser.js("return document.documentElement.scrollWidth") <= width
    finally:
        browser.size(0)


@pytest.mark.parametrize("scheme", ["dark"])  # the contrast of both is above
def test_the_accessibility_checker_is_content(
    browser: Browser, folders: dict[str, Path], scheme: str
) -> None:
    show(browser, folders["whole"], prefers_color_scheme=scheme)
    assert browser.accessibility() == []


def test_every_file_is_in_the_page_byte_by_byte(browser: Browser, folders: dict[str, Path]) -> None:
    show(browser, folders["whole"])
    held = browser.js(
        """return [...document.querySelectorAll("script[id^=enclosed-]")].map(e =>
        [e.id.slice(9), JSON.parse(e.textContent).gzip])"""
    )
    beside = {p.name: p.read_bytes() for p in folders["whole"].iterdir() if p.suffix != ".html"}
    assert {file: gzip.decompress(base64.b64decode(packed)) for file, packed in held} == beside
    assert len(browser.all("#downloads button[data-download]")) == len(beside)


def test_it_prints_without_its_controls(browser: Browser, folders: dict[str, Path]) -> None:
    show(browser, folders["whole"])
    browser.media(kind="print")
    assert not any(browser.one(e).is_displayed() for e in ("nav", "#filters", "#downloads button"))
    assert browser.js(
        "return [...document.querySelectorAll('.scroll')].every(s => s.scrollHeight <= s.clientHeight + 1)"
    )
    browser.media()
