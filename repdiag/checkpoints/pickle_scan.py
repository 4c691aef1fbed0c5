"""What a pickle would import and do, found by reading its opcodes; nothing in it is executed.

torch's weights-only loader runs a fixed small machine and refuses globals it does not know. To get at the
tensors beside an `argparse.Namespace` those globals are given inert stand-ins, and the stand-in must be of
the kind that the pickle's next steps expect: a real dict where items are set, a real list where they are
appended, anything else otherwise. The scan follows the stack just far enough to tell.
"""

from __future__ import annotations

import _compat_pickle
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from repdiag.errors import CheckpointError

HOSTILE_MODULES = frozenset(
    {
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "pty",
        "runpy",
        "shutil",
        "socket",
        "importlib",
        "ctypes",
        "webbrowser",
    }
)
HOSTILE_BUILTINS = frozenset({"eval", "exec", "compile", "open", "__import__", "input", "breakpoint"})


@dataclass(frozen=True)
class Global:
    """A name that a pickle imports, in Python 3's spelling."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def hostile(self) -> bool:
        """Whether no checkpoint has any business with it."""
        package = self.module.partition(".")[0]
        return package in HOSTILE_MODULES or (package == "builtins" and self.name in HOSTILE_BUILTINS)


@dataclass
class Scan:
    """The globals of one or more pickles, in order, and which of them make dicts or lists."""

    globals: dict[Global, None] = field(default_factory=dict)
    dicts: set[Global] = field(default_factory=set)
    lists: set[Global] = field(default_factory=set)


_MARK = object()
_STRING_OPCODES = {"SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "BINUNICODE8"}


def scan(file: IO[bytes], count: int, where: str) -> Scan:
    """What `count` pickles do that follow each other from the file's position.

    Raises CheckpointError when the bytes are no complete pickles.
    """
    found = Scan()
    try:
        for _ in range(count):
            _follow(pickletools.genops(file), found)
    except (ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"The pickle in the checkpoint is damaged or cut off: {str(error).splitlines()[0]}",
            where=where,
            do="Download or copy the file again",
        ) from error
    return found


def _follow(operations: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]], into: Scan) -> None:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in operations:
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            if name == "INST":
                _pop_to_mark(stack)
            stack.append(_see(into, *argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_see(into, str(module), str(attribute)))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.pop()  # the arguments; the callable below stands for its result
        elif name == "NEWOBJ_EX":
            del stack[-2:]
        elif name in ("BUILD", "APPEND", "SETITEM"):
            del stack[-2 if name == "SETITEM" else -1 :]
            _note(into, name, stack[-1])
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            _pop_to_mark(stack)
            _note(into, name, stack[-1])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in _STRING_OPCODES:
            stack.append(argument)
        else:
            _generic(opcode, stack)


def _generic(opcode: pickletools.OpcodeInfo, stack: list[Any]) -> None:
    """Take and put as many anonymous values as the opcode's documentation says."""
    before = list(opcode.stack_before)
    if pickletools.markobject in before:
        _pop_to_mark(stack)
        before = before[: before.index(pickletools.markobject)]
    if before:
        del stack[-len(before) :]
    stack.extend([None] * len(opcode.stack_after))


def _pop_to_mark(stack: list[Any]) -> None:
    while stack.pop() is not _MARK:
        pass


def _see(into: Scan, module: str, name: str) -> Global:
    if (module, name) in _compat_pickle.NAME_MAPPING:
        module, name = _compat_pickle.NAME_MAPPING[module, name]
    else:
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    found = Global(module, name)
    into.globals[found] = None
    return found


def _note(into: Scan, operation: str, target: Any) -> None:
    if isinstance(target, Global):
        if operation.startswith("SETITEM"):
            into.dicts.add(target)
        elif operation.startswith("APPEND"):
            into.lists.add(target)


# --------------------------------------------------------------------------------------------- stand-ins

StandIn = Callable[..., Any] | tuple[Callable[..., Any], str]
"""What torch.serialization.safe_globals takes (its type is invariant)."""


class Inert:
    """Accepts any construction and any state, keeps nothing, does nothing."""

    def __new__(cls, *args: object, **options: object) -> Inert:
        """An object without any state."""
        return super().__new__(cls)

    def __init__(self, *args: object, **options: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class PlainDict:
    """Makes an ordinary dict in place of a dict subclass, so that what it holds is found."""

    def __new__(cls, *args: Any, **options: object) -> Any:
        """An OrderedDict of the first argument where that holds pairs (as Python 2 wrote them)."""
        items = args[0] if args and isinstance(args[0], (dict, list)) else ()
        return OrderedDict(items)


class PlainList:
    """Makes an ordinary list in place of a list subclass."""

    def __new__(cls, *args: Any, **options: object) -> Any:
        """An empty list, or a copy of the first argument where that is one."""
        return list(args[0]) if args and isinstance(args[0], list) else []


def stand_ins(found: Scan, blocked: Iterable[Global]) -> list[StandIn]:
    """(inert class, full name) for each blocked global, for `torch.serialization.safe_globals`."""
    result: list[StandIn] = []
    for name in blocked:
        base = PlainDict if name in found.dicts else PlainList if name in found.lists else Inert
        result.append((type("Stub", (base,), {}), str(name)))
    return result


def probe(names: Iterable[Global]) -> bytes:
    """A pickle that only names its globals; one can ask torch which of them it would refuse."""
    lines = [pickle.GLOBAL + f"{n.module}\n{n.name}\n".encode("utf-8", "surrogatepass") for n in names]
    return pickle.PROTO + b"\x02" + b"".join(lines) + pickle.STOP
