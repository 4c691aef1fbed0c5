"""Tuned weights go back into the layouts of public projects and into real checkpoints; their own code finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from layouts import ALL
from layouts.table import difference, tensor_names
from test_rewrite import equal, network, tuned
from torch import Tensor, nn

from repdiag.encoders import load_encoder
from repdiag.encoders.projectors import find_projector
from repdiag.exporting import same_layout

LAYOUTS = {
    "DINO backbone, XCiT nano": 0,
    "DINOv2 hub with registers, narrow": 1,
    "DINOv2 in training, narrow giant with SwiGLU and registers": 1,
    "lightly MoCo, ResNetGenerator ResNet-18": 40,
    "MMPretrain MAE, ViT-Ti/16": 0,
    "timm with averaged weights, ConvNeXt atto": 0,
    "activation checkpointing and FSDP inside, ViT-Ti/16": 0,
}
"""One of each way in which names and tensors are translated, and how many tensors are sums, averages or masked."""


def flat(value: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors in nested dicts by dotted name."""
    if isinstance(value, Tensor):
        return {path: value}
    if not isinstance(value, dict):
        return {}
    return {n: t for k, v in value.items() for n, t in flat(v, f"{path}.{k}" if path else str(k)).items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_gets_its_tuned_weights_back(name: str, tmp_path: Path) -> None:
    """The network is the tuned one, and of the file's tensors exactly the backbone's and the projector's changed."""
    case = ALL[name].build()
    source, out = tmp_path / "a", tmp_path / "b"
    case.write(case.contents, source)
    encoder = load_encoder(str(source))
    projector = find_projector(encoder)
    head = None if projector is None else {n: t + 1 for n, t in projector.network.state_dict().items()}
    state = tuned(encoder)
    done = same_layout.write(encoder, str(source), state, head, out)
    found = network(out)
    indirect = LAYOUTS[name]
    assert sum(not torch.equal(found[n], t) for n, t in state.items()) <= indirect
    assert all(torch.allclose(found[n], t, rtol=1e-5, atol=1e-6) for n, t in state.items())
    assert any("computed from" in note for note in done.notes) == bool(indirect)
    old, new = (flat(torch.load(path, weights_only=False)) for path in (source, out))
    assert list(old) == list(new)
    files = set() if projector is None else set(projector.files.values())
    changed = {n for n in old if not torch.equal(old[n], new[n])}
    assert changed <= case.backbone | files
    untouched = {n for n in case.backbone - changed if not n.endswith(("bias_mask", "num_batches_tracked"))}
    assert untouched == set()
    assert tensor_names(case.contents) >= files
    if projector is not None:
        again = find_projector(load_encoder(str(out)))
        assert again is not None
        assert equal(dict(again.network.state_dict()), dict(head or {}))


def test_the_projects_own_code_computes_the_tuned_features(tmp_path: Path) -> None:
    """The source network, which knows nothing of repdiag, loads the file by its own names."""
    name = "DINOv2 in training, narrow giant with SwiGLU and registers"
    case = ALL[name].build()
    case.write(case.contents, tmp_path / "a")
    encoder = load_encoder(str(tmp_path / "a"))
    same_layout.write(encoder, str(tmp_path / "a"), tuned(encoder), None, tmp_path / "b")
    assert difference(load_encoder(str(tmp_path / "b")), case.source, case.size) > 1e-2
    prefix = "backbone."
    teacher = torch.load(tmp_path / "b", weights_only=False)["teacher"]
    own = {n.removeprefix(prefix): t for n, t in teacher.items() if n.startswith(prefix)}
    case.source.load_state_dict({n: own[n] for n in case.source.state_dict()})
    assert isinstance(case.source, nn.Module)
    assert difference(load_encoder(str(tmp_path / "b")), case.source, case.size) < 1e-4


REAL = {
    "enc-cifar10-resnet-akamaster/resnet20-12fca82f.th": None,
    "enc-conv4-ssl-prototransfer/proto_miniimagenet_conv4_euclidean_1supp_3query_50bs_best.pth.tar": None,
    "enc-conv4-supervised-prelinear/Conv4_baseline_aug__399.tar": None,
    "enc-conv4-supervised-titania/best.pth": None,
    "enc-cifar10-uvadlc/tutorial5__ResNet.ckpt": "resnet",
    "enc-cifar10-uvadlc/tutorial9__cifar10_64.ckpt": "autoencoder_64",
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_a_real_checkpoint_gets_other_weights(name: str, shared: Path, tmp_path: Path) -> None:
    """All bytes but those of the backbone's tensors are the original's, the Namespace and the optimizer included."""
    source, out = shared / name, tmp_path / "b"
    factory = REAL[name]
    arch = None if factory is None else f"{ROOT / 'docs' / 'examples' / 'uva_tutorials.py'}:{factory}"
    encoder = load_encoder(str(source), arch=arch)
    state = tuned(encoder)
    before = source.read_bytes()
    done = same_layout.write(encoder, str(source), state, None, out)
    found = network(out, arch=arch)
    counters = {n for n in state if n.endswith("num_batches_tracked")}  # files of old have none
    assert done.replaced in (len(state), len(state.keys() - counters))
    assert all(torch.equal(found[n], state[n]) for n in state.keys() - counters)
    assert source.read_bytes() == before
    old, new = (
        flat(torch.load(p, "cpu", weights_only=False)) if "uvadlc" not in name else {} for p in (source, out)
    )
    assert sum(not torch.equal(old[n], new[n]) for n in old) in (done.replaced, 0)
    after = out.read_bytes()
    assert len(after) == len(before)
    differing = sum(a != b for a, b in zip(before, after, strict=True))
    budget = sum(t.numel() * t.element_size() for t in state.values())
    assert 0 < differing <= budget + 12 * len(state)
