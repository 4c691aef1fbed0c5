"""Generate repdiag/encoders/architectures.json.gz: what names and shapes each known architecture has.

Run after an update of timm or torchvision:  python scripts/build_arch_index.py
Every architecture is built on the `meta` device, so that the whole takes minutes and little memory.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from repdiag.encoders import sketch, zoo
from repdiag.files import atomic

TARGET = Path(__file__).parent.parent / "repdiag" / "encoders" / "architectures.json.gz"


def entry(name: str) -> tuple[str, dict[str, Any], str]:
    """The tensors' digest, the description that equal tensors share, and the structure's digest."""
    network = zoo.on_meta(name)
    shapes = sketch.required(network.state_dict())
    shared = {"tensors": len(shapes), "sketch": sketch.sketch(shapes)}
    return sketch.tensors_digest(shapes), shared, sketch.structure_digest(network)


def main() -> int:
    """Build every architecture and write the index."""
    groups: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for library in zoo.LIBRARIES:
        for architecture in zoo.names(library):
            name = f"{library}:{architecture}"
            try:
                key, shared, structure = entry(name)
            except Exception as error:  # a library's own breakage must not lose the rest; it is listed
                left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
                print(f"left out {name}: {left_out[name]}", file=sys.stderr)  # noqa: T201
                continue
            groups.setdefault(key, shared | {"names": {}})["names"][name] = structure
    index = {
        "made_with": {library: metadata.version(library) for library in zoo.LIBRARIES},
        "groups": [groups[key] for key in sorted(groups)],
    }
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:  # no time stamp: equal input, equal file
        file.write(json.dumps(index, separators=(",", ":"), sort_keys=True).encode())
    with atomic(TARGET) as temporary:
        temporary.write_bytes(buffer.getvalue())
    count = sum(len(group["names"]) for group in groups.values())
    size = TARGET.stat().st_size
    print(f"{count} architectures, {len(groups)} tensor sets, {len(left_out)} left out, {size} bytes")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
