"""The same file with other weights: exactly the backbone's numbers change, in every container; else a reason."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
import transformers
from conftest import FIXTURES
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from repdiag.checkpoints import TensorInfo, read_checkpoint
from repdiag.checkpoints.rewrite import replace_tensors
from repdiag.encoders import Encoder, load_encoder
from repdiag.encoders.features import network_of
from repdiag.encoders.huggingface.learning import learned
from repdiag.encoders.origin import returned
from repdiag.encoders.projectors import find_projector
from repdiag.encoders.translations import Source, dinov3
from repdiag.errors import OutputError, UsageError
from repdiag.exporting import same_layout
from repdiag.exporting.same_layout import Rewritten

State = dict[str, Tensor]


def conv(seed: int = 0, dtype: torch.dtype = torch.float32) -> State:
    """A ConvNet of two blocks under the names of few-shot learning, 3-4-5 channels."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for block, (inputs, outputs) in enumerate(((3, 4), (4, 5))):
        state[f"{block}.0.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator)
        for name in ("0.bias", "1.weight", "1.bias", "1.running_mean"):
            state[f"{block}.{name}"] = torch.randn(outputs, generator=generator)
        state[f"{block}.1.running_var"] = torch.rand(outputs, generator=generator) + 0.5
        state[f"{block}.1.num_batches_tracked"] = torch.tensor(17 + block)
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def tuned(encoder: Encoder, seed: int = 1) -> State:
    """Other numbers for every tensor of the network; tied ones stay tied."""
    generator = torch.Generator().manual_seed(seed)
    found: State = {}
    seen: dict[Any, Tensor] = {}
    for name, tensor in network_of(encoder.module).state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in seen:
            noise = torch.randn(tensor.shape, generator=generator)
            new = tensor + 0.1 * noise if tensor.is_floating_point() else tensor + 5
            seen[key] = new.abs() if name.endswith("running_var") else new
        found[name] = seen[key]
    return found


def network(path: Path | str, **loading: Any) -> State:
    return dict(network_of(load_encoder(str(path), **loading).module).state_dict())


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def write(path: Path, out: Path, state: State | None = None, **loading: Any) -> tuple[State, Rewritten]:
    encoder = load_encoder(str(path), **loading)
    state = tuned(encoder) if state is None else state
    return state, same_layout.write(encoder, str(path), state, None, out, **loading)


def refused(path: Path, out: Path, state: State | None = None, **loading: Any) -> str:
    with pytest.raises(UsageError) as error:
        write(path, out, state, **loading)
    assert [p.name for p in out.parent.iterdir() if p.name.endswith(".part")] == []
    return str(error.value)


# --------------------------------------------------------------------------------------------- containers


def contents() -> dict[str, Any]:
    """What training leaves beside a backbone, things that only code could make included."""
    state = under("encoder.", conv()) | {"head.weight": torch.randn(3, 5)}
    return {
        "epoch": np.float64(3.5),
        "args": argparse.Namespace(lr=0.1, data="."),
        "model": state,
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.randn(4, 3, 3, 3)}},
            "param_groups": [{"lr": 1}],
        },
    }


def _zip(path: Path) -> None:
    torch.save(contents(), path)


def _legacy(path: Path) -> None:
    torch.save(contents(), path, _use_new_zipfile_serialization=False)


def _safetensors(path: Path) -> None:
    state = under("encoder.", conv()) | {"head.weight": torch.randn(3, 5)}
    save_file(state, path, metadata={"repdiag.source": "{}", "mine": "x"})


def _distributed(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"model": under("encoder.", conv()), "epoch": 3}, checkpoint_id=path, no_dist=True)


CONTAINERS = pytest.mark.parametrize(
    "make", [_zip, _legacy, _safetensors, _distributed], ids=["zip", "legacy", "safetensors", "distributed"]
)


@CONTAINERS
def test_the_tuned_weights_come_back_and_nothing_else_changes(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    """Every byte outside of the replaced tensors is the original's, but for a zip's checksums of them."""
    source, out = tmp_path / "a", tmp_path / "new" / "b"
    make(source)
    files = [source] if source.is_file() else sorted(source.iterdir())
    before = {file: file.read_bytes() for file in files}
    state, done = write(source, out)
    assert equal(network(out), state)
    assert not equal(network(source), state)
    assert done.replaced == len(state) == 14
    assert done.path == out
    assert {file: file.read_bytes() for file in files} == before
    old, new = read_checkpoint(source), read_checkpoint(out)
    assert (old.metadata, old.facts, old.stubbed) == (new.metadata, new.facts, new.stubbed)
    assert list(old.tensors) == list(new.tensors)
    replaced = {n for n in old.tensors if "encoder." in n}
    assert all(torch.equal(old.tensors[n], new.tensors[n]) != (n in replaced) for n in old.tensors)
    budget = sum(t.numel() * t.element_size() for t in state.values()) + 3 * 4 * len(state)
    for file in files:
        other = out if file == source else out / file.name
        one, two = np.frombuffer(before[file], np.uint8), np.frombuffer(other.read_bytes(), np.uint8)
        assert len(one) == len(two)
        assert (one != two).sum() <= budget


def test_what_is_foreign_to_torch_survives_in_a_zip(tmp_path: Path) -> None:
    """The pickle is the same bytes; checksums hold, for zipfile and for torch's own reader, mapped or not."""
    torch.save(contents(), tmp_path / "a")
    _, done = write(tmp_path / "a", tmp_path / "b")
    with zipfile.ZipFile(tmp_path / "a") as old, zipfile.ZipFile(tmp_path / "b") as new:
        assert new.testzip() is None
        assert [i.header_offset for i in old.infolist()] == [i.header_offset for i in new.infolist()]
        changed = [name for name in old.namelist() if old.read(name) != new.read(name.replace("a/", "a/"))]
    assert len(changed) == 14
    assert all("/data/" in name for name in changed)
    first, second = (torch.load(tmp_path / n, weights_only=False) for n in "ab")
    assert (first["epoch"], first["args"]) == (second["epoch"], second["args"])
    assert torch.equal(first["model"]["head.weight"], second["model"]["head.weight"])
    assert not torch.equal(first["model"]["encoder.0.0.bias"], second["model"]["encoder.0.0.bias"])
    mapped = torch.load(tmp_path / "b", weights_only=False, mmap=True)["model"]
    assert all(torch.equal(mapped[n], t) for n, t in second["model"].items())
    assert any("optimizer" in part for part in done.kept)
    assert "model.head (1 tensors)" not in done.kept
    assert any("optimizer's state" in note for note in done.notes)


def test_torch_reads_a_rewritten_legacy_file(tmp_path: Path) -> None:
    _legacy(tmp_path / "a")
    state, _ = write(tmp_path / "a", tmp_path / "b")
    found = torch.load(tmp_path / "b", weights_only=False)
    assert found["args"] == contents()["args"]
    assert all(torch.equal(found["model"]["encoder." + n], t) for n, t in state.items())


def test_safetensors_keep_their_header(tmp_path: Path) -> None:
    _safetensors(tmp_path / "a")
    state, _ = write(tmp_path / "a", tmp_path / "b")
    length = 8 + int.from_bytes((tmp_path / "a").read_bytes()[:8], "little")
    assert (tmp_path / "a").read_bytes()[:length] == (tmp_path / "b").read_bytes()[:length]
    with safe_open(tmp_path / "b", "pt") as file:
        assert file.metadata() == {"repdiag.source": "{}", "mine": "x"}
        assert torch.equal(file.get_tensor("encoder.1.0.weight"), state["1.0.weight"])


def test_a_dcp_folder_is_read_by_torch(tmp_path: Path) -> None:
    _distributed(tmp_path / "a")
    state, _ = write(tmp_path / "a", tmp_path / "b")
    into = {"model": under("encoder.", conv(7)), "epoch": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(into, checkpoint_id=tmp_path / "b", no_dist=True)
    assert all(torch.equal(into["model"]["encoder." + n], t) for n, t in state.items())
    assert into["epoch"] == 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).mean((2, 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["script", "trace", "export"])
def test_programs_keep_their_code_and_get_other_weights(kind: str, tmp_path: Path) -> None:
    """torch runs the result, and it computes what the tuned module does."""
    torch.manual_seed(0)
    net, images = Net().eval(), torch.randn(2, 3, 224, 224)
    source, out = tmp_path / "a.pt2", tmp_path / "b.pt2"
    if kind == "export":
        with torch.no_grad():
            torch.export.save(torch.export.export(net, (images[:1],)), source)
    else:
        made = torch.jit.script(net) if kind == "script" else torch.jit.trace(net, images)
        made.save(str(source))
    state, done = write(source, out)
    net.load_state_dict({name.removeprefix("program."): t for name, t in state.items()})
    program = torch.export.load(out).module() if kind == "export" else torch.jit.load(str(out))
    torch.testing.assert_close(program(images[:1]), net(images[:1]), rtol=1e-4, atol=1e-5)
    assert done.replaced == 7


def test_a_program_of_constants_is_refused(tmp_path: Path) -> None:
    program = torch.jit.freeze(torch.jit.script(Net().eval()))
    program.save(str(tmp_path / "a"))
    assert "constants" in refused(tmp_path / "a", tmp_path / "b")


# --------------------------------------------------------------------------------------------- unusual zips


def records(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_compressed_records_stay_compressed_and_stored_ones_aligned(tmp_path: Path) -> None:
    torch.save(contents(), tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records(tmp_path / "plain"):
            kind = zipfile.ZIP_STORED if name.endswith("/data/3") else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, kind)
    state, _ = write(tmp_path / "a", tmp_path / "b")
    assert equal(network(tmp_path / "b"), state)
    with zipfile.ZipFile(tmp_path / "a") as old, zipfile.ZipFile(tmp_path / "b") as new:
        assert new.testzip() is None
        pairs = list(zip(old.infolist(), new.infolist(), strict=True))
        assert all((a.filename, a.compress_type) == (b.filename, b.compress_type) for a, b in pairs)
        assert old.read("plain/data.pkl") == new.read("plain/data.pkl")
        (stored,) = (info for info in new.infolist() if info.compress_type == zipfile.ZIP_STORED)
    head = (tmp_path / "b").read_bytes()[stored.header_offset :][:30]
    assert (stored.header_offset + 30 + sum(struct.unpack("<2H", head[26:]))) % 64 == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "plain"]


def test_numbers_with_the_first_byte_in_front_stay_so(tmp_path: Path) -> None:
    torch.save(under("encoder.", conv()), tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "big", "w") as archive:
        for name, content in records(tmp_path / "a"):
            if name.endswith("byteorder"):
                content = b"big"
            elif "/data/" in name:
                width = 8 if len(content) == 8 else 4  # the counters are int64, of 8 bytes
                content = np.frombuffer(content, f"u{width}").byteswap().tobytes()
            archive.writestr(name, content)
    assert equal(network(tmp_path / "big"), network(tmp_path / "a"))
    state, _ = write(tmp_path / "big", tmp_path / "b")
    assert equal(network(tmp_path / "b"), state)
    bias = next(c for n, c in records(tmp_path / "b") if n.endswith("data/1"))
    assert np.array_equal(np.frombuffer(bias, ">f4"), state["0.0.bias"].numpy())


def test_a_file_without_checksums_gets_none(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(conv(), tmp_path / "a")
    finally:
        torch.serialization.set_crc32_options(before)
    state, _ = write(tmp_path / "a", tmp_path / "b")
    assert equal(network(tmp_path / "b"), state)
    with zipfile.ZipFile(tmp_path / "a") as old, zipfile.ZipFile(tmp_path / "b") as new:
        assert [i.CRC for i in old.infolist()] == [i.CRC for i in new.infolist()]


# --------------------------------------------------------------------------------------------- unusual tensors


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_one_storage_stay_views(legacy: bool, tmp_path: Path) -> None:
    """Slices of a flat buffer, a transposed and a strided tensor: each in its place, what lies between untouched."""
    state = conv()
    flat = torch.arange(100.0)
    flat[10:14], flat[20:24] = state["0.0.bias"], state["0.1.bias"]
    state["0.0.bias"], state["0.1.bias"] = flat[10:14], flat[20:24]
    state["0.0.weight"] = state["0.0.weight"].contiguous(memory_format=torch.channels_last)
    state["1.0.bias"] = torch.stack([state["1.0.bias"], torch.zeros(5)], 1)[:, 0]
    contents = {"model": state, "flat": flat, "tied": state["1.1.weight"]}
    torch.save(contents, tmp_path / "a", _use_new_zipfile_serialization=not legacy)
    new, done = write(tmp_path / "a", tmp_path / "b", key="model")
    found = torch.load(tmp_path / "b")
    assert all(torch.equal(found["model"][n], t) for n, t in new.items())
    assert torch.equal(found["flat"][14:20], flat[14:20])
    assert torch.equal(found["flat"][10:14], new["0.0.bias"])
    assert found["flat"][10:14].data_ptr() == found["model"]["0.0.bias"].data_ptr()
    assert torch.equal(found["tied"], new["1.1.weight"])
    assert found["model"]["0.0.weight"].stride() == state["0.0.weight"].stride()
    assert any(note.startswith("2 tensors are changed along") for note in done.notes)


def test_tensors_that_share_numbers_cannot_get_different_ones(tmp_path: Path) -> None:
    state = conv()
    state["0.1.bias"] = state["0.0.bias"]
    state["1.1.bias"] = torch.ones(1).expand(5)  # one number five times
    torch.save(state, tmp_path / "a")
    assert "shares its numbers" in refused(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    new = tuned(load_encoder(str(tmp_path / "a")))
    new["0.1.bias"] = new["0.0.bias"]
    new["1.1.bias"] = torch.full((5,), 3.0)
    write(tmp_path / "a", tmp_path / "b", new)
    assert equal(network(tmp_path / "b"), new)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_files_type_is_kept_and_the_loss_is_told(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save(conv(dtype=dtype), tmp_path / "a")
    state, done = write(tmp_path / "a", tmp_path / "b")
    assert torch.load(tmp_path / "b")["0.0.weight"].dtype == dtype
    wanted = {n: t.to(dtype).float() if t.is_floating_point() else t for n, t in state.items()}
    assert equal(network(tmp_path / "b"), wanted)
    assert equal(wanted, state) == (dtype == torch.float64)
    told = [note for note in done.notes if "rounding" in note]
    if dtype == torch.float64:
        assert told == []
    else:
        assert told[0].startswith(f"12 tensors are stored as {str(dtype)[6:]}")
        loss = max(
            float((state[n] - t).abs().max() / state[n].abs().max())
            for n, t in wanted.items()
            if t.is_floating_point()
        )
        assert f"up to {loss:.1e}" in told[0]
        assert 0 < loss <= torch.finfo(dtype).eps / 2


def test_weights_beyond_the_types_range_and_no_numbers_are_refused(tmp_path: Path) -> None:
    torch.save(conv(dtype=torch.float16), tmp_path / "a")
    state = network(tmp_path / "a")
    assert "beyond the range of float16" in refused(
        tmp_path / "a", tmp_path / "b", {**state, "0.0.bias": torch.full((4,), 1e6)}
    )
    assert "NaN" in refused(
        tmp_path / "a", tmp_path / "b", {**state, "0.0.bias": torch.full((4,), torch.nan)}
    )
    assert "names differ" in refused(tmp_path / "a", tmp_path / "b", {"x": torch.zeros(1)})


# --------------------------------------------------------------------------------------------- several readings


def test_a_copy_in_a_storage_of_its_own_is_kept_and_named(tmp_path: Path) -> None:
    """Identical networks of two names: one is replaced, and the sentence says how the file is opened now."""
    torch.save({"one": conv(), "other": conv()}, tmp_path / "a")
    encoder = load_encoder(str(tmp_path / "a"))
    assert encoder.loading.prefix == "one."
    state, done = write(tmp_path / "a", tmp_path / "b")
    assert equal(network(tmp_path / "b", key="one"), state)
    assert equal(network(tmp_path / "b", key="other"), network(tmp_path / "a"))
    assert done.kept == ("other.0 (7 tensors)", "other.1 (7 tensors)")
    assert any("as a copy: 'other'" in note for note in done.notes)
    assert any("--prefix one." in note for note in done.notes)


def test_an_encoder_remembers_what_its_file_was_opened_with(tmp_path: Path) -> None:
    """No and zero are answers too."""
    from layouts.resnets import resnet

    torch.save(resnet(18).state_dict(), tmp_path / "a")
    said = {"max_pool": False, "stem_padding": 0, "size": 64}
    origin = load_encoder(str(tmp_path / "a"), arch="resnet", **said).origin
    assert origin is not None
    assert {name: origin.options[name] for name in said} == said
    assert "heads" not in origin.options


def test_the_network_that_was_asked_for_is_replaced(tmp_path: Path) -> None:
    torch.save({"teacher": conv(), "student": conv(3)}, tmp_path / "a")
    state, _ = write(tmp_path / "a", tmp_path / "b", key="student")
    assert equal(network(tmp_path / "b", key="student"), state)
    assert equal(network(tmp_path / "b"), network(tmp_path / "a"))


# --------------------------------------------------------------------------------------------- hostile places


def test_the_original_is_never_the_target(tmp_path: Path) -> None:
    torch.save(conv(), tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.link(tmp_path / "a", tmp_path / "hard")
    for name in ("a", "link", "hard"):
        assert "itself" in refused(tmp_path / "a", tmp_path / name)
    _distributed(tmp_path / "folder")
    assert "inside one another" in refused(tmp_path / "folder", tmp_path / "folder" / "b")
    assert (tmp_path / "a").read_bytes() == before


def test_a_file_that_changed_since_it_was_loaded_is_refused(tmp_path: Path) -> None:
    torch.save(conv(), tmp_path / "a")
    encoder = load_encoder(str(tmp_path / "a"))
    state = tuned(encoder)
    torch.save(conv(5), tmp_path / "a")
    with pytest.raises(UsageError, match="changed since"):
        same_layout.write(encoder, str(tmp_path / "a"), state, None, tmp_path / "b")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-100])
    with pytest.raises(UsageError, match="cut off or damaged"):
        same_layout.write(encoder, str(tmp_path / "a"), state, None, tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_and_a_place_that_is_none_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(conv(), tmp_path / "a")
    _distributed(tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        write(tmp_path / "a", tmp_path / "file" / "b")
    with pytest.raises(OutputError, match="file of that name"):
        write(tmp_path / "folder", tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(OutputError, match="would be lost"):
        write(tmp_path / "folder", tmp_path / "full")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    there = sorted(p.name for p in tmp_path.iterdir())
    monkeypatch.setattr(shutil, "copyfile", full)
    for name in ("a", "folder"):
        with pytest.raises(OutputError, match="No space left"):
            write(tmp_path / name, tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == there


RUN: list[str] = []


class Counted(nn.Sequential):
    """A module that notes when a pickle makes it."""

    def __setstate__(self, state: Any) -> None:
        RUN.append("code of the file")
        super().__setstate__(state)


def test_a_whole_pickled_module_is_refused_without_running_it(tmp_path: Path) -> None:
    """Although the user trusted the file when it was loaded."""
    torch.save(Counted(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), tmp_path / "a")
    encoder = load_encoder(str(tmp_path / "a"), trust_pickle=True)
    state = tuned(encoder)
    assert RUN
    RUN.clear()
    assert find_projector(encoder) is None
    with pytest.raises(UsageError, match="pickled Python object") as error:
        same_layout.write(encoder, str(tmp_path / "a"), state, None, tmp_path / "b", trust_pickle=True)
    assert "safetensors" in str(error.value)
    assert RUN == []


def test_what_came_from_no_file_is_refused() -> None:
    encoder = load_encoder("torchvision:resnet18")
    assert encoder.origin is None
    assert find_projector(encoder) is None
    with pytest.raises(UsageError, match="no file"):
        same_layout.write(encoder, "torchvision:resnet18", {}, None, Path("b"))


@pytest.mark.parametrize("where", [10, 60, 100])
def test_a_wrong_number_in_the_result_is_noticed(
    where: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison can fail: one number off, and the file never gets its name."""
    torch.save({"model": conv(), "other": torch.zeros(3)}, tmp_path / "a")

    def off(path: Path, tensors: State) -> Any:
        name = list(tensors)[where % len(tensors)]
        wrong = tensors[name].clone()
        wrong.view(-1)[0] += 1
        return replace_tensors(path, {**tensors, name: wrong})

    monkeypatch.setattr(same_layout, "replace_tensors", off)
    assert "not as they should be" in refused(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_replacing_what_is_not_there_is_refused(tmp_path: Path) -> None:
    torch.save(conv(), tmp_path / "a")
    with pytest.raises(UsageError, match="no place of their own"):
        replace_tensors(tmp_path / "a", {"x": torch.zeros(1)})
    with pytest.raises(UsageError, match=r"\(4,\) in the file"):
        replace_tensors(tmp_path / "a", {"0.0.bias": torch.zeros(3)})


# --------------------------------------------------------------------------------------------- folders


def _folder(path: Path, model: Any, shards: bool, safe: bool) -> None:
    model.save_pretrained(path, max_shard_size="20KB" if shards else "1GB")
    if not safe:
        state = {n: t.half() for n, t in load_file(path / "model.safetensors").items()}
        (path / "model.safetensors").unlink()
        torch.save(state, path / "pytorch_model.bin")
    (path / "flax_model.msgpack").write_bytes(b"other")
    (path / ".git").mkdir()
    (path / ".git" / "objects").write_bytes(b"much")


@pytest.mark.parametrize(("shards", "safe"), [(False, True), (True, True), (False, False)])
def test_a_model_folder_is_copied_with_other_weights(shards: bool, safe: bool, tmp_path: Path) -> None:
    """One file, shards with an index, or pytorch_model.bin in half precision; transformers loads the result."""
    transformers.utils.logging.disable_progress_bar()
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = transformers.Dinov2Model(transformers.Dinov2Config(**tiny, image_size=28, patch_size=14)).eval()
    _folder(tmp_path / "a", model, shards, safe)
    for file in (tmp_path / "a").iterdir():
        file.chmod(0o555 if file.is_dir() else 0o444)
    state, done = write(tmp_path / "a", tmp_path / "b")
    again = network(tmp_path / "b")
    assert equal(again, state if safe else {n: t.half().float() for n, t in state.items()})
    assert done.replaced == len(state)
    assert len(list((tmp_path / "b").glob("*.safetensors"))) == (
        0 if not safe else len(list((tmp_path / "a").glob("*.safetensors")))
    )
    names = {p.name for p in (tmp_path / "a").iterdir()} - {".git"}
    assert {p.name for p in (tmp_path / "b").iterdir()} == names
    assert (tmp_path / "b" / "flax_model.msgpack").read_bytes() == b"other"
    loaded = transformers.Dinov2Model.from_pretrained(tmp_path / "b").float().state_dict()
    assert equal({f"model.{n}": t for n, t in loaded.items()}, again)
    write(tmp_path / "a", tmp_path / "b")  # a second time, over the first
    (tmp_path / "a" / ".git").chmod(0o755)


def test_a_folder_of_old_names_gets_its_own_names_back(tmp_path: Path) -> None:
    """transformers renames gamma and beta, and takes a classifier's prefix off; the file keeps them."""
    transformers.utils.logging.disable_progress_bar()
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**tiny, image_size=16, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "a")
    before = load_file(tmp_path / "a" / "model.safetensors")
    state, done = write(tmp_path / "a", tmp_path / "b")
    after = load_file(tmp_path / "b" / "model.safetensors")
    assert list(before) == list(after)
    assert {n for n in before if torch.equal(before[n], after[n])} == {"classifier.weight", "classifier.bias"}
    assert equal(network(tmp_path / "b"), state)
    assert done.replaced == len(before) - 2


def test_a_timm_folder_is_copied_with_other_weights(tmp_path: Path) -> None:
    import timm

    arguments = {"depth": 1, "embed_dim": 12, "num_heads": 2, "img_size": 32}
    (tmp_path / "a").mkdir()
    config = {"architecture": "vit_tiny_patch16_224", "model_args": arguments}
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    made = timm.create_model("vit_tiny_patch16_224", num_classes=7, **arguments)
    save_file(made.state_dict(), tmp_path / "a" / "model.safetensors")
    state, done = write(tmp_path / "a", tmp_path / "b", size=32, resize=32)
    assert equal(network(tmp_path / "b", size=32, resize=32), state)
    assert done.kept == ("head (2 tensors)",)


# --------------------------------------------------------------------------------------------- the way back


def test_the_way_back_of_a_rearrangement_is_exact() -> None:
    """Split, transposed and joined tensors, by hand; values of very different size, which sums would lose."""
    old = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1e20, -1.0])}
    sources = {
        "turned": Source((3, 2), ("a",), lambda a: a.T),
        "joined": Source((3,), ("b", "c"), lambda b, c: torch.cat([c.view(1), b])),
    }
    old["c"] = torch.tensor(7.0)
    state = {"turned": torch.arange(6.0).view(3, 2) * 1e-20, "joined": torch.tensor([0.1, 2e-20, 5.0])}
    back = returned(state, sources, old)
    assert torch.equal(back.tensors["a"], state["turned"].T)
    assert torch.equal(back.tensors["b"], torch.tensor([2e-20, 5.0]))
    assert back.tensors["c"] == torch.tensor(0.1)
    assert back.indirect == ()
    assert equal(dict(back.made), state)


def test_the_way_back_of_sums_averages_and_masks_is_the_smallest_change() -> None:
    old = {
        "token": torch.tensor([[1.0, 2.0]]), "position": torch.tensor([[10.0, 20.0], [3.0, 4.0]]),
        "splits": torch.tensor([1.0, 5.0, 3.0, 7.0]), "bias": torch.tensor([1.0, 2.0, 3.0]),
        "mask": torch.tensor([1.0, 0.0, 1.0]),
    }  # fmt: skip
    sources = {
        "token": Source((1, 2), ("token", "position"), lambda t, p: t + p[:1]),
        "position": Source((1, 2), ("position",), lambda p: p[1:]),
        "mean": Source((2,), ("splits",), lambda s: s.view(2, 2).mean(0)),
        "bias": Source((3,), ("bias", "mask"), lambda b, m: b * m),
    }
    state = {
        "token": torch.tensor([[12.0, 21.0]]), "position": torch.tensor([[0.0, 1.0]]),
        "mean": torch.tensor([4.0, 5.0]), "bias": torch.tensor([9.0, 0.0, 8.0]),
    }  # fmt: skip
    back = returned(state, sources, old)
    assert back.tensors["token"].tolist() == [[2.0, 1.0]]
    assert back.tensors["position"].tolist() == [[10.0, 20.0], [0.0, 1.0]]
    assert back.tensors["splits"].tolist() == [3.0, 4.0, 5.0, 6.0]
    assert back.tensors["bias"].tolist() == [9.0, 2.0, 8.0]
    assert "mask" not in back.tensors or torch.equal(back.tensors["mask"], old["mask"])
    assert back.indirect == ("token", "mean", "bias")
    with pytest.raises(UsageError, match="turned round"):  # the mask allows no change of the middle
        returned({**state, "bias": torch.ones(3)}, sources, old)


def test_a_masked_bias_that_looks_at_its_numbers_is_turned_round() -> None:
    """DINOv3's: numbered elements make its translation refuse, so that the way back is by the change alone."""
    shapes = {
        "storage_tokens": (1, 2, 4),
        "blocks.0.attn.qkv.bias": (12,),
        "blocks.0.attn.qkv.bias_mask": (12,),
    }
    sources = dinov3.translate(shapes)
    assert sources is not None
    mask = torch.ones(12)
    mask[4:8] = 0
    old = {"storage_tokens": torch.randn(1, 2, 4), "blocks.0.attn.qkv.bias": torch.randn(12)}
    old["blocks.0.attn.qkv.bias_mask"] = mask
    state = {name: torch.randn(source.shape) for name, source in sources.items()}
    back = returned(state, sources, old)
    after = back.tensors["blocks.0.attn.qkv.bias"]
    assert torch.equal(after[4:8], old["blocks.0.attn.qkv.bias"][4:8])
    torch.testing.assert_close(after[:4], state["blocks.0.attn.q_bias"])
    torch.testing.assert_close(after[8:], state["blocks.0.attn.v_bias"])
    assert torch.equal(back.tensors["storage_tokens"], state["reg_token"])


@pytest.mark.parametrize("make", [torch.sort, torch.square, lambda x: x.clamp(min=0)])
def test_a_making_that_cannot_be_turned_round_is_refused(make: Callable[[Tensor], Any]) -> None:
    def one(x: Tensor) -> Tensor:
        made = make(x)
        return made if isinstance(made, Tensor) else made[0]

    old = {"x": torch.tensor([3.0, -1.0, 2.0])}
    with pytest.raises(UsageError, match="turned round"):
        returned({"y": torch.tensor([5.0, -7.0, 1.0])}, {"y": Source((3,), ("x",), one)}, old)


def test_transformers_is_read_off_numbered_tensors() -> None:
    """Renamed, joined, split and transposed tensors, more than 4,096 elements among them; a sum is left out."""

    def fill(given: State) -> State:
        return {
            "same": given["a"], "turned": given["b"].T, "joined": torch.cat([given["a"], given["c"]]),
            "half": given["b"][40:], "sum": given["a"] + given["c"], "new": torch.ones(3),
        }  # fmt: skip

    shapes = {"a": torch.zeros(5), "b": torch.zeros(80, 70), "c": torch.zeros(5, dtype=torch.float16)}
    infos = {n: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in shapes.items()}
    sources = learned(fill, {n: TensorInfo(*info) for n, info in infos.items()})
    assert set(sources) == {"same", "turned", "joined", "half"}
    assert sources["same"].make is None
    given = {n: torch.randn(t.shape) for n, t in shapes.items()}
    wanted = fill(given)
    for name, source in sources.items():
        parts = [given[n] for n in source.names]
        assert torch.equal(source.make(*parts) if source.make else parts[0], wanted[name])


def test_resampled_position_embeddings_are_refused(tmp_path: Path) -> None:
    from layouts.vits import vit

    torch.save(vit(depth=2, size=64).state_dict(), tmp_path / "a")
    assert "resampled" in refused(tmp_path / "a", tmp_path / "b", size=96)
    state, _ = write(tmp_path / "a", tmp_path / "b")
    assert equal(network(tmp_path / "b"), state)


# --------------------------------------------------------------------------------------------- projectors


def test_the_checkpoints_projector_trains_on_and_goes_back(tmp_path: Path) -> None:
    source = FIXTURES / "encoders" / "simclr.pt"
    before = source.read_bytes()
    encoder = load_encoder(str(source))
    found = find_projector(encoder)
    assert found is not None
    assert found.in_dim == encoder.dim
    assert found.network.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in found.network.parameters())
    tensors = read_checkpoint(source).tensors
    own = found.network.state_dict()
    assert set(found.files) == set(own)
    assert all(torch.equal(own[n], tensors[file].to(own[n].dtype)) for n, file in found.files.items())
    with torch.no_grad():
        for number, parameter in enumerate(found.network.parameters()):
            parameter.add_(0.5 + number)
    again = find_projector(encoder)
    assert again is not None
    assert not torch.equal(next(again.network.parameters()), next(found.network.parameters()))
    trained = found.network.state_dict()
    done = same_layout.write(encoder, str(source), tuned(encoder), trained, tmp_path / "b")
    read = find_projector(load_encoder(str(tmp_path / "b")))
    assert read is not None
    wanted = {n: t.half().float() if t.is_floating_point() else t for n, t in trained.items()}
    assert equal(dict(read.network.state_dict()), wanted)
    assert done.replaced == len(tuned(encoder)) + len(trained)
    assert source.read_bytes() == before


def test_another_head_is_not_written(tmp_path: Path) -> None:
    source = FIXTURES / "encoders" / "simclr.pt"
    encoder = load_encoder(str(source))
    fresh = nn.Linear(encoder.dim, 3).state_dict()
    done = same_layout.write(encoder, str(source), tuned(encoder), fresh, tmp_path / "b")
    assert any("training had another one" in note for note in done.notes)
    assert any("projection_head" in part for part in done.kept)
    torch.save(conv(), tmp_path / "c")
    encoder = load_encoder(str(tmp_path / "c"))
    assert find_projector(encoder) is None
    done = same_layout.write(encoder, str(tmp_path / "c"), tuned(encoder), fresh, tmp_path / "d")
    assert any("no projector" in note for note in done.notes)
