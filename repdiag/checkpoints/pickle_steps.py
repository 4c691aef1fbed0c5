"""The pickle machine's instructions: what each takes and puts on the stack (protocols 0 to 5)."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from repdiag.checkpoints.pickle_values import Damaged, Object

if TYPE_CHECKING:
    from repdiag.checkpoints.pickles import Machine

MAX_NUMBER = 512  # bytes of one integer: Python's conversions of larger ones are slow


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


STOP = ord(".")
STEPS: dict[int, Callable[[Machine], None]] = {
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
