"""Exports: what is written computes what the encoder computes, or is not kept."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from conftest import FIXTURES, Run
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from repdiag import exporting
from repdiag.cli import main
from repdiag.encoders import Encoder, load_encoder, wrap
from repdiag.errors import OutputError, RepdiagError, UsageError
from repdiag.exporting import Exported, check, export, onnx_file, programs, safetensors_file

SIMCLR = FIXTURES / "encoders" / "simclr.pt"
SUFFIXES = {"safetensors": ".safetensors", "torchscript": ".ts", "torch.export": ".pt2", "onnx": ".onnx"}


@pytest.fixture(scope="module")
def simclr() -> Encoder:
    return load_encoder(str(SIMCLR))


def images(encoder: Encoder, batch: int = 7) -> torch.Tensor:
    how = encoder.preprocessing
    generator = torch.Generator().manual_seed(11)
    return torch.randn(batch, how.channels, how.size, how.size, generator=generator)


def run(module: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(x)


def again(done: Exported) -> Encoder:
    """The file as the user opens it, with the flags that the export says."""
    return load_encoder(str(done.path), **done.flags)


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator) * 0.1
            tensor.copy_(noise + 0.95 if name.endswith("running_var") else tensor + noise - 0.05)
    return network.eval()


# --------------------------------------------------------------------------------------------- formats


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """The fixtures' encoder in every format."""
    folder = tmp_path_factory.mktemp("written")
    return {kind: export(SIMCLR, folder / f"a{suffix}") for kind, suffix in SUFFIXES.items()}


@pytest.mark.parametrize("kind", ["safetensors", "torchscript", "torch.export"])
def test_what_is_written_gives_the_encoders_features_when_repdiag_opens_it(
    kind: str, written: dict[str, Exported], simclr: Encoder
) -> None:
    done = written[kind]
    assert done.format == kind
    assert done.max_abs_difference == 0
    opened = again(done)
    x = images(simclr)
    assert torch.equal(run(opened.module, x), run(simclr.module, x))
    assert opened.preprocessing.mean == simclr.preprocessing.mean
    assert opened.preprocessing.size == simclr.preprocessing.size


def test_programs_run_without_repdiag_on_any_batch(written: dict[str, Exported], simclr: Encoder) -> None:
    """As their own libraries open them (TorchScript's is repdiag's reader, which silences its deprecation)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(written["onnx"].path), providers=["CPUExecutionProvider"])
    opened: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "torchscript": load_encoder(str(written["torchscript"].path), size=16).module,
        "torch.export": torch.export.load(written["torch.export"].path).module(),
        "onnx": lambda x: torch.from_numpy(session.run(["features"], {"images": x.numpy()})[0]),
    }
    for batch in (1, 4, 9):
        x = images(simclr, batch)
        wanted = run(simclr.module, x)
        for kind, program in opened.items():
            found = run(program, x)
            assert found.shape == (batch, 128)
            assert float((found - wanted).abs().max()) <= (1e-5 if kind == "onnx" else 0), kind


def test_the_description_beside_the_file_tells_everything(written: dict[str, Exported]) -> None:
    for kind, done in written.items():
        beside = done.path.with_name(done.path.name + ".json")
        assert done.files == (done.path, beside)
        said = json.loads(beside.read_text())
        assert said == json.loads(json.dumps(done.describe()))
        assert said["sha256"] == hashlib.sha256(done.path.read_bytes()).hexdigest()
        assert said["bytes"] == done.path.stat().st_size
        assert said["source"]["sha256"] == {"simclr.pt": hashlib.sha256(SIMCLR.read_bytes()).hexdigest()}
        assert said["encoder"]["dim"] == 128
        assert said["encoder"]["loading"]["dropped"]
        assert said["verification"]["batch_sizes"] == [1, 2, 5]
        assert said["verification"]["bit_equal"] == (kind != "onnx")
        assert said["verification"]["max_relative_difference"] <= said["verification"]["tolerance"]
        assert said["input"] == "(B, 3, 16, 16) float32, normalized values"


def test_programs_hold_no_path_of_the_machine_that_made_them(written: dict[str, Exported]) -> None:
    """Recorders note where every line of code lies."""
    root = str(Path(exporting.__file__).parent.parent.parent).encode()
    for kind in ("torchscript", "torch.export"):
        with zipfile.ZipFile(written[kind].path) as archive:
            assert not [name for name in archive.namelist() if root in archive.read(name)]
    assert root not in written["onnx"].path.read_bytes()


def test_safetensors_is_the_same_bytes_for_the_same_encoder(
    written: dict[str, Exported], simclr: Encoder, tmp_path: Path
) -> None:
    done = export(SIMCLR, tmp_path / "a.safetensors")
    assert done.path.read_bytes() == written["safetensors"].path.read_bytes()
    state = simclr.module.get_submodule("network").state_dict()
    tensors = load_file(done.path)
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)
    with safe_open(done.path, "pt") as file:
        said = file.metadata()
    assert json.loads(said["repdiag.preprocessing"])["size"] == 16
    assert json.loads(said["repdiag.source"])["name"] == "simclr.pt"


def test_an_encoder_that_scoring_left_in_channels_last_is_exported_as_it_was(tmp_path: Path) -> None:
    """Convolutions round differently there, and the written file is compared bit for bit."""
    encoder = load_encoder(str(SIMCLR))
    encoder.module.to(memory_format=torch.channels_last)
    done = export(encoder, tmp_path / "a.safetensors", notes={"made by": "a test"})
    assert torch.equal(
        run(again(done).module, images(encoder)), run(load_encoder(str(SIMCLR)).module, images(encoder))
    )
    assert not encoder.module.network.conv1.weight.is_contiguous(), (
        "the encoder that was given stays as it is"
    )
    with safe_open(str(done.path), "pt") as file:
        assert file.metadata()["made by"] == "a test"


def test_normalization_can_be_a_part_of_the_program(simclr: Encoder, tmp_path: Path) -> None:
    how = simclr.preprocessing
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (how.mean, how.std))
    x = torch.rand(4, 3, 16, 16)
    for suffix in (".ts", ".pt2"):
        done = export(simclr, tmp_path / f"a{suffix}", with_normalization=True)
        assert torch.equal(run(again(done).module, x), run(simclr.module, (x - mean) / std))
        assert again(done).preprocessing.std == (1.0, 1.0, 1.0)
        assert done.describe()["normalization_inside"] is True
    with pytest.raises(UsageError, match="weights only"):
        export(simclr, tmp_path / "a.safetensors", with_normalization=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".ts", ".pt2"])
def test_chosen_features_are_exported(suffix: str, tmp_path: Path) -> None:
    """Two layers, pooled and normalized; a program gives them by itself, weights with the flags that are told."""
    choice: dict[str, Any] = {"layer": "layer1,layer3", "pool": "gem", "l2": True}
    encoder = load_encoder(str(SIMCLR), **choice)
    done = export(SIMCLR, tmp_path / f"a{suffix}", **choice)
    x = images(encoder)
    wanted = run(encoder.module, x)
    assert wanted.shape == (7, encoder.dim)
    assert torch.equal(run(again(done).module, x), wanted)
    if suffix == ".safetensors":
        assert done.flags == choice
        assert "--layer layer1,layer3 --pool gem --l2" in str(done.command)


# --------------------------------------------------------------------------------------------- architectures


@pytest.mark.parametrize(
    "name",
    ["timm:test_convnext", "timm:test_vit", "torchvision:squeezenet1_1", "torchvision:shufflenet_v2_x0_5"],
)
def test_the_printed_lines_open_the_weights_in_their_own_library(name: str, tmp_path: Path) -> None:
    """Strictly, and with the encoder's features."""
    encoder = load_encoder(name)
    done = export(encoder, tmp_path / "a.safetensors")
    assert "strict=True" in done.code[-1]
    names: dict[str, Any] = {}
    exec("\n".join(done.code).replace("a.safetensors", str(done.path)), names)
    x = images(encoder, 2)
    assert torch.equal(run(names["net"].eval(), x), run(encoder.module, x))
    assert again(done).architecture == encoder.architecture
    assert not done.flags


@pytest.mark.parametrize("stem", [{}, {"stem_padding": 2}, {"stem_padding": 0, "max_pool": True}])
def test_what_shapes_cannot_tell_is_in_the_file(stem: dict[str, Any], tmp_path: Path) -> None:
    """So that no flag is needed to open it again."""
    network = torchvision.models.resnet._resnet(
        torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], None, False
    )
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    torch.save(randomized(network).state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"), **stem)
    done = export(str(tmp_path / "a.pt"), tmp_path / "a.safetensors", **stem)
    assert not done.flags
    opened = load_encoder(str(done.path))
    assert opened.architecture == encoder.architecture
    assert opened.fingerprint == encoder.fingerprint
    x = images(encoder, 2)
    assert torch.equal(run(opened.module, x), run(encoder.module, x))


def test_heads_are_in_the_file(tmp_path: Path) -> None:
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=0)
    torch.save(randomized(network).state_dict(), tmp_path / "a.pt")
    done = export(str(tmp_path / "a.pt"), tmp_path / "a.safetensors", heads=4)
    assert not done.flags
    x = images(again(done), 2)
    assert torch.equal(run(again(done).module, x), run(network, x))


def test_resampled_position_embeddings_are_what_is_exported(tmp_path: Path) -> None:
    """The file holds the network for the size that was asked for, and opens at it."""
    network = timm.create_model("test_vit", num_classes=3)
    torch.save(randomized(network).state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"), size=96)
    done = export(str(tmp_path / "a.pt"), tmp_path / "a.safetensors", size=96)
    assert not done.flags
    x = images(encoder, 2)
    assert x.shape[-1] == 96
    assert torch.equal(run(again(done).module, x), run(encoder.module, x))


def test_an_architecture_of_the_users_own_has_to_be_named_again(tmp_path: Path) -> None:
    code = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(2))\n"
    (tmp_path / "mine.py").write_text(code)
    network = nn.Sequential(nn.Conv2d(3, 5, 3))
    torch.save(randomized(network).state_dict(), tmp_path / "a.pt")
    arch = f"{tmp_path / 'mine.py'}:make"
    done = export(str(tmp_path / "a.pt"), tmp_path / "a.safetensors", arch=arch, size=12)
    assert done.flags == {"arch": arch}
    assert "--arch" in json.loads(done.files[1].read_text())["load"]["repdiag"]
    assert again(done).fingerprint == load_encoder(str(tmp_path / "a.pt"), arch=arch).fingerprint


# --------------------------------------------------------------------------------------------- the check


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_wrong_weight_is_found_and_nothing_is_kept(
    simclr: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number of one tensor, in every format."""
    true = {
        "t": programs.torchscript,
        "e": programs.torch_export,
        "o": onnx_file.onnx,
        "s": safetensors_file.write,
    }

    def spoiled(made: programs.Program) -> programs.Program:
        state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
        state["encoder.network.conv1.weight"][0, 0, 0, 0] += 0.01
        other = copy.deepcopy(made)
        other.load_state_dict(state)
        return other

    def spoiled_write(file: Any, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        changed = tensors["layer4.0.bn2.bias"].clone()
        changed[3] += 1e-6
        true["s"](file, {**tensors, "layer4.0.bn2.bias": changed}, metadata)

    monkeypatch.setattr(programs, "torchscript", lambda m, x, d: true["t"](spoiled(m), x, d))
    monkeypatch.setattr(programs, "torch_export", lambda m, x, d: true["e"](spoiled(m), x, d))
    monkeypatch.setattr(onnx_file, "onnx", lambda m, x, d: true["o"](spoiled(m), x, d))
    monkeypatch.setattr(safetensors_file, "write", spoiled_write)
    for suffix in SUFFIXES.values():
        with pytest.raises(
            OutputError, match=r"computes other features .* largest difference is .* not kept"
        ):
            export(simclr, tmp_path / f"a{suffix}")
    assert left(tmp_path) == []


def test_a_file_that_cannot_be_opened_is_not_kept(
    simclr: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off, as by a disk that lies."""
    true = programs.torch_export
    monkeypatch.setattr(programs, "torch_export", lambda m, x, d: true(m, x, d)[:-5000])
    with pytest.raises(OutputError, match="cannot be opened again"):
        export(simclr, tmp_path / "a.pt2")
    assert left(tmp_path) == []


def test_a_batch_size_that_was_baked_in_is_found(tmp_path: Path) -> None:
    """A recorder takes a Python number for a constant."""
    code = (
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.conv = nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n        return self.conv(x).reshape(int(x.shape[0]), 4, -1).mean(2)\n"
    )
    (tmp_path / "net.py").write_text(code)
    torch.save({"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.randn(4)}, tmp_path / "a.pt")
    before = left(tmp_path)
    with pytest.raises(OutputError, match=r"gives \(3, 4\) .*for 1 image.*not kept"):
        export(str(tmp_path / "a.pt"), tmp_path / "a.ts", arch=f"{tmp_path / 'net.py'}:Net", size=8)
    assert [name for name in left(tmp_path) if name != "__pycache__"] == before


def test_the_comparison_sees_shapes_and_nan(simclr: Encoder) -> None:
    """Differences that a subtraction would hide."""
    for wrong, said in (
        (lambda x: simclr.module(x)[:, :-1], "gives"),
        (lambda x: simclr.module(x) * torch.nan, "other features"),
        (lambda x: simclr.module(x).mean(1, keepdim=True).expand(-1, 128), "other features"),
    ):

        class Wrong(nn.Module):
            def forward(self, x: torch.Tensor, wrong: Any = wrong) -> torch.Tensor:
                return wrong(x)

        with pytest.raises(OutputError, match=said):
            check.compare(simclr, Wrong(), "onnx", normalizes=False)
    assert check.compare(simclr, simclr.module, "safetensors", normalizes=False).none


# --------------------------------------------------------------------------------------------- refusals

Refusal = tuple[type[RepdiagError], str]


def test_the_suffix_tells_the_format_or_the_user_does(simclr: Encoder, tmp_path: Path) -> None:
    for name in ("a.pt", "a.bin"):
        with pytest.raises(
            UsageError, match=r"does not tell the format.*--format safetensors or torchscript"
        ):
            export(simclr, tmp_path / name)
    with pytest.raises(UsageError, match=r"Did you mean 'torch\.export'"):
        export(simclr, tmp_path / "a.pt", "torch_export")
    assert export(simclr, tmp_path / "a.pt", "torchscript").format == "torchscript"


def test_existing_files_are_replaced_only_with_force(simclr: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    out.write_text("mine")
    with pytest.raises(OutputError, match=r"such a file already.*--force"):
        export(simclr, out)
    assert out.read_text() == "mine"
    assert export(simclr, out, force=True).sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    out.unlink()
    with pytest.raises(OutputError, match=r"already \(.*a\.safetensors\.json\)"):
        export(simclr, out)


def test_places_that_cannot_be_written_are_one_sentence(simclr: Encoder, tmp_path: Path) -> None:
    (tmp_path / "folder.ts").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="this is a folder"):
        export(simclr, tmp_path / "folder.ts", force=True)
    with pytest.raises(OutputError, match="Cannot write"):
        export(simclr, tmp_path / "file" / "a.ts")
    twin = tmp_path / "a.pt"
    twin.write_bytes(SIMCLR.read_bytes())
    with pytest.raises(UsageError, match="OUT is the checkpoint itself"):
        export(twin, twin, "safetensors", force=True)
    assert twin.read_bytes() == SIMCLR.read_bytes()


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file can grow beyond 64 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_a_full_disk_leaves_nothing_behind(suffix: str, simclr: Encoder, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write: File too large"):
        export(simclr, tmp_path / f"a{suffix}")
    assert left(tmp_path) == []


def test_a_program_has_no_weights_to_be_named(written: dict[str, Exported], tmp_path: Path) -> None:
    done = written["torchscript"]
    with pytest.raises(UsageError, match=r"TorchScript program.*Choose another --format"):
        export(again(done), tmp_path / "a.safetensors")


def test_weights_cannot_tell_which_features_were_chosen(tmp_path: Path) -> None:
    """A program can."""
    with pytest.raises(UsageError, match=r"backbone alone, not its projector.*a program"):
        export(SIMCLR, tmp_path / "a.safetensors", layer="layer1,projector")
    chosen = load_encoder(str(SIMCLR), layer="projector")
    with pytest.raises(UsageError, match="not the choice of features"):
        export(chosen, tmp_path / "a.safetensors")
    assert left(tmp_path) == []
    done = export(chosen, tmp_path / "a.ts")
    x = images(chosen)
    assert torch.equal(run(again(done).module, x), run(chosen.module, x))


def test_onnx_without_its_libraries_names_the_command(
    simclr: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "NEEDED", ("onnx", "no_such_library"))
    with pytest.raises(UsageError, match=r"no_such_library must be installed.*pip install 'repdiag\[onnx\]'"):
        export(simclr, tmp_path / "a.onnx")


def test_a_module_in_memory_is_not_exported(simclr: Encoder, tmp_path: Path) -> None:
    """It belongs to somebody who may be training it."""
    guest = wrap.wrap(wrap.Guest(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())), simclr.preprocessing)
    with pytest.raises(UsageError, match=r"module in memory \(Sequential\).*state_dict"):
        export(guest, tmp_path / "a.ts")


def test_options_of_loading_do_not_go_with_a_loaded_encoder(simclr: Encoder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="size tell how to load a file"):
        export(simclr, tmp_path / "a.ts", size=32)


@pytest.mark.shared
def test_a_real_encoder_is_exported_without_flags(shared: Path, tmp_path: Path) -> None:
    """A network that no library has by name, from a file with a DataParallel prefix."""
    source = shared / "enc-cifar10-resnet-akamaster" / "resnet20-12fca82f.th"
    done = export(source, tmp_path / "a.safetensors")
    assert not done.flags
    assert again(done).fingerprint == load_encoder(str(source)).fingerprint


# --------------------------------------------------------------------------------------------- command line


def test_the_command_says_what_was_verified_and_the_file_scores(cli: Run, tmp_path: Path) -> None:
    """The printed command is run as it is printed."""
    said = cli("export", SIMCLR, tmp_path / "a.safetensors").stdout
    assert "bit-equal features" in said
    assert "batches of 1, 2, 5" in said
    command = re.search(r"repdiag score a\.safetensors DATASET(.*)", said)
    assert command is not None
    plan = cli("score", tmp_path / "a.safetensors", FIXTURES / "digits", "--dry-run", *command[1].split())
    assert "embed" in plan.stdout


def command(*arguments: object) -> int:
    """The exit code of the command line, run in this process."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_json_is_the_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And --quiet prints nothing."""
    options = ("--json", "--with-normalization", "--layer", "layer1,layer2")
    assert command("export", SIMCLR, tmp_path / "a.pt2", *options) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "a.pt2.json").read_text())
    assert said["input"].endswith("values in [0, 1]")
    assert said["output"] == "(B, 48) float32"
    assert command("export", SIMCLR, tmp_path / "a.safetensors", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert command("export", SIMCLR, tmp_path / "a.safetensors") == 6
    assert "--force" in capsys.readouterr().err


def test_an_interrupted_command_says_that_nothing_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "compare", stop)
    assert command("export", SIMCLR, tmp_path / "a.safetensors") == 130
    assert "Interrupted; nothing was written" in capsys.readouterr().err
    assert left(tmp_path) == []
