"""Why a sample is on the list, and what to do with it, in words that stand alone in a table's cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.audits.labels import others_against
from repdiag.audits.samples import Samples
from repdiag.audits.types import Action, CopyGroup, Suspect
from repdiag.scores import BY_NAME, as_rank
from repdiag.types import DoubleArray, IntArray, Report

LOW = 0.05
"""A label-free score is called low where at most this share of the samples has a lower one. Ours."""

NAMED = 3
ARROW = " -> "
NO_LABEL = "no label"


@dataclass(frozen=True)
class Context:
    """What the reasons of every sample are looked up in."""

    samples: Samples
    low: dict[str, DoubleArray]
    majority: dict[int, tuple[str | None, float | None]]
    pairs: dict[frozenset[str], int]
    nearest: dict[str, str]
    copies: dict[str, CopyGroup]
    suspects: dict[str, Suspect]


def shares_below(report: Report, rows: IntArray) -> dict[str, DoubleArray]:
    """For each label-free score of the report, by title: the share of samples that lie lower than each of `rows`.

    Equal ones count half, and an undefined score is the lowest: a Q-Score that most samples lack is low for none.
    """
    found = {}
    for name, column in report.samples.columns.items():
        score = BY_NAME.get(name)
        if score is None or score.labeled or score.partial or column.dtype.kind not in "fiu":
            continue
        values = as_rank(np.asarray(column, np.float64))
        ordered = np.sort(values)
        if ordered[0] == ordered[-1]:
            continue
        below = np.searchsorted(ordered, values[rows], "left") + np.searchsorted(
            ordered, values[rows], "right"
        )
        found[score.title] = np.asarray(below / (2 * values.size))
    return found


def cluster_facts(report: Report) -> dict[int, tuple[str | None, float | None]]:
    """The majority class and its share of each cluster of clusters.csv."""
    columns = report.clusters.columns
    if "cluster" not in columns:
        return {}
    n = len(report.clusters)
    names = columns["majority_class"].tolist() if "majority_class" in columns else [None] * n
    shares = columns["purity"].tolist() if "purity" in columns else [None] * n
    return {
        int(number): (
            None if name is None or name != name else str(name),
            None if share is None else float(share),
        )
        for number, name, share in zip(columns["cluster"].tolist(), names, shares, strict=True)
    }


def near_pairs(report: Report) -> tuple[dict[frozenset[str], int], dict[str, str]]:
    """The place of each pair of classes by distance from 1, and for each class the one nearest to it."""
    columns = report.pairs.columns
    if "class_a" not in columns or "class_b" not in columns:
        return {}, {}
    listed = list(
        zip(map(str, columns["class_a"].tolist()), map(str, columns["class_b"].tolist()), strict=True)
    )
    if "distance" in columns:
        order = np.argsort(np.asarray(columns["distance"], np.float64), kind="stable").tolist()
        listed = [listed[i] for i in order]
    places: dict[frozenset[str], int] = {}
    nearest: dict[str, str] = {}
    for place, (a, b) in enumerate(listed, 1):
        places.setdefault(frozenset((a, b)), place)
        nearest.setdefault(a, b)
        nearest.setdefault(b, a)
    return places, nearest


def group_name(label: str | None, prediction: str | None) -> str:
    """The name of a class pair: "cat -> dog", "cat, as labeled" where they agree, and what is known of the two."""
    if prediction is None:
        return label if label is not None else NO_LABEL
    if prediction == label:
        return f"{label}, as labeled"
    return f"{NO_LABEL if label is None else label}{ARROW}{prediction}"


def reasons(context: Context, row: int, place: int) -> tuple[str, ...]:
    """What speaks against sample `row`, which is number `place` (from 0) of those in `context.low`."""
    s = context.samples
    name, label, prediction = str(s.ids[row]), s.label[row], s.prediction[row]
    said = []
    if prediction is not None:
        sure = f" with confidence {s.confidence[row]:.2f}" if np.isfinite(s.confidence[row]) else ""
        held = ", without a label" if label is None else f", labeled {label}" if label != prediction else ""
        said.append(f"predicted {prediction if held else 'as labeled'}{sure}{held}")
    against = others_against(s, row) if label is not None else None
    if against:
        one = "kNN" if s.knn_correct[row] == 0 else "nearest center"
        either = " either" if label != prediction else ""
        said.append(f"{'kNN and nearest center' if against == 2 else one} did not give the label{either}")
    if name in context.suspects:
        suspect = context.suspects[name]
        said.append(f"the label is suspect: perhaps {suspect.suggested} (says {suspect.by})")
    if name in context.copies:
        group = context.copies[name]
        copy = next(one for one in group.members if one.id == name)
        more = f" and {len(group.members) - 2} more" if len(group.members) > 2 else ""
        what = "equal to" if group.equal else "a near-duplicate of"
        ends = "; their labels differ" if group.conflict else "; in train and in test" if group.leaks else ""
        said.append(f"{what} {copy.nearest}{more}{ends}")
    low = sorted((shares[place], title) for title, shares in context.low.items() if shares[place] <= LOW)
    if low:
        named = ", ".join(f"{title} (lowest {_percent(share)})" for share, title in low[:NAMED])
        said.append(f"low: {named}" + (f" and {len(low) - NAMED} more" if len(low) > NAMED else ""))
    if np.isfinite(s.cluster[row]):
        number = int(s.cluster[row])
        most, share = context.majority.get(number, (None, None))
        if most is not None and label is not None and most != label:
            said.append(
                f"in cluster {number}, mostly {most}" + (f" ({share:.0%})" if share is not None else "")
            )
        else:
            said.append(f"in cluster {number}")
    if label is not None and prediction is not None and label != prediction:
        rank = context.pairs.get(frozenset((label, prediction)))
        if rank is not None:
            said.append(f"pair {rank} of {len(context.pairs)} by closeness of the classes")
    elif (known := label if label is not None else prediction) is not None and known in context.nearest:
        said.append(f"the class nearest to {known} is {context.nearest[known]}")
    return tuple(said)


def _percent(share: float) -> str:
    return "under 1%" if share < 0.005 else f"{100 * share:.0f}%"


def action(context: Context, row: int) -> Action:
    """What to do with sample `row`."""
    s, name = context.samples, str(context.samples.ids[row])
    group = context.copies.get(name)
    if name in context.suspects:
        return Action.CHECK_LABEL
    if group is not None and group.conflict:
        return Action.SETTLE_COPIES
    if group is not None and group.leaks:
        return Action.MOVE_COPIES
    if s.label[row] is None:
        return Action.ADD_LABEL
    return Action.INSPECT if s.correct[row] == 0 else Action.CONFIRM
