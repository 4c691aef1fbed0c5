"""`repdiag inspect` says what `load_encoder` would do, without torch and without reading a weight."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from conftest import FIXTURES, ROOT, SHARED, Run
from safetensors.torch import save_file

from repdiag.encoders import index, load_encoder
from repdiag.encoders.recipe import from_zoo
from repdiag.errors import CheckpointError
from repdiag.inspection import inspect

FILES = sorted((FIXTURES / "encoders").glob("*"))
REAL = sorted(p for p in SHARED.glob("enc-*/*") if p.suffix in {".th", ".pth", ".tar", ".ckpt"})


def resnet18() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = timm.create_model("resnet18", num_classes=0).state_dict()
    return state


def agrees(path: Path) -> None:
    """Architecture, place, size, counts and preprocessing are what `load_encoder` finds with the weights."""
    inspection, encoder = inspect(path), load_encoder(str(path))
    found = inspection.found
    assert found is not None
    assert found.architecture == encoder.architecture
    assert found.prefix == encoder.loading.prefix
    assert found.dim == encoder.dim
    assert (found.tensors, found.parameters) == (encoder.loading.loaded, encoder.loading.parameters)
    assert inspection.input == encoder.preprocessing
    assert sum(found.dropped.values()) == len(encoder.loading.dropped)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_the_inspection_agrees_with_the_loader(path: Path) -> None:
    agrees(path)


@pytest.mark.shared
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_the_inspection_of_every_real_encoder_agrees_with_the_loader(path: Path) -> None:
    """The tutorials' networks have names of their own: there the way out is named."""
    if "uvadlc" not in path.parent.name:
        return agrees(path)
    found = inspect(path)
    assert found.layout.tensors
    assert found.problem is not None
    assert "--arch" in found.problem


def test_inspecting_imports_no_torch_and_shows_a_terminal_all_that_matters() -> None:
    code = (
        "import sys; from repdiag.cli import main\n"
        f"try: main(['inspect', {str(FIXTURES / 'encoders/simclr.pt')!r}])\n"
        "finally: assert not {'torch', 'timm', 'pandas', 'numpy.linalg'} & set(sys.modules), 'too much is imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for heading in ("Container", "SHA-256", "Encoder", "Coverage", "Input", "Understood"):
        assert heading in done.stdout


def test_candidates_and_the_one_that_is_taken_are_listed(tmp_path: Path, cli: Run) -> None:
    state = resnet18()
    other = {name: tensor + 1 for name, tensor in state.items()}
    file = {"student": {f"backbone.{k}": v for k, v in other.items()}, "epoch": 7}
    file["teacher"] = {f"backbone.{k}": v for k, v in state.items()} | {
        "head.mlp.0.weight": torch.zeros(2, 2)
    }
    torch.save(file, tmp_path / "dino.pth")
    said = json.loads(cli("inspect", tmp_path / "dino.pth", "--json").stdout)
    assert said["encoder"]["candidates"] == [
        {"prefix": "student.backbone.", "taken": False},
        {"prefix": "teacher.backbone.", "taken": True},
    ]
    assert said["encoder"]["coverage"]["dropped_by_part"]["teacher.head.mlp"] == 1
    assert said["facts"] == {"epoch": 7}
    assert said["method"]["name"] == "DINO"
    student = json.loads(
        cli("inspect", tmp_path / "dino.pth", "--json", "--prefix", "student.backbone").stdout
    )
    assert student["encoder"]["prefix"] == "student.backbone."


def test_equal_copies_are_left_to_the_weights(tmp_path: Path) -> None:
    """Two places whose difference no name explains: the loader compares them, the inspection says so."""
    state = resnet18()
    torch.save({"one": state, "two": {k: v.clone() for k, v in state.items()}}, tmp_path / "a.pt")
    found = inspect(tmp_path / "a.pt").found
    assert found is not None
    assert found.prefix is None
    assert [place.taken for place in found.places] == [None, None]
    assert load_encoder(str(tmp_path / "a.pt")).loading.prefix == "one."


def test_shared_storage_is_one_reading(tmp_path: Path) -> None:
    state = resnet18()
    torch.save({"one": state, "two": state}, tmp_path / "a.pt")
    found = inspect(tmp_path / "a.pt").found
    assert found is not None
    assert found.prefix == "one."


def test_what_is_missing_is_named(tmp_path: Path, cli: Run) -> None:
    state = resnet18()
    del state["layer3.1.bn2.running_var"]
    torch.save(state, tmp_path / "a.pt")
    done = cli("inspect", tmp_path / "a.pt")
    assert "No encoder" in done.stdout
    assert "layer3.1.bn2.running_var" in done.stdout.replace("\n", "").replace(" ", "")


def test_every_tensor_is_listed_when_asked_for(cli: Run) -> None:
    path = FIXTURES / "encoders/simclr.safetensors"
    done = cli("inspect", path, "--tensors")
    for name in inspect(path).layout.tensors:
        assert name in done.stdout


@pytest.mark.parametrize("name", ["timm:vit_small_patch16_224", "torchvision:resnet50", "timm:convnext_atto"])
def test_the_index_knows_what_the_library_builds(name: str) -> None:
    known = next(k for k in index.known_architectures() if name in k.names)
    recipe = from_zoo(name, known)
    network = recipe.build()
    assert recipe.dim == network(torch.zeros(1, 3, 224, 224)).shape[1]
    assert recipe.input == recipe.preprocessing(network)
    shapes = recipe.shapes()
    assert index.holds(known, "", shapes)
    for lost in (next(iter(shapes)), list(shapes)[-1]):
        assert not index.holds(known, "", {n: s for n, s in shapes.items() if n != lost})
    assert not index.holds(known, "", shapes | {f"{next(iter(shapes)).partition('.')[0]}.extra": (3,)})
    wrong = dict(shapes)
    wrong[list(shapes)[3]] = (1, 2, 3)
    assert not index.holds(known, "", wrong)


def test_a_program_says_its_input_and_that_it_runs_whole(tmp_path: Path, cli: Run) -> None:
    cli("export", FIXTURES / "encoders/simclr.safetensors", tmp_path / "a.ts", "--quiet")
    found = inspect(tmp_path / "a.ts")
    assert found.found is None
    assert found.whole is not None
    assert found.input == load_encoder(str(tmp_path / "a.ts")).preprocessing
    assert "16x16 pixels" in cli("inspect", tmp_path / "a.ts").stdout


def test_a_model_folder_is_inspected_without_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["ViTModel"], "hidden_size": 8}')
    places = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    save_file({"a.weight": torch.zeros(2, 3)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b.weight": torch.zeros(4)}, tmp_path / "model-00002-of-00002.safetensors")
    found = inspect(tmp_path)
    assert set(found.layout.tensors) == {"a.weight", "b.weight"}
    assert found.layout.facts["hidden_size"] == 8
    assert found.whole == "ViTModel, opened through transformers (extra: hf)"
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="no JSON object"):
        inspect(tmp_path)


def test_a_prefix_may_begin_behind_the_containers(tmp_path: Path) -> None:
    """`encoder_k` stands for `state_dict.module.encoder_k`; a whole prefix goes before one that only ends so."""
    state = resnet18()
    other = {name: tensor * 2 if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    both = {f"module.encoder_q.{k}": v for k, v in state.items()}
    both |= {f"module.encoder_k.{k}": v for k, v in other.items()}
    torch.save({"state_dict": both, "encoder_k": state}, tmp_path / "moco.pt")
    key = load_encoder(str(tmp_path / "moco.pt"), prefix="module.encoder_k")
    assert key.loading.prefix == "state_dict.module.encoder_k."
    whole = inspect(tmp_path / "moco.pt", prefix="encoder_k").found
    assert whole is not None
    assert whole.prefix == "encoder_k."
