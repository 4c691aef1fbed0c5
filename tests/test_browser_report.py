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
from repdiag.report.sections import SECTIONS

pytestmark = pytest.mark.browser

SCRIPTS = {"page.js"} | {name for section in SECTIONS for name in section.scripts}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of written reports: labelled, unlabelled, hostile, and one with many classes."""
    made = {
        "labelled": sample_report(1200, 64),
        "unlabelled": sample_report(600, 64, labelled=False),
        "hostile": sample_report(400, 64, names=HOSTILE, prefix="</script>'\">/", warnings=HOSTILE),
        "many": sample_report(2000, 64, k=200),
        "small": sample_report(120, 24, k=4),
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
    brought = [s for s in browser.all("script") if s.get_attribute("type") != "application/json"]
    assert len(brought) == len(SCRIPTS)
    options = browser.js("return [...document.getElementById('map-class').options].map(o => o.text)")
    assert len(options) == 1 + len(HOSTILE)
    assert browser.js(
        "return [...document.querySelectorAll('#map-legend bdi')].map(e => e.textContent)"
    ) == list(HOSTILE)


def test_verdicts_open_to_their_findings(browser: Browser, reports: dict[str, Path]) -> None:
    """Findings are folded away until a click, and each level is legible as a word beside its shape."""
    browser.open(reports["labelled"])
    levels = browser.js(
        "return [...document.querySelectorAll('.verdicts > li > .level')].map(e => e.innerText.trim())"
    )
    assert levels == ["Good", "Watch", "Good", "Undetermined", "Poor", "Good"]
    shapes = browser.js(
        "return [...document.querySelectorAll('.verdicts > li > .level svg')].map(e => e.innerHTML)"
    )
    assert len(set(shapes)) == len(set(levels))
    finding = browser.one("#verdicts details ul")
    assert not finding.is_displayed()
    browser.one("#verdicts summary").click()
    assert finding.is_displayed()


def test_metric_values_equal_the_csv(browser: Browser, reports: dict[str, Path]) -> None:
    """Metric rows and headline cards hold metrics.csv's values; skipped ones its reasons and no value."""
    for name in ("labelled", "unlabelled"):
        browser.open(reports[name])
        frame = pd.read_csv(reports[name] / "metrics.csv").set_index("name")
        shown = browser.js(
            """return [...document.querySelectorAll("#metrics tr[data-metric]")].map(r => [r.dataset.metric,
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
            "return [...document.querySelectorAll('#headline .card')].map(c => "
            "[c.dataset.metric, c.querySelector('data').value])"
        )
        assert cards
        assert all(float(value) == frame.loc[metric, "value"] for metric, value in cards)


OPEN = "document.getElementById(arguments[0]).querySelector('details').open"


def test_a_link_to_a_metric_opens_it(browser: Browser, reports: dict[str, Path]) -> None:
    """A card's source link, and the address itself, open the metric and what it is folded into, filtered or not."""
    calm = {"prefers_reduced_motion": "reduce"}
    browser.open(reports["labelled"], **calm)
    assert not browser.js(f"return {OPEN}", "metric-rankme")
    browser.js("document.getElementById('family-spectrum').open = false")
    box = browser.one("#metric-filter")
    box.send_keys("probe")
    assert not browser.one("#metric-rankme").is_displayed()
    browser.js("document.querySelector('#headline [data-metric=rankme] .foot a').click()")
    browser.wait("document.querySelector('#metric-rankme details').open")
    assert box.get_attribute("value") == ""
    assert browser.one("#metric-rankme .formula").is_displayed()
    browser.wait(
        "Math.abs(document.getElementById('metric-rankme').getBoundingClientRect().top) < innerHeight"
    )

    browser.js("document.getElementById('family-spectrum').open = false")
    browser.js("document.querySelector('#headline [data-metric=rankme] .foot a').click()")
    browser.wait("document.getElementById('family-spectrum').open")  # the same address once more

    browser.driver.get("about:blank")
    browser.driver.get((reports["labelled"] / "report.html").as_uri() + "#metric-cdnv")
    browser.wait("document.querySelector('#metric-cdnv details').open")
    assert browser.js("return document.querySelector(':target').id") == "metric-cdnv"
    browser.driver.get("about:blank")
    browser.driver.get((reports["labelled"] / "report.html").as_uri() + "#%E0%A4%A")
    assert browser.complaints() == [], "an address that is none is passed over"


def test_the_filter_leaves_the_metrics_that_have_the_text(browser: Browser, reports: dict[str, Path]) -> None:
    """Families without one are hidden, folded ones are opened, and both are as before when it is cleared."""
    browser.open(reports["labelled"])
    families = "[...document.querySelectorAll('#metrics details.family')]"
    whole = browser.js(f"return {families}.length")
    browser.js(f"{families}[1].open = false")
    box = browser.one("#metric-filter")
    box.send_keys("CDNV")
    left = browser.js(
        "return [...document.querySelectorAll('#metrics tr[data-metric]')].filter(r => !r.hidden)"
        ".map(r => r.dataset.metric)"
    )
    assert left == ["cdnv", "directional_cdnv"]
    assert browser.js(f"return {families}.filter(f => !f.hidden).map(f => f.id)") == ["family-crowding"]
    assert browser.one("#metric-cdnv").is_displayed()
    assert browser.one("#metrics [data-count]").text == "2 of 29 metrics"
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.DELETE)
    assert browser.js(f"return {families}.filter(f => !f.hidden).length") == whole
    assert browser.js(f"return {families}.map(f => f.open)").count(False) == 1
    fold = browser.one("#metric-fold")
    fold.send_keys(Keys.ENTER)
    assert not any(browser.js(f"return {families}.map(f => f.open)"))
    assert fold.text == "Open all"
    fold.send_keys(Keys.ENTER)
    assert all(browser.js(f"return {families}.map(f => f.open)"))


def test_copy_copies_or_selects(browser: Browser, reports: dict[str, Path]) -> None:
    """A command goes to the clipboard whole; where a page may not write to it, the text is selected instead."""
    wanted = "repdiag audit MODEL DATA --report out/report.json"
    browser.open(reports["labelled"])
    browser.js(
        """window.copied = [];
        Object.defineProperty(navigator, "clipboard",
          {configurable: true, value: {writeText: text => (window.copied.push(text), Promise.resolve())}});"""
    )
    button = browser.one("#verdicts button[data-copy]")
    button.send_keys(Keys.ENTER)
    browser.wait("document.querySelector('#verdicts button[data-copy]').textContent === 'Copied'")
    assert browser.js("return window.copied") == [wanted]
    assert browser.js("return document.getElementById('page-said').textContent") == "Copied."

    browser.open(reports["labelled"])
    browser.js(
        """Object.defineProperty(navigator, "clipboard",
          {configurable: true, value: {writeText: () => Promise.reject(new Error("no"))}});
        document.execCommand = () => false;"""
    )
    browser.one("#verdicts button[data-copy]").click()
    browser.wait("document.querySelector('#verdicts button[data-copy]').textContent === 'Selected'")
    assert browser.js("return getSelection().toString()") == wanted
    assert browser.complaints() == []


def test_the_navigation_shows_where_the_reader_is(browser: Browser, reports: dict[str, Path]) -> None:
    """The link of the section at the top of the screen is current, on a phone in sight, and nothing jumps."""
    try:
        browser.size(390, 800)
        browser.open(reports["labelled"], prefers_reduced_motion="reduce")
        assert browser.js("return scrollY") == 0
        for key in ("headline", "metrics", "verdicts", "downloads"):
            browser.js(f"document.getElementById('{key}').scrollIntoView()")
            browser.wait(f"document.querySelector('nav [aria-current]')?.hash === '#{key}'")
            assert browser.js("return document.querySelectorAll('nav [aria-current]').length") == 1
            left, right, start, end = browser.js(
                """const a = document.querySelector("nav [aria-current]").getBoundingClientRect(),
                b = document.querySelector("nav ul").getBoundingClientRect();
                return [a.left, a.right, b.left, b.right]"""
            )
            assert start - 1 <= left < right <= end + 1
        assert browser.js("return document.querySelector('nav').getBoundingClientRect().top") == 0, "it stays"
        assert browser.js("return document.querySelector('#metrics > h2 > a').hash") == "#metrics"
    finally:
        browser.size(0)


def luminance(color: str) -> float:
    channels = np.array([float(c) for c in color[color.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


PAPER = "getComputedStyle(document.body).backgroundColor"


def test_the_theme_switch_answers_for_the_system(browser: Browser, reports: dict[str, Path]) -> None:
    """Light and dark whatever the system says, by keyboard, with an event for canvases; paper is never dark."""
    browser.open(reports["labelled"], prefers_color_scheme="light")
    light = browser.js(f"return {PAPER}")
    browser.js("window.told = 0; document.addEventListener('repdiag:theme', () => window.told++)")
    choice = browser.one("nav input[value=system]")
    choice.send_keys(Keys.ARROW_LEFT)  # around the end: dark
    dark = browser.js(f"return {PAPER}")
    assert luminance(dark) < 0.02 < 0.9 < luminance(light)
    assert browser.js("return [repdiag.dark(), window.told, document.documentElement.style.colorScheme]") == [
        True,
        1,
        "dark",
    ]
    browser.media(kind="print")
    browser.wait(f"{PAPER} === 'rgb(255, 255, 255)' && !repdiag.dark()")
    browser.media(prefers_color_scheme="light")
    browser.wait(f"{PAPER} === '{dark}'")
    browser.open(reports["labelled"], prefers_color_scheme="dark")
    assert browser.js(f"return {PAPER}") == dark
    browser.js("document.querySelector('nav input[value=light]').click()")
    assert browser.js(f"return {PAPER}") == light
    browser.js("document.querySelector('nav input[value=system]').click()")
    assert browser.js(f"return {PAPER}") == dark
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Browser, reports: dict[str, Path], scheme: str) -> None:
    """All text, folded or not, reaches a contrast of 4.5 to 1 on its background (WCAG AA), and dark is dark."""
    browser.open(reports["labelled"], prefers_color_scheme=scheme)
    browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    pairs = browser.js(
        """const back = e => { for (; e; e = e.parentElement) {
             const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(", 0)")) return c; } };
           return [...document.querySelectorAll("p, h1, h2, h3, h4, th, td, a, li, dt, dd, summary,
             label > span, figcaption, button, .status, .flag, .seen")].filter(e => e.checkVisibility()).map(e =>
             [e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 30),
              getComputedStyle(e).color, back(e)])""".replace("\n", " ")
    )
    assert len(pairs) > 200
    page = luminance(browser.js(f"return {PAPER}"))
    assert (page < 0.02) if scheme == "dark" else (page > 0.9)
    for where, front, behind in pairs:
        if "rgba" in behind:
            continue  # the chosen color button is tinted; its text is the page's own
        bright, dim = sorted((luminance(front), luminance(behind)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, where


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_an_accessibility_checker_finds_nothing_serious(
    browser: Browser, reports: dict[str, Path], width: int, scheme: str
) -> None:
    """axe-core on the whole page: colors hang on the scheme and structure on the width, so two of four see all."""
    try:
        browser.size(width)
        browser.open(reports["small"], prefers_color_scheme=scheme)
        assert browser.accessibility() == []
    finally:
        browser.size(0)


def test_it_prints(browser: Browser, reports: dict[str, Path]) -> None:
    """In print navigation and controls are gone, what is folded is opened, tables are whole; then all is as before."""
    browser.open(reports["many"])
    browser.js("document.getElementById('family-probes').open = false")
    before = browser.js("return document.querySelectorAll('details[open]').length")
    browser.media(kind="print")
    browser.wait("document.querySelectorAll('details:not([open])').length === 0")
    assert not browser.one("nav").is_displayed()
    assert not browser.one("#metric-filter").is_displayed()
    assert not browser.one("#verdicts button").is_displayed()
    assert browser.one("#metric-rankme .formula").is_displayed()
    cut = browser.js(
        """return [...document.querySelectorAll(".scroll")].filter(e => e.scrollHeight > e.clientHeight + 1)
        .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert cut == []
    try:
        browser.size(760)  # about the width of a sheet
        assert browser.js("return document.scrollingElement.scrollWidth") <= 760
    finally:
        browser.size(0)
    browser.media()
    browser.wait(f"document.querySelectorAll('details[open]').length === {before}")
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


@pytest.mark.parametrize("name", ["labelled", "hostile", "many"])
def test_only_wide_tables_scroll_sideways(browser: Browser, reports: dict[str, Path], name: str) -> None:
    """At no width does the page itself scroll sideways, folded or unfolded."""
    try:
        browser.open(reports[name])
        for width in (390, 768, 1440):
            browser.size(width)
            assert browser.js("return document.scrollingElement.scrollWidth") <= width
        browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (1440, 768, 390):
            browser.size(width)
            assert browser.js("return document.scrollingElement.scrollWidth") <= width
        assert browser.complaints() == []
    finally:
        browser.size(0)


def test_everything_can_be_reached_by_keyboard(browser: Browser, reports: dict[str, Path]) -> None:
    """Tab visits skip link, navigation, theme, verdicts, commands, sources, map, metrics in order; Enter works."""
    browser.open(reports["small"], prefers_reduced_motion="reduce")
    name = """const a = document.activeElement;
      return a.id || a.closest("[id^=metric-], [id^=family-]")?.id || a.getAttribute("href")
        || a.closest("section")?.id + " " + a.tagName"""
    visited: list[str] = []
    while "metric-linear_probe_accuracy" not in visited:
        assert len(visited) < 600
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        visited.append(browser.js(name))
    wanted = [
        "#verdicts",
        "#headline",
        "verdicts SUMMARY",
        "verdicts BUTTON",
        "#metric-linear_probe_accuracy",
        "class-filter",
        "metric-filter",
        "metric-fold",
        "family-probes",
        "metric-linear_probe_accuracy",
    ]
    places = [visited.index(place) for place in wanted]
    assert places == sorted(places)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.one("#metric-linear_probe_accuracy .formula").is_displayed()

    browser.open(reports["small"], prefers_reduced_motion="reduce")
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    skip = browser.driver.switch_to.active_element
    assert skip.get_attribute("class") == "skip"
    assert skip.rect["x"] >= 0, "seen once it has the focus"
    skip.send_keys(Keys.ENTER)
    assert browser.js("return location.hash") == "#verdicts"


def test_without_scripts_all_content_is_there(browser: Browser, reports: dict[str, Path]) -> None:
    """Verdict, numbers, formulas and tables need no script; what would do nothing without one is not shown."""
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get("about:blank")
        browser.driver.get((reports["labelled"] / "report.html").as_uri())
        assert browser.one("#verdicts .summary").is_displayed()
        assert browser.one("#metric-rankme data").is_displayed()
        assert not browser.one("#metric-filter").is_displayed()
        assert not browser.one("#verdicts button").is_displayed()
        assert not browser.one("nav .theme").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
