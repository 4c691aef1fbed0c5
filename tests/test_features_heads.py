"""The projector beside the backbone: read from real heads of the field, compared with the module itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightly.models.modules import heads as lightly_heads
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from repdiag.encoders import load_encoder
from repdiag.encoders.heads import read_projector, require_projector
from repdiag.errors import CheckpointError, UsageError

DIM = 512
Tensors = dict[str, torch.Tensor]


def lived_in(head: nn.Module) -> nn.Module:
    """`head` in eval mode with running statistics and affine parameters that are not the initial ones."""
    generator = torch.Generator().manual_seed(1)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return head.eval().requires_grad_(False)


def under(prefix: str, module: nn.Module) -> Tensors:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def before_prototypes(head: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """What DINO's head computes up to its last layer."""
    return lambda x: nn.functional.normalize(head.layers(x), dim=-1)  # type: ignore[operator]


LIGHTLY: dict[str, Callable[[], nn.Module]] = {
    "SimCLR": lambda: lightly_heads.SimCLRProjectionHead(DIM, 64, 32),
    "SimCLR v2": lambda: lightly_heads.SimCLRProjectionHead(DIM, 64, 32, num_layers=3),
    "SimCLR without batch norm": lambda: lightly_heads.SimCLRProjectionHead(DIM, 64, 32, batch_norm=False),
    "MoCo v2": lambda: lightly_heads.MoCoProjectionHead(DIM, 64, 32),
    "MoCo v3": lambda: lightly_heads.MoCoProjectionHead(DIM, 64, 32, num_layers=3, batch_norm=True),
    "SimSiam": lambda: lightly_heads.SimSiamProjectionHead(DIM, 64, 32),
    "BYOL": lambda: lightly_heads.BYOLProjectionHead(DIM, 64, 32),
    "Barlow Twins": lambda: lightly_heads.BarlowTwinsProjectionHead(DIM, 64, 32),
    "VICReg": lambda: lightly_heads.VICRegProjectionHead(DIM, 64, 32),
    "SwAV": lambda: lightly_heads.SwaVProjectionHead(DIM, 64, 32),
    "DINO": lambda: lightly_heads.DINOProjectionHead(DIM, 64, 32, 100),
    "DINO with batch norm": lambda: lightly_heads.DINOProjectionHead(DIM, 64, 32, 100, batch_norm=True),
}


@pytest.mark.parametrize("name", LIGHTLY)
def test_lightlys_heads_are_read_to_the_bit(name: str) -> None:
    torch.manual_seed(0)
    head = lived_in(LIGHTLY[name]())
    found = read_projector(under("projection_head.", head), "backbone.")
    assert found is not None
    x = torch.randn(7, DIM)
    wanted = before_prototypes(head) if name.startswith("DINO") else head
    assert torch.equal(found.module(x), wanted(x))
    assert (found.in_dim, found.out_dim) == (DIM, 32)
    assert not any(parameter.requires_grad for parameter in found.module.parameters())
    assert "assumed" in found.notes[0]
    assert ("GELU" if name.startswith("DINO") else "ReLU") in found.notes[0]
    assert not any("last_layer" in used for used in found.tensors)


def mlp(*widths: int) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, ..., Linear."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


class Named(nn.Module):
    """MMSelfSup's way: fc0, bn0, fc1, bn1; no layer's place is in its name alone."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0, self.bn1 = nn.BatchNorm1d(64), nn.BatchNorm1d(32, affine=False)
        self.fc0, self.fc1 = nn.Linear(DIM, 64), nn.Linear(64, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn0(self.fc0(x)).relu()
        return self.bn1(self.fc1(x))  # type: ignore[no-any-return]


class Nested(nn.Module):
    """Three layers as three Sequentials, as one port of SimSiam has them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Linear(DIM, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.layer3 = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer3(self.layer2(self.layer1(x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("head", "where", "backbone"),
    [
        (mlp(DIM, 64, 32), "module.encoder_q.fc.", "module.encoder_q."),
        (mlp(DIM, 64, 32), "module.projection_head.", "module."),
        (mlp(DIM, 64, 32), "projector.", ""),
        (mlp(DIM, 64, 32), "online_network_state_dict.projetion.net.", "online_network_state_dict.encoder."),
        (mlp(DIM, 64, 32), "online_encoder.projector.", "online_encoder.net."),
        (mlp(DIM, 64, 32), "g.", "f."),
        (mlp(DIM, 64, 32), "backbone.fc.", "backbone."),
        (mlp(DIM, 64, 32), "momentum_projector.", "momentum_backbone."),
        (Named(), "neck.", "backbone."),
        (Nested(), "projector.", "backbone."),
        (nn.Sequential(nn.Linear(DIM, 32), nn.LayerNorm(32)), "projector.", "backbone."),
        (nn.Sequential(nn.Linear(DIM, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 32)), "projector.", "net."),
        (nn.Linear(DIM, 32), "module.encoder_q.fc.", "module.encoder_q."),
        (nn.Linear(DIM, 32), "projector.", "backbone."),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_heads_of_other_projects_are_read_to_the_bit(head: nn.Module, where: str, backbone: str) -> None:
    lived_in(head)
    found = read_projector(under(where, head), backbone)
    assert found is not None
    x = torch.randn(7, DIM)
    assert torch.equal(found.module(x), head(x))
    statistics = {name for name in under(where, head) if not name.endswith("num_batches_tracked")}
    assert statistics <= set(found.tensors) <= set(under(where, head))


@pytest.mark.parametrize(
    ("mine", "theirs", "backbone"),
    [
        ("teacher_head.", "student_head.", "teacher_backbone."),
        ("teacher.head.", "student.head.", "teacher.backbone."),
        ("projection_head_momentum.", "projection_head.", "backbone_momentum."),
        ("projector.", "momentum_projector.", "backbone."),
        ("module.encoder_q.fc.", "module.encoder_k.fc.", "module.encoder_q."),
    ],
)
def test_of_two_sides_the_backbones_own_is_taken(mine: str, theirs: str, backbone: str) -> None:
    own, other = lived_in(mlp(DIM, 64, 32)), mlp(DIM, 48, 24)
    both = under(theirs, other) | under(mine, own)
    found = read_projector(both, backbone)
    assert found is not None
    assert torch.equal(found.module(torch.ones(1, DIM)), own(torch.ones(1, DIM)))
    assert read_projector(under(theirs, other), backbone) is None


def test_what_lies_beside_a_whole_side_belongs_to_neither() -> None:
    assert read_projector(under("projector.", mlp(DIM, 64, 32)), "teacher.") is None


@pytest.mark.parametrize(
    ("head", "where", "reason"),
    [
        (nn.Linear(DIM, 10), "fc.", "single linear layer .512 to 10., as classifiers are"),
        (nn.Sequential(nn.BatchNorm1d(DIM), nn.Linear(DIM, 32)), "projector.", "neither linear nor a norm"),
        (nn.Sequential(nn.Conv1d(DIM, 32, 1)), "projector.", "neither linear nor a norm .0: weight 32x512x1"),
        (nn.Sequential(nn.Linear(DIM, 64), nn.Linear(65, 32)), "projector.", "does not chain: 1 takes 65"),
        (nn.Sequential(nn.Linear(DIM, 64), nn.PReLU(), nn.Linear(64, 32)), "projector.", "neither linear"),
        (nn.ModuleDict({"a": nn.Linear(DIM, 64), "b": nn.Linear(64, 32)}), "projector.", "tell their order"),
        (mlp(2 * DIM, 64, 32), "projector.", "takes 1024 features and the encoder gives 512"),
        (nn.Linear(DIM, 32), "predictor.", "Beside the encoder the file holds predictor"),
        (nn.Linear(DIM, 32), "backbone.conv9.", "It holds the encoder only"),
    ],
    ids=str,
)
def test_what_is_no_projector_that_can_be_rebuilt_is_refused_with_the_reason(
    head: nn.Module, where: str, reason: str
) -> None:
    tensors = under(where, head) | {"backbone.conv1.weight": torch.zeros(1)}
    others = [name for name in tensors if not name.startswith("backbone.")]
    with pytest.raises(UsageError, match=f"No projector can be read.*{reason}"):
        require_projector(tensors, "backbone.", DIM, others)


def test_a_projector_of_nan_is_a_damaged_checkpoint() -> None:
    head = mlp(DIM, 64, 32)
    nn.init.constant_(head[0].weight, torch.nan)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"0\.weight holds NaN"):
        read_projector(under("projector.", head), "backbone.")


def test_a_backbone_that_is_in_the_file_twice_has_the_projector_beside_its_other_place() -> None:
    """byol-pytorch of lucidrains: `net` is the online encoder's own network, and target_encoder another."""
    net, target, own = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM), lived_in(mlp(DIM, 64, 32))
    tensors = under("net.", net) | under("online_encoder.net.", net) | under("target_encoder.net.", target)
    tensors |= under("target_encoder.projector.", mlp(DIM, 64, 32)) | under("online_encoder.projector.", own)
    found = read_projector(tensors, "net.")
    assert found is not None
    assert torch.equal(found.module(torch.ones(1, DIM)), own(torch.ones(1, DIM)))
    assert read_projector({n: t for n, t in tensors.items() if "online" not in n}, "net.") is None


def test_dinov2s_head_is_one_of_gelus_even_without_its_prototypes() -> None:
    head = nn.Sequential(nn.Linear(DIM, 64), nn.GELU(), nn.Linear(64, 32))
    found = read_projector(under("teacher.dino_head.mlp.", head), "teacher.backbone.")
    assert found is not None
    x = torch.randn(3, DIM)
    assert torch.equal(found.module(x), nn.functional.normalize(head(x), dim=-1))


# ------------------------------------------------------------------------------------------ whole checkpoints


def backbone(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    network.fc = nn.Identity()
    return network.eval()


def saved(path: Path, content: Mapping[str, object]) -> str:
    torch.save(content, path)
    return str(path)


def images() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_moco_v2_with_its_head_inside_the_encoder(tmp_path: Path) -> None:
    query, key = backbone(0), backbone(1)
    head, other = (lived_in(nn.Sequential(nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, 128))) for _ in "qk")
    state = under("module.encoder_q.", query) | under("module.encoder_q.fc.", head)
    state |= under("module.encoder_k.", key) | under("module.encoder_k.fc.", other)
    state |= {"module.queue": torch.zeros(128, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    path = saved(tmp_path / "moco.pth", {"epoch": 1, "arch": "resnet18", "state_dict": state})
    found = load_encoder(path, size=64, layer="projector")
    with torch.inference_mode():
        assert torch.equal(found.module(images()), head(query(images())))
    assert found.dim == 128
    assert [(o.name, o.start, o.stop) for o in found.outputs] == [("projector", 0, 128)]
    assert any("encoder_q.fc: Linear 512 to 512 - ReLU" in said for said in found.loading.readings)
    plain = load_encoder(path, size=64)
    used = {f"state_dict.module.encoder_q.fc.{i}.{end}" for i in (0, 2) for end in ("weight", "bias")}
    assert set(plain.loading.dropped) - set(found.loading.dropped) == used
    assert found.loading.loaded == plain.loading.loaded + 4
    assert found.fingerprint != plain.fingerprint


def test_dino_gives_the_teachers_bottleneck_beside_its_backbone_in_one_pass(tmp_path: Path) -> None:
    sides: dict[str, Tensors] = {}
    for seed, side in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        head = lived_in(lightly_heads.DINOProjectionHead(DIM, 64, 32, 100))
        names = {f"backbone.{n}": t for n, t in backbone(seed).state_dict().items()}
        official = {n.replace("layers.", "head.mlp."): t for n, t in head.state_dict().items()}
        official = {n if n.startswith("head.") else f"head.{n}": t for n, t in official.items()}
        sides[side] = {f"module.{n}": t for n, t in (names | official).items()}
    path = saved(tmp_path / "dino.pth", sides | {"epoch": 3})
    both = load_encoder(path, size=64, layer="output,projector", l2=False)
    assert [(o.name, o.stop) for o in both.outputs] == [("output", DIM), ("projector", DIM + 32)]
    with torch.inference_mode():
        features = backbone(1)(images())
        found = both.module(images())
        assert torch.equal(found[:, :DIM], features)
        assert torch.equal(found[:, DIM:], before_prototypes(head)(features))


def test_a_checkpoint_without_a_projector_says_what_it_has(tmp_path: Path) -> None:
    state = under("backbone.", backbone(0)) | {"predictor.0.weight": torch.zeros(4, 32)}
    path = saved(tmp_path / "byol.pth", {"state_dict": state})
    with pytest.raises(UsageError, match=r"No projector can be read .* the file holds state_dict\.predictor"):
        load_encoder(path, layer="projector")


def test_a_name_has_no_projector() -> None:
    with pytest.raises(UsageError, match="no checkpoint to read a projector from"):
        load_encoder("timm:test_vit", layer="projector")


def test_the_projector_takes_no_pooling(tmp_path: Path) -> None:
    state = under("backbone.", backbone(0)) | under("projector.", mlp(DIM, 64, 32))
    with pytest.raises(UsageError, match="--pool gem does not go with the projector"):
        load_encoder(saved(tmp_path / "x.pth", state), layer="projector", pool="gem")
