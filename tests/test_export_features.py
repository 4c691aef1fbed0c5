"""Exports that end in chosen features: in every format, from every kind of list, scored as the columns are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FIXTURES
from safetensors import safe_open
from safetensors.torch import save_file

import repdiag
from repdiag.cli import main
from repdiag.encoders import Encoder, load_encoder
from repdiag.encoders.features import layers
from repdiag.encoders.kept import KEY
from repdiag.errors import CheckpointError, InputError, UsageError
from repdiag.exporting import Exported, export, kept_list, programs
from repdiag.inspection import inspect

SIMCLR = FIXTURES / "encoders" / "simclr.pt"
KEPT = [120, 3, 7, 64]
SUFFIXES = (".safetensors", ".ts", ".pt2", ".onnx")


@pytest.fixture(scope="module")
def simclr() -> Encoder:
    return load_encoder(str(SIMCLR))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    folder = tmp_path_factory.mktemp("written")
    return {suffix: export(SIMCLR, folder / f"a{suffix}", features=KEPT) for suffix in SUFFIXES}


def images(encoder: Encoder, batch: int = 7) -> torch.Tensor:
    how = encoder.preprocessing
    return torch.randn(batch, how.channels, how.size, how.size, generator=torch.Generator().manual_seed(11))


def run(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.module(x)


# --------------------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_network_ends_in_exactly_these_features_in_their_order(
    suffix: str, written: dict[str, Exported], simclr: Encoder
) -> None:
    done = written[suffix]
    x = images(simclr)
    wanted = run(simclr, x)[:, KEPT]
    if suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(["features"], {"images": x.numpy()})[0])
        assert torch.allclose(found, wanted, atol=1e-5)
        assert not torch.allclose(found, run(simclr, x)[:, sorted(KEPT)], atol=1e-5)
    else:
        opened = load_encoder(str(done.path), **done.flags)
        assert torch.equal(run(opened, x), wanted)
        assert (opened.dim, done.max_abs_difference) == (4, 0)


def test_the_description_records_them(written: dict[str, Exported]) -> None:
    for done in written.values():
        said = json.loads(done.files[1].read_text())
        assert said["features"] == {"kept": KEPT, "of": 128, "layers": ["output (the network's own)"]}
        assert said["output"] == "(B, 4) float32"
        assert said["encoder"]["dim"] == 4


def test_all_features_are_exported_by_default_and_nothing_is_recorded(tmp_path: Path) -> None:
    done = export(SIMCLR, tmp_path / "a.safetensors")
    assert done.features is None
    with safe_open(done.path, "pt") as file:
        assert KEY not in file.metadata()


def test_a_file_that_would_end_in_other_columns_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check compares with the chosen columns, not with whatever was written."""
    true = programs.torchscript

    def swapped(made: programs.Program, x: torch.Tensor, metadata: dict[str, str]) -> bytes:
        made.encoder.index.copy_(made.encoder.index.flip(0))
        return true(made, x, metadata)

    monkeypatch.setattr(programs, "torchscript", swapped)
    with pytest.raises(repdiag.errors.OutputError, match="computes other features"):
        export(SIMCLR, tmp_path / "a.ts", features=KEPT)
    assert not list(tmp_path.iterdir())


def test_inspect_agrees_with_the_loader(written: dict[str, Exported]) -> None:
    found = inspect(written[".safetensors"].path).found
    assert found is not None
    assert found.dim == 4
    assert "the file keeps 4 of 128 features" in found.readings


def test_chosen_layers_and_chosen_features_go_together(tmp_path: Path) -> None:
    """Columns of two layers side by side; weights need the layers' names again, a program does not."""
    choice: dict[str, Any] = {"layer": "layer1,layer3", "pool": "gem", "l2": True}
    whole = load_encoder(str(SIMCLR), **choice)
    kept = [whole.dim - 1, 0, 5]
    x = images(whole)
    for suffix in (".safetensors", ".ts"):
        done = export(SIMCLR, tmp_path / f"a{suffix}", features=kept, **choice)
        opened = load_encoder(str(done.path), **done.flags)
        assert torch.equal(run(opened, x), run(whole, x)[:, kept])
        assert not opened.l2, "rows of chosen columns have no unit length"
    with pytest.raises(
        CheckpointError, match=r"keeps 3 of \d+ features, of layer1 .*opened for 128 features"
    ):
        load_encoder(str(tmp_path / "a.safetensors"))


def test_what_was_cut_can_be_exported_and_cut_again(written: dict[str, Exported], tmp_path: Path) -> None:
    """Columns of an encoder that was cut number what it gives now."""
    opened = load_encoder(str(written[".safetensors"].path))
    again = export(opened, tmp_path / "a.safetensors")
    assert again.path.read_bytes() != b""
    x = images(opened)
    assert torch.equal(run(load_encoder(str(again.path)), x), run(opened, x))
    less = export(opened, tmp_path / "b.safetensors", features=[3, 0])
    assert less.features is not None
    assert less.features["kept"] == [64, 120]
    assert torch.equal(run(load_encoder(str(less.path)), x), run(opened, x)[:, [3, 0]])
    assert layers(opened), "its layers can still be named"
    with pytest.raises(UsageError, match="chosen before"):
        repdiag.encoders.features.select(opened, "layer1")


def test_lines_of_python_for_another_library_say_which_columns(tmp_path: Path) -> None:
    encoder = load_encoder("torchvision:squeezenet1_1")
    done = export(encoder, tmp_path / "a.safetensors", features=[5, 2])
    names: dict[str, Any] = {}
    code = "\n".join(done.code).replace("a.safetensors.json", "JSON").replace("a.safetensors", str(done.path))
    exec(code.replace("JSON", str(done.files[1])), names)
    x = images(encoder, 2)
    with torch.inference_mode():
        found = names["net"].eval()(x).flatten(1)[:, names["kept"]]
    assert torch.equal(found, run(encoder, x)[:, [5, 2]])


@pytest.mark.parametrize(
    "said",
    ["no json", "[1, 2]", '{"kept": [], "of": 128, "layers": []}', '{"kept": [128], "of": 128, "layers": []}',
     '{"kept": [true], "of": 128, "layers": []}', '{"kept": [1], "of": "x", "layers": []}', "[" * 100_000],
)  # fmt: skip
def test_a_file_that_lies_about_its_features_is_refused(said: str, tmp_path: Path) -> None:
    done = export(SIMCLR, tmp_path / "a.safetensors")
    with safe_open(done.path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        metadata = file.metadata()
    save_file(tensors, tmp_path / "b.safetensors", {**metadata, KEY: said})
    with pytest.raises(CheckpointError, match=r"'repdiag\.features' cannot be used"):
        load_encoder(str(tmp_path / "b.safetensors"))


# --------------------------------------------------------------------------------------------- lists


def lists(folder: Path) -> list[Path]:
    (folder / "a.csv").write_text("feature,mean\n120,0.1\n3,0.2\n7,\n64,0\n")
    (folder / "a.txt").write_text("# kept\n120\n3 # a remark\n\n7\n64\n")
    (folder / "a.json").write_text("[120, 3, 7, 64]")
    np.save(folder / "a.npy", np.array(KEPT))
    mask = np.zeros(128, bool)
    mask[KEPT] = True
    np.save(folder / "mask.npy", mask)
    return [folder / name for name in ("a.csv", "a.txt", "a.json", "a.npy", "mask.npy")]


def test_every_kind_of_list_is_read(tmp_path: Path) -> None:
    *ordered, mask = lists(tmp_path)
    for path in ordered:
        assert kept_list.read_features(path) == KEPT, path.name
    assert kept_list.read_features(mask) == sorted(KEPT)


WRONG: dict[str, tuple[str | bytes, str]] = {
    "range.txt": ("3\n128\n", "no feature 128: the encoder has 128, from 0 to 127"),
    "negative.txt": ("-1\n", "no feature -1"),
    "twice.txt": ("3\n5\n3\n", "Feature 3 is named twice"),
    "empty.csv": ("feature\n", "The list of features is empty"),
    "words.txt": ("first\n", "by their numbers, 0 to 127, not 'first'"),
    "floats.json": ("[1.5]", "by their numbers"),
    "bools.json": ("[true]", "by their numbers"),
    "object.json": ("{}", "it is not a list"),
    "broken.json": ("[1,", "cannot be read"),
    "deep.json": ("[" * 100_000, "cannot be read"),
    "other.csv": ("name\n1\n", "no column 'feature'"),
    "nothing.csv": ("", "no column 'feature'"),
    "a.npy": (b"\x93NUMPY", "cannot be read"),
    "latin.txt": (b"\xff\xfe\x00", "cannot be read"),
    "a.pkl": (b"", "ends in .csv, .txt, .json, .npy"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_list_that_does_not_fit_is_one_clear_sentence(name: str, tmp_path: Path) -> None:
    content, said = WRONG[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((UsageError, InputError), match=said) as caught:
        export(SIMCLR, tmp_path / "out.ts", features=path)
    assert name in str(caught.value)
    assert not (tmp_path / "out.ts").exists()


def test_pickles_and_tables_of_numbers_are_no_lists(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "b.npy", np.eye(3, dtype=int))
    for name in ("a.npy", "b.npy", "absent.txt"):
        with pytest.raises(InputError):
            kept_list.read_features(tmp_path / name)


# --------------------------------------------------------------------------------------------- the whole way


def test_the_command_takes_the_list_and_says_what_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lists(tmp_path)[0]
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(SIMCLR), str(tmp_path / "a.ts"), "--features", str(path)])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "4 features" in said
    assert "kept       4 of 128 features, listed in a.ts.json" in said
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(SIMCLR), str(tmp_path / "b.ts"), "--features", str(tmp_path / "none.csv")])
    assert stopped.value.code == 3
    assert "Cannot read the list of features: No such file" in capsys.readouterr().err


def test_the_exported_network_scores_as_the_columns_do(tmp_path: Path, simclr: Encoder) -> None:
    """Embeddings bit for bit, and so every number of a report."""
    kept = list(range(0, 128, 3))
    done = export(SIMCLR, tmp_path / "a.safetensors", features=np.array(kept))
    digits = str(FIXTURES / "digits")
    columns = repdiag.embed(simclr, digits, cache=False)
    exported = repdiag.embed(str(done.path), digits, cache=False)
    assert np.array_equal(exported.features, columns.features[:, kept])
    wanted = dataclasses.replace(columns, features=np.ascontiguousarray(columns.features[:, kept]))
    names = ["rankme", "knn_purity"]
    config = repdiag.ScoreConfig(bootstrap=50, permutations=2, kmeans_seeds=2)
    one, two = (repdiag.diagnose(e, config, metrics=names, draw_map=False) for e in (wanted, exported))
    for name in names:
        first, second = one.value(name), two.value(name)
        assert first is not None
        assert second is not None
        assert (first.value, first.interval, first.table) == (second.value, second.interval, second.table)
    assert one.samples.columns["risk"].tolist() == two.samples.columns["risk"].tolist()
    whole = repdiag.diagnose(columns, config, metrics=["rankme"], draw_map=False).value("rankme")
    cut = one.value("rankme")
    assert whole is not None
    assert cut is not None
    assert whole.value != cut.value
