"""Whether a torch.export archive is only a graph of tensor operations.

torch.export.load is not made for files of strangers: it unpickles some records, evaluates symbolic shapes as
Python, looks operators up by dotted names from the torch module on, and loads compiled libraries. All of
this is decided by plain JSON in the archive, so it can be checked before: allowed is what an exported
network needs, everything else is refused.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repdiag.checkpoints.zips import Archive
from repdiag.errors import CheckpointError, UnsafeCheckpointError

MAX_JSON = 1 << 26  # bytes of a graph; a large vision model's has two million
OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|torchvision)\.(?!from_file\b|save\b|load\b)\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum|sqrt)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc)"
)
PAYLOAD = re.compile(r"(weight|tensor)_\d+")
SYMBOL = re.compile(r"[a-z]+\d*")
PYTREE = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
FUNCTIONS = frozenset(
    {"Symbol", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing", "IntTrueDiv", "Max"}
    | {"FloatTrueDiv", "TruncToInt", "RoundToInt", "ToFloat", "PowByNatural", "Pow", "Abs", "Min"}
    | {"Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Add", "Mul", "Integer", "Rational"}
)
_HARMLESS_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop,
    ast.cmpop, ast.keyword, ast.Load,
)  # fmt: skip


def check(archive: Archive) -> None:
    """Raises UnsafeCheckpointError when the archive holds more than a graph and tensors."""
    path = archive.path
    archive.refuse_lookalikes()
    for record in archive.records:
        inner = record.partition("/")[2]
        if inner.startswith("data/aotinductor/") or inner.endswith((".so", ".dll", ".dylib", ".o")):
            raise _unsafe(f"compiled code ({inner})", path)
        if not inner.endswith(".json") and not inner.startswith(
            "models/"
        ):  # torch takes all there for graphs
            continue
        try:
            document = json.loads(archive.read(record, MAX_JSON))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"The record {record} is no JSON", where=str(path)) from error
        for key, value in _entries(document):
            if (reason := _objection(key, value)) is not None:
                raise _unsafe(reason, path)


def _unsafe(what: str, path: Path) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"The torch.export archive holds {what}, which a plain network has no need of; nothing was run",
        where=str(path),
        do="Export the encoder alone with torch.export.save, or save its state_dict()",
    )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All (key, value) pairs at any depth."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            yield from current.items()
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)


def _objection(key: str, value: Any) -> str | None:
    """What is wrong with one entry, None when nothing is."""
    if key == "range_constraints" and isinstance(value, dict):
        return next((f"the symbol {name!r}" for name in value if not SYMBOL.fullmatch(name)), None)
    if not isinstance(value, str):
        return None
    if key == "path_name" and not PAYLOAD.fullmatch(value):
        return f"the object {value!r}"
    if key == "as_operator" or (key == "target" and value.startswith(("torch.", "_operator", "math", "#"))):
        return None if OPERATOR.fullmatch(value) else f"the operation {value!r}"
    if key == "expr_str" and not _is_arithmetic(value):
        return f"the expression {value!r}"
    if key in ("in_spec", "out_spec") and value:
        return _spec_objection(value)
    return None


def _spec_objection(text: str) -> str | None:
    try:
        types = [value for key, value in _entries(json.loads(text)) if key == "type"]
    except ValueError:
        return "a malformed signature"
    return next((f"arguments of type {kind!r}" for kind in types if kind not in PYTREE), None)


def _is_arithmetic(text: str) -> bool:
    """Whether a symbolic shape is made of symbols, numbers and known functions only."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if node.id not in FUNCTIONS and not re.fullmatch(r"[a-z]+\d+", node.id):
                return False
        elif isinstance(node, ast.Call):
            if not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
                return False
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and not SYMBOL.fullmatch(node.value):
                return False
        elif not isinstance(node, _HARMLESS_NODES):
            return False
    return True
