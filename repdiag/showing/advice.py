"""The three things to do next, from stated rules. All of them are conventions of ours.

A rule looks at what the report's own verdicts and intervals say, gives the numbers as its reason, and promises
nothing: what we measured ourselves speaks against most promises (docs/evidence). No regularizer of `repdiag finetune`
beat its control, so further training is advised with the control as the judge; of the label-free metrics only three
ranked our encoders as they declare; Q-Score hardly told errors from chance, and a report that finds so says it.

RULES is the table of them, the most urgent first: what every other number depends on, then what is missing to
judge, then what is wrong, then what can be used.

Commands are for a POSIX shell. REPORT stands for the folder of the report. They name the model and the data; options
that the run was given besides (`--arch`, `--label-column`, ...) must be given again, for a report does not hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repdiag.exhibits import Advice
from repdiag.showing import advice_findings as findings
from repdiag.showing import advice_setup as setup
from repdiag.showing.advice_facts import Facts, gathered
from repdiag.types import Measurement, Table, Verdict

# Adding a rule is a function and its line in RULES.
MOST = 3
"""More than three things to do are none."""


@dataclass(frozen=True)
class AdviceRule:
    """One rule: its name, when it fires, and the function that says so. Of each `kind` at most one is given."""

    name: str
    kind: str
    when: str
    apply: Callable[[Facts], Advice | None]


def advise(
    found: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    *,
    encoder: Mapping[str, Any],
    dataset: Mapping[str, Any],
    warnings: Sequence[str],
    pairs: Table,
    risk: Mapping[str, Any],
    classes: Table | None = None,
) -> tuple[Advice, ...]:
    """At most three things to do next, the most useful first; none where no rule fires.

    The arguments are the fields of a `Report`. `classes` (columns `class` and `n`) tells how many samples speak for a
    crowded pair; without it classes count as equally large.
    """
    facts = gathered(
        found,
        verdicts,
        encoder=encoder,
        dataset=dataset,
        warnings=warnings,
        pairs=pairs,
        classes=Table({}) if classes is None else classes,
        risk=risk,
    )
    given: list[Advice] = []
    kinds: set[str] = set()
    for rule in RULES:
        advice = None if rule.kind in kinds else rule.apply(facts)
        if advice is not None:
            given.append(advice)
            kinds.add(rule.kind)
        if len(given) == MOST:
            break
    return tuple(given)


RULES: tuple[AdviceRule, ...] = (
    AdviceRule(
        setup.UNTRAINED,
        "model",
        "the encoder was named without a checkpoint, so that its weights are random",
        setup.untrained,
    ),
    AdviceRule(
        setup.PREPROCESSING,
        "model",
        "the checkpoint does not tell how images were normalized, and the user did not say it either",
        setup.preprocessing,
    ),
    AdviceRule(
        setup.CHANCE,
        "model",
        "the linear probe is judged poor and its interval reaches down to chance",
        setup.chance,
    ),
    AdviceRule(
        setup.LABELS,
        "data",
        "no labels, or none that are used, so that labeled measures are skipped",
        setup.labels,
    ),
    AdviceRule(
        setup.COPIES,
        "review",
        "at least 1% of the embeddings are exact copies of another",
        setup.copies,
    ),
    AdviceRule(
        setup.COLLAPSE,
        "space",
        "the verdict on RankMe is poor: less than 5% of the possible dimensions are in use, or fewer than 2",
        setup.collapse,
    ),
    AdviceRule(
        setup.SAMPLES,
        "data",
        "the probe's 95% interval is wider than ±3 points, or a verdict that hangs on the number of samples is "
        "undetermined",
        setup.more_samples,
    ),
    AdviceRule(
        findings.PAIR,
        "review",
        "with 95% confidence at least 15% of a class's samples lie nearest to one other class's center",
        findings.crowded_pair,
    ),
    AdviceRule(
        findings.RISK,
        "review",
        "the risk is validated, its AUROC's interval lies above 0.6, and the riskiest 5% (10% of fewer than 400) hold "
        "at least twice as many of the errors as chance would, the gain's interval above 0",
        findings.review,
    ),
    AdviceRule(
        findings.TRAIN,
        "training",
        "the linear probe is not judged good, or augmented images leave their cluster (poor), and there is a "
        "checkpoint to go on from",
        findings.train_on,
    ),
    AdviceRule(
        findings.CLUSTERS,
        "clusters",
        "the number of clusters is a guess: no labels, and none was set",
        findings.number_of_clusters,
    ),
    AdviceRule(
        findings.UNSTABLE,
        "clusters",
        "clusters agree poorly between seeds or between subsamples",
        findings.unstable,
    ),
    AdviceRule(
        findings.COMPRESS,
        "export",
        "the upper end of the smallest share of features that keeps the accuracy is at most 0.8, its value at most "
        "0.5, and the probe is good",
        findings.compress,
    ),
    AdviceRule(
        findings.NEIGHBORS,
        "space",
        "neighbors do not show what the linear probe finds (the verdicts' rule)",
        findings.neighbors,
    ),
    AdviceRule(
        findings.HUBS,
        "space",
        "hubness is above that of a Gaussian of equal covariance, and at least 10% of the samples are nobody's "
        "neighbor",
        findings.hubs,
    ),
    AdviceRule(
        findings.Q_SCORE,
        "scores",
        "the verdicts find that Q-Score is not to be trusted, and the risk is validated",
        findings.q_score,
    ),
    AdviceRule(
        findings.EARLIER,
        "run",
        "the file's name is that of an epoch or a step, and no earlier checkpoint was given",
        findings.earlier,
    ),
    AdviceRule(
        findings.BASELINE,
        "gate",
        "the linear probe is good, and no family of metrics is poor",
        findings.baseline,
    ),
)
"""In order of urgency."""
