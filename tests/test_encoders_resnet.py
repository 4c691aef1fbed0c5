"""ResNets that are read off the shapes, and architectures from files of the user's own."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from repdiag.checkpoints import read_checkpoint
from repdiag.encoders import load_encoder
from repdiag.errors import CheckpointError, UsageError

ROOT = Path(__file__).parent.parent


def cifar_stem(block: type[BasicBlock | Bottleneck], layers: list[int], channels: int = 3) -> ResNet:
    """torchvision's own ResNet with the usual changes for small images."""
    network = ResNet(block, layers, num_classes=10)
    network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
    network.maxpool = nn.Identity()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            low = 0.9 if name.endswith("running_var") else -0.1
            tensor.add_(torch.rand(tensor.shape) * 0.2 + (0 if low < 0 else 0.1) - 0.1)
    return network.eval()


@pytest.mark.parametrize(
    ("block", "layers", "channels"),
    [(BasicBlock, [1, 1, 1, 1], 3), (BasicBlock, [2, 1, 2, 1], 1), (Bottleneck, [1, 2, 1, 1], 3)],
)
@pytest.mark.parametrize("naming", ["downsample", "shortcut"])
def test_any_cifar_resnet_is_read_off_its_shapes(
    block: type[BasicBlock | Bottleneck], layers: list[int], channels: int, naming: str, tmp_path: Path
) -> None:
    """Depth, block, channels and the name of the shortcut; the same features as torchvision's own code."""
    network = cifar_stem(block, layers, channels)
    state = {k.replace("downsample", naming): v for k, v in network.state_dict().items()}
    torch.save({"net": state}, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.architecture.startswith("cifar-resnet")
    assert encoder.preprocessing.size == 32
    assert encoder.preprocessing.channels == channels
    assert encoder.preprocessing.origin.startswith("assumed")
    assert any("max-pool" in text for text in encoder.loading.warnings)
    assert any("--mean" in text for text in encoder.loading.warnings)
    network.fc = nn.Identity()
    images = torch.randn(2, channels, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.module(images), network(images), rtol=1e-5, atol=1e-5)


def test_the_assumption_about_mean_and_std_goes_when_they_are_set(tmp_path: Path) -> None:
    """Then there is nothing left to guess but the stem."""
    torch.save(cifar_stem(BasicBlock, [1, 1, 1, 1]).state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    assert len(encoder.loading.warnings) == 1
    assert encoder.preprocessing.mean == (0.5, 0.5, 0.5)
    assert load_encoder(str(tmp_path / "a.pt"), arch="cifar-resnet").dim == 512


def test_a_wide_imagenet_resnet_is_read_off_too(tmp_path: Path) -> None:
    """A 7x7 stem has its max-pooling (SwAV's wider networks)."""
    network = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5, width_per_group=128).eval()
    torch.save(network.state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    assert encoder.architecture == "resnet14 (bottleneck, 128-256-512-1024)"
    network.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.module(images), network(images), rtol=1e-5, atol=1e-5)


def test_something_more_inside_the_blocks_is_another_network(tmp_path: Path) -> None:
    """Squeeze-and-excitation weights would be dropped in silence."""
    state = cifar_stem(BasicBlock, [1, 1, 1, 1]).state_dict()
    state["layer1.0.se.weight"] = torch.ones(4, 4)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError):
        load_encoder(str(tmp_path / "a.pt"))


@pytest.mark.parametrize("arch", ["cifar-resnet"])
def test_cifar_resnet_by_name_needs_its_tensors(tmp_path: Path, arch: str) -> None:
    """Otherwise it says what it looks for."""
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1"):
        load_encoder(str(tmp_path / "a.pt"), arch=arch)


# --------------------------------------------------------------------------------------------- own code

GOOD = """
from torch import nn
def net():
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
    module.input_size, module.mean, module.std = 20, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)
    return module
def plain():
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
def number():
    return 3
def failing():
    raise KeyError("weights")
"""


def own(tmp_path: Path, source: str = GOOD) -> tuple[str, str]:
    (tmp_path / "arch.py").write_text(source)
    torch.save({"encoder": nn.Sequential(nn.Conv2d(3, 5, 3)).state_dict()}, tmp_path / "a.pt")
    return str(tmp_path / "a.pt"), f"{tmp_path / 'arch.py'}:"


def test_an_own_architecture_says_what_its_input_is(tmp_path: Path) -> None:
    """Maps are averaged, the attributes are used; without them ImageNet is assumed with a warning."""
    model, file = own(tmp_path)
    encoder = load_encoder(model, arch=file + "net")
    assert encoder.dim == 5
    assert encoder.loading.prefix == "encoder."
    assert encoder.preprocessing.size == 20
    assert encoder.preprocessing.mean == (0.1, 0.2, 0.3)
    assert encoder.preprocessing.origin == "the architecture file"
    assert encoder.loading.warnings == ()
    plain = load_encoder(model, arch=file + "plain")
    assert plain.preprocessing.size == 224
    assert any("assumed" in text for text in plain.loading.warnings)


def test_edited_code_is_another_encoder_and_a_moved_file_is_not(tmp_path: Path) -> None:
    """Embeddings of the old code must not be reused."""
    model, file = own(tmp_path)
    before = load_encoder(model, arch=file + "net").fingerprint
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "arch.py").write_text(GOOD)
    assert load_encoder(model, arch=f"{tmp_path}/elsewhere/arch.py:net").fingerprint == before
    (tmp_path / "arch.py").write_text(GOOD.replace("nn.ReLU()", "nn.GELU()"))
    assert load_encoder(model, arch=file + "net").fingerprint != before


@pytest.mark.parametrize(
    ("factory", "said"),
    [("nett", "Did you mean 'net'"), ("number", "gave a int, not"), ("failing", "KeyError: 'weights'")],
)
def test_a_wrong_factory_is_one_sentence(tmp_path: Path, factory: str, said: str) -> None:
    """With the file's name."""
    model, file = own(tmp_path)
    with pytest.raises(UsageError, match=said):
        load_encoder(model, arch=file + factory)


def test_a_broken_architecture_file_is_one_sentence(tmp_path: Path) -> None:
    """Missing, not importable, not fitting the tensors."""
    model, file = own(tmp_path, "import nothing_of_this_name\n")
    with pytest.raises(UsageError, match="nothing_of_this_name"):
        load_encoder(model, arch=file + "net")
    with pytest.raises(UsageError, match="no such architecture file"):
        load_encoder(model, arch="nowhere/arch.py:net")
    model, file = own(tmp_path, GOOD.replace("(3, 5, 3)", "(3, 6, 3)"))
    with pytest.raises(CheckpointError, match=r"lacks 2 of its 2 tensors .*0\.weight \(other shape\)"):
        load_encoder(model, arch=file + "net")


def test_own_code_that_gives_no_features_is_one_sentence(tmp_path: Path) -> None:
    """A tuple, or five dimensions."""
    source = (
        "from torch import nn\nclass N(nn.Sequential):\n"
        "    def forward(self, x): return (super().forward(x),)\n"
        "def net(): return N(nn.Conv2d(3, 5, 3))\n"
    )
    model, file = own(tmp_path, source)
    with pytest.raises(CheckpointError, match="gives a tuple"):
        load_encoder(model, arch=file + "net")
    model, file = own(tmp_path, source.replace("(super().forward(x),)", "super().forward(x)[None]"))
    with pytest.raises(CheckpointError, match="must return"):
        load_encoder(model, arch=file + "net")


def test_code_that_needs_contiguous_maps_is_marked(tmp_path: Path) -> None:
    """`view` fails on channels_last maps, `flatten` does not; the weights stay as they were."""
    source = (
        "from torch import nn\nclass N(nn.Sequential):\n"
        "    def forward(self, x): return super().forward(x).view(len(x), -1)\n"
        "def net():\n    n = N(nn.Conv2d(3, 5, 3)); n.input_size = 8; return n\n"
    )
    model, file = own(tmp_path, source)
    viewing = load_encoder(model, arch=file + "net")
    assert not viewing.channels_last
    assert viewing.module(torch.zeros(2, 3, 8, 8)).shape == (2, 180)
    own(tmp_path, source.replace("view(len(x), -1)", "flatten(1)"))
    assert load_encoder(model, arch=file + "net").channels_last


# --------------------------------------------------------------------------------------------- real encoders


@pytest.mark.shared
@pytest.mark.parametrize(("name", "least"), [("resnet20-12fca82f.th", 0.90), ("resnet32-d509ac18.th", 0.91)])
def test_real_cifar_resnets_reach_their_published_accuracy(shared: Path, name: str, least: float) -> None:
    """Encoder and the file's own linear head on 500 real test images (91.73 % and 92.63 % on all 10,000)."""
    path = shared / "enc-cifar10-resnet-akamaster" / name
    encoder = load_encoder(str(path))
    assert encoder.architecture == f"cifar-{name.partition('-')[0]} (basic, 16-32-64, shortcut A)"
    tensors = read_checkpoint(path).tensors
    images, labels = _cifar(shared, 500)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (encoder.preprocessing.mean, encoder.preprocessing.std)
    )
    with torch.inference_mode():
        features = encoder.module((images - mean) / std)
    head = "state_dict.module.linear."
    logits = features @ tensors[head + "weight"].T + tensors[head + "bias"]
    assert (logits.argmax(dim=1) == labels).float().mean() >= least


def _cifar(shared: Path, count: int) -> tuple[Tensor, Tensor]:
    order = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    with zipfile.ZipFile(shared / "cifar10" / "cifar10-test-png.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".png")]
        names = sorted(names, key=lambda n: int(Path(n).stem))[:count]
        pixels = [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in names]
    labels = torch.tensor([order.index(Path(n).parent.name) for n in names])
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255, labels


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "file", "factory", "dim"),
    [
        ("ssl-prototransfer", "proto_miniimagenet_conv4_euclidean_1supp_3query_50bs_best", "conv4", 1600),
        ("ssl-prototransfer", "random_init_conv4", "conv4", 1600),
        ("ssl-prototransfer", "proto_omniglot_conv4_euclidean_1supp_3query_50bs_best", "conv4_omniglot", 64),
        ("supervised-prelinear", "Conv4_baseline_aug__399", "conv4_imagenet_norm", 1600),
        ("supervised-titania", "best", "conv4", 1600),
    ],
)
def test_the_example_architecture_loads_the_real_conv4_encoders(
    shared: Path, folder: str, file: str, factory: str, dim: int
) -> None:
    """docs/examples/conv4.py fits all of them, and features are non-negative."""
    path = next((shared / f"enc-conv4-{folder}").glob(f"{file}.*"))
    encoder = load_encoder(str(path), arch=f"{ROOT / 'docs/examples/conv4.py'}:{factory}")
    assert encoder.dim == dim
    known = encoder.preprocessing
    with torch.inference_mode():
        features = encoder.module(torch.rand(2, known.channels, known.size, known.size))
    assert features.min() >= 0
    assert features.std() > 0


@pytest.mark.shared
@pytest.mark.parametrize("file", ["tutorial5__ResNet.ckpt", "tutorial9__cifar10_64.ckpt"])
def test_real_files_of_unknown_architecture_ask_for_it(shared: Path, file: str) -> None:
    """They are read, and nothing known fits."""
    with pytest.raises(CheckpointError, match="--arch"):
        load_encoder(str(shared / "enc-cifar10-uvadlc" / file))
