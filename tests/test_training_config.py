"""A configuration file is read with every word checked, and what is written reads back the same."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from repdiag.errors import InputError, RepdiagError, UsageError
from repdiag.objectives.parameters import PARAMETERS, DSAParameters, NoneParameters, QScoreParameters
from repdiag.training.config import PRESETS, TuneConfig
from repdiag.training.toml_file import OPTIONS, dump_config, read_config, resolve

FILE = """
preset = "small"          # changed below
regularizer = "dsa"
lr = 1
epochs = 7
seeds = 2
arms = ["control", "regularizer"]
ablate = true
hold_out = 0.25

[dsa]
eta = 5
tau = 0.5
anchor_scores = false

[qscore]
lambda1 = 1e-3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "tune.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_a_file_says_is_found_and_nothing_else(tmp_path: Path) -> None:
    fields, preset, regularizer, tables, other = read_config(written(tmp_path, FILE))
    assert fields == {"lr": 1.0, "epochs": 7}
    assert isinstance(fields["lr"], float)
    assert (preset, regularizer) == ("small", "dsa")
    assert tables == {"dsa": {"eta": 5, "tau": 0.5, "anchor_scores": False}, "qscore": {"lambda1": 1e-3}}
    assert other == {"seeds": 2, "arms": "control,regularizer", "ablate": True, "hold_out": 0.25}
    assert read_config(written(tmp_path, "")) == ({}, None, None, {}, {})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("lr = 1\nepoch = 3", 2, "There is no option 'epoch' (.*, line 2). Did you mean 'epochs'?"),
        ("preset = 'tiny'", 1, "There is no preset 'tiny'"),
        ("\n\nregularizer = 'qscor'", 3, "Did you mean 'qscore'?"),
        ("lr = 1\n[qscroe]\nlambda1 = 1", 2, "There is no regularizer 'qscroe'.*Did you mean 'qscore'?"),
        ("lambda1 = 1\n", 1, "There is no option 'lambda1'"),
        ("[qscore]\nlambda2 = 1\nlamda1 = 1", 3, "has no number 'lamda1'.*Did you mean 'lambda1'?"),
        ("[none]\nx = 1", 2, "The regularizer none has no number 'x'"),
        ("epochs = 2.5", 1, "epochs must be a whole number, not 2.5"),
        ("epochs = true", 1, "epochs must be a whole number, not true"),
        ("lr = false", 1, "lr must be a number, not false"),
        ('lr = "1e-3"', 1, 'lr must be a number, not "1e-3"'),
        ("optimizer = 'adam'", 1, 'optimizer must be lars, sgd or adamw, not "adam"'),
        ("ablate = 1", 1, "ablate must be true or false, not 1"),
        ("arms = [1]", 1, "arms must be text"),
        ("[dsa]\nm = 1.5", 2, "m must be a whole number, not 1.5"),
        ("[dsa]\nanchor_scores = 0", 2, "anchor_scores must be true or false, not 0"),
        ("[iccl]\nt1 = 1\n[qscore]\nalpha = 'x'\n", 4, "alpha must be a number"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(
        UsageError, match=said.replace("?", r"\?").replace("(", r"\(").replace(")", r"\)")
    ) as found:
        read_config(path)
    assert found.value.where == f"{path}, line {line}"


def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read: No such file"):
        read_config(tmp_path / "missing.toml")
    with pytest.raises(InputError, match=r"no TOML: .*line 1"):
        read_config(written(tmp_path, "lr: 3"))
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no TOML"):
        read_config(path)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_written_reads_back_the_same(tmp_path: Path, name: str) -> None:
    config = resolve(
        "cifar", {"lr": 0.1 + 0.2, "min_lr": 1e-12}, {"base": "simsiam", "views": 2, "seed": 2**40}
    )
    parameters = PARAMETERS[name]()
    other: dict[str, Any] = {
        "arms": "control,regularizer", "seeds": 3, "ablate": False, "hold_out": 0.2, "log": 'a"b\\c'
    }  # fmt: skip
    text = dump_config(config, parameters, other)
    fields, preset, regularizer, tables, back = read_config(written(tmp_path, text))
    assert TuneConfig(**fields) == config
    assert fields.keys() == dataclasses.asdict(config).keys()
    assert (preset, regularizer, back) == (None, name, other)
    assert PARAMETERS[name](**tables.get(name, {})) == parameters


def test_what_is_written_says_what_each_entry_means(tmp_path: Path) -> None:
    text = dump_config(TuneConfig(), QScoreParameters(alpha=0.25), {})
    lines = text.splitlines()
    assert lines[lines.index("lr = 1e-5") - 1] == "# Learning rate at its peak. Default: 1e-5."
    for field in dataclasses.fields(TuneConfig):
        assert field.metadata["help"].split()[0] in text
    assert "# beta =" in lines, "what is not set is shown all the same"
    assert tomllib.loads(text)["qscore"]["alpha"] == 0.25
    assert max(map(len, lines)) <= 100
    assert "[none]" not in dump_config(TuneConfig(), NoneParameters(), {})
    changed = dump_config(TuneConfig(), DSAParameters(eta=3), {})
    assert read_config(written(tmp_path, changed))[3]["dsa"]["eta"] == 3
    with pytest.raises(UsageError, match="Did you mean 'seeds'"):
        dump_config(TuneConfig(), NoneParameters(), {"seedz": 1})


def test_flags_come_before_the_file_before_the_preset_before_the_defaults() -> None:
    found = resolve("small", {"lr": 0.5, "epochs": 9}, {"epochs": 11})
    assert (found.epochs, found.lr) == (11, 0.5)
    assert found.batch_size == PRESETS["small"]["batch_size"]
    assert found.crop_min == TuneConfig().crop_min
    assert resolve(None, {}, {}) == TuneConfig()
    with pytest.raises(UsageError, match="Did you mean 'cifar'"):
        resolve("cifar10", {}, {})
    with pytest.raises(UsageError, match="Did you mean 'lr'"):
        resolve(None, {}, {"lrr": 1.0})


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_configuration(name: str) -> None:
    found = resolve(name, {}, {})
    assert found != TuneConfig()
    assert all(getattr(found, field) == value for field, value in PRESETS[name].items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": "simclrr"}, "There is no base"),
        ({"optimizer": "adam"}, "There is no optimizer 'adam'. Did you mean 'adamw'"),
        ({"batch_norm": "freeze"}, "There is no batch norm 'freeze'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0"),
        ({"lr": 0.1, "min_lr": 0.2}, "min_lr, 0.2, is the end of a fall from lr, 0.1"),
        ({"collapse_rank": 1.5}, "collapse_rank must be from 0 to 1"),
        ({"momentum": 1.0}, "momentum must be below 1"),
        ({"batch_size": 10, "accumulate": 3}, "cannot be passed in 3 equal parts"),
        ({"patience": 2, "validation": 0.0}, "validation is 0"),
        ({"color": float("inf")}, "color must be at least 0"),
        ({"crop_min": 0.0}, "crop_min is a share above 0"),
    ],
)
def test_a_configuration_cannot_hold_nonsense(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RepdiagError, match=said):
        TuneConfig(**changes)


def test_the_command_line_can_show_all_this_without_torch() -> None:
    script = (
        "import sys, repdiag.training.toml_file as t; t.dump_config(t.resolve(None, {}, {}), "
        "t.PARAMETERS['qscore'](), {}); assert not {'torch', 'pandas', 'lightly'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert set(OPTIONS) >= {"seeds", "arms", "ablate", "hold_out"}
