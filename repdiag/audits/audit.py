"""A report in, an audit out: which samples a person should look at, in what order, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from repdiag.audits import labels
from repdiag.audits.catch import catch, curve
from repdiag.audits.confident import RULE as CLEANLAB_RULE
from repdiag.audits.confident import issues
from repdiag.audits.copies import find_copies, split_of
from repdiag.audits.groups import by_cluster, by_pair
from repdiag.audits.reasons import (
    Context,
    action,
    cluster_facts,
    group_name,
    near_pairs,
    reasons,
    shares_below,
)
from repdiag.audits.samples import Samples, samples_of
from repdiag.audits.types import Audit, Copies, Reviewed, Suspect, Suspects
from repdiag.audits.vectors import Vectors
from repdiag.errors import UsageError
from repdiag.types import IntArray, Progress, Report, Skipped, silent


def audit(
    report: Report,
    budget: int = 200,
    *,
    vectors: Vectors | Skipped | None = None,
    threshold: float | None = None,
    cleanlab: bool = False,
    device: str = "cpu",
    progress: Progress = silent,
) -> Audit:
    """The `budget` riskiest samples of `report` by its risk column, with reasons, groups, and what is set apart.

    `vectors` are the embeddings behind it (`audits.vectors`; Skipped: why there are none); without them neither
    near-duplicates nor cleanlab's label errors are looked for. `threshold` is the least cosine of near-duplicates
    (None: chosen from the data). Deterministic. Raises DataError for a report without samples or risk, UsageError for
    `cleanlab` without vectors, labels or the package.
    """
    if budget < 1:
        raise UsageError(f"The budget is a number of samples to review, at least 1, not {budget}")
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(
            f"A cosine that makes two samples near-duplicates lies in (0, 1], not at {threshold:g}"
        )
    samples = samples_of(report)
    calibrated = is_calibrated(report)
    at_hand = vectors if vectors is not None else Skipped("no embeddings were given")
    steps = 3
    progress("near-duplicates", 0, steps)
    copies = at_hand if isinstance(at_hand, Skipped) else find_copies(at_hand, threshold, device)
    progress("label errors", 1, steps)
    suspects = _suspects(report, samples, at_hand, cleanlab, device)
    progress("errors caught", 2, steps)
    rows = riskiest(samples, budget)
    pairs, nearest = near_pairs(report)
    context = Context(
        samples,
        shares_below(report, rows),
        cluster_facts(report),
        pairs,
        nearest,
        {one.id: g for g in copies.groups for one in g.members} if isinstance(copies, Copies) else {},
        {one.id: one for one in suspects.found} if isinstance(suspects, Suspects) else {},
    )
    reviewed = tuple(_reviewed(context, place, row) for place, row in enumerate(rows.tolist()))
    table, missing = curve(samples, budget, calibrated)
    progress("audited", steps, steps)
    return Audit(
        report,
        reviewed,
        by_pair(reviewed, samples, calibrated),
        by_cluster(reviewed, samples, context.majority, calibrated),
        catch(samples, rows, calibrated),
        table,
        missing,
        copies,
        suspects,
        _warnings(report, samples, budget, calibrated),
        {"budget": budget, "duplicate_cosine": threshold, "cleanlab": cleanlab},
    )


def is_calibrated(report: Report) -> bool:
    """Whether the report says that its risk is a probability, and how well it held as one."""
    return bool(report.risk.get("validated")) and report.risk.get("brier") is not None


def riskiest(samples: Samples, budget: int) -> IntArray:
    """Rows of the `budget` largest risks, equal ones in the report's order; a sample without a risk is never taken."""
    order = np.argsort(-np.where(np.isfinite(samples.risk), samples.risk, -np.inf), kind="stable")
    return np.asarray(order[: min(budget, int(np.isfinite(samples.risk).sum()))], np.int64)


def _reviewed(context: Context, place: int, row: int) -> Reviewed:
    s, name = context.samples, str(context.samples.ids[row])
    group = context.copies.get(name)
    return Reviewed(
        rank=place + 1,
        row=row,
        id=name,
        path=str(s.paths[row]),
        label=s.label[row],
        prediction=s.prediction[row],
        correct=bool(s.correct[row]) if np.isfinite(s.correct[row]) else None,
        risk=float(s.risk[row]),
        confidence=float(s.confidence[row]),
        q_score=float(s.q_score[row]),
        cluster=int(s.cluster[row]) if np.isfinite(s.cluster[row]) else None,
        group=group_name(s.label[row], s.prediction[row]),
        reasons=reasons(context, row, place),
        action=action(context, row),
        copies=None if group is None else group.number,
        suspect=name in context.suspects,
    )


def _suspects(
    report: Report, samples: Samples, vectors: Vectors | Skipped, cleanlab: bool, device: str
) -> Suspects | Skipped:
    labeled = np.array([label is not None for label in samples.label.tolist()])
    if cleanlab:
        if isinstance(vectors, Skipped):
            raise UsageError(
                f"--cleanlab needs the embeddings, and {vectors.reason}"
                if vectors.reason != "no embeddings were given"
                else "--cleanlab needs the embeddings",
                do="Name them with --embeddings",
            )
        if vectors.labels is None:
            raise UsageError("--cleanlab needs labels, and there are none")
    if not labeled.any():
        return Skipped("the report has no labels")
    judged = labeled & np.isfinite(samples.confidence)
    own = labels.suspects(samples, str(report.dataset.get("split", "")))
    rules = {"repdiag": labels.RULE}
    skipped = {}
    if not judged.any():
        if not cleanlab:
            return Skipped("the report has no predictions with a confidence")
        rules, skipped = {}, {"repdiag": "the report has no predictions with a confidence"}
    if not cleanlab:
        return Suspects(tuple(own), int(judged.sum()), rules)
    assert isinstance(vectors, Vectors)
    found, count = _by_cleanlab(samples, vectors, device)
    known = {one.id: one for one in own}
    both = [
        replace(known[one.id], by="repdiag, cleanlab", self_confidence=one.self_confidence)
        if one.id in known
        else one
        for one in found
    ]
    seen = {one.id for one in found}
    merged = [*both, *(one for one in own if one.id not in seen)]
    merged.sort(key=lambda one: (one.by != "repdiag, cleanlab", -one.confidence, one.id))
    return Suspects(
        tuple(merged), max(count, int(judged.sum())), rules | {"cleanlab": CLEANLAB_RULE}, skipped
    )


def _by_cleanlab(samples: Samples, vectors: Vectors, device: str) -> tuple[list[Suspect], int]:
    """cleanlab's suspects, also among the samples that taught the report's probe."""
    found = issues(vectors, device)
    place = samples.place()
    suspects = []
    for row, label, p in zip(found.rows.tolist(), found.labels.tolist(), found.probabilities, strict=True):
        other = int(np.where(np.arange(p.size) == label, -1.0, p).argmax())
        name = vectors.ids[row]
        suspects.append(
            Suspect(
                name,
                found.class_names[label],
                found.class_names[other],
                float(p[other]),
                np.nan,
                float(p[label]),
                labels.others_against(samples, place[name]) if name in place else None,
                split_of(vectors, row),
                "cleanlab",
            )
        )
    return suspects, found.judged


def _warnings(report: Report, samples: Samples, budget: int, calibrated: bool) -> tuple[str, ...]:
    said = []
    finite = int(np.isfinite(samples.risk).sum())
    if budget >= finite:
        said.append(
            f"The budget of {budget:,} takes in all {finite:,} samples with a risk: this is a ranking of everything."
        )
    if not calibrated:
        why = str(report.risk.get("explanation") or "").strip()
        said.append(
            "The risk is a rank here and no probability, so that no number of errors can be expected from it."
            + (f" {why}" if why else "")
        )
    auroc, low = report.risk.get("auroc"), report.risk.get("low")
    if calibrated and isinstance(auroc, int | float) and isinstance(low, int | float) and low <= 0.5:
        said.append(
            "The risk does not rank errors better than chance here; the list is no better than a random one."
        )
    return tuple(said)
