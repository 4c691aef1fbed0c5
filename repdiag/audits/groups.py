"""The list by class pair and by cluster, so that a person reviews one confusion at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from repdiag.audits.reasons import group_name
from repdiag.audits.samples import Samples
from repdiag.audits.types import Group, Reviewed


def by_pair(reviewed: Sequence[Reviewed], samples: Samples, calibrated: bool) -> tuple[Group, ...]:
    """One group per label and prediction: confusions first, then what has no label, then what is as labeled.

    Within each, the largest sum of risks first; no group where neither label nor prediction is known.
    """
    if all(one.label is None and one.prediction is None for one in reviewed):
        return ()
    whole = Counter(
        group_name(label, prediction)
        for label, prediction in zip(samples.label.tolist(), samples.prediction.tolist(), strict=True)
    )
    groups = []
    for name, members in _gathered(reviewed, lambda one: one.group).items():
        first = members[0]
        groups.append(
            Group(
                "pair",
                name,
                len(members),
                whole[name],
                *_facts(members, calibrated),
                tuple(one.id for one in members),
                first.label,
                first.prediction,
            )
        )
    return tuple(
        sorted(_ordered(groups), key=lambda g: 1 if g.label is None else 2 * (g.label == g.prediction))
    )


def by_cluster(
    reviewed: Sequence[Reviewed],
    samples: Samples,
    majority: dict[int, tuple[str | None, float | None]],
    calibrated: bool,
) -> tuple[Group, ...]:
    """One group per k-means cluster, the one with the largest sum of risks first; none without clusters."""
    known = samples.cluster[np.isfinite(samples.cluster)].astype(np.int64)
    whole = Counter(known.tolist())
    groups = []
    for name, members in _gathered(
        reviewed, lambda one: "" if one.cluster is None else str(one.cluster)
    ).items():
        number = members[0].cluster
        if number is None:
            continue
        most, share = majority.get(number, (None, None))
        groups.append(
            Group(
                "cluster",
                name,
                len(members),
                whole[number],
                *_facts(members, calibrated),
                tuple(one.id for one in members),
                cluster=number,
                majority=most,
                purity=share,
            )
        )
    return _ordered(groups)


def _gathered(reviewed: Sequence[Reviewed], key: Callable[[Reviewed], str]) -> dict[str, list[Reviewed]]:
    found: dict[str, list[Reviewed]] = {}
    for one in reviewed:
        found.setdefault(key(one), []).append(one)
    return found


def _facts(members: Sequence[Reviewed], calibrated: bool) -> tuple[int | None, float, float | None]:
    """How many are wrong, the mean risk, and the sum of the risks."""
    told = [one.correct for one in members if one.correct is not None]
    total = float(sum(one.risk for one in members))
    return (
        sum(not right for right in told) if told else None,
        total / len(members),
        total if calibrated else None,
    )


def _ordered(groups: Sequence[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda g: (-g.mean_risk * g.samples, g.name)))
