"""The page on fine-tuning says what the comparisons say, and would say otherwise if they did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sample_comparison import sample_comparison

from benchmarks.evidence import finetune
from repdiag.report.comparison import dumps, to_json

CONV4 = next(study for study in finetune.STUDIES if study.key == "conv4-cifar")


def compared(low: float, high: float) -> dict[str, Any]:
    """A comparison as it is on disk, whose deciding difference has this interval."""
    found: dict[str, Any] = json.loads(dumps(to_json(sample_comparison())))
    arm = found["verdict"]["subject"]
    for one in found["differences"]:
        if one["primary"] and (one["subject"], one["against"]) == (arm, "control"):
            one["interval"] |= {"low": low, "high": high}
    return found


@pytest.mark.parametrize(
    ("low", "high", "words"), [(-0.01, 0.03, "neither"), (-0.01, 0.02, "not what is found")]
)
def test_the_papers_gain_is_held_against_the_interval(low: float, high: float, words: str) -> None:
    comparison = compared(low, high)
    assert comparison["verdict"]["subject"] == "qscore"
    said = finetune._summary([(CONV4, "qscore", comparison)])
    assert words in said
    effects = {
        word: f"{int(comparison['verdict']['effect'] == word)} {word}"
        for word in ("helped", "no evidence", "hurt")
    }
    assert ", ".join(effects.values()) in said


def test_a_row_has_the_start_the_control_and_both_differences() -> None:
    comparison = compared(-0.01, 0.03)
    row = finetune._rows("qscore", comparison)[0]
    main = next(d for d in comparison["differences"] if d["primary"] and d["against"] == "control")
    assert row[1] == "Linear probe accuracy"
    assert row[3:5] == [f"{main['other']:.4g}", f"{main['value']:.4g}"]
    assert row[5] == f"{main['delta']:+.3g} [-0.01, +0.03]"


def test_the_commands_are_those_of_a_user() -> None:
    words = CONV4.arguments("dsa")
    assert words[0] == "finetune"
    assert words[words.index("--regularizer") + 1] == "dsa"
    assert all(not word.startswith("/") for word in words), "paths are from the project's folder"
