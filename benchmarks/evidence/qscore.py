"""Does Q-Score tell which samples a linear probe gets wrong, do others do it better, and why not?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from benchmarks.evidence.ranks import spearman
from benchmarks.evidence.reading import (
    Answer,
    Claim,
    Evidence,
    Found,
    Page,
    fixed,
    fixed_span,
    listed,
    percent,
    table,
)
from repdiag.scores import SCORES

PROBE, Q = "linear_probe_accuracy", "q_score"
QUESTION = (
    "Kalibhat et al. rank images by Q-Score and find that a linear probe gets those with a high one "
    "right more often: "
    "AUROC 0.62 to 0.73 on ImageNet-100 (ResNet-50). Here Q-Score and every other per-sample score "
    "stand the same trial."
)
Row = Mapping[str, Any]
MEASURES = {
    "auroc": "AUROC",
    "auprc_correct": "AUPRC, correct positive",
    "auprc_error": "AUPRC, errors positive",
}


def scores_of(found: Found) -> dict[str, Row]:
    """The judged scores of one run by name."""
    return {row["score"]: row for row in found.scores}


def page(evidence: Evidence) -> Page:
    """qscore.md."""
    runs = [f for f in evidence.found if f.scores]
    body = [_how(), "## Q-Score\n", _q_table(runs), _q_reading(runs)]
    body += ["## Against every other score\n", _against_table(runs), _against_reading(runs)]
    if any(f.variants for f in runs):
        body += ["## Why is it near chance?\n", _why(evidence, runs)]
    for images in evidence.images:
        some = [f for f in runs if f.run.images.key == images.key]
        if some:
            body += [f"## Every score, {images.title}\n", *_all_scores(some)]
    return Page("qscore.md", "Q-Score as a predictor of errors", QUESTION, "\n".join(body), _claims(runs))


def _how() -> str:
    return """## How to read it

Correct and incorrect are the answers of a linear probe on held-out images. AUROC is 0.5 by chance. The chance
level of
AUPRC is the share of its positives: the probe's accuracy where correct is positive (the paper's, by
inference), its error
rate where errors are. Where no discriminative feature stands out, Q-Score is undefined; such samples are
ranked lowest,
and *empty* is their share. Brackets are 95 % bootstrap intervals over images. The probe's own confidence needs
labels: it
is the ceiling, no rival.
"""


def _accuracy(found: Found) -> float | None:
    return found.value(PROBE)


def _q_table(runs: Sequence[Found]) -> str:
    heads = [
        "encoder",
        "images",
        "D",
        "probe",
        "empty",
        "AUROC",
        "AUPRC, correct",
        "chance",
        "AUPRC, errors",
        "chance",
    ]
    rows = []
    for f in runs:
        q, accuracy = scores_of(f).get(Q), _accuracy(f)
        cells: list[object] = [f.encoder.title, f.run.images.title, f.report["dataset"]["features"]]
        cells += [percent(accuracy), percent(f.value("qscore_empty_rate"))]
        if q is None or accuracy is None:
            signed = "signed" in f.skipped.get("qscore_auroc", "")
            cells += ["out of scope" if signed else "undefined", "-", "-", "-", "-"]
        else:
            cells += [fixed_span(q["auroc"]), fixed_span(q["auprc_correct"]), fixed(accuracy)]
            cells += [fixed_span(q["auprc_error"]), fixed(1 - accuracy)]
        rows.append(cells)
    return table(heads, rows, left=2)


def _q_reading(runs: Sequence[Found]) -> str:
    judged = [(f, scores_of(f)[Q]["auroc"]) for f in runs if Q in scores_of(f)]
    if not judged:
        return "Q-Score is undefined on every encoder.\n"
    above = sum(a[1] > 0.5 for _, a in judged)
    below = sum(a[2] < 0.5 for _, a in judged)
    values = [a[0] for _, a in judged]
    empty = [f.value("qscore_empty_rate") for f, _ in judged]
    some = sum(e is not None and e > 0.5 for e in empty)
    return (
        f"Of {len(runs)} runs Q-Score is defined on {len(judged)}, with AUROC from {min(values):.2f} to "
        f"{max(values):.2f}: "
        f"better than chance on {above}, worse than chance on {below}, not told from it on "
        f"{len(judged) - above - below}. "
        f"On {some} of them more than half of the images have no Q-Score. {_correlation(judged)}\n"
    )


def _correlation(judged: Sequence[tuple[Found, Sequence[float]]]) -> str:
    known = [(f, a) for f, a in judged if PROBE in f.answers]
    rank = spearman([f.answers[PROBE] for f, _ in known], [Answer(a[0], a[1], a[2]) for _, a in known])
    if rank is None:
        return "They are too few to relate AUROC to accuracy."
    said = "grows with" if rank.sign > 0 else "falls with" if rank.sign < 0 else "has no clear relation to"
    return (
        f"Over them its AUROC {said} the probe's accuracy: Spearman's rho {fixed(rank.rho)} "
        f"[{fixed(rank.low)}, {fixed(rank.high)}], p = {fixed(rank.p, 3)}. (Runs on the same images are "
        f"not independent.)"
    )


def _names(runs: Iterable[Found]) -> dict[str, str]:
    titles = {name: row["title"] for f in runs for name, row in scores_of(f).items()}
    return {score.name: titles[score.name] for score in SCORES if score.name in titles}


def _against_table(runs: Sequence[Found]) -> str:
    rows = []
    for name, title in _names(runs).items():
        judged = [scores_of(f)[name] for f in runs if name in scores_of(f)]
        values = [row["auroc"][0] for row in judged]
        gaps = [row["over_q"] for row in judged if "over_q" in row]
        best = sum(_best(f) == name for f in runs)
        needs = " (needs labels)" if judged[0]["labeled"] else ""
        cells: list[object] = [title + needs, len(judged), fixed(sum(values) / len(values))]
        cells += [f"{min(values):.2f} to {max(values):.2f}"]
        cells += [sum(row["auroc"][1] > 0.5 for row in judged), sum(row["auroc"][2] < 0.5 for row in judged)]
        cells += [
            f"{sum(g[1] > 0 for g in gaps)} of {len(gaps)}",
            f"{sum(g[2] < 0 for g in gaps)} of {len(gaps)}",
        ]
        rows.append([*cells, "" if judged[0]["labeled"] else best])
    rows.sort(key=lambda row: -float(str(row[2])))
    heads = (
        "score",
        "runs",
        "mean AUROC",
        "range",
        "above chance",
        "below chance",
        "better than Q",
        "worse than Q",
    )
    return table((*heads, "best label-free"), rows)


def _best(found: Found) -> str | None:
    """The label-free score with the largest AUROC."""
    free = {name: row["auroc"][0] for name, row in scores_of(found).items() if not row["labeled"]}
    return max(free, key=lambda name: free[name]) if free else None


def _against_reading(runs: Sequence[Found]) -> str:
    wins: dict[str, int] = {}
    for f in runs:
        if best := _best(f):
            wins[best] = wins.get(best, 0) + 1
    titles = _names(runs)
    order = sorted(wins, key=lambda name: -wins[name])
    said = listed([f"{titles[name].lower()} ({wins[name]})" for name in order])
    ceiling = [scores_of(f)["confidence"]["auroc"][0] for f in runs if "confidence" in scores_of(f)]
    top = f" The probe's own confidence reaches {min(ceiling):.2f} to {max(ceiling):.2f}." if ceiling else ""
    return (
        f"The best label-free score of each run (and on how many runs it is best): {said}. A best of "
        f"several flatters "
        f"itself; the paired columns against Q-Score do not.{top}\n"
    )


# ------------------------------------------------------------------------------------ why


def _why(evidence: Evidence, runs: Sequence[Found]) -> str:
    parts = []
    for images in evidence.images:
        some = [f for f in runs if f.variants and f.run.images.key == images.key]
        if some:
            parts += [f"### Variants, {images.title}\n", _variants(some)]
    return "\n".join([_why_reading([f for f in runs if f.variants]), *parts])


def _key(row: Row) -> tuple[str, float, float]:
    return row["features"], row["eps"], row["lower"]


def _cells(found: Found) -> dict[tuple[str, float, float], Row]:
    return {_key(row): row for row in found.variants}


def _variants(runs: Sequence[Found]) -> str:
    heads = ["features", "eps", "S"]
    for f in runs:
        heads += [f.encoder.title, "empty"]
    rows = []
    for key in _cells(runs[0]):
        features, eps, lower = key
        cells: list[object] = [features, f"{eps:g}", "50 to 95" if lower else "all"]
        for f in runs:
            row = _cells(f).get(key)
            cells += ["-", "-"] if row is None else [_ends(row["auroc"]), percent(row["empty"])]
        rows.append(cells)
    dims = {row["features"]: row["dim"] for f in runs for row in f.variants}
    said = ", ".join(f"{dim} {features}" for features, dim in dims.items())
    accuracies = "; ".join(
        f"{f.encoder.title}: "
        + ", ".join(percent(a) for a in dict.fromkeys(r["accuracy"] for r in f.variants))
        for f in runs
    )
    return f"Features: {said}. Accuracy of the probe on each kind: {accuracies}.\n\n" + table(
        heads, rows, left=3
    )


def _ends(found: Sequence[float] | None) -> str:
    return "undefined" if found is None else fixed_span(found)


def _mean(rows: Iterable[Row], key: str = "auroc") -> float | None:
    values = [row[key][0] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def _why_reading(runs: Sequence[Found]) -> str:
    """The four suspects, each with its numbers."""
    every = [row for f in runs for row in f.variants]
    given, averaged = [*dict.fromkeys(r["features"] for r in every), ""][:2]

    def mean(features: str, eps: float, lower: float, key: str = "auroc") -> float | None:
        return _mean((r for r in every if _key(r) == (features, eps, lower)), key)

    def empties(features: str, eps: float) -> str:
        rows = [r["empty"] for r in every if _key(r) == (features, eps, 50.0)]
        return percent(sum(rows) / len(rows)) if rows else "-"

    steps = sorted({r["eps"] for r in every})
    by_eps = ", ".join(f"{fixed(mean(given, eps, 50.0))} at {eps:g}" for eps in steps)
    text = (
        f"Over {len(runs)} runs ({listed(list(dict.fromkeys(f.encoder.title for f in runs)))}), mean "
        f"AUROC of Q-Score:\n\n"
        f"- *eps too high?* {by_eps}. Without a Q-Score are {empties(given, 4.0)} of the images at 4 and "
        f"{empties(given, 1.0)} at 1.\n"
        f"- *Images without a Q-Score, ranked lowest?* Among those that have one it is "
        f"{fixed(mean(given, 4.0, 50.0, 'auroc_defined'))}, among all {fixed(mean(given, 4.0, 50.0))} (eps 4).\n"
        f"- *The limits of S?* With all features {fixed(mean(given, 4.0, 0.0))} at eps 4 and "
        f"{fixed(mean(given, 2.0, 0.0))} at eps 2, against {fixed(mean(given, 4.0, 50.0))} and "
        f"{fixed(mean(given, 2.0, 50.0))} with S from 50 to 95 %.\n"
    )
    if averaged:
        pooled = ", ".join(f"{fixed(mean(averaged, eps, 50.0))} at {eps:g}" for eps in steps)
        text += (
            f"- *Flattened maps instead of pooled ones?* Averaged over the image: {pooled}; at eps 4 "
            f"{empties(averaged, 4.0)} of the images are then without a Q-Score.\n"
        )
    best = [max((r["auroc"][0] for r in f.variants if r["auroc"]), default=None) for f in runs]
    rivals = [_rival(f) for f in runs]
    won = sum(b is not None and r is not None and r > b for b, r in zip(best, rivals, strict=True))
    top = max((b for b in best if b is not None), default=None)
    return text + (
        f"- *Whichever variant is best on each run*, chosen after the fact: at most {fixed(top)}. The closeness to "
        f"neighbors, chosen before, is above that best variant on {won} of {len(runs)} runs.\n"
    )


def _rival(found: Found) -> float | None:
    row = scores_of(found).get("knn_density")
    return row["auroc"][0] if row else None


# ------------------------------------------------------------------------------------ everything


def _all_scores(runs: Sequence[Found]) -> list[str]:
    names = _names(runs)
    parts = []
    for measure, said in MEASURES.items():
        rows = []
        for f in runs:
            found = scores_of(f)
            cells = [fixed_span(found[name][measure]) if name in found else "-" for name in names]
            rows.append([f.encoder.title, *cells])
        parts.append(f"### {said}\n\n" + table(("encoder", *names.values()), rows))
    partial = {row["n"] for f in runs for row in f.scores}
    few, many = min(partial), max(partial)
    if few < many:
        parts.append(
            f"Scores that need augmented views are judged on the {few:,} of {many:,} images that have them.\n"
        )
    return parts


def _claims(runs: Sequence[Found]) -> tuple[Claim, ...]:
    judged = [scores_of(f)[Q] for f in runs if Q in scores_of(f)]
    if not judged:
        return ()
    values = [row["auroc"][0] for row in judged]
    inside = sum(row["auroc"][2] >= 0.62 for row in judged)
    word: Literal["agrees", "disagrees", "mixed"] = (
        "agrees" if inside > 0.75 * len(judged) else "disagrees" if inside < 0.25 * len(judged) else "mixed"
    )
    gaps = [
        scores_of(f)["knn_density"]["over_q"] for f in runs if "over_q" in scores_of(f).get("knn_density", {})
    ]
    sentence = (
        f"Here AUROC is {min(values):.2f} to {max(values):.2f} on {len(judged)} runs, and 0.62 is within "
        f"reach of its "
        f"interval on {inside}. Closeness to neighbors is told to be better on {sum(g[1] > 0 for g in gaps)} of "
        f"{len(gaps)}, worse on {sum(g[2] < 0 for g in gaps)}."
    )
    said = (
        "Images with a high Q-Score are classified correctly more often, AUROC 0.62 to 0.73 (much "
        "larger encoders)."
    )
    return (Claim("Q-Score (Kalibhat et al.)", said, word, sentence),)
