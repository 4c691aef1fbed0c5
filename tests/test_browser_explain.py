"""The page of `repdiag explain` in a real browser: offline, without an error, by mouse, keyboard and screen reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import Browser
from sample_report import HOSTILE
from selenium.webdriver.common.keys import Keys
from test_explain_outputs import hostile, made

from repdiag.explaining.outputs.write import write_explanation

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Written explanations: with masks, without, and with hostile names."""
    found = {"masks": made(), "plain": made(masks=False), "hostile": hostile()}
    written = {name: tmp_path_factory.mktemp(name) for name in found}
    for name, one in found.items():
        write_explanation(one, written[name])
    return {name: folder / "explain.html" for name, folder in written.items()}


@pytest.mark.parametrize("name", ["masks", "plain", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_error_and_no_request(browser: Browser, pages: dict[str, Path], name: str, scheme: str) -> None:
    browser.open(pages[name], prefers_color_scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [pages[name].as_uri()]


def test_hostile_names_stay_text(browser: Browser, pages: dict[str, Path]) -> None:
    """Labels, ids, warnings and titles that look like markup are shown letter by letter."""
    browser.open(pages["hostile"])
    assert browser.driver.title == f"{HOSTILE[0]} on {HOSTILE[1]} · repdiag"
    labels = browser.js(
        "return [...document.querySelectorAll('.views .verdict > bdi')].map(e => e.textContent)"
    )
    assert set(labels) == set(HOSTILE)
    assert browser.js(
        "return [...document.querySelectorAll('.warnings bdi')].map(e => e.textContent)"
    ) == list(HOSTILE)
    assert browser.js("return [...document.images].every(i => i.src.startsWith('data:image/'))")
    assert (
        browser.js("return document.querySelectorAll('main script, main iframe, main [onerror]').length") == 0
    )


def seen(browser: Browser) -> tuple[bool, bool]:
    """Whether the first picture and its heat map are seen."""
    found = browser.js(
        """return ["photo", "heat"].map(k => document.querySelector(".views ." + k)
        .checkVisibility({visibilityProperty: true, opacityProperty: true}))"""
    )
    return bool(found[0]), bool(found[1])


def test_picture_heat_or_both_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    """Arrow keys change what all tiles show, the strength follows its slider; no script is needed for the first."""
    browser.open(pages["masks"], prefers_reduced_motion="reduce")
    assert seen(browser) == (True, True)
    browser.one("#look-both").send_keys(Keys.ARROW_RIGHT)
    assert seen(browser) == (True, False)
    browser.one("#look-photo").send_keys(Keys.ARROW_RIGHT)
    assert seen(browser) == (False, True)
    browser.one("#look-heat").send_keys(Keys.ARROW_RIGHT)
    assert seen(browser) == (True, True)
    slider = browser.one("#strength")
    for _ in range(10):
        slider.send_keys(Keys.ARROW_LEFT)
    assert browser.js("return [...document.querySelectorAll('.heat')].every(e => e.style.opacity === '0.5')")
    assert slider.get_attribute("aria-valuetext") == "50%"
    assert browser.complaints() == []


def test_without_scripts_everything_is_there(browser: Browser, pages: dict[str, Path]) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get(pages["masks"].as_uri())
        cards = browser.all(".views > li")
        assert len(cards) == 12
        assert all(card.is_displayed() for card in cards)
        assert browser.one(".views .heat").is_displayed()
        assert not browser.one(".strength").is_displayed()
        browser.one("#look-both").send_keys(Keys.ARROW_RIGHT)
        assert browser.one(".views .heat").value_of_css_property("visibility") == "hidden"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_what_a_screen_reader_hears(browser: Browser, pages: dict[str, Path]) -> None:
    """Every tile has a name that says where its map is strongest, or why there is none; figures have a table."""
    browser.open(pages["masks"])
    names = browser.js(
        "return [...document.querySelectorAll('.views .view')].map(e => e.getAttribute('aria-label'))"
    )
    assert names[0].startswith("cat/000.png: heat map strongest in the ")
    assert names[1].endswith("no discriminative feature stands out: no heat map")
    assert browser.js(
        """return [...document.querySelectorAll("figure")].every(
        f => f.querySelector("svg title") && f.querySelector("table"))"""
    )
    rows = browser.js(
        """return [...document.querySelectorAll("#figure-iou table tbody tr")].map(
        r => [...r.querySelectorAll("data")].map(d => Number(d.value)))"""
    )
    assert rows[0][:4] == pytest.approx([0.4, 0.38, 0.42, 900])


@pytest.mark.parametrize(("name", "scheme"), [("masks", "light"), ("plain", "dark")])
def test_accessibility(browser: Browser, pages: dict[str, Path], name: str, scheme: str) -> None:
    browser.open(pages[name], prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    assert browser.accessibility() == []


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_screen_is_too_narrow(browser: Browser, pages: dict[str, Path], width: int) -> None:
    """The page never scrolls sideways, and no picture is so small that nothing is seen in it."""
    try:
        browser.size(width)
        for name in ("masks", "hostile"):
            browser.open(pages[name])
            assert browser.js("return document.documentElement.scrollWidth <= window.innerWidth")
            sides = browser.js("return [...document.querySelectorAll('.view')].map(e => e.clientWidth)")
            assert min(sides) >= 100
    finally:
        browser.size(0)


def test_on_paper(browser: Browser, pages: dict[str, Path]) -> None:
    """Controls go, pictures and their maps stay."""
    browser.open(pages["masks"])
    browser.media("print")
    assert not browser.one("#look-both").is_displayed()
    assert seen(browser) == (True, True)
    assert browser.js("return getComputedStyle(document.body).printColorAdjust") == "exact"
