"""Times `repdiag score`, cold, on the real encoders and images beside the checkout, and prints Markdown tables.

    python benchmarks/score_line.py [--only NAME]

Each run is a process of its own with an empty cache: wall time, peak memory, where the seconds went, the sizes of
the files, and the headline numbers. The limit of the extraction is the pure forward pass over the same number of
inputs of the same size in the same batches, measured here in the same run; the ratio says how near to it we are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CONV4 = "docs/examples/conv4.py:conv4"
SSL = SHARED / "enc-conv4-ssl-prototransfer"

RUNS: dict[str, list[str]] = {
    "ResNet-20 (supervised), CIFAR-10 test": [
        str(SHARED / "enc-cifar10-resnet-akamaster/resnet20-12fca82f.th"),
        str(SHARED / "cifar10/cifar10-test-png.zip"),
    ],
    "Conv4 (ProtoCLR, self-supervised), Tiny-ImageNet val": [
        str(SSL / "proto_miniimagenet_conv4_euclidean_1supp_3query_50bs_best.pth.tar"),
        str(SHARED / "tiny-imagenet/tiny-imagenet-val.zip"),
        "--arch",
        CONV4,
    ],
    "Conv4 (random), Tiny-ImageNet val": [
        str(SSL / "random_init_conv4.pth.tar"),
        str(SHARED / "tiny-imagenet/tiny-imagenet-val.zip"),
        "--arch",
        CONV4,
    ],
}


def forward_limit(arguments: list[str], found: dict[str, Any]) -> float:
    """Seconds of the bare forward pass over as many inputs as the run embedded, views included."""
    import torch

    from repdiag.encoders import load_encoder

    arch = arguments[arguments.index("--arch") + 1] if "--arch" in arguments else None
    encoder = load_encoder(arguments[0], arch=arch)
    shape = encoder.preprocessing
    batch = int(found["dataset"]["embedding"]["batch_size"])
    images = found["dataset"]["samples"] + 2 * min(2048, found["dataset"]["evaluated"])
    x, module, best = torch.rand(batch, shape.channels, shape.size, shape.size), encoder.module, float("inf")
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):  # the limit is the faster of the two
            module, x = module.to(memory_format=layout), x.contiguous(memory_format=layout)
            times = []
            for _ in range(12):
                began = time.perf_counter()
                module(x)
                times.append(time.perf_counter() - began)
            best = min(best, sorted(times[2:])[5])
    return best * images / batch


def measure(name: str, arguments: list[str]) -> dict[str, Any]:
    """One cold run."""
    place = Path(tempfile.mkdtemp(prefix="repdiag-bench-"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    code = (
        "import resource, runpy, sys; sys.argv = ['repdiag', *sys.argv[1:]]\n"
        "import atexit; atexit.register(lambda: print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,"
        " file=sys.stderr))\n"
        "runpy.run_module('repdiag', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "score", *arguments, "--out", str(place / "out"), "--quiet"],
        cwd=ROOT,
        env={**os.environ, "REPDIAG_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
    )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{name}: exit {done.returncode}\n{done.stderr}")
    peak = next(int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("PEAK"))
    found = json.loads((place / "out" / "report.json").read_text())
    sizes = {p.name: p.stat().st_size for p in sorted((place / "out").iterdir())}
    shutil.rmtree(place)
    return {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": peak / 1024,
        "report": found,
        "sizes": sizes,
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only the runs whose name contains this")
    only = parser.parse_args().only
    if not SHARED.is_dir():
        sys.exit("benchmarks/score_line.py needs ../shared/data, which is not here.")
    for name, arguments in RUNS.items():
        if only not in name:
            continue
        run = measure(name, arguments)
        found, steps = run["report"], run["report"]["timing"]["steps"]
        limit = forward_limit(arguments, found)
        print(f"\n### {name}\n")
        print(
            f"{found['dataset']['samples']} images, {found['dataset']['features']} features, cold cache, "
            f"{os.cpu_count()} cores\n"
        )
        print("| | |\n|---|---|")
        print(f"| wall time | {run['wall']:.1f} s |")
        print(f"| CPU time | {run['cpu']:.1f} s |")
        print(f"| peak memory | {run['peak_mb']:.0f} MB |")
        print(
            f"| extraction | {steps['embed']:.1f} s; pure forward {limit:.1f} s; ratio {limit / steps['embed']:.2f} |"
        )
        total = steps.pop("total")
        steps.pop("embed")
        steps.pop("extraction")
        steps |= {f"metric {k}": v for k, v in found["timing"]["metrics"].items()}
        for step, seconds in sorted(steps.items(), key=lambda s: -s[1])[:8]:
            print(f"| {step} | {seconds:.1f} s |")
        print(f"| start, import, loading, writing | {run['wall'] - total:.1f} s |")
        print(f"| files | {', '.join(f'{k} {v / 1024:.0f} kB' for k, v in run['sizes'].items())} |")
        print("\n| metric | value | 95 % interval | null |\n|---|---|---|---|")
        for m in found["measurements"]:
            o = m["outcome"]
            if "skipped" in o:
                print(f"| {m['name']} | skipped | {o['skipped']} | |")
                continue
            ends = f"{o['interval']['low']:.4g} to {o['interval']['high']:.4g}" if o["interval"] else ""
            null = f"{o['null']['mean']:.4g} ± {o['null']['std']:.2g}" if o["null"] else ""
            print(f"| {m['name']} | {o['value']:.4g} | {ends} | {null} |")
        comparison = next(m["outcome"] for m in found["measurements"] if m["name"] == "score_comparison")
        print("\n| predictor of errors | AUROC | 95 % interval | AUPRC correct | AUPRC error | n |")
        print("|---|---|---|---|---|---|")
        for row in comparison.get("table", ()):
            name = row["title"] + (" (needs labels)" if row["labelled"] else "")
            ends = f"{row['low']:.3f} to {row['high']:.3f}"
            numbers = f"{row['auprc_correct']:.3f} | {row['auprc_error']:.3f} | {row['n']}"
            print(f"| {name} | {row['auroc']:.3f} | {ends} | {numbers} |")
        print(f"\nRisk: {found['risk'].get('explanation', 'none')}", flush=True)


if __name__ == "__main__":
    main()
