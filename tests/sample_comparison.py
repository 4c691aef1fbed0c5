"""Synthetic comparisons that look like real ones: for the renderers' tests and for screenshots.

Nothing here is measured. Each arm's report is `sample_report`'s with shifted values, so that the page has the shapes
that a reader will meet: a control that moves, too, a subject that differs a little, seeds that scatter.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sample_report import HOSTILE, sample_report

from repdiag.comparison.types import Comparison, Difference, Effect, Scored
from repdiag.types import Direction, Interval, Measurement, MetricResult, Report, Table

ABLATIONS = ("lambda1", "lambda2", "M=0", "uniformity")
SHIFT = {"before": 0.0, "control": 0.012, "qscore": 0.021}
T = {2: 12.7, 3: 4.3, 4: 3.2, 5: 2.8}


def sample_comparison(
    n: int = 600,
    k: int = 10,
    *,
    seeds: int = 3,
    ablations: int = 0,
    labelled: bool = True,
    names: tuple[str, ...] | None = None,
    collapsed: str = "",
    gain: float = 1.0,
    epochs: int = 12,
    thumbnails: int = 24,
    seed: int = 0,
    subject: str = "qscore",
    **changes: Any,
) -> Comparison:
    """A comparison of before, control, `subject` and so many ablations; `changes` replace fields.

    `collapsed` names an arm whose runs were stopped; `gain` scales what the subject adds to the control.
    """
    rng = np.random.default_rng(seed)
    base = sample_report(n, 128, k, labelled=labelled, names=names, thumbnails=thumbnails, seed=seed)
    arms = ("before", "control", subject, *ABLATIONS[:ablations])
    runs = [
        Scored(
            arm,
            None if arm == "before" else s,
            _report(base, arm, rng, gain),
            training={} if arm == "before" else _training(rng, arm, s, epochs, arm == collapsed),
        )
        for arm in arms
        for s in range(1 if arm == "before" else seeds)
    ]
    pairs = [(subject, "control"), (subject, "before"), ("control", "before")]
    pairs += [(arm, against) for arm in arms[3:] for against in ("control", "before")]
    differences = tuple(
        d for m in base.measurements for pair in pairs if (d := _difference(m, runs, *pair)) is not None
    )
    verdict = next((d for d in differences if d.primary and (d.subject, d.against) == pairs[0]), None)
    effect = Effect.NO_EVIDENCE if verdict is None else verdict.effect
    comparison = Comparison(
        created="2026-11-21T18:29:54Z",
        subject=subject,
        against="control",
        effect=effect,
        reason=_reason(verdict, seeds),
        arms=tuple(runs),
        differences=differences,
        samples=_samples(base, arms, rng, seeds),
        curves=_curves(rng, arms[1:], seeds, epochs, collapsed),
        skipped={"smallest_subset": "measured in only one arm"},
        config={
            "base": "simclr", "epochs": epochs, "batch_size": 256, "optimizer": "lars", "lr": 1e-5,
            "seeds": list(range(seeds)),
            "regularizer": {"name": subject, "lambda1": 1e-4, "lambda2": 1e-4, "eps": 4.0, "alpha": None, "refresh": 1},
        },
        warnings=("The learning rate is a tenth of what this batch size usually takes.",),
        files={"simclr_resnet18.qscore-0.safetensors": "the tuned encoder of qscore, seed 0, as it came in"},
        classes=_classes(base, arms, rng) if labelled else Table({}),
    )  # fmt: skip
    return dataclasses.replace(comparison, **changes)


def hostile_comparison(n: int = 300, **options: Any) -> Comparison:
    """Every free text is one that a careless page would run or misprint."""
    made = sample_comparison(n, names=HOSTILE, subject=HOSTILE[2], ablations=2, **options)
    bad = {f"{HOSTILE[0]}": {HOSTILE[1]: HOSTILE[3]}}
    arms = tuple(dataclasses.replace(a, training={**a.training, HOSTILE[5]: HOSTILE[6]}) for a in made.arms)
    return dataclasses.replace(
        made, arms=arms, reason=HOSTILE[1], warnings=HOSTILE, config=bad, files={HOSTILE[0]: HOSTILE[4]},
        skipped={HOSTILE[0]: HOSTILE[2]},
    )  # fmt: skip


def _report(base: Report, arm: str, rng: np.random.Generator, gain: float) -> Report:
    control = SHIFT["control"]
    shift = SHIFT.get(arm, control + 0.006 if arm in ABLATIONS else SHIFT["qscore"])
    shift = shift if shift <= control else control + gain * (shift - control)
    noise = 0.0 if arm == "before" else 0.003
    measurements = tuple(_moved(m, shift, noise, rng) for m in base.measurements)
    score = base.samples.columns["q_score"]
    samples = Table(
        {**base.samples.columns, "q_score": score * (1 + 6 * shift) + rng.normal(0, 0.002, score.size)}
    )
    encoder = {**base.encoder, "fingerprint": rng.bytes(16).hex()}
    return dataclasses.replace(base, measurements=measurements, samples=samples, encoder=encoder)


def _moved(m: Measurement, shift: float, noise: float, rng: np.random.Generator) -> Measurement:
    if not isinstance(m.outcome, MetricResult):
        return m
    way = -1 if m.spec.direction is Direction.LOWER else 1
    taste = rng.normal(0, 1) if m.spec.family in ("stability", "risk") else 1.0
    factor = 1 + way * (shift * taste + rng.normal(0, noise)) * (2 if m.spec.unit != "share" else 1)
    interval = m.outcome.interval
    moved = None
    if interval is not None:
        moved = dataclasses.replace(interval, low=min(interval.low * factor, interval.high * factor),
                                    high=max(interval.low * factor, interval.high * factor))  # fmt: skip
    outcome = dataclasses.replace(m.outcome, value=m.outcome.value * factor, interval=moved, per_class=None)
    return dataclasses.replace(m, outcome=outcome)


def _difference(m: Measurement, runs: list[Scored], subject: str, against: str) -> Difference | None:
    spec = m.spec
    one, other = ([r.report.value(spec.name) for r in runs if r.arm == arm] for arm in (subject, against))
    if None in one or None in other:
        return None
    a = np.array([r.value for r in one])  # type: ignore[union-attr]
    b = np.array([r.value for r in other])  # type: ignore[union-attr]
    by_seed = a - b
    delta = float(by_seed.mean())
    interval = None
    if by_seed.size > 1:
        half = T[by_seed.size] * (by_seed.std(ddof=1) / by_seed.size**0.5) + 1e-4 * abs(float(a.mean()))
        interval = Interval(delta - half, delta + half, "paired over images and seeds (t)", 2000)
    effect = Effect.NO_EVIDENCE
    if interval is not None and spec.direction is not Direction.NEITHER and interval.low * interval.high > 0:
        better = (delta > 0) == (spec.direction is Direction.HIGHER)
        effect = Effect.HELPED if better else Effect.HURT
    return Difference(
        spec.name, spec.title, spec.unit, spec.direction, subject, against, float(a.mean()), float(b.mean()),
        delta, interval, tuple(by_seed.tolist()), effect, spec.name == "linear_probe_accuracy",
    )  # fmt: skip


def _reason(verdict: Difference | None, seeds: int) -> str:
    if verdict is None:
        return "Without labels nothing can prove it: no label-free measure tells a better encoder from another one."
    if seeds == 1:
        return "One seed cannot tell the method from its luck: train more with --seeds."
    assert verdict.interval is not None
    low, high = (100 * end for end in (verdict.interval.low, verdict.interval.high))
    return (
        f"Against an equally long training without it, {verdict.subject} changed linear probe accuracy by"
        f" {100 * verdict.delta:+.1f} points [{low:+.1f}, {high:+.1f}] over {seeds} seeds: {verdict.effect.value}."
    )


def _training(rng: np.random.Generator, arm: str, seed: int, epochs: int, collapsed: bool) -> dict[str, Any]:
    done = epochs // 3 if collapsed else epochs
    return {
        "epochs": done, "steps": done * 40,
        "stopped_by": "collapse: RankMe fell to 4 % of what it was" if collapsed else "",
        "seconds": 812.4 + seed, "images_per_second": 640.0 + float(rng.normal(0, 9)), "best_epoch": done - 1,
        "rank_before": 187.4, "rank_after": 7.5 if collapsed else 190.1, "loss_first": 5.1, "loss_last": 4.2,
    }  # fmt: skip


def _samples(base: Report, arms: tuple[str, ...], rng: np.random.Generator, seeds: int) -> Table:
    columns: dict[str, Any] = {"id": base.samples.columns["id"]}
    n = len(base.samples)
    ease = rng.beta(4, 0.7, n)
    right: dict[str, Any] = {}
    for arm in arms:
        runs = 1 if arm == "before" else seeds
        chance = np.clip(ease + SHIFT.get(arm, 0.02) + rng.normal(0, 0.02, n), 0, 1)
        right[arm] = (rng.random((runs, n)) < chance).mean(0)
    if "label" in base.samples.columns:
        columns["label"] = base.samples.columns["label"]
        columns |= {f"correct:{arm}": share for arm, share in right.items()}
        subject = right[arms[2]]
        for name, other in (("control", right["control"]), ("before", right["before"])):
            columns[f"newly_wrong:{name}"] = (other > 0.5) & (subject < 0.5)
            columns[f"newly_right:{name}"] = (other < 0.5) & (subject > 0.5)
    score = base.samples.columns["q_score"]
    columns |= {f"q_score:{arm}": score * (1 + 6 * SHIFT.get(arm, 0.018)) for arm in arms}
    return Table(columns)


def _classes(base: Report, arms: tuple[str, ...], rng: np.random.Generator) -> Table:
    names, n, accuracy = (base.classes.columns[name] for name in ("class", "n", "accuracy"))
    columns: dict[str, Any] = {"class": names, "n": n}
    for arm in arms[:3]:
        columns[f"accuracy:{arm}"] = np.clip(
            accuracy + SHIFT.get(arm, 0.021) + rng.normal(0, 0.02, n.size), 0, 1
        )
    delta = columns[f"accuracy:{arms[2]}"] - columns[f"accuracy:{arms[1]}"]
    half = 1.5 / np.sqrt(np.maximum(n, 1))
    return Table({**columns, "delta": delta, "low": delta - half, "high": delta + half})


def _curves(
    rng: np.random.Generator, arms: tuple[str, ...], seeds: int, epochs: int, collapsed: str
) -> Table:
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for s in range(seeds):
            level = rng.normal(0, 0.03)
            for epoch in range(
                1 + (epochs // 3 if arm == collapsed else epochs)
            ):  # 0: the start, after the heads' warm-up
                t = epoch / epochs
                base = 4.2 + 0.9 * np.exp(-4 * t) + level + rng.normal(0, 0.01)
                terms = (np.nan, np.nan) if arm == "control" else (-2e-4 * (1 + t), 4e-3 * np.exp(-t))
                rank = 187 + 4 * t + rng.normal(0, 1) if arm != collapsed else 187 * 0.4**epoch
                rows.append({
                    "arm": arm, "seed": s, "epoch": epoch, "step": 40 * (epoch + 1),
                    "loss": base + float(np.nansum(terms)), "base": base, "term.low": terms[0], "term.norm": terms[1],
                    "held_out": base + 0.1 + 0.1 * t, "rank": rank, "usage": 1.0 - 0.02 * t,
                    "lr": 0.1 if epoch == 0 else 1e-5 * (1 + np.cos(np.pi * t)) / 2,
                    "gradient_norm": 1.1 - 0.4 * t + rng.normal(0, 0.02), "images_per_second": 640.0 + rng.normal(0, 9),
                    "seconds": 60.0 * epoch, "fact.below_alpha": np.nan if arm == "control" else 0.5 - 0.1 * t,
                })  # fmt: skip
    return Table({name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())})
