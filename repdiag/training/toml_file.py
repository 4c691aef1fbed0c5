"""Configuration files of `repdiag finetune` (TOML): read with every word checked, written so that they read back.

At the top the fields of `TuneConfig`, a `preset` they change, the `regularizer`, and options of the command itself;
then one table per regularizer with its numbers (`[qscore]`). No torch: the command line reads them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repdiag.errors import InputError, UsageError
from repdiag.objectives.parameters import PARAMETERS, Parameters
from repdiag.registry import did_you_mean
from repdiag.training.config import PRESETS, TuneConfig

OPTIONS: dict[str, Any] = {
    "arms": str,
    "seeds": int,
    "ablate": bool,
    "hold_out": float,
    "metrics": str,
    "log": str,
}
"""What the command takes besides. Of a text with commas a list of texts will do as well."""
_HELP = {
    "arms": "What is trained: control, regularizer, or both.",
    "seeds": "Trainings per arm.",
    "ablate": "Whether the regularizer's parts are arms of their own.",
    "hold_out": "Share of each class kept from training where the data have no split.",
    "metrics": "Metrics or families that arms are scored by.",
    "log": "Where training is logged besides log.csv: tensorboard, wandb, mlflow.",
}
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}
_WIDTH = 100

Read = tuple[dict[str, Any], str | None, str | None, dict[str, dict[str, Any]], dict[str, Any]]


def read_config(path: str | Path) -> Read:
    """What a configuration file says: `TuneConfig` fields, preset, regularizer, numbers by regularizer, other options.

    Nothing is filled in: what the file leaves out is not there. An integer will do for a float; true and false are no
    numbers. Raises InputError when the file cannot be read or is no TOML, UsageError for an unknown name, preset
    or regularizer and for a value of the wrong type, each with the file and the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        said = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"Cannot read: {error.strerror or error}", where=str(path)) from error
    except ValueError as error:  # TOMLDecodeError is one, bytes that are no UTF-8 are another
        raise InputError(
            f"This is no TOML: {error}", where=str(path), do="See repdiag finetune --print-config for one"
        ) from error
    return _Reader(str(path), text).read(said)


@dataclasses.dataclass(frozen=True)
class _Reader:
    """A file's name and text, to say where something is wrong."""

    path: str
    text: str

    def read(self, said: Mapping[str, Any]) -> Read:
        fields, other = {}, {}
        tables: dict[str, dict[str, Any]] = {}
        hints = typing.get_type_hints(TuneConfig)
        for name, value in said.items():
            if isinstance(value, dict):
                if name not in PARAMETERS:
                    known = list(PARAMETERS)
                    raise self._wrong(f"There is no regularizer '{name}'", name, did_you_mean(name, known))
                tables[name] = self._table(name, value)
            elif name in hints:
                fields[name] = self._value(name, value, hints[name])
            elif name in OPTIONS:
                other[name] = self._value(name, self._joined(value, OPTIONS[name]), OPTIONS[name])
            elif name not in ("preset", "regularizer"):
                known = [*hints, *OPTIONS, "preset", "regularizer"]
                raise self._wrong(f"There is no option '{name}'", name, did_you_mean(name, known))
        preset = self._one_of("preset", said.get("preset"), PRESETS)
        regularizer = self._one_of("regularizer", said.get("regularizer"), PARAMETERS)
        return fields, preset, regularizer, tables, other

    def _table(self, table: str, said: Mapping[str, Any]) -> dict[str, Any]:
        hints = _numbers(PARAMETERS[table])
        for name in said:
            if name not in hints:
                what = f"The regularizer {table} has no number '{name}'"
                advice = did_you_mean(name, list(hints)) if hints else "Remove it"
                raise self._wrong(what, name, advice, table)
        return {name: self._value(name, value, hints[name], table) for name, value in said.items()}

    def _one_of(self, name: str, value: Any, known: Mapping[str, Any]) -> str | None:
        if value is None:
            return None
        text: str = self._value(name, value, str)
        if text not in known:
            raise self._wrong(f"There is no {name} '{text}'", name, did_you_mean(text, list(known)))
        return text

    @staticmethod
    def _joined(value: Any, kind: Any) -> Any:
        """A list of texts as one text with commas, where a text is wanted."""
        several = kind is str and isinstance(value, list) and all(isinstance(one, str) for one in value)
        return ",".join(value) if several else value

    def _value(self, name: str, value: Any, hint: Any, table: str = "") -> Any:
        """`value` as what the hint says; raises UsageError where it is something else."""
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        (kind,) = (one for one in kinds if one is not type(None))
        if typing.get_origin(kind) is typing.Literal:
            choices = typing.get_args(kind)
            if value in choices:
                return value
            said = ", ".join(choices[:-1]) + f" or {choices[-1]}"
            raise self._wrong(f"{name} must be {said}, not {_shown(value)}", name, None, table)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            what = f"{name} must be {_WORDS[kind]}, not {_shown(value)}"
            raise self._wrong(what, name, None, table)
        return value

    def _wrong(self, what: str, name: str, do: str | None, table: str = "") -> UsageError:
        line = _line(self.text, name, table)
        return UsageError(what, where=self.path + (f", line {line}" if line else ""), do=do)


def _line(text: str, name: str, table: str) -> int | None:
    """The line, from 1, on which `name` is set in `table` ("": at the top) or is a table; None where it is not seen."""
    within = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"""\s*\[\[?\s*["']?([^\]"']+?)["']?\s*\]""", line):
            within = header[1]
            if not table and within.split(".")[0] == name:
                return number
        elif within == table and re.match(rf"""\s*["']?{re.escape(name)}["']?\s*[=.]""", line):
            return number
    return None


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | str) else str(value)


def _numbers(kind: type[Parameters]) -> dict[str, Any]:
    """The types of a regularizer's numbers, by name."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def dump_config(config: TuneConfig, parameters: Parameters, other: Mapping[str, Any]) -> str:
    """A configuration file (TOML) with everything that was chosen, each with its meaning and default.

    `read_config` reads the same from it. What is not set (None) stands there as a comment. Raises UsageError for an
    option that the file cannot have.
    """
    for name in other:
        if name not in OPTIONS:
            raise UsageError(f"There is no option '{name}'", do=did_you_mean(name, list(OPTIONS)))
    lines = ["# repdiag finetune MODEL DATASET --config THIS-FILE", ""]
    lines += _entry("regularizer", parameters.name, f"One of {', '.join(PARAMETERS)}.")
    for name, value in other.items():
        lines += _entry(name, value, _HELP[name])
    for field in dataclasses.fields(config):
        lines += _entry(field.name, getattr(config, field.name), _said(field))
    numbers = dataclasses.fields(parameters)
    if numbers:
        lines.append(f"[{parameters.name}]")
    for field in numbers:
        lines += _entry(field.name, getattr(parameters, field.name), _said(field))
    return "\n".join(lines).rstrip() + "\n"


def _said(field: dataclasses.Field[Any]) -> str:
    """A field's help, with its default."""
    return (
        f"{field.metadata['help']} Default: {'not set' if field.default is None else _toml(field.default)}."
    )


def _entry(name: str, value: Any, help: str) -> list[str]:
    comment = [f"# {line}" for line in textwrap.wrap(help, _WIDTH - 2)]
    return [*comment, f"# {name} =" if value is None else f"{name} = {_toml(value)}", ""]


def _toml(value: Any) -> str:
    if isinstance(value, float):
        text = repr(value)
        return re.sub(r"e([+-]?)0*(\d)", lambda found: f"e{found[1].replace('+', '')}{found[2]}", text)
    return json.dumps(value)  # TOML's words for texts, integers and booleans are JSON's


def resolve(preset: str | None, file: Mapping[str, Any], flags: Mapping[str, Any]) -> TuneConfig:
    """The configuration: flags before the file's entries before the preset's before the defaults.

    Raises UsageError for an unknown preset or field, and for values that do not fit together.
    """
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"There is no preset '{preset}'", do=did_you_mean(preset, list(PRESETS)))
    said = {**(PRESETS[preset] if preset else {}), **file, **flags}
    known = [field.name for field in dataclasses.fields(TuneConfig)]
    for name in said:
        if name not in known:
            raise UsageError(f"There is no option '{name}'", do=did_you_mean(name, known))
    return TuneConfig(**said)
