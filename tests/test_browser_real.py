"""A report that the command line really made, in a real browser."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from browsing import Browser
from conftest import FIXTURES, Run

pytestmark = pytest.mark.browser


def test_the_demo_report_opens_clean_and_shows_what_the_tables_hold(
    browser: Browser,
    cli: Run,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    cli("score", FIXTURES / "encoders" / "simclr.safetensors", FIXTURES / "digits", "--out", out, "--quiet")
    browser.open(out)
    assert browser.driver.get_log("browser") == []
    requests = browser.js("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [r for r in requests if not r.startswith("data:")] == []
    text = browser.js("return document.body.innerText")
    with (out / "metrics.csv").open(newline="") as file:
        metrics = {row["name"]: row for row in csv.DictReader(file)}
    accuracy = float(metrics["linear_probe_accuracy"]["value"])
    assert f"{100 * accuracy:.1f}%" in text
    assert f"{float(metrics['rankme']['value']):.2f}" in text
    pictures = browser.js(
        "return [...document.querySelectorAll('img')].map(i => i.complete && i.naturalWidth)"
    )
    riskiest = browser.js("return document.querySelectorAll('#risk .riskiest img').length")
    features = browser.js("return document.querySelectorAll('#features .tops img').length")
    assert (riskiest, features) == (24, 12 * 8)
    assert len(pictures) > riskiest + features
    assert all(width > 0 for width in pictures), "every thumbnail is a picture"
    with (out / "classes.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    assert all(digit in text for digit in "0123456789")
