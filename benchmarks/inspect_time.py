"""Times `repdiag inspect` against its limit, reading the file once for its SHA-256, and prints a Markdown table.

    python benchmarks/inspect_time.py [--runs 5]

The files are made in a temporary folder: a ResNet-50 alone (about 100 MB), MoCo training checkpoint of it (query,
key, queue and momentum) and a ViT-L as safetensors. The limit is a process that imports nothing of repdiag and
hashes the same bytes; torch.load of the same file with weights_only=True is what a script would do instead.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from repdiag.encoders import zoo

HASH = "import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256').hexdigest())"
LOAD = "import sys, torch; torch.load(sys.argv[1], weights_only=True, map_location='cpu')"
OPEN = "import sys; from safetensors.torch import load_file; load_file(sys.argv[1])"


def write(folder: Path) -> list[tuple[str, Path]]:
    """The files, as (what they are, where)."""
    resnet = zoo.build("torchvision:resnet50").state_dict()
    query = {f"module.encoder_q.{name}": tensor for name, tensor in resnet.items()}
    key = {f"module.encoder_k.{name}": tensor.clone() for name, tensor in resnet.items()}
    momentum = {i: {"momentum_buffer": t.clone()} for i, t in enumerate(resnet.values())}
    moco = {
        "epoch": 200,
        "state_dict": query | key | {"module.queue": torch.randn(128, 65536)},
        "optimizer": {"state": momentum, "param_groups": [{"lr": 0.03}]},
    }
    plain, training, vit = folder / "resnet50.pth", folder / "moco.pth.tar", folder / "vit.safetensors"
    torch.save(resnet, plain)
    torch.save(moco, training)
    save_file(zoo.build("timm:vit_large_patch16_224").state_dict(), vit)
    return [("ResNet-50", plain), ("MoCo training checkpoint", training), ("ViT-L, safetensors", vit)]


def seconds(*command: str, runs: int) -> float:
    """The median wall time of a process, its start included."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> int:
    """Make the files, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(
        "| file | MB | inspect | hash alone | ratio | loading it instead |\n|---|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for what, path in write(Path(folder)):
            inspect = seconds(sys.executable, "-m", "repdiag", "inspect", str(path), runs=runs)
            limit = seconds(sys.executable, "-c", HASH, str(path), runs=runs)
            load = OPEN if path.suffix == ".safetensors" else LOAD
            other = seconds(sys.executable, "-c", load, str(path), runs=max(1, runs // 2))
            size = path.stat().st_size / 1e6
            print(
                f"| {what} | {size:.0f} | {inspect:.2f} s | {limit:.2f} s | {inspect / limit:.1f} | {other:.2f} s |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
