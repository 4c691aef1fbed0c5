"""The HTML page as text: one safe file of bounded size that says no more than the report."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape
from sample_report import HOSTILE, sample_report

from repdiag.exhibits import Advice, Exhibits
from repdiag.report import figures, grids, scatter, svg
from repdiag.report.formula import readable
from repdiag.report.html import render
from repdiag.report.numbers import exact, interval_text, null_text, number, quantity
from repdiag.report.palette import class_colors
from repdiag.report.sections import provenance
from repdiag.report.sections.verdicts import summary
from repdiag.report.tables import TableFile
from repdiag.types import (
    Finding,
    Interval,
    Level,
    MetricResult,
    Null,
    Report,
    SizePoint,
    Skipped,
    Table,
    Verdict,
)


class Page(HTMLParser):
    """Elements with their attributes and their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style", "title", "h2", "td", "bdi"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def only(report: Report, **outcome: Any) -> Report:
    """`report` with its first measurement alone, of another outcome."""
    measurement = dataclasses.replace(report.measurements[0], outcome=MetricResult(**outcome))
    return dataclasses.replace(report, measurements=(measurement,))


def metric_row(text: str, name: str) -> str:
    """The markup from one metric's row to the next one, or to the end of its table."""
    begin = text.index(f'<tr id="metric-{name}"')
    return re.split(r"<tr id=.metric-|<details class=.family|</section>", text[begin + 1 :])[0]


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No element refers to anything but data URIs, places in the page and the files beside it."""
    page = Page(render(sample_report(300, 32)))
    targets = [
        value
        for _, attributes in page.elements
        for key in ("src", "href", "action", "data", "srcset", "poster")
        if (value := attributes.get(key)) is not None
    ]
    beside = {
        "report.json",
        "metrics.csv",
        "classes.csv",
        "pairs.csv",
        "clusters.csv",
        "features.csv",
        "samples.csv",
    }
    assert any(target.startswith("data:image/jpeg;base64,") for target in targets)
    assert all(t.startswith(("data:image/jpeg;base64,", "#")) or t in beside for t in targets)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", render(sample_report(50, 16)))
    assert not page.of("link")
    assert not page.of("iframe")


def test_the_policy_admits_exactly_the_pages_own_code() -> None:
    """The CSP's hashes are those of the inline style and scripts, and there is no unsafe-inline."""
    page = Page(render(sample_report(50, 16, names=HOSTILE)))
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = zip(page.of("script"), page.texts["script"], strict=True)
    code = [text for attributes, text in scripts if attributes.get("type") != "application/json"]
    code += page.texts["style"]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert len(code) == len(hashes) > 2
    assert hashes == allowed
    assert not any("style" in attributes for _, attributes in page.elements), "CSP would drop it"
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_makes_no_element(hostile: str) -> None:
    """Wherever foreign text goes, the page has the same elements as with harmless text, and shows it."""

    def page(text: str) -> Page:
        report = sample_report(40, 16, names=(text, "b"), prefix=text)
        return Page(
            render(
                dataclasses.replace(
                    only(report, value=0.5, note=text, table=({text: text},), parameters={text: [text]}),
                    encoder={"name": text, text: text},
                    dataset={"name": text, "nested": {text: {text: text}}},
                    warnings=(text,),
                    verdicts=(Verdict("probes", Level.POOR, text, (Finding("rule", Level.POOR, text),)),),
                    risk={"title": text, "score": text, "explanation": text, "validated": False},
                )
            )
        )

    found, harmless = page(hostile), page("harmless")
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in harmless.elements]
    assert hostile in found.texts["bdi"]
    scripts = zip(found.of("script"), found.texts["script"], strict=True)
    data = {attributes["id"]: text for attributes, text in scripts if "id" in attributes}
    assert hostile in json.loads(data["map-data"])["names"]
    assert not set("<>&\u2028\u2029") & set("".join(data.values()))


def test_an_unlabelled_report_shows_no_labelled_number() -> None:
    """Skipped metrics show their reason, the risk is called not validated, and there is no class table."""
    report = sample_report(300, 32, labelled=False)
    text = render(report)
    skipped = [m for m in report.measurements if isinstance(m.outcome, Skipped)]
    assert skipped
    for measurement in skipped:
        row = metric_row(text, measurement.spec.name)
        assert "needs " in row
        assert "<data" not in row
        assert 'class="strip"' not in row
    assert "Not validated." in text
    assert 'id="classes"' not in text
    assert 'id="figure-compression"' not in text
    assert 'id="figure-histogram"' in text


def test_a_bare_report_is_a_page_without_the_sections_it_cannot_fill() -> None:
    """No measurements, samples, features or exhibits: figures, map, classes and gallery are absent."""
    empty = Table({})
    text = render(
        sample_report(
            10,
            16,
            thumbnails=0,
            measurements=(),
            verdicts=(),
            risk={},
            exhibits=Exhibits(),
            **dict.fromkeys(("samples", "classes", "features", "pairs", "clusters"), empty),
        )
    )
    for section in ("verdicts", "crowding", "map", "stability", "features", "risk", "classes", "sizes"):
        assert f'id="{section}"' not in text
        assert f'href="#{section}"' not in text
    assert 'id="provenance"' in text
    assert "None of the headline metrics was measured here." in text


def test_values_shown_carry_the_exact_number() -> None:
    """Every computed metric's cell holds the full-precision value beside the rounded one."""
    report = sample_report(100, 16)
    text = render(report)
    for measurement in report.measurements:
        if isinstance(measurement.outcome, MetricResult):
            row = metric_row(text, measurement.spec.name)
            value = re.search(r'<td class="num value"[^>]*><data value="([^"]+)"', row)
            assert value is not None
            assert float(value[1]) == measurement.outcome.value


def test_a_large_map_is_sampled_and_says_so() -> None:
    """Beyond 10,000 samples the map holds 10,000, evenly spaced from the first to the last."""
    report = sample_report(25_000, 16)
    shown = scatter.scatter(report)
    assert shown is not None
    data = scatter.map_data(report, shown)
    assert (data["count"], data["total"]) == (10_000, 25_000)
    assert (shown.rows[0], shown.rows[-1]) == (0, 24_999)
    assert set(np.diff(shown.rows)) == {2, 3}
    assert "Shown are 10,000 of 25,000 images, evenly spaced" in render(report)
    assert "evenly spaced" not in render(sample_report(500, 16))


def test_map_places_and_names_survive_packing() -> None:
    """Unpacked 16-bit places keep the map's shape, codes give back labels, NaN places are left out."""
    report = sample_report(400, 16, k=5)
    x = report.samples.columns["umap_x"].copy()
    x[7] = np.nan
    samples = Table({**report.samples.columns, "umap_x": x})
    partly = dataclasses.replace(report, samples=samples)
    shown = scatter.scatter(partly)
    assert shown is not None
    data = scatter.map_data(partly, shown)
    kept = np.arange(400) != 7
    packed = {"label": data["label"], "x": data["planes"][0]["x"], "y": data["planes"][0]["y"]}
    unpacked = {key: np.frombuffer(base64.b64decode(text), "<u2") for key, text in packed.items()}
    assert np.corrcoef(unpacked["x"], x[kept])[0, 1] == pytest.approx(1, abs=1e-6)
    y = report.samples.columns["umap_y"][kept]
    assert np.corrcoef(unpacked["y"], y)[0, 1] == pytest.approx(-1, abs=1e-6), "screens count downward"
    assert max(np.ptp(unpacked["x"]), np.ptp(unpacked["y"])) == 65534
    labels = [data["names"][code] for code in unpacked["label"]]
    assert labels == list(report.samples.columns["label"][kept])


def test_the_page_stays_small_whatever_the_data() -> None:
    """Thousands of classes, endless names, heavy thumbnails and metadata: below 6 MB, and the cuts are said."""
    names = tuple(f"{'ü' * 300}{i}" for i in range(4000))
    report = sample_report(12_000, 3000, names=names, prefix="p" * 2000, thumbnails=24)
    heavy = dict.fromkeys(report.thumbnails, b"\xff" * 400_000)
    many = tuple(f"warning {'w' * 900} {i}" for i in range(3000))
    measurements = tuple(
        dataclasses.replace(m, outcome=MetricResult(value=0.5, table=tuple({"i": i} for i in range(5000))))
        for m in report.measurements
    )
    report = dataclasses.replace(
        report,
        thumbnails=heavy,
        warnings=many,
        measurements=measurements,
        dataset={"name": "n" * 100_000, "corrupt": [{"path": "x" * 500}] * 20_000},
    )
    text = render(report)
    assert len(text.encode()) < 6_000_000
    assert "of 4,000, those with the lowest accuracy; classes.csv has all" in text
    assert "The first 100 of 5000 rows; report.json has all." in text
    assert "and 2,900 more in report.json" in text


def test_verdicts_say_level_reason_and_every_finding_in_words() -> None:
    """The level is text, not a color alone; where the rules say no more than the reason, nothing is to be opened."""
    report = sample_report(60, 16)
    text = render(report)
    section = text[text.index('id="verdicts"') : text.index('id="headline"')]
    items = re.split(r'<li class="(?=\w+">\s*<p class="level")', section)[1:]
    assert len(items) == len(report.verdicts)
    for item, verdict in zip(items, report.verdicts, strict=True):
        assert f"<b>{verdict.level.value.capitalize()}</b>" in item
        assert f">{verdict.family.capitalize()}<" in item
        assert str(escape(verdict.reason)) in item
        more = [finding.reason for finding in verdict.findings] not in ([], [verdict.reason])
        assert ("<details>" in item) == more
        for finding in verdict.findings if more else ():
            assert str(escape(finding.reason)) in item
            assert f'<span class="level">{finding.level.value}</span>' in item
            assert f"({finding.rule})" in item


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ("", ""),
        ("probes=good risk=good", "All that was judged is good: probes and risk."),
        ("a=good b=watch c=good d=watch", "2 of 4 families are good; watch b and d."),
        (
            "a=good b=poor c=watch d=undetermined e=poor",
            "1 of 5 families is good; b and e came out poor; watch c; d stayed undetermined.",
        ),
        ("a=watch b=watch c=watch", "None of 3 families is good; watch a, b and c."),
        ("near_by=poor", "Near by came out poor."),
        ("a=undetermined b=undetermined", "None of 2 families is good; a and b stayed undetermined."),
    ],
)
def test_one_sentence_sums_the_verdicts_up(levels: str, said: str) -> None:
    """How many are good, then the others, worst first, each by name."""
    pairs = [pair.split("=") for pair in levels.split()]
    assert summary([Verdict(family, Level(level), "") for family, level in pairs]) == said


def test_advice_leads_to_its_evidence_and_holds_its_command_whole() -> None:
    """The command's text survives the markup around its words; a link is there only where its section is."""
    report = sample_report(60, 16)
    command = "repdiag score 'a  b' --mean 0.5,0.5,0.5"
    advice = (Advice("r", "Do it", "Why.", "map", command), Advice("s", "And it", "Why.", "nowhere"))
    text = render(dataclasses.replace(report, exhibits=Exhibits(advice=advice)))
    section = text[text.index('id="next"') : text.index('id="headline"')]
    shown = re.search("<code>(.*?)</code>", section, re.DOTALL)
    assert shown is not None
    assert unescape(re.sub("<[^>]+>", "", shown[1])) == command
    assert section.count("<code>") == 1
    assert re.findall('href="(#[^"]+)"', section) == ["#map"]
    assert "Two things to do next" in section


def test_every_headline_card_leads_to_its_metric() -> None:
    """A card's source is the metric's own row, which holds formula and source; skipped ones say why instead."""
    report = sample_report(100, 16)
    text = render(report)
    section = text[text.index('id="headline"') : text.index('id="crowding"')]
    linked = re.findall('href="#metric-([^"]+)"', section)
    headline = [m for m in report.measurements if m.spec.headline]
    assert linked == [m.spec.name for m in headline if isinstance(m.outcome, MetricResult)]
    for name in linked:
        row = metric_row(text, name)
        measurement = report.measurement(name)
        assert measurement is not None
        assert f'id="metric-{name}"' in row
        assert str(escape(measurement.spec.source)) in row
    bare = render(sample_report(100, 16, labelled=False))
    assert "(needs labels, and this run has none)" in bare[bare.index('class="not-measured"') :]


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("1/N * sum_i ||mu_c' - x||^2 >= eps", "1/N · ∑[i] ‖μ[c′] − x‖^2 ≥ ε"),
        ("rows sum to 1, n = std_c / mean_c", "rows sum to 1, n = std[c] / mean[c]"),
        ("as hungarian_accuracy, the class's own", "as hungarian_accuracy, the class's own"),
        ("||W'/||W||_F||^2 = X'X", "‖W′/‖W‖[F]‖^2 = X′X"),
        ("|A_i & B| / |A_i | B|, P(a | b)", "|A[i] ∩ B| / |A[i] ∪ B|, P(a ∪ b)"),
        ("P(a | b) = -log p", "P(a | b) = −log p"),
        ("exp(-sum p), sum_{i != j} S^-1/2", "exp(−∑ p), ∑[i ≠ j] S^−1/2"),
        ("<b> & </sub>", "<b> ∩ </sub>"),
        ("", ""),
    ],
)
def test_formulas_are_set_for_reading(formula: str, shown: str) -> None:
    """Greek letters, indices and powers are set; words stay words, and markup in a formula stays text."""
    text = re.sub("<sub>(.*?)</sub>", r"[\1]", readable(formula))
    assert unescape(re.sub("<sup>(.*?)</sup>", r"^\1", text)) == shown


def test_provenance_groups_what_is_nested_and_folds_what_is_long() -> None:
    """Every value is found under its name; a long list is counted; a known command is shown as it is."""
    held = {"name": "x", "loading": {"kept": 3, "deep": {"er": [1, 2]}}, "list": list(range(60)), "none": {}}
    part = provenance.part("Encoder", held)
    entries = {(group.title, entry.name): entry for group in part.groups for entry in group.entries}
    assert {key: entry.words for key, entry in entries.items()} == {
        ("", "name"): "x",
        ("", "list"): ", ".join(map(str, range(60))),
        ("", "none"): "none",
        ("loading", "kept"): "3",
        ("loading", "deep.er"): "1, 2",
    }
    assert (entries["", "list"].count, entries["loading", "deep.er"].count) == (60, None)
    many = provenance.part("Data", {f"key {i}": i for i in range(150)})
    assert (sum(len(group.entries) for group in many.groups), many.left_out, many.long) == (100, 50, True)
    report = sample_report(40, 16)
    assert provenance.view(report, {}).command is None
    config = {**report.config, "command": ["repdiag", "score", "a b"]}
    assert provenance.view(dataclasses.replace(report, config=config), {}).command == "repdiag score 'a b'"


def test_warnings_beyond_three_are_folded_and_counted() -> None:
    """The header leads to them; without a warning there is neither."""
    text = render(sample_report(40, 16, warnings=tuple(f"warning {i}" for i in range(7))))
    assert '<a class="warned" href="#warnings">' in text
    assert "7 warnings" in text
    assert "<summary>4 more</summary>" in text
    calm = render(sample_report(40, 16, warnings=()))
    assert 'href="#warnings"' not in calm
    assert 'id="warnings"' not in calm


def test_many_clusters_keep_those_that_come_back_least() -> None:
    """Beyond 200 the page has the lowest Jaccards in the order of the clusters, and says so."""
    report = sample_report(3000, 16, k=260)
    table = grids.cluster_grid(report)
    assert table is not None
    shown = [int(row[0].exact) for row in table.rows]
    jaccard = report.clusters.columns["jaccard"]
    assert shown == sorted(np.argsort(jaccard)[:200])
    assert "The 200 of 260 clusters that come back least" in render(report)
    assert "clusters that come back least" not in render(sample_report(100, 16))


def test_values_by_number_of_samples_are_laid_out_by_column() -> None:
    """A column for each N, the whole last; a size that only one metric has leaves a dash for the others."""
    report = sample_report(1000, 16)
    moving = [m for m in report.measurements if m.by_size]
    odd = dataclasses.replace(moving[0], by_size=(SizePoint(333, 0.125, 3),))
    table = grids.size_grid(dataclasses.replace(report, measurements=(odd, *moving[1:])))
    assert table is not None
    assert [c.title for c in table.columns] == ["Metric", "N/4 = 250", "N/3 = 333", "N/2 = 500", "N = 1,000"]
    whole = moving[0].outcome
    assert isinstance(whole, MetricResult)
    assert [cell.exact for cell in table.rows[0]] == ["", "", "0.125", "", str(whole.value)]
    assert [cell.exact for cell in table.rows[1]][1:] == [
        str(moving[1].by_size[0].value),
        "",
        str(moving[1].by_size[1].value),
        str(moving[1].outcome.value),
    ]
    assert "Nobody should compare" in render(report)
    still = [dataclasses.replace(m, by_size=()) for m in moving]
    assert grids.size_grid(dataclasses.replace(report, measurements=tuple(still))) is None


def drawn(report: Report, key: str) -> figures.Figure:
    return next(figure for figure in figures.figures(report) if figure.key == key)


def lines(figure: figures.Figure) -> set[str]:
    return set(re.findall(r'class="(line[^"]*)"', figure.svg))


def with_table(report: Report, name: str, table: tuple[dict[str, float | None], ...]) -> Report:
    measurement = report.measurement(name)
    assert measurement is not None
    changed = dataclasses.replace(measurement, outcome=MetricResult(0.5, table=table))
    return dataclasses.replace(report, measurements=(changed,))


def test_compression_shows_the_ways_that_the_table_has() -> None:
    """Random, variance and PCA each have a line of their own dash and an entry in the key; absent ones have none."""
    report = sample_report(60, 16)
    full = drawn(report, "compression")
    assert len(lines(full)) == 4
    assert {kind for kind, _ in full.legend} == lines(full)
    assert "PCA" in full.caption
    bare = tuple({"kept": kept, "accuracy": 0.5 + kept / 4} for kept in (1.0, 0.6, 0.2))
    alone = drawn(with_table(report, "compression", bare), "compression")
    assert lines(alone) == {"line"}
    assert "PCA" not in alone.caption


def test_the_reliability_curve_puts_each_bin_where_its_numbers_are() -> None:
    """A bin on the diagonal is drawn on it, one above it above it, and missing intervals have no bar."""
    rows = (
        {"predicted": 0.2, "observed": 0.2, "low": 0.1, "high": 0.4, "n": 50.0},
        {"predicted": 0.4, "observed": 0.8, "low": None, "high": None, "n": 50.0},
    )
    figure = drawn(with_table(sample_report(60, 16), "risk_brier", rows), "reliability")
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', figure.svg)]
    diagonal = re.search(r'd="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)" class="line soft dashed"', figure.svg)
    assert diagonal is not None
    x1, y1, x2, y2 = map(float, diagonal.groups())

    def on_diagonal(x: float) -> float:
        return y1 + (y2 - y1) * (x - x1) / (x2 - x1)

    assert dots[0][1] == pytest.approx(on_diagonal(dots[0][0]), abs=0.5)
    assert dots[1][1] < on_diagonal(dots[1][0]) - 20, "more errors than the risk says: above"
    assert figure.svg.count('class="whisker"') == 1
    assert "Images in 2 groups" in figure.caption


def test_accuracy_without_the_riskiest_begins_at_the_plain_accuracy() -> None:
    """All lines start in one point at nothing set aside; an undefined score has no line."""
    report = sample_report(60, 16)
    figure = drawn(report, "selective")
    starts = set(re.findall(r'd="M([\d.]+,[\d.]+)L[^"]*" class="line', figure.svg))
    assert len(starts) == 1
    assert len(lines(figure)) == 5
    found = report.value("selective_accuracy")
    assert found is not None
    without = tuple({**row, "q_score": None} for row in found.table)
    figure = drawn(with_table(report, "selective_accuracy", without), "selective")
    assert len(lines(figure)) == 4
    assert not any("Q-Score" in words for _, words in figure.legend)


def test_a_file_that_not_every_report_has_is_linked_only_where_it_is() -> None:
    assert "kept_features.csv" not in render(sample_report(40, 16))
    file = TableFile(7, "0" * 64)
    assert 'href="kept_features.csv"' in render(sample_report(40, 16), {"kept_features.csv": file})


def test_large_class_counts_keep_the_worst_classes() -> None:
    """With more than 2,000 classes the table keeps those with the lowest accuracy."""
    report = sample_report(10_000, 16, k=2500)
    table = grids.class_grid(report)
    assert table is not None
    assert (len(table.rows), table.total) == (2000, 2500)
    column = [c.title for c in table.columns].index("Accuracy")
    kept = [float(row[column].exact) for row in table.rows]
    accuracy = np.sort(report.classes.columns["accuracy"])
    assert max(kept) <= accuracy[2000]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.9123, "share", "91.2%"),
        (0.0004, "share", "0.040%"),
        (0.0, "share", "0.0%"),
        (3.214, "%", "3.2%"),
        (231.0, "features", "231 features"),
        (187.43, "dimensions", "187.4 dimensions"),
        (0.73449, "", "0.734"),
        (1.0, "", "1.000"),
        (-2.7313, "", "-2.731"),
        (12345.6, "", "12,346"),
        (0.00001234, "", "1.2e-05"),
        (float("nan"), "", "–"),
        (None, "share", "–"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, unit: str, shown: str) -> None:
    """Shares in percent, counts as counts, three or four digits that matter, a dash for nothing."""
    assert quantity(value, unit) == shown


def test_intervals_and_nulls_share_the_values_decimals() -> None:
    """An interval never claims more digits than its value."""
    assert interval_text(Interval(0.9051, 0.9178, "m", 1), "share", 0.91) == "[90.5, 91.8]"
    assert interval_text(Interval(184.61, 190.04, "m", 1), "", 187.4) == "[184.6, 190.0]"
    assert interval_text(Interval(0.065, 0.1, "m", 1), "%", 0.082) == "[0.065, 0.100]"
    assert interval_text(Interval(210, 250, "m", 1), "features", 231.0) == "[210, 250]"
    assert null_text(Null("n", 496.23, 9.91, 5), "", 0.537) == "496.2 ± 9.9"
    assert null_text(Null("n", 0.00018, 0.0034, 5), "", 0.49) == "0.000 ± 0.003"
    assert null_text(Null("n", -0.00018, 0.0034, 5), "", 0.49) == "0.000 ± 0.003", "no negative zero"
    assert interval_text(None, "", 1.0) == ""
    assert null_text(None, "", 1.0) == ""


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_exact_text_reads_back_as_the_number(value: float) -> None:
    """The `value` attribute of a number is that number; NaN is no text."""
    assert float(exact(np.float64(value))) == value
    assert exact(np.float64("nan")) == ""
    assert number(np.float32("nan")) == "–"


bounded = st.floats(-1e9, 1e9)


@settings(max_examples=150, deadline=None)
@given(bounded, st.floats(0, 1e6), st.floats(0, 1e6), st.none() | bounded, st.sampled_from([0, 6, 9, 24, 26]))
def test_strips_never_leave_their_range(
    value: float, a: float, b: float, null: float | None, row: int
) -> None:
    """For any numbers, value, interval and null lie within the drawn range, in order."""
    spec = sample_report(4, 16, k=2).measurements[row].spec
    result = MetricResult(
        value=value,
        interval=Interval(value - a, value + b, "m", 1),
        null=None if null is None else Null("n", null, 0.1, 2),
    )
    drawn = str(svg.strip(spec, result))
    places = [float(p) for p in re.findall(r'(?:x|x1|cx)="(-?[\d.]+)%"', drawn)]
    assert all(-0.01 <= place <= 100.01 for place in places)
    low, high = svg.strip_limits(spec, result)
    assert math.isfinite(low)
    assert low <= value <= high


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    """Ticks lie in the range, evenly, between 2 and 12 of them, with labels that tell them apart."""
    high = low + width
    if not high > low:
        return
    ticks = svg.nice_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    slack = 1e-6 * max(abs(low), abs(high), width)
    assert low - slack <= ticks[0] <= ticks[-1] <= high + slack
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-3)
    if width > 1e-4 * max(abs(low), 1):
        assert len(set(svg.tick_labels(ticks))) == len(ticks)


@pytest.mark.parametrize("k", [1, 8, 9, 30, 200])
def test_class_colors_are_valid_and_distinct(k: int) -> None:
    """Each class has its own color, and none vanishes on a white or on a dark page."""
    colors = class_colors(k)
    assert len(colors) == len(set(colors)) == k
    for color in colors:
        assert re.fullmatch("#[0-9a-f]{6}", color)
        channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance = float(linear @ [0.2126, 0.7152, 0.0722])
        assert 1.05 / (luminance + 0.05) > 1.7, "on white"
        assert (luminance + 0.05) / 0.06 > 1.7, "on the dark card"


def test_rendering_loads_no_machine_learning(tmp_path: Path) -> None:
    """Writing a report in a fresh process imports neither torch nor sklearn nor matplotlib."""
    code = (
        "import sys, pathlib; sys.path.insert(0, 'tests');"
        "from sample_report import sample_report; from repdiag.report import write_report;"
        "write_report(sample_report(30, 16), pathlib.Path(sys.argv[1]));"
        "import repdiag.report.terminal;"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'faiss', 'umap') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_a_sample_without_a_label_is_neither_right_nor_wrong() -> None:
    """Where no label tells, cards, the histogram and the map do not count a sample as misclassified."""
    report = sample_report(300, 32)
    columns = dict(report.samples.columns)
    correct = np.array([bool(c) for c in columns["correct"]], dtype=object)
    riskiest = np.argsort(-columns["risk"], kind="stable")
    correct[riskiest[:40]] = None
    columns["correct"] = correct
    partly = dataclasses.replace(report, samples=Table(columns))
    assert 'class="wrong"' not in render(partly)
    assert 'class="wrong"' in render(report)
    data = scatter.map_data(partly, scatter.scatter(partly))
    codes = np.frombuffer(base64.b64decode(data["correct"]), "<u2")
    assert (codes == scatter.MISSING).sum() == 40
