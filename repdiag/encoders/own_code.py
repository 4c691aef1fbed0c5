"""Architectures of the user's own: `path/to/file.py:factory`, the one place where the user's code runs."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from repdiag.errors import UsageError
from repdiag.registry import did_you_mean

if TYPE_CHECKING:
    from torch import nn

FORM = re.compile(r"(?P<file>.+\.py):(?P<factory>\w+)")


def factory(arch: str) -> Callable[[], nn.Module]:
    """The factory that `file.py:name` names; calling it gives the module.

    Raises UsageError when the file cannot be imported, has no such function, or that gives no nn.Module.
    """
    form = FORM.fullmatch(arch)
    if form is None:
        raise UsageError(f"'{arch}' is no architecture file", do="Write it as path/to/file.py:factory")
    path, name = Path(form["file"]), form["factory"]
    if not path.is_file():
        raise UsageError("There is no such architecture file", where=str(path))
    functions = _import(path)
    make = functions.get(name)
    if not callable(make):
        own = [n for n, value in functions.items() if callable(value) and not n.startswith("_")]
        raise UsageError(
            f"The architecture file has no function '{name}'", where=str(path), do=did_you_mean(name, own)
        )

    def build() -> nn.Module:
        from torch import nn

        try:
            network = make()
        except Exception as error:  # the user's code may fail in any way
            raise UsageError(f"{name}() failed: {_short(error)}", where=str(path)) from error
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise UsageError(f"{name}() gave a {kind}, not a torch.nn.Module", where=str(path))
        return network

    return build


def identity(arch: str) -> str:
    """The factory's name and a hash of its file: edited code is another encoder, a moved file is not.

    What the file imports is not looked into.
    """
    file, _, name = arch.rpartition(":")
    return f"{name} {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"


def _import(path: Path) -> dict[str, object]:
    """The file's names. Its folder is importable meanwhile, as when Python runs it."""
    spec = importlib.util.spec_from_file_location(f"repdiag_arch_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError("Python cannot import the architecture file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"The architecture file cannot be imported: {_short(error)}", where=str(path)
        ) from error
    finally:
        sys.path.remove(folder)
    return vars(module)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:200]}"
