"""The committed fixtures are what their README says, and the script that makes them still runs."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
METHODS = ("random", "simclr", "supervised")


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """fixtures/make_fixtures.py as a module; torch's global settings are put back afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    sys.path.insert(0, str(FIXTURES))  # as when Python runs the script
    try:
        yield importlib.import_module("make_fixtures")
    finally:
        sys.path.remove(str(FIXTURES))
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def images(part: str, root: Path = FIXTURES) -> dict[int, Path]:
    """Index in load_digits -> file, of "train" or "test"."""
    files = list((root / "digits" / part).rglob("*.png"))
    found = {int(file.stem): file for file in files}
    assert len(found) == len(files), "an index occurs twice"
    return found


def features(script: ModuleType, method: str) -> np.ndarray:
    """(1797, 128) features of all digits by a committed encoder."""
    backbone = importlib.import_module("digit_resnet").digit_resnet()
    backbone.load_state_dict(load_file(FIXTURES / "encoders" / f"{method}.safetensors"), strict=True)
    return script.encode(backbone, torch.from_numpy(script.digits().images)).numpy()


# --------------------------------------------------------------------------------------------- images


def test_every_png_holds_the_digit_of_its_name_and_lies_in_its_class() -> None:
    """Pixels are load_digits' gray levels times 255/16, rounded; the folder is the digit; none is missing."""
    data = load_digits()
    files = images("train") | images("test")
    assert sorted(files) == list(range(len(data.target)))
    for index, file in files.items():
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
            pixels = np.asarray(image)
        np.testing.assert_array_equal(pixels, np.rint(data.images[index] * 255 / 16))
        assert file.parent.name == str(data.target[index])


def test_the_split_is_disjoint_and_stratified() -> None:
    """1,197 and 600 images without overlap, each class in the same proportion within one image."""
    train, test = images("train"), images("test")
    assert (len(train), len(test)) == (1197, 600)
    assert not set(train) & set(test)
    target = load_digits().target
    for digit in range(10):
        total = int((target == digit).sum())
        in_test = sum(file.parent.name == str(digit) for file in test.values())
        assert abs(in_test - total * 600 / 1797) < 1


def test_the_script_reproduces_the_images_byte_for_byte(script: ModuleType, tmp_path: Path) -> None:
    """--only images writes the committed files again, and no encoders."""
    assert script.main(["--only", "images", "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "encoders").exists()
    for part in ("train", "test"):
        made, committed = images(part, tmp_path), images(part)
        assert made.keys() == committed.keys()
        assert all(made[i].read_bytes() == committed[i].read_bytes() for i in made)
    committed_sums = (FIXTURES / "SHA256SUMS").read_text().splitlines()
    assert (tmp_path / "SHA256SUMS").read_text().splitlines() == [s for s in committed_sums if "digits/" in s]


# --------------------------------------------------------------------------------------------- checksums


def test_the_committed_files_match_their_checksums(script: ModuleType, capsys: pytest.CaptureFixture) -> None:
    """--check finds nothing missing, changed or unlisted."""
    assert script.main(["--check"]) == 0
    assert capsys.readouterr().out == "all fixtures are as listed\n"


def test_check_names_what_is_missing_changed_or_unlisted(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """--check exits with 1 and one line for each difference."""
    folder = tmp_path / "encoders"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_bytes(name.encode())
    script.write_sums(tmp_path)
    assert script.main(["--check", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    (folder / "a").unlink()
    (folder / "b").write_bytes(b"other")
    (folder / "d").write_bytes(b"d")
    assert script.main(["--check", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["missing: encoders/a", "changed: encoders/b", "not listed: encoders/d"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [(["--check"], 3, "Cannot read the checksums"), (["--epochs-scale", "0"], 2, "must be positive")],
)
def test_bad_arguments_give_one_sentence(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    """No traceback, nothing written, and the project's exit codes."""
    assert script.main([*arguments, "--out", str(tmp_path)]) == exit_code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------- encoders


@pytest.mark.parametrize("method", METHODS)
def test_the_encoder_says_how_it_was_made_and_what_it_expects(script: ModuleType, method: str) -> None:
    """Half precision throughout (counters int64), and metadata with preprocessing, training and license."""
    path = FIXTURES / "encoders" / f"{method}.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["repdiag.preprocessing"]) == {
        "size": 16,
        "resize": 16,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "channels": 3,
    }
    recipe = next(recipe for recipe in script.RECIPES if recipe.method == method)
    assert json.loads(metadata["repdiag.training"]) == script.dataclasses.asdict(recipe)
    assert "LICENSE.md" in metadata["license"]
    for name, tensor in load_file(path).items():
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float16)


@pytest.mark.parametrize("method", METHODS)
def test_features_are_128_and_not_negative(script: ModuleType, method: str) -> None:
    """The weights fit the declared architecture exactly; a ReLU comes last; all but few features live."""
    found = features(script, method)
    assert found.shape == (1797, 128)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found.max(axis=0) > 0).sum() >= 120


def test_training_separates_the_classes(script: ModuleType) -> None:
    """kNN on the test part: random < SimCLR and supervised > 0.9, SimCLR leaves 10 errors, the README agrees."""
    data = script.digits()
    accuracy = {}
    for method in METHODS:
        found = features(script, method)
        knn = KNeighborsClassifier(20, metric="cosine").fit(found[data.train], data.labels[data.train])
        accuracy[method] = knn.score(found[data.test], data.labels[data.test])
    assert accuracy["random"] < accuracy["simclr"] <= 1 - 10 / 600
    assert accuracy["random"] < accuracy["supervised"]
    assert accuracy["supervised"] > 0.9
    table = re.findall(r"^\| (\w+) \| ([\d.]+)% \|", (FIXTURES / "README.md").read_text(), re.MULTILINE)
    stated = {method: float(percent) / 100 for method, percent in table}
    assert stated == pytest.approx(accuracy, abs=0.005)  # another CPU may turn over a sample or two


def test_the_checkpoint_holds_the_same_backbone() -> None:
    """simclr.pt is a training script's container; a Namespace keeps plain weights_only loading out."""
    path = FIXTURES / "encoders" / "simclr.pt"
    with pytest.raises(Exception, match=r"argparse\.Namespace"):
        torch.load(path, weights_only=True)
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(path, weights_only=True)
    assert set(checkpoint) == {
        "epoch", "state_dict", "args", "repdiag_preprocessing", "repdiag_hints", "license"
    }  # fmt: skip
    assert checkpoint["args"].method == "simclr"
    assert checkpoint["args"].epochs == checkpoint["epoch"]
    backbone = load_file(FIXTURES / "encoders" / "simclr.safetensors")
    with safetensors.safe_open(FIXTURES / "encoders" / "simclr.safetensors", framework="pt") as file:
        preprocessing = json.loads(file.metadata()["repdiag.preprocessing"])
    assert checkpoint["repdiag_preprocessing"] == preprocessing
    state = checkpoint["state_dict"]
    assert {key.split(".")[0] for key in state} == {"backbone", "projection_head"}
    found = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    assert found.keys() == backbone.keys()
    assert all(torch.equal(found[key], backbone[key]) for key in backbone)


# --------------------------------------------------------------------------------------------- training


def test_views_differ_between_images_and_follow_the_seed(script: ModuleType) -> None:
    """Each image draws its own crop: copies of one image get different views; the range stays [-1, 1]."""
    augment = importlib.import_module("digit_training").augment
    one = torch.from_numpy(script.digits().images[:1])
    copies = importlib.import_module("digit_resnet").preprocess(one).repeat(4, 1, 1, 1)
    views = augment(copies, torch.Generator().manual_seed(0))
    assert views.shape == copies.shape
    assert (views.abs() <= 1 + 1e-5).all()  # the blur's weights sum to one only up to rounding
    assert not torch.equal(views[0], views[1])
    assert torch.equal(views, augment(copies, torch.Generator().manual_seed(0)))
    assert not torch.equal(views, augment(copies, torch.Generator().manual_seed(1)))


def test_saved_encoders_have_reproducible_bytes(script: ModuleType) -> None:
    """The header is sorted, whatever order the library writes, and still reads as safetensors."""
    tensors = {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.int64)}
    metadata = {"z": "1", "y": "2", "x": "3", "w": "4"}
    content = script.safetensors_bytes(tensors, metadata)
    assert content == script.safetensors_bytes(
        dict(reversed(tensors.items())), dict(reversed(metadata.items()))
    )
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == sorted(metadata)
    loaded = safetensors.torch.load(content)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


def test_a_diverged_encoder_is_not_saved(script: ModuleType) -> None:
    """A weight beyond half precision's range is refused by name."""
    with pytest.raises(script.InputError, match="'w' is not finite"):
        script.half({"ok": torch.zeros(1), "w": torch.tensor([1e6])})


def test_a_toy_training_writes_every_encoder(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One epoch each: all four files, listed in SHA256SUMS, moved away from the start, and a table printed."""
    pytest.importorskip("lightly", reason="training the fixtures needs the 'train' extra (lightly)")
    assert script.main(["--only", "encoders", "--out", str(tmp_path), "--epochs-scale", "0.01"]) == 0
    names = ["random.safetensors", "simclr.pt", "simclr.safetensors", "supervised.safetensors"]
    assert script.products(tmp_path) == [f"encoders/{name}" for name in names]
    assert script.main(["--check", "--out", str(tmp_path)]) == 0
    start = load_file(tmp_path / "encoders" / "random.safetensors")
    for method in ("simclr", "supervised"):
        trained = load_file(tmp_path / "encoders" / f"{method}.safetensors")
        assert trained["bn1.num_batches_tracked"] == 1197 // 128
        assert not torch.equal(trained["conv1.weight"], start["conv1.weight"])
    printed = capsys.readouterr().out
    assert "simclr: epoch 1/1" in printed
    assert all(f"| {method} |" in printed for method in METHODS)
