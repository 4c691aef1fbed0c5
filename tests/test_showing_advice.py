"""What to do next: each rule fires on what it says and not beside it, its numbers are right, its command exists."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from repdiag.cautions import cautions
from repdiag.cli import app
from repdiag.config import ScoreConfig
from repdiag.exhibits import Advice
from repdiag.metrics import all_metrics
from repdiag.showing.advice import MOST, RULES, advise
from repdiag.types import EmbeddingSet, Interval, Measurement, MetricResult, Null, Table
from repdiag.verdicts import verdicts
from repdiag.workspace import Workspace

SPECS = {m.spec.name: m.spec for m in all_metrics()}
HOSTILE = '-rf \'; rm $HOME `x` "q".pth'


def result(
    value: float, half: float = 0.01, null: float | None = None, std: float = 0.01, **more: Any
) -> MetricResult:
    return MetricResult(
        value,
        Interval(value - half, value + half, "test", 100),
        None if null is None else Null("chance", null, std, 20),
        **more,
    )


def kept_row(share: float, plain: float, left: float, gain_low: float) -> dict[str, float]:
    return {"set_aside": share, "accuracy": left, "gain_low": gain_low, "random": plain}


def subset_rows(loss_high: float) -> tuple[dict[str, Any], ...]:
    base = {"method": "nested", "chosen": False, "loss_high": 0.0}
    return (
        base | {"kept": 1.0, "features": 64, "accuracy": 0.938},
        base | {"kept": 0.4, "features": 26, "accuracy": 0.927, "loss_high": loss_high, "chosen": True},
        base | {"method": "pca", "kept": 0.2, "features": 13, "accuracy": 0.9, "chosen": True},
    )


QUIET: dict[str, MetricResult] = {
    "linear_probe_accuracy": result(0.4, null=0.1),
    "knn_accuracy": result(0.35, null=0.1),
}
"""A probe that is neither good nor at chance, known to a point: no rule but `train on` has anything to say."""

GOOD: dict[str, MetricResult] = {
    "linear_probe_accuracy": result(0.9, null=0.1),
    "knn_accuracy": result(0.88, null=0.1),
}

ENCODER = {
    "name": "net.pth",
    "preprocessing": {
        "size": 32,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "origin": "the file's metadata",
    },
    "loading": {"container": "torch.save"},
}
DATASET = {"name": "images", "location": "data/images", "evaluated": 1000, "classes": 10, "labeled": True}
PAIRS = {
    "class_a": np.array(["cat", "cat"]),
    "class_b": np.array(["dog", "car"]),
    "nearer_ab": np.array([0.1, 0.02]),
    "nearer_ba": np.array([0.41, 0.01]),
    "confused_ab": np.array([0.1, 0.02]),
    "confused_ba": np.array([0.2, 0.01]),
}


@dataclasses.dataclass(frozen=True)
class Case:
    results: Mapping[str, MetricResult] = dataclasses.field(default_factory=lambda: GOOD)
    encoder: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    pairs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, Any] | None = None
    risk: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def advice(self) -> tuple[Advice, ...]:
        found = [Measurement(SPECS[name], outcome, 0.0) for name, outcome in self.results.items()]
        return advise(
            found,
            verdicts(found),
            encoder={**ENCODER, **self.encoder},
            dataset={**DATASET, **self.dataset},
            warnings=self.warnings,
            pairs=Table(dict(self.pairs)),
            risk=self.risk,
            classes=None if self.classes is None else Table(dict(self.classes)),
        )

    def given(self, rule: str) -> Advice | None:
        return next((a for a in self.advice() if a.rule == rule), None)


def assumed(origin: str) -> dict[str, Any]:
    return {"preprocessing": {**ENCODER["preprocessing"], "origin": origin}}  # type: ignore[dict-item]


VALID = {"validated": True, "title": "Density"}
SURE = {
    **GOOD,
    "risk_auroc": result(0.8, 0.02, 0.5),
    "selective_accuracy": result(0.93, 0.01, table=(kept_row(0.05, 0.9, 0.93, 0.02),)),
}
"""Of 10% errors 0.95 * 7% = 6.65% are left when 5% are set aside: these hold 33.5% of them."""
SUBSET = {**GOOD, "smallest_subset": result(0.4, 0.2, table=subset_rows(0.02))}
HUBS = {"k": 10, "largest": 125, "never_a_neighbor": 0.17}
TINY = {"class": np.array(["cat", "dog", "car"]), "n": np.array([100, 12, 100])}

CASES: dict[str, tuple[Case, Case, str]] = {
    # rule: a case where it fires, the nearest one where it does not, and a number that the reason must hold
    "untrained weights": (
        Case(encoder={"loading": {"container": "none (random weights)"}}),
        Case(encoder={"loading": {"container": "timm's or torchvision's hub"}}),
        "random",
    ),
    "assumed preprocessing": (
        Case(encoder=assumed("assumed for a ResNet: 32x32 pixels, ImageNet's mean and std")),
        Case(encoder=assumed("mean, std set by the user; the rest: assumed for a ResNet")),
        "mean 0.5,0.5,0.5",
    ),
    "probe at chance": (
        Case({"linear_probe_accuracy": result(0.105, 0.01, 0.1)}),
        Case({"linear_probe_accuracy": result(0.145, 0.01, 0.1)}),
        "10.5% [9.5%, 11.5%]",
    ),
    "no labels": (
        Case({}, dataset={"labeled": False, "classes": 0, "labels_used": True, "fingerprint": "f"}),
        Case(GOOD),
        "1,000 images",
    ),
    "exact copies": (
        Case(warnings=("12 of 1000 embeddings are exact copies of another: duplicates flatter.",)),
        Case(warnings=("9 of 1000 embeddings are exact copies of another: duplicates flatter.",)),
        "12 of 1,000 embeddings (1.2%)",
    ),
    "collapse": (
        Case({"rankme": result(5, 1, parameters={"samples": 1000, "features": 512})}),
        Case({"rankme": result(200, 1, parameters={"samples": 1000, "features": 512})}),
        "1% of 512 possible dimensions",
    ),
    "few samples": (
        Case({"linear_probe_accuracy": result(0.9, 0.04, 0.1)}),
        Case({"linear_probe_accuracy": result(0.9, 0.029, 0.1)}),
        "±2 points takes about 4,000",
    ),
    "crowded pair": (
        Case(pairs=PAIRS),
        Case(pairs=PAIRS, classes=TINY),  # 12 dogs are too few to speak of 41%
        "41% of the images of 'dog' lie nearest to the center of 'cat'; the linear probe takes 20%",
    ),
    "review by risk": (
        Case(SURE, risk=VALID),
        Case(SURE, risk={"validated": False}),
        "hold 34% of the probe's",
    ),
    "train on": (
        Case(QUIET),
        Case(QUIET, encoder={"loading": {"container": "a module in memory"}}),
        "33% of the way from chance",
    ),
    "guessed number of clusters": (
        Case(
            {"seed_ari": result(0.4, 0.1, 0.3, parameters={"k": 10})},
            warnings=("k = 10 clusters is a guess; set --clusters to what you expect.",),
        ),
        Case({"seed_ari": result(0.4, 0.1, 0.3, parameters={"k": 10})}),
        "ARI of 0.40",
    ),
    "unstable clusters": (
        Case({"seed_ari": result(0.31, 0.02, 0.3)}),
        Case({"seed_ari": result(0.7, 0.02, 0.3)}),
        "1% of the way",
    ),
    "fewer features": (
        Case(SUBSET),
        Case({**SUBSET, "smallest_subset": result(0.4, 0.2, table=subset_rows(0.04))}),
        "26 of 64 features (40% [20%, 60%]) keep the probe's accuracy: 92.7% with them and 93.8% with all",
    ),
    "neighbors fall behind": (
        Case({**GOOD, "knn_accuracy": result(0.4, 0.01, 0.1)}),
        Case(GOOD),
        "(kNN 40.0%, probe 90.0%)",
    ),
    "hubs": (
        Case({"hubness_skew": result(3.2, 0.2, 2.5, 0.05, parameters=HUBS)}),
        Case({"hubness_skew": result(3.2, 0.2, 3.1, 0.05, parameters=HUBS)}),
        "among those of 125",
    ),
    "no Q-Score": (
        Case({"qscore_empty_rate": result(0.97)}, risk=VALID),
        Case({"qscore_empty_rate": result(0.1), "qscore_auroc": result(0.7)}, risk=VALID),
        "97% of the samples have none",
    ),
    "earlier checkpoints": (
        Case({}, encoder={"name": "run_epoch-20.pth"}),
        Case({}, encoder={"name": "deep20.th"}),
        "epoch-20",
    ),
    "baseline": (
        Case(GOOD),
        Case({**GOOD, "rankme": result(5, 1, parameters={"samples": 1000, "features": 512})}),
        "90.0% [89.0%, 91.0%]",
    ),
}


def parsed(command: str) -> Any:
    """The context of a command line of repdiag as its own parser reads it; nothing is run."""
    program, *words = shlex.split(command)
    assert program == "repdiag"
    group: Any = typer.main.get_command(app)
    context = group.make_context("repdiag", [words[0], *words[1:]], resilient_parsing=False)
    while hasattr(group, "commands"):
        group = group.commands[words[0]]
        words = words[1:]
    return group.make_context("repdiag", list(words), parent=context)


def test_every_rule_has_its_case() -> None:
    """A rule without a case where it fires and one where it does not is not tested."""
    assert [rule.name for rule in RULES] == list(CASES)
    assert len({rule.when for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_what_it_says_and_not_beside_it(rule: str) -> None:
    """Each rule gives its advice with the report's number in it, and the command parses; next to it nothing."""
    fires, silent, number = CASES[rule]
    advice = fires.given(rule)
    assert advice is not None
    assert number in advice.reason
    assert advice.title
    assert advice.reason.endswith(".")
    if advice.command is not None:
        parsed(advice.command)
    assert silent.given(rule) is None


def test_a_wrong_option_would_be_found() -> None:
    """The check of commands can fail."""
    with pytest.raises(Exception, match="No such option"):
        parsed("repdiag audit REPORT --no-such-option 3")


def test_at_most_three_the_most_urgent_first() -> None:
    """Where many rules fire, the first of the table win, and one kind speaks once."""
    results = {**SURE, **SUBSET, "seed_ari": result(0.31, 0.02, 0.3), "knn_accuracy": result(0.4, 0.01, 0.1)}
    case = Case(results, pairs=PAIRS, risk=VALID, encoder=assumed("assumed for a ResNet"))
    given = [advice.rule for advice in case.advice()]
    assert given == ["assumed preprocessing", "crowded pair", "unstable clusters"]
    assert len(given) == MOST


def test_nothing_is_said_of_nothing() -> None:
    """No measurement, no advice."""
    assert Case({}).advice() == ()


def test_hostile_names_stay_one_word() -> None:
    """Names with quotes, dashes and semicolons come back whole; those that no terminal shows do not come at all."""
    case = Case(QUIET, encoder={"name": HOSTILE}, dataset={"location": "-x; y"})
    advice = case.given("train on")
    assert advice is not None
    assert advice.command is not None
    assert shlex.split(advice.command) == ["repdiag", "finetune", f"./{HOSTILE}", "./-x; y"]
    found = parsed(advice.command)
    assert (found.params["model"], found.params["dataset"]) == (f"./{HOSTILE}", "./-x; y")
    for name in ("a\x1b[31m.pth", "a\u202eb.pth", "a\nb.pth", "a\udcff.pth"):
        hidden = Case(QUIET, encoder={"name": name}).given("train on")
        assert hidden is not None
        assert hidden.command == "repdiag finetune MODEL data/images"


def test_embeddings_have_no_images_to_name() -> None:
    """Where embeddings were given, no command trains, exports or shows images."""
    case = Case(
        {**SUBSET, **SURE, "knn_accuracy": result(0.4, 0.01, 0.1)},
        encoder={"name": "-", "loading": {}, "preprocessing": None},
        dataset={"location": "x.npz"},
        risk=VALID,
    )
    assert [a.command for a in case.advice()] == ["repdiag audit REPORT --budget 50", None, None]
    asked = dataclasses.replace(case, results={}, dataset={"location": "x.npz", "labeled": False}).given(
        "no labels"
    )
    assert asked is not None
    assert asked.command is None


def test_a_crowded_pair_is_the_surest_not_the_highest() -> None:
    """41% of 12 images say less than 30% of 400; without counts classes are equally large."""
    pairs = {**PAIRS, "nearer_ab": np.array([0.1, 0.3]), "nearer_ba": np.array([0.41, np.nan])}
    sizes = {"class": np.array(["cat", "dog", "car"]), "n": np.array([400, 25, 400])}
    chosen = Case(pairs=pairs, classes=sizes).given("crowded pair")
    assert chosen is not None
    assert chosen.title == "Look at 'cat' and 'car' side by side"
    equal = Case(pairs=pairs).given("crowded pair")
    assert equal is not None
    assert equal.title == "Look at 'dog' and 'cat' side by side"


def test_the_warnings_that_rules_read_are_those_that_are_written() -> None:
    """The sentences of `cautions` are recognized, so that a change of their words is noticed."""
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    x[30:] = x[:30]
    ws = Workspace(EmbeddingSet(x, tuple(map(str, range(60)))), ScoreConfig(), "cpu")
    case = Case({"seed_ari": result(0.4, 0.1, 0.3, parameters={"k": 10})}, warnings=tuple(cautions(ws)))
    assert [advice.rule for advice in case.advice()] == ["exact copies", "guessed number of clusters"]
    copies = case.given("exact copies")
    assert copies is not None
    assert "30 of 60 embeddings (50.0%)" in copies.reason


def test_what_is_said_of_our_trials_is_true() -> None:
    """The advice to train on says that no regularizer beat its control: the page of evidence still says so."""
    page = Path(__file__).parents[1] / "docs" / "evidence" / "finetune.md"
    assert " 0 helped, " in page.read_text("utf-8")
