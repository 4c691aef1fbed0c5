"""Names and checkpoints become encoders that compute exactly what their source computes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from repdiag.encoders import Encoder, Preprocessing, load_encoder, methods
from repdiag.encoders import prefixes as places
from repdiag.errors import CheckpointError, UnsafeCheckpointError, UsageError

State = dict[str, Tensor]


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and batch-norm statistics that are all different, so that a mix-up shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator) * 0.1
            tensor.copy_(noise + 0.95 if name.endswith("running_var") else tensor + noise - 0.05)
    return network.eval()


def resnet18(seed: int) -> nn.Module:
    return randomized(torchvision.models.resnet18(num_classes=7), seed)


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return resnet18(0)


@pytest.fixture(scope="module")
def other() -> nn.Module:
    return resnet18(1)


def features(network: nn.Module, images: Tensor) -> Tensor:
    """What a torchvision ResNet gives without its head."""
    head, network.fc = network.fc, nn.Identity()
    with torch.inference_mode():
        out: Tensor = network(images)
    network.fc = head
    return out


def assert_same(encoder: Encoder, network: nn.Module, size: int = 64) -> None:
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        found = encoder.module(images)
    assert torch.equal(found, features(network, images))
    assert found.shape == (3, encoder.dim)


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


# --------------------------------------------------------------------------------------------- containers

Layout = Callable[[State, State], dict[str, Any]]

LAYOUTS: dict[str, tuple[Layout, str]] = {
    "bare": (lambda a, b: a, ""),
    "state_dict": (lambda a, b: {"epoch": 1, "state_dict": a}, "state_dict."),
    "model": (lambda a, b: {"model": a, "optimizer": {"state": {}}}, "model."),
    "DDP": (lambda a, b: {"state_dict": under("module.", a)}, "state_dict.module."),
    "compiled": (lambda a, b: under("_orig_mod.", a), "_orig_mod."),
    "DDP compiled": (lambda a, b: under("module._orig_mod.", a), "module._orig_mod."),
    "lightning": (
        lambda a, b: {"state_dict": under("backbone.", a) | {"projector.0.weight": torch.ones(3, 3)}},
        "state_dict.backbone.",
    ),
    "MoCo": (
        lambda a, b: {
            "state_dict": under("module.encoder_q.", a)
            | under("module.encoder_k.", b)
            | {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
        },
        "state_dict.module.encoder_q.",
    ),
    "MoCo v3": (
        lambda a, b: {
            "state_dict": under("module.base_encoder.", a)
            | under("module.momentum_encoder.", b)
            | {"module.predictor.0.weight": torch.ones(2, 2)}
        },
        "state_dict.module.base_encoder.",
    ),
    "SimSiam": (
        lambda a, b: {
            "state_dict": under("module.encoder.", a) | {"module.predictor.0.weight": torch.ones(2)}
        },
        "state_dict.module.encoder.",
    ),
    "ReSA": (
        lambda a, b: {"state_dict": under("module.encoder.", b) | under("module.momentum_encoder.", a)},
        "state_dict.module.momentum_encoder.",
    ),
    "DINO": (
        lambda a, b: {
            "student": under("module.backbone.", b) | {"module.head.mlp.0.weight": torch.ones(2, 2)},
            "teacher": under("backbone.", a) | {"head.mlp.0.weight": torch.ones(2, 2)},
            "epoch": 3,
        },
        "teacher.backbone.",
    ),
    "BYOL": (
        lambda a, b: {
            "online_network_state_dict": under("encoder.", a),
            "target_network_state_dict": under("encoder.", b),
        },
        "online_network_state_dict.encoder.",
    ),
    "BYOL (aliases)": (
        lambda a, b: under("net.", a) | under("online_encoder.net.", a) | under("target_encoder.net.", b),
        "net.",
    ),
    "solo-learn": (
        lambda a, b: {"state_dict": under("backbone.", a) | under("momentum_backbone.", b)},
        "state_dict.backbone.",
    ),
    "EMA": (lambda a, b: {"state_dict": b, "state_dict_ema": a}, "state_dict_ema."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_backbone_is_found_in_every_usual_layout(
    layout: str, source: nn.Module, other: nn.Module, tmp_path: Path
) -> None:
    """Bit-equal features, the right one of two encoders, and a word about the choice."""
    make, prefix = LAYOUTS[layout]
    torch.save(make(dict(source.state_dict()), dict(other.state_dict())), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.architecture == "torchvision:resnet18"
    assert encoder.loading.prefix == prefix
    assert encoder.loading.loaded == 120
    assert encoder.dim == 512
    assert {f"{prefix}fc.weight", f"{prefix}fc.bias"} <= set(encoder.loading.dropped)
    assert_same(encoder, source)
    several = layout in {"MoCo", "MoCo v3", "ReSA", "DINO", "BYOL", "BYOL (aliases)", "solo-learn", "EMA"}
    assert bool(encoder.loading.readings) == several


def test_prefix_and_key_override_the_choice(source: nn.Module, other: nn.Module, tmp_path: Path) -> None:
    """The user may want the student."""
    make, _ = LAYOUTS["DINO"]
    path = tmp_path / "a.pt"
    torch.save(make(dict(source.state_dict()), dict(other.state_dict())), path)
    assert_same(load_encoder(str(path), key="student"), other)
    assert_same(load_encoder(str(path), prefix="student.module.backbone."), other)
    assert_same(load_encoder(str(path), key="student", prefix="module.backbone"), other)
    with pytest.raises(CheckpointError, match=r"nothing under --key nobody.*teacher"):
        load_encoder(str(path), key="nobody")


def test_two_encoders_without_a_rule_are_not_guessed(
    source: nn.Module, other: nn.Module, tmp_path: Path
) -> None:
    """Silence would evaluate the wrong one half of the time."""
    state = under("left.", source.state_dict()) | under("right.", other.state_dict())
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"'left', 'right'.*--prefix"):
        load_encoder(str(tmp_path / "a.pt"))
    assert_same(load_encoder(str(tmp_path / "a.pt"), prefix="right"), other)


def test_old_files_without_batch_counters_load(source: nn.Module, tmp_path: Path) -> None:
    """num_batches_tracked came with torch 0.4.1 and does not change the features."""
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert len(encoder.loading.missing) == 20
    assert_same(encoder, source)


@pytest.mark.parametrize("lost", ["layer3.0.bn1.running_mean", "conv1.weight", "layer4.1.conv2.weight"])
def test_a_hole_in_the_backbone_is_refused(source: nn.Module, tmp_path: Path, lost: str) -> None:
    """Parameters and batch-norm statistics alike; the sentence names the candidate and the hole."""
    state = under("backbone.", {k: v for k, v in source.state_dict().items() if k != lost})
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=rf"resnet18.*lacks 1 of its 100 .*backbone\.{lost}.*--arch"):
        load_encoder(str(tmp_path / "a.pt"))
    with pytest.raises(CheckpointError, match=rf"lacks 1 of its 100 .*{lost}"):
        load_encoder(str(tmp_path / "a.pt"), arch="resnet18")


def test_a_larger_network_is_not_taken_for_the_smaller_one_inside(tmp_path: Path) -> None:
    """All of a ResNet-18's tensors are in a ResNet-34, and in a broken ResNet-34 too."""
    network = randomized(torchvision.models.resnet34(num_classes=7))
    torch.save(network.state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.architecture == "torchvision:resnet34"
    assert_same(encoder, network)
    state = network.state_dict()
    del state["layer3.5.conv1.weight"]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="resnet34"):
        load_encoder(str(tmp_path / "a.pt"))


def test_half_precision_weights_are_computed_in_float32(source: nn.Module, tmp_path: Path) -> None:
    """And it is said."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in source.state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert all(p.dtype == torch.float32 for p in encoder.module.parameters())
    assert "float16" in encoder.loading.readings[0]
    rounded = torchvision.models.resnet18(num_classes=7).eval()
    rounded.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    assert_same(encoder, rounded)


def test_diverged_and_quantized_weights_are_refused(source: nn.Module, tmp_path: Path) -> None:
    """Before they become features."""
    state = dict(source.state_dict())
    broken = state["layer1.0.conv1.weight"].clone()
    broken[0, 0, 0, 0] = torch.nan
    torch.save(state | {"layer1.0.conv1.weight": broken}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight holds NaN"):
        load_encoder(str(tmp_path / "a.pt"))
    torch.save(state | {"conv1.weight": state["conv1.weight"].to(torch.int8)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="quantized"):
        load_encoder(str(tmp_path / "a.pt"))


def test_the_fingerprint_is_that_of_the_weights(source: nn.Module, other: nn.Module, tmp_path: Path) -> None:
    """Equal for torch.save, safetensors, another prefix and another name; unequal for one other weight."""
    state = {k: v.contiguous() for k, v in source.state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    torch.save({"model": under("module.", state)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "c.safetensors")
    marks = {load_encoder(str(tmp_path / n)).fingerprint for n in ("a.pt", "b.pt", "c.safetensors")}
    assert len(marks) == 1
    state["layer4.1.bn2.running_mean"] = state["layer4.1.bn2.running_mean"] + 1e-6
    torch.save(state, tmp_path / "a.pt")
    assert load_encoder(str(tmp_path / "a.pt")).fingerprint not in marks


def test_an_encoder_is_frozen_and_describes_itself(source: nn.Module, tmp_path: Path) -> None:
    """No gradients, eval mode, and a description that survives JSON."""
    torch.save(source.state_dict(), tmp_path / "mine.pt")
    encoder = load_encoder(str(tmp_path / "mine.pt"))
    assert not any(m.training for m in encoder.module.modules())
    assert not any(p.requires_grad for p in encoder.module.parameters())
    said = json.loads(json.dumps(encoder.describe()))
    assert said["name"] == "mine.pt"
    assert said["dim"] == 512
    assert said["preprocessing"]["origin"] == "torchvision's weights"
    assert said["loading"]["parameters"] == 11_176_512 + 2 * 4800
    assert any("resnetblur18" in text for text in said["loading"]["warnings"])
    assert "timm:resnet18" in said["loading"]["alternatives"]


def test_a_reference_network_inside_the_file_is_not_the_encoder(source: nn.Module, tmp_path: Path) -> None:
    """DSA's files hold an ImageNet ResNet-18 beside the CIFAR one that was trained."""
    trained = resnet18(1)
    trained.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    state = under("IL.pretrained.", source.state_dict()) | under("model.", trained.state_dict())
    torch.save(state, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.loading.prefix == "model."
    assert encoder.architecture.startswith("cifar-resnet18")


def test_many_dropped_tensors_are_counted_in_the_description(source: nn.Module, tmp_path: Path) -> None:
    """An optimizer's states would fill pages."""
    moments = {i: {"exp_avg": torch.zeros(1)} for i in range(50)}
    torch.save({"model": source.state_dict(), "optimizer": {"state": moments}}, tmp_path / "a.pt")
    loading = load_encoder(str(tmp_path / "a.pt")).loading
    assert len(loading.dropped) == 52
    assert loading.describe()["dropped"] == ["model.* (2)", "optimizer.* (50)"]


# --------------------------------------------------------------------------------------------- other families

FAMILIES = [
    "vit_tiny_patch16_224",
    "mobilenetv3_small_050",
    "convnext_atto",
    "test_efficientnet",
    "resnet10t",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_timm_architectures_are_found(name: str, tmp_path: Path) -> None:
    """By their tensors, with the head that the file has and the encoder leaves out; bit-equal."""
    network = randomized(timm.create_model(name, num_classes=11))
    torch.save({"model": network.state_dict()}, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.architecture == f"timm:{name}"
    assert encoder.preprocessing.origin == "timm's pretrained config"
    size = encoder.preprocessing.size
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        wanted = network.forward_head(network.forward_features(images), pre_logits=True)
        assert torch.equal(encoder.module(images), wanted)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_torchvision_architectures_are_found(name: str, tmp_path: Path) -> None:
    """And give pooled features of the right width."""
    network = randomized(torchvision.models.get_model(name, weights=None))
    torch.save(network.state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.architecture == f"torchvision:{name}"
    head = encoder.loading.dropped[0]
    assert encoder.dim == network.state_dict()[head].shape[1]


def test_a_given_architecture_is_checked_too(source: nn.Module, tmp_path: Path) -> None:
    """--arch takes bare names, library:name, and does not bend the tensors."""
    torch.save(source.state_dict(), tmp_path / "a.pt")
    path = str(tmp_path / "a.pt")
    assert load_encoder(path, arch="resnet18").architecture == "torchvision:resnet18"
    blurred = load_encoder(path, arch="timm:resnetblur18")
    assert blurred.architecture == "timm:resnetblur18"
    with pytest.raises(CheckpointError, match=r"torchvision:resnet34.*lacks"):
        load_encoder(path, arch="resnet34")
    with pytest.raises(UsageError, match="Did you mean"):
        load_encoder(path, arch="resnet81")
    with pytest.raises(UsageError, match="no model library 'keras'"):
        load_encoder(path, arch="keras:resnet18")


def test_unknown_tensors_are_shown(tmp_path: Path) -> None:
    """Nothing resembles them: the sentence shows some."""
    torch.save({"a.w": torch.ones(2, 3)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.w 2x3.*--arch"):
        load_encoder(str(tmp_path / "a.pt"))


def test_a_checkpoint_with_modules_beside_useless_tensors_is_unsafe(tmp_path: Path) -> None:
    """The weights are inside a pickled module, which is not opened."""
    torch.save({"model": nn.Sequential(nn.Conv2d(3, 2, 2)), "step": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(UnsafeCheckpointError, match="whole pickled modules"):
        load_encoder(str(tmp_path / "a.pt"))


def test_a_trusted_module_is_searched_first_and_run_otherwise(source: nn.Module, tmp_path: Path) -> None:
    """A known network loses its head; an unknown one is used as it is."""
    torch.save(source, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"), trust_pickle=True)
    assert encoder.architecture == "torchvision:resnet18"
    assert_same(encoder, source)
    unknown = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
    torch.save(unknown, tmp_path / "b.pt")
    encoder = load_encoder(str(tmp_path / "b.pt"), trust_pickle=True)
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(encoder.module(images), unknown(images).mean(dim=(2, 3)))


# --------------------------------------------------------------------------------------------- by name


def test_a_name_gives_seeded_untrained_weights_and_says_so() -> None:
    """The same in every run, whatever was drawn before, and without drawing for others."""
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = load_encoder("timm:test_resnet")
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(4)
    second = load_encoder("timm:test_resnet")
    assert first.fingerprint == second.fingerprint
    assert any("untrained" in text for text in first.loading.warnings)
    assert load_encoder("torchvision:squeezenet1_1").dim == 512


def test_names_and_files_take_different_options(tmp_path: Path) -> None:
    """An option that would be ignored is an error."""
    with pytest.raises(UsageError, match="--key"):
        load_encoder("timm:resnet18", key="x")
    with pytest.raises(UsageError, match="--pretrained"):
        load_encoder(str(tmp_path / "a.pt"), pretrained=True)
    with pytest.raises(UsageError, match=r"Did you mean 'resnet18'"):
        load_encoder("timm:resnet18x")
    with pytest.raises(CheckpointError, match="write torchvision:resnet18"):
        load_encoder("resnet18")


def test_a_failing_download_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no traceback."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"torchvision's squeezenet1_1.*service not known"):
        load_encoder("torchvision:squeezenet1_1", pretrained=True)


# --------------------------------------------------------------------------------------------- programs


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)[:, :5]


@pytest.mark.filterwarnings("ignore")
def test_torchscript_programs_are_used_as_they_are(tmp_path: Path) -> None:
    """Maps are pooled, of tokens the first is taken, what was assumed is said."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    torch.jit.script(network).save(str(tmp_path / "a.pt"))
    encoder = load_encoder(str(tmp_path / "a.pt"), size=16)
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(encoder.module(images), network(images).mean(dim=(2, 3)))
    assert encoder.preprocessing.size == 16
    assert any("assumed" in text for text in encoder.loading.warnings)
    torch.jit.script(Tokens()).save(str(tmp_path / "b.pt"))
    encoder = load_encoder(str(tmp_path / "b.pt"), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert encoder.dim == 3
    assert any("first one" in text for text in encoder.loading.readings)
    assert encoder.loading.warnings == ()


def test_an_exported_program_tells_its_image_size(tmp_path: Path) -> None:
    """And runs on any number of images."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (torch.randn(4, 3, 12, 12),)), tmp_path / "a.pt2")
    encoder = load_encoder(str(tmp_path / "a.pt2"))
    assert encoder.preprocessing.size == 12
    images = torch.randn(5, 3, 12, 12)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.module(images), network(images).mean(dim=(2, 3)))
    with pytest.raises(CheckpointError, match=r"3x20x20.*--size"):
        load_encoder(str(tmp_path / "a.pt2"), size=20)
    with pytest.raises(UsageError, match="--key"):
        load_encoder(str(tmp_path / "a.pt2"), key="x")


# --------------------------------------------------------------------------------------------- preprocessing


def test_what_the_file_says_about_its_input_goes_first(source: nn.Module, tmp_path: Path) -> None:
    """As safetensors metadata and as a dict in a torch.save file; the user's word goes before it."""
    said = {"size": 48, "resize": 56, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}
    state = {k: v.contiguous() for k, v in source.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors", metadata={"repdiag.preprocessing": json.dumps(said)})
    torch.save({"model": state, "repdiag_preprocessing": said}, tmp_path / "b.pt")
    for name in ("a.safetensors", "b.pt"):
        found = load_encoder(str(tmp_path / name)).preprocessing
        assert found == Preprocessing(
            48, 56, "bicubic", (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), 3, "the file's metadata"
        )
    changed = load_encoder(str(tmp_path / "b.pt"), size=96, std=(0.5, 0.5, 0.5)).preprocessing
    assert (changed.size, changed.resize) == (96, 112)
    assert changed.mean == (0.1, 0.2, 0.3)
    assert changed.origin == "size, std set by the user; the rest: the file's metadata"


@pytest.mark.parametrize(
    "said",
    [{"size": 48}, {"size": 8, "mean": [0.1], "std": [0]}, {"size": "x", "mean": [1], "std": [1]}, [1]],
)
def test_malformed_metadata_are_one_sentence(source: nn.Module, tmp_path: Path, said: Any) -> None:
    """They are the file's, so the file is to blame."""
    state = {k: v.contiguous() for k, v in source.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors", metadata={"repdiag.preprocessing": json.dumps(said)})
    with pytest.raises(CheckpointError, match=r"repdiag\.preprocessing"):
        load_encoder(str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(
    "wish",
    [
        {"size": 0},
        {"size": 64, "resize": 32},
        {"interpolation": "nearest"},
        {"mean": (0.5, 0.5)},
        {"std": (0.0, 1.0, 1.0)},
    ],
)
def test_senseless_wishes_are_usage_errors(wish: dict[str, Any]) -> None:
    """Before anything is computed with them."""
    with pytest.raises(UsageError, match="preprocessing makes no sense"):
        load_encoder("timm:test_resnet", **wish)


def test_the_architecture_that_a_file_names_is_a_hint(source: nn.Module, tmp_path: Path) -> None:
    """It decides among look-alikes; it never names code to run, and never stops the search."""
    state = {k: v.contiguous() for k, v in source.state_dict().items()}
    path = tmp_path / "a.safetensors"
    save_file(state, path, metadata={"repdiag.architecture": "timm:resnetblur18"})
    assert load_encoder(str(path)).architecture == "timm:resnetblur18"
    (tmp_path / "code.py").write_text("raise SystemExit\n")
    save_file(state, path, metadata={"repdiag.architecture": f"{tmp_path}/code.py:f"})
    encoder = load_encoder(str(path))
    assert encoder.architecture == "torchvision:resnet18"
    assert "not known here" in encoder.loading.warnings[0]


# --------------------------------------------------------------------------------------------- prefix rules


def test_the_rules_have_no_circle_and_no_double() -> None:
    """A pair of components is settled in one direction only, whatever the checkpoint seems to come from."""
    for method in {rule.method for rule in places.PREFERENCES}:
        rules = [rule for rule in places.PREFERENCES if rule.method in (None, method)]
        pairs = [(rule.taken, rule.left) for rule in rules]
        assert len(set(pairs)) == len(pairs)
        assert not {(b, a) for a, b in pairs} & set(pairs)


def test_rules_of_a_method_name_one_that_is_guessed() -> None:
    known = {rule.name for rule in methods.RULES}
    assert {rule.method for rule in places.PREFERENCES} - {None} <= known
