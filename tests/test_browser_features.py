"""Features and risk in a real browser: galleries in their order, filters by mouse and keyboard, hostile names inert."""

from __future__ import annotations

import base64
from pathlib import Path

import pandas as pd
import pytest
from browsing import Browser
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.keys import Keys

from repdiag.report import write_report
from repdiag.report.columns import FEATURE_COLUMNS
from repdiag.report.text import shortened
from repdiag.types import Report

pytestmark = pytest.mark.browser

SECTIONS = ("#features", "#risk", "#classes")


@pytest.fixture(scope="module")
def made() -> dict[str, Report]:
    return {
        "labelled": sample_report(1200, 300),
        "small": sample_report(200, 40, k=4),
        "unlabelled": sample_report(200, 40, labelled=False),
        "hostile": sample_report(400, 40, names=HOSTILE, prefix="</script>'\">/"),
        "bare": sample_report(300, 40, thumbnails=0),
    }


@pytest.fixture(scope="module")
def reports(made: dict[str, Report], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, report in made.items():
        write_report(report, folders[name])
    return folders


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.js(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())", selector
    )
    return found


def test_the_top_features_show_their_images_in_order(
    browser: Browser, made: dict[str, Report], reports: dict[str, Path]
) -> None:
    """Each card: its number, worth, S, the pictures of its own ids in order, their classes, and the ids behind."""
    for name in ("labelled", "unlabelled"):
        browser.open(reports[name])
        report = made[name]
        cards = browser.all("#features .tops > li")
        assert len(cards) == len(report.exhibits.features) == 12
        shown = browser.js(
            """return [...document.querySelectorAll("#features .tops > li")].map(li => ({
                 title: li.querySelector("h4").textContent, worth: li.querySelector("data").value,
                 src: [...li.querySelectorAll("img")].map(i => i.src),
                 alt: [...li.querySelectorAll("img")].map(i => i.alt),
                 label: [...li.querySelectorAll(".strip-of-images bdi")].map(b => b.textContent),
                 ids: [...li.querySelectorAll(".ids bdi")].map(b => b.title),
                 activation: [...li.querySelectorAll(".ids data")].map(d => Number(d.value))}))"""
        )
        for seen, card in zip(shown, report.exhibits.features, strict=True):
            assert seen["title"].split(" ")[:2] == ["Feature", str(card.feature)]
            assert ("not in S" in seen["title"]) == (card.in_s is False)
            assert float(seen["worth"]) == card.worth
            assert seen["ids"] == list(card.ids)
            assert seen["activation"] == list(card.activations)
            pictures = [base64.b64decode(src.partition(",")[2]) for src in seen["src"]]
            assert pictures == [report.thumbnails[i] for i in card.ids]
            assert all(seen["alt"]), "every picture has a name"
            if name == "labelled":
                assert seen["label"] == seen["alt"] == list(card.labels)


def test_without_pictures_a_card_lists_its_images(browser: Browser, reports: dict[str, Path]) -> None:
    """Ids are open to read, and there is no empty frame."""
    browser.open(reports["bare"])
    assert browser.all("#features img, #risk img, #features .strip-of-images") == []
    assert all(e.is_displayed() for e in browser.all("#features .ids li"))
    assert len(browser.all("#risk .riskiest > li")) == 24


def test_the_images_of_a_card_open_by_keyboard(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["labelled"], prefers_reduced_motion="reduce")
    listed = browser.one("#features .tops > li .ids")
    assert not listed.is_displayed()
    browser.one("#features .tops > li summary").send_keys(Keys.ENTER)
    assert listed.is_displayed()


def test_the_feature_table_holds_the_csv_and_sorts(browser: Browser, reports: dict[str, Path]) -> None:
    """The hundred that stand out most often of 300, with the file's numbers; a heading sorts by keyboard."""
    browser.open(reports["labelled"], prefers_reduced_motion="reduce")
    browser.one("#features .whole > summary").send_keys(Keys.ENTER)
    frame = pd.read_csv(reports["labelled"] / "features.csv").set_index("feature")
    known = {column.title: key for key, column in FEATURE_COLUMNS.items()}
    keys = [known[t.removesuffix("\xa0").strip()] for t in texts(browser, "#feature-table thead button")]
    rows = browser.table("#feature-table")
    assert len(rows) == 100
    top = frame.sort_values("activation_frequency", ascending=False, kind="stable").index[:100]
    assert [int(row[0]) for row in rows] == list(top)
    for row in rows:
        for key, cell in zip(keys[1:], row[1:], strict=True):
            value = frame.loc[int(row[0]), key]
            assert cell == ("yes" if value else "no") if key == "in_s" else float(cell) == value
    heads = browser.all("#feature-table thead th")
    states = [head.get_attribute("aria-sort") for head in heads]
    assert states.index("descending") == keys.index("activation_frequency")
    mean = keys.index("mean")
    heads[mean].find_element("css selector", "button").send_keys(Keys.ENTER)
    values = [float(row[mean]) for row in browser.table("#feature-table")]
    assert values == sorted(values)
    assert heads[mean].get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_the_riskiest_filter_by_right_and_wrong(
    browser: Browser, made: dict[str, Report], reports: dict[str, Path], way: str
) -> None:
    """All, wrong and right, by word and by a shape; the samples' own truth decides."""
    browser.open(reports["labelled"], prefers_reduced_motion="reduce")
    samples = pd.read_csv(reports["labelled"] / "samples.csv").set_index("id")
    risky = made["labelled"].exhibits.riskiest

    def seen() -> list[str]:
        return [e.get_attribute("title") for e in browser.all("#risk .riskiest .id") if e.is_displayed()]

    assert seen() == [r.id for r in risky]
    for i, state in enumerate(("wrong", "right")):
        if way == "mouse":
            browser.one(f"#risk input[value={state}] + span").click()
        else:
            browser.all("#risk input")[i].send_keys(Keys.ARROW_RIGHT)
        assert seen() == [r.id for r in risky if samples.loc[r.id, "correct"] == (state == "right")]
        said = [e.text.strip() for e in browser.all("#risk .state") if e.is_displayed()]
        assert set(said) == {state}
    assert browser.js("return document.querySelectorAll('#risk .state svg path').length") == 24


def test_a_risky_card_says_what_the_table_says(
    browser: Browser, made: dict[str, Report], reports: dict[str, Path]
) -> None:
    browser.open(reports["labelled"])
    samples = pd.read_csv(reports["labelled"] / "samples.csv").set_index("id")
    cards = browser.js(
        """return [...document.querySelectorAll("#risk .riskiest > li")].map(li => ({
             id: li.querySelector(".id").title, names: [...li.querySelectorAll(".seen bdi")].map(b => b.textContent),
             risk: li.querySelector("dl data").value, wide: li.querySelector("img").getBoundingClientRect().width,
             reasons: [...li.querySelectorAll(".reasons li")].map(r => r.textContent)}))"""
    )
    for card, risky in zip(cards, made["labelled"].exhibits.riskiest, strict=True):
        row = samples.loc[risky.id]
        assert card["id"] == risky.id
        assert card["names"] == ([row["label"]] if row["correct"] else [row["label"], row["prediction"]])
        assert float(card["risk"]) == row["risk"]
        assert card["wide"] == 96
        assert [reason.rstrip(".").lower() for reason in card["reasons"]] == [
            r.lower() for r in risky.reasons
        ]


def test_hostile_names_are_letters(
    browser: Browser, made: dict[str, Report], reports: dict[str, Path]
) -> None:
    """Classes and ids that look like markup are shown as they are, in text and in attributes, and nothing runs."""
    browser.open(reports["hostile"])
    assert "owned" not in browser.driver.title.partition(" on ")[0].replace(HOSTILE[0], "")
    report = made["hostile"]
    wanted = [shortened(str(label), 40) for card in report.exhibits.features for label in card.labels]
    shown = "return [...document.querySelectorAll(arguments[0])].map(e => e.alt ?? e.textContent)"
    assert browser.js(shown, "#features .strip-of-images bdi") == wanted
    assert browser.js(shown, "#features img") == wanted
    ids = browser.js("return [...document.querySelectorAll('#risk .id')].map(e => e.title)")
    assert ids == [risky.id for risky in report.exhibits.riskiest]
    assert browser.js("return document.querySelectorAll('main :is(script, iframe)').length") == 0
    assert browser.complaints() == []


def test_the_sections_have_no_accessibility_finding(browser: Browser, reports: dict[str, Path]) -> None:
    """axe-core finds nothing serious without labels on a phone; with them test_browser_report looks at all of it."""
    browser.size(390)
    try:
        browser.open(reports["unlabelled"], prefers_color_scheme="dark")
        assert browser.accessibility(", ".join(s for s in SECTIONS if browser.all(s))) == []
    finally:
        browser.size(0)


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_sticks_out(browser: Browser, reports: dict[str, Path], width: int) -> None:
    """At each width all of the three sections lies on the page, but for what scrolls in its own frame."""
    browser.size(width)
    try:
        for name in ("labelled", "hostile"):
            browser.open(reports[name])
            browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
            out = browser.js(
                """const cut = e => { for (; e; e = e.parentElement) {  // what an ellipsis cuts does not stick out
                     if (getComputedStyle(e).overflowX !== "visible") return true; } };
                   return [...document.querySelectorAll("#features *, #risk *, #classes *")].filter(
                     e => e.checkVisibility() && !(e instanceof SVGElement && e.parentElement.closest("svg"))
                       && e.getBoundingClientRect().right > innerWidth + 0.5 && !cut(e.parentElement)
                   ).map(e => e.outerHTML.slice(0, 120))"""
            )
            assert out == []
    finally:
        browser.size(0)


def test_print_shows_every_card(browser: Browser, reports: dict[str, Path]) -> None:
    """A filter that is set hides nothing on paper."""
    browser.open(reports["labelled"], prefers_reduced_motion="reduce")
    browser.one("#risk input[value=wrong] + span").click()
    shown = len([e for e in browser.all("#risk .riskiest > li") if e.is_displayed()])
    assert shown < 24
    browser.media(kind="print")
    assert len([e for e in browser.all("#risk .riskiest > li") if e.is_displayed()]) == 24
    assert len([e for e in browser.all("#features .tops > li") if e.is_displayed()]) == 12
    browser.media()
