"""Features, risk and classes on the page: sentences say the report's own numbers, marks lie where they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sample_report import sample_report

from repdiag.exhibits import Exhibits, FeatureCard, Risky
from repdiag.report import activation, curves, risk_sentences
from repdiag.report.html import render
from repdiag.report.pictures import Album
from repdiag.report.sections import classes, features, risk
from repdiag.types import Interval, Measurement, MetricResult, Null, Report, Skipped, Table


def measured(
    report: Report, name: str, value: float, table: tuple[Mapping[str, Any], ...] = (), **more: Any
) -> Report:
    """`report` with this measurement in place of the one of its name, or beside the others."""
    old = report.measurement(name) or report.measurements[0]
    made = Measurement(
        dataclasses.replace(old.spec, name=name), MetricResult(value, table=table, **more), 0.0
    )
    rest = tuple(m for m in report.measurements if m.spec.name != name)
    return dataclasses.replace(report, measurements=(*rest, made))


def skipped(report: Report, name: str, reason: str) -> Report:
    changed = tuple(
        dataclasses.replace(m, outcome=Skipped(reason)) if m.spec.name == name else m
        for m in report.measurements
    )
    return dataclasses.replace(report, measurements=changed)


def with_features(report: Report, **columns: Any) -> Report:
    return dataclasses.replace(report, features=Table(columns))


def four(**more: Any) -> Report:
    """Ten features whose frequencies are 10, 9, ..., 1 percent in a scattered order; S is 3 to 7 percent."""
    frequency = np.array([4.0, 10, 1, 7, 3, 9, 2, 8, 5, 6])
    inside = (frequency >= 3) & (frequency <= 7)
    report = with_features(
        sample_report(40, 10), feature=np.arange(10), activation_frequency=frequency, in_s=inside, **more
    )
    limits = {
        "lower_percentile": 50.0,
        "upper_percentile": 95.0,
        "frequency_low": 3.0,
        "frequency_high": 7.0,
    }
    return measured(report, "discriminative_features", 0.5, parameters=limits)


def test_the_activation_curve_marks_s_its_limits_and_what_was_kept() -> None:
    """Places 3 to 8 of ten are S; the limits lie at their frequencies; the kept features are one run below."""
    kept = np.isin(four().features.columns["activation_frequency"], [8, 7, 6])  # places 2, 3, 4
    figure = activation.activation_curve(four(kept=kept))
    assert figure is not None
    left, right = 54.0, 460 - 16.0
    place = lambda rank: left + (right - left) * rank / 10  # noqa: E731
    band = re.search(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" [^>]*class="band"', figure.svg)
    assert band is not None
    assert float(band[1]) == pytest.approx(place(3), abs=0.01)
    assert float(band[1]) + float(band[2]) == pytest.approx(place(8), abs=0.01)
    ticks = {
        t: float(y)
        for y, t in re.findall(r'<text x="46" y="([\d.]+)" class="tick end">([\d.]+%)', figure.svg)
    }
    limits = [float(y) for y in re.findall(r'y1="([\d.]+)" y2="[\d.]+" class="null"', figure.svg)]
    scale = (ticks["10.0%"] - ticks["0.0%"]) / 10
    assert limits == pytest.approx([ticks["0.0%"] - 4 + scale * 3, ticks["0.0%"] - 4 + scale * 7], abs=0.1)
    assert "50th percentile: 3.0%" in figure.svg
    assert "95th percentile: 7.0%" in figure.svg
    run = re.search(r'd="M([\d.]+),[\d.]+H([\d.]+)" class="line kept"', figure.svg)
    assert run is not None
    assert [float(x) for x in run.groups()] == pytest.approx([place(2), place(5)], abs=1.0)
    assert figure.said == "5 of 10 features are discriminative (S); 3 stand out more often, 2 more rarely."
    assert figure.legend == (("line kept", "the 3 features that keep the accuracy"),)


def test_kept_features_that_lie_apart_are_apart() -> None:
    kept = np.isin(four().features.columns["activation_frequency"], [10, 1])
    figure = activation.activation_curve(four(kept=kept))
    assert figure is not None
    assert (
        len(re.findall(r"M[\d.]+,[\d.]+H", re.findall(r'd="([^"]+)" class="line kept"', figure.svg)[0])) == 2
    )


def test_where_none_stands_out_the_curve_says_so() -> None:
    """Without S there is no band; a rule that no feature can meet makes no curve, though its column is there."""
    report = with_features(
        sample_report(40, 10),
        feature=np.arange(10),
        activation_frequency=np.zeros(10),
        in_s=np.zeros(10, bool),
    )
    figure = activation.activation_curve(report)
    assert figure is not None
    assert 'class="band"' not in figure.svg
    assert figure.said.startswith("None of the 10 features is discriminative")
    assert (
        activation.activation_curve(skipped(report, "activation_frequency", "with 10 features ...")) is None
    )


def signed() -> Report:
    report = with_features(
        sample_report(40, 10), feature=np.arange(10), mean=np.linspace(-1, 1, 10), std=np.arange(10.0)
    )
    report = skipped(
        report, "activation_frequency", "needs non-negative features (an encoder that ends in a ReLU)"
    )
    return measured(
        report,
        "qscore_signed_empty_rate",
        0.1,
        parameters={"eps": 2.0, "features_in_s": 4, "mean_frequency": 5.43},
    )


def test_signed_features_have_no_curve_and_the_reason_is_said() -> None:
    """Why, what our rule finds, and the table by spread; with an adapted frequency in the report, its curve."""
    view = features.view(signed(), {})
    assert view is not None
    assert "activation" not in [figure.key for figure in view.figures]
    assert "needs non-negative features (an encoder that ends in a ReLU)." in view.no_curve
    assert (
        "4 of 10 features are discriminative, and a feature stands out in 5.4% of the images" in view.no_curve
    )
    assert view.no_curve.endswith("on average.")
    assert view.sorted_by == "Spread (std)"
    assert view.table is not None
    assert [row[0].exact for row in view.table.rows] == [str(i) for i in range(9, -1, -1)]
    columns = dict(signed().features.columns)
    columns |= {"adapted_frequency": np.linspace(9, 0, 10), "in_adapted_s": np.arange(10) == 4}
    adapted = features.view(with_features(signed(), **columns), {})
    assert adapted is not None
    assert adapted.figures[0].title == "Activation frequency (adapted rule)"
    assert "our rule" in adapted.figures[0].caption
    assert adapted.no_curve.endswith("as the curve below shows.")


SUBSET = (
    {"method": "nested", "kept": 1.0, "features": 64, "accuracy": 0.938, "chosen": False},
    {
        "method": "nested",
        "kept": 0.4,
        "features": 26,
        "accuracy": 0.927,
        "low": 0.911,
        "high": 0.942,
        "chosen": True,
    },
    {"method": "pca", "kept": 0.2, "features": 13, "accuracy": 0.91, "chosen": True},
)


def compressed(gain: float, low: float, high: float) -> Report:
    curve = tuple(
        {"kept": kept, "features": round(64 * kept), "accuracy": 0.938 - 0.05 * (1 - kept)}
        | ({"gain": gain, "gain_low": low, "gain_high": high} if kept < 1 else {})
        for kept in (1.0, 0.6, 0.4, 0.2)
    )
    report = measured(sample_report(40, 64), "compression", 0.92, curve)
    return measured(report, "smallest_subset", 0.4, SUBSET, parameters={"features": 26, "of": 64})


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.02, 0.01, 0.03), "picked at random lose 2.0 points more."),
        ((0.01, -0.01, 0.03), "picked at random are not shown to do worse."),
        ((-0.03, -0.04, -0.01), "picked at random do better, by 3.0 points."),
    ],
)
def test_the_smallest_set_says_what_it_saves_and_costs(gain: tuple[float, float, float], said: str) -> None:
    """The nested set's row, never PCA's; against random features only what the interval allows."""
    words = features.kept_words(compressed(*gain))
    assert words.startswith(
        "26 of 64 features keep 98.8% of the accuracy: 92.7% [91.1, 94.2] beside 93.8% with all, on images"
    )
    assert words.endswith(said)


def test_a_set_that_does_better_than_all_loses_nothing() -> None:
    """No share above 100% is said to be kept."""
    better = tuple({**row, "accuracy": 0.95} if row.get("kept") == 0.4 else row for row in SUBSET)
    words = features.kept_words(measured(sample_report(40, 64), "smallest_subset", 0.4, better))
    assert words.startswith("26 of 64 features lose nothing of the accuracy: 95.0% [91.1, 94.2] beside 93.8%")


def test_the_smallest_set_is_marked_at_its_share() -> None:
    """The dashed line stands where the curve's point of that share is; all features need no mark."""
    report = compressed(0.02, 0.01, 0.03)
    figure = curves.compression(report)
    assert figure is not None
    mark = re.search(r'<line x1="([\d.]+)" x2="[\d.]+" [^>]*class="chosen"', figure.svg)
    assert mark is not None
    assert float(mark[1]) == pytest.approx(54 + (460 - 16 - 54) * (0.4 - 0.2) / 0.8, abs=0.1)
    assert ">26 features<" in figure.svg
    whole = measured(report, "smallest_subset", 1.0, ({**SUBSET[0], "chosen": True},))
    bare = curves.compression(whole)
    assert bare is not None
    assert 'class="chosen"' not in bare.svg
    assert features.kept_words(whole).startswith("No smaller set of the 64 features")


def test_compression_at_chance_says_nothing_of_features() -> None:
    report = measured(
        compressed(0, 0, 0),
        "linear_probe_accuracy",
        0.101,
        interval=Interval(0.09, 0.11, "bootstrap", 10),
        null=Null("labels permuted", 0.1, 0.01, 10),
    )
    assert "is not above chance" in features.kept_words(report)


def test_cards_tell_the_images_classes_in_words() -> None:
    """Six of eight and the rest by name; a label that is not known is not counted as a class."""
    labels = ("frog",) * 5 + ("cat", None, "dog")
    card = FeatureCard(
        7, 0.61, "share", 3.0, True, tuple("abcdefgh"), tuple(float(8 - i) for i in range(8)), labels
    )
    report = dataclasses.replace(
        sample_report(40, 10),
        exhibits=Exhibits(features=(card,)),
        thumbnails={"a": b"\xff\xd8", "c": b"\xff"},
    )
    view = features.view(report, {})
    assert view is not None
    shown = view.cards[0]
    assert shown.makeup == (("frog", 5), ("cat", 1), ("dog", 1))
    assert [top.id for top in shown.tops] == list("abcdefgh")
    assert [top.image is not None for top in shown.tops] == [True, False, True] + [False] * 5
    assert [top.activation.exact for top in shown.tops] == [f"{8 - i}.0" for i in range(8)]
    assert "<b>5 of 8</b> are <bdi>frog</bdi>, 1 <bdi>cat</bdi>, 1 <bdi>dog</bdi>." in render(report)


def test_an_album_keeps_within_its_limit() -> None:
    """What has no room is not shown and is counted; a picture is counted each time that it is written."""
    album = Album({"a": b"x" * 60, "b": b"y" * 50, "c": b"z" * 30}, limit=100)
    assert album.uri("a") == "data:image/jpeg;base64," + "eHh4" * 20
    assert album.uri("b") is None
    assert album.uri("c") is not None
    assert album.uri("c") is None
    assert album.uri("none") is None
    assert album.refused == 2


def aside(**row: Any) -> Report:
    rows = ({"set_aside": 0.05, "accuracy": 0.5, "random": 0.4}, {"set_aside": 0.1, "random": 0.9175} | row)
    return measured(sample_report(40, 10), "selective_accuracy", row["accuracy"], rows)


def test_setting_aside_says_its_gain_and_doubts_it_where_the_interval_does() -> None:
    gain = {"accuracy": 0.9516, "low": 0.947, "high": 0.956, "oracle": 1.0}
    assert risk_sentences.set_aside(aside(**gain, gain_low=0.03)) == (
        "Setting aside the riskiest 10% lifts the accuracy of the rest from 91.8% to 95.2% [94.7, 95.6];"
        " a perfect order would reach 100%."
    )
    assert "not shown to be more" in risk_sentences.set_aside(aside(**gain, gain_low=-0.01))
    assert "lowers the accuracy of the rest from 91.8% to 90.0%." in risk_sentences.set_aside(
        aside(accuracy=0.9)
    )
    assert "leaves the accuracy of the rest at 91.8%." in risk_sentences.set_aside(aside(accuracy=0.9175))


def test_reliability_counts_the_groups_that_hold() -> None:
    rows = (
        {"predicted": 0.4, "observed": 0.389, "low": 0.359, "high": 0.42, "n": 1000},
        {"predicted": 0.1, "observed": 0.2, "low": 0.15, "high": 0.25, "n": 1000},
        {"predicted": 0.2, "observed": 0.2, "low": None, "high": None, "n": 1000},
    )
    words = risk_sentences.as_probability(measured(sample_report(40, 10), "risk_brier", 0.1, rows))
    assert words.startswith(
        "The 1,000 riskiest images are said to be wrong in 40.0% of cases and are in 38.9% [35.9, 42.0]."
    )
    assert "In 1 of 2 groups" in words


def test_predictors_name_the_best_score_and_what_chance_allows() -> None:
    rows = (
        {
            "score": "confidence",
            "title": "Confidence",
            "auroc": 0.915,
            "low": 0.9,
            "high": 0.93,
            "labelled": True,
        },
        {"score": "a", "title": "A", "auroc": 0.7, "low": 0.68, "high": 0.72, "labelled": False},
        {"score": "b", "title": "B", "auroc": 0.6, "low": 0.58, "high": 0.62, "labelled": False},
    )
    report = measured(sample_report(40, 10), "score_comparison", 0.7, rows)
    assert risk_sentences.predictors(report) == (
        "Of the scores that need no labels, “A” tells the errors best (AUROC 0.700 [0.680, 0.720])."
        " “Confidence”, which needs labels, reaches 0.915."
    )
    chance = ({**rows[1], "auroc": 0.51, "low": 0.48, "high": 0.54},)
    words = risk_sentences.predictors(measured(report, "score_comparison", 0.51, chance))
    assert words.startswith("No score without labels is shown to beat chance; the best is “A”")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.6, 0.7, "A correct image has the higher Q-Score in 65.0% of its pairs"),
        (0.49, 0.7, "Here it does not tell wrong images from correct ones"),
        (0.3, 0.4, "Here it points the wrong way"),
    ],
)
def test_the_q_score_is_believed_as_far_as_its_interval(low: float, high: float, said: str) -> None:
    value = 0.65 if high > 0.5 else 0.35
    report = measured(
        sample_report(40, 10),
        "qscore_auroc",
        value,
        interval=Interval(low, high, "bootstrap over samples", 10),
    )
    assert risk_sentences.q_score(report).startswith(said)
    assert risk_sentences.q_score(report).endswith(
        "3.1% of the images have none: no discriminative feature stands out."
    )


def test_without_labels_the_risk_is_called_a_guess() -> None:
    report = sample_report(60, 16, labelled=False)
    assert "a guess that nothing here confirms" in render(report)
    assert "a guess that nothing here confirms" not in render(sample_report(60, 16))
    assert "AUROC" not in risk_sentences.lead(report)
    view = risk.view(report, {})
    assert view is not None
    assert {card.state for card in view.cards} == {""}
    assert 'name="risk-show"' not in render(report), "nothing to tell right from wrong"


def test_the_riskiest_are_the_exhibits_in_their_order() -> None:
    """What is shown is what was chosen; one that the sample table does not have is left out, not invented."""
    report = sample_report(60, 16)
    ids = [str(i) for i in report.samples.columns["id"]]
    chosen = (Risky(ids[7], ("because",)), Risky("nowhere", ()), Risky(ids[3], ()))
    report = dataclasses.replace(report, exhibits=Exhibits(riskiest=chosen), thumbnails={ids[3]: b"\xff\xd8"})
    view = risk.view(report, {})
    assert view is not None
    assert [card.id for card in view.cards] == [ids[7], ids[3]]
    assert view.cards[0].reasons == ("Because.",)
    assert [card.image is not None for card in view.cards] == [False, True]
    columns = report.samples.columns
    assert [card.state for card in view.cards] == [
        "right" if columns["correct"][row] else "wrong" for row in (7, 3)
    ]


def test_classes_say_their_extremes_and_mark_the_worst() -> None:
    report = sample_report(400, 16)
    view = classes.view(report, {})
    assert view is not None
    accuracy = report.classes.columns["accuracy"]
    names = report.classes.columns["class"]
    assert view.worst == (names[accuracy.argmin()], f"{100 * accuracy.min():.1f}%", 0)
    assert view.best == (
        names[accuracy.argmax()],
        f"{100 * accuracy.max():.1f}%",
        (accuracy == accuracy.max()).sum() - 1,
    )
    assert list(view.marks) == [bool(a == accuracy.min()) for a in accuracy]
    column = [c.title for c in view.grid.columns].index("Accuracy")
    for row, bars in zip(view.grid.rows, view.bars, strict=True):
        length = int(re.fullmatch(r"bar b(\d+)", bars[column])[1])  # type: ignore[index]
        assert abs(length - 100 * float(row[column].exact)) <= 1 + 1e-9
        assert [i for i, bar in enumerate(bars) if "error" in bar] == [
            [c.title for c in view.grid.columns].index("Nearer to another center")
        ]
    same = Table(
        {"class": np.array(["a", "b"], object), "n": np.array([5, 5]), "accuracy": np.array([0.5, 0.5])}
    )
    equal = classes.view(dataclasses.replace(report, classes=same), {})
    assert equal is not None
    assert not any(equal.marks), "where all are alike none is the worst"
    assert equal.worst == ("a", "50.0%", 1)
    assert classes.view(sample_report(40, 16, labelled=False), {}) is None
