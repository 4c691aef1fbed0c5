"""One misclassification risk per sample, learned from all label-free scores together.

With labels: in each of five folds two kinds of model stand against each other on the other four, all scores together
and the single best one; the one with the lower log loss there, at the strength of penalty that did best there, answers
for the fold. A sample's own outcome never enters its risk, so the AUROC and the calibration of the risk column are
honest. With labels for some samples only, those teach and the others get the answer of a model learned from all of
them. Without labels: the rank of a default score, said to be unvalidated. All of this is ours; the papers stop at
ranking by Q-Score. Why it is done so: docs/adr/0008.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from repdiag.kernels import calibration, logistic, ranking, resample
from repdiag.kernels.calibration import Bin, Logistic, Monotone, Quantiles
from repdiag.kernels.rows import Doubles, Ints
from repdiag.scores import BY_NAME, SCORES, as_rank
from repdiag.types import BoolArray
from repdiag.workspace import Skip, Workspace

DEFAULT_SCORES = ("knn_density",)
"""What an unlabeled report ranks by. Density needs no view, no ReLU and no k; see docs/adr/0004."""

COMBINED = "combined"
"""What `Risk.score` is called where all scores together won."""

FOLDS = 5
BINS = 10
"""Bins of equal count of the reliability curve and of the expected calibration error."""

STRENGTHS = (1.0, 0.1, 1e-2, 1e-3, 1e-4)
"""L2 penalties that are tried, strongest first; the first leaves little more than the base rate."""

CHOICE_ROWS = 20_000
"""Samples on which models are compared; the chosen ones learn from all."""


@dataclass(frozen=True)
class Calibration:
    """How well cross-fitted risks hold as probabilities. Intervals are percentiles of bootstrap draws of samples.

    `brier` is the mean squared difference to the outcome (0 or 1), `base` that of the other folds' error rate said of
    everyone, `skill` = 1 - brier / base. `ece` is the expected calibration error over `BINS` bins of equal count,
    `bins` the reliability curve over the same.
    """

    brier: float
    brier_interval: tuple[float, float] | None
    base: float
    base_std: float
    skill: float
    skill_interval: tuple[float, float] | None
    ece: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Risk:
    """`values` (N,) in [0, 1]: a calibrated probability when `validated`, else a rank (1 = riskiest).

    `score` is what it rests on (the label-free score that most folds chose, or `COMBINED`), `choices` how many
    folds chose each, `weights` the mean log odds that one standard deviation of each score's rank adds to the risk.
    `auroc` tells how well the column ranks the misclassified above the correct, with its interval. Where some labels
    are missing, all of this is about the labeled samples; `everyone` holds the risk of each sample of
    `Workspace.whole`, for those without a label the mean of what the folds' models say.
    """

    values: Doubles
    score: str
    title: str
    validated: bool
    auroc: float | None
    interval: tuple[float, float] | None
    choices: dict[str, int]
    explanation: str
    calibration: Calibration | None = None
    weights: dict[str, float] = field(default_factory=dict)
    everyone: Doubles | None = None


def candidates(ws: Workspace) -> dict[str, Doubles]:
    """Label-free scores that are defined for every evaluated sample, NaN ranked lowest.

    A score that differs by no more than rounding (norms of rows that came with unit length) is none. Where some labels
    are missing, a score must be defined for everyone.
    """
    if ws.whole is not ws:
        return {name: values[ws.place] for name, values in candidates(ws.whole).items()}
    found = {}
    for score in SCORES:
        if score.labeled:
            continue
        try:
            values = score.values(ws)
        except Skip:
            continue
        known = values[np.isfinite(values)]
        if score.partial and known.size < values.size:
            continue  # only some samples have views: no ranking of all
        alike = known.size == values.size and np.ptp(known) <= 1e-6 * np.abs(known).max()
        if not alike and np.unique(as_rank(values)).size > 1:
            found[score.name] = as_rank(values)
    return found


# ------------------------------------------------------------------------------------------ models


@dataclass(frozen=True)
class _Recipe:
    combined: bool
    l2: float


RECIPES = tuple(_Recipe(combined, l2) for combined in (True, False) for l2 in STRENGTHS)


@dataclass(frozen=True)
class _Model:
    """A logistic regression on the ranks of some scores among the samples learned from."""

    names: tuple[str, ...]
    places: tuple[Quantiles, ...]
    logistic: Logistic
    curve: Monotone | None = None

    def __call__(self, scores: dict[str, Doubles], rows: Ints) -> Doubles:
        return self.answer(self.design(scores, rows))

    def answer(self, design: Doubles) -> Doubles:
        found = self.logistic(design)
        return found if self.curve is None else self.curve(found)

    def design(self, scores: dict[str, Doubles], rows: Ints) -> Doubles:
        return np.column_stack(
            [place(scores[name][rows]) for name, place in zip(self.names, self.places, strict=True)]
        )


def _learn(
    scores: dict[str, Doubles], rows: Ints, wrong: BoolArray, recipes: Sequence[_Recipe]
) -> list[_Model]:
    """The models of `recipes` (of each kind from strong to weak), learned from `rows` with outcomes `wrong`."""
    models: list[_Model] = []
    designs: dict[bool, tuple[_Model, Doubles]] = {}
    for recipe in recipes:
        if recipe.combined not in designs:
            names = tuple(scores)
            if not recipe.combined:
                strength = {name: ranking.auroc(-s[rows], wrong) for name, s in scores.items()}
                names = (max(strength, key=lambda n: strength[n]),)
            blank = Logistic(np.zeros(len(names)), 0.0)
            empty = _Model(names, tuple(Quantiles(scores[name][rows]) for name in names), blank)
            designs[recipe.combined] = empty, empty.design(scores, rows)
        last, x = designs[recipe.combined]
        start = last.logistic if last.logistic.weights.any() else None
        model = replace(last, logistic=calibration.fit_logistic(x, wrong, recipe.l2, start))
        designs[recipe.combined] = model, x
        models.append(model)
    return models


def _inner(scores: dict[str, Doubles], rows: Ints, wrong: BoolArray, part: Ints) -> Doubles:
    """P(wrong) of each of `rows` by each recipe, learned without its own fold and without f: (FOLDS f, recipes, N).

    The model without the folds f and g serves twice, for both. NaN for the samples of f.
    """
    out = np.full((FOLDS, len(RECIPES), rows.size), np.nan)
    for f, g in itertools.combinations(range(FOLDS), 2):
        learn = (part != f) & (part != g)
        models = _learn(scores, rows[learn], wrong[learn], RECIPES)
        for outer, held in ((f, g), (g, f)):
            test = part == held
            designs = {kind: _first(models, kind).design(scores, rows[test]) for kind in (True, False)}
            for r, (recipe, model) in enumerate(zip(RECIPES, models, strict=True)):
                out[outer, r, test] = model.answer(designs[recipe.combined])
    return out


def _first(models: Sequence[_Model], combined: bool) -> _Model:
    """The first of the models of all scores, or of the single best: those of one kind share their design."""
    return models[[recipe.combined for recipe in RECIPES].index(combined)]


def _choose(inner: Doubles, wrong: BoolArray, part: Ints) -> tuple[_Recipe, Monotone | None]:
    """The recipe with the least log loss on `inner` (recipes, N), and perhaps a curve over it.

    The curve is taken where it lowers the log loss, on folds that it was not learned from, by more than one standard
    error of the difference: on few errors it would follow noise.
    """
    best = int(np.argmin([calibration.log_losses(values, wrong).mean() for values in inner]))
    values, bent = inner[best], np.empty(wrong.size)
    for g in np.unique(part):
        test = part == g
        bent[test] = calibration.fit_monotone(values[~test], wrong[~test])(values[test])
    gain = calibration.log_losses(values, wrong) - calibration.log_losses(bent, wrong)
    better = gain.mean() > gain.std() / np.sqrt(gain.size)
    return RECIPES[best], calibration.fit_monotone(values, wrong) if better else None


@dataclass(frozen=True)
class _CrossFitted:
    values: Doubles  # (N,) out of fold
    models: tuple[_Model, ...]  # one per fold
    part: Ints  # (N,) the fold of each sample
    curves: int  # folds in which a curve was laid over the model


def _answer_everyone(ws: Workspace, fitted: _CrossFitted) -> Doubles | None:
    """The out-of-fold risk of the labeled and the mean over the folds' models for the others; None without others."""
    if ws.whole is ws:
        return None
    scores = candidates(ws.whole)
    everyone = np.mean([model(scores, np.arange(len(ws.whole))) for model in fitted.models], axis=0)
    everyone[ws.place] = fitted.values
    return np.asarray(everyone)


def _cross_fit(
    scores: dict[str, Doubles], rows: Ints, wrong: BoolArray, rng: np.random.Generator
) -> _CrossFitted:
    """Out-of-fold P(wrong) of each of `rows`; errors and correct ones are dealt out evenly to the folds."""
    part = np.empty(rows.size, np.int64)
    some = np.zeros(rows.size, bool)
    for outcome in (wrong, ~wrong):
        members = rng.permutation(np.flatnonzero(outcome))
        part[members] = np.arange(members.size) % FOLDS
        share = min(1.0, CHOICE_ROWS / rows.size)
        some[members[: max(2 * FOLDS, round(share * members.size))]] = True
    inner = _inner(scores, rows[some], wrong[some], part[some])
    values, models, curves = np.empty(rows.size), [], 0
    for fold in range(FOLDS):
        learn, answer = part != fold, part == fold
        among = part[some] != fold
        recipe, curve = _choose(inner[fold][:, among], wrong[some][among], part[some][among])
        (model,) = _learn(scores, rows[learn], wrong[learn], [recipe])
        model = replace(model, curve=curve)
        values[answer] = model(scores, rows[answer])
        models.append(model)
        curves += curve is not None
    return _CrossFitted(values, tuple(models), part, curves)


def judge(values: Doubles, wrong: BoolArray, base: Doubles, draws: resample.Counts) -> Calibration:
    """How well the probabilities `values` (N,) hold, beside a base rate `base` (N,) learned elsewhere."""
    error, plain = (values - wrong) ** 2, (base - wrong) ** 2
    errors, plains = resample.weighted_means(error, draws), resample.weighted_means(plain, draws)
    return Calibration(
        float(error.mean()),
        resample.percentile_interval(errors),
        float(plain.mean()),
        float(plains.std(ddof=1)),
        float(1 - error.mean() / plain.mean()),
        resample.percentile_interval(1 - errors / plains),
        calibration.calibration_error(calibration.equal_bins(values, BINS), values - wrong),
        calibration.reliability(values, wrong, BINS),
    )


# ------------------------------------------------------------------------------------------ the column


def _unvalidated(ws: Workspace, found: dict[str, Doubles], why: str) -> Risk:
    from scipy.stats import rankdata

    name = next((n for n in DEFAULT_SCORES if n in found), next(iter(found)))
    quality = candidates(ws.whole)[name] if ws.whole is not ws else found[name]
    rank = (rankdata(-quality) - 0.5) / quality.size
    title = BY_NAME[name].title
    partial = ws.whole is not ws
    return Risk(
        rank[ws.place] if partial else rank,
        name,
        title,
        False,
        None,
        None,
        {},
        f"{why[:1].upper()}{why[1:]}: the column is the rank by '{title}', not a probability.",
        everyone=rank if partial else None,
    )


def assess(ws: Workspace) -> Risk:
    """The risk of each evaluated sample; raises Skip when no score can be computed at all."""
    return ws.once("risk", lambda: _assess(ws))


def _assess(ws: Workspace) -> Risk:
    if len(ws) < 4:
        raise Skip(f"only {len(ws)} samples")
    found = candidates(ws)
    if not found:
        raise Skip("no label-free score is defined here (all embeddings are alike)")
    if not ws.labeled:
        return _unvalidated(ws, found, "there are no labels to test it against")
    try:
        wrong = ~ws.probe.correct
    except Skip as skip:
        return _unvalidated(ws, found, skip.reason)
    if min(wrong.sum(), (~wrong).sum()) < 2 * FOLDS:
        return _unvalidated(
            ws, found, f"the probe has {wrong.sum()} errors in {wrong.size} samples, too few to calibrate on"
        )
    fitted = _cross_fit(found, np.arange(len(ws)), wrong, ws.rng(5))
    rank = ranking.Ranking(fitted.values, wrong)
    ends = resample.percentile_interval(rank.resample(ws.draws)[:, 0])
    rates = np.array([wrong[fitted.part != fold].mean() for fold in range(FOLDS)])
    choices = dict(Counter(_name(model, len(found)) for model in fitted.models).most_common())
    name = next(iter(choices))
    title = BY_NAME[name].title if name != COMBINED else f"{len(found)} label-free scores together"
    return Risk(
        fitted.values,
        name,
        title,
        True,
        rank.auroc(),
        ends,
        choices,
        _explanation(name, choices, ends),
        judge(fitted.values, wrong, rates[fitted.part], ws.draws),
        _weights(fitted.models),
        _answer_everyone(ws, fitted),
    )


def _name(model: _Model, candidates: int) -> str:
    return model.names[0] if len(model.names) == 1 or candidates == 1 else COMBINED


def _explanation(name: str, choices: dict[str, int], ends: tuple[float, float] | None) -> str:
    if ends is not None and ends[0] <= 0.5:
        return (
            "Neither a label-free score nor all of them together predict the errors better than chance here; "
            "do not rely on it."
        )
    of = f"in {choices[name]} of {FOLDS} folds"
    if name == COMBINED:
        return f"All scores together did better than the single best {of}, and are calibrated on the others."
    return f"It did better alone than all scores together {of}, and is calibrated on the others."


def _weights(models: Sequence[_Model]) -> dict[str, float]:
    """Mean over the folds of the weight of each score, 0 where a fold does without it; the strongest first."""
    total: Counter[str] = Counter()
    for model in models:
        for name, weight in zip(model.names, model.logistic.weights, strict=True):
            total[name] += float(weight) / len(models)  # type: ignore[assignment]
    return dict(sorted(total.items(), key=lambda item: -abs(item[1])))


def answers(ws: Workspace) -> Doubles:
    """The probe's probabilities for everyone, rows as in `Workspace.whole` (N, K); raises Skip.

    The labeled have their out-of-fold answers, the others those of one probe that learned from all labeled reference
    samples.
    """
    if ws.whole is ws:
        return ws.probe.probabilities
    others = np.ones(len(ws.whole), bool)
    others[ws.place] = False
    model = logistic.fit(ws.reference_space, ws.reference_labels, ws.k, ws.probe.l2, device=ws.device)
    out = np.empty((others.size, ws.k))
    out[others] = model.probabilities(ws.whole.space[others])
    out[ws.place] = ws.probe.probabilities
    return out
