"""How large report.html is, how long it takes to write, and how soon a browser shows it: prints Markdown tables.

    python benchmarks/report_page.py [--only 10000] [--runs 5] > docs/benchmarks/report-page.md

Reports of 1,000 to 1,000,000 samples with the columns, metrics and exhibits of a real one are drawn (nothing is
measured in them, so the numbers in their pages mean nothing), with real images where `../shared/data` has them. Each is
written by a process of its own, which says how long it took and how much memory at its peak beyond what the report
itself holds. A fresh Chromium then opens the page, several times; the medians are what its own clock says
(`performance`), from the start of the navigation.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT.parent / "shared" / "data" / "tiny-imagenet" / "tiny-imagenet-val.zip"
CASES = ((1_000, 100), (10_000, 100), (10_000, 1_000), (100_000, 100), (1_000_000, 100), (1_000_000, 1_000))
"""Samples and classes."""
FEATURES = 512
LIMITS = ((10_000, 6e6), (1_000_000, 12e6))
"""Bytes of a page with at most so many samples."""
SCORES = ("q_score_all", "qscore_v1", "q_score_signed", "max_z", "knn_density", "kmeans_margin")
"""Columns of magnitudes that samples.csv has besides those of tests/sample_report.py."""


def made(samples: int, classes: int, pictures: bool = True) -> Any:
    """A report of so many samples; its samples.csv is as wide and as hard to compress as a real one's."""
    sys.path.insert(0, str(ROOT / "tests"))
    from sample_exhibits import shown_ids
    from sample_report import sample_report

    report = sample_report(samples, FEATURES, classes, thumbnails=0)
    rng = np.random.default_rng(1)
    columns = dict(report.samples.columns)
    columns |= {name: rng.gamma(3, 0.1, samples) for name in SCORES}
    columns |= {name: rng.random(samples) < 0.8 for name in ("knn_correct", "nearest_center_correct")}
    columns["neighborhood_consistency"] = rng.integers(0, 11, samples) / 10
    report = replace(report, samples=replace(report.samples, columns=columns))
    return with_pictures(report, shown_ids(report.exhibits)) if pictures and IMAGES.is_file() else report


def with_pictures(report: Any, gallery: Sequence[str]) -> Any:
    """The report with small pictures as `repdiag score` makes them, of the first images of Tiny-ImageNet."""
    from repdiag.extraction.images import small_pictures
    from repdiag.showing.pictures import read_pictures
    from repdiag.sources import open_source

    source = open_source(str(IMAGES))
    known = len(source.manifest)
    row = {str(name): i % known for i, name in enumerate(report.samples.columns["id"])}

    def read(ids: Sequence[str], sides: Sequence[int]) -> Iterator[Any]:
        return iter(small_pictures(source, [row[name] for name in ids], list(sides)))

    small, sprite = read_pictures(report.samples.columns, gallery, read, 10_000, lambda *_: None)
    return replace(report, thumbnails=small, exhibits=replace(report.exhibits, sprite=sprite))


def parts(page: str) -> dict[str, int]:
    """Bytes of the page by what they are; together they are the page."""
    blocks = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL)
    size = {name: len(content.encode()) for name, content in blocks}
    found = {
        "map": sum(n for name, n in size.items() if name.startswith("map") and "sprite" not in name),
        "sprite": sum(n for name, n in size.items() if "sprite" in name),
        "samples.csv": size.get("enclosed-samples.csv", 0),
        "other files": sum(
            n for name, n in size.items() if name.startswith("enclosed-") and name != "enclosed-samples.csv"
        ),
        "pictures": sum(len(uri) for uri in re.findall(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", page)),
        "styles, scripts": sum(
            len(code.encode()) for code in re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", page, re.DOTALL)
            for code in code
        ),
    }  # fmt: skip
    return {**found, "HTML": len(page.encode()) - sum(found.values())}


def memory(name: str) -> float:
    """VmRSS or VmHWM of this process in MB (Linux)."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def write(samples: int, classes: int, folder: Path) -> None:
    """Write the report of one case to `folder` and print what that took as JSON."""
    from repdiag.report import write_report

    report = made(samples, classes)
    write_report(made(50, 5, False), folder / "warm")  # imports and templates are loaded once
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, began = memory("VmRSS"), time.perf_counter()
    paths = write_report(report, folder)
    seconds = time.perf_counter() - began
    page = paths["report.html"].read_text("utf-8")
    found = {"seconds": seconds, "extra": memory("VmHWM") - before, "report": before, "parts": parts(page)}
    print(json.dumps(found | {"page": len(page.encode()), "csv": paths["samples.csv"].stat().st_size}))


def opened(page: Path, runs: int) -> dict[str, float]:
    """Milliseconds until a fresh Chromium paints and loads the page: medians over `runs`."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browsing import CHROMIUM, DRIVER, FLAGS
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    told: list[dict[str, float]] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as profile:
            options = webdriver.ChromeOptions()
            options.binary_location = str(CHROMIUM)
            for flag in (*FLAGS, f"--user-data-dir={profile}"):
                options.add_argument(flag)
            driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
            try:
                driver.get(page.as_uri())
                told.append(
                    driver.execute_async_script(
                        """const done = arguments[0];
                        requestAnimationFrame(() => setTimeout(() => {
                          const paint = Object.fromEntries(
                            performance.getEntriesByType('paint').map(e => [e.name, e.startTime]));
                          const whole = performance.getEntriesByType('navigation')[0];
                          done({first: paint['first-paint'], content: paint['first-contentful-paint'],
                            dom: whole.domContentLoadedEventEnd, load: whole.loadEventEnd}); }, 200))"""
                    )
                )
            finally:
                driver.quit()
    return {name: statistics.median(run[name] for run in told) for name in told[0]}


def size(count: float) -> str:
    """Bytes as MB."""
    return f"{count / 1e6:.2f}"


def filled(text: str) -> str:
    """A paragraph in lines."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def judged(rows: list[dict[str, Any]]) -> str:
    """What became of the limits, in words."""
    said = []
    for most, limit in LIMITS:
        within = [row for row in rows if row["samples"] <= most]
        if within:
            largest = max(row["page"] for row in within)
            verdict = "kept" if largest < limit else "**broken**"
            said.append(f"{limit / 1e6:.0f} MB at up to {most:,} samples: {verdict} ({size(largest)} MB)")
    slowest = max(row["opened"]["content"] for row in rows)
    verdict = "kept" if slowest < 1000 else "**broken**"
    return "; ".join(said) + f"; first contentful paint within a second: {verdict} ({slowest:.0f} ms)."


def printed(rows: list[dict[str, Any]]) -> None:
    """The page of the documentation."""
    kind = (
        "real images (Tiny-ImageNet)" if IMAGES.is_file() else "drawn pictures: the real ones were not there"
    )
    cores = len(os.sched_getaffinity(0))
    print("# The report page: size and speed\n")
    print(
        filled(
            "Printed by `python benchmarks/report_page.py` on a machine with "
            f"{cores} core{'s' if cores > 1 else ''} and no GPU; {kind}. The reports are drawn, not measured: "
            f"D = {FEATURES}, K classes, and the columns of a real report. *Written* is `write_report`: the page, "
            "report.json and all tables; its memory is the peak beyond the report itself. *Opened* is a fresh Chromium "
            "with an empty profile, the page from the disk's cache; medians of several runs."
        )
    )
    print(f"\n{filled('Limits: ' + judged(rows))}\n\n## Size of the page in MB, by part\n")
    names = list(rows[0]["parts"])
    print(f"| samples | K | page | {' | '.join(names)} | samples.csv beside it |")
    print(f"|---:|---:|---:|{'---:|' * (len(names) + 1)}")
    for row in rows:
        cells = [f"{row['samples']:,}", f"{row['classes']:,}", f"**{size(row['page'])}**"]
        cells += [size(row["parts"][name]) for name in names]
        print(f"| {' | '.join(cells)} | {size(row['csv'])} |")
    print(
        "\n"
        + filled(
            "*map*: places, names, values of at most 10,000 samples. *sprite*: their small pictures in one JPEG. "
            "*samples.csv* and *other files*: what the Download buttons give, gzip in base64; of a table that is too "
            "large some rows. *pictures*: those of the galleries."
        )
    )
    print("\n## Seconds and memory to write it, milliseconds to show it\n")
    print(
        "| samples | K | written, s | memory, MB | first paint | first contentful paint | DOM ready | loaded |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        shown = " | ".join(f"{row['opened'][name]:.0f}" for name in ("first", "content", "dom", "load"))
        print(
            f"| {row['samples']:,} | {row['classes']:,} | {row['seconds']:.1f} | {row['extra']:.0f} | {shown} |"
        )


def main() -> None:
    """Measure all cases, each written by a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=int, help="only the cases with so many samples")
    parser.add_argument("--runs", type=int, default=5, help="how often each page is opened")
    parser.add_argument("--write", nargs=3, metavar=("SAMPLES", "CLASSES", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(int(given.write[0]), int(given.write[1]), Path(given.write[2]))
        return
    rows = []
    for samples, classes in CASES:
        if given.only in (None, samples):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--write", str(samples), str(classes), folder]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                found = json.loads(said.splitlines()[-1])
                shown = opened(Path(folder) / "report.html", given.runs)
            rows.append({"samples": samples, "classes": classes, **found, "opened": shown})
            print(f"{samples:,} samples, {classes:,} classes: {size(found['page'])} MB", file=sys.stderr)
    printed(rows)


if __name__ == "__main__":
    main()
