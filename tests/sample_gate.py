"""Synthetic results of a gate, with every kind of rule and outcome: for the tests of its outputs. Nothing is judged."""

from __future__ import annotations

import dataclasses
from typing import Any

from sample_report import HOSTILE

from repdiag.gate.types import (
    ClassValue,
    GateResult,
    Kind,
    Limit,
    MetricValue,
    Outcome,
    Rule,
    RuleResult,
    SampleQuantile,
    SampleShare,
)
from repdiag.types import Interval

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.UNDETERMINED


def one(
    name: str = "knn_accuracy at least 0.91",
    outcome: Outcome = PASS,
    *,
    subject: Any = None,
    limit: Limit | None = None,
    value: float | None = 0.9423,
    ends: tuple[float, float] | None = (0.9241, 0.9576),
    counts_as: Outcome | None = None,
    confidence: float = 0.95,
    **more: Any,
) -> RuleResult:
    """A result; `ends` are those of its interval, `counts_as` what the rule makes of undetermined."""
    limit = limit or Limit(Kind.VALUE, True, 0.91)
    rule = Rule(name, subject or MetricValue("knn_accuracy"), limit, confidence, counts_as or OPEN)
    interval = None if ends is None else Interval(*ends, "paired t over samples", 600, 2 * confidence - 1)
    return RuleResult(
        rule,
        counts_as if counts_as and outcome is OPEN else outcome,
        outcome,
        more.pop("reason", f"{name} came to {outcome.value}, decided by a t interval over 600 samples"),
        value,
        interval,
        unit=more.pop("unit", "share"),
        method="a t interval over 600 samples",
        **more,
    )


def sample_gate(**changes: Any) -> GateResult:
    """A result with passing, failing and undetermined rules of every kind; `changes` replace its fields."""
    result = GateResult(
        results=(
            one(margin=0.0323),
            one(
                "no class worse than the limit",
                FAIL,
                subject=ClassValue("*", "accuracy"),
                limit=Limit(Kind.VALUE, True, 0.8),
                value=0.6,
                ends=(0.4, 0.77),
                label="class 8",
                margin=-0.2,
            ),
            one(
                "linear_probe_accuracy may not fall",
                OPEN,
                subject=MetricValue("linear_probe_accuracy"),
                limit=Limit(Kind.CHANGE, True, -0.01),
                value=-0.004,
                ends=(-0.019, 0.011),
                now=0.961,
                before=0.965,
                margin=0.006,
                samples_needed=4100,
                note="The reports differ in their seed.",
            ),
            one(
                "rankme may fall by a tenth",
                PASS,
                subject=MetricValue("rankme"),
                limit=Limit(Kind.RELATIVE, True, -0.1),
                value=0.0312,
                ends=(-0.011, 0.0734),
                unit="dimensions",
                now=33.0,
                before=32.0,
            ),
            one(
                "risky samples",
                PASS,
                subject=SampleShare("risk", True, 0.9, True),
                limit=Limit(Kind.VALUE, False, 1200),
                value=1003.0,
                ends=(981.0, 1031.0),
                unit="samples",
            ),
            one(
                "the worst tenth of q_score",
                OPEN,
                subject=SampleQuantile("q_score", 0.1),
                limit=Limit(Kind.VALUE, True, 0.25),
                value=None,
                ends=None,
                unit="",
                reason="q_score was not measured",
                counts_as=FAIL,
            ),
        ),
        report={
            "encoder": "simclr.safetensors",
            "dataset": "digits",
            "samples": 600,
            "created": "2026-11-21",
        },
        baseline={"encoder": "simclr.pt", "dataset": "digits", "samples": 600, "created": "2026-11-20"},
        rules_source="repdiag.toml",
        warnings=("The seeds differ: 0 and 1.",),
    )
    return dataclasses.replace(result, **changes)


def hostile_gate() -> GateResult:
    """Every text is one that a careless output would run, break or misprint."""
    more = (
        *HOSTILE,
        "a|b`c`[d](http://example.org)",
        "www.example.org @everyone",
        "\x00\ufffe\ud800",
        "]]>&lt;",
    )
    results = tuple(
        one(name, outcome, reason=name, note=name, label=name, subject=ClassValue(name, name))
        for name, outcome in zip(more, (PASS, FAIL, OPEN) * 4, strict=True)
    )
    return GateResult(
        results,
        {"encoder": more[0], "dataset": more[2]},
        {"encoder": more[8], "dataset": more[10]},
        more[4],
        more,
    )
