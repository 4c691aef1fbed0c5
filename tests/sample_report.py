"""Synthetic reports that look like real ones: for the renderers' tests and for screenshots.

Nothing here is measured. The numbers are drawn so that they hang together the way real ones do (wrong
samples have a lower Q-Score, classes that lie close have a lower accuracy), so that the figures have the
shapes that a reader will meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from sample_exhibits import picture, sample_exhibits, shown_ids

from repdiag.types import (
    Direction,
    Finding,
    Interval,
    Level,
    Measurement,
    MetricResult,
    MetricSpec,
    Need,
    Null,
    Report,
    SizePoint,
    Skipped,
    Status,
    Table,
    Verdict,
)

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</script><script>document.title='owned'</script>",
    '=HYPERLINK("http://example.org","x")',
    "🦊 fox & 'hound' \u2028 line",
    "\u202egnp.exe\u202c עברית",
    "<!-- {{ 7*7 }} -->",
    "tab\tand\nnewline, \x1b[31mred",
)
"""Names that a file or a class may really have, and that a careless page would run or misprint."""

H, L, X = Direction.HIGHER, Direction.LOWER, Direction.NEITHER
P, A, US = Status.PAPER, Status.ADAPTED, Status.OURS
INF = float("inf")

# name, family, title, meaning, unit, direction, status, low, high, value, null mean, needs, headline
ROWS: tuple[tuple[Any, ...], ...] = (
    ("linear_probe_accuracy", "probes", "Linear probe accuracy",
     "Share of held-out images that a linear classifier on the frozen features names correctly.",
     "share", H, P, 0, 1, 0.8714, 0.1, "labels", True),
    ("knn_accuracy", "probes", "kNN accuracy",
     "Share of held-out images whose 20 nearest neighbors vote for the right class.",
     "share", H, P, 0, 1, 0.8452, 0.1, "labels", False),
    ("intra_class_variance", "crowding", "Variance inside classes",
     "How far the images of one class lie from their own center; high means loose classes.",
     "", L, US, 0, 1, 0.3871, 0.631, "labels", False),
    ("inter_class_distance", "crowding", "Distance between classes",
     "Mean distance between two class centers; high means that classes lie apart.",
     "", H, US, 0, 2, 0.8893, 0.052, "labels", False),
    ("r2_separation", "crowding", "Class separation (R²)",
     "Share of the spread of all images that the classes explain.", "", H, A, 0, 1, 0.3911, 0.0009, "labels",
     True),
    ("cdnv", "crowding", "Class-distance normalized variance",
     "Variance inside two classes over the squared distance between them; high means crowded classes.",
     "", L, P, 0, INF, 0.5371, 496.2, "labels", False),
    ("directional_cdnv", "crowding", "Directional CDNV",
     "As CDNV, but counting only the variance along the line between the two classes.",
     "", L, P, 0, INF, 0.0632, 3.81, "labels", False),
    ("nearest_center_error", "crowding", "Nearest-center error",
     "Share of held-out images that lie nearer to another class's center than to their own.",
     "share", L, US, 0, 1, 0.1633, 0.9, "labels", True),
    ("knn_purity", "crowding", "kNN purity",
     "Share of an image's 20 nearest neighbors that have its own label.", "share", H, US, 0, 1, 0.7912, 0.1,
     "labels", False),
    ("seed_ari", "stability", "Stability over seeds",
     "Agreement of k-means clusterings that differ only in their random start.", "", H, A, -0.5, 1, 0.7421,
     0.311, "", True),
    ("subsample_ari", "stability", "Stability over subsamples",
     "Agreement of k-means clusterings of two random 80% parts of the data.", "", H, A, -0.5, 1, 0.7034,
     0.295, "", False),
    ("augmentation_ari", "stability", "Stability under augmentation",
     "Agreement between the clusters of the images and of their augmented views.", "", H, US, -0.5, 1, None,
     None, "images", False),
    ("label_ari", "stability", "Clusters against labels (ARI)",
     "Agreement between k-means clusters and the classes, chance taken off.", "", H, P, -0.5, 1, 0.5829, 0.0,
     "labels", False),
    ("silhouette_mean", "stability", "Silhouette",
     "How much nearer an image lies to its own cluster than to the next one.", "", H, P, -1, 1, 0.1284, 0.0091,
     "", False),
    ("silhouette_std", "stability", "Silhouette spread",
     "Spread of the silhouette over the images; it is lowest when there is no structure at all.", "", X, A, 0,
     INF, 0.0871, 0.0093, "", False),
    ("activation_frequency", "features", "Mean activation frequency",
     "Mean share of images in which a feature is strongly active.", "%", X, P, 0, 100, 3.214, None,
     "nonnegative", False),
    ("discriminative_features", "features", "Discriminative features",
     "Number of features that are neither rare nor generic (the set S).", "features", X, P, 0, INF, 231.0,
     None, "nonnegative", False),
    ("compression", "features", "Accuracy kept at 40% fewer features",
     "Share of the accuracy that remains when rare and generic features are cut.", "share", H, P, 0, 1, 0.972,
     0.911, "labels", False),
    ("qscore_mean", "risk", "Mean Q-Score",
     "How strongly the discriminative features stand out, on average over the images.", "", H, P, 0, INF,
     0.1273, None, "nonnegative", False),
    ("qscore_empty_rate", "risk", "Images without a Q-Score",
     "Share of images in which no discriminative feature is active.", "share", L, US, 0, 1, 0.0312, None,
     "nonnegative", False),
    ("qscore_auroc", "risk", "Q-Score against errors (AUROC)",
     "Chance that a correct image has a higher Q-Score than a misclassified one.", "", H, P, 0, 1, 0.6544, 0.5,
     "labels nonnegative", False),
    ("score_comparison", "risk", "Best label-free predictor of errors",
     "AUROC of the best of all label-free scores against the probe's errors.", "", H, US, 0, 1, 0.7413, 0.5,
     "labels", False),
    ("risk_auroc", "risk", "Risk against errors (AUROC)",
     "Chance that a misclassified image has a higher risk than a correct one, on held-out images.", "", H, US,
     0, 1, 0.7387, 0.5, "labels", True),
    ("risk_brier", "risk", "Risk as a probability: Brier score",
     "Mean squared distance between the risk and what happened.", "", L, A, 0, 1, 0.0893, 0.1121, "labels", False),
    ("selective_accuracy", "risk", "Accuracy without the riskiest 10%",
     "Accuracy of what is left when the tenth with the highest risk is set aside.", "share", H, A, 0, 1, 0.9187,
     0.8714, "labels", False),
    ("rankme", "spectrum", "RankMe",
     "How many dimensions the embeddings really use.", "dimensions", H, P, 1, INF, 187.43, None, "", True),
    ("alpha_req", "spectrum", "α-ReQ",
     "How fast the spectrum decays; near 1 is said to generalize best.", "", X, P, -INF, INF, 1.1327, None, "",
     False),
    ("uniformity", "spectrum", "Uniformity",
     "How evenly the embeddings cover the sphere; lower is more even.", "", L, P, -4, 0, -2.7313, None, "",
     False),
    ("alignment", "spectrum", "Alignment",
     "Distance between two views of one image.", "", L, P, 0, 4, None, None, "images", False),
)  # fmt: skip

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SCORES = (
    ("msp", "Probe's own confidence (MSP)", 0.912, True),
    ("neighborhood_consistency", "Neighborhood consistency", 0.741, False),
    ("knn_distance", "kNN distance (density)", 0.702, False),
    ("q_score", "Q-Score", 0.654, False),
    ("feature_norm", "Feature norm", 0.638, False),
    ("qscore_v1", "Q-Score, first version", 0.622, False),
    ("active_features", "Active features", 0.571, False),
    ("max_z", "Largest z-score", 0.548, False),
    ("kmeans_margin", "k-means margin", 0.487, False),
)


def class_names(k: int) -> tuple[str, ...]:
    """CIFAR-10's names, then numbered ones."""
    return tuple(CIFAR[i] if i < len(CIFAR) else f"class_{i:04d}" for i in range(k))


def sample_report(
    n: int = 2000,
    d: int = 512,
    k: int = 10,
    *,
    labelled: bool = True,
    thumbnails: int = 24,
    names: tuple[str, ...] | None = None,
    prefix: str = "test/",
    seed: int = 0,
    **changes: Any,
) -> Report:
    """A report on `n` samples, `d` features, `k` classes; `changes` replace fields of the Report."""
    rng = np.random.default_rng(seed)
    names = names or class_names(k)
    k = len(names)
    samples, labels, correct = _samples(rng, n, names, labelled, prefix)
    classes = _classes(rng, names, labels, correct, samples) if labelled else Table({})
    measurements = tuple(_measurement(row, rng, k, labelled, n) for row in ROWS)
    exhibits = sample_exhibits(samples, names, d, labelled, seed)
    report = Report(
        created="2026-11-21T06:29:54Z",
        encoder={
            "name": "simclr_resnet18.safetensors",
            "architecture": "resnet18",
            "features": d,
            "nonnegative": True,
            "sha256": "9f2c" * 16,
            "loading": {
                "container": "safetensors",
                "loaded": 120,
                "dropped": ["projection_head.layers.0.weight", "projection_head.layers.2.weight"],
                "missing": [],
            },
            "preprocessing": {
                "resize": 256,
                "crop": 224,
                "mean": (0.485, 0.456, 0.406),
                "std": (0.229, 0.224, 0.225),
                "source": "known for resnet18 at 224 pixels",
            },
        },
        dataset={
            "name": "cifar10-images" if labelled else "unsorted-images",
            "kind": "image folder",
            "samples": n,
            "classes": k if labelled else None,
            "split": "train/test" if labelled else None,
            "corrupt": [{"path": "test/cat/broken.png", "reason": "truncated PNG"}],
            "fingerprint": "17ab" * 16,
        },
        config={"seed": 0, "device": "cpu", "precision": "float32", "batch_size": "auto", "epsilon": 4.0},
        environment={"repdiag": "0.1.0", "python": "3.11.9", "torch": "2.15.0", "platform": "Linux x86_64"},
        measurements=measurements,
        samples=samples,
        classes=classes,
        pairs=_pairs(rng, names) if labelled else Table({}),
        clusters=_clusters(rng, names, labelled),
        verdicts=_verdicts(labelled),
        features=_features(rng, d),
        risk=_risk(labelled),
        warnings=(
            "1 image could not be read and was left out: test/cat/broken.png (truncated PNG).",
            "The encoder was trained on images of 32 pixels; these have 224.",
        ),
        thumbnails=_thumbnails(rng, samples, thumbnails, shown_ids(exhibits)),
        exhibits=exhibits,
        timing={"load": 0.41, "embed": 38.2, "metrics": 11.9, "umap": 14.3},
    )
    return dataclasses.replace(report, **changes)


def _samples(
    rng: np.random.Generator, n: int, names: tuple[str, ...], labelled: bool, prefix: str
) -> tuple[Table, Any, Any]:
    k = len(names)
    label = np.arange(n) % k
    hard = 0.04 + 0.3 * rng.random(k) ** 2
    correct = rng.random(n) > hard[label]
    prediction = np.where(correct, label, (label + 1 + rng.integers(0, max(1, k - 1), n)) % k)
    q = np.maximum(rng.normal(0.11 + 0.03 * correct, 0.03), 0.03)
    q[rng.random(n) < 0.03] = np.nan
    risk = np.clip(rng.beta(2, 8, n) + 0.22 * ~correct, 0, 1)
    angle = 2 * np.pi * np.arange(k) / k * 3.7
    center = np.stack([np.cos(angle), np.sin(angle)], 1) * (3 + 4 * rng.random((k, 1)))
    place = center[np.where(rng.random(n) < 0.8, label, prediction)] + rng.normal(0, 0.8, (n, 2))
    name = np.array(names, dtype=object)
    folder = name[label] if labelled else np.array(["images"] * n, dtype=object)
    ids = np.array([f"{prefix}{f}/{i:06d}.png" for i, f in enumerate(folder)], dtype=object)
    columns: dict[str, Any] = {"id": ids, "path": ids}
    if labelled:
        columns |= {
            "label": name[label],
            "prediction": name[prediction],
            "correct": correct,
            "confidence": np.clip(rng.normal(0.6 + 0.3 * correct, 0.1), 0.1, 1).astype(np.float32),
        }
    columns |= {
        "q_score": q,
        "active_features": rng.poisson(14, n),
        "risk": risk,
        "knn_distance": rng.gamma(4, 0.1, n).astype(np.float32),
        "feature_norm": rng.normal(11, 1.5, n).astype(np.float32),
        "cluster": rng.integers(0, k, n),
        "umap_x": place[:, 0].astype(np.float32),
        "umap_y": place[:, 1].astype(np.float32),
        "pca_x": (place @ [0.8, -0.6]).astype(np.float32),
        "pca_y": (place @ [0.6, 0.8]).astype(np.float32),
    }
    return Table(columns), label, correct


def _classes(
    rng: np.random.Generator, names: tuple[str, ...], label: Any, correct: Any, samples: Table
) -> Table:
    k = len(names)
    count = np.bincount(label, minlength=k)
    accuracy = np.bincount(label, correct, minlength=k) / np.maximum(count, 1)
    variance = rng.normal(0.39, 0.05, k)
    variance[-1] = np.nan
    columns = {
        "class": np.array(names, dtype=object),
        "n": count,
        "accuracy": np.where(count > 0, accuracy, np.nan),
        "intra_class_variance": variance,
        "nearest_class": np.array(names, dtype=object)[(np.arange(k) + 1) % k],
        "nearest_distance": rng.normal(0.7, 0.1, k),
        "nearest_center_error": np.clip(1.1 * (1 - accuracy), 0, 1),
        "knn_purity": np.clip(accuracy - 0.08, 0, 1),
        "mean_q_score": rng.normal(0.127, 0.01, k),
        "mean_risk": 0.2 + 0.3 * (1 - accuracy),
    }
    return Table(columns)


def _pairs(rng: np.random.Generator, names: tuple[str, ...]) -> Table:
    """Each class with the next ones, the closest pair first, as `pair_columns` has them."""
    k = len(names)
    a, b = np.divmod(
        np.unique([min(i, j) * k + max(i, j) for i in range(k) for j in range(i + 1, min(k, i + 4))]), k
    )
    distance = np.sort(rng.gamma(20, 0.03, a.size))
    name = np.array(names, dtype=object)
    nearer = np.clip(0.5 - 0.6 * distance[:, None] + rng.normal(0, 0.02, (a.size, 2)), 0, 1)
    return Table(
        {
            "class_a": name[a],
            "class_b": name[b],
            "distance": distance,
            "cdnv": 0.2 / distance**2,
            "directional_cdnv": 0.03 / distance**2,
            "confused_ab": 0.8 * nearer[:, 0],
            "confused_ba": 0.8 * nearer[:, 1],
            "nearer_ab": nearer[:, 0],
            "nearer_ba": nearer[:, 1],
        }
    )


def _clusters(rng: np.random.Generator, names: tuple[str, ...], labelled: bool) -> Table:
    k = len(names)
    jaccard = rng.uniform(0.35, 0.95, k)
    columns: dict[str, Any] = {
        "cluster": np.arange(k),
        "n": rng.integers(20, 300, k),
        "jaccard": jaccard,
        "category": np.where(
            jaccard >= 0.85, "highly stable", np.where(jaccard >= 0.6, "a pattern", "dissolved")
        ),
        "prediction_strength": np.where(jaccard > 0.4, jaccard - 0.1, np.nan),
        "silhouette": rng.normal(0.13, 0.05, k),
        "flip_rate": rng.uniform(0.05, 0.5, k),
    }
    if labelled:
        columns |= {"majority_class": np.array(names, dtype=object), "purity": rng.uniform(0.3, 0.95, k)}
    return Table(columns)


def _verdicts(labelled: bool) -> tuple[Verdict, ...]:
    good, watch, poor, unknown = Level.GOOD, Level.WATCH, Level.POOR, Level.UNDETERMINED
    stable = "Clusters agree between seeds: 63 % of the way from chance to perfect."
    lost = "In 2 of 10 classes most samples lie nearer to another class's center."
    spectrum = "37 % of 512 possible dimensions are in use (RankMe 187.4)."
    if not labelled:
        return (
            Verdict("probes", unknown, "No rule applies: the data set has no labels."),
            Verdict("stability", good, stable, (Finding("seed", good, stable),)),
            Verdict("spectrum", good, spectrum, (Finding("rank", good, spectrum),)),
        )
    probe = "A linear probe gets 87 % right, 86 % of the way from chance."
    centers = "Samples lie nearest to their own class's center: 82 % of the way from chance to no error."
    risk = "The risk column finds the errors with an AUROC of 0.51 [0.48, 0.54]."
    return (
        Verdict("probes", good, probe, (Finding("probe", good, probe),)),
        Verdict(
            "crowding", watch, lost, (Finding("centers", good, centers), Finding("every class", watch, lost))
        ),
        Verdict("stability", good, stable, (Finding("seed", good, stable),)),
        Verdict("features", unknown, "No rule applies: the metrics that the rules need were not measured."),
        Verdict("risk", poor, risk, (Finding("risk", poor, risk),)),
        Verdict("spectrum", good, spectrum, (Finding("rank", good, spectrum),)),
    )


MOVING = ("inter_class_distance", "cdnv", "knn_purity", "rankme", "alpha_req")


def _by_size(name: str, value: float, n: int) -> tuple[SizePoint, ...]:
    if name not in MOVING:
        return ()
    return (SizePoint(n // 4, 0.8 * value, 4), SizePoint(n // 2, 0.93 * value, 2))


def _features(rng: np.random.Generator, d: int) -> Table:
    frequency = 20 * rng.beta(0.7, 4, d)
    low, high = np.percentile(frequency, [50, 95])
    return Table(
        {
            "feature": np.arange(d),
            "activation_frequency": frequency,
            "in_s": (frequency >= low) & (frequency <= high),
            "mean": rng.gamma(2, 0.2, d),
            "std": rng.gamma(2, 0.1, d),
            "active_share": rng.random(d),
        }
    )


def _risk(labelled: bool) -> dict[str, Any]:
    if labelled:
        return {
            "score": "neighborhood_consistency",
            "title": "Neighborhood consistency",
            "validated": True,
            "auroc": 0.7387,
            "low": 0.7251,
            "high": 0.7519,
            "explanation": "Of eight label-free scores it told correct from misclassified images best, chosen "
            "on one half of the images and measured on the other.",
            "fold_choices": {"neighborhood_consistency": 5},
        }
    return {
        "score": "knn_distance",
        "title": "kNN distance (density)",
        "validated": False,
        "auroc": None,
        "low": None,
        "high": None,
        "explanation": "Without labels nothing could be checked; this score is the usual best on other data.",
        "fold_choices": {},
    }


def _thumbnails(
    rng: np.random.Generator, samples: Table, count: int, shown: list[str]
) -> Mapping[str, bytes]:
    """Pictures of the riskiest, and (unless there are to be none) of all that the galleries show."""
    if not count:
        return {}
    worst = np.argsort(-samples.columns["risk"], kind="stable")[:count]
    ids = dict.fromkeys([*(str(samples.columns["id"][row]) for row in worst), *shown])
    return {name: picture(rng) for name in ids}


def _measurement(
    row: tuple[Any, ...], rng: np.random.Generator, k: int, labelled: bool, n: int
) -> Measurement:
    name, family, title, meaning, unit, direction, status, low, high, value, null, needs, headline = row
    wanted = {"labels": Need.LABELS, "images": Need.IMAGES, "nonnegative": Need.NONNEGATIVE}
    spec = MetricSpec(
        name=name,
        family=family,
        title=title,
        meaning=meaning,
        formula=f"{name} = 1/N * sum_i f(h_i, y_i) with h_i in R^D",
        source="Kalibhat et al., AAAI 2024, eq. 1" if status is P else "repdiag",
        status=status,
        direction=direction,
        low=low,
        high=high,
        unit=unit,
        needs=frozenset(wanted[need] for need in needs.split()),
        laws=frozenset(),
        cost="O(N D)",
        headline=headline,
        by_size=name in MOVING,
    )
    if value is None or (not labelled and "labels" in needs):
        what = "augmented views of the images" if value is None else "labels"
        return Measurement(spec, Skipped(f"needs {what}, and this run has none"), 0.0)
    width = 0.015 * abs(value)
    per_class = rng.random(k) if family == "crowding" else None
    result = MetricResult(
        value=value,
        interval=None
        if unit == "features"
        else Interval(value - width, value + 0.9 * width, "bootstrap over samples", 1000),
        null=None if null is None else Null("labels permuted", null, 0.004 + 0.02 * null, 50),
        per_class=per_class,
        table=_table(name),
        parameters={"k": 20, "seed": 0},
        note="One class has fewer than 5 images and is left out." if name == "cdnv" else None,
    )
    return Measurement(spec, result, 0.12, _by_size(name, value, n))


def _table(name: str) -> tuple[Mapping[str, Any], ...]:
    if name == "compression":
        return tuple(
            {
                "kept": kept,
                "features": round(512 * kept),
                "accuracy": 0.8714 - 0.06 * (1 - kept) ** 2,
                "low": 0.8714 - 0.06 * (1 - kept) ** 2 - 0.007,
                "high": 0.8714 - 0.06 * (1 - kept) ** 2 + 0.007,
            }
            | (
                {
                    "random_mean": 0.8714 - 0.14 * (1 - kept) ** 2,
                    "random_std": 0.002 + 0.012 * (1 - kept),
                    "top_variance": 0.8714 - 0.1 * (1 - kept) ** 2,
                    "pca": 0.8714 - 0.02 * (1 - kept) ** 2,
                }
                if kept < 1
                else {}
            )
            for kept in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
        )
    if name == "risk_brier":
        return tuple(
            {
                "predicted": p,
                "observed": p * (1.1 - p),
                "low": 0.8 * p * (1.1 - p),
                "high": 1.3 * p * (1.1 - p),
                "n": 200,
            }
            for p in (0.01, 0.02, 0.035, 0.05, 0.08, 0.11, 0.15, 0.21, 0.3, 0.48)
        )
    if name == "selective_accuracy":
        return tuple(
            {
                "set_aside": share,
                "accuracy": 0.8714 + 0.12 * share**0.5,
                "low": 0.8714 + 0.12 * share**0.5 - 0.012,
                "high": 0.8714 + 0.12 * share**0.5 + 0.011,
                "random": 0.8714,
                "oracle": min(1.0, 0.8714 / (1 - share)),
                "confidence": 0.8714 + 0.16 * share**0.5,
                "q_score": 0.8714 + 0.05 * share**0.5,
            }
            for share in (0.05, 0.1, 0.2, 0.3, 0.5)
        )
    if name == "score_comparison":
        return tuple(
            {
                "score": score,
                "title": title,
                "auroc": auroc,
                "low": auroc - 0.014,
                "high": auroc + 0.013,
                "auprc_error": auroc / 2,
                "auprc_correct": 0.5 + auroc / 2,
                "prevalence_error": 0.1286,
                "n": 2000,
                "labelled": needs_labels,
            }
            for score, title, auroc, needs_labels in SCORES
        )
    return ()
