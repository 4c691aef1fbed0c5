"""The formats of an export, and which one a file's name asks for."""

from __future__ import annotations

from pathlib import Path

from repdiag.errors import UsageError
from repdiag.registry import did_you_mean

FORMATS = ("safetensors", "torchscript", "torch.export", "onnx")

SUFFIXES = {
    ".safetensors": "safetensors",
    ".ts": "torchscript",
    ".torchscript": "torchscript",
    ".pt2": "torch.export",
    ".onnx": "onnx",
}


def choose(out: Path, asked: str | None) -> str:
    """The format that was `asked` for, else that of `out`'s suffix; UsageError where neither tells."""
    if asked is not None:
        if asked not in FORMATS:
            raise UsageError(f"There is no format '{asked}'", do=did_you_mean(asked, list(FORMATS)))
        return asked
    found = SUFFIXES.get(out.suffix.lower())
    if found is None:
        several = " (.pt may be TorchScript or torch.export)" if out.suffix.lower() in (".pt", ".pth") else ""
        raise UsageError(
            f"The file's suffix does not tell the format{several}",
            where=str(out),
            do=f"Say --format {' or '.join(FORMATS)}, or end the name in {', '.join(SUFFIXES)}",
        )
    return found
