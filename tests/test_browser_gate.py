"""A gate's page in a real browser: its verdict, its rules against their limits, and what nobody may do to it."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from browsing import Browser
from sample_gate import FAIL, OPEN, PASS, hostile_gate, one, sample_gate
from sample_report import sample_report
from selenium.webdriver.common.keys import Keys

from repdiag.gate.evaluate import evaluate
from repdiag.gate.outputs import html, json_form
from repdiag.gate.outputs.words import printable
from repdiag.gate.types import GateResult, Kind, Limit, MetricValue, Rule, Rules

pytestmark = pytest.mark.browser


def judged() -> GateResult:
    """Rules on a report against another one, as the gate itself decides them."""
    accuracy = MetricValue("linear_probe_accuracy")
    rules = Rules(
        (
            Rule("easy", accuracy, Limit(Kind.VALUE, True, 0.5)),
            Rule("hard", accuracy, Limit(Kind.VALUE, True, 0.99)),
            Rule("close", accuracy, Limit(Kind.VALUE, True, 0.875)),
            Rule("not worse", accuracy, Limit(Kind.CHANGE, True, -0.2)),
            Rule("relative", accuracy, Limit(Kind.RELATIVE, True, -0.5)),
        )
    )
    report, baseline = (sample_report(400, 32, thumbnails=0, seed=seed) for seed in (0, 1))
    return evaluate(report, rules, baseline)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Written pages."""
    folder = tmp_path_factory.mktemp("gate")
    results = {
        "sample": sample_gate(),
        "judged": judged(),
        "hostile": hostile_gate(),
        "bare": GateResult((one(),)),
    }
    for name, result in results.items():
        (folder / f"{name}.html").write_text(html.text(result), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in results}


def rows(browser: Browser) -> list[dict[str, Any]]:
    """Shown rows: outcome, name, exact value, and places on the axis as shares of its width."""
    found: list[dict[str, Any]] = browser.js(
        """return [...document.querySelectorAll("#rule-table tbody tr")].filter(r => !r.hidden).map(r => {
          const svg = r.querySelector("td.drawn svg");
          const box = svg && svg.getBoundingClientRect();
          const span = s => { const e = svg && svg.querySelector(s); if (!e) return null;
            const b = e.getBoundingClientRect();
            return [b.left, b.right].map(x => (x - box.left) / box.width); };
          return {outcome: r.dataset.outcome, name: r.querySelector("summary").textContent,
            value: r.querySelector("data") && Number(r.querySelector("data").value), text: r.textContent,
            found: span(".found"), bounds: span(".bounds"), limit: span(".limit"), allowed: span(".allowed"),
            zero: span("line.null")}; })"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["sample", "judged", "hostile", "bare"])
def test_it_opens_alone_and_everyone_can_read_it(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str
) -> None:
    """No complaint, no request, nothing that the accessibility checker minds."""
    browser.open(pages[name], prefers_color_scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [pages[name].as_uri()]
    if name != "bare":
        assert browser.accessibility() == []


def test_the_verdict_comes_first(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["sample"])
    assert browser.driver.title == "simclr.safetensors on digits · repdiag"
    assert browser.one("#verdict .word").text == "Fail"
    assert browser.one("#verdict h2").text == "2 of 6 rules fail, 1 is undetermined."
    assert browser.one(".counted").text.split("\n") == ["2 fail", "1 undetermined", "3 pass"]
    assert [row["outcome"] for row in rows(browser)] == ["fail"] * 2 + ["undetermined"] + ["pass"] * 3
    assert [e.text for e in browser.all("#warnings li")] == ["The seeds differ: 0 and 1."]
    facts = browser.js(
        "return [...document.querySelectorAll('#judged-table tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    assert facts == [
        ["Encoder", "simclr.safetensors", "simclr.pt"],
        ["Data", "digits", "digits"],
        ["Images", "600", "600"],
        ["Rules", "repdiag.toml"],
    ]
    browser.open(pages["bare"])
    assert browser.one("#verdict h2").text == "The rule passes."
    assert browser.all("#judged-table tbody tr") == []


def middle(span: list[float]) -> float:
    return sum(span) / 2


def test_marks_lie_where_the_numbers_say(browser: Browser, pages: dict[str, Path]) -> None:
    """As the gate decided: a passing bar lies on the tinted side of its limit, a failing one off it."""
    result = judged()
    assert {one.outcome for one in result.results} == {PASS, FAIL, OPEN}, "the sample has one of each"
    browser.open(pages["judged"])
    shown = {row["name"]: row for row in rows(browser)}
    for expected in result.results:
        assert expected.value is not None
        assert expected.interval is not None
        row = shown[expected.rule.name]
        assert row["value"] == expected.value
        low, high = row["bounds"]
        limit = middle(row["limit"])
        assert row["allowed"] == pytest.approx([limit, 1.0], abs=0.01), "all of these are about a least"
        assert low < middle(row["found"]) < high
        assert (row["zero"] is not None) == (expected.rule.limit.kind is not Kind.VALUE)
        if expected.outcome is PASS:
            assert low >= limit - 0.01
        elif expected.outcome is FAIL:
            assert high <= limit + 0.01
        else:
            assert low < limit < high
        scale = (middle(row["found"]) - limit) / (expected.value - expected.rule.limit.value)
        assert (high - low) / scale == pytest.approx(expected.interval.high - expected.interval.low, rel=0.1)


def test_what_would_decide_is_said_of_undetermined_rules_only(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["sample"])
    texts = {row["name"]: row["text"] for row in rows(browser)}
    assert "About 4,100 images, 6.8 times as many as now" in texts["linear_probe_accuracy may not fall"]
    assert "A report that has this number" in texts["the worst tenth of q_score"]
    assert sum("What would decide it" in text for text in texts.values()) == 2
    on_it = one("on", OPEN, margin=0.0, value=0.91, ends=(0.9, 0.92))
    assert "no number of images tells" in html.decides(on_it, 600)
    assert "confidence = 0" in html.decides(one("no bounds", OPEN, ends=None), 600)
    assert "Nobody can say" in html.decides(one("who knows", OPEN, margin=0.1), 600)
    assert html.decides(one(), 600) == ""


def test_the_reason_of_the_verdict(pages: dict[str, Path]) -> None:
    """What the rules file makes of an undetermined rule is said, and chance is not blamed for it."""
    assert "Every rule holds" in html.because(GateResult((one(),)))
    swept = GateResult((one(), one("b", OPEN, counts_as=PASS)))
    assert html.because(swept) == "1 rule could not be decided; the rules file counts that as passed."
    assert "counts as a failure" in html.because(GateResult((one(), one("b", OPEN, counts_as=FAIL))))
    assert "more than chance" in html.because(GateResult((one("a", FAIL), one("b", OPEN))))
    assert "too few to tell" in html.because(GateResult((one("b", OPEN),)))


def test_hostile_text_stays_text(browser: Browser, pages: dict[str, Path]) -> None:
    result = hostile_gate()
    browser.open(pages["hostile"])
    assert browser.js("return document.title").startswith(printable(result.report["encoder"]))
    assert browser.js("return document.images.length") == 0
    assert browser.js("return document.querySelectorAll('script:not([type])').length") == 3
    assert sorted(row["name"] for row in rows(browser)) == sorted(
        printable(r.rule.name) for r in result.results
    )


def test_the_page_holds_the_json_and_no_time(browser: Browser, pages: dict[str, Path]) -> None:
    """The button's bytes are those of --json; reports made at another time give the same page."""
    browser.open(pages["sample"])
    assert browser.one("[data-download='gate.json']").is_displayed()
    packed = json.loads(browser.js("return document.getElementById('enclosed-gate.json').textContent"))[
        "gzip"
    ]
    assert gzip.decompress(base64.b64decode(packed)).decode() == json_form.text(sample_gate())
    later = dataclasses.replace(sample_gate(), report={**sample_gate().report, "created": "2031-01-01"})
    assert html.text(later) == html.text(sample_gate())
    other = dataclasses.replace(sample_gate(), report={**sample_gate().report, "dataset": "letters"})
    assert html.text(other) != html.text(sample_gate())
    assert "differs" in html.text(other)


def test_keyboard_filter_sort_and_paper(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["sample"], prefers_reduced_motion="reduce")
    details = browser.one("#rule-table details")
    details.find_element("tag name", "summary").send_keys(Keys.ENTER)
    assert "Confidence" in details.text
    box = browser.one("[data-filter='#rule-table']")
    box.send_keys("rankme")
    assert [row["name"] for row in rows(browser)] == ["rankme may fall by a tenth"]
    assert browser.one("[data-count='#rule-table']").text == "1 of 6 rules"
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    browser.all("#rule-table thead button")[1].send_keys(Keys.ENTER)
    names = [row["name"] for row in rows(browser)]
    assert names == sorted(names, key=str.lower)
    browser.media(kind="print")
    assert not any(browser.one(e).is_displayed() for e in ("nav", "#rules .controls"))
    assert all(not math.isnan(e.rect["width"]) and e.is_displayed() for e in browser.all("td.drawn svg"))
    browser.media()


def test_no_screen_scrolls_sideways(browser: Browser, pages: dict[str, Path]) -> None:
    try:
        for width in (1440, 768, 390):
            browser.size(width)
            for path in pages.values():
                browser.open(path)
                browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert browser.js("return document.documentElement.scrollWidth") <= width, path.name
    finally:
        browser.size(0)
