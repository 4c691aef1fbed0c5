"""What an export is: the facts that the caller gets and that lie beside the file as JSON."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repdiag.encoders import Encoder
from repdiag.encoders.chosen import kept_by

LIBRARIES = ("repdiag", "torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Source:
    """Where the weights come from: a file's, folder's or model's name, and the SHA-256 of each of its files."""

    name: str
    container: str
    sha256: Mapping[str, str]


def source_of(path: Path, name: str) -> Source:
    """The source that a MODEL argument names."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(
            p for p in path.iterdir() if p.is_file() and p.suffix in (".json", ".safetensors", ".bin")
        )
    else:
        return Source(name, "", {})
    digests = {}
    for file in files:
        with file.open("rb") as opened:
            digests[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return Source(path.name, "", digests)


@dataclass(frozen=True)
class Exported:
    """A written and verified export.

    `max_abs_difference` is the largest difference of a feature between the re-opened file and the encoder over
    random images in batches of `batch_sizes`, `max_relative_difference` that as a share of the largest
    feature, `tolerance` what of it was accepted. `flags` are the keywords of `load_encoder` that open the file,
    `code` the lines of Python that open it without repdiag where that is possible.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    encoder: Encoder = field(repr=False)
    source: Source
    normalizes: bool
    sha256: str
    size_bytes: int
    batch_sizes: tuple[int, ...]
    max_abs_difference: float
    max_relative_difference: float
    tolerance: float
    flags: Mapping[str, Any]
    code: tuple[str, ...]

    @property
    def command(self) -> str | None:
        """The command that scores the file; None where repdiag does not read the format."""
        if self.format == "onnx":
            return None
        words = []
        for name, value in self.flags.items():
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(option if value else f"--no-{name.replace('_', '-')}")
                continue
            many = isinstance(value, (tuple, list))
            words += [option, ",".join(map(str, value)) if many else str(value)]
        return shlex.join(["repdiag", "score", self.path.name, "DATASET", *words])

    @property
    def input(self) -> str:
        """What the file's network takes."""
        how = self.encoder.preprocessing
        values = "values in [0, 1]" if self.normalizes else "normalized values"
        return f"(B, {how.channels}, {how.size}, {how.size}) float32, {values}"

    @property
    def features(self) -> dict[str, Any] | None:
        """Which of the encoder's features the file's network ends in; None where it is all of them."""
        kept = kept_by(self.encoder)
        return (
            None if kept is None else {"kept": list(kept.columns), "of": kept.of, "layers": list(kept.layers)}
        )

    def describe(self) -> dict[str, Any]:
        """Everything, ready for JSON; files by their names."""
        return {
            "file": self.path.name,
            "format": self.format,
            "sha256": self.sha256,
            "bytes": self.size_bytes,
            "input": self.input,
            "output": f"(B, {self.encoder.dim}) float32",
            "normalization_inside": self.normalizes,
            "features": self.features,
            "encoder": self.encoder.describe(),
            "source": {
                "name": self.source.name,
                "container": self.source.container,
                "sha256": dict(self.source.sha256),
            },
            "verification": {
                "how": "the written file was opened again and run on random images beside the encoder",
                "batch_sizes": list(self.batch_sizes),
                "bit_equal": self.max_abs_difference == 0,
                "max_abs_difference": self.max_abs_difference,
                "max_relative_difference": self.max_relative_difference,
                "tolerance": self.tolerance,
            },
            "load": {"python": list(self.code), "repdiag": self.command},
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Of the libraries that are installed and have a part in it."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def packed(values: Mapping[str, object]) -> str:
    """JSON that is the same for the same values."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
