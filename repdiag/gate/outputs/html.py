"""A gate's results as one HTML file that opens anywhere, offline: the same numbers as its other outputs, drawn.

It holds gate.json for a button to save; like the other outputs it holds no time, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from repdiag.gate import words as sentences
from repdiag.gate.outputs import json_form
from repdiag.gate.outputs.figures import axis
from repdiag.gate.outputs.words import headline, line, named, printable, stable, warnings, written
from repdiag.gate.types import GateResult, Outcome, RuleResult
from repdiag.report.enclosed import pack
from repdiag.report.numbers import exact
from repdiag.report.page import render_page

LEVELS = {Outcome.PASS: "good", Outcome.FAIL: "poor", Outcome.UNDETERMINED: "undetermined"}
WORDS = {Outcome.PASS: "Pass", Outcome.FAIL: "Fail", Outcome.UNDETERMINED: "Undetermined"}
ORDER = (Outcome.FAIL, Outcome.UNDETERMINED, Outcome.PASS)
DOCUMENT = "gate.json"
FACTS = {
    "encoder": "Encoder",
    "dataset": "Data",
    "samples": "Images",
    "fingerprint": "Fingerprint of the data",
}


@dataclass(frozen=True)
class Row:
    """One rule as the page shows it; texts are "" where there is nothing to say."""

    outcome: str
    level: str
    word: str
    name: str
    limit: str
    value: str
    exact: str
    interval: str
    unit: str
    label: str
    course: str
    drawn: Markup
    reason: str
    decides: str
    note: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Fact:
    """What is known of the report and of the baseline ("" where nothing is); `differs` where that matters."""

    name: str
    report: str
    baseline: str
    differs: bool


def text(result: GateResult) -> str:
    """`result` as the text of a page. Foreign text is shown, never obeyed."""
    packed = pack(DOCUMENT, json_form.text(result).encode("utf-8"))
    data: dict[str, Any] = {}
    if packed is not None:
        held = base64.b64encode(packed.packed).decode("ascii")
        data[f"enclosed-{DOCUMENT}"] = {"name": DOCUMENT, "gzip": held}
    return render_page(
        "gate.html.j2",
        title=printable(named(_what(result.report))) or "A report",
        styles=("downloads.css", "gate.css"),
        scripts=("tables.js", "downloads.js"),
        data=data,
        skip_to="verdict",
        level=LEVELS[result.outcome],
        word=WORDS[result.outcome],
        headline=headline(result),
        because=because(result),
        counted=[(LEVELS[o], WORDS[o], result.count(o)) for o in ORDER if result.count(o)],
        warnings=[printable(one) for one in warnings(result)],
        rows=[_row(one, result) for one in sorted(result.results, key=lambda one: ORDER.index(one.outcome))],
        bounds=_bounds(result),
        undetermined=any(one.evidence is Outcome.UNDETERMINED for one in result.results),
        facts=_facts(result),
        compared=result.baseline is not None,
        rules_source=printable(result.rules_source),
        samples=_samples(result),
    )


def because(result: GateResult) -> str:
    """What the verdict means."""
    swept = sum(
        one.evidence is Outcome.UNDETERMINED and one.outcome is Outcome.PASS for one in result.results
    )
    if result.outcome is Outcome.PASS and swept:
        return f"{_rules(swept)} could not be decided; the rules file counts that as passed."
    if result.outcome is Outcome.PASS:
        return (
            "Every rule holds, even if chance has favored the encoder as far as the rules' confidence allows."
        )
    if result.outcome is Outcome.UNDETERMINED:
        said = "The images are too few to tell, or what is judged was not measured."
        return f"{said} Each such rule says what would decide it."
    if all(one.evidence is not Outcome.FAIL for one in result.results):
        return "What could not be decided counts as a failure: the rules file says so."
    return "A limit is broken by more than chance explains at the confidence that the rules ask for."


def decides(result: RuleResult, samples: int) -> str:
    """What would settle a rule whose limit lies inside its interval; "" for one that is settled."""
    if result.evidence is not Outcome.UNDETERMINED:
        return ""
    if result.value is None:
        return "A report that has this number: score with what it needs."
    if result.interval is None:
        return "Nothing says how far the number may be off. With confidence = 0 the bare number decides."
    found = written(result, result.value)
    outside = f"a limit outside [{found.low}, {found.high}]{f' {found.unit}' if found.unit else ''}"
    if result.samples_needed is not None:
        times = result.samples_needed / samples if samples else 0.0
        now = f", {times:.{0 if times >= 10 else 1}f} times as many as now" if times > 1 else ""
        return f"About {result.samples_needed:,} images{now}, if the number stayed what it is; or {outside}."
    if result.margin == 0:
        return f"The number lies on its limit, where no number of images tells: only {outside} does."
    return f"Nobody can say how many images would; {outside} does."


def _row(one: RuleResult, result: GateResult) -> Row:
    shown = line(one)
    found = None if one.value is None else written(one, one.value)
    both = "" if one.now is None or one.before is None else f"from {one.before:.4g} to {one.now:.4g}"
    return Row(
        outcome=one.outcome.value,
        level=LEVELS[one.outcome],
        word=WORDS[one.outcome],
        name=printable(shown.name),
        limit=shown.limit,
        value="" if found is None else found.value,
        exact=exact(one.value),
        interval=f"[{found.low}, {found.high}]" if found is not None and found.low else "",
        unit="" if found is None else printable(found.unit),
        label=printable(one.label),
        course=both,
        drawn=axis(one, printable(f"{shown.value}, {shown.limit}")),
        reason=printable(one.reason),
        decides=printable(decides(one, _samples(result))),
        note=printable(one.note),
        facts=_about(one),
    )


def _about(one: RuleResult) -> tuple[tuple[str, str], ...]:
    """What the rule is and how it was decided, by name."""
    rule = one.rule
    sure = "the bare value" if rule.confidence == 0 else f"{100 * rule.confidence:g}%, each bound on one side"
    counts = rule.undetermined
    found = [
        ("Judges", printable(sentences.subject(rule.subject))),
        ("Limit", str(rule.limit)),
        ("Confidence", sure),
        ("Basis", printable(one.method)),
        ("Room to the limit", "" if one.margin is None else f"{one.margin:+.4g}"),
        ("Undetermined counts as", "" if counts is Outcome.UNDETERMINED else counts.value),
    ]
    return tuple((name, said) for name, said in found if said)


def _bounds(result: GateResult) -> str:
    """ "95%" where all bounds are of one confidence, else ""."""
    found = {one.rule.confidence for one in result.results if one.interval is not None}
    return f"{100 * found.pop():g}%" if len(found) == 1 else ""


def _what(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of the facts about a report those that name it."""
    return {name: facts[name] for name in ("encoder", "dataset") if name in facts}


def _samples(result: GateResult) -> int:
    count = result.report.get("samples")
    return count if isinstance(count, int) else 0


def _facts(result: GateResult) -> list[Fact]:
    report, baseline = stable(result.report), stable(result.baseline or {})
    names = [
        name for name in dict.fromkeys((*FACTS, *report, *baseline)) if name in report or name in baseline
    ]
    made = []
    for name in names:
        ours, theirs = _fact(report, name), _fact(baseline, name)
        differs = name != "encoder" and bool(ours and theirs) and ours != theirs
        title = FACTS.get(name) or printable(name.replace("_", " ").capitalize())
        if ours or theirs:
            made.append(Fact(title, ours, theirs, differs))
    return made


def _fact(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else printable(str(value))


def _rules(n: int) -> str:
    return "1 rule" if n == 1 else f"{n} rules"
