"""What a followed pickle is made of: plain Python values, and inert stand-ins for everything else."""

from __future__ import annotations

from typing import Any

from repdiag.checkpoints.names import Global

SCALARS = frozenset({str, bytes, bool, int, float, type(None)})


class Object:
    """The result of a construction or call: what was called, with what, and what was put into it later."""

    __slots__ = ("args", "elements", "items", "kind", "state")

    def __init__(self, kind: Any, args: Any) -> None:
        self.kind, self.args = kind, args
        self.state: Any = None
        self.items: dict[Any, Any] | None = None
        self.elements: list[Any] | None = None

    @property
    def called(self) -> str:
        """The full name of the class or function, '?' when it is computed itself."""
        return str(self.kind) if isinstance(self.kind, Global) else "?"


class Persistent:
    """Something kept outside of the pickle: in torch's files a storage."""

    __slots__ = ("id",)

    def __init__(self, id: Any) -> None:
        self.id = id


class Key:
    """A dictionary's key that is no plain scalar; equal to itself only, so that nothing foreign is hashed."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, tuple) and len(value) <= 8 and all(type(v) in SCALARS for v in value):
            return str(value)[:200]
        if isinstance(value, int):
            return "<large number>"
        return f"<{value.called if isinstance(value, Object) else type(value).__name__}>"


class Damaged(ValueError):
    """The bytes are no pickle."""
