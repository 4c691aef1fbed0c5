"""Reading checkpoint files: what is found in them, and that nothing in them is ever run."""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from repdiag.checkpoints import read_checkpoint
from repdiag.checkpoints.export_check import _is_arithmetic
from repdiag.errors import CheckpointError, UnsafeCheckpointError

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def weights() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "conv.bias": torch.ones(2)}


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


# --------------------------------------------------------------------------------------------- what is found


@FORMS
def test_nested_dicts_become_dotted_names(tmp_path: Path, zipped: bool) -> None:
    """Containers are ordinary path components, in the file's order; other values are passed over."""
    root = {"epoch": 3, "state_dict": weights(), "optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}}}
    found = read_checkpoint(save(root, tmp_path / "a.pt", zipped))
    assert list(found.tensors) == [
        "state_dict.conv.weight",
        "state_dict.conv.bias",
        "optimizer.state.0.exp_avg",
    ]
    assert torch.equal(found.tensors["state_dict.conv.weight"], weights()["conv.weight"])
    assert found.container == ("torch.save (zip)" if zipped else "torch.save (legacy)")
    assert found.stubbed == ()
    assert len(found.sha256) == 64


class AttributeDict(dict[str, Any]):
    """A dict subclass as Lightning saves its hyper-parameters."""


@FORMS
def test_harmless_globals_are_stubbed_and_named(tmp_path: Path, zipped: bool) -> None:
    """Namespace, numpy values, paths, enum-like objects: the tensors beside them load, and they are listed."""
    root = {
        "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/x")),
        "best": np.float64(0.5),
        "curve": np.arange(5.0),
        "space": types.SimpleNamespace(a=1),
        "counts": collections.defaultdict(int, {"a": 1}),
        "model": weights(),
    }
    found = read_checkpoint(save(root, tmp_path / "a.pt", zipped))
    assert list(found.tensors) == ["model.conv.weight", "model.conv.bias"]
    assert "argparse.Namespace" in found.stubbed
    assert "collections.defaultdict" in found.stubbed
    assert any(name.endswith("multiarray.scalar") for name in found.stubbed)
    assert "collections.OrderedDict" not in found.stubbed


@FORMS
def test_tensors_inside_dict_subclasses_are_found(tmp_path: Path, zipped: bool) -> None:
    """A dict subclass that torch does not know is read as a dict, also when its class cannot be imported."""
    root = {"state_dict": AttributeDict(weights()), "other": collections.defaultdict(list, weights())}
    path = save(root, tmp_path / "a.pt", zipped)
    found = read_checkpoint(path)
    assert list(found.tensors) == [f"{k}.{n}" for k in ("state_dict", "other") for n in weights()]


def test_list_subclasses_do_not_stop_the_loading(tmp_path: Path) -> None:
    """A pickled list subclass becomes a list."""

    class Items(list[int]):
        pass

    globals()["Items"] = Items  # pickle wants it at module level
    Items.__qualname__ = "Items"
    found = read_checkpoint(save({"items": Items([1, 2]), "model": weights()}, tmp_path / "a.pt"))
    assert any(name.endswith("Items") for name in found.stubbed)


def test_safetensors_give_tensors_and_metadata(tmp_path: Path) -> None:
    """The header's metadata come along."""
    save_file(weights(), tmp_path / "a.safetensors", metadata={"repdiag.architecture": "timm:resnet18"})
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert found.container == "safetensors"
    assert found.metadata == {"repdiag.architecture": "timm:resnet18"}
    assert torch.equal(found.tensors["conv.weight"], weights()["conv.weight"])


def test_a_torch_file_can_carry_metadata_too(tmp_path: Path) -> None:
    """`repdiag_preprocessing` is a plain dict beside the weights."""
    root = {"model": weights(), "repdiag_preprocessing": {"size": 32}, "repdiag_architecture": "x"}
    found = read_checkpoint(save(root, tmp_path / "a.pt"))
    assert json.loads(found.metadata["repdiag.preprocessing"]) == {"size": 32}
    assert found.metadata["repdiag.architecture"] == "x"


def test_files_without_checksums_load_with_a_warning(tmp_path: Path) -> None:
    """torch can write zips without CRCs; then damage cannot be seen, and that is said."""
    torch.serialization.set_crc32_options(False)
    try:
        save(weights(), tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    found = read_checkpoint(tmp_path / "a.pt")
    assert len(found.tensors) == 2
    assert "no checksum" in found.warnings[0]


# --------------------------------------------------------------------------------------------- nothing is run


@FORMS
@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval, exec])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, zipped: bool, function: Callable[..., Any]) -> None:
    """Calls that no model needs are refused with exit code 7, before anything of the file is looked at."""
    canary = tmp_path / "canary"
    python = function in (eval, exec)
    command = f"open({str(canary)!r}, 'w').close()" if python else f"touch {canary}"
    path = save({"model": weights(), "x": Calls(function, command)}, tmp_path / "a.pt", zipped)
    with pytest.raises(UnsafeCheckpointError, match="nothing was run") as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 7
    assert not canary.exists()


def test_the_canary_can_sing(tmp_path: Path) -> None:
    """The check above can fail: the same file opened as trusted does run."""
    canary = tmp_path / "canary"
    path = save({"model": weights(), "x": Calls(os.system, f"touch {canary}")}, tmp_path / "a.pt")
    found = read_checkpoint(path, trust_pickle=True)
    assert canary.exists()
    assert "trusted" in found.warnings[0]


@FORMS
def test_unknown_modules_are_not_imported(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A global of a module that could be imported is stubbed: its import would leave a trace."""
    canary = tmp_path / "canary"
    source = f"open({str(canary)!r}, 'w').close()\ndef helper(*a): raise SystemExit\n"
    (tmp_path / "someones_project.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import someones_project

    path = save({"x": Calls(someones_project.helper, 1), "model": weights()}, tmp_path / "a.pt", zipped)
    del sys.modules["someones_project"]
    canary.unlink()
    found = read_checkpoint(path)
    assert not canary.exists()
    assert "someones_project" not in sys.modules
    assert found.stubbed == ("someones_project.helper",)
    assert len(found.tensors) == 2


@FORMS
def test_a_whole_pickled_module_is_refused_with_the_way_out(tmp_path: Path, zipped: bool) -> None:
    """Only --trust-pickle opens it; then its tensors and the module are there."""
    network = nn.Sequential(nn.Conv2d(3, 2, 2))
    path = save(network, tmp_path / "a.pt", zipped)
    with pytest.raises(UnsafeCheckpointError, match=r"state_dict.*--trust-pickle"):
        read_checkpoint(path)
    trusted = read_checkpoint(path, trust_pickle=True)
    assert list(trusted.tensors) == ["0.weight", "0.bias"]
    assert isinstance(trusted.module, nn.Sequential)


def test_trusted_pickles_name_the_missing_module(tmp_path: Path) -> None:
    """A class that is not installed here is one sentence."""
    missing = types.ModuleType("not_installed_here")
    exec("def f(*a): ...", vars(missing))
    vars(missing)["f"].__module__ = "not_installed_here"
    sys.modules["not_installed_here"] = missing
    try:
        path = save({"x": Calls(vars(missing)["f"]), "model": weights()}, tmp_path / "a.pt")
    finally:
        del sys.modules["not_installed_here"]
    with pytest.raises(CheckpointError, match="not_installed_here"):
        read_checkpoint(path, trust_pickle=True)


# --------------------------------------------------------------------------------------------- broken files


def _damaged(path: Path, position: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.95])
@FORMS
def test_a_truncated_file_is_one_sentence(tmp_path: Path, zipped: bool, kept: float) -> None:
    """Whatever is cut off."""
    path = save({"model": {"w": torch.randn(4096)}}, tmp_path / "a.pt", zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_truncated_safetensors_file_is_one_sentence(tmp_path: Path) -> None:
    """The header promises more than there is."""
    path = tmp_path / "a.safetensors"
    save_file(weights(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    """torch alone would load a wrong weight in silence."""
    path = save({"model": {"w": torch.randn(4096)}}, tmp_path / "a.pt")
    _damaged(path, 0.5)
    assert not torch.equal(torch.load(path)["model"]["w"], torch.zeros(4096))  # torch sees nothing wrong
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(path)


@FORMS
def test_flipped_bits_anywhere_never_escape_as_another_error(tmp_path: Path, zipped: bool) -> None:
    """For 60 positions: it loads (a legacy weight has no checksum) or it is one of our sentences."""
    path = save({"args": argparse.Namespace(a=1), "model": weights()}, tmp_path / "a.pt", zipped)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            read_checkpoint(path)
        except (CheckpointError, UnsafeCheckpointError):
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\n  <html><head>", "web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"Not found\n", "text"),
        (b'{"error": "not found"}', "text"),
        (b"\x1f\x8b\x08rest", "Unpack"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"PK\x03\x04 and nothing more", "cut off"),
        (pickle.dumps({"a": 1}, 2), "plain Python pickle"),
        (bytes(range(1, 200)), "no kind that repdiag knows"),
    ],
)
def test_what_is_no_checkpoint_is_called_by_its_name(tmp_path: Path, content: bytes, said: str) -> None:
    """The sentence says what the file is."""
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(tmp_path / "model.pth")


def test_missing_files_folders_and_foreign_zips(tmp_path: Path) -> None:
    """Each has its own sentence."""
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="folder"):
        read_checkpoint(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat.png", b"x")
    with pytest.raises(CheckpointError, match=r"zip archive but no checkpoint .*cat\.png"):
        read_checkpoint(tmp_path / "a.zip")


def test_files_without_tensors_are_refused(tmp_path: Path) -> None:
    """Training logs saved with torch.save hold nothing to evaluate."""
    with pytest.raises(CheckpointError, match="no tensor"):
        read_checkpoint(save({"epoch": 3}, tmp_path / "a.pt"))


@FORMS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_pickle_protocol_is_read(tmp_path: Path, zipped: bool, protocol: int) -> None:
    """torch's own safe loader stops at protocol 2."""
    root = {"model": weights(), "args": argparse.Namespace(lr=0.5)}
    torch.save(root, tmp_path / "a.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "a.pt")
    assert torch.equal(found.tensors["model.conv.weight"], weights()["conv.weight"])
    assert found.facts == {"args.lr": 0.5}


def test_endless_nesting_is_noticed(tmp_path: Path) -> None:
    """A dict that contains itself, and one that aliases another exponentially often."""
    cycle: dict[str, Any] = {"w": torch.ones(1)}
    cycle["self"] = cycle
    bomb: dict[str, Any] = {"w": torch.ones(1)}
    for _ in range(40):
        bomb = {"a": bomb, "b": bomb}
    for name, root in (("cycle", cycle), ("bomb", bomb)):
        with pytest.raises(CheckpointError, match="without end"):
            read_checkpoint(save(root, tmp_path / f"{name}.pt"))


# --------------------------------------------------------------------------------------------- programs


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x))


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_loaded_as_a_program(tmp_path: Path) -> None:
    """Its tensors are there under their names, and the module computes the same."""
    network = Tiny().eval()
    torch.jit.script(network).save(str(tmp_path / "a.pt"))
    found = read_checkpoint(tmp_path / "a.pt")
    assert found.container == "TorchScript"
    assert set(found.tensors) == {"conv.weight", "conv.bias"}
    image = torch.randn(2, 3, 8, 8)
    assert found.module is not None
    assert torch.equal(found.module(image), network(image))


@pytest.mark.filterwarnings("ignore")
def test_torchscript_that_touches_files_is_refused(tmp_path: Path) -> None:
    """The interpreter has an operation that maps files."""

    class Reader(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8).sum()

    torch.jit.script(Reader()).save(str(tmp_path / "a.pt"))
    with pytest.raises(UnsafeCheckpointError, match="from_file"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tiny]:
    network = Tiny().eval()
    path = tmp_path_factory.mktemp("export") / "a.pt2"
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (torch.randn(4, 3, 8, 8),)), path)
    return path, network


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_an_export_with_a_fixed_batch_takes_any_number(exported: tuple[Path, Tiny], count: int) -> None:
    """The last, smaller portion is filled up, and the filling is thrown away; eval() does no harm."""
    path, network = exported
    found = read_checkpoint(path)
    assert found.container == "torch.export"
    assert found.metadata["input_shape"] == "4,3,8,8"
    assert found.module is not None
    images = torch.randn(count, 3, 8, 8)
    torch.testing.assert_close(found.module.eval()(images), network(images))


def _rewritten(path: Path, target: Path, change: Callable[[str, bytes], bytes], extra: str = "") -> Path:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        if extra:
            new.writestr(extra, b"\x7fELF")
    return target


@pytest.mark.parametrize(
    ("record", "old", "new"),
    [
        ("model.json", b"torch.ops.aten.conv2d.default", b"torch.os.system"),
        ("model.json", b"torch.ops.aten.conv2d.default", b"_operator.methodcaller"),
        ("model.json", b'"as_int": 4', b'"as_expr": {"expr_str": "eval(\'1\')", "hint": null}'),
        ("model.json", b"builtins.tuple", b"collections.defaultdict"),
        ("model_weights_config.json", b'"weight_0"', b'"opaque_obj_0"'),
        ("", b"", b"data/aotinductor/model/x.so"),
        ("", b"", b"data/constants/x.dylib"),
    ],
)
def test_an_export_that_is_more_than_a_graph_is_refused(
    exported: tuple[Path, Tiny], tmp_path: Path, record: str, old: bytes, new: bytes
) -> None:
    """Each way in which torch.export.load would run foreign code is closed before it is called."""

    def change(name: str, content: bytes) -> bytes:
        if record and name.endswith("/" + record):
            assert old in content
            return content.replace(old, new)
        return content

    path = _rewritten(exported[0], tmp_path / "a.pt2", change, "" if record else "a/" + new.decode())
    with pytest.raises(UnsafeCheckpointError, match="nothing was run"):
        read_checkpoint(path)


def test_every_record_that_torch_takes_for_a_graph_is_checked(
    exported: tuple[Path, Tiny], tmp_path: Path
) -> None:
    """Also under a name that does not look like JSON."""
    path = tmp_path / "a.pt2"
    with zipfile.ZipFile(exported[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
            if name.endswith("models/model.json"):
                hostile = old.read(name).replace(b"torch.ops.aten.conv2d.default", b"torch.os.system")
                new.writestr(name.replace("model.json", "other.txt"), hostile)
    with pytest.raises(UnsafeCheckpointError, match=r"torch\.os\.system"):
        read_checkpoint(path)


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    """The check could look at one and torch at the other."""
    path = save(weights(), tmp_path / "a.pt")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(CheckpointError, match="two records"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("2*s0 + Mod(s1, 4)", True),
        ("__import__('os')", False),
        ("s0.__class__", False),
        ("open('x')", False),
        ("Symbol('a b')", False),
        ("[x for x in s0]", False),
        ("(lambda: 0)()", False),
    ],
)
def test_symbolic_shapes_are_arithmetic_only(text: str, harmless: bool) -> None:
    """torch evaluates them as Python."""
    assert _is_arithmetic(text) == harmless


# --------------------------------------------------------------------------------------------- real files


@pytest.mark.shared
def test_every_shared_checkpoint_loads(shared: Path) -> None:
    """All real files open without trust; those with foreign objects say which were stubbed."""
    files = [p for p in sorted(shared.glob("enc-*/*")) if p.suffix not in (".md", ".txt")]
    assert len(files) >= 20
    for path in files:
        found = read_checkpoint(path)
        assert found.tensors, path
        if path.name.startswith("proto_"):
            assert "argparse.Namespace" in found.stubbed
        if path.name.startswith("tutorial9"):
            assert found.stubbed == ("pytorch_lightning.utilities.parsing.AttributeDict",)
