"""What translations share: finding the network that a name belongs to, and renaming by the first rule that fits."""

from __future__ import annotations

import re
from collections.abc import Iterable

Rules = tuple[tuple[re.Pattern[str], str], ...]


def rules(*pairs: tuple[str, str]) -> Rules:
    """Pairs of a pattern for a whole name and what it becomes, ready for `renamed`."""
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


def renamed(name: str, by: Rules) -> str:
    """The name as the first rule that fits it whole has it; unchanged where none does."""
    for pattern, replacement in by:
        if pattern.fullmatch(name):
            return pattern.sub(replacement, name)
    return name


def innermost(name: str, starts: Iterable[str]) -> str | None:
    """The longest of the prefixes `starts` that `name` begins with: the network it belongs to, None for none."""
    return max((start for start in starts if name.startswith(start)), key=len, default=None)
