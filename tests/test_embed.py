"""Extraction end to end: what is computed, what is left out, what survives, what the cache key sees."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repdiag.encoders import Encoder, Loading, Preprocessing
from repdiag.errors import CheckpointError, DataError, ResourceError, UsageError
from repdiag.extraction import EmbedConfig, embed, embedding_key, forward
from repdiag.extraction.config import shape_of
from repdiag.extraction.forward import choose_batch_size
from repdiag.sources import Images, open_source
from repdiag.store import Store, disk
from repdiag.types import EmbeddingSet, Manifest

N = 60
CONFIG = EmbedConfig(device="cpu", batch_size=16, view_samples=20, workers=2)


class Net(torch.nn.Module):
    """A small convolution with pooling; `calls` are the batch sizes it saw."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(channels, 8, 3)
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return self.conv(x).relu().mean((2, 3))


def encoder(module: torch.nn.Module | None = None, channels: int = 3, fingerprint: str = "a" * 64) -> Encoder:
    how = Preprocessing(
        12, 14, "bilinear", (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.4)[:channels], channels, "test"
    )
    module = (module or Net(channels)).eval().requires_grad_(False)
    return Encoder(module, "net", "net", 8, how, fingerprint, Loading("test"))


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 18, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def dataset(root: Path, broken: dict[int, bytes] | None = None, n: int = N) -> Images:
    """n images in train/ and test/ of two classes; `broken` replaces the content of some."""
    for i in range(n):
        path = root / ("train" if i < n // 3 else "test") / f"class{i % 2}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((broken or {}).get(i, image(i)))
    return open_source(str(root))


def expected(source: Images, how: Encoder) -> np.ndarray:
    """Every image alone, through torchvision's transforms and the bare module."""
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.Resize(14),
            v2.CenterCrop(12),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(how.preprocessing.mean, how.preprocessing.std),
        ]
    )
    images = [Image.open(io.BytesIO(source.read(i))).convert("RGB") for i in range(len(source.manifest))]
    with torch.inference_mode():
        return how.module(torch.stack([transform(one) for one in images])).numpy()


def assert_same(one: EmbeddingSet, other: EmbeddingSet) -> None:
    np.testing.assert_array_equal(one.features, other.features)
    assert (one.ids, one.corrupt) == (other.ids, other.corrupt)
    assert one.views is not None
    assert other.views is not None
    np.testing.assert_array_equal(one.views.features, other.views.features)
    np.testing.assert_array_equal(one.views.rows, other.views.rows)


# ------------------------------------------------------------------------------------------ results


@pytest.mark.parametrize("cached", [False, True])
def test_embeddings_equal_one_image_at_a_time_through_torchvision(tmp_path: Path, cached: bool) -> None:
    source, net = dataset(tmp_path / "data"), encoder()
    found = embed(net, source, CONFIG, store=Store(tmp_path / "cache") if cached else None)
    np.testing.assert_allclose(found.features, expected(source, net), rtol=2e-5, atol=2e-6)
    assert found.ids == source.manifest.paths
    assert found.labels is source.manifest.labels
    assert found.is_train is source.manifest.is_train
    assert isinstance(found.features, np.memmap) is cached
    assert not found.features.flags.writeable


def test_a_module_that_wants_one_channel_gets_one(tmp_path: Path) -> None:
    found = embed(encoder(channels=1), dataset(tmp_path), CONFIG, store=None)
    assert found.features.shape == (N, 8)


def test_the_cache_and_the_batch_size_do_not_change_the_result(tmp_path: Path) -> None:
    source = dataset(tmp_path / "data")
    one = embed(encoder(), source, CONFIG, store=Store(tmp_path / "cache"))
    assert_same(one, embed(encoder(), source, CONFIG, store=None))
    other = embed(encoder(), source, replace(CONFIG, batch_size=7, workers=1), store=None)
    np.testing.assert_allclose(one.features, other.features, rtol=1e-5, atol=1e-6)
    assert one.views is not None
    assert other.views is not None
    np.testing.assert_allclose(one.views.features, other.views.features, rtol=1e-5, atol=1e-6)


def test_views_are_of_evaluated_samples_and_differ_from_each_other(tmp_path: Path) -> None:
    found = embed(encoder(), dataset(tmp_path), CONFIG, store=None)
    assert found.views is not None
    assert found.views.features.shape == (2, 20, 8)
    assert found.is_train is not None
    assert not found.is_train[found.views.rows].any()
    clean = found.features[found.views.rows]
    first, second = found.views.features
    for one, other in ((first, second), (first, clean), (second, clean)):
        assert np.abs(one - other).max(axis=1).min() > 0
    assert "2 views of 20 samples: random resized crop" in found.views.description


def test_views_follow_the_seed_and_can_be_left_out(tmp_path: Path) -> None:
    source = dataset(tmp_path)
    one = embed(encoder(), source, CONFIG, store=None)
    other = embed(encoder(), source, replace(CONFIG, seed=1), store=None)
    assert one.views is not None
    assert other.views is not None
    assert one.views.rows.tolist() != other.views.rows.tolist()
    np.testing.assert_array_equal(one.features, other.features)
    for none in (replace(CONFIG, views=0), replace(CONFIG, view_samples=0)):
        assert embed(encoder(), source, none, store=None).views is None


def test_more_view_samples_than_there_are_means_all(tmp_path: Path) -> None:
    found = embed(encoder(), dataset(tmp_path), replace(CONFIG, view_samples=10**6), store=None)
    assert found.views is not None
    assert found.is_train is not None
    assert found.views.rows.tolist() == np.flatnonzero(~found.is_train).tolist()


def test_bfloat16_is_close_and_comes_back_as_float32(tmp_path: Path) -> None:
    source = dataset(tmp_path)
    exact = embed(encoder(), source, CONFIG, store=None)
    half = embed(encoder(), source, replace(CONFIG, precision="bfloat16"), store=None)
    assert half.features.dtype == np.float32
    assert np.any(half.features != exact.features)
    np.testing.assert_allclose(half.features, exact.features, atol=0.02)


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    embed(encoder(), dataset(tmp_path), CONFIG, store=None, progress=lambda *told: seen.append(told))
    assert seen == [("embed", done, N) for done in (0, 16, 32, 48, N)]


# ------------------------------------------------------------------------------------------ cache


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    source, store = dataset(tmp_path / "data"), Store(tmp_path / "cache")
    first = embed(encoder(), source, CONFIG, store=store)
    net = Net()
    second = embed(encoder(net), source, CONFIG, store=store)
    assert net.calls == []
    assert_same(first, second)
    assert second.provenance["run"]["rows_reused"] == N
    assert {**first.provenance, "run": None, "batch_size": None} == {
        **second.provenance,
        "run": None,
        "batch_size": None,
    }
    assert store.status(embedding_key(encoder(), source.manifest, CONFIG)) == (N, N)


def test_the_key_sees_what_determines_the_embeddings_and_nothing_else(tmp_path: Path) -> None:
    manifest = dataset(tmp_path).manifest
    base = embedding_key(encoder(), manifest, CONFIG)
    how = encoder().preprocessing
    same = [
        embedding_key(encoder(), manifest, replace(CONFIG, batch_size=4, workers=1, max_corrupt=0.5)),
        embedding_key(replace(encoder(), name="other"), manifest, CONFIG),
        embedding_key(replace(encoder(), preprocessing=replace(how, origin="elsewhere")), manifest, CONFIG),
    ]
    assert set(same) == {base}
    different = [
        embedding_key(encoder(fingerprint="b" * 64), manifest, CONFIG),
        embedding_key(replace(encoder(), preprocessing=replace(how, size=13)), manifest, CONFIG),
        embedding_key(encoder(), replace(manifest, fingerprint="x"), CONFIG),
        embedding_key(encoder(), manifest, replace(CONFIG, precision="bfloat16")),
        embedding_key(encoder(), manifest, replace(CONFIG, views=3)),
        embedding_key(encoder(), manifest, replace(CONFIG, view_samples=3)),
        embedding_key(encoder(), manifest, replace(CONFIG, seed=3)),
        embedding_key(encoder(), manifest, replace(CONFIG, views=0)),
    ]
    assert len({base, *different}) == 1 + len(different)
    unseeded = {embedding_key(encoder(), manifest, replace(CONFIG, views=0, seed=seed)) for seed in (1, 2)}
    assert len(unseeded) == 1  # without views there is nothing to draw


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_embed
from repdiag.extraction import embed
from repdiag.sources import open_source
from repdiag.store import Store, disk
disk.SYNC_SECONDS = 0.0
def progress(step, done, total):
    if done:
        print(done, flush=True)
        time.sleep(600 if done >= 32 else 0)
root = Path(sys.argv[2])
source, store = open_source(str(root / "data")), Store(root / "cache")
embed(test_embed.encoder(), source, test_embed.CONFIG, store=store, progress=progress)
"""


def test_a_run_killed_in_the_middle_is_resumed_to_the_bit(tmp_path: Path) -> None:
    source = dataset(tmp_path / "data", {5: b"broken"})
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["16\n", "32\n"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    net = Net()
    resumed = embed(encoder(net), source, CONFIG, store=Store(tmp_path / "cache"))
    assert resumed.provenance["run"]["rows_reused"] == 32
    rows = shape_of(encoder(), source.manifest, CONFIG).view_rows
    assert sum(net.calls) == (N - 32) + 2 * int((rows >= 32).sum())  # nothing that was done is done again
    assert_same(resumed, embed(encoder(), source, CONFIG, store=None))


def test_an_interrupt_keeps_what_was_done(tmp_path: Path) -> None:
    source, store = dataset(tmp_path / "data"), Store(tmp_path / "cache")

    def interrupt(step: str, done: int, total: int) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(encoder(), source, CONFIG, store=store, progress=interrupt)
    resumed = embed(encoder(), source, CONFIG, store=store)
    assert resumed.provenance["run"]["rows_reused"] == 32
    assert_same(resumed, embed(encoder(), source, CONFIG, store=None))


def test_a_run_resumed_with_other_batches_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "SYNC_SECONDS", 0.0)
    source, store = dataset(tmp_path / "data"), Store(tmp_path / "cache")

    def interrupt(step: str, done: int, total: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(encoder(), source, CONFIG, store=store, progress=interrupt)
    resumed = embed(encoder(), source, replace(CONFIG, batch_size=7), store=store)
    whole = embed(encoder(), source, CONFIG, store=None)
    np.testing.assert_allclose(resumed.features, whole.features, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------ corrupt images


def test_corrupt_images_are_named_and_left_out_everywhere(tmp_path: Path) -> None:
    whole = embed(encoder(), dataset(tmp_path / "whole"), CONFIG, store=None)
    broken = {i: image(i)[:60] for i in (3, 30, 31, 55)}
    source = dataset(tmp_path / "data", broken)
    found = embed(encoder(), source, replace(CONFIG, max_corrupt=0.1), store=Store(tmp_path / "cache"))
    names = {
        source.manifest.paths[row] for row in range(N) if int(source.manifest.paths[row][-7:-4]) in broken
    }
    assert {corrupt.path for corrupt in found.corrupt} == names
    assert all(corrupt.reason for corrupt in found.corrupt)
    kept = [row for row, name in enumerate(whole.ids) if name not in names]
    assert found.ids == tuple(whole.ids[row] for row in kept)
    np.testing.assert_array_equal(found.features, whole.features[kept])
    for column in ("labels", "is_train"):
        np.testing.assert_array_equal(getattr(found, column), getattr(whole, column)[kept])
    assert found.views is not None
    assert whole.views is not None
    before = {whole.ids[row]: place for place, row in enumerate(whole.views.rows)}
    assert names & set(before)  # a view sample is among the corrupt ones
    for place, row in enumerate(found.views.rows):
        np.testing.assert_array_equal(
            found.views.features[:, place], whole.views.features[:, before[found.ids[row]]]
        )
    assert found.views.rows.size == len(set(before) - names)


@pytest.mark.parametrize(
    ("count", "share", "fine"),
    [(1, 0.0, False), (1, 0.001, True), (2, 0.001, False), (6, 0.1, True), (7, 0.1, False)],
)
def test_the_limit_of_corrupt_images(tmp_path: Path, count: int, share: float, fine: bool) -> None:
    source = dataset(tmp_path / "data", dict.fromkeys(range(count), b"x"))
    config, store = replace(CONFIG, max_corrupt=share), Store(tmp_path / "cache")
    if fine:
        assert len(embed(encoder(), source, config, store=store)) == N - count
        return
    with pytest.raises(DataError, match=rf"{count} of {N} images cannot be read: .*known format"):
        embed(encoder(), source, config, store=store)
    again = embed(encoder(), source, replace(CONFIG, max_corrupt=1.0), store=store)
    assert again.provenance["run"]["rows_reused"] == N  # refused, but the work was kept


def test_nothing_but_corrupt_images_is_refused_at_any_limit(tmp_path: Path) -> None:
    source = dataset(tmp_path, dict.fromkeys(range(N), b""))
    with pytest.raises(DataError, match=rf"{N} of {N} .*the file is empty"):
        embed(encoder(), source, replace(CONFIG, max_corrupt=1.0), store=None)


def test_an_image_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    source, store = dataset(tmp_path / "data"), Store(tmp_path / "cache")
    failing = [True]

    def read(index: int) -> bytes:
        if index == 20 and failing[0]:
            raise OSError(5, "Input/output error")
        return source.read(index)

    flaky = replace(source, reader=read)
    first = embed(encoder(), flaky, CONFIG, store=store)
    assert first.corrupt[0].reason == "cannot be read: Input/output error"
    failing[0] = False
    second = embed(encoder(), flaky, CONFIG, store=store)
    assert second.provenance["run"]["rows_reused"] == N - 16
    assert_same(second, embed(encoder(), source, CONFIG, store=None))


# ------------------------------------------------------------------------------------------ encoders that fail


def wrapped(change: Callable[[torch.Tensor], object]) -> Encoder:
    class Wrapped(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return change(super().forward(x))  # type: ignore[return-value]

    return encoder(Wrapped())


def test_an_encoder_that_gives_nan_for_everything_is_named_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"NaN or infinity for every one of 16 images.*weights"):
        embed(wrapped(lambda x: x * torch.nan), dataset(tmp_path), CONFIG, store=None)


def test_samples_with_infinite_embeddings_are_named(tmp_path: Path) -> None:
    def one(x: torch.Tensor) -> torch.Tensor:
        x[2, 0] = torch.inf
        return x

    source = dataset(tmp_path)
    with pytest.raises(DataError, match=f"for 1 of 16 images: {source.manifest.paths[2]}"):
        embed(wrapped(one), source, replace(CONFIG, views=0), store=None)


@pytest.mark.parametrize("change", [lambda x: x[:, :7], lambda x: (x,), lambda x: x[:, :, None]])
def test_an_encoder_with_another_output_is_refused(
    tmp_path: Path, change: Callable[[torch.Tensor], object]
) -> None:
    with pytest.raises(CheckpointError, match=r"The encoder answers 16 images with .*, not \(16, 8\)"):
        embed(wrapped(change), dataset(tmp_path), CONFIG, store=None)


class Small(Net):
    """A net whose memory holds `room` images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = super().forward(x)
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return found


@pytest.mark.parametrize(("room", "size"), [(16, 16), (5, 4), (1, 1)])
def test_batches_are_halved_until_they_fit(tmp_path: Path, room: int, size: int) -> None:
    source = dataset(tmp_path)
    net = Small(room)
    found = embed(encoder(net), source, CONFIG, store=None)
    whole = embed(encoder(), source, CONFIG, store=None)
    np.testing.assert_allclose(found.features, whole.features, rtol=1e-5, atol=1e-6)
    assert found.provenance["batch_size"] == size
    assert len([call for call in net.calls if call > room]) <= 4  # learned once


def test_not_even_one_image_fits(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="too small for a batch of 1 image"):
        embed(encoder(Small(0)), dataset(tmp_path), CONFIG, store=None)


def test_other_errors_of_the_encoder_are_not_swallowed(tmp_path: Path) -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        embed(wrapped(fail), dataset(tmp_path), CONFIG, store=None)


# ------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 0},
        {"views": -1},
        {"view_samples": -1},
        {"workers": 0},
        {"max_corrupt": 1.5},
        {"precision": "int8"},
    ],
)
def test_numbers_out_of_range_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(changed))):
        EmbedConfig(**changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match="no device"):
        embed(encoder(), dataset(tmp_path), replace(CONFIG, device=device), store=None)


@pytest.mark.parametrize(("size", "expected"), [(28, 256), (32, 256), (64, 64), (224, 8), (518, 8)])
def test_the_batch_size_on_a_cpu_follows_the_image_size(size: int, expected: int) -> None:
    how = replace(encoder().preprocessing, size=size, resize=size)
    assert choose_batch_size(replace(encoder(), preprocessing=how), torch.device("cpu")) == expected


def test_the_batch_size_on_cuda_follows_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    how = replace(encoder().preprocessing, size=224, resize=224)
    large = replace(encoder(), preprocessing=how)
    for free, size in ((80 * 2**30, forward.MAX_BATCH), (8 * 2**30, 64), (0, 8)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 80 * 2**30))
        assert choose_batch_size(large, torch.device("cuda")) == size


def test_warnings_of_other_code_are_as_before(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embed(encoder(), dataset(tmp_path), CONFIG, store=None)
        warnings.warn("still here", UserWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["still here"]


def test_an_unlabeled_set_without_a_split_is_evaluated_whole(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(image(i))
    found = embed(encoder(), open_source(str(tmp_path)), CONFIG, store=None)
    assert found.labels is None
    assert found.is_train is None
    assert found.views is not None
    assert found.views.rows.tolist() == [0, 1, 2, 3]
    assert isinstance(open_source(str(tmp_path)).manifest, Manifest)
