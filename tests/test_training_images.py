"""Training images are what scoring reads, whether they are kept in memory or decoded again, and whatever is broken."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repdiag.encoders import Preprocessing
from repdiag.errors import DataError, UsageError
from repdiag.extraction.images import decode, preprocess
from repdiag.sources import open_source
from repdiag.training import images as module
from repdiag.training.images import TrainingImages, training_images
from repdiag.types import ImageSource

SIDES = ((20, 20), (31, 20), (20, 33), (64, 37), (9, 50), (16, 16), (17, 23), (300, 41), (45, 44), (22, 21))


def preprocessing(size: int = 16, resize: int = 19, channels: int = 3) -> Preprocessing:
    return Preprocessing(size, resize, "bilinear", (0.5,) * channels, (0.5,) * channels, channels, "test")


def folder(path: Path, sides: tuple[tuple[int, int], ...] = SIDES) -> ImageSource:
    """Images of many sides in two classes."""
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate(sides):
        place = path / "ab"[i % 2] / f"{i:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(place)
    return open_source(str(path))


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    return folder(tmp_path / "data")


def rows(source: ImageSource) -> np.ndarray:
    return np.arange(len(source.manifest))


def scored(source: ImageSource, row: int, how: Preprocessing) -> torch.Tensor:
    return torch.from_numpy(preprocess(decode(source.read(row)), how).copy()).permute(2, 0, 1)


def all_of(images: TrainingImages, size: int = 3) -> list[torch.Tensor]:
    return list(torch.arange(len(images)).split(size))


# ------------------------------------------------------------------------------------------------ pixels


@pytest.mark.parametrize("held", [10, 5, 0])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "resize"), [(16, 16), (16, 17), (16, 18), (16, 19), (15, 20), (1, 20)])
def test_clean_images_are_to_the_bit_what_scoring_reads(
    source: ImageSource, held: int, channels: int, size: int, resize: int
) -> None:
    """Also where the two crops round differently, and in memory, streamed, and half of each."""
    how = preprocessing(size, resize, channels)
    memory = (held + 0.5) * channels * resize**2 / 1e9
    found = training_images(source, rows(source), how, memory=memory, workers=2)
    assert (len(found.held), found.streamed) == (held, held < 10)
    places = torch.tensor([7, 0, 3, 3, 9, 1])
    expected = torch.stack([scored(source, int(row), how) for row in places])
    assert torch.equal(found.clean(places), expected)
    several = list(found.batches([places[:2], places[2:]], clean=True))
    assert torch.equal(torch.cat(several), expected)


def test_the_two_crops_do_round_differently_somewhere(source: ImageSource) -> None:
    """Else the test above could not fail."""
    found = training_images(source, rows(source), preprocessing(16, 18), memory=1)
    assert len(np.unique(found.offsets, axis=0)) > 1


def test_squares_are_the_resized_images_centers_whatever_the_memory(source: ImageSource) -> None:
    how = preprocessing()
    square = dataclasses.replace(how, size=19)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0)).split(4)
    expected = [torch.stack([scored(source, int(row), square) for row in part]) for part in order]
    for memory, held in ((1.0, 10), (0.0, 0), (4.5 * 3 * 19 * 19 / 1e9, 4)):
        images = training_images(source, rows(source), how, memory=memory, workers=2)
        assert (len(images), len(images.held), images.size, images.store) == (10, held, 16, 19)
        found = list(images.batches(order))
        assert len(found) == 3
        for batch, wanted in zip(found, expected, strict=True):
            assert torch.equal(batch, wanted)
            assert batch.dtype == torch.uint8
            assert batch.device.type == "cpu"


def test_a_part_of_the_images_has_places_of_its_own(source: ImageSource) -> None:
    chosen = np.array([8, 1, 4])
    found = training_images(source, chosen, preprocessing(), memory=1)
    manifest = source.manifest
    assert found.paths == tuple(manifest.paths[row] for row in chosen)
    assert found.labels is not None
    assert manifest.labels is not None
    assert found.labels.tolist() == manifest.labels[chosen].tolist()
    assert found.labels.dtype == torch.int64
    assert torch.equal(found.clean(torch.tensor([1]))[0], scored(source, 1, preprocessing()))
    unlabeled = open_source(source.name, labeled=False)
    assert training_images(unlabeled, chosen, preprocessing(), memory=1).labels is None


def test_batches_come_in_order_and_few_are_made_ahead(source: ImageSource) -> None:
    images = training_images(source, rows(source), preprocessing(), memory=0, workers=3)
    asked: list[int] = []

    def endless() -> Iterator[torch.Tensor]:
        for step in itertools.count():
            asked.append(step)
            yield torch.tensor([step % 10, (step + 1) % 10])

    batches = images.batches(endless())
    for step in range(7):
        assert torch.equal(next(batches), images_of(images, [step % 10, (step + 1) % 10]))
    assert len(asked) <= 7 + 5
    batches.close()  # type: ignore[attr-defined]
    assert list(images.batches([])) == []
    assert images.clean(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 16, 16)


def images_of(images: TrainingImages, places: list[int]) -> torch.Tensor:
    square = dataclasses.replace(images.how, size=images.store)
    return torch.stack([scored(images.source, int(images.rows[place]), square) for place in places])


@pytest.mark.parametrize("place", [-1, 10])
def test_a_place_that_there_is_not_is_an_error(source: ImageSource, place: int) -> None:
    for memory in (0.0, 1.0):
        images = training_images(source, rows(source), preprocessing(), memory=memory)
        with pytest.raises(IndexError, match="0 to 9"):
            images.clean(torch.tensor([0, place]))


def test_the_fingerprint_changes_with_images_rows_and_pixels(source: ImageSource, tmp_path: Path) -> None:
    def of(where: ImageSource, chosen: list[int], how: Preprocessing, memory: float = 1.0) -> str:
        return training_images(where, np.array(chosen), how, memory=memory).fingerprint

    first = of(source, [0, 1, 2], preprocessing())
    assert first == of(source, [0, 1, 2], preprocessing(), memory=0.0)
    others = [
        of(source, [0, 1, 3], preprocessing()),
        of(source, [0, 2, 1], preprocessing()),
        of(source, [0, 1, 2], preprocessing(16, 20)),
        of(source, [0, 1, 2], preprocessing(15, 19)),
        of(source, [0, 1, 2], preprocessing(channels=1)),
        of(folder(tmp_path / "other", SIDES[:4]), [0, 1, 2], preprocessing()),
    ]
    assert len({first, *others}) == 7


# ------------------------------------------------------------------------------------------ what is broken


@pytest.mark.parametrize("memory", [1.0, 0.0, 6 * 3 * 19 * 19 / 1e9])
def test_corrupt_images_are_left_out_by_name(tmp_path: Path, memory: float) -> None:
    folder(tmp_path)
    (tmp_path / "a/002.png").write_bytes(b"no image")
    whole = (tmp_path / "b/005.png").read_bytes()
    (tmp_path / "b/005.png").write_bytes(whole[: len(whole) // 2])
    source = open_source(str(tmp_path))
    images = training_images(source, rows(source), preprocessing(), memory=memory, max_corrupt=0.2)
    assert sorted(one.path for one in images.corrupt) == ["a/002.png", "b/005.png"]
    assert any("not an image" in one.reason for one in images.corrupt)
    assert len(images) == 8
    assert not {"a/002.png", "b/005.png"} & set(images.paths)
    assert images.labels is not None
    assert images.labels.tolist() == [int(path.startswith("b")) for path in images.paths]
    for place, row in enumerate(images.rows):
        expected = scored(source, int(row), preprocessing())
        assert torch.equal(images.clean(torch.tensor([place]))[0], expected)
    with pytest.raises(DataError, match=r"2 of 10 images to train on cannot be read: .*--max-corrupt"):
        training_images(source, rows(source), preprocessing(), memory=memory, max_corrupt=0.1)
    two = np.array([source.manifest.paths.index(one) for one in ("a/000.png", "a/002.png")])
    with pytest.raises(DataError, match="fewer than two are left"):
        training_images(source, two, preprocessing(), memory=memory, max_corrupt=1)


def test_too_few_images_and_rows_that_are_none_are_refused(source: ImageSource) -> None:
    for few in (np.array([], dtype=np.int64), np.array([3])):
        with pytest.raises(DataError, match="at least two"):
            training_images(source, few, preprocessing(), memory=1)
    with pytest.raises(UsageError, match="not among the 10 images"):
        training_images(source, np.array([3, 10]), preprocessing(), memory=1)
    with pytest.raises(UsageError, match="at least 0 GB"):
        training_images(source, rows(source), preprocessing(), memory=float("nan"))


def test_an_image_that_vanishes_during_training_is_named(source: ImageSource) -> None:
    images = training_images(source, rows(source), preprocessing(), memory=0)
    (Path(source.name) / images.paths[4]).unlink()
    with pytest.raises(DataError, match=rf"no longer be read.*{images.paths[4]}"):
        list(images.batches(all_of(images)))
    assert len(list(images.batches([torch.tensor([0, 1])]))) == 1


def test_an_image_is_decoded_once_where_there_is_memory(
    source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda content: calls.append(1) or real(content))
    told: list[tuple[str, int, int]] = []
    images = training_images(
        source, rows(source), preprocessing(), memory=1, progress=lambda *said: told.append(said)
    )
    for _ in range(3):
        list(images.batches(all_of(images)))
        images.clean(torch.arange(10))
    assert len(calls) == 10
    assert told[0][1:] == (0, 10)
    assert told[-1][1:] == (10, 10)
    streamed = training_images(source, rows(source), preprocessing(), memory=0)
    list(streamed.batches(all_of(streamed)))
    assert len(calls) == 30


def test_the_fixtures_digits_are_read_as_scoring_reads_them() -> None:
    source = open_source("fixtures/digits")
    assert source.manifest.is_train is not None
    chosen = np.flatnonzero(source.manifest.is_train)[:40]
    images = training_images(source, chosen, preprocessing(16, 16), memory=1)
    expected = torch.stack([scored(source, int(row), preprocessing(16, 16)) for row in chosen])
    assert torch.equal(images.clean(torch.arange(40)), expected)
    assert torch.equal(torch.cat(list(images.batches(all_of(images)))), expected)  # nothing is cut off
