"""The map in a real browser: two linked pictures, their colors, cards, lasso, keys and what can be taken away."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import Browser
from PIL import Image
from sample_report import HOSTILE, sample_report
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.keys import Keys

from repdiag.report.html import render
from repdiag.report.packed import STEPS
from repdiag.report.scatter import Scatter, scatter
from repdiag.report.tables import unescaped
from repdiag.report.text import clean
from repdiag.types import Report

pytestmark = pytest.mark.browser

MARGIN = 14  # pixels that the script leaves free around the dots

REPORTS: dict[str, Report] = {
    "small": sample_report(120, 16, k=3),
    "labelled": sample_report(1200, 64),
    "unlabelled": sample_report(600, 64, labelled=False),
    "hostile": sample_report(400, 64, names=HOSTILE, prefix="=cmd|</script>'\">/🦊/", warnings=HOSTILE),
    "many": sample_report(2000, 64, k=200),
    "large": sample_report(10_500, 16),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, report in REPORTS.items():
        (folder / f"{name}.html").write_text(render(report), "utf-8")
    return {name: folder / f"{name}.html" for name in REPORTS}


def shown(name: str) -> Scatter:
    found = scatter(REPORTS[name])
    assert found is not None
    return found


def open_map(browser: Browser, page: Path, **media: str) -> None:
    browser.open(page, prefers_reduced_motion="reduce", **media)
    browser.js("document.querySelector('.map-panels').scrollIntoView({block: 'center'})")
    browser.wait("document.querySelector('.map-dots').width > 100")


def pixels(browser: Browser, plane: str = "umap", layer: str = "dots") -> np.ndarray[Any, Any]:
    """A picture's canvas as an (H, W, 4) array."""
    text = browser.js(
        """return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(
        document.querySelector(arguments[0]).toDataURL('image/png')))))""",
        f"[data-plane={plane}] .map-{layer}",
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))).convert("RGBA"))


def positions(browser: Browser, name: str, plane: str = "umap") -> np.ndarray[Any, Any]:
    """Where the dots must lie in the window, (n, 2) in CSS pixels, from the report and the canvas's box alone."""
    left, top, side = browser.js(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.left, b.top, b.width]",
        f"[data-plane={plane}] .map-dots",
    )
    found = next(p for p in shown(name).planes if p.key == plane)
    places = np.rint(np.stack([found.x, found.y], 1))
    return (places - STEPS / 2) * ((side - 2 * MARGIN) / STEPS) + side / 2 + [left, top]


def lonely(places: np.ndarray[Any, Any]) -> int:
    """The sample whose nearest neighbor on the picture is farthest, so that a pointer can mean no other."""
    far = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(len(places)) * 1e9
    return int(np.argmax(far.min(1)))


def point(browser: Browser, x: float, y: float) -> None:
    move = ActionBuilder(browser.driver, duration=0)
    move.pointer_action.move_to_location(round(x), round(y))
    move.perform()


def color_by(browser: Browser, mode: str) -> None:
    browser.js("document.querySelector(`#map-modes input[value=${arguments[0]}]`).click()", mode)


def chosen(browser: Browser) -> set[int]:
    return set(browser.js("return [...repdiagMap.state.chosen].flatMap((v, i) => v ? [i] : [])"))


def expected_facts(name: str, i: int) -> dict[str, Any]:
    row = shown(name).rows[i]
    return {key: column[row] for key, column in REPORTS[name].samples.columns.items()}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("labelled", "dark"), ("unlabelled", "dark"), ("hostile", "light"), ("large", "light")],
)
def test_the_map_is_quiet(browser: Browser, pages: dict[str, Path], name: str, scheme: str) -> None:
    """Every coloring and a card: no console message, no policy violation, no request but for the page itself."""
    open_map(browser, pages[name], prefers_color_scheme=scheme)
    for mode in browser.js("return [...document.querySelectorAll('#map-modes input')].map(i => i.value)"):
        color_by(browser, mode)
    browser.one("#map-canvas").send_keys(Keys.ARROW_RIGHT, "n")
    browser.wait("document.querySelector('#map-selection canvas[data-drawn]')")
    assert browser.complaints() == []
    assert browser.requests() == [pages[name].as_uri()]


def test_each_coloring_draws_another_picture_on_both_planes(browser: Browser, pages: dict[str, Path]) -> None:
    """Six colorings, six pictures a plane; legends count all samples; a highlighted class leaves the rest gray."""
    open_map(browser, pages["labelled"])
    pictures = {"umap": set(), "pca": set()}
    for mode in ("class", "prediction", "correct", "q_score", "risk", "cluster"):
        color_by(browser, mode)
        for plane, seen in pictures.items():
            drawn = pixels(browser, plane)
            assert (drawn[..., 3] == 255).all(), "opaque: dots lie on the card's color"
            assert len(np.unique(np.ascontiguousarray(drawn).view(np.uint32))) > 8
            seen.add(drawn.tobytes())
        counts = browser.js("return [...document.querySelectorAll('#map-legend .n')].map(e => e.textContent)")
        if mode in ("q_score", "risk"):
            ends = browser.js(
                "return [...document.querySelectorAll('.map-ramp li')].map(e => e.firstChild.data)"
            )
            values = REPORTS["labelled"].samples.columns[mode]
            known = np.sort(values[np.isfinite(values)])
            for text, q in zip(ends, (0, 0.25, 0.5, 0.75, 1), strict=True):
                at = known[int(np.floor(q * (len(known) - 1) + 0.5))]
                assert float(text) == pytest.approx(at, rel=6e-3, abs=2e-5)
        else:
            assert sum(int(text.replace(",", "")) for text in counts) == 1200
    assert [len(seen) for seen in pictures.values()] == [6, 6]
    color_by(browser, "class")
    whole = pixels(browser)
    browser.js("document.querySelector('#map-legend [data-code=\"3\"]').click()")
    lit = pixels(browser)
    assert browser.one('#map-legend [data-code="3"]').get_attribute("aria-pressed") == "true"
    assert browser.one("#map-class").get_attribute("value") == "3"
    strong = [np.ptp(p[..., :3].astype(int), axis=2) > 60 for p in (whole, lit)]
    assert 0 < strong[1].sum() < 0.3 * strong[0].sum(), "one of ten classes keeps its color"
    browser.js("document.querySelector('#map-legend [data-code=\"3\"]').click()")
    assert (pixels(browser) == whole).all()


def test_errors_are_rings_in_orange(browser: Browser, pages: dict[str, Path]) -> None:
    """A misclassified sample is a ring: its color around, the card's own inside; a right one is filled."""
    open_map(browser, pages["labelled"])
    color_by(browser, "correct")
    browser.js("repdiagMap.views[0].zoomAt(1)")
    drawn = pixels(browser)[..., :3].astype(int)
    places = positions(browser, "labelled")
    corner = browser.js(
        "const b = document.querySelector('#map-canvas').getBoundingClientRect(); return [b.left, b.top]"
    )
    card = drawn[0, 0]
    orange = np.array([0xC2, 0x50, 0x0A])
    far = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(1200) * 1e9
    seen = {True: 0, False: 0}
    for i in np.flatnonzero(far.min(1) > 9):
        x, y = np.rint(places[i] - corner).astype(int)
        right = bool(expected_facts("labelled", i)["correct"])
        patch = drawn[y - 5 : y + 6, x - 5 : x + 6].reshape(-1, 3)
        closest = np.abs(patch - orange).sum(1).min()
        if right:
            assert np.abs(drawn[y, x] - card).sum() > 60
            assert closest > 60
        else:
            assert np.abs(drawn[y, x] - card).sum() < 60
            assert closest < 60
        seen[right] += 1
    assert min(seen.values()) > 3


def test_a_pointer_shows_the_card_and_its_own_picture(browser: Browser, pages: dict[str, Path]) -> None:
    """Over a dot the card tells id and facts as the report has them and shows the sample's tile; the other plane
    marks the same sample; the live region says it; away from dots the card goes."""
    sprite = REPORTS["labelled"].exhibits.sprite
    assert sprite is not None
    whole = np.asarray(Image.open(io.BytesIO(sprite.jpeg)).convert("RGB")).astype(float)
    for plane, other in (("umap", "pca"), ("pca", "umap")):
        open_map(browser, pages["labelled"])
        places = positions(browser, "labelled", plane)
        i = lonely(places)
        empty = pixels(browser, other, "over")
        assert empty[..., 3].max() == 0
        point(browser, *places[i])
        browser.wait(f"document.querySelector('#map-card canvas').dataset.drawn === '{i}'")
        card = browser.one("#map-card")
        facts = expected_facts("labelled", i)
        words = browser.js("return [...document.querySelectorAll('#map-card bdi')].map(e => e.textContent)")
        assert words[0] == facts["id"]
        assert words[1] == facts["label"]
        assert words[2] == f"{facts['prediction']} ({'right' if facts['correct'] else 'wrong'})"
        assert float(words[3]) == pytest.approx(facts["risk"], rel=6e-3)
        if np.isfinite(facts["q_score"]):
            assert float(words[4]) == pytest.approx(facts["q_score"], rel=6e-3)
        else:
            assert words[4] == "none"
        assert words[5] == str(facts["cluster"])
        text = browser.js("return document.querySelector('#map-card canvas').toDataURL('image/png')")
        tile = np.asarray(Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))).convert("RGB"))
        row, column = divmod(sprite.ids.index(facts["id"]), sprite.columns)
        size = sprite.tile
        own = whole[row * size : (row + 1) * size, column * size : (column + 1) * size]
        next_to = whole[row * size : (row + 1) * size, (column - 1) * size : column * size]
        assert np.abs(tile.mean((0, 1)) - own.mean((0, 1))).max() < 3
        assert np.abs(tile.mean((0, 1)) - next_to.mean((0, 1))).max() > 3, "another tile would not do"
        marked = np.argwhere(pixels(browser, other, "over")[..., 3] > 0)[:, ::-1]
        corner = browser.js(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.left, b.top]",
            f"[data-plane={other}] .map-dots",
        )
        middle = (marked.min(0) + marked.max(0)) / 2 + corner
        assert np.abs(middle - positions(browser, "labelled", other)[i]).max() < 2
        browser.wait(f"document.getElementById('map-said').textContent.startsWith({facts['id']!r})")
        box = card.rect
        width = browser.js("return document.documentElement.clientWidth")
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        point(browser, 3, 300)
        assert not card.is_displayed()


def polygon_holds(corners: np.ndarray[Any, Any], places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Even-odd rule, written down anew: a ray to the right crosses an odd number of sides."""
    odd = np.zeros(len(places), dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True):
        crosses = (ay <= places[:, 1]) != (by <= places[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = ax + (places[:, 1] - ay) / (by - ay) * (bx - ax)
        odd ^= crosses & (places[:, 0] < at)
    return odd


def draw(browser: Browser, corners: np.ndarray[Any, Any]) -> None:
    actions = ActionBuilder(browser.driver, duration=0)
    pointer = actions.pointer_action
    pointer.move_to_location(*map(int, corners[0]))
    pointer.pointer_down()
    for corner in corners[1:]:
        pointer.move_to_location(*map(int, corner))
    pointer.pointer_up()
    actions.perform()


def test_a_lasso_selects_what_lies_inside(browser: Browser, pages: dict[str, Path]) -> None:
    """Exactly the samples inside the drawn polygon; its summary counts them; Shift adds; Escape clears."""
    open_map(browser, pages["labelled"])
    browser.one("#map-lasso").click()
    browser.js("document.querySelector('.map-panels').scrollIntoView({block: 'center'})")
    places = positions(browser, "labelled")
    middle, span = places.mean(0), np.ptp(places, axis=0)
    shape = np.array([[-0.45, -0.4], [0.1, -0.5], [0.0, -0.1], [0.3, 0.1], [-0.2, 0.2], [-0.25, -0.2]])
    corners = np.rint(middle + shape * span)
    inside = set(np.flatnonzero(polygon_holds(corners, places)).tolist())
    assert 50 < len(inside) < 800
    draw(browser, corners)
    assert chosen(browser) == inside
    table = pd.DataFrame([expected_facts("labelled", i) for i in sorted(inside)])
    panel = browser.one("#map-selection").text
    assert f"{len(inside)} of 1,200 images selected" in panel
    wrong, all_wrong = (
        (~table["correct"].astype(bool)).sum(),
        (~REPORTS["labelled"].samples.columns["correct"]).mean(),
    )
    assert (
        f"Misclassified: {wrong} of {len(inside)} ({100 * wrong / len(inside):.1f}%), "
        f"against {100 * all_wrong:.1f}% of all"
    ) in panel
    top = table["label"].value_counts()
    first = browser.js("return document.querySelector('.map-shares li').textContent")
    assert first == f"{top.index[0]}{top.iloc[0]} ({100 * top.iloc[0] / len(inside):.1f}%)"
    assert f"60 of {len(inside)} shown, the riskiest first" in panel
    listed = browser.js("return [...document.querySelectorAll('.map-some button')].map(b => b.title)")
    risks = table.set_index("id")["risk"]
    assert listed[:20] == list(risks.sort_values(ascending=False).index[:20])
    assert len(listed) == 60

    browser.one("#map-lasso").click()
    browser.js("document.querySelector('.map-panels').scrollIntoView({block: 'center'})")
    places = positions(browser, "labelled", "pca")
    middle, span = places.mean(0), np.ptp(places, axis=0)
    corners = np.rint(middle + np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]) * span)
    more = set(np.flatnonzero(polygon_holds(corners, places)).tolist())
    assert more - inside
    ActionChains(browser.driver).key_down(Keys.SHIFT).perform()
    draw(browser, corners)
    ActionChains(browser.driver).key_up(Keys.SHIFT).perform()
    assert chosen(browser) == inside | more
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert chosen(browser) == set()
    assert not browser.one("#map-selection").is_displayed()


def test_the_keyboard_alone_reaches_and_selects(browser: Browser, pages: dict[str, Path]) -> None:
    """Tab goes from the colors to each plane; arrows walk that way; N takes the 50 nearest, Enter one; keys zoom."""
    open_map(browser, pages["labelled"])
    places = positions(browser, "labelled", "pca")
    browser.js("document.querySelector('#map-modes input').focus()")
    visited = []
    for _ in range(12):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        visited.append(
            browser.js(
                "const a = document.activeElement;"
                "return a.id || a.dataset.zoom || a.getAttribute('aria-label') || a.tagName"
            )
        )
        if visited[-1].startswith("PCA"):
            break
    zoom = ["out", "in", "all"]
    assert visited == ["map-class", "map-lasso", *zoom, "map-canvas", *zoom, "PCA map of 1,200 images"]
    canvas = browser.driver.switch_to.active_element
    canvas.send_keys(Keys.ARROW_RIGHT)
    before = browser.js("return repdiagMap.state.focus")
    for key, way in ((Keys.ARROW_LEFT, (-1, 0)), (Keys.ARROW_UP, (0, -1)), (Keys.ARROW_RIGHT, (1, 0))):
        canvas.send_keys(key)
        now = browser.js("return repdiagMap.state.focus")
        step = places[now] - places[before]
        assert step @ way > 0
        assert abs(step @ way) >= np.abs(step).min()
        assert browser.one("#map-card").is_displayed()
        before = now
    name = expected_facts("labelled", before)["id"]
    browser.wait(f"document.getElementById('map-said').textContent.startsWith({name!r})")
    canvas.send_keys("n")
    far = np.linalg.norm(places - places[before], axis=1)
    assert chosen(browser) == set(np.argsort(far, kind="stable")[:50].tolist())
    canvas.send_keys(Keys.ENTER)
    assert before not in chosen(browser)
    assert len(chosen(browser)) == 49
    browser.wait("document.getElementById('map-said').textContent === '49 images selected.'")
    canvas.send_keys(Keys.ESCAPE)
    assert chosen(browser) == set()
    assert not browser.one("#map-card").is_displayed()
    whole = pixels(browser, "pca")
    other = pixels(browser, "umap")
    canvas.send_keys("+")
    near = pixels(browser, "pca")
    assert (near != whole).any()
    canvas.send_keys(Keys.SHIFT + Keys.ARROW_LEFT)
    assert (pixels(browser, "pca") != near).any()
    assert (pixels(browser, "umap") == other).all(), "each plane zooms by itself"
    canvas.send_keys("0")
    assert (pixels(browser, "pca") == whole).all()


def test_the_wheel_zooms_with_control_only(browser: Browser, pages: dict[str, Path]) -> None:
    """The page scrolls under a plain wheel and says what to hold; with Ctrl the place under the pointer stays."""
    open_map(browser, pages["labelled"])
    zoom = """const v = repdiagMap.views[0], [x, y] = v.place(120, 150);
        const e = new WheelEvent("wheel", {deltaY: -120, ctrlKey: arguments[0], cancelable: true, bubbles: true,
          clientX: v.canvas.getBoundingClientRect().left + 120, clientY: v.canvas.getBoundingClientRect().top + 150});
        const left = v.canvas.dispatchEvent(e), [a, b] = v.place(120, 150);
        return [left, v.zoom, Math.hypot(a - x, b - y), v.plot.querySelector(".map-hint").hidden];"""
    assert browser.js(zoom, False) == [True, 1, 0, False]
    left, factor, moved, hidden = browser.js(zoom, True)
    assert (left, hidden) == (False, True)
    assert factor > 1.2
    assert moved < STEPS / 400, "a pixel: events have whole coordinates"


def test_a_selection_can_be_taken_away(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """The CSV holds the selected rows as the report has them, foreign text safe from spreadsheets; ids are copied."""
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    open_map(browser, pages["hostile"])
    browser.one("#map-canvas").send_keys(Keys.ARROW_RIGHT, "n")
    rows = sorted(chosen(browser))
    assert len(rows) == 50
    browser.one("#map-selection button:nth-of-type(2)").click()
    target, end = tmp_path / "selection.csv", time.monotonic() + 10
    while not target.exists() and time.monotonic() < end:
        time.sleep(0.05)
    raw = target.read_text("utf-8")
    assert raw.startswith('"id","label","prediction","correct","risk","q_score","cluster"\n')
    assert "\"'=cmd|" in raw
    frame = pd.read_csv(io.StringIO(raw, newline=""), keep_default_na=False, dtype=str)
    assert len(frame) == 50
    for i, row in zip(rows, frame.to_dict("records"), strict=True):
        facts = expected_facts("hostile", i)
        for ours, theirs in (("id", "id"), ("label", "label"), ("prediction", "prediction")):
            assert unescaped(row[ours]) == clean(str(facts[theirs]))
        assert row["correct"] == ("true" if facts["correct"] else "false")
        assert float(row["risk"]) == pytest.approx(facts["risk"], abs=3e-5)
        assert row["cluster"] == str(facts["cluster"])
        assert (row["q_score"] == "") == (not np.isfinite(facts["q_score"]))
    browser.one("#map-selection button:nth-of-type(1)").click()
    browser.wait("/Copied 50 ids|are marked/.test(document.getElementById('map-said').textContent)")
    boxes = browser.js("return [...document.querySelectorAll('#map-selection textarea')].map(t => t.value)")
    if boxes:  # where a page may not write to the clipboard the ids are laid out
        assert boxes == ["\n".join(clean(str(expected_facts("hostile", i)["id"])) for i in rows)]
    assert browser.complaints() == []


def test_hostile_names_stay_text(browser: Browser, pages: dict[str, Path]) -> None:
    """Every id arrives letter by letter; markup in ids and labels is shown, never obeyed, in all places."""
    open_map(browser, pages["hostile"])
    ids = browser.js("return Array.from({length: repdiagMap.n}, (_, i) => repdiagMap.id(i))")
    assert ids == [clean(str(i)) for i in REPORTS["hostile"].samples.columns["id"]]
    legend = browser.js("return [...document.querySelectorAll('#map-legend bdi')].map(e => e.textContent)")
    assert legend == list(HOSTILE)
    options = browser.js("return [...document.getElementById('map-class').options].map(o => o.text.trim())")
    assert len(options) == 1 + len(HOSTILE)
    browser.one("#map-canvas").send_keys(Keys.ARROW_RIGHT, "n", Keys.ARROW_LEFT)
    i = browser.js("return repdiagMap.state.focus")
    shown_id = browser.js("return document.querySelector('#map-card .map-id').textContent")
    assert shown_id == clean(str(expected_facts("hostile", i)["id"]))
    assert browser.js("return document.querySelectorAll('#map script, #map img, #map-card img').length") == 0
    assert "owned" not in browser.driver.title.split(" on ")[0]


def test_the_theme_redraws_the_map(browser: Browser, pages: dict[str, Path]) -> None:
    """Going dark while the page is open, by the system or by the page's switch, repaints both planes."""
    open_map(browser, pages["labelled"], prefers_color_scheme="light")
    light = pixels(browser)
    assert light[0, 0, :3].min() > 240
    browser.media(prefers_color_scheme="dark")
    for plane in ("umap", "pca"):
        dark = pixels(browser, plane)
        assert dark[0, 0, :3].max() < 60
    browser.media(prefers_color_scheme="light")
    assert (pixels(browser) == light).all()
    browser.js("document.querySelector('input[name=theme][value=dark]').click()")
    assert pixels(browser)[0, 0, :3].max() < 60


def test_a_phone_stacks_the_planes_and_takes_taps(browser: Browser, pages: dict[str, Path]) -> None:
    """At 390 pixels: no sideways scroll, one plane above the other, and a tap shows a card inside the screen."""
    browser.size(390)
    try:
        open_map(browser, pages["labelled"])
        browser.js("document.querySelector('[data-plane=umap]').scrollIntoView({block: 'center'})")
        assert browser.js("return document.documentElement.scrollWidth") <= 390
        boxes = [figure.rect for figure in browser.all(".map-panel")]
        assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
        places = positions(browser, "labelled")
        i = lonely(places)
        tap = ActionBuilder(browser.driver, mouse=PointerInput("touch", "finger"), duration=0)
        tap.pointer_action.move_to_location(*(round(v) for v in places[i])).pointer_down().pointer_up()
        tap.perform()
        browser.wait("!document.getElementById('map-card').hidden")
        shown_id = browser.js("return document.querySelector('#map-card .map-id').textContent")
        assert shown_id == expected_facts("labelled", i)["id"]
        box = browser.js(
            "const b = document.getElementById('map-card').getBoundingClientRect();"
            "return [b.left, b.top, innerWidth - b.right, innerHeight - b.bottom]"
        )
        assert min(box) >= 0
    finally:
        browser.size(0)


def test_what_is_missing_is_not_offered(browser: Browser, pages: dict[str, Path]) -> None:
    """Without labels: Q-Score, risk and cluster; 200 classes: 24 buttons; 10,500: 10,000; and it is said."""
    open_map(browser, pages["unlabelled"])
    modes = "return [...document.querySelectorAll('#map-modes input')].map(i => i.value)"
    assert browser.js(modes) == ["q_score", "risk", "cluster"]
    assert not browser.one("#map-pick").is_displayed()
    browser.one("#map-canvas").send_keys(Keys.ARROW_RIGHT, "n")
    assert "Misclassified" not in browser.one("#map-selection").text
    assert "Clusters, commonest first" in browser.one("#map-selection").text
    open_map(browser, pages["many"])
    assert len(browser.all("#map-legend button")) == 24
    assert "24 of 200 classes have a button" in browser.one("#map-legend").text
    assert len(browser.all("#map-class option")) == 201
    open_map(browser, pages["large"])
    assert "Shown are 10,000 of 10,500 images, evenly spaced" in browser.one("#map .lead").text
    assert browser.js("return repdiagMap.id(9999)") == REPORTS["large"].samples.columns["id"][-1]


@pytest.mark.parametrize("scheme", ["light"])  # test_browser_report looks at the whole page, in both
def test_an_accessibility_checker_finds_nothing(
    browser: Browser, pages: dict[str, Path], scheme: str
) -> None:
    """axe-core has no serious finding in the section."""
    open_map(browser, pages["small"], prefers_color_scheme=scheme)
    assert browser.accessibility("#map") == []
