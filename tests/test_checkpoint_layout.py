"""`read_layout`: everything but the weights, without torch, and the same as `read_checkpoint` finds."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import json
import math
import pathlib
import pickle
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn

from repdiag.checkpoints import read_checkpoint, read_layout
from repdiag.checkpoints.boxes import Box
from repdiag.checkpoints.names import ITEM_SIZES, KNOWN, STORAGES
from repdiag.errors import CheckpointError


class Block(nn.Module):
    """Parameters, buffers, a plain tensor attribute (which is no state), shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)
        self.plain = torch.arange(3.0)
        self.register_buffer("scale", torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(x) * self.scale.sum() + self.plain.sum()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.blocks[1].bn.weight = self.blocks[0].bn.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return x


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


IMAGES = torch.randn(4, 3, 8, 8)


def _zip(path: Path) -> Path:
    torch.save({"epoch": 1, "model": net().state_dict()}, path)
    return path


def _legacy(path: Path) -> Path:
    torch.save({"epoch": 1, "model": net().state_dict()}, path, _use_new_zipfile_serialization=False)
    return path


def _safetensors(path: Path) -> Path:
    save_file({k: v.clone() for k, v in net().state_dict().items()}, path, metadata={"a": "b"})
    return path


def _script(path: Path) -> Path:
    torch.jit.script(net()).save(str(path))
    return path


def _trace(path: Path) -> Path:
    torch.jit.trace(net(), IMAGES).save(str(path))
    return path


def _frozen(path: Path) -> Path:
    torch.jit.freeze(torch.jit.script(net())).save(str(path))
    return path


def _export(path: Path) -> Path:
    path = path.with_suffix(".pt2")
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    with torch.no_grad():
        torch.export.save(torch.export.export(net(), (IMAGES,), dynamic_shapes=(batch,)), path)
    return path


def _distributed(path: Path) -> Path:
    dcp.save({"model": net().state_dict(), "epoch": 1}, checkpoint_id=path, no_dist=True)
    return path


def _quantized(path: Path) -> Path:
    per_tensor = torch.quantize_per_tensor(torch.randn(4, 3), 0.1, 2, torch.qint8)
    scales, zeros = torch.tensor([0.1, 0.2]), torch.tensor([0, 1])
    per_channel = torch.quantize_per_channel(torch.randn(2, 3), scales, zeros, 0, torch.quint8)
    torch.save({"a": per_tensor, "b": per_channel}, path)
    return path


def _views(path: Path) -> Path:
    """Slices, transposes, expansions, scalars, empty tensors, parameters, every dtype."""
    base = torch.arange(24.0)
    root: dict[str, Any] = {
        "slice": base[5:9],
        "transposed": base.view(4, 6).T,
        "strided": base[::3],
        "expanded": torch.ones(1, 3).expand(5, 3),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 7),
        "parameter": nn.Parameter(base.view(2, 12)),
        "nested": collections.defaultdict(dict, {"deeper": collections.OrderedDict(w=base)}),
    }
    root |= {name: torch.ones(3).to(getattr(torch, name)) for name in ITEM_SIZES if not name.startswith("q")}
    torch.save(root, path)
    return path


FILES = pytest.mark.parametrize(
    "make",
    [_zip, _legacy, _safetensors, _script, _trace, _frozen, _export, _distributed, _quantized, _views],
    ids=lambda make: make.__name__.strip("_"),
)


def _shapes(tensors: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    return {n: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()}


@pytest.mark.filterwarnings("ignore")
@FILES
def test_a_layout_is_what_reading_finds(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Names in their order, shapes, dtypes, digest, facts, metadata: in files of every container."""
    path = make(tmp_path / "a.pt")
    layout, found = read_layout(path), read_checkpoint(path)
    assert list(layout.tensors.items()) == list(_shapes(found.tensors).items())
    assert layout.container == found.container
    assert (layout.sha256, layout.metadata, layout.facts) == (found.sha256, found.metadata, found.facts)
    assert layout.program == (found.module is not None)
    assert len(layout.sha256) == 64
    assert layout.size == sum(f.stat().st_size for f in ([path] if path.is_file() else path.iterdir()))
    assert bool(layout.tensors) == (make is not _frozen)


def _bits(tensor: torch.Tensor) -> list[int]:
    whole = tensor.detach().clone(memory_format=torch.contiguous_format).untyped_storage()
    bits: list[int] = whole.tolist()
    return bits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make", [_zip, _legacy, _quantized, _views], ids=lambda make: make.__name__.strip("_")
)
def test_the_weights_are_those_that_torch_loads(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Bit by bit, with strides, for each kind of tensor."""
    path = make(tmp_path / "a.pt")
    root = torch.load(path, weights_only=False)

    def walk(value: Any, name: str) -> dict[str, torch.Tensor]:
        if isinstance(value, torch.Tensor):
            return {name: value}
        inside = value.items() if isinstance(value, dict) else ()
        return {
            k: v for key, child in inside for k, v in walk(child, f"{name}.{key}" if name else key).items()
        }

    expected, found = walk(root, ""), read_checkpoint(path).tensors
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].stride() == tensor.stride(), name
        assert _bits(found[name]) == _bits(tensor), name
        assert found[name].dtype == tensor.dtype
        assert not tensor.is_quantized or torch.equal(found[name].dequantize(), tensor.dequantize())
        assert not found[name].requires_grad


def test_the_weights_of_programs_and_parts_are_those_that_were_saved(tmp_path: Path) -> None:
    """Also where a file has several readers."""
    state = net().state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make, prefix in ((_safetensors, ""), (_script, ""), (_distributed, "model.")):
            found = read_checkpoint(make(tmp_path / make.__name__)).tensors
            assert set(found) == {prefix + name for name in state}
            assert all(torch.equal(found[prefix + name], state[name]) for name in state)


def test_a_layout_needs_no_torch(tmp_path: Path) -> None:
    """Neither for a file nor for a folder; reading one takes milliseconds."""
    paths = [_zip(tmp_path / "a.pt"), _legacy(tmp_path / "b.pt"), _safetensors(tmp_path / "c.safetensors")]
    paths += [_distributed(tmp_path / "d")]
    code = (
        "import sys\nfrom repdiag.checkpoints import read_layout\n"
        "names = {len(read_layout(p).tensors) for p in sys.argv[1:]}\n"
        "assert len(names) == 1, names\n"
        "assert not {'torch', 'numpy', 'pandas', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True)


class Color(enum.Enum):
    RED = 1


class AnyNode:
    """Stands for OmegaConf's: a value inside of an object."""

    def __init__(self, value: Any) -> None:
        self._val, self._metadata, self._parent = value, {"flags": {"a": 1}}, None


class DictConfig:
    def __init__(self, content: dict[str, Any]) -> None:
        self._content, self._metadata, self._parent = content, {"ref_type": "Any"}, None


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_facts_are_the_plain_values_beside_the_tensors(tmp_path: Path, zipped: bool) -> None:
    """From dicts, Namespaces, numpy scalars, paths, OmegaConf; arrays, lists and classes are passed over."""
    root = {
        "state_dict": {"w": torch.ones(2)},
        "epoch": 7,
        "best": np.float32(0.25),
        "count": np.int64(-3),
        "amp": True,
        "loss": math.inf,
        "note": "x" * 1000,
        "nothing": None,
        "curve": np.arange(3.0),
        "steps": [1, 2],
        "huge": 1 << 100,
        "color": Color.RED,
        "args": argparse.Namespace(arch="vit_small", path=pathlib.PurePosixPath("/data/x"), deep={"lr": 0.1}),
        "space": types.SimpleNamespace(a=1),
        "cfg": DictConfig({"optim": DictConfig({"lr": AnyNode(0.5)}), "name": AnyNode("dino")}),
    }
    torch.save(root, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    layout = read_layout(tmp_path / "a.pt")
    assert layout.facts == {
        "epoch": 7,
        "best": 0.25,
        "count": -3,
        "amp": True,
        "loss": "inf",
        "note": "x" * 200,
        "args.arch": "vit_small",
        "args.path": "/data/x",
        "args.deep.lr": 0.1,
        "space.a": 1,
        "cfg.name": "dino",
        "cfg.optim.lr": 0.5,
    }
    assert layout.keys == tuple(root)
    assert "argparse.Namespace" in layout.stubbed
    assert set(layout.stubbed) < set(layout.globals)
    json.dumps(layout.facts, allow_nan=False)


def test_facts_are_bounded_and_the_least_nested_come_first(tmp_path: Path) -> None:
    """An optimizer's thousand steps do not hide the epoch."""
    steps = {i: {"step": i} for i in range(1000)}
    torch.save({"optimizer": {"state": steps}, "w": torch.ones(1), "epoch": 4}, tmp_path / "a.pt")
    facts = read_layout(tmp_path / "a.pt").facts
    assert next(iter(facts)) == "epoch"
    assert len(facts) == 200


def test_aliases_are_the_same_numbers_not_only_the_same_storage(tmp_path: Path) -> None:
    """Two views of different parts are two tensors."""
    flat = torch.arange(6.0)
    torch.save({"a": flat[:3], "b": flat[3:], "c": flat[:3], "d": flat[:3].clone()}, tmp_path / "a.pt")
    assert read_layout(tmp_path / "a.pt").aliases == {"c": "a"}


@pytest.mark.filterwarnings("ignore")
def test_an_exports_dynamic_batch_is_told(tmp_path: Path) -> None:
    """The input's shape as the graph has it."""
    assert read_layout(_export(tmp_path / "a.pt")).metadata["input_shape"].endswith(",3,8,8")


def test_the_names_that_are_known_are_those_that_torch_lets_through() -> None:
    """Nothing that torch's safe loader would call a stranger is left out of `stubbed`."""
    from torch._weights_only_unpickler import _get_allowed_globals

    allowed = set(_get_allowed_globals())
    assert set(KNOWN) <= allowed | {"torch.bit"}
    assert {f"torch.{name}" for name in STORAGES if name != "UntypedStorage"} <= allowed
    for name, size in ITEM_SIZES.items():
        assert (
            torch.empty(0, dtype=getattr(torch, name)).element_size() == size
            if name[0] != "q"
            else size in (1, 4)
        )


# --------------------------------------------------------------------------------------------- parts


def _shard(
    folder: Path, parts: dict[str, tuple[torch.Tensor, list[tuple[tuple[int, ...], tuple[int, ...]]]]]
) -> None:
    """A folder as several processes would have written it: one file per part."""

    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    folder.mkdir()
    described, places = {}, {}
    for name, (tensor, boxes) in parts.items():
        chunks = [ChunkStorageMetadata(torch.Size(o), torch.Size(s)) for o, s in boxes]
        described[name] = TensorStorageMetadata(
            TensorProperties.create_from_tensor(tensor), tensor.size(), chunks
        )
        for rank, (offsets, sizes) in enumerate(boxes):
            part = tensor[tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))].clone()
            file = folder / f"__{rank}_0.distcp"
            begin = file.stat().st_size if file.exists() else 0
            with file.open("ab") as stream:
                buffer = io.BytesIO()
                torch.save(part, buffer)
                stream.write(buffer.getvalue())
            length = file.stat().st_size - begin
            places[MetadataIndex(name, offsets)] = _StorageInfo(file.name, begin, length)
    (folder / ".metadata").write_bytes(pickle.dumps(Metadata(described, storage_data=places)))


WEIGHT = torch.arange(60.0).reshape(10, 6)
ROWS = [((0, 0), (4, 6)), ((4, 0), (4, 6)), ((8, 0), (2, 6))]
GRID = [((r, c), (5, 3)) for r in (0, 5) for c in (0, 3)]


@pytest.mark.parametrize("boxes", [ROWS, GRID, [((0, 0), (10, 6))]], ids=["rows", "grid", "whole"])
def test_a_sharded_tensor_is_put_together(tmp_path: Path, boxes: Any) -> None:
    """From parts in files of several processes; torch's own reader finds the same."""
    folder = tmp_path / "a"
    _shard(folder, {"model.w": (WEIGHT, boxes), "model.b": (torch.ones(3), [((0,), (3,))])})
    assert read_layout(folder).tensors["model.w"] == ((10, 6), "float32")
    found = read_checkpoint(folder).tensors
    assert torch.equal(found["model.w"], WEIGHT)
    reference = {"model": {"w": torch.empty(10, 6), "b": torch.empty(3)}}
    dcp.load(reference, checkpoint_id=folder, no_dist=True)
    assert torch.equal(reference["model"]["w"], found["model.w"])
    assert torch.equal(reference["model"]["b"], found["model.b"])


@pytest.mark.parametrize(
    "boxes",
    [
        ROWS[:2],
        [((0, 0), (5, 6)), ((0, 0), (5, 6))],
        [((0, 0), (6, 6)), ((5, 0), (4, 6))],
        [((0, 0), (10, 6)), ((8, 0), (2, 6))],
    ],
    ids=["a part is missing", "one part twice", "overlap and gap", "too much"],
)
def test_parts_that_do_not_make_up_the_tensor_are_refused(tmp_path: Path, boxes: Any) -> None:
    """Memory that no part fills would be random weights."""
    _shard(tmp_path / "a", {"w": (WEIGHT, boxes)})
    for read in (read_layout, read_checkpoint):
        with pytest.raises(CheckpointError, match=r"w|\.metadata"):
            read(tmp_path / "a")


def test_boxes_tile_only_without_gap_and_overlap() -> None:
    """Against a count of every element."""
    rng = np.random.default_rng(0)
    tiled = 0
    for _ in range(300):
        cut = int(rng.integers(1, 4))
        boxes = [
            Box((0, 0), (cut, 3)),
            Box((cut, 0), (4 - cut, int(rng.integers(1, 4)))),
            Box((cut, 2), (4 - cut, 1)),
        ]
        if rng.random() < 0.3:
            boxes = boxes[:2]
        count = np.zeros((4, 3), int)
        for box in boxes:
            count[tuple(slice(o, o + n) for o, n in zip(box.offsets, box.sizes, strict=True))] += 1
        assert Box.tile((4, 3), boxes) == bool((count == 1).all())
        tiled += bool((count == 1).all())
    assert 10 < tiled < 290


def test_a_missing_or_foreign_part_file_is_named(tmp_path: Path) -> None:
    """Also one that is said to lie outside of the folder."""
    folder = tmp_path / "a"
    _shard(folder, {"w": (WEIGHT, ROWS)})
    metadata = (folder / ".metadata").read_bytes()
    (folder / ".metadata").write_bytes(metadata.replace(b"__1_0.distcp", b"../0_0distcp"))
    with pytest.raises(CheckpointError, match="outside of the folder"):
        read_layout(folder)
    (folder / ".metadata").write_bytes(metadata)
    (folder / "__1_0.distcp").unlink()
    with pytest.raises(CheckpointError, match=r"__1_0\.distcp is missing"):
        read_layout(folder)
    (folder / ".metadata").unlink()
    with pytest.raises(CheckpointError, match="interrupted"):
        read_layout(folder)


# --------------------------------------------------------------------------------------------- what is refused


def test_flattened_and_sharded_parameters_are_called_by_their_name(tmp_path: Path) -> None:
    """They hold no names, or a part of the numbers only."""
    torch.save({"model": {"_fsdp_wrapped_module._flat_param": torch.ones(9)}}, tmp_path / "a.pt")
    for read in (read_layout, read_checkpoint):
        with pytest.raises(CheckpointError, match=r"FSDP's flattened parameters .*FULL_STATE_DICT"):
            read(tmp_path / "a.pt")


def test_weights_that_are_numpy_arrays_are_called_by_their_name(tmp_path: Path) -> None:
    """As Caffe2 and Detectron wrote them; beside tensors they are no weights and are passed over."""
    arrays = {"conv1_w": np.ones((2, 3), np.float32), "conv1_b": np.zeros(2, np.float32)}
    torch.save({"model": arrays}, tmp_path / "a.pt")
    for read in (read_layout, read_checkpoint):
        with pytest.raises(CheckpointError, match=r"2 weights .* numpy arrays .*model\.conv1_w.*from_numpy"):
            read(tmp_path / "a.pt")
    torch.save({"model": {"w": torch.ones(1)}, "curve": arrays}, tmp_path / "b.pt")
    assert list(read_layout(tmp_path / "b.pt").tensors) == ["model.w"]


def test_sparse_tensors_and_whole_modules_beside_weights_are_told(tmp_path: Path) -> None:
    """Nothing is left out in silence."""
    root = {
        "w": torch.ones(1),
        "s": torch.eye(3).to_sparse(),
        "net": nn.Linear(1, 1),
        "m": torch.ones(2, device="meta"),
    }
    torch.save(root, tmp_path / "a.pt")
    layout = read_layout(tmp_path / "a.pt")
    assert list(layout.tensors) == ["w"] == list(read_checkpoint(tmp_path / "a.pt").tensors)
    assert "net, a torch.nn.modules.linear.Linear" in layout.warnings[0]
    assert "2 entries are no plain tensors" in layout.warnings[1]
    assert read_checkpoint(tmp_path / "a.pt").warnings == layout.warnings


# --------------------------------------------------------------------------------------------- real files


@pytest.mark.shared
def test_every_shared_checkpoint_has_the_layout_that_reading_finds(shared: Path) -> None:
    """All real files, each name by name, and the same numbers as torch's own loader where that opens them."""
    files = [p for p in sorted(shared.glob("enc-*/*")) if p.suffix not in (".md", ".txt")]
    assert len(files) >= 20
    for path in files:
        layout, found = read_layout(path), read_checkpoint(path)
        assert list(layout.tensors.items()) == list(_shapes(found.tensors).items()), path
        assert layout.facts == found.facts
    epochs = [read_layout(path).facts.get("epoch") for path in files if path.name.startswith("proto_")]
    assert all(isinstance(epoch, int) for epoch in epochs)
