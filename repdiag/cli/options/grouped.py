"""`grouped`: a command whose parameters are dataclasses of options looks flat to typer."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every parameter whose type is a dataclass replaced by that dataclass's fields.

    Fields keep their annotation and default. The wrapper builds the dataclasses and calls `command`, so that
    what they check in `__post_init__` is checked before it runs. Two fields of one name are a TypeError.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            flat.append(parameter.replace(annotation=kind, kind=parameter.KEYWORD_ONLY))
            continue
        groups[name] = kind
        fields = typing.get_type_hints(kind, include_extras=True)
        flat += [
            inspect.Parameter(f.name, parameter.KEYWORD_ONLY, default=f.default, annotation=fields[f.name])
            for f in dataclasses.fields(kind)
        ]
    names = [parameter.name for parameter in flat]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"two options are called {sorted(twice)}")

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        own = dict(values)
        for name, kind in groups.items():
            own[name] = kind(**{field.name: own.pop(field.name) for field in dataclasses.fields(kind)})
        command(**own)

    wrapper.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return wrapper
