"""What a pickle would build, followed step by step without building it: no import, no call, no foreign object.

A pickle is a program for a small stack machine. This machine knows all of its instructions (protocols 0 to
5) but turns every class or function into a `Global`, which is only a name, and every construction or call
into an `Object`, which only remembers what it was asked for. Whether an `Object` is a tensor is decided
later, from its name and arguments.

Hostile input is met by bounds: every length is compared with the bytes that are left before anything is
read, every step takes constant time (nothing is copied, hashed or compared as a whole), and steps are
counted.
"""

from __future__ import annotations

import _compat_pickle
import struct
from mmap import mmap
from typing import Any

from repdiag.checkpoints.names import Global
from repdiag.checkpoints.pickle_steps import STEPS, STOP
from repdiag.checkpoints.pickle_values import SCALARS, Damaged, Key, Object, Persistent
from repdiag.errors import CheckpointError, ResourceError, UnsafeCheckpointError

MAX_PICKLE = 1 << 28  # bytes; the pickles of real checkpoints have some kB, with file lists in them some MB
MAX_STEPS = 8_000_000  # instructions; a step takes at most some 100 bytes of memory
MAX_LINE = 1 << 16  # of a text instruction

_MEMO_ABSENT = object()


class Machine:
    """Follows pickles in `data`; `globals` are the names they ask for, `outside` what lies outside of them."""

    def __init__(self, data: bytes | mmap, where: str, end: int | None = None) -> None:
        self.data, self.where = data, where
        self.end = len(data) if end is None else end
        self.at = 0
        self.steps = 0
        self.globals: dict[Global, None] = {}
        self.outside: list[Persistent] = []
        self._known: dict[tuple[str, str], Global] = {}

    def load(self) -> Any:
        """What the next pickle describes; `at` is behind it afterwards.

        Raises CheckpointError when there is no complete pickle, UnsafeCheckpointError when it refers to code
        by a number that only its maker knows, ResourceError when it is absurdly long.
        """
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        limit = min(self.end, self.at + MAX_PICKLE)
        self.limit = limit
        data, steps = self.data, STEPS
        try:
            while True:
                if self.at >= limit:
                    raise Damaged("it ends in the middle")
                code = data[self.at]
                self.at += 1
                self.steps += 1
                if self.steps > MAX_STEPS:
                    raise ResourceError(
                        f"The pickle in the checkpoint has more than {MAX_STEPS:,} steps, which no model needs",
                        where=self.where,
                        do="Save the model's state_dict() alone",
                    )
                if code == STOP:
                    return self.stack.pop()
                step = steps.get(code)
                if step is None:
                    raise Damaged(f"0x{code:02x} is no instruction")
                step(self)
        except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError) as error:
            reason = str(error) if isinstance(error, Damaged) else "its steps do not fit together"
            raise CheckpointError(
                f"The pickle in the checkpoint is damaged or cut off: {reason}",
                where=self.where,
                do="Download or copy the file again",
            ) from error

    # ------------------------------------------------------------------------------------------ reading

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0 or count > self.limit - self.at:
            raise Damaged(f"it claims {count:,} bytes where {self.limit - self.at:,} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def skip(self, count: int) -> None:
        """Pass over `count` bytes."""
        self.take(count)

    def counted(self, width: int) -> bytes:
        """The bytes behind their number."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def line(self) -> str:
        """Text up to the next line feed."""
        found = self.data.find(b"\n", self.at, min(self.limit, self.at + MAX_LINE))
        if found < 0:
            raise Damaged("a line has no end")
        text = self.data[self.at : found]
        self.at = found + 1
        return text.decode("utf-8")

    # ------------------------------------------------------------------------------------------ the stack

    def above_mark(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        above = self.stack
        self.stack = self.marks.pop()
        return above

    def name(self, module: Any, attribute: Any) -> Global:
        """The global in Python 3's spelling."""
        if type(module) is not str or type(attribute) is not str or len(module) + len(attribute) > 2000:
            raise Damaged("a name is no text")
        known = self._known.get((module, attribute))
        if known is None:
            new = _compat_pickle.NAME_MAPPING.get((module, attribute))
            known = (
                Global(*new) if new else Global(_compat_pickle.IMPORT_MAPPING.get(module, module), attribute)
            )
            self._known[module, attribute] = known
            self.globals[known] = None
        return known

    def remember(self, index: int) -> None:
        """Keep the top of the stack under a number."""
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Put what was kept on the stack."""
        found = self.memo.get(index, _MEMO_ABSENT)
        if found is _MEMO_ABSENT:
            raise Damaged("it refers to a value that it does not have")
        self.stack.append(found)

    def set_items(self, pairs: list[Any]) -> None:
        """Keys and values in turn into the dict (or what will be one) on top."""
        if len(pairs) % 2:
            raise Damaged("a key has no value")
        target = self.stack[-1]
        if isinstance(target, Object):
            target.items = into = {} if target.items is None else target.items
        elif type(target) is dict:
            into = target
        else:
            raise Damaged(f"it sets items of a {type(target).__name__}")
        for index in range(0, len(pairs), 2):
            key = pairs[index]
            plain = type(key) in SCALARS and not (type(key) is int and key.bit_length() > 64)
            into[key if plain else Key(key)] = pairs[index + 1]

    def append(self, values: list[Any]) -> None:
        """Values to the list (or what will be one) on top."""
        target = self.stack[-1]
        if isinstance(target, Object):
            if target.elements is None:
                target.elements = []
            target.elements.extend(values)
        elif type(target) is list:
            target.extend(values)
        else:
            raise Damaged(f"it appends to a {type(target).__name__}")

    def build(self) -> None:
        """An object's state; a second one replaces the first."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Object):
            target.state = state
        elif type(target) is not dict:  # torch sets `_metadata` of an OrderedDict, which some write as a dict
            raise Damaged(f"it sets the state of a {type(target).__name__}")

    def call(self, count: int) -> None:
        """Replace a callable and `count` arguments (the last of them are options) by their result."""
        args = self.stack[-count]
        callee = self.stack[-count - 1]
        if isinstance(callee, Persistent) or type(callee) in SCALARS:
            raise Damaged(f"it calls a {type(callee).__name__}")
        del self.stack[-count:]
        self.stack[-1] = Object(callee, args)

    def persistent(self, identity: Any) -> None:
        """Put something from outside of the pickle on the stack."""
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            self.stack.append(identity[1])  # old files keep a module's source beside its class
            return
        self.outside.append(Persistent(identity))
        self.stack.append(self.outside[-1])

    def extension(self, width: int) -> None:
        """copyreg's numbers for names: only the maker's own process knows what they stand for."""
        number = int.from_bytes(self.take(width), "little")
        raise UnsafeCheckpointError(
            f"The checkpoint asks for code by a private number (copyreg extension {number}); nothing was run",
            where=self.where,
            do="Save the model's state_dict() with plain torch.save",
        )
