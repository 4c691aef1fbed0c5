"""Rules of `advice` about what everything else rests on: the weights, the images, their labels and number."""

from __future__ import annotations

import re
from collections.abc import Mapping

from repdiag.exhibits import Advice
from repdiag.showing.advice_facts import Facts
from repdiag.showing.advice_words import audit, between, command, points, rounded
from repdiag.types import Level
from repdiag.verdicts import ends

UNTRAINED = "untrained weights"
PREPROCESSING = "assumed preprocessing"
CHANCE = "probe at chance"
LABELS = "no labels"
COPIES = "exact copies"
COLLAPSE = "collapse"
SAMPLES = "few samples"

WIDE = 0.03  # half the width of the probe's interval above which more samples come first
WANTED = 0.02  # half the width to aim at
COPIED = 0.01  # share of copies that flatters noticeably

COUNTS_ON_SAMPLES = ("probe", "centers", "separation", "neighbors", "augmentation", "clusters are classes")
"""Findings whose interval narrows with the number of samples; agreement between k-means seeds need not."""

_COPIES = re.compile(r"(\d+) of (\d+) embeddings are exact copies")


def untrained(facts: Facts) -> Advice | None:
    """Named architectures without `--pretrained`."""
    if not facts.container.startswith("none"):
        return None
    return Advice(
        UNTRAINED,
        "Score trained weights",
        "The encoder was named without a checkpoint: its weights are random, and the numbers are a floor to compare "
        "trained ones with.",
        "provenance",
        command("score", facts.model, facts.data, "--pretrained"),
    )


def preprocessing(facts: Facts) -> Advice | None:
    """What was assumed is in the command, to be confirmed or replaced."""
    how = facts.encoder.get("preprocessing")
    if not isinstance(how, Mapping):
        return None
    by_user, _, rest = str(how.get("origin", "")).rpartition(" set by the user")
    if (
        "assumed" not in rest
        or "mean" in by_user
        or any(how.get(name) is None for name in ("size", "mean", "std"))
    ):
        return None
    mean, std = (",".join(f"{float(v):g}" for v in how[name]) for name in ("mean", "std"))
    part = "in part " if by_user else ""
    return Advice(
        PREPROCESSING,
        "Say how images were prepared in training",
        f"The checkpoint does not tell: {how['size']}x{how['size']} pixels, mean {mean} and std {std} were "
        f"{part}assumed, and every number here depends on it. Put what the training used into the command.",
        "provenance",
        command("score", facts.model, facts.images, f"--size {how['size']:d} --mean={mean} --std={std}"),
    )


def chance(facts: Facts) -> Advice | None:
    """A probe that is poor and not told from chance is more often a wrong setup than a bad encoder."""
    probe = facts.result("linear_probe_accuracy")
    if probe is None or probe.null is None or facts.level("probe") is not Level.POOR:
        return None
    if ends(probe)[0] > probe.null.mean:
        return None
    file = None if facts.model == "-" else facts.model
    return Advice(
        CHANCE,
        "Check that weights, images and labels belong together",
        f"A linear probe gets {between(probe)} right, where chance gets {points(probe.null.mean)}. Wrong weights, "
        "wrong preprocessing and shuffled labels look like this too.",
        "metrics",
        command("inspect", file),
    )


def labels(facts: Facts) -> Advice | None:
    """A few labels make the risk of all a probability, and the rest of the report possible."""
    if facts.dataset.get("labeled", True):
        return None
    count = int(facts.dataset.get("evaluated") or 0)
    if facts.dataset.get("labels_used") is False:
        return Advice(
            LABELS,
            "Score again with the labels, if there are any",
            f"This run was told to use none, so crowding, probes and errors of {count:,} images were not measured, "
            "and the risk is an order that nothing could check.",
            "metrics",
            command("score", facts.model, facts.data),
        )
    if int(facts.dataset.get("classes") or 0) == 1:
        return Advice(
            LABELS,
            "Score images of several classes",
            f"All {count:,} evaluated images are of one class, so nothing tells whether classes lie apart, and the "
            "risk is an order that nothing could check.",
            "metrics",
        )
    return Advice(
        LABELS,
        "Label a few hundred images, chosen at random",
        f"Without labels the risk of {count:,} images is an order that nothing could check, and crowding and probes "
        "were not measured. With some, both are measured on those, and the risk becomes a probability for all. In the "
        "command labels.csv is your list with the columns path and label, the label blank where it is not known.",
        "risk",
        None if facts.images is None or facts.images.startswith("hf:") else
        command("score", facts.model, "labels.csv", f"--root {facts.images}"),
    )  # fmt: skip


def copies(facts: Facts) -> Advice | None:
    """The warning of `cautions` has the count."""
    said = next((m for m in map(_COPIES.search, facts.warnings) if m), None)
    if said is None:
        return None
    number, total = int(said[1]), int(said[2])
    if number < COPIED * total:
        return None
    return Advice(
        COPIES,
        "Set copies aside",
        f"{number:,} of {total:,} embeddings ({points(number / total)}) are exact copies of another. Neighbors and "
        "cross-fitted measures, the probe's accuracy among them, are too good by what the copies give away.",
        "metrics",
        audit(facts),
    )


def collapse(facts: Facts) -> Advice | None:
    """RankMe is one of the three label-free metrics that ranked our encoders as declared."""
    found = facts.finding("rank")
    if found is None or found.level is not Level.POOR:
        return None
    layers = None if facts.images is None else "--layer=-1,-2"
    return Advice(
        COLLAPSE,
        "Find out where the dimensions are lost",
        f"{found.reason} Look whether the stage before the last one holds more.",
        "metrics",
        command("score", facts.model, facts.data, layers, "--out layers"),
    )


def more_samples(facts: Facts) -> Advice | None:
    """How many more follows from intervals that narrow with the square root of their number."""
    probe = facts.result("linear_probe_accuracy")
    if probe is None or facts.evaluated < 1:
        return None
    low, high = ends(probe)
    half = (high - low) / 2
    open_ = [name for name in COUNTS_ON_SAMPLES if facts.level(name) is Level.UNDETERMINED]
    if half <= WIDE and not open_:
        return None
    said = f"With {facts.evaluated:,} labeled images the probe's accuracy is {between(probe)}"
    said += f", and {len(open_)} of the verdicts' rules cannot decide." if open_ else "."
    if half > WANTED:
        wanted = facts.evaluated * (half / WANTED) ** 2
        said += f" An interval of ±2 points takes about {rounded(wanted):,}."
    return Advice(SAMPLES, "Evaluate more images before you compare or decide", said, "metrics")
