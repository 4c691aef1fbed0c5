"""One small generic registry: a name means one thing, a collision is an error, a typo gets a suggestion."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

from repdiag.errors import UsageError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterator[str] | list[str]) -> str:
    """A sentence that names the closest of `known`, or lists them when none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(names)}."


class Registry(Generic[T]):
    """Things by name, filled by importing every module of one package on first use.

    Adding a thing is one new file in that package: nothing else lists it. The order is that of
    registration (modules in alphabetical order), so that listings do not depend on who asked first.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self._package = kind, package
        self._items: dict[str, T] = {}
        self._origin: dict[str, str] = {}
        self._loaded = False

    def add(self, name: str, item: T, origin: str) -> None:
        """Register `item`; a second registration of `name` from elsewhere is a programming error."""
        if name in self._items:
            raise ValueError(f"{self.kind} '{name}' is registered by {self._origin[name]} and by {origin}")
        self._items[name], self._origin[name] = item, origin

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{self._package}.{module}")

    def get(self, name: str) -> T:
        """The thing called `name`; raises UsageError with the closest name otherwise."""
        self._load()
        if name not in self._items:
            raise UsageError(f"There is no {self.kind} '{name}'", do=did_you_mean(name, list(self._items)))
        return self._items[name]

    def __iter__(self) -> Iterator[T]:
        self._load()
        return iter(self._items.values())

    def __len__(self) -> int:
        self._load()
        return len(self._items)
