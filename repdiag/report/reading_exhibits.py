"""What report.json says of exhibits, read back. Pictures are not in it, and reports of before say nothing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import Advice, ClassMatrix, Exhibits, FeatureCard, PairPictures, Risky
from repdiag.report.reading_fields import Fields, is_number


def read_exhibits(document: Fields) -> Exhibits:
    """The exhibits of a report.json: none of those that it does not have; DataError names a field that is wrong."""
    explained = _numbers(document, "pca_explained") if document.has("pca_explained") else None
    if explained is not None and len(explained) != 2:
        raise document.wrong("pca_explained", "must be two numbers")
    notes = Fields(document.mapping("notes", {}), document.place("notes"), document.source)
    return Exhibits(
        advice=tuple(_advice(part) for part in document.parts("next", [])),
        matrix=_matrix(document.part("class_matrix")) if document.has("class_matrix") else None,
        pairs=tuple(
            PairPictures(p.text("class_a"), p.text("class_b"), p.texts("a_ids"), p.texts("b_ids"))
            for p in document.parts("class_borders", [])
        ),
        features=tuple(_card(part) for part in document.parts("top_features", [])),
        riskiest=tuple(Risky(p.text("id"), p.texts("reasons")) for p in document.parts("riskiest", [])),
        pca_explained=None if explained is None else (explained[0], explained[1]),
        notes={name: notes.text(name) for name in notes.values if notes.has(name)},
    )


def _advice(part: Fields) -> Advice:
    command = part.text("command") if part.has("command") else None
    return Advice(
        part.text("rule", ""), part.text("title"), part.text("reason", ""), part.text("section", ""), command
    )


def _matrix(part: Fields) -> ClassMatrix:
    classes = part.texts("classes")
    found = {name: _square(part, name, len(classes)) for name in ("nearer", "distance")}
    mass = np.array(_numbers(part, "mass"), dtype=np.float64)
    if mass.size != len(classes):
        raise part.wrong("mass", f"must have {len(classes)} numbers, not {mass.size}")
    of = part.whole("of", len(classes))
    return ClassMatrix(classes, found["nearer"], found["distance"], mass, of)


def _square(part: Fields, name: str, size: int) -> npt.NDArray[np.float64]:
    rows = part.values.get(name)
    if not isinstance(rows, list) or len(rows) != size:
        raise part.wrong(name, f"must be a list of {size} lists of {size} numbers")
    row_of = Fields({f"{i}": row for i, row in enumerate(rows)}, part.place(name), part.source)
    out = [_numbers(row_of, f"{i}") for i in range(size)]
    if any(len(row) != size for row in out):
        raise part.wrong(name, f"must be a list of {size} lists of {size} numbers")
    return np.array(out, dtype=np.float64).reshape(size, size)


def _card(part: Fields) -> FeatureCard:
    ids, activations = part.texts("ids"), _numbers(part, "activations")
    labels = part.values.get("labels")
    if not isinstance(labels, list) or any(not (v is None or isinstance(v, str)) for v in labels):
        raise part.wrong("labels", "must be a list of text and nulls")
    if not len(ids) == len(activations) == len(labels):
        raise part.wrong("ids", "must be as many as activations and labels")
    return FeatureCard(
        part.whole("feature"),
        part.number("worth"),
        part.text("worth_name", ""),
        part.number("frequency") if part.has("frequency") else math.nan,
        part.flag("in_s", False) if part.has("in_s") else None,
        ids,
        tuple(activations),
        tuple(labels),
    )


def _numbers(part: Fields, name: str) -> list[float]:
    """A list of numbers, NaN for null."""
    values = part.values.get(name)
    if not isinstance(values, list):
        raise part.wrong(name, "must be a list of numbers")
    for i, value in enumerate(values):
        if value is not None and not is_number(value):
            raise part.wrong(f"{name}[{i}]", "must be a number")
    return [math.nan if value is None else value for value in values]
