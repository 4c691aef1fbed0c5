"""The report as one HTML file that opens anywhere, offline, and runs nothing but its own two scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from repdiag.report import grids, views
from repdiag.report.figures import figures
from repdiag.report.numbers import interval_text, number
from repdiag.report.scatter import embedded_json, map_data
from repdiag.report.tables import TableFile
from repdiag.report.text import clean
from repdiag.types import Interval, Report

if TYPE_CHECKING:
    import jinja2

DESCRIPTIONS = {
    "report.json": "everything but the per-sample values, with full provenance",
    "metrics.csv": "one row per metric",
    "classes.csv": "one row per class",
    "pairs.csv": "one row per pair of classes that lie close",
    "clusters.csv": "one row per k-means cluster",
    "features.csv": "one row per feature",
    "kept_features.csv": "the smallest set of features that keeps the accuracy, for `repdiag export --features`",
    "samples.csv": "one row per image",
}


@cache
def asset(name: str) -> Markup:
    """A style sheet or script of ours, inlined as it is; our own, so not escaped."""
    return Markup(files("repdiag.report").joinpath("templates", name).read_text("utf-8"))  # noqa: S704


@cache
def environment() -> jinja2.Environment:
    """The templates; everything that is put into them is escaped, and a name they lack is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("repdiag.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii") + "'"


def content_policy(styles: str, scripts: tuple[str, ...]) -> str:
    """A Content-Security-Policy under which exactly these styles and scripts run and nothing is fetched."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(styles)};"
        f" script-src {' '.join(map(_hash, scripts))}; base-uri 'none'; form-action 'none'"
    )


def render(report: Report, tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `tables` (file name -> rows) adds row counts to the list of files."""
    styles, scripts = asset("report.css"), (asset("tables.js"), asset("map.js"))
    scatter = map_data(report)
    page = environment().get_template("report.html.j2")
    rendered = page.render(
        report=report,
        title=f"{grids.text(report.encoder.get('name', 'encoder'))} on "
        f"{grids.text(report.dataset.get('name', 'data'))}",
        policy=content_policy(styles, scripts),
        styles=styles,
        scripts=scripts,
        counts=_counts(report),
        families=views.families(report),
        not_measured=views.not_measured(report),
        warnings=[grids.text(w) for w in report.warnings[: grids.MAX_ROWS]],
        figures=figures(report),
        scatter=scatter,
        scatter_json=None if scatter is None else embedded_json(scatter),
        classes=grids.class_grid(report),
        pairs=grids.pair_grid(report),
        clusters=grids.cluster_grid(report),
        sizes=grids.size_grid(report),
        riskiest=views.riskiest(report),
        risk=_risk(report),
        provenance=_provenance(report),
        files=_files(tables or {}),
        grid=grids.grid,
        words=grids.text,
    )  # fmt: skip
    return clean(rendered)


def _files(tables: Mapping[str, TableFile]) -> list[tuple[str, str, int | None]]:
    """Name, contents and rows of each file beside the page; the one that not every report has only where it is."""
    return [
        (name, words, tables[name].rows if name in tables else None)
        for name, words in DESCRIPTIONS.items()
        if name != "kept_features.csv" or name in tables
    ]


def _counts(report: Report) -> list[tuple[int, str]]:
    counts = [(len(report.samples), "images"), (len(report.features), "features")]
    return counts + ([(len(report.classes), "classes")] if len(report.classes) else [])


def _risk(report: Report) -> dict[str, Any] | None:
    """The risk's sentence parts, or None when no risk was made."""
    risk = report.risk
    if not risk:
        return None
    said = {key: grids.text(risk.get(key) or "") for key in ("title", "score", "explanation")}
    auroc, low, high = risk.get("auroc"), risk.get("low"), risk.get("high")
    measured = ""
    if auroc is not None:
        measured = f"AUROC {number(auroc)}"
        if low is not None and high is not None:
            measured += " " + interval_text(Interval(low, high, "", 0), "", auroc)
    return {**said, "validated": bool(risk.get("validated")), "measured": measured}


def _provenance(report: Report) -> list[tuple[str, list[tuple[str, str]]]]:
    timing = {step: f"{seconds:.2f}" for step, seconds in report.timing.items()}
    parts: dict[str, Mapping[str, Any]] = {
        "Encoder": report.encoder,
        "Data": report.dataset,
        "Configuration": report.config,
        "Environment": report.environment,
        "Risk": {} if not report.risk else {"score": report.risk.get("score"), **report.risk},
        "Time in seconds": timing,
    }
    return [(title, views.flat(part)) for title, part in parts.items() if part]
