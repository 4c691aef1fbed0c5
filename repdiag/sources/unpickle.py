"""Reads a pickle of plain data and numpy arrays without running any code from it.

Unpickling calls what the file names. Here five names are known, and each stands for an inert builder of ours; any
other name ends the reading. So a file can make lists, dicts, numbers, text and arrays, and nothing else.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError

_KINDS = frozenset("biuf")
_DEEPEST = 20
_MOST_VALUES = 1_000_000
"""A list may hold itself many times over; what it would grow to is counted, not made."""


class _Dtype:
    """What `numpy.dtype` is called with: a kind and a size, and later the byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = _text(code), "|"

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else "|"
        self.order = order if order in {"<", ">", "|", "="} else "|"

    def dtype(self) -> np.dtype[Any]:
        found = np.dtype(self.order.replace("|", "") + self.code)
        if found.kind not in _KINDS:
            raise pickle.UnpicklingError(f"an array of {found}")
        return found


class _Array:
    """What `_reconstruct` makes of an array before its content is known."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> npt.NDArray[Any]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise pickle.UnpicklingError("an array without content")
        _, shape, kind, fortran, content = self.state
        if isinstance(content, str):  # as Python 2 wrote bytes, read as latin-1
            content = content.encode("latin-1")
        if not isinstance(kind, _Dtype) or not isinstance(content, bytes) or not _is_shape(shape):
            raise pickle.UnpicklingError("an array of something else than numbers")
        dtype = kind.dtype()
        if math.prod(shape) * dtype.itemsize != len(content):
            raise pickle.UnpicklingError(f"an array of shape {shape} with {len(content)} bytes")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)


def _encoded(text: Any, encoding: Any = "latin-1", *_: Any) -> bytes:
    """`_codecs.encode` for the one use that pickles make of it: bytes written as text."""
    if not isinstance(text, str) or _text(encoding) not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError("an encoding other than latin-1")
    return text.encode("latin-1")


class _Name:
    """A name that a pickle may ask for: it can be called, and nothing about it can be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what a name means")


def _nothing(*_: Any) -> Any:
    """`numpy.ndarray` is only passed on by `_reconstruct`; called itself, it would make an array of any size."""
    raise pickle.UnpicklingError("an array made in an unknown way")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _nothing,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encoded,
}


# The machine written in Python: the one in C believes a file that says its table of references is 32 GB long.
class _Reader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Name(_KNOWN[module, name])
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_plain(content: bytes, where: str) -> Any:
    """The data in a pickle, with text for Python 2's bytes; raises DataError for anything but plain data."""
    try:
        return _Plain().of(_Reader(io.BytesIO(content), encoding="latin-1").load(), 0)
    except Exception as error:  # a damaged pickle raises nearly anything
        message = f"This pickle is not read: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
        do = "Only numbers, text and arrays are taken from pickles, as code in them is never run"
        raise DataError(message, where=where, do=do) from error


class _Plain:
    """Puts the arrays together and refuses everything that is not data, or endless."""

    def __init__(self) -> None:
        self.left = _MOST_VALUES

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth > _DEEPEST or self.left < 0:
            raise pickle.UnpicklingError("more data, or deeper, than any data set")
        if isinstance(value, _Array):
            return value.array()
        if isinstance(value, dict):
            return {self.of(key, depth + 1): self.of(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(each, depth + 1) for each in value]
        if isinstance(value, bytes):  # written by Python 3 for Python 2, or of keys that came as bytes
            return value.decode("latin-1")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise pickle.UnpicklingError("something else than data")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""
