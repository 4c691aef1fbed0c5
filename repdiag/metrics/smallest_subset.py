"""The smallest set of features that a linear probe would hardly miss the others beside. (science section 1)"""

from __future__ import annotations

import numpy as np

from repdiag.kernels import resample
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._curves import RANDOM, Curves, circumstances, curves, ends, note
from repdiag.metrics.features import keep, nested_features
from repdiag.scores import KALIBHAT
from repdiag.types import (
    BoolArray,
    Direction,
    IntArray,
    Interval,
    Law,
    MetricResult,
    MetricSpec,
    Need,
    Null,
    Row,
    Status,
)
from repdiag.workspace import Workspace

TOLERANCE = 0.01


def _accuracies(found: Curves, path: str, part: BoolArray, draws: resample.Counts | None) -> Doubles:
    """Accuracy of each share of a path, the full set first, on `part` of the held-out rows: (B, shares)."""
    columns = [found.full, *(found.correct[path, kept] for kept in list(found.sizes)[1:])]
    right = np.stack([c[part] for c in columns], axis=1)
    if draws is None:
        return np.asarray(right.mean(0, keepdims=True), np.float64)
    weights = draws[:, part].astype(np.float64)
    total = weights.sum(1, keepdims=True)
    means: Doubles = weights @ right / np.where(total > 0, total, np.nan)
    return means


def _choice(accuracy: Doubles) -> IntArray:
    """The last (smallest) set of each row (B, shares) that is within the tolerance of the first, the full one."""
    within = accuracy >= accuracy[:, :1] - TOLERANCE - 1e-12
    within[:, 0] = True
    return np.asarray(within.shape[1] - 1 - within[:, ::-1].argmax(1), np.int64)


def _candidates(
    found: Curves, path: str, name: str, choosing: BoolArray, at: int, draws: resample.Counts
) -> list[dict[str, float | int | str | bool | None]]:
    """The rows of the table for one path: every set, its accuracy on both parts, and which was chosen."""
    reporting = ~choosing
    right = [found.full if i == 0 else found.correct[path, kept] for i, kept in enumerate(found.sizes)]
    loss = [(found.full - r)[reporting] for r in right]
    limits = ends([*(r[reporting] for r in right), *loss], draws[:, reporting])
    table: list[dict[str, float | int | str | bool | None]] = []
    for i, kept in enumerate(found.sizes):
        (low, high), (loss_low, loss_high) = limits[i], limits[i + len(right)]
        table.append(
            {
                "method": name,
                "kept": kept,
                "features": (found.pca_sizes if path == "pca" and i else found.sizes)[kept],
                "accuracy_choosing": float(right[i][choosing].mean()),
                "accuracy": float(right[i][reporting].mean()),
                "low": low,
                "high": high,
                "loss": float(loss[i].mean()),
                "loss_low": loss_low,
                "loss_high": loss_high,
                "chosen": i == at,
            }
        )
    return table


@metric(
    MetricSpec(
        name="smallest_subset",
        family="features",
        title="Smallest share of features within 1 point",
        meaning="high: hardly any feature can go without losing accuracy; low: a few features carry all that is linear",
        formula="smallest share of nested features with probe accuracy >= full - 0.01, on half of the held-out rows",
        source=f"ours, after {KALIBHAT}, Fig. 2",
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="share",
        needs=frozenset({Need.LABELS}),
        laws=frozenset({Law.PERMUTATION, Law.SCALE}),
        cost="none beyond `compression`: the same probes",
    ),
    rows=Rows.GIVEN,
)
def smallest_subset(ws: Workspace) -> MetricResult:
    """Smallest share of features whose probe is within one point of the full accuracy: lower is better.

    Formula: min {s : acc_A(s) >= acc_A(1) - 0.01} over the nested sets of `compression` (1, 0.8, ..., 0.05), acc_A on a
    random half A of the held-out rows. The chosen set's accuracy is then told from the other half, for choosing
    the smallest that looks good on some rows flatters it on those. 1 when no smaller set will do.

    Table: the same for the features of largest variance and for PCA (as many components), every candidate with its
    accuracy on both halves and its loss against all features (paired) with interval. The chosen nested features are
    `kept` in features.csv and the rows of kept_features.csv, which `repdiag export --features` takes.

    Null: the same choice among each of four random paths. Interval: percentile bootstrap of the whole choice over A
    (probes fixed); the value moves in steps, so it can be wide. Shapes, rows, caps, skips, invariances: those of
    `compression`. In (0, 1]. All of this is ours.

    It misleads where accuracy is near chance: then every subset is "as good". The table shows a full accuracy that
    is no better than the null of `linear_probe_accuracy`.
    Example: accuracies 0.90, 0.90, 0.895, 0.86 at shares 1, 0.8, 0.6, 0.4 give 0.6.
    """
    found = curves(ws)
    kept = list(found.sizes)
    choosing = np.zeros(found.test.size, bool)
    choosing[ws.rng(13).permutation(found.test.size)[: found.test.size // 2]] = True
    draws = ws.draws[:, found.test]
    chosen = {
        path: int(_choice(_accuracies(found, path, choosing, None))[0])
        for path in ("both", "variance", "pca", *RANDOM)
    }
    table: list[Row] = []
    for path, name in (("both", "nested"), ("variance", "top variance"), ("pca", "pca")):
        table += _candidates(found, path, name, choosing, chosen[path], draws)
    replicates = np.array(kept)[_choice(_accuracies(found, "both", choosing, draws))]
    limits = resample.percentile_interval(replicates)
    random = np.array([kept[chosen[name]] for name in RANDOM])
    share = kept[chosen["both"]]
    keep(ws, nested_features(ws, share))
    ours = next(row for row in table if row["chosen"])
    said = (
        f"{ours['features']} of {ws.dim} features: accuracy {ours['accuracy']:.3f} on held-out rows that took no"
        f" part in the choice, {float(found.full[~choosing].mean()):.3f} with all."
    )
    return MetricResult(
        share,
        None if limits is None else Interval(*limits, "bootstrap of the choice", len(draws)),
        Null("random features", *resample.summary(random), len(random)),
        table=tuple(table),
        parameters={
            **circumstances(ws, found),
            "tolerance": TOLERANCE,
            "features": found.sizes[share],
            "of": ws.dim,
            "choosing_rows": int(choosing.sum()),
            "share_top_variance": kept[chosen["variance"]],
            "share_pca": kept[chosen["pca"]],
        },
        note=note(ws, found, said),
    )
