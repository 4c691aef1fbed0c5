"""safetensors: a JSON header with names, shapes and free metadata, then the raw tensors; nothing executable."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from repdiag.checkpoints.checkpoint import CONTAINERS, Contents, Outline, Source, TensorInfo
from repdiag.checkpoints.names import ITEM_SIZES
from repdiag.errors import CheckpointError

MAX_HEADER = 1 << 25  # bytes; that of a model with ten thousand tensors has one million
MAX_DIMENSIONS = 64

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


class Safetensors:
    """Checks the header, then reads through the library's memory map."""

    name = "safetensors"

    def matches(self, source: Source) -> bool:
        """Eight bytes of header length (whatever it claims, below 2^48), then JSON."""
        return len(source.head) >= 9 and source.head[8:9] == b"{" and source.head[6:8] == b"\0\0"

    def outline(self, source: Source) -> Outline:
        """See `Container.outline`."""
        return self.survey(source)[0]

    def survey(self, source: Source) -> tuple[Outline, dict[str, int]]:
        """The outline, and where in the file each tensor's bytes begin, after all checks."""
        length = int.from_bytes(source.head[:8], "little")
        if length > source.size - 8:
            raise _damaged(f"its header claims {length:,} bytes where {source.size - 8:,} are left", source)
        if length > MAX_HEADER:
            raise _damaged(f"its header claims {length:,} bytes, which no model needs", source)
        with source.path.open("rb") as file:
            file.seek(8)
            header = _parsed(file.read(length), source)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise _damaged("its metadata are not all text", source)
        places: dict[str, tuple[int, int]] = {}
        tensors: dict[str, TensorInfo] = {}
        for name, entry in header.items():
            tensors[name], places[name] = _tensor(name, entry, source)
        at = 0
        for begin, end in sorted(places.values()):
            if begin != at:
                raise _damaged("its tensors overlap or leave gaps", source)
            at = end
        if at != source.size - 8 - length:
            raise _damaged(
                f"its tensors need {at:,} bytes where {source.size - 8 - length:,} are left", source
            )
        told = Outline(tensors, metadata, keys=tuple(tensors)[:200])
        return told, {name: 8 + length + begin for name, (begin, _) in places.items()}

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        from safetensors import SafetensorError, safe_open

        told = self.outline(source)
        try:
            with safe_open(source.path, framework="pt", device="cpu") as file:
                tensors = {name: file.get_tensor(name) for name in told.tensors}
        except (SafetensorError, OSError, ValueError) as error:
            raise _damaged(str(error).splitlines()[0], source) from error
        return Contents(tensors, told.metadata)


def _damaged(reason: str, source: Source) -> CheckpointError:
    return CheckpointError(
        f"The safetensors file is damaged: {reason}", where=source.where, do="Download or copy the file again"
    )


def _parsed(data: bytes, source: Source) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError("a name appears twice")
        return made

    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is no JSON, or names something twice", source) from error
    if not isinstance(header, dict):
        raise _damaged("its header is no JSON object", source)
    return header


def _are_sizes(numbers: Any) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)


def _tensor(name: str, entry: Any, source: Source) -> tuple[TensorInfo, tuple[int, int]]:
    if not isinstance(entry, dict):
        raise _damaged(f"the tensor '{name[:200]}' is not described", source)
    code, shape, place = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(code, str) or code not in DTYPES:
        raise CheckpointError(
            f"The tensor '{name[:200]}' is of type {str(code)[:50]}, which repdiag does not read",
            where=source.where,
        )
    if not (_are_sizes(shape) and _are_sizes(place) and len(shape) <= MAX_DIMENSIONS and len(place) == 2):
        raise _damaged(f"the tensor '{name[:200]}' has a malformed shape or place", source)
    needed = ITEM_SIZES[DTYPES[code]]
    for size in shape:
        needed *= size
    if place[1] - place[0] != needed:
        raise _damaged(
            f"the tensor '{name[:200]}' needs {needed:,} bytes and has {place[1] - place[0]:,}", source
        )
    return TensorInfo(tuple(shape), DTYPES[code]), (place[0], place[1])


CONTAINERS.add(Safetensors.name, Safetensors(), __name__)
