"""What a page shows beside numbers, as JSON: which samples and why, what to do next. Pictures are not in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from repdiag.exhibits import Exhibits


def exhibits_json(exhibits: Exhibits, plain: Callable[[Any], Any]) -> dict[str, Any]:
    """The keys of report.json that exhibits fill; `plain` turns a value into JSON's own types."""
    matrix = exhibits.matrix
    return {
        "next": [
            plain(
                {
                    "rule": advice.rule,
                    "title": advice.title,
                    "reason": advice.reason,
                    "section": advice.section,
                    "command": advice.command,
                }
            )
            for advice in exhibits.advice
        ],
        "class_matrix": None
        if matrix is None
        else plain(
            {
                "classes": matrix.classes,
                "of": matrix.of,
                "nearer": matrix.nearer,
                "mass": matrix.mass,
                "distance": matrix.distance,
            }
        ),
        "class_borders": [
            plain({"class_a": p.class_a, "class_b": p.class_b, "a_ids": p.a_ids, "b_ids": p.b_ids})
            for p in exhibits.pairs
        ],
        "riskiest": [plain({"id": risky.id, "reasons": risky.reasons}) for risky in exhibits.riskiest],
        "top_features": [
            plain(
                {
                    "feature": card.feature,
                    "worth": card.worth,
                    "worth_name": card.worth_name,
                    "frequency": card.frequency,
                    "in_s": card.in_s,
                    "ids": card.ids,
                    "activations": card.activations,
                    "labels": card.labels,
                }
            )
            for card in exhibits.features
        ],
        "pca_explained": plain(exhibits.pca_explained),
        "notes": plain(exhibits.notes),
    }
