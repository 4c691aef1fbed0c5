"""Writing safetensors with the same bytes for the same content.

The library writes metadata in random order; here it is sorted. Tensors are written one by one, so that no
second copy of the weights is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO

import torch

from repdiag.errors import OutputError

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write(file: IO[bytes], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """All `tensors` with `metadata`; wide numbers first, so that every tensor is aligned to its item size.

    Raises OutputError for a tensor of a type that the format does not have.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in NAMES:
            raise OutputError(f"safetensors has no type for the tensor {name} ({tensor.dtype})")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        file.write(memoryview(flat.numpy()))  # type: ignore[arg-type]
