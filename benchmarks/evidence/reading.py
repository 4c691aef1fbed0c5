"""What the runs found, as tables read it, and the small statistics that tables share."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.catalog import Encoder, Images
from benchmarks.evidence.study import Run, Study
from repdiag.kernels.resample import Z95

Doubles = np.ndarray


@dataclass(frozen=True)
class Answer:
    """A metric's value with its interval and null where it has them."""

    value: float
    low: float | None = None
    high: float | None = None
    null_mean: float | None = None
    null_std: float | None = None
    table: tuple[Mapping[str, Any], ...] = ()

    @property
    def error(self) -> float:
        """Standard error, from the width of the 95 % interval; 0 where there is none."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / (2 * Z95)

    @property
    def excess(self) -> Answer | None:
        """How far the value is above its null; its noise is the value's and that of the null's mean over draws."""
        if self.null_mean is None or self.null_std is None:
            return None
        return normal(self.value - self.null_mean, math.hypot(self.error, self.null_std))

    def __str__(self) -> str:
        return number(self.value) if self.low is None else f"{number(self.value)} {span(self.low, self.high)}"


@dataclass(frozen=True)
class Declared:
    """What a metric says of itself."""

    name: str
    title: str
    family: str
    direction: str
    needs: frozenset[str]

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither."""
        return {"higher": 1, "lower": -1}.get(self.direction, 0)

    @property
    def label_free(self) -> bool:
        """Whether it needs no labels (k-means is told how many classes there are all the same)."""
        return not any("label" in need or "coarse" in need for need in self.needs)


@dataclass(frozen=True)
class Found:
    """One run's report."""

    run: Run
    answers: Mapping[str, Answer]
    skipped: Mapping[str, str]
    declared: Mapping[str, Declared]
    report: Mapping[str, Any]
    scores: tuple[Mapping[str, Any], ...] = ()
    variants: tuple[Mapping[str, Any], ...] = ()

    @property
    def encoder(self) -> Encoder:
        """The encoder."""
        return self.run.encoder

    def value(self, name: str) -> float | None:
        """The value of a metric, or None."""
        answer = self.answers.get(name)
        return None if answer is None else answer.value


@dataclass(frozen=True)
class Evidence:
    """All that was found, in the study's order."""

    study: Study
    found: tuple[Found, ...]

    @property
    def images(self) -> list[Images]:
        """The data sets that have runs."""
        return list({f.run.images.key: f.run.images for f in self.found}.values())

    def of(self, images: Images) -> list[Found]:
        """The runs on a data set."""
        return [f for f in self.found if f.run.images.key == images.key]

    def pick(self, images: Images, keys: Iterable[str]) -> list[Found]:
        """The runs of some encoders on a data set, in the order of `keys`; those that exist."""
        known = {f.encoder.key: f for f in self.of(images)}
        return [known[key] for key in keys if key in known]

    @property
    def declared(self) -> dict[str, Declared]:
        """Every metric of any report, in reporting order."""
        return {name: d for f in self.found for name, d in f.declared.items()}


def read(study: Study, out: Path) -> Evidence:
    """The reports of all runs that are there."""
    return Evidence(study, tuple(_read(run, out / run.name) for run in study.runs if _whole(out / run.name)))


def _whole(folder: Path) -> bool:
    return (folder / "report.json").is_file() and (folder / "run.json").is_file()


def _read(run: Run, folder: Path) -> Found:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    judged = folder / "judged" / "judged.json"
    more = json.loads(judged.read_text()) if judged.is_file() else {"scores": [], "variants": []}
    answers, skipped, declared = {}, {}, {}
    for m in report["measurements"]:
        name, outcome = m["name"], m["outcome"]
        declared[name] = Declared(name, m["title"], m["family"], m["direction"], frozenset(m["needs"]))
        if "skipped" in outcome:
            skipped[name] = outcome["skipped"]
        else:
            answers[name] = _answer(outcome)
    return Found(run, answers, skipped, declared, report, tuple(more["scores"]), tuple(more["variants"]))


def _answer(outcome: Mapping[str, Any]) -> Answer:
    ends, null = outcome["interval"] or {}, outcome["null"] or {}
    return Answer(
        outcome["value"], ends.get("low"), ends.get("high"), null.get("mean"), null.get("std"),
        tuple(outcome["table"] or ()),
    )  # fmt: skip


# ------------------------------------------------------------------------------------ pages


@dataclass(frozen=True)
class Claim:
    """What a paper says, and whether the evidence here agrees; `sentence` has the numbers."""

    paper: str
    said: str
    found: Literal["agrees", "disagrees", "mixed", "not tested"]
    sentence: str


@dataclass(frozen=True)
class Page:
    """A page of docs/evidence: its file, what it is about in one line, its text, and its claims."""

    file: str
    title: str
    question: str
    body: str
    claims: tuple[Claim, ...] = field(default=())

    def text(self) -> str:
        """The file's content."""
        head = (
            f"# {self.title}\n\n{self.question}\n\n"
            f"    python -m benchmarks.evidence.tables --only {self.file.removesuffix('.md')}\n\n"
            "prints this page from the runs that [the evidence](README.md) describes. Every number and every word on "
            "what was found is computed from them.\n"
        )
        said = "".join(f"\n**{c.paper}: {c.found}.** {c.said} {c.sentence}\n" for c in self.claims)
        return flowed(f"{head}{said}\n{self.body.strip()}\n")


def flowed(text: str) -> str:
    """Markdown with its prose filled to lines of 120; headings, tables, lists and code stay."""
    return "\n\n".join(_fill(b) if _is_prose(b) else b for b in text.split("\n\n"))


def _is_prose(block: str) -> bool:
    return not block.lstrip("\n").startswith(("#", "|", "- ", "    ")) and bool(block.strip())


def _fill(block: str) -> str:
    end = "\n" if block.endswith("\n") else ""
    return textwrap.fill(block, 120, break_long_words=False, break_on_hyphens=False) + end


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns are text."""
    rule = "|".join(["---"] * left + ["---:"] * (len(heads) - left))
    lines = [f"| {' | '.join(heads)} |", f"|{rule}|"]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]) + "\n"


def number(value: float) -> str:
    """Three significant digits, no exponent where it can be helped."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    size = abs(value)
    if size >= 1e5 or size < 1e-4:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}" if size < 1000 else f"{value:,.0f}"


def span(low: float | None, high: float | None) -> str:
    """An interval in brackets."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with as many digits as its neighbors; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:.{digits}f}"
    return text[1:] if float(text) == 0 and text.startswith("-") else text


def fixed_span(ends: Sequence[float | None], digits: int = 2) -> str:
    """value [low, high] with equal digits."""
    return f"{fixed(ends[0], digits)} [{fixed(ends[1], digits)}, {fixed(ends[2], digits)}]"


def percent(value: float | None) -> str:
    """A share in percent."""
    return "-" if value is None else f"{100 * value:.1f} %"


def listed(names: Sequence[str], none: str = "none") -> str:
    """a, b and c."""
    if not names:
        return none
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def normal(value: float, error: float) -> Answer:
    """A value with the 95 % interval of its standard error."""
    return Answer(value, value - Z95 * error, value + Z95 * error)


def difference(a: Answer, b: Answer) -> Answer:
    """a - b, their errors taken as independent (on equal samples that is rather too wide)."""
    return normal(a.value - b.value, math.hypot(a.error, b.error))
