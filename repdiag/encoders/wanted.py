"""What the user says about a checkpoint: where the backbone is, and what shapes cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from repdiag.encoders.hints import Hints
from repdiag.encoders.prefixes import chosen_by_user


@dataclass(frozen=True)
class Wanted:
    """Where the user says the backbone is, what shapes cannot tell, and the file for messages."""

    where: str
    key: str | None = None
    prefix: str | None = None
    hints: Hints = field(default_factory=Hints)

    def chosen(self, prefixes: Sequence[str]) -> list[str]:
        """Those that the user's word leaves."""
        return chosen_by_user(prefixes, self.key, self.prefix)

    @property
    def place(self) -> str:
        """Words for a message, " under --key K"; nothing where the user named no place."""
        named = [f"--{n} {v}" for n, v in (("key", self.key), ("prefix", self.prefix)) if v is not None]
        return f" under {' and '.join(named)}" if named else ""
