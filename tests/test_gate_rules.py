"""Rules files: every key, every mistake with its place, and a first file from a report."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from sample_report import HOSTILE, sample_report

from repdiag.errors import InputError, UsageError
from repdiag.gate.evaluate import evaluate
from repdiag.gate.init import rules_from
from repdiag.gate.rules import COMMON, KEYS, LARGEST, LIMITS, SUBJECTS, parse_rules, read_rules
from repdiag.gate.types import (
    ClassValue,
    Kind,
    Limit,
    MetricValue,
    Outcome,
    Rule,
    Rules,
    SampleQuantile,
    SampleShare,
)

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "gate-rules.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_each_kind_of_rule_is_read_as_what_it_says():
    rules = parse_rules(
        """
        [gate]
        confidence = 0.9
        undetermined = "fail"
        [[rule]]
        metric = "rankme"
        relative_change_at_least = -0.1
        [[rule]]
        name = "cats"
        class = "cat"
        column = "accuracy"
        at_least = 1
        confidence = 0
        [[rule]]
        samples = "q_score"
        quantile = 0.05
        change_at_most = 0.5
        undetermined = "pass"
        [[rule]]
        samples = "risk"
        below = 0.9
        count_at_most = 3
        [[rule]]
        samples = "risk"
        above = 0.9
        share_at_most = 0.25
        """,
        "r.toml",
    )
    passed, failed = Outcome.PASS, Outcome.FAIL
    place = [f"r.toml, line {line}, rule {i}" for i, line in enumerate((5, 8, 14, 19, 23), 1)]
    at_least, at_most = (Limit(Kind.VALUE, side, 1.0) for side in (True, False))
    assert rules.source == "r.toml"
    assert rules.rules == (
        Rule("rankme: relative change at least -10 %", MetricValue("rankme"),
             Limit(Kind.RELATIVE, True, -0.1), 0.9, failed, place[0]),
        Rule("cats", ClassValue("cat", "accuracy"), at_least, 0.0, failed, place[1]),
        Rule("5 % quantile of q_score: change at most +0.5", SampleQuantile("q_score", 0.05),
             Limit(Kind.CHANGE, False, 0.5), 0.9, passed, place[2]),
        Rule("number of samples with risk below 0.9: at most 3", SampleShare("risk", False, 0.9, True),
             Limit(Kind.VALUE, False, 3.0), 0.9, failed, place[3]),
        Rule("share of samples with risk above 0.9: at most 0.25", SampleShare("risk", True, 0.9, False),
             Limit(Kind.VALUE, False, 0.25), 0.9, failed, place[4]),
    )  # fmt: skip
    assert str(at_most) == "at most 1"


def test_a_given_confidence_takes_the_place_of_the_default_only():
    text = '[gate]\nconfidence=0.9\n[[rule]]\nmetric="a"\nat_least=1\n[[rule]]\nmetric="b"\nat_least=1\nconfidence=0.8'
    assert [r.confidence for r in parse_rules(text, confidence=0.99).rules] == [0.99, 0.8]
    with pytest.raises(UsageError, match=r"confidence is 0, or from 0\.5"):
        parse_rules(text, confidence=0.3)


RULE = '[[rule]]\nmetric = "rankme"\n'
WRONG = [
    ("", "There is no rule"),
    ("rule = []", "There is no rule"),
    ('[rule]\nmetric = "a"', r"array of tables.*\[\[rule\]\]"),
    ("rule = 3", "array of tables"),
    ("[gates]\na = 1", "no table 'gates'.*mean 'gate'"),
    ("gate = 1\n" + RULE + "at_least = 1", "gate is a table"),
    ("[gate]\nconfidense = 1\n" + RULE + "at_least = 1", "no key 'confidense'.*'confidence'"),
    ("[gate]\nconfidence = 95\n" + RULE + "at_least = 1", r"not 95.*\[gate\].*0\.95"),
    (RULE, r"r\.toml, line 1, rule 1.*Add one of at_least"),
    (RULE + "at_leest = 1", r"no key 'at_leest' \(r\.toml, line 1, rule 1\).*'at_least'"),
    (RULE + "at_least = 1\nat_most = 2", "more than one limit .at_least and at_most.*rule of each"),
    (RULE + 'at_least = "1"', 'at_least must be a number, not "1"'),
    (RULE + "at_least = true", "at_least must be a number, not true"),
    (RULE + "at_least = nan", "finite"),
    (RULE + "at_least = -inf", "finite"),
    (RULE + f"at_least = {'9' * 400}", "finite"),
    (RULE + "at_least = 1\nquantile = 0.5", "quantile belongs to samples"),
    (RULE + "at_least = 1\nabove = 0.5", "above belongs to samples"),
    (RULE + "share_at_most = 1", "counts samples.*at_most"),
    (RULE + "at_least = 1\nconfidence = 1", "below 1, not 1"),
    (RULE + "at_least = 1\nconfidence = 0.4", "from 0.5"),
    (RULE + 'at_least = 1\nundetermined = "maybe"', "pass, fail, undetermined.*maybe"),
    (RULE + "at_least = 1\nundetermined = 4", "not as 4"),
    (RULE + "at_least = 1\nname = 4", "name must be text, not 4"),
    (RULE + 'at_least = 1\nname = " "', "name must be text"),
    (RULE + 'at_least = 1\nsamples = "risk"', "about metric and samples"),
    (RULE + 'at_least = 1\nclass = "cat"', "metric and class.*column"),
    ("[[rule]]\nat_least = 1", "does not say what it is about"),
    ('[[rule]]\nclass = "*"\nat_least = 1', 'which column.*column = "accuracy"'),
    ('[[rule]]\nsamples = "risk"\ncount_at_most = 1', "quantile, above, below"),
    ('[[rule]]\nsamples = "risk"\nabove = 1\nbelow = 2\ncount_at_most = 1', "above and below"),
    ('[[rule]]\nsamples = "risk"\nquantile = 1\nat_most = 1', "between 0 and 1, not at 1"),
    ('[[rule]]\nsamples = "risk"\nquantile = 0.1\ncount_at_most = 1', "not a quantile"),
    ('[[rule]]\nsamples = "risk"\nabove = 0.1\nat_most = 1', "share_at_most or count_at_most"),
    ('[[rule]]\nsamples = "risk"\nabove = 0.1\nshare_at_most = 1.5', "from 0 to 1"),
    ('[[rule]]\nsamples = "risk"\nabove = 0.1\ncount_at_most = 1.5', "whole number"),
    (
        2 * (RULE + "at_least = 1\n"),
        r"Two rules are called 'rankme: at least 1'.*line 1.*\(r\.toml, line 4, rule 2\)",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_means_nothing_is_refused_with_its_place(text, said):
    with pytest.raises(UsageError, match=f"(?s){said}") as found:
        parse_rules(text, "r.toml")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("text", ["[[rule", "a = ", "a = " + "[" * 5000, '[[rule]]\nmetric = "a'])
def test_what_is_no_toml_is_unreadable(text):
    with pytest.raises(InputError, match=r"no TOML.*\(r\.toml\)"):
        parse_rules(text, "r.toml")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"No such file.*--init"):
        read_rules(tmp_path / "none.toml")
    with pytest.raises(InputError, match="Cannot read the rules"):
        read_rules(tmp_path)
    binary, huge = tmp_path / "b", tmp_path / "h"
    binary.write_bytes(b"\xff\xfe\x00")
    huge.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(InputError, match="UTF-8"):
        read_rules(binary)
    with pytest.raises(InputError, match="1 MiB"):
        read_rules(huge)


def test_types_hold_no_nonsense():
    rule = Rule("a", MetricValue("b"), Limit(Kind.VALUE, True, 1.0))
    for broken in (
        lambda: Limit(Kind.VALUE, True, float("nan")),
        lambda: SampleQuantile("q_score", 1.0),
        lambda: SampleShare("risk", True, float("inf"), True),
        lambda: Rule("a", MetricValue("b"), Limit(Kind.VALUE, True, 1.0), confidence=1.0),
        lambda: Rules(()),
        lambda: Rules((rule, rule)),
    ):
        with pytest.raises(ValueError, match=r".+"):
            broken()


# --------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_page_are_read_and_decide(text):
    rules = parse_rules(text, "page")
    report = sample_report(n=200, k=4, thumbnails=0)
    result = evaluate(report, rules, report)
    assert len(result.results) == text.count("[[rule]]")
    assert all(r.reason and not r.note.endswith("meant.") for r in result.results)  # none on the wrong side


def test_the_page_names_every_key_and_shows_every_subject():
    page = PAGE.read_text(encoding="utf-8")
    assert len(EXAMPLES) == 3
    for key in KEYS:
        assert f"`{key}" in page, key
    shown = {key for text in EXAMPLES for rule in tomllib.loads(text)["rule"] for key in rule}
    assert set(SUBJECTS) | set(COMMON) <= shown
    assert {"at_least", "change_at_least", "relative_change_at_least", "count_at_most"} <= shown & set(LIMITS)


# ----------------------------------------------------------------------------------------------------- --init


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"labelled": False},
        {"n": 40},
        {"names": HOSTILE},
        {"encoder": {"name": 'a"\n[[rule]]\nmetric = "x"'}},
        {"n": 24, "k": 24},
    ],
)
def test_a_first_file_reads_back_and_its_report_passes_it(given):
    report = sample_report(**{"n": 600, "thumbnails": 0, **given})
    text = rules_from(report)
    rules = parse_rules(text, "repdiag.toml")
    assert len(rules) >= 2
    result = evaluate(report, rules)
    assert result.outcome is Outcome.PASS
    assert result.warnings == ()  # no limit on the wrong side
    assert rules_from(report) == text
    live = parse_rules(re.sub(r"(?m)^#(?=\S)", "", text))  # the rules of change, taken in
    assert len(live) > len(rules)
    found = evaluate(report, live, report)
    assert found.outcome is Outcome.PASS
    assert found.warnings == ()


def test_a_first_file_holds_a_worse_encoder_to_what_this_one_reached():
    report = sample_report(n=600, thumbnails=0)
    rules = parse_rules(rules_from(report))
    assert evaluate(_halved(report), rules).results[0].outcome is Outcome.FAIL
    names = [rule.name for rule in rules.rules]
    assert "no class worse than" in names
    assert "not too many risky samples" in names
    assert not any("augmentation_ari" in name for name in names)  # skipped there


def _halved(report):
    """The same report with the accuracy halved, interval and all."""
    first = report.measurements[0]
    ends = first.outcome.interval
    low, high = ends.low / 2, ends.high / 2
    outcome = dataclasses.replace(
        first.outcome, value=first.outcome.value / 2, interval=dataclasses.replace(ends, low=low, high=high)
    )
    return dataclasses.replace(
        report, measurements=(dataclasses.replace(first, outcome=outcome), *report.measurements[1:])
    )
