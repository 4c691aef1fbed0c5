"""A real browser for the tests: Chromium with a page open, what it logged, and an accessibility checker."""

from __future__ import annotations

import base64
import functools
import io
import json
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)


@functools.cache
def axe() -> str:
    """axe-core, the accessibility checker, as the package axe-playwright-python brings it (MPL 2.0, for tests only)."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


class Browser:
    """Chromium with one report open, and what was logged since it was opened."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, **media: str) -> None:
        """Open `page` (a folder: the report.html in it) under media features such as `prefers_color_scheme`."""
        self.driver.get("about:blank")
        self.media(**media)
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get((page / "report.html" if page.is_dir() else page).as_uri())
        self.js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def media(self, kind: str = "", **features: str) -> None:
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": listed})

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def complaints(self) -> list[str]:
        """Console messages of any level but plain notes, CSP violations among them."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] not in ("INFO", "DEBUG")]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, but for data URIs."""
        entries = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def size(self, width: int, height: int = 900) -> None:
        """Emulate a screen of this size; `size(0)` goes back to the window's own."""
        if not width:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            return
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def accessibility(self, within: str = "body") -> list[str]:
        """What axe-core finds of serious or critical impact: `rule: element` for each."""
        self.driver.execute_cdp_cmd(
            "Page.setBypassCSP", {"enabled": True}
        )  # axe is code that the page did not bring
        try:
            self.driver.refresh()
            self.driver.execute_script(axe())
            found = self.driver.execute_async_script(
                """const done = arguments[arguments.length - 1];
                axe.run(arguments[0], {resultTypes: ["violations"]})
                    .then(r => done(r.violations), e => done(String(e)));""",
                within,
            )
        finally:
            self.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
        assert isinstance(found, list), found
        return [
            f"{v['id']}: {node['html'][:200]}"
            for v in found
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        ]

    def wait(self, code: str, seconds: float = 10.0) -> None:
        """Until the JavaScript expression `code` is true; fails when it never is."""
        end = time.monotonic() + seconds
        while not self.js(f"return Boolean({code})"):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.02)

    def pixels(self) -> np.ndarray[Any, Any]:
        """The map's canvas as an (H, W, 4) array."""
        text = self.js("return document.getElementById('map-canvas').toDataURL('image/png')")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))).convert("RGBA"))

    def table(self, selector: str = "#class-table") -> list[list[str]]:
        """Shown rows of a table: exact values where there are any, texts otherwise."""
        rows: list[list[str]] = self.js(
            """return [...document.querySelector(arguments[0]).tBodies[0].rows].filter(r => !r.hidden).map(
            r => [...r.cells].map(c => c.querySelector("data") ? c.querySelector("data").value
                                                               : c.textContent))""",
            selector,
        )
        return rows


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium; where it is missing the tests fail, since a page nobody opened is not tested."""
    for program in (CHROMIUM, DRIVER):
        if not program.exists():
            pytest.fail(
                f"{program} is missing: install the packages chromium and chromium-driver (make test does)"
            )
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
