"""Rules of `advice` about what was found: the condition, and the sentence with the report's own numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from repdiag.exhibits import Advice
from repdiag.kernels.calibration import wilson
from repdiag.showing.advice_facts import REPORT, Facts
from repdiag.showing.advice_words import audit, between, command, percent, points
from repdiag.types import Level
from repdiag.verdicts import ends

PAIR = "crowded pair"
RISK = "review by risk"
TRAIN = "train on"
CLUSTERS = "guessed number of clusters"
UNSTABLE = "unstable clusters"
COMPRESS = "fewer features"
NEIGHBORS = "neighbors fall behind"
HUBS = "hubs"
Q_SCORE = "no Q-Score"
EARLIER = "earlier checkpoints"
BASELINE = "baseline"

CROWDED = 0.15  # lower end of a share that is worth a look
FEWEST = 20  # samples of a class below which its shares are noise
MOST_REVIEWED = 200  # images: what `repdiag audit` lists by default
SURE = 0.6  # where the verdict on the risk stops being poor
TWICE = 2.0
LOSS = 0.03  # of accuracy, at most, on images that took no part in the choice
IDLE = 0.1  # share of samples that are nobody's neighbor

_EPOCH = re.compile(
    r"(?<![a-z])(?:epochs?|ep|steps?|iters?|iteration|ckpt|checkpoint)[-_=.]?\d+", re.IGNORECASE
)


def crowded_pair(facts: Facts) -> Advice | None:
    """Of all pairs the one with the highest lower end; choosing it is not corrected for."""
    columns = facts.pairs.columns
    if not {"class_a", "class_b", "nearer_ab", "nearer_ba"} <= set(columns):
        return None
    counts = _class_sizes(facts)
    best: tuple[float, int, str, str] | None = None
    for row in range(len(facts.pairs)):
        for share_name, one, other in (
            ("nearer_ab", "class_a", "class_b"),
            ("nearer_ba", "class_b", "class_a"),
        ):
            share, name = float(columns[share_name][row]), str(columns[one][row])
            n = counts(name)
            if not np.isfinite(share) or n < FEWEST:
                continue
            low = wilson(share * n, n)[0]
            if best is None or low > best[0]:
                best = (low, row, one, other)
    if best is None or best[0] < CROWDED:
        return None
    _, row, one, other = best
    a, b = str(columns[one][row]), str(columns[other][row])
    share = float(columns["nearer_ab" if one == "class_a" else "nearer_ba"][row])
    taken = columns.get("confused_ab" if one == "class_a" else "confused_ba")
    said = f"{percent(share)} of the images of '{a}' lie nearest to the center of '{b}'"
    if taken is not None and np.isfinite(taken[row]):
        said += f"; the linear probe takes {percent(float(taken[row]))} of them for it"
    lost = facts.finding("every class")
    worst = f" {lost.reason}" if lost is not None and lost.level is Level.WATCH else ""
    return Advice(
        PAIR,
        f"Look at '{a}' and '{b}' side by side",
        f"{said}.{worst} Such images are alike, mislabeled, or not told apart by the encoder: the review list shows "
        "confusions first.",
        "crowding",
        audit(facts),
    )


def review(facts: Facts) -> Advice | None:
    """What the riskiest hold of the errors, from the accuracy that is left without them."""
    auroc, kept = facts.result("risk_auroc"), facts.result("selective_accuracy")
    if not facts.risk.get("validated") or auroc is None or kept is None or ends(auroc)[0] < SURE:
        return None
    wanted = 0.05 if facts.evaluated >= 400 else 0.1
    row = next((r for r in kept.table if r.get("set_aside") == wanted), None)
    if row is None or row.get("gain_low") is None or float(row["gain_low"] or 0) <= 0:
        return None
    plain, left = float(row["random"] or 0), float(row["accuracy"] or 0)
    if plain >= 1:
        return None
    caught = 1 - (1 - wanted) * (1 - left) / (1 - plain)
    if caught < TWICE * wanted:
        return None
    low, high = ends(auroc)
    aside = max(1, round(wanted * facts.evaluated))
    return Advice(
        RISK,
        "Review the riskiest images first",
        f"The riskiest {percent(wanted)} ({aside:,} images) hold {percent(caught)} of the probe's errors, where chance "
        f"would put {percent(wanted)} (AUROC {auroc.value:.2f} [{low:.2f}, {high:.2f}]). The error may lie in the "
        "encoder, the image or its label.",
        "risk",
        audit(facts, min(MOST_REVIEWED, aside)),
    )


def train_on(facts: Facts) -> Advice | None:
    """Only ever against a control: no regularizer beat its own in our trials (docs/evidence/finetune.md)."""
    probe, augmented = facts.finding("probe"), facts.finding("augmentation")
    weak = probe if probe is not None and probe.level in (Level.WATCH, Level.POOR) else None
    moved = augmented if augmented is not None and augmented.level is Level.POOR else None
    if (weak is None and moved is None) or facts.images is None or facts.container.startswith("none"):
        return None
    said = " ".join(found.reason for found in (weak, moved) if found is not None)
    return Advice(
        TRAIN,
        "Go on training on images like these, and compare with the control arm",
        f"{said} Further training may help or not: in our own trials no regularizer beat a control that was trained "
        "equally long without it, so judge by the control that this command trains beside it.",
        "metrics" if weak is not None else "stability",
        command("finetune", facts.model, facts.images),
    )


def number_of_clusters(facts: Facts) -> Advice | None:
    """Without labels k is a guess, and the warning of `cautions` says so."""
    seed = facts.result("seed_ari")
    if seed is None or not any("clusters is a guess" in warning for warning in facts.warnings):
        return None
    k = int(seed.parameters.get("k") or 10)
    return Advice(
        CLUSTERS,
        "Try half and twice the number of clusters",
        f"k = {k} is a guess, and with it clusters agree between seeds with an ARI of {seed.value:.2f}. What is real "
        "does not hang on the exact k; stability alone must not choose it.",
        "stability",
        command(
            "score", facts.model, facts.data, f"--clusters {2 * k} --metrics stability --out clusters-{2 * k}"
        ),
    )


def unstable(facts: Facts) -> Advice | None:
    """Clusters that do not hold still are no finding."""
    poor = [f for f in map(facts.finding, ("seed", "subsample")) if f is not None and f.level is Level.POOR]
    if not poor:
        return None
    return Advice(
        UNSTABLE,
        "Build on no single cluster",
        f"{poor[0].reason} Another seed gives other clusters; the table of clusters says which ones come back.",
        "stability",
    )


def compress(facts: Facts) -> Advice | None:
    """The smallest set of features that a probe would hardly miss the others beside."""
    found = facts.result("smallest_subset")
    if found is None or found.interval is None or facts.level("probe") is not Level.GOOD:
        return None
    nested = [row for row in found.table if row.get("method") == "nested"]
    chosen = next((row for row in nested if row.get("chosen")), None)
    whole = next((row for row in nested if row.get("kept") == 1), None)
    if chosen is None or whole is None or found.value > 0.5 or found.interval.high > 0.8:
        return None
    if float(chosen.get("loss_high") or 0) > LOSS:
        return None
    low, high = ends(found)
    file = None if facts.images is None else facts.model
    return Advice(
        COMPRESS,
        "Keep fewer features",
        f"{chosen['features']} of {whole['features']} features ({percent(found.value)} [{percent(low)}, "
        f"{percent(high)}]) keep the probe's accuracy: {points(float(chosen['accuracy'] or 0))} with them and "
        f"{points(float(whole['accuracy'] or 0))} with all, on images that took no part in the choice. Other tasks "
        "may need others.",
        "features",
        command("export", file, f"kept.ts --features {REPORT}/kept_features.csv"),
    )


def neighbors(facts: Facts) -> Advice | None:
    """As the verdicts' rule says."""
    found = facts.finding("neighbors follow")
    if found is None or found.level is not Level.WATCH:
        return None
    return Advice(
        NEIGHBORS,
        "Classify with a linear layer, not by neighbors",
        f"{found.reason} Search and retrieval by distance show less than the features hold.",
        "metrics",
    )


def hubs(facts: Facts) -> Advice | None:
    """More hubs than a Gaussian of equal covariance has, and so many that search misses samples."""
    found = facts.result("hubness_skew")
    if found is None or found.null is None:
        return None
    idle, largest, k = (found.parameters.get(name) for name in ("never_a_neighbor", "largest", "k"))
    if idle is None or float(idle) < IDLE or ends(found)[0] <= found.null.mean + 2 * found.null.std:
        return None
    return Advice(
        HUBS,
        "Mind the hubs where you search by neighbors",
        f"{percent(float(idle))} of the images are among the {k} nearest of nobody, and one is among those of "
        f"{int(largest or 0):,}: skew {found.value:.1f}, where a Gaussian of equal covariance has "
        f"{found.null.mean:.1f}.",
        "metrics",
    )


def q_score(facts: Facts) -> Advice | None:
    """What the report found, said where somebody would look."""
    found = facts.finding("Q-Score")
    if found is None or found.level is not Level.WATCH or not facts.risk.get("validated"):
        return None
    title = facts.risk.get("title")
    return Advice(
        Q_SCORE,
        "Rank images by the risk, not by Q-Score",
        f"{found.reason} The risk rests on what did better here" + (f" ({title})." if title else "."),
        "risk",
    )


def earlier(facts: Facts) -> Advice | None:
    """A checkpoint by an epoch's name has siblings."""
    name = str(facts.encoder.get("name", ""))
    said = _EPOCH.search(name)
    if said is None or facts.result("checkpoint_ari") is not None or facts.images is None:
        return None
    return Advice(
        EARLIER,
        "Put earlier checkpoints of the run beside it",
        f"The file is called by its place in the run ({said[0]}). One checkpoint does not tell whether the encoder "
        "was still getting better; EARLIER is the file of another one.",
        "metrics",
        command("compare", "EARLIER", facts.model, f"--data {facts.images} --trajectory"),
    )


def baseline(facts: Facts) -> Advice | None:
    """What is good is worth keeping."""
    probe = facts.result("linear_probe_accuracy")
    if probe is None or facts.level("probe") is not Level.GOOD:
        return None
    if any(verdict.level is Level.POOR for verdict in facts.verdicts):
        return None
    return Advice(
        BASELINE,
        "Keep this report as the baseline of a gate",
        f"No family of metrics is poor, and a linear probe gets {between(probe)} right. Kept, the report lets CI "
        "stop a checkpoint that is worse on the same images.",
        "metrics",
        f"repdiag baseline save {REPORT} --name main",
    )


def _class_sizes(facts: Facts) -> Callable[[str], int]:
    """Evaluated samples of a class by its name: counted, or as if all were equally large."""
    columns = facts.classes.columns
    if {"class", "n"} <= set(columns):
        known = {str(name): int(n) for name, n in zip(columns["class"], columns["n"], strict=True)}
        return lambda name: known.get(name, 0)
    each = facts.evaluated // max(1, int(facts.dataset.get("classes") or 1))
    return lambda name: each
