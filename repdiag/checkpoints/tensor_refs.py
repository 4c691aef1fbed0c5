"""Which of the things that a pickle describes are tensors, dictionaries and scalars."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from repdiag.checkpoints.checkpoint import Fact, TensorInfo
from repdiag.checkpoints.names import (
    DENSE,
    DICTIONARIES,
    ITEM_SIZES,
    NUMPY_SCALARS,
    OTHER_TENSORS,
    STORAGES,
    TYPED,
    WRAPPERS,
    Global,
)
from repdiag.checkpoints.pickle_values import Key, Object, Persistent

MAX_DIMENSIONS = 64
MAX_EXPANSION = 1 << 26  # bytes that a tensor may claim beyond its storage (stride 0): views of one number
MAX_TEXT = 200


class Malformed(ValueError):
    """A tensor's description does not hold together."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor as a view of `storage` (its key in the file, `stored` bytes of it), in elements of `dtype`."""

    storage: str
    stored: int
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    quantizer: tuple[Any, ...] = ()

    @property
    def info(self) -> TensorInfo:
        """Shape and dtype alone."""
        return TensorInfo(self.shape, self.dtype)

    @property
    def extent(self) -> int:
        """Bytes of the storage from its begin to the tensor's last element."""
        if 0 in self.shape:
            return 0
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        return (last + 1) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class OtherTensor:
    """Something that holds numbers but is no plain tensor, and what it is."""

    kind: str


def checked(ref: TensorRef) -> TensorRef:
    """`ref` when it lies inside its storage; raises Malformed."""
    if len(ref.shape) > MAX_DIMENSIONS or len(ref.shape) != len(ref.strides):
        raise Malformed(f"{len(ref.shape)} sizes and {len(ref.strides)} strides")
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in (ref.offset, *ref.shape, *ref.strides)):
        raise Malformed("a size, stride or offset is no whole number from 0 on")
    if ref.extent > ref.stored:
        raise Malformed(f"shape {ref.shape} needs {ref.extent:,} bytes of a storage of {ref.stored:,}")
    claimed = ITEM_SIZES[ref.dtype]
    for size in ref.shape:
        claimed *= size
    if claimed > ref.stored + MAX_EXPANSION:
        raise Malformed(f"shape {ref.shape} claims {claimed:,} bytes over a storage of {ref.stored:,}")
    return ref


def tensor(value: Any) -> TensorRef | OtherTensor | None:
    """The tensor that `value` stands for, None when it is something else; raises Malformed."""
    for _ in range(8):  # wrappers in wrappers: a Parameter of a subclass
        if not isinstance(value, Object):
            return None
        called, args = value.called, value.args
        if called in WRAPPERS or called in TYPED:
            if not isinstance(args, tuple) or len(args) < (1 if called in WRAPPERS else 3):
                raise Malformed("a parameter has no data")
            if called in TYPED and isinstance(args[1], Global) and args[1].name == "DTensor":
                return OtherTensor("sharded")
            value = args[0] if called in WRAPPERS else Object(args[0], args[2])
        elif called in DENSE:
            return _dense(called, args)
        elif called.endswith("ShardedTensor"):
            return OtherTensor("sharded")
        elif called.startswith("torch.") and called.endswith("Tensor") and value.state is not None:
            return OtherTensor("in the form of torch 0.1")
        else:
            other = OTHER_TENSORS.get(called)
            return None if other is None else OtherTensor(other)
    raise Malformed("wrapped without end")


def _dense(called: str, args: Any) -> TensorRef | OtherTensor:
    if not isinstance(args, tuple) or len(args) < DENSE[called]:
        raise Malformed("arguments are missing")
    key, dtype, stored, base = _window(args[0])
    quantizer: tuple[Any, ...] = ()
    metadata = args[6] if called.endswith("_v2") and len(args) > 6 else None
    if called.endswith("_v3"):
        dtype = _dtype(args[6])
        metadata = args[7] if len(args) > 7 else None
    elif called.endswith("_rebuild_qtensor"):
        quantizer = _quantizer(args[4])
    if type(metadata) is dict and (len(metadata) > 8 or any(metadata.values())):  # conjugate, negative views
        return OtherTensor("lazily conjugated or negated")
    if dtype not in ITEM_SIZES:
        return OtherTensor(f"of type {dtype}")
    if dtype.startswith(("q", "quint")) != bool(quantizer):
        raise Malformed("quantized without a scale")
    offset, shape, strides = args[1], sizes(args[2]), sizes(args[3])
    if type(offset) is not int:
        raise Malformed("the offset is no number")
    ref = TensorRef(key, stored, dtype, offset + base // ITEM_SIZES[dtype], shape, strides, quantizer)
    return checked(ref)


def storage(value: Any) -> tuple[str, str, int, Any]:
    """Key, dtype, number of elements, and view (or None) of a storage; raises Malformed when it is none."""
    identity = value.id if isinstance(value, Persistent) else None
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or text(identity[0]) != "storage":
        raise Malformed("it has no storage")
    kind, key, numel = identity[1], text(identity[2]), identity[4]
    if not isinstance(kind, Global) or not kind.module.startswith("torch"):
        raise Malformed("its storage has no type")
    if key is None or type(numel) is not int or not 0 <= numel < 1 << 62:
        raise Malformed("its storage has no key or no size")
    return key, STORAGES.get(kind.name, kind.name), numel, identity[5] if len(identity) == 6 else None


def _window(value: Any) -> tuple[str, str, int, int]:
    """Key, dtype, bytes, and first byte of a storage or of a view of one (as files before torch 0.4 have)."""
    key, dtype, numel, view = storage(value)
    item = ITEM_SIZES.get(dtype, 1)
    if view is None:
        return key, dtype, numel * item, 0
    if not isinstance(view, tuple) or len(view) != 3 or any(type(n) is not int or n < 0 for n in view[1:]):
        raise Malformed("its storage is a malformed view")
    if view[1] + view[2] > numel:
        raise Malformed("its storage is a view beyond the end of another")
    return key, dtype, (view[1] + view[2]) * item, view[1] * item


def _dtype(value: Any) -> str:
    if isinstance(value, Global) and value.module == "torch":
        return value.name
    raise Malformed("its type is no torch.dtype")


def sizes(value: Any) -> tuple[int, ...]:
    """A shape or the like, as a torch.Size, tuple or list of whole numbers; raises Malformed."""
    if (
        isinstance(value, Object)
        and value.called == "torch.Size"
        and isinstance(value.args, tuple)
        and value.args
    ):
        value = value.args[0]
    if not isinstance(value, tuple | list) or len(value) > MAX_DIMENSIONS:
        raise Malformed("its sizes are no list of numbers")
    if any(type(n) is not int for n in value):
        raise Malformed("a size is no number")
    return tuple(value)


def _quantizer(value: Any) -> tuple[Any, ...]:
    """(scheme, scale, zero point) or (scheme, scales, zero points, axis), the latter two as tensors."""
    if isinstance(value, tuple) and value and isinstance(value[0], Global):
        scheme = value[0].name
        if scheme == "per_tensor_affine" and len(value) == 3:
            if type(value[1]) is float and type(value[2]) is int and abs(value[2]) < 1 << 31:
                return scheme, value[1], value[2]
        elif scheme.startswith("per_channel_affine") and len(value) == 4 and type(value[3]) is int:
            scales, zeros = tensor(value[1]), tensor(value[2])
            if isinstance(scales, TensorRef) and isinstance(zeros, TensorRef):
                return scheme, scales, zeros, value[3]
    raise Malformed("its quantization is malformed")


def entries(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The keys and values of a dictionary or of what stands for one, None for everything else."""
    if type(value) is dict:
        return value.items()
    if isinstance(value, Object):
        if value.items is not None:
            return value.items.items()
        if value.called in DICTIONARIES:
            return _given(value.args)
    return None


def _given(args: Any) -> Iterator[tuple[Any, Any]]:
    """What an OrderedDict was made of (Python 2 wrote it as a list of pairs)."""
    for given in args if isinstance(args, tuple) else ():
        if type(given) is dict:
            yield from given.items()
        elif type(given) is list:
            for pair in given:
                if isinstance(pair, tuple | list) and len(pair) == 2:
                    key = pair[0]
                    yield (key if type(key) in (str, bytes, int) else Key(key)), pair[1]


def attributes(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The attributes of an object that was given a state (its __dict__ and slots)."""
    if not isinstance(value, Object) or value.state is None:
        return None
    parts = value.state if isinstance(value.state, tuple) and len(value.state) == 2 else (value.state,)
    if not all(part is None or type(part) is dict for part in parts):
        return None
    return (pair for part in parts if part for pair in part.items())


def text(value: Any) -> str | None:
    """Text as Python 2 or 3 wrote it."""
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    return value if type(value) is str else None


def scalar(value: Any) -> Fact | None:
    """A plain value as a fact: cut text, numbers (numpy's too), paths; None for everything else."""
    if type(value) is bool:
        return value
    if type(value) is int:
        return value if value.bit_length() <= 63 else None
    if type(value) is float:
        return value if value == value and abs(value) != float("inf") else str(value)
    if type(value) in (str, bytes):
        return (text(value[: 4 * MAX_TEXT]) or "")[:MAX_TEXT]
    if isinstance(value, Object) and isinstance(value.args, tuple):
        if value.called in NUMPY_SCALARS:
            return _numpy_scalar(value.args)
        if value.called.startswith("pathlib.") and len(value.args) <= 64:
            parts = [part for part in value.args if type(part) is str]
            return "/".join(part[:MAX_TEXT] for part in parts).replace("//", "/")[:MAX_TEXT]
    return None


_NUMPY_FORMATS = {
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b",
    "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?",
}  # fmt: skip


def _numpy_scalar(args: tuple[Any, ...]) -> Fact | None:
    """numpy writes (dtype, bytes), and as bytes from Python 2 or protocol 2 a text encoded as Latin-1."""
    if len(args) != 2 or not isinstance(args[0], Object) or args[0].called != "numpy.dtype":
        return None
    data = args[1]
    if isinstance(data, Object) and data.called == "_codecs.encode" and isinstance(data.args, tuple):
        coded = data.args[0] if data.args else None
        data = coded[:16].encode("latin-1", "replace") if type(coded) is str else None
    kinds = args[0].args
    form = (
        _NUMPY_FORMATS.get(kinds[0]) if isinstance(kinds, tuple) and kinds and type(kinds[0]) is str else None
    )
    if form is None or type(data) is not bytes or len(data) != struct.calcsize("<" + form):
        return None
    return scalar(struct.unpack("<" + form, data)[0])
