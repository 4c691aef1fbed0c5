"""A flag for every field of `TuneConfig` and of each regularizer's numbers, made from their own texts."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from repdiag.objectives.parameters import PARAMETERS
from repdiag.training.config import TuneConfig

TRAINING = "Training"


def _flag(field: dataclasses.Field[Any], hint: Any, prefix: str, panel: str) -> Any:
    """`hint | None` with typer's option: None says that the flag was not given."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (kind,) = (one for one in kinds if one is not type(None))
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    kind = str if choices else kind
    name = f"--{prefix}{field.name.replace('_', '-')}"
    option = typer.Option(
        f"{name}/--no-{name[2:]}" if kind is bool else name,
        help=field.metadata["help"],
        show_default=False if field.default is None else f"{field.default}",
        rich_help_panel=panel,
        metavar=None if not choices else "|".join(choices),
    )
    return Annotated[kind | None, option]


def _fields(kind: type[Any], prefix: str, panel: str) -> list[tuple[str, Any, Any]]:
    hints = typing.get_type_hints(kind)
    before = prefix.replace("-", "_")
    return [
        (before + field.name, _flag(field, hints[field.name], prefix, panel), dataclasses.field(default=None))
        for field in dataclasses.fields(kind)
    ]


class _Training:
    def given(self) -> dict[str, Any]:
        """The fields of `TuneConfig` whose flags were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


class _Numbers:
    def given(self) -> dict[str, dict[str, Any]]:
        """By regularizer, the numbers whose flags were given."""
        return {
            name: found
            for name, kind in PARAMETERS.items()
            if (
                found := {
                    f.name: v
                    for f in dataclasses.fields(kind)
                    if (v := self._value(name, f.name)) is not None
                }
            )
        }

    def _value(self, name: str, field: str) -> Any:
        return getattr(self, f"{name.replace('-', '_')}_{field}")


TrainingOptions: Any = dataclasses.make_dataclass(
    "TrainingOptions", _fields(TuneConfig, "", TRAINING), bases=(_Training,), frozen=True
)
NumberOptions: Any = dataclasses.make_dataclass(
    "NumberOptions",
    [
        field
        for name, kind in PARAMETERS.items()
        for field in _fields(kind, f"{name}-", f"Regularizer {name}")
    ],
    bases=(_Numbers,),
    frozen=True,
)


def numbers_of(name: str, given: Mapping[str, Mapping[str, Any]]) -> Any:
    """The Parameters of the regularizer called `name`; raises UsageError for numbers of another."""
    from repdiag.errors import UsageError
    from repdiag.registry import did_you_mean

    if name not in PARAMETERS:
        raise UsageError(f"There is no regularizer '{name}'", do=did_you_mean(name, list(PARAMETERS)))
    for other in given:
        if other != name:
            flags = ", ".join(f"--{other}-{field.replace('_', '-')}" for field in given[other])
            raise UsageError(f"{flags} belong to the regularizer {other}, and {name} is trained")
    return PARAMETERS[name](**given.get(name, {}))
