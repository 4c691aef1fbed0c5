"""A report against its rules: every rule's bounds, and what they say. Deterministic: nothing is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from repdiag.errors import UsageError
from repdiag.gate import words
from repdiag.gate.pairing import Pairing, pair
from repdiag.gate.quantities import Absent, Quantity, class_names, direction_of, find
from repdiag.gate.statistics import Estimate
from repdiag.gate.types import EVERY, ClassValue, GateResult, Kind, Outcome, Rule, RuleResult, Rules
from repdiag.types import Interval, Report

SLACK = 1e-12
"""What arithmetic may be off by, relative to the limit (or to 1): 0.7 - 0.8 is a change of at least -0.1."""


def evaluate(report: Report, rules: Rules, baseline: Report | None = None) -> GateResult:
    """Hold `report` against `rules`, and against `baseline` where rules speak of a change.

    A rule at confidence c passes when its one-sided bound at c keeps the limit (low(c) >= limit for a least, high(c)
    <= limit for a most), fails when the other bound breaks it (high(c) < limit, low(c) > limit), and is undetermined
    in between. So a rule whose claim is true fails with a probability of at most 1 - c, and one whose claim is false
    passes with at most 1 - c, as far as the bounds hold (`repdiag.gate.statistics`). A limit met exactly is kept.

    Every class at once ("*"): the rule passes when each class's bound at c keeps the limit, which needs no correction
    (all K claims must hold: Berger 1982, published); it fails when any class's other bound breaks it at Holm's
    confidences 1 - (1 - c) / K, 1 - (1 - c) / (K - 1), ..., so that K true claims together fail with a probability of
    at most 1 - c (Holm 1979, published).

    Each rule is a claim of its own: of 20 true rules at 0.95, all at their limits, one fails by chance. What was not
    measured or was skipped is undetermined and never passes. Equal inputs give equal results. O(N log N) for N samples.

    Raises UsageError for a metric, column or class that no report has, for a change rule without a baseline, and where
    report and baseline give one sample different classes.
    """
    pairing = None
    if baseline is not None and any(rule.limit.kind is not Kind.VALUE for rule in rules.rules):
        pairing = pair(report, baseline)
    results = tuple(_rule(report, rule, pairing) for rule in rules.rules)
    warnings = [f"{r.rule.name}: {r.note}" for r in results if r.note]
    return GateResult(
        results,
        report=_about(report),
        baseline=None if baseline is None else _about(baseline),
        rules_source=rules.source,
        warnings=(*_cautions(pairing), *warnings),
    )


def _about(report: Report) -> Mapping[str, Any]:
    encoder, dataset = report.encoder, report.dataset
    return {
        "encoder": encoder.get("name", ""),
        "dataset": dataset.get("name", ""),
        "samples": len(report.samples) or dataset.get("samples", 0),
        "fingerprint": dataset.get("fingerprint", ""),
        "created": report.created,
    }


def _cautions(pairing: Pairing | None) -> list[str]:
    if pairing is None:
        return []
    from repdiag.baselines import comparable

    return list(comparable(pairing.report, pairing.baseline))


# ------------------------------------------------------------------------------------------------- one rule


@dataclass(frozen=True, eq=False)
class Claim:
    """One of a rule's claims: the rule's number, its bounds, and the two values of a change."""

    quantity: Quantity
    label: str = ""
    now: float | None = None
    before: float | None = None

    @property
    def estimate(self) -> Estimate:
        """Value and bounds of what the limit is held against."""
        return self.quantity.estimate


def _rule(report: Report, rule: Rule, pairing: Pairing | None) -> RuleResult:
    try:
        claims, gaps = _claims(report, rule, pairing)
    except UsageError as error:
        raise UsageError(error.what, where=error.where or rule.where or rule.name, do=error.do) from None
    note = words.wrong_side(rule, direction_of(rule.subject, report))
    if not claims:
        return _missing(rule, gaps, note)
    result = _decided(rule, claims, gaps, len(report.samples))
    return replace(result, note=" ".join(filter(None, [note, result.note])))


def _claims(report: Report, rule: Rule, pairing: Pairing | None) -> tuple[list[Claim], list[str]]:
    """The rule's claims, one for each class where it is about every one, and why some are missing."""
    subject = rule.subject
    if not (isinstance(subject, ClassValue) and subject.name == EVERY):
        found = _claim(report, rule, subject, pairing, "")
        return ([], [found]) if isinstance(found, str) else ([found], [])
    names = list(class_names(report))
    if not names:
        return [], ["the data set has no labels, so there are no classes"]
    gaps = []
    if pairing is not None and rule.limit.kind is not Kind.VALUE:
        before = set(class_names(pairing.baseline))
        gaps = [f"the baseline has no class {name}" for name in names if name not in before]
        names = [name for name in names if name in before]
    claims = []
    for name in names:
        one = _claim(report, rule, ClassValue(name, subject.column), pairing, name)
        if isinstance(one, str):
            gaps.append(one)
        else:
            claims.append(one)
    return claims, gaps


def _claim(report: Report, rule: Rule, subject: Any, pairing: Pairing | None, label: str) -> Claim | str:
    if rule.limit.kind is Kind.VALUE:
        found = find(report, subject)
        return found.reason if isinstance(found, Absent) else Claim(found, label)
    if pairing is None:
        what = f"Rule '{rule.name}' is about a change, and there is no baseline"
        raise UsageError(what, do="Give the report to compare with: --baseline REPORT")
    changed = pairing.change(subject, rule.limit.kind is Kind.RELATIVE)
    return changed.reason if isinstance(changed, Absent) else Claim(changed[0], label, *changed[1:])


def _missing(rule: Rule, gaps: Sequence[str], note: str) -> RuleResult:
    """Nothing to decide on: undetermined, or a failure where the rule wants that; never a pass."""
    outcome = Outcome.FAIL if rule.undetermined is Outcome.FAIL else Outcome.UNDETERMINED
    reason = words.missing(rule, gaps, outcome)
    return RuleResult(rule, outcome, Outcome.UNDETERMINED, reason, method="not measured", note=note)


def _decided(rule: Rule, claims: list[Claim], gaps: list[str], samples: int) -> RuleResult:
    limit, c = rule.limit, rule.confidence
    slack = SLACK * max(1.0, abs(limit.value))
    sign = 1.0 if limit.at_least else -1.0  # distances from the limit are positive on the good side

    def distance(end: float) -> float:
        return sign * (end - limit.value)

    def worst_end(claim: Claim, at: float) -> float:
        if at == 0:
            return claim.estimate.value
        return claim.estimate.low(at) if limit.at_least else claim.estimate.high(at)

    def best_end(claim: Claim, at: float) -> float:
        if at == 0:
            return claim.estimate.value
        return claim.estimate.high(at) if limit.at_least else claim.estimate.low(at)

    broken = _holm(claims, c, lambda claim, at: distance(best_end(claim, at)) < -slack)
    kept = [claim for claim in claims if distance(worst_end(claim, c)) >= -slack]
    open_ = [claim for claim in claims if claim not in broken and claim not in kept]
    if broken:
        evidence, shown = Outcome.FAIL, broken
    elif open_ or gaps:
        evidence, shown = Outcome.UNDETERMINED, open_ or kept
    else:
        evidence, shown = Outcome.PASS, kept
    claim = min(shown, key=lambda one: (distance(one.estimate.value), one.label))
    wide = 0.0 if c == 0 else 1 - (1 - c) / len(claims)
    ends = worst_end(claim, c), best_end(claim, wide)
    low, high = ends if limit.at_least else ends[::-1]
    needed = None
    if evidence is Outcome.UNDETERMINED and not gaps:
        needed = _samples_needed(
            [
                (one.estimate, (worst_end(one, c), best_end(one, wide)), distance(one.estimate.value))
                for one in open_
            ],
            samples,
        )
    outcome = evidence
    if evidence is Outcome.UNDETERMINED:
        known = not gaps and all(
            math.isfinite(end) for one in open_ for end in (worst_end(one, c), best_end(one, c))
        )
        if known or rule.undetermined is Outcome.FAIL:  # a value of which nothing is known never passes
            outcome = rule.undetermined
    value = claim.estimate.value
    finite = math.isfinite(low) and math.isfinite(high) and c != 0
    told = words.Told(
        rule, evidence, outcome, claim.quantity, claim.label, low, high, needed,
        claims=len(claims), broken=tuple(one.label for one in broken), open=tuple(one.label for one in open_),
        gaps=tuple(gaps), now=claim.now, before=claim.before,
    )  # fmt: skip
    return RuleResult(
        rule,
        outcome,
        evidence,
        words.reason(told),
        value=value if math.isfinite(value) else None,
        interval=Interval(low, high, claim.estimate.method, claim.estimate.n, round(2 * c - 1, 12))
        if finite
        else None,
        margin=distance(value) if math.isfinite(value) else None,
        samples_needed=needed,
        method=words.method(told),
        now=claim.now,
        before=claim.before,
        unit=claim.quantity.unit,
        label=claim.label,
        note=claim.quantity.note,
    )


def _holm(claims: list[Claim], c: float, breaks: Any) -> list[Claim]:
    """The claims that are shown false while the chance of accusing any true one stays at 1 - c."""
    left, out = list(claims), []
    while left:
        at = 0.0 if c == 0 else 1 - (1 - c) / len(left)
        found = [claim for claim in left if breaks(claim, at)]
        if not found:
            break
        out += found
        left = [claim for claim in left if claim not in found]
    return out


def _samples_needed(open_: Sequence[tuple[Estimate, tuple[float, float], float]], samples: int) -> int | None:
    """About how many evaluated samples would settle the rule: n (half / distance)^2 for the claim that needs most.

    half is the width of the interval on the limit's side of the value, distance that of the value from the limit: if
    the value stays and the interval shrinks as 1 / sqrt(n), that is where it just leaves the limit out. None where a
    value lies on its limit, or an interval is not there or comes of something else than samples.
    """
    needed = 0.0
    for estimate, (worst, best), distance in open_:
        half = abs(estimate.value - (worst if distance > 0 else best))
        if not (estimate.shrinks and math.isfinite(half) and distance):
            return None
        needed = max(needed, samples * (half / distance) ** 2)
    return min(math.ceil(needed), 10**15) if needed >= 1 else None
