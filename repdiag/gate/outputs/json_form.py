"""A gate's results as JSON: strict (no NaN), versioned, in a fixed order, the same bytes for equal inputs."""

from __future__ import annotations

from typing import Any

from repdiag.gate.outputs.words import stable
from repdiag.gate.types import (
    ClassValue,
    GateResult,
    MetricValue,
    Outcome,
    RuleResult,
    SampleQuantile,
    SampleShare,
    Subject,
)
from repdiag.report.json_form import dumps, plain
from repdiag.report.text import clean
from repdiag.types import Interval

GATE_SCHEMA_VERSION = 1


def to_json(result: GateResult) -> dict[str, Any]:
    """`result` as what `json.dumps` takes; the form is in schema.json beside this file.

    Numbers are in the metric's own unit (a share is 0.912, not 91.2). Raises TypeError when the facts about a report
    hold something that JSON has no form for.
    """
    return {
        "schema_version": GATE_SCHEMA_VERSION,
        "outcome": result.outcome.value,
        "counts": {outcome.value: result.count(outcome) for outcome in Outcome},
        "rules": clean(result.rules_source),
        "report": plain(stable(result.report)),
        "baseline": None if result.baseline is None else plain(stable(result.baseline)),
        "warnings": plain(result.warnings),
        "results": [_result(one) for one in result.results],
    }


def text(result: GateResult) -> str:
    """The document as text, with a newline at its end."""
    return dumps(to_json(result))


def _result(one: RuleResult) -> dict[str, Any]:
    rule = one.rule
    return {
        "name": clean(rule.name),
        "outcome": one.outcome.value,
        "evidence": one.evidence.value,
        "subject": _subject(rule.subject),
        "limit": {
            "kind": rule.limit.kind.value,
            "side": "at least" if rule.limit.at_least else "at most",
            "value": plain(rule.limit.value),
        },
        "confidence": plain(rule.confidence),
        "undetermined": rule.undetermined.value,
        "value": plain(one.value),
        "unit": clean(one.unit),
        "label": clean(one.label),
        "interval": _interval(one.interval),
        "margin": plain(one.margin),
        "now": plain(one.now),
        "before": plain(one.before),
        "samples_needed": plain(one.samples_needed),
        "method": clean(one.method),
        "reason": clean(one.reason),
        "note": clean(one.note),
    }


def _subject(subject: Subject) -> dict[str, Any]:
    match subject:
        case MetricValue(metric):
            return {"kind": "metric", "metric": clean(metric)}
        case ClassValue(name, column):
            return {"kind": "class", "class": clean(name), "column": clean(column)}
        case SampleQuantile(column, quantile):
            return {"kind": "quantile", "column": clean(column), "quantile": plain(quantile)}
        case SampleShare(column, above, threshold, counted):
            return {
                "kind": "count" if counted else "share",
                "column": clean(column),
                "side": "above" if above else "below",
                "threshold": plain(threshold),
            }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {
        "low": plain(interval.low),
        "high": plain(interval.high),
        "level": plain(interval.level),
        "method": clean(interval.method),
        "n": plain(interval.n),
    }
