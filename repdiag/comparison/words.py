"""The sentences of a comparison: what was found, in numbers and plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from repdiag.comparison.types import Difference, Effect, Scored
from repdiag.types import Direction, MetricSpec, Need

TUNING = {"before": "the untouched encoder", "control": "an equally long training without it"}
"""What the arms of a fine-tuning run are called in sentences."""

UNPROVABLE = (
    "no label-free measure can prove an encoder better or worse (docs/evidence/quality_ladder.md holds them against "
    "labels); what changed is listed all the same"
)


def change(d: Difference) -> str:
    """ "+0.3 points [-0.4, +1.0]": the difference and its interval with one number of decimals."""
    share = d.unit in ("share", "%")
    factor = 100 if d.unit == "share" else 1
    ends = [] if d.interval is None else [d.interval.low, d.interval.high]
    largest = max(abs(factor * x) for x in (d.delta, *ends))
    digits = 1 if share else 3
    if 0 < largest < 10**-digits:
        digits = min(9, 1 - math.floor(math.log10(largest)))
    digits = max(0, digits - (0 if share or largest < 10 else int(math.log10(largest))))
    first, *rest = (_signed(factor * x, digits) for x in (d.delta, *ends))
    unit = " points" if share else f" {d.unit}" if d.unit else ""
    return first + unit + (f" [{rest[0]}, {rest[1]}]" if rest else "")


def _signed(value: float, digits: int) -> str:
    text = f"{value:+,.{digits}f}"
    return text if any(c in "123456789" for c in text) else text[1:]


def effect_words(d: Difference) -> str:
    """The effect as a word; what has no better direction only moved, or did not."""
    if d.direction is Direction.NEITHER and d.interval is not None:
        return "moved" if d.interval.low > 0 or d.interval.high < 0 else "not told from unmoved"
    return d.effect.value


def verdict(
    main: Difference | str,
    spec: MetricSpec | None,
    others: Sequence[Difference],
    names: Mapping[str, str],
) -> tuple[Effect, str]:
    """The effect and why, from the primary difference (or why there is none) and those against the start."""
    if spec is not None and Need.LABELS not in spec.needs:
        return Effect.NO_EVIDENCE, f"No verdict: {spec.title} needs no labels, and {UNPROVABLE}."
    if isinstance(main, str):
        return Effect.NO_EVIDENCE, f"No verdict: {main}."
    subject = names.get(main.subject, main.subject)
    title = main.title if main.title[1:2].isupper() else main.title[:1].lower() + main.title[1:]
    seeded = main.interval is None or "seed" in main.interval.method or len(main.by_seed) > 1
    over = f" over {len(main.by_seed)} seeds" if len(main.by_seed) > 1 else " with one seed" if seeded else ""
    level = "" if main.interval is None else f" ({100 * main.interval.level:g} % interval)"
    said = [
        f"Against {_named(main.against, names)}, {subject} changed {title} by {change(main)}{over}{level}: "
        f"{effect_words(main)}."
    ]
    if main.interval is not None and not main.interval.low and not main.interval.high:
        said.append("No sample is judged differently.")
    elif main.effect is Effect.NO_EVIDENCE and main.direction is not Direction.NEITHER:
        if len(main.by_seed) == 1 and seeded:
            said.append("One seed cannot tell a method from its luck: train with three or more.")
        elif len(main.by_seed) == 2:
            said.append("Two seeds tell only differences far beyond their scatter: train with three or more.")
    if others:
        by = "; ".join(f"{d.subject} {change(d)}, {effect_words(d)}" for d in others)
        said.append(f"Against {_named(others[0].against, names)}: {by}.")
    return main.effect, " ".join(said)


def _named(arm: str, names: Mapping[str, str]) -> str:
    return f"{names[arm]} ({arm})" if arm in names else arm


def ended_early(runs: Sequence[Scored], arms: Sequence[str]) -> list[str]:
    """One sentence for each of `arms` whose runs stopped before they were meant to, or were not equally long."""
    said = []
    for arm in arms:
        stopped = [(r.seed, str(r.training.get("stopped_by") or "")) for r in runs if r.arm == arm]
        reasons: dict[str, list[str]] = {}
        for seed, reason in stopped:
            if reason:
                reasons.setdefault(reason, []).append(f"seed {seed}" if seed is not None else "its run")
        for reason, seeds in reasons.items():
            said.append(f"{arm} ended early ({', '.join(seeds)}: {reason.rstrip('.')}).")
    steps = {
        arm: sorted({int(r.training["steps"]) for r in runs if r.arm == arm and "steps" in r.training})
        for arm in arms
    }
    trained = {arm: found for arm, found in steps.items() if found}
    if len({tuple(found) for found in trained.values()}) > 1:
        lengths = ", ".join(
            f"{arm} {f'{found[0]:,}' if len(found) == 1 else f'{found[0]:,} to {found[-1]:,}'}"
            for arm, found in trained.items()
        )
        said.append(f"The trainings are not equally long (steps: {lengths}).")
    return said


ENCODER_EFFECTS = {Effect.HELPED: "better", Effect.NO_EVIDENCE: "not told apart", Effect.HURT: "worse"}
"""What effects are called where encoders are compared and no training is judged."""


def side_by_side(
    mains: Sequence[Difference], spec: MetricSpec | None, subject: str, missing: str, labeled: bool
) -> tuple[Effect, str]:
    """The effect of `subject` in the primary measure and why, with those of the others after it.

    `mains` are the primary measure's differences, all against one encoder; where `subject` has none, `missing` says
    why.
    """
    if spec is not None and Need.LABELS not in spec.needs:
        return Effect.NO_EVIDENCE, f"No verdict: {spec.title} needs no labels, and {UNPROVABLE}."
    main = next((d for d in mains if d.subject == subject), None)
    if main is None:
        why = (
            f"the primary measure was not compared ({missing})"
            if labeled
            else f"the data have no labels, and {UNPROVABLE}"
        )
        return Effect.NO_EVIDENCE, f"No verdict: {why}."
    level = "" if main.interval is None else f" ({100 * main.interval.level:g} % interval)"
    said = [f"{subject} against {main.against}: {main.title} {change(main)}{level}, {_apart(main)}."]
    if main.interval is None:
        said.append("Nothing tells how far that may be off.")
    elif not main.interval.low and not main.interval.high:
        said.append("No sample is judged differently.")
    others = [f"{d.subject} {change(d)}, {_apart(d)}" for d in mains if d is not main]
    if others:
        said.append(f"The others: {'; '.join(others)}.")
    return main.effect, " ".join(said)


def _apart(d: Difference) -> str:
    if d.direction is Direction.NEITHER:
        return effect_words(d)
    return ENCODER_EFFECTS[d.effect]
