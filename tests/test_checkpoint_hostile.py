"""Hostile and damaged files: one sentence, the right exit code, bounded memory, and nothing of them is run."""

from __future__ import annotations

import argparse
import copyreg
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from repdiag.checkpoints import read_checkpoint, read_layout
from repdiag.checkpoints.pickles import Machine
from repdiag.errors import CheckpointError, RepdiagError, ResourceError, UnsafeCheckpointError

READERS = pytest.mark.parametrize("read", [read_layout, read_checkpoint], ids=["layout", "checkpoint"])


def weights() -> dict[str, torch.Tensor]:
    return {"w": torch.arange(12.0).reshape(3, 4), "b": torch.ones(3)}


# --------------------------------------------------------------------------------------------- writing files


def in_zip(pickled: bytes, path: Path, records: dict[str, bytes] | None = None) -> Path:
    """A torch.save archive around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", b"3\n")
        for name, content in (records or {}).items():
            archive.writestr(f"a/{name}", content)
    return path


def in_legacy(pickled: bytes, path: Path) -> Path:
    """A file of before torch 1.6 around any pickle."""
    magic = 0x1950A86A20F9469CFC6C
    parts = [pickle.dumps(v, 2) for v in (magic, 1001, {"little_endian": True})]
    path.write_bytes(b"".join(parts) + pickled + pickle.dumps([], 2))
    return path


def in_folder(pickled: bytes, path: Path) -> Path:
    """A torch.distributed.checkpoint folder with any `.metadata`."""
    path.mkdir()
    (path / ".metadata").write_bytes(pickled)
    return path


FORMS = pytest.mark.parametrize("wrap", [in_zip, in_legacy, in_folder], ids=["zip", "legacy", "distributed"])


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self) -> tuple[Any, ...]:
        if self.state is not None:
            return self.function, self.arguments, self.state
        return self.function, self.arguments


class Evil(nn.Module):
    """A module whose loading calls its `__setstate__`."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["canary"]).touch()


def _chain(canary: Path) -> Any:
    """A call whose callee is itself computed, two steps deep."""
    return Calls(map, Calls(getattr, Calls(__import__, "os"), "system"), [f"touch {canary}"])


def _nested(canary: Path) -> Any:
    """A pickle inside of bytes, to be loaded by a call."""
    return Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {canary}"), 2))


def _module(canary: Path) -> Any:
    module = Evil()
    module.__dict__["canary"] = str(canary)
    return module


CANARIES: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda canary: Calls(os.system, f"touch {canary}"),
    "eval": lambda canary: Calls(eval, f"open({str(canary)!r}, 'w').close()"),
    "exec": lambda canary: Calls(exec, f"open({str(canary)!r}, 'w').close()"),
    "subprocess": lambda canary: Calls(subprocess.call, ["touch", str(canary)]),
    "open": lambda canary: Calls(open, str(canary), "w"),
    "chain": _chain,
    "nested pickle": _nested,
}


@READERS
@FORMS
@pytest.mark.parametrize("kind", CANARIES)
def test_no_canary_sings(
    tmp_path: Path, wrap: Callable[..., Path], kind: str, read: Callable[..., Any]
) -> None:
    """Every way to run something, in every container that holds pickles: exit code 7."""
    canary = tmp_path / "canary"
    path = wrap(pickle.dumps({"model": {}, "x": CANARIES[kind](canary)}, 2), tmp_path / "a")
    with pytest.raises(UnsafeCheckpointError, match="nothing was run") as caught:
        read(path)
    assert caught.value.exit_code == 7
    assert str(path.name) in str(caught.value)
    assert not canary.exists()


def test_the_canaries_would_sing(tmp_path: Path) -> None:
    """The files above are dangerous: an ordinary unpickler wakes every one."""
    for number, make in enumerate(CANARIES.values()):
        canary = tmp_path / f"canary{number}"
        value = pickle.loads(pickle.dumps({"x": make(canary)}, 2))["x"]
        list(value) if isinstance(value, map) else None
        assert canary.exists()


@READERS
@pytest.mark.parametrize("wrap", [in_zip, in_legacy], ids=["zip", "legacy"])
def test_a_module_with_its_own_setstate_is_refused(
    tmp_path: Path, wrap: Any, read: Callable[..., Any]
) -> None:
    """Alone it is a whole module; beside weights these are read and it is named."""
    canary = tmp_path / "canary"
    with pytest.raises(UnsafeCheckpointError, match=r"Evil.*--trust-pickle"):
        read(wrap(pickle.dumps(_module(canary), 2), tmp_path / "a"))
    torch.save({"model": weights(), "net": _module(canary)}, tmp_path / "b")
    found = read(tmp_path / "b")
    assert list(found.tensors) == ["model.w", "model.b"]
    assert "Evil" in found.warnings[0]
    assert not canary.exists()


@READERS
@FORMS
@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x02", b"\x84\x01\x02\x03\x04"], ids=["1", "2", "4"])
def test_extension_numbers_are_refused(
    tmp_path: Path, wrap: Any, code: bytes, read: Callable[..., Any]
) -> None:
    """They stand for whatever a process has registered."""
    number = int.from_bytes(code[1:], "little")
    copyreg.add_extension("os", "system", number)
    try:
        with pytest.raises(UnsafeCheckpointError, match=f"extension {number}.*nothing was run"):
            read(wrap(b"\x80\x02}X\x01\x00\x00\x00x" + code + b"s.", tmp_path / "a"))
    finally:
        copyreg.remove_extension("os", "system", number)


def test_bytes_that_hold_a_pickle_stay_bytes(tmp_path: Path) -> None:
    """A pickle inside of a value is a value."""
    inside = pickle.dumps(Calls(os.system, f"touch {tmp_path / 'canary'}"), 2)
    torch.save({"model": weights(), "blob": inside, "args": argparse.Namespace(b=inside)}, tmp_path / "a")
    assert list(read_checkpoint(tmp_path / "a").tensors) == ["model.w", "model.b"]
    assert not (tmp_path / "canary").exists()


# --------------------------------------------------------------------------------------------- lying tensors


def tensor_pickle(
    *, numel: Any = 12, offset: Any = 0, size: Any = (3, 4), stride: Any = (4, 1), kind: str = "FloatStorage"
) -> bytes:
    """A pickle of {"w": tensor} that says whatever is wanted."""
    call = Calls(torch._utils._rebuild_tensor_v2, Stored(kind, numel), offset, size, stride, False, {})
    buffer = io.BytesIO()
    StoragePickler(buffer, 2).dump({"w": call})
    return buffer.getvalue()


class Stored:
    """Pickles as a reference to the storage `0`."""

    def __init__(self, kind: str, numel: Any) -> None:
        self.kind, self.numel = kind, numel


class StoragePickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Stored):
            return "storage", getattr(torch, value.kind), "0", "cpu", value.numel
        return None


RECORD = {"data/0": np.arange(12, dtype=np.float32).tobytes()}


def test_the_written_tensor_is_read(tmp_path: Path) -> None:
    """The file that the next test makes lie is a good one, by torch's word too."""
    path = in_zip(tensor_pickle(), tmp_path / "a", RECORD)
    assert torch.equal(read_checkpoint(path).tensors["w"], weights()["w"])
    assert torch.equal(torch.load(path, weights_only=True)["w"], weights()["w"])


LIES: dict[str, dict[str, Any]] = {
    "10 GB over 48 bytes": {"numel": 2_500_000_000, "size": (50_000, 50_000), "stride": (50_000, 1)},
    "more than the storage": {"size": (4, 4)},
    "10 GB of one number": {"size": (50_000, 50_000), "stride": (0, 0)},
    "a negative stride": {"stride": (-4, 1)},
    "a negative offset": {"offset": -1},
    "an offset beyond the end": {"offset": 1},
    "a negative size": {"size": (-3, -4)},
    "sizes that overflow": {"size": (1 << 40, 1 << 40)},
    "a stride that overflows": {"stride": (1 << 61, 1)},
    "an absurd number": {"offset": 1 << 2000},
    "sizes without strides": {"stride": (1,)},
    "sizes that are text": {"size": ("3", "4")},
    "a negative storage": {"numel": -12},
    "a storage of text": {"numel": "12"},
    "a wider type": {"kind": "DoubleStorage"},
    "65 dimensions": {"size": (1,) * 65, "stride": (1,) * 65},
}


@READERS
@pytest.mark.parametrize("lie", LIES)
def test_a_tensor_that_lies_about_itself_is_refused(
    tmp_path: Path, lie: str, read: Callable[..., Any]
) -> None:
    """Before torch sees it; no memory is taken for what it claims."""
    path = in_zip(tensor_pickle(**LIES[lie]), tmp_path / "a", RECORD)
    with pytest.raises(CheckpointError, match=r"tensor 'w'") as caught:
        read(path)
    assert caught.value.exit_code == 3
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"\x80\x04\x8d" + struct.pack("<Q", 10 << 30) + b"x.", "claims 10,737,418,240 bytes"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 63) + b"x.", "claims"),
        (b"\x80\x02X" + struct.pack("<I", 0xFFFFFFFF) + b"x.", "claims"),
        (b"\x80\x02\x8b" + struct.pack("<I", 1 << 31) + b"\x01.", "integer of"),
        (b"\x80\x02\x8b" + struct.pack("<I", 4096) + b"\x01" * 4096 + b".", "integer of"),
        (b"I" + b"9" * 5000 + b"\n.", "absurdly long"),
        (b"I" + b"9" * 70_000 + b"\n.", "no end"),
        (b"\x80\x02h\x05.", "does not have"),
        (b"\x80\x02N(u.", "sets items of a NoneType"),
        (b"\x80\x02K\x01)R.", "calls a int"),
        (b"\x80\x02].", "no tensor"),
        (b"\x80\x02(((", "ends in the middle"),
        (b"\x80\x02\xff.", "no instruction"),
        (b"p-1\n.", "out of range"),
        (b"p%d\n." % (1 << 70), "out of range"),
    ],
)
@READERS
def test_a_pickle_that_lies_is_damaged(
    tmp_path: Path, pickled: bytes, said: str, read: Callable[..., Any]
) -> None:
    """Lengths are compared with what is left before anything is taken."""
    with pytest.raises(CheckpointError, match=said):
        read(in_zip(pickled, tmp_path / "a"))


# --------------------------------------------------------------------------------------------- lying headers


def _safetensors(header: Any, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(dtype: str = "F32", shape: Any = (2,), begin: Any = 0, end: Any = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@READERS
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_safetensors({"w": _entry()}, bytes(8), 10 << 30), "header claims 10,737,418,240 bytes"),
        (_safetensors({"w": _entry(shape=[50_000, 50_000])}, bytes(8)), "needs 10,000,000,000 bytes"),
        (_safetensors({"w": _entry(shape=[1 << 61, 8], end=0)}, b""), "needs"),
        (_safetensors({"w": _entry(end=1 << 40, shape=[1 << 38])}, bytes(8)), "need"),
        (_safetensors({"w": _entry(begin=-8, end=0)}, bytes(8)), "malformed"),
        (_safetensors({"w": _entry(begin=0.0)}, bytes(8)), "malformed"),
        (_safetensors({"w": _entry(), "v": _entry()}, bytes(8)), "overlap"),
        (_safetensors({"w": _entry(begin=8, end=16)}, bytes(16)), "gaps"),
        (_safetensors({"w": _entry()}, bytes(12)), "need 8 bytes where 12"),
        (_safetensors({"w": _entry(dtype="F4")}, bytes(8)), "of type F4"),
        (_safetensors({"w": 3}, bytes(8)), "not described"),
        (_safetensors(b'{"w": ' + json.dumps(_entry()).encode() + b', "w": 1}', bytes(8)), "twice"),
        (_safetensors(b'{"a":' + b"[" * 100_000, b""), "no JSON"),
        (_safetensors({"__metadata__": {"a": 1}, "w": _entry()}, bytes(8)), "metadata"),
    ],
)
def test_a_safetensors_header_that_lies_is_damaged(
    tmp_path: Path, content: bytes, said: str, read: Callable[..., Any]
) -> None:
    """Every claim is held against the file's length."""
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read(tmp_path / "a")


def _field(data: bytes, offset: int, form: str, value: int) -> bytes:
    """The zip with one field of the first directory entry set."""
    changed = bytearray(data)
    (directory,) = struct.unpack_from("<I", data, data.rindex(b"PK\x05\x06") + 16)
    struct.pack_into(form, changed, directory + offset, value)
    return bytes(changed)


def _end_field(data: bytes, offset: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, data.rindex(b"PK\x05\x06") + offset, value)
    return bytes(changed)


ZIPS: dict[str, Callable[[bytes], bytes]] = {
    "10 GB in the directory": lambda d: _field(_field(d, 20, "<I", 0xFFFFFFFE), 24, "<I", 0xFFFFFFFE),
    "a 64-bit size without one": lambda d: _field(d, 24, "<I", 0xFFFFFFFF),
    "a place beyond the end": lambda d: _field(d, 42, "<I", 0x7FFFFFFF),
    "two records in one place": lambda d: _field(d, 42, "<I", 40),
    "a folder with content": lambda d: _field(d, 38, "<I", 0x10),
    "an unknown packing": lambda d: _field(d, 10, "<H", 12),
    "an encrypted record": lambda d: _field(d, 8, "<H", 1),
    "a name beyond the directory": lambda d: _field(d, 28, "<H", 0xFFFF),
    "more records than there are": lambda d: _end_field(_end_field(d, 8, "<H", 99), 10, "<H", 99),
    "a directory of 4 GB": lambda d: _end_field(d, 12, "<I", 0xFFFFFFFE),
    "a directory elsewhere": lambda d: _end_field(d, 16, "<I", 0),
    "several disks": lambda d: _end_field(d, 4, "<H", 1),
    "bytes behind the end": lambda d: d + b"x",
    "bytes between records and directory": lambda d: d.replace(b"PK\x01\x02", b"xxPK\x01\x02", 1),
    "a false 64-bit end": lambda d: d[:-22] + b"PK\x06\x07" + bytes(16) + d[-22:],
}


@READERS
@pytest.mark.parametrize("lie", ZIPS)
def test_a_zip_directory_that_lies_is_damaged(tmp_path: Path, lie: str, read: Callable[..., Any]) -> None:
    """There is one way to read an archive, or none."""
    torch.save(weights(), tmp_path / "a")
    (tmp_path / "a").write_bytes(ZIPS[lie]((tmp_path / "a").read_bytes()))
    with pytest.raises(CheckpointError, match="damaged") as caught:
        read(tmp_path / "a")
    assert caught.value.exit_code == 3


@READERS
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, read: Callable[..., Any]) -> None:
    """Weights do not shrink a thousandfold: what claims to is no checkpoint."""
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", tensor_pickle())
        archive.writestr("a/data/0", bytes(100 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(CheckpointError, match="zip bombs"):
        read(path)


def test_a_bomb_that_hides_its_size_stops_where_it_said(tmp_path: Path) -> None:
    """The declared size is not trusted either: unpacking ends at its first byte too many."""
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", tensor_pickle())
        archive.writestr("a/data/0", bytes(50 << 20))
    data = path.read_bytes()
    at = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: at + 24] + struct.pack("<I", 48) + data[at + 28 :])
    with pytest.raises(CheckpointError, match="unpacks to more than it says"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
@READERS
def test_records_outside_of_the_archive_are_refused(
    tmp_path: Path, name: str, read: Callable[..., Any]
) -> None:
    """Nothing is ever unpacked to a disk, but who writes such names means no good."""
    torch.save(weights(), tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a", "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"x")
    with pytest.raises(CheckpointError, match="outside of itself"):
        read(tmp_path / "a")


@pytest.mark.filterwarnings("ignore")
def test_programs_may_not_hide_a_record_behind_its_letter_case(tmp_path: Path) -> None:
    """torch finds records without regard to case, so that it could take another one than was checked."""
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "a"))
    with zipfile.ZipFile(tmp_path / "a", "a") as archive:
        archive.writestr("a/DATA.PKL", b"x")
    with pytest.raises(CheckpointError, match="differ in case"):
        read_checkpoint(tmp_path / "a")


# --------------------------------------------------------------------------------------------- good but rare


def _rewritten(path: Path, target: Path, method: int, **changes: bytes) -> Path:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name.rpartition("/")[2], old.read(name)))
    return target


def test_rewritten_archives_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed, of the other byte order, and with 64-bit sizes: the same weights."""
    torch.save({"w": weights()["w"]}, tmp_path / "a")
    swapped = np.arange(12, dtype=">f4").tobytes()
    _rewritten(tmp_path / "a", tmp_path / "deflated", zipfile.ZIP_DEFLATED)
    _rewritten(tmp_path / "a", tmp_path / "big", zipfile.ZIP_STORED, **{"byteorder": b"big", "0": swapped})
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 8)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    _rewritten(tmp_path / "a", tmp_path / "zip64", zipfile.ZIP_STORED)
    assert b"PK\x06\x06" in (tmp_path / "zip64").read_bytes()
    for name in ("deflated", "big", "zip64"):
        assert torch.equal(read_checkpoint(tmp_path / name).tensors["w"], weights()["w"]), name


# --------------------------------------------------------------------------------------------- truncated


def _make(kind: str, folder: Path) -> Path:
    path = folder / "a"
    if kind == "safetensors":
        save_file(weights(), path)
    elif kind == "TorchScript":
        torch.jit.script(nn.Linear(2, 2)).save(str(path))
    else:
        torch.save({"m": weights()}, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "TorchScript"])
def test_a_file_cut_off_anywhere_is_one_sentence(tmp_path: Path, kind: str) -> None:
    """At every length of the last 64 bytes and at 40 others; both readers refuse with exit code 3."""
    path = _make(kind, tmp_path)
    data = path.read_bytes()
    lengths = {*range(len(data) - 64, len(data)), *range(0, len(data), len(data) // 40)}
    for length in sorted(lengths):
        path.write_bytes(data[:length])
        for read in (read_layout, read_checkpoint):
            with pytest.raises(CheckpointError) as caught:
                read(path)
            assert caught.value.exit_code == 3


# --------------------------------------------------------------------------------------------- time and memory


def test_depth_costs_no_recursion() -> None:
    """Half a million nested tuples, lists and calls are followed, and let go, without touching the C stack."""
    for pickled in (
        b"\x80\x02)" + b"\x85" * 500_000 + b".",
        b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
        b"\x80\x02ca\nb\n" + b")R" * 300_000 + b".",
        b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"Ns.",  # as a key, which would be hashed
    ):
        Machine(pickled, "here").load()


def test_a_pickle_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a count of its steps."""
    monkeypatch.setattr("repdiag.checkpoints.pickles.MAX_STEPS", 1000)
    with pytest.raises(ResourceError, match="steps") as caught:
        Machine(b"\x80\x02" + b"N0" * 501 + b".", "here").load()
    assert caught.value.exit_code == 8


BOUNDED = """
import resource, sys
from repdiag.checkpoints import read_layout, read_checkpoint
from repdiag.errors import RepdiagError
if sys.argv[1] == "checkpoint":
    import torch, safetensors.torch
    torch.set_num_threads(1)
read = read_checkpoint if sys.argv[1] == "checkpoint" else read_layout
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (300 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for path in sys.argv[2:]:
    try:
        read(path)
        print("read")
    except RepdiagError as error:
        print(error.exit_code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("reader", ["layout", "checkpoint"])
def test_memory_is_bounded_whatever_a_file_claims(tmp_path: Path, reader: str) -> None:
    """300 MB more than at the start are enough to refuse files that claim gigabytes, or that repeat themselves."""
    paths: list[Path] = []

    def file(content: bytes) -> None:
        paths.append(tmp_path / str(len(paths)))
        paths[-1].write_bytes(content)

    def zipped(pickled: bytes, records: dict[str, bytes] | None = None) -> None:
        paths.append(in_zip(pickled, tmp_path / str(len(paths)), records))

    file(_safetensors({"w": _entry()}, bytes(8), 10 << 30))
    zipped(b"\x80\x04\x8d" + struct.pack("<Q", 10 << 30) + b"x.")
    zipped(tensor_pickle(numel=2_500_000_000, size=(50_000, 50_000), stride=(50_000, 1)), RECORD)
    zipped(tensor_pickle(size=(50_000, 50_000), stride=(0, 0)), RECORD)
    name = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20)  # one long key, at each of many levels
    zipped(b"\x80\x02}q\x00" + b"}" + name + b"q\x01h\x00s0" + b"}h\x01" * 30 + b"N" + b"s" * 30 + b".")
    bomb: dict[str, Any] = {"w": 1}
    for _ in range(60):
        bomb = {"a": bomb, "b": bomb}
    zipped(pickle.dumps(bomb, 2))
    pairs = (
        b"\x80\x02c" + b"collections\nOrderedDict\nq\x00" + b"]q\x01(" + b"K\x01K\x02\x86" * 50_000 + b"e0"
    )
    zipped(
        pairs
        + b"}q\x02("
        + b"".join(b"M%sh\x00h\x01\x85R" % struct.pack("<H", i) for i in range(5000))
        + b"u."
    )
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, reader, *map(str, paths)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3"] * len(paths)


def test_every_refusal_is_a_sentence_for_people(tmp_path: Path) -> None:
    """It says what, where, and nothing of Python's inner life."""
    path = in_zip(tensor_pickle(**LIES["a negative stride"]), tmp_path / "a", RECORD)
    with pytest.raises(RepdiagError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert text.startswith("The description of the tensor 'w' is malformed: a size, stride or offset")
    assert str(path) in text
    assert "Error" not in text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["TorchScript", "torch.export"])
def test_weights_that_torch_reads_differently_are_refused(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch takes a record that is marked as a folder for read and leaves whatever was in memory as weights.

    The mark itself is refused. What was in memory may by chance be right, so that torch is made to give other
    numbers here, to see that the comparison of the numbers holds too.
    """
    network, path = nn.Conv2d(3, 4, 3).eval(), tmp_path / "a.pt2"
    if form == "TorchScript":
        torch.jit.script(network).save(str(path))
    else:
        torch.export.save(torch.export.export(network, (torch.randn(1, 3, 4, 4),)), path)
    assert len(read_checkpoint(path).tensors) == 2
    whole = path.read_bytes()
    path.write_bytes(_field(whole, 38, "<I", 0x10))
    with pytest.raises(CheckpointError, match="folder with content"):
        read_checkpoint(path)
    path.write_bytes(whole)
    library = torch.jit if form == "TorchScript" else torch.export
    load = library.load

    def other(*arguments: object, **options: object) -> object:
        program = load(*arguments, **options)
        weights = program.state_dict() if form == "TorchScript" else program.state_dict
        weights["weight"].data.add_(1)
        return program

    monkeypatch.setattr(library, "load", other)
    with pytest.raises(CheckpointError, match="torch reads other numbers for 'weight'"):
        read_checkpoint(path)
