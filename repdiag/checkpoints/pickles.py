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
import codecs
import struct
from collections.abc import Callable
from mmap import mmap
from typing import Any

from repdiag.checkpoints.names import Global
from repdiag.errors import CheckpointError, ResourceError, UnsafeCheckpointError

MAX_PICKLE = 1 << 28  # bytes; the pickles of real checkpoints have some kB, with file lists in them some MB
MAX_STEPS = 8_000_000  # instructions; a step takes at most some 100 bytes of memory
MAX_NUMBER = 512  # bytes of one integer: Python's conversions of larger ones are slow
MAX_LINE = 1 << 16  # of a text instruction


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
        if isinstance(value, tuple) and len(value) <= 8 and all(type(v) in _SCALARS for v in value):
            return str(value)[:200]
        if isinstance(value, int):
            return "<large number>"
        return f"<{value.called if isinstance(value, Object) else type(value).__name__}>"


class Damaged(ValueError):
    """The bytes are no pickle."""


_SCALARS = frozenset({str, bytes, bool, int, float, type(None)})
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
        data, steps = self.data, _STEPS
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
                if code == _STOP:
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
            plain = type(key) in _SCALARS and not (type(key) is int and key.bit_length() > 64)
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
        if isinstance(callee, Persistent) or type(callee) in _SCALARS:
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


def _integer(machine: Machine, width: int) -> int:
    size = int.from_bytes(machine.take(width), "little")
    if size > MAX_NUMBER:
        raise Damaged(f"it claims an integer of {size:,} bytes")
    return int.from_bytes(machine.take(size), "little", signed=True)


def _decimal(text: str) -> int | bool:
    text = text.removesuffix("L")
    if text in ("00", "01"):
        return text == "01"
    if len(text) > MAX_NUMBER:
        raise Damaged("an integer is absurdly long")
    return int(text)


def _index(machine: Machine) -> int:
    """A memo number in text; small, because Python's hashes of large integers can be made to collide."""
    number = int(_decimal(machine.line()))
    if not 0 <= number < 1 << 32:
        raise Damaged("a memo number is out of range")
    return number


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _old_text(data: bytes) -> str | bytes:
    """Python 2's strings are text in checkpoints, where they are text at all."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _instance(machine: Machine) -> None:
    module, attribute = machine.line(), machine.line()
    args = tuple(machine.above_mark())
    machine.stack.append(Object(machine.name(module, attribute), args))


def _object(machine: Machine) -> None:
    above = machine.above_mark()
    machine.stack.append(Object(above[0], tuple(above[1:])))


def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _dictionary(machine: Machine) -> None:
    pairs = machine.above_mark()
    machine.stack.append({})
    machine.set_items(pairs)


def _tuple(machine: Machine, size: int) -> None:
    if len(machine.stack) < size:
        raise Damaged("values are missing")
    machine.stack[-size:] = [tuple(machine.stack[-size:])]


def _pair(machine: Machine) -> list[Any]:
    value, key = machine.stack.pop(), machine.stack.pop()
    return [key, value]


def _global(machine: Machine) -> None:
    module = machine.line()
    machine.stack.append(machine.name(module, machine.line()))


def _stack_global(machine: Machine) -> None:
    attribute, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.name(module, attribute))


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.above_mark()


def _push(read: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        value = read(machine)  # first, because it may change which list the stack is
        machine.stack.append(value)

    return step


def _uint(width: int) -> Callable[[Machine], int]:
    return lambda machine: int.from_bytes(machine.take(width), "little")


def _float64(machine: Machine) -> float:
    value: float = struct.unpack(">d", machine.take(8))[0]
    return value


_STOP = ord(".")
_STEPS: dict[int, Callable[[Machine], None]] = {
    # the stack and the memo
    ord("("): _mark,
    ord("0"): _pop,
    ord("1"): lambda m: m.above_mark().clear(),
    ord("2"): lambda m: m.stack.append(m.stack[-1]),
    ord("p"): lambda m: m.remember(_index(m)),
    ord("q"): lambda m: m.remember(m.take(1)[0]),
    ord("r"): lambda m: m.remember(int.from_bytes(m.take(4), "little")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("g"): lambda m: m.recall(_index(m)),
    ord("h"): lambda m: m.recall(m.take(1)[0]),
    ord("j"): lambda m: m.recall(int.from_bytes(m.take(4), "little")),
    0x80: lambda m: m.skip(1),  # protocol
    0x95: lambda m: m.skip(8),  # frame: its length is of use to streams only
    0x98: lambda m: None,  # buffer becomes read-only
    # numbers and constants
    ord("N"): _push(lambda m: None),
    0x88: _push(lambda m: True),
    0x89: _push(lambda m: False),
    ord("I"): _push(lambda m: _decimal(m.line())),
    ord("L"): _push(lambda m: _decimal(m.line())),
    ord("F"): _push(lambda m: float(m.line())),
    ord("J"): _push(lambda m: int.from_bytes(m.take(4), "little", signed=True)),
    ord("K"): _push(_uint(1)),
    ord("M"): _push(_uint(2)),
    ord("G"): _push(_float64),
    0x8A: _push(lambda m: _integer(m, 1)),
    0x8B: _push(lambda m: _integer(m, 4)),
    # text and bytes
    ord("S"): _push(lambda m: m.line().strip()[1:-1]),
    ord("T"): _push(lambda m: _old_text(m.counted(4))),
    ord("U"): _push(lambda m: _old_text(m.counted(1))),
    ord("V"): _push(lambda m: codecs.decode(m.line().encode(), "raw-unicode-escape")),
    ord("X"): _push(lambda m: _text(m.counted(4))),
    0x8C: _push(lambda m: _text(m.counted(1))),
    0x8D: _push(lambda m: _text(m.counted(8))),
    ord("B"): _push(lambda m: m.counted(4)),
    ord("C"): _push(lambda m: m.counted(1)),
    0x8E: _push(lambda m: m.counted(8)),
    0x96: _push(lambda m: m.counted(8)),
    # containers; sets are lists here, because their members would be hashed
    ord(")"): _push(lambda m: ()),
    ord("t"): _push(lambda m: tuple(m.above_mark())),
    0x85: lambda m: _tuple(m, 1),
    0x86: lambda m: _tuple(m, 2),
    0x87: lambda m: _tuple(m, 3),
    ord("]"): _push(lambda m: []),
    ord("l"): _push(lambda m: m.above_mark()),
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.above_mark()),
    ord("}"): _push(lambda m: {}),
    ord("d"): _dictionary,
    ord("s"): lambda m: m.set_items(_pair(m)),
    ord("u"): lambda m: m.set_items(m.above_mark()),
    0x8F: _push(lambda m: []),
    0x90: lambda m: m.append(m.above_mark()),
    0x91: _push(lambda m: m.above_mark()),
    # names, calls, and what lies outside
    ord("c"): _global,
    0x93: _stack_global,
    ord("i"): _instance,
    ord("o"): _object,
    ord("R"): lambda m: m.call(1),
    0x81: lambda m: m.call(1),
    0x92: lambda m: m.call(2),
    ord("b"): lambda m: m.build(),
    ord("P"): lambda m: m.persistent(m.line()),
    ord("Q"): lambda m: m.persistent(m.stack.pop()),
    0x82: lambda m: m.extension(1),
    0x83: lambda m: m.extension(2),
    0x84: lambda m: m.extension(4),
}
