"""Whether two reports are about the same images, and what else tells them apart but the encoder's quality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from repdiag.comparison.align import labels_of
from repdiag.types import Report

NEUTRAL = frozenset({"metrics", "by_size", "map_samples"})
"""Settings that move no metric's value."""
_SHOWN = 4  # settings that a warning names


@dataclass(frozen=True)
class Alike:
    """Whether two reports are about the `same` images, and `why` that is known; true where they are."""

    same: bool
    why: str

    def __bool__(self) -> bool:
        return self.same


def same_images(a: Report, b: Report) -> Alike:
    """Whether two reports evaluated the same samples under the same labels: equal ids, in any order, and labels.

    Fingerprints need not be equal: they change with the times of files, and so with every fresh checkout. Where ids
    are equal and fingerprints are not, images may have been replaced under their names, which nobody can tell from
    the reports; `why` says so. Where a report has no ids (its samples were not read), equal fingerprints and equal
    numbers of samples count as the same images, and anything else as not. A label that one of the reports does not
    have contradicts nothing.
    """
    marks = [one.dataset.get("fingerprint") for one in (a, b)]
    equal_marks = marks[0] is not None and marks[0] == marks[1]
    ids = [_ids(one) for one in (a, b)]
    if not all(each.size for each in ids):
        if equal_marks and _samples(a) == _samples(b):
            return Alike(True, "the data sets' fingerprints are equal, and as many samples were evaluated")
        return Alike(False, "the reports do not say of each sample which it is")
    common, rows_a, rows_b = np.intersect1d(ids[0], ids[1], return_indices=True)
    if not common.size == ids[0].size == ids[1].size:
        return Alike(
            False,
            f"{common.size:,} samples are in both, of {ids[0].size:,} and {ids[1].size:,} that were evaluated",
        )
    one, other = labels_of(a)[rows_a], labels_of(b)[rows_b]
    differ = int(sum(x is not None and y is not None and x != y for x, y in zip(one, other, strict=True)))
    if differ:
        return Alike(False, f"{differ:,} of {common.size:,} samples have another class")
    if equal_marks:
        return Alike(True, f"the same {common.size:,} samples, and equal fingerprints of the data sets")
    return Alike(
        True,
        f"the same {common.size:,} ids; the data sets' fingerprints differ, as they do when a file's time or content "
        "changed",
    )


def comparable(
    a: Report, b: Report, names: tuple[str, str] = ("this report", "the baseline")
) -> tuple[str, ...]:
    """What tells two reports apart besides the quality of their encoders: one sentence each, () for nothing.

    Samples, classes, the samples that probes learn from, labels; settings that numbers depend on; preprocessing,
    number of features, layer or pooling, views; the version of repdiag. What one of the reports does not state is not
    compared. `names` are what the sentences call `a` and `b`. They warn and do not judge: another D may be the
    very point of a comparison.
    """
    found = [_images(a, b)]
    for what, where in (
        ("classes", ("dataset", "classes")),
        ("samples to learn from", ("dataset", "reference")),
        ("features (D)", ("dataset", "features")),
    ):
        x, y = (_at(one, where) for one in (a, b))
        if x is not None and y is not None and x != y:
            found.append(f"{_first(names[0])} has {_number(x)} {what}, {names[1]} {_number(y)}.")
    for what, where in (
        ("The split differs", ("dataset", "split")),
        ("The augmented views differ", ("dataset", "views")),
        (
            "The versions of repdiag differ, and with them maybe what a metric means",
            ("environment", "repdiag"),
        ),
    ):
        x, y = (_at(one, where) for one in (a, b))
        if x is not None and y is not None and x != y:
            found.append(f"{what}: {_text(x)} in {names[0]}, {_text(y)} in {names[1]}.")
    for what, x, y in (
        ("Settings", _without(a.config, NEUTRAL), _without(b.config, NEUTRAL)),
        ("Preprocessing", _preprocessing(a), _preprocessing(b)),
        ("Layers", _layers(a), _layers(b)),
    ):
        differences = _differences(x, y, names)
        if differences:
            found.append(f"{what} differ{'s' if what == 'Preprocessing' else ''}: {differences}.")
    return tuple(sentence for sentence in found if sentence)


def _images(a: Report, b: Report) -> str:
    images = same_images(a, b)
    if images:
        return ""
    if _ids(a).size and _ids(b).size:
        return f"Not the same images: {images.why}."
    if _samples(a) is not None and _samples(b) is not None and _samples(a) != _samples(b):
        return (
            f"Not the same images: {_number(_samples(a))} samples were evaluated, and {_number(_samples(b))}."
        )
    return f"Whether these are the same images is not known: {images.why}."


def _ids(report: Report) -> Any:
    return np.asarray(report.samples.columns.get("id", np.array([], np.str_)), np.str_)


def _samples(report: Report) -> Any:
    return report.dataset.get("evaluated", report.dataset.get("samples"))


def _at(report: Report, where: tuple[str, str]) -> Any:
    return getattr(report, where[0]).get(where[1])


def _without(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in set(names)}


def _preprocessing(report: Report) -> dict[str, Any]:
    found = report.encoder.get("preprocessing")
    return _without(found, ("summary", "origin", "source")) if isinstance(found, Mapping) else {}


def _layers(report: Report) -> dict[str, Any]:
    """Layer and pooling of each output that was taken, and whether rows were normalized."""
    outputs = report.encoder.get("features")
    taken = [
        " ".join(str(output.get(key) or "") for key in ("layer", "pooling"))
        for output in (outputs if isinstance(outputs, list | tuple) else ())
        if isinstance(output, Mapping)
    ]
    found: dict[str, Any] = {"layer and pooling": "; ".join(taken)} if taken else {}
    if isinstance(report.encoder.get("l2"), bool):
        found["l2"] = report.encoder["l2"]
    return found


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> str:
    """What differs of what both state: "seed 0 and 1, eps 4 and 3 (this report and the baseline)"."""
    keys = [key for key in a if key in b and _plain(a[key]) != _plain(b[key])]
    if not keys:
        return ""
    said = ", ".join(f"{key} {_text(a[key])} and {_text(b[key])}" for key in keys[:_SHOWN])
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{said}{more} ({names[0]} and {names[1]})"


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a report just made equals the one that was read back."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, list | tuple):
        return f"({', '.join(_text(each) for each in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]
