"""Generate repdiag/encoders/architectures.json.gz: what names and shapes each known architecture has.

Run after an update of timm or torchvision:  python scripts/build_arch_index.py
Every architecture is built on the `meta` device, so that this takes minutes and little memory. Those that
have the very same names and shapes are then given the same random weights and one random image, to learn
which of them compute the same; comparisons that the present index holds for the same versions are kept.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import math
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from repdiag.encoders import preprocessing, sketch, zoo
from repdiag.files import atomic

TARGET = Path(__file__).parent.parent / "repdiag" / "encoders" / "architectures.json.gz"
LARGEST = 120_000_000  # parameters that are still worth the time to compare
DERIVED = ("lingbot",)  # further trained from DINOv3, whose names and shapes it has
TOLERANCE = 1e-4  # of the largest feature


def entry(name: str) -> tuple[str, dict[str, Any], list[Any]]:
    """The tensors' digest, the description that architectures with equal tensors share, and what is its own."""
    network = zoo.on_meta(name)
    shapes = sketch.required(network.state_dict())
    shared = {
        "tensors": len(shapes),
        "sketch": sketch.sketch(shapes),
        "parts": sketch.part_sums(shapes),
        "inside": sketch.inside_heads(shapes),
        "parameters": sum(math.prod(shape) for shape in shapes.values()),
    }
    return sketch.tensors_digest(shapes), shared, [features(name, network), preprocessing_of(name, network)]


def features(name: str, network: torch.nn.Module) -> int | None:
    """D of the pooled output; timm says it, torchvision's networks are run without numbers."""
    if name.startswith("timm:"):
        said = getattr(network, "head_hidden_size", None) or getattr(network, "num_features", None)
        return said if isinstance(said, int) else None
    size = preprocessing.of_library(name, network).size
    try:
        with torch.inference_mode():
            return int(network(torch.zeros(1, 3, size, size, device="meta")).shape[1])
    except (AssertionError, NotImplementedError, RuntimeError):
        return None


def preprocessing_of(name: str, network: torch.nn.Module) -> dict[str, Any] | None:
    """The fields of its Preprocessing, None where the library says something that makes no sense."""
    try:
        return dataclasses.asdict(preprocessing.of_library(name, network))
    except (TypeError, ValueError, StopIteration):
        return None


def preference(name: str) -> tuple[int, bool, int, str]:
    """torchvision before timm, the method before what was made of it, then the plainest (shortest) name."""
    later = any(word in name for word in DERIVED)
    return zoo.LIBRARIES.index(name.partition(":")[0]), later, len(name), name


def build(name: str) -> torch.nn.Module:
    """The network with random weights, none of them constant (a zero hides what stands behind it)."""
    torch.manual_seed(0)
    network = zoo.build(name)
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.numel() > 1:
            noise = torch.rand_like(tensor) * 0.2
            tensor.add_(noise if key.endswith("running_var") else noise - 0.1)
    return network


@torch.no_grad()
def compared(
    names: list[str], parameters: int, before: dict[frozenset[str], dict[str, Any]]
) -> dict[str, Any]:
    """For each name whether it computes what the first one does (None: too large to try)."""
    kept = before.get(frozenset(names), {})
    if next(iter(kept), None) == names[0]:
        return kept
    same: dict[str, bool | None] = dict.fromkeys(names)
    same[names[0]] = True
    if len(names) == 1 or parameters > LARGEST:
        return same
    reference = build(names[0])
    size = getattr(reference, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    wanted = reference(image)
    for name in names[1:]:
        network = build(name)
        network.load_state_dict(reference.state_dict())
        try:
            found = network(image)
            same[name] = found.shape == wanted.shape and bool(
                (found - wanted).abs().max() <= TOLERANCE * wanted.abs().max()
            )
        except (AssertionError, RuntimeError):  # made for another image size
            same[name] = False
    return same


def earlier(versions: dict[str, str]) -> dict[frozenset[str], dict[str, Any]]:
    """The comparisons in the present index, if it is of the same versions, by the names compared."""
    if not TARGET.exists():
        return {}
    index = json.loads(gzip.decompress(TARGET.read_bytes()))
    return (
        {frozenset(g["names"]): g["names"] for g in index["groups"]} if index["made_with"] == versions else {}
    )


def main() -> int:
    """Build every architecture and write the index."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    groups: dict[str, dict[str, Any]] = {}
    left_out = 0
    for library in zoo.LIBRARIES:
        for architecture in zoo.names(library):
            name = f"{library}:{architecture}"
            try:
                key, shared, own = entry(name)
            except Exception as error:  # a library's own breakage must not lose the rest; it is listed
                left_out += 1
                print(f"left out {name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            group = groups.setdefault(key, shared | {"names": [], "facts": {}})
            group["names"].append(name)
            group["facts"][name] = own
    versions = {library: metadata.version(library) for library in zoo.LIBRARIES}
    before = earlier(versions)
    for group in groups.values():
        group["names"] = compared(sorted(group["names"], key=preference), group["parameters"], before)
    index = {
        "made_with": versions,
        "groups": [groups[key] for key in sorted(groups)],
    }
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:  # no time stamp: equal input, equal file
        file.write(json.dumps(index, separators=(",", ":")).encode())
    with atomic(TARGET) as temporary:
        temporary.write_bytes(buffer.getvalue())
    count = sum(len(group["names"]) for group in groups.values())
    size = TARGET.stat().st_size
    print(f"{count} architectures, {len(groups)} tensor sets, {left_out} left out, {size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
