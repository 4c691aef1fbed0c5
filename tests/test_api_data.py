"""Data as programs have them: arrays, lists, data sets, loaders; what each becomes, and what is refused how."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FIXTURES, blobs
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

import repdiag
from repdiag import api
from repdiag.encoders import Preprocessing
from repdiag.errors import CheckpointError, DataError, OutputError, UsageError
from repdiag.types import MetricResult, Skipped

N = 30
HOW = Preprocessing(8, 8, "bilinear", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 3, "test")
PIXELS = np.random.default_rng(1).integers(0, 256, (N, 9, 10, 3), dtype=np.uint8)
IMAGES = [Image.fromarray(one) for one in PIXELS]
LABELS = np.arange(N) % 3
INPUTS = torch.randn(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FAST = {"draw_map": False, "bootstrap": 50, "permutations": 5}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Items(Dataset[Any]):
    """A data set of what `items` holds."""

    def __init__(self, items: list[Any], classes: list[str] | None = None) -> None:
        self.items = items
        if classes:
            self.classes = classes

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


def pairs(images: Any = IMAGES, labels: Any = LABELS) -> list[Any]:
    return [(image, int(label)) for image, label in zip(images, labels, strict=True)]


def expected() -> np.ndarray:
    """Every image alone through torchvision's transforms."""
    from torchvision.transforms import v2

    steps = [v2.Resize(8), v2.CenterCrop(8), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    transform = v2.Compose([*steps, v2.Normalize(HOW.mean, HOW.std)])
    with torch.no_grad():
        return net()(torch.stack([transform(image) for image in IMAGES])).numpy()


# ------------------------------------------------------------------------------------------ one form each


def files(folder: Path) -> list[Path]:
    paths = [folder / f"{i:02d}.png" for i in range(N)]
    for path, image in zip(paths, IMAGES, strict=True):
        image.save(path)
    return paths


FORMS = {
    "array": lambda folder: (PIXELS, LABELS),
    "channels first": lambda folder: (torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy()), LABELS),
    "list": lambda folder: (IMAGES, [f"{label}" for label in LABELS]),
    "paths": lambda folder: (files(folder), torch.from_numpy(LABELS)),
    "frame": lambda folder: pd.DataFrame({"path": [str(p) for p in files(folder)], "label": LABELS}),
    "data set": lambda folder: Items(pairs()),
    "data set of dicts": lambda folder: Items([{"image": i, "label": y} for i, y in pairs()]),
    "data set of arrays": lambda folder: Items(pairs(list(PIXELS))),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_images_in_any_form_give_what_torchvision_gives(form: str, tmp_path: Path) -> None:
    found = repdiag.embed(net(), FORMS[form](tmp_path), preprocessing=HOW, views=2)
    np.testing.assert_allclose(found.features, expected(), rtol=0, atol=0.02)
    assert found.labels is not None
    assert found.labels.tolist() == LABELS.tolist()
    assert found.class_names == ("0", "1", "2")
    assert found.views is not None
    assert found.views.features.shape == (2, N, 8)


def test_the_form_makes_no_difference_at_all() -> None:
    """Pixels are decoded, prepared and augmented by one code, whatever held them."""
    one, other, third = (
        repdiag.embed(net(), data, preprocessing=HOW, views=1, batch_size=7)
        for data in (PIXELS, IMAGES, Items(pairs()))
    )
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_allclose(one.features, third.features, rtol=1e-5, atol=1e-6)
    assert one.views is not None
    assert third.views is not None
    np.testing.assert_allclose(one.views.features, third.views.features, rtol=1e-5, atol=1e-6)


def test_gray_transparent_and_rotated_pictures_in_memory_are_seen_as_in_files() -> None:
    turned = Image.new("RGB", (8, 4), "red")
    turned.paste("blue", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((8, 8), 65535, np.uint16))
    pictures = [Image.open(buffer), clear, deep, Image.new("L", (8, 8), 255), Image.new("CMYK", (8, 8))]
    plain = Preprocessing(4, 4, "bilinear", (0.0,) * 3, (1.0,) * 3, 3, "test")
    top = nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten())
    found = repdiag.embed(top, pictures, preprocessing=plain).features
    np.testing.assert_allclose(found[0], [0, 1, 0, 0, 1, 0], atol=0.01)  # red below, blue above
    np.testing.assert_allclose(found[1:], 1, atol=0.01)


def read_only(array: np.ndarray) -> np.ndarray:
    """As a memory map of a file of another machine is."""
    array = array.astype(">f4")
    array.flags.writeable = False
    return array


def test_batches_of_every_usual_kind_are_understood() -> None:
    x, y = INPUTS, torch.from_numpy(LABELS)
    plain = repdiag.embed(net(), x).features
    split = [(x[:16], y[:16]), (x[16:], y[16:])]
    kinds: dict[str, Any] = {
        "arrays": read_only(x.numpy()),
        "float64": x.double(),
        "only inputs": DataLoader(TensorDataset(x), 16),
        "pairs": DataLoader(TensorDataset(x, y), 16),
        "columns of labels": [(a, b[:, None]) for a, b in split].__iter__(),
        "dicts": [{"pixel_values": a, "labels": b} for a, b in split].__iter__(),
        "text": [(a, [f"class {c}" for c in b]) for a, b in split].__iter__(),
        "arrays in batches": [(a.numpy(), b.tolist()) for a, b in split].__iter__(),
        "items": Items(pairs(list(x))),
    }
    for kind, data in kinds.items():
        found = repdiag.embed(net(), data)
        np.testing.assert_allclose(found.features, plain, rtol=1e-5, atol=1e-6, err_msg=kind)
        assert (found.labels is None) == (kind in ("arrays", "float64", "only inputs")), kind
        if found.labels is not None:
            assert found.labels.tolist() == LABELS.tolist(), kind


def test_unpack_says_what_other_batches_hold() -> None:
    batch = ([INPUTS, INPUTS], torch.from_numpy(LABELS), [f"name {i}" for i in range(N)])
    with pytest.raises(UsageError, match=r"3 parts.*unpack="):
        repdiag.embed(net(), iter([batch]))
    found = repdiag.embed(net(), iter([batch]), unpack=lambda b: (b[0][1], b[1], b[2]))
    assert found.ids[2] == "name 2"
    assert found.labels is not None


def test_a_hugging_face_data_set_is_a_data_set() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    data = datasets.Dataset.from_dict({"image": IMAGES, "label": LABELS}, features=features)
    found = repdiag.embed(net(), data, preprocessing=HOW)
    np.testing.assert_allclose(found.features, expected(), rtol=0, atol=0.02)
    assert found.class_names == ("a", "b", "c")


def test_class_names_come_from_the_caller_then_the_data_set_then_the_labels() -> None:
    named = Items(pairs(), ["zero", "one", "two"])
    assert repdiag.embed(net(), named, preprocessing=HOW).class_names == ("zero", "one", "two")
    told = repdiag.embed(net(), named, preprocessing=HOW, class_names=["x", "y", "z"])
    assert told.class_names == ("x", "y", "z")
    other = Items(pairs(labels=LABELS + 5), ["zero", "one", "two"])  # a target transform made others of them
    assert repdiag.embed(net(), other, preprocessing=HOW).class_names == ("5", "6", "7")


def test_ready_embeddings_need_no_model() -> None:
    x = blobs().features
    for data in (x, torch.from_numpy(x), x.astype(np.float64), blobs()):
        np.testing.assert_array_equal(repdiag.embed(None, data).features, x)
    found = repdiag.embed("-", (x, blobs().labels), is_train=np.arange(240) < 100, class_names=list("abcd"))
    assert found.class_names == ("a", "b", "c", "d")
    assert found.is_train is not None
    assert found.is_train.sum() == 100
    with pytest.raises(DataError, match="1 of 240 embeddings hold NaN or infinity, first in row 3"):
        repdiag.embed(None, np.where(np.arange(240)[:, None] == 3, np.nan, x))


# ------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize("labels", [np.full(N, -1), np.full(N, np.nan), [""] * N, False])
def test_labels_that_are_all_missing_are_none(labels: Any) -> None:
    assert repdiag.embed(net(), INPUTS, labels=labels).labels is None


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.eye(3)[LABELS], r"shape \(30, 3\): one class per sample.*y.argmax\(1\)"),
        (LABELS[:7], r"shape \(7,\) for 30 samples"),
        (LABELS + 0.5, "fractions"),
        ([[1, 2]] * 29 + [[1]], "not one value per sample"),
    ],
)
@pytest.mark.parametrize("data", [INPUTS, IMAGES], ids=["inputs", "images"])
def test_labels_that_are_no_classes_are_refused(labels: Any, said: str, data: Any) -> None:
    with pytest.raises(DataError, match=said):
        repdiag.embed(net(), data, labels=labels, preprocessing=HOW)


def test_class_names_must_fit_the_labels() -> None:
    with pytest.raises(DataError, match="from 0 to 2, but there are 2 class names"):
        repdiag.embed(net(), INPUTS, labels=LABELS, class_names=["a", "b"])
    with pytest.raises(UsageError, match="class_names go with labels="):
        repdiag.embed(net(), IMAGES, class_names=["a", "b"], preprocessing=HOW)
    with pytest.raises(UsageError, match="given twice"):
        repdiag.embed(net(), (INPUTS, LABELS), labels=LABELS)


# ------------------------------------------------------------------------------------------ loaders


def noted(**more: Any) -> str:
    loader = DataLoader(TensorDataset(INPUTS, torch.from_numpy(LABELS)), batch_size=8, **more)
    return " ".join(repdiag.score(net(), loader, metrics=["rankme"], views=0, **FAST).warnings)


def test_what_a_loader_changes_is_said_in_the_report() -> None:
    assert "The loader shuffles" not in noted()
    assert "The loader shuffles: ids are positions" in noted(shuffle=True)
    assert "The loader shuffles" in noted(sampler=WeightedRandomSampler([1.0] * N, N))
    assert "leaves out the last 6 of 30 samples (drop_last)" in noted(drop_last=True)
    assert "order of the loader's list" in noted(sampler=list(range(N)))


def test_a_shuffling_loader_gives_the_same_twice_for_one_seed() -> None:
    loader = DataLoader(TensorDataset(INPUTS), batch_size=8, shuffle=True)
    one, two = (repdiag.embed(net(), loader, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.features, two.features)
    assert not np.array_equal(one.features, repdiag.embed(net(), loader, seed=2).features)


class Endless(IterableDataset[Any]):
    """Inputs without a length."""

    def __iter__(self) -> Iterator[Any]:
        yield from pairs(list(INPUTS))


def test_a_loader_of_unknown_length_is_gone_through_to_its_end() -> None:
    found = repdiag.embed(
        net(), DataLoader(Endless(), 8), views=1, view_samples=11, view_transform=lambda x: x.flip(-1)
    )
    assert len(found) == N
    assert found.views is not None
    assert found.views.rows.tolist() == list(range(11))
    assert "the first 11 samples" in found.views.description


def test_workers_of_a_loader_are_used() -> None:
    loader = DataLoader(TensorDataset(INPUTS), batch_size=8, num_workers=1)
    np.testing.assert_array_equal(
        repdiag.embed(net(), loader).features,
        repdiag.embed(net(), DataLoader(TensorDataset(INPUTS), batch_size=8)).features,
    )


def test_views_of_tensors_are_made_by_view_transform_or_skipped_with_the_reason() -> None:
    report = repdiag.score(net(), INPUTS, metrics=["alignment"], **FAST)
    outcome = report.measurements[0].outcome
    assert isinstance(outcome, Skipped)
    assert any("view_transform= can make them" in warning for warning in report.warnings)
    report = repdiag.score(net(), INPUTS, metrics=["alignment"], view_transform=lambda x: x.flip(-1), **FAST)
    found = report.value("alignment")
    assert isinstance(found, MetricResult)
    assert "view_transform" in report.dataset["views"]
    embedded = repdiag.embed(net(), INPUTS, views=1, view_transform=lambda x: x.flip(-1))
    assert embedded.views is not None
    flipped = repdiag.embed(net(), INPUTS.flip(-1))
    np.testing.assert_allclose(embedded.views.features[0], flipped.features, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------ what is refused


class Failing(Dataset[Any]):
    """The fourth item cannot be made."""

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 3:
            raise ValueError("no such image")
        return INPUTS[index]

    def __len__(self) -> int:
        return N


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DataLoader(TensorDataset(INPUTS[:0]), 8), "delivered nothing"),
        (iter([INPUTS[:1]]), "delivered one sample"),
        (Items([]), "The data set is empty"),
        (iter([([torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)], [0, 1])]), "inputs of batch 0 differ in shape"),
        (iter([(INPUTS, LABELS), INPUTS]), "Some batches come with labels and others without"),
        (iter([(INPUTS, LABELS[:4])]), r"shape \(4,\) for 30 samples"),
        (iter([INPUTS, INPUTS[0]]), "8 rows of features for 3 inputs"),
        (iter([(PIXELS, LABELS)]), "uint8 inputs, which no network takes"),
        (iter([(IMAGES, LABELS)]), "PIL images.*Give the data set itself"),
        (iter([{"a": INPUTS}]), "unclear which of 'a' is the input"),
        (iter([{"x": INPUTS, "image": INPUTS}]), "unclear which of 'x', 'image'"),
        (iter([None]), "inputs of type NoneType"),
        (Items([(torch.zeros(3, 8, 8, dtype=torch.uint8), 0)] * 4), "tensor of uint8"),
        (Items([("a.png", 0)] * 4), "Item 0 holds a str, not an image"),
        (Failing(), "failed at item 3: ValueError: no such image"),
        (DataLoader(Failing(), 2), "The loader failed at batch 1: ValueError: no such image"),
        (Endless(), "Give a DataLoader around it"),
        (INPUTS.permute(0, 2, 3, 1), "channels last"),
        (np.zeros((4, 3, 8, 3), np.uint8), "could be on either side"),
        (np.zeros((4, 8, 8), np.float32), "neither embeddings nor images"),
        (np.zeros((4, 8), np.int64), r"\(4, 8\) int64 is neither"),
        (PIXELS[:1], "1 images: there is nothing to compare"),
        (["a.png", "a.png"], "names a file twice"),
        ([INPUTS[0], INPUTS[1]], "A list of Tensor is no data set"),
        ([], "A list of nothing is no data set"),
        (pd.DataFrame({"file": ["a"]}), "no column 'path', only file"),
        ({"a": 1}, "cannot take data of type dict"),
        (7, "cannot take data of type int"),
        (np.zeros((4, 8), np.float32), "Give None as model"),
    ],
)
def test_data_that_cannot_be_taken_are_refused_in_a_sentence(data: Any, said: str) -> None:
    with pytest.raises((DataError, UsageError), match=said) as caught:
        repdiag.embed(net(), data, preprocessing=HOW)
    assert len(str(caught.value)) < 400


def test_unreadable_files_of_a_list_are_left_out_and_named(tmp_path: Path) -> None:
    paths = files(tmp_path)
    paths[4].write_bytes(b"no image")
    for how in (
        HOW,
        lambda image: torch.from_numpy(np.asarray(image.resize((8, 8))).copy()).permute(2, 0, 1).float(),
    ):
        found = repdiag.embed(net(), (paths, LABELS), preprocessing=how, is_train=np.arange(N) < 6, views=1)
        assert [c.path for c in found.corrupt] == [str(paths[4])]
        assert found.ids[4] == str(paths[5])
        assert found.labels is not None
        assert found.labels.tolist() == [*LABELS[:4], *LABELS[5:]]
        assert found.is_train is not None
        assert found.is_train.sum() == 5
        assert found.views is not None
        assert found.views.rows.min() == 5  # only evaluated samples get views
    paths[5].unlink()
    with pytest.raises(DataError, match="2 of 30 images cannot be read"):
        repdiag.embed(net(), paths, preprocessing=how)
    assert len(repdiag.embed(net(), paths, preprocessing=how, max_corrupt=0.1)) == N - 2


@pytest.mark.parametrize(
    ("model", "data", "more", "said"),
    [
        ("net", "none.npz", {}, "Give None as model|no such file"),
        (None, IMAGES, {}, "There is no model"),
        (None, np.ones((4, 2)), {"layer": "x"}, "layer= need a model"),
        (None, np.ones((4, 2)), {"cache": True}, "cache= need a model"),
        ("net", INPUTS, {"size": 3}, "size= tell how a file is loaded"),
        ("net", INPUTS, {"sizee": 3}, "no keyword 'sizee'. Did you mean 'size'"),
        ("net", INPUTS, {"folds": 3}, "folds belong to repdiag.score"),
        ("net", INPUTS, {"cache": True}, "can be cached"),
        ("net", INPUTS, {"views": -1}, "views must be at least 0"),
        ("net", blobs(), {"unpack": len}, "unpack= is for the batches"),
        ("net", str(FIXTURES / "digits"), {}, "Give preprocessing="),
        ("net", str(FIXTURES / "digits"), {"labels": LABELS}, "A path brings its own labels"),
        ("net", str(FIXTURES / "digits"), {"is_train": LABELS}, "for data in memory, not for a path"),
        ("no/such/file.pt", INPUTS, {}, "no such file"),
        (len, INPUTS, {}, "cannot run a model of type builtin_function_or_method"),
    ],
)
def test_keywords_that_do_not_go_together_are_refused(model: Any, data: Any, more: Any, said: str) -> None:
    with pytest.raises((UsageError, DataError, CheckpointError), match=said):
        repdiag.embed(net() if model == "net" else model, data, **more)


def test_no_keyword_means_two_things() -> None:
    loading, reading, numbers = api.keywords()
    assert {"size", "mean", "key"} <= loading
    assert {"folds", "eps"} <= numbers
    assert len(loading | reading | numbers) == len(loading) + len(reading) + len(numbers)
    named = set(api.score.__kwdefaults__)
    assert not named & (loading | reading | numbers)


# ------------------------------------------------------------------------------------------ whole runs


def test_a_module_and_a_loader_are_scored_written_and_described(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(INPUTS, torch.from_numpy(LABELS)), batch_size=8)
    report = repdiag.score(
        net(), loader, metrics=["probes", "spectrum"], out=tmp_path / "out", folds=3, **FAST
    )
    assert report.config["folds"] == 3
    assert report.encoder["name"] == "Sequential"
    assert report.encoder["preprocessing"]["summary"] == "ready inputs, used as they are"
    assert report.dataset["name"] == "TensorDataset in a DataLoader"
    assert report.timing["total"] >= report.timing["embed"] > 0
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["encoder"]["fingerprint"] == report.encoder["fingerprint"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "TensorDataset in a DataLoader" in page


@pytest.mark.parametrize("data", [PIXELS, Items(pairs())], ids=["array", "data set"])
def test_pictures_in_memory_are_shown_in_the_report(data: Any) -> None:
    report = repdiag.score(net(), data, preprocessing=HOW, metrics=["rankme"], **FAST)
    assert set(report.thumbnails) >= {risky.id for risky in report.exhibits.riskiest}
    assert set(report.thumbnails) <= set(report.samples.columns["id"].tolist())
    assert all(jpeg.startswith(b"\xff\xd8") for jpeg in report.thumbnails.values())


def test_a_checkpoint_takes_what_a_module_takes(tmp_path: Path) -> None:
    """The same encoder, from its file and as a module, on the same pictures: the same embeddings."""
    path = FIXTURES / "encoders" / "simclr.safetensors"
    encoder = repdiag.load_encoder(str(path))
    pictures = [Image.open(p).convert("RGB") for p in sorted((FIXTURES / "digits/test/3").iterdir())[:20]]
    one = repdiag.embed(path, pictures, views=1, size=16)
    two = repdiag.embed(encoder, Items(pictures), views=1)
    three = repdiag.embed(encoder.module, pictures, preprocessing=encoder.preprocessing, views=1)
    for other in (two, three):
        np.testing.assert_allclose(one.features, other.features, rtol=1e-4, atol=1e-5)
        assert one.views is not None
        assert other.views is not None
        np.testing.assert_allclose(one.views.features, other.views.features, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_takes_inputs_of_any_float_type_and_views_by_a_function() -> None:
    path = FIXTURES / "encoders" / "simclr.safetensors"
    x = torch.rand(6, 3, 16, 16) * 2 - 1
    one = repdiag.embed(path, x, views=1, view_transform=lambda t: t.flip(-1))
    two = repdiag.embed(path, x.double().numpy())
    np.testing.assert_array_equal(one.features, two.features)
    folder = FIXTURES / "digits/test/3"
    same = repdiag.embed(path, folder, views=1, view_transform=lambda image: image)
    assert same.views is not None
    np.testing.assert_array_equal(same.views.features[0], same.features[same.views.rows])
    np.testing.assert_allclose(
        same.features, repdiag.embed(path, folder, cache=False).features, rtol=1e-4, atol=1e-5
    )


def test_a_cache_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    first = repdiag.embed(net(), PIXELS, preprocessing=HOW, cache=tmp_path / "cache")
    again = repdiag.embed(net(), PIXELS, preprocessing=HOW, cache=tmp_path / "cache")
    assert first.provenance["run"]["rows_reused"] == 0
    assert again.provenance["run"]["rows_reused"] == N
    changed = PIXELS.copy()
    changed[0, 0, 0, 0] ^= 1
    other = repdiag.embed(net(), changed, preprocessing=HOW, cache=tmp_path / "cache")
    assert other.provenance["run"]["rows_reused"] == 0


def test_data_in_memory_leave_nothing_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "default"))
    repdiag.embed(net(), PIXELS, preprocessing=HOW)
    repdiag.embed(net(), str(FIXTURES / "digits/test/3"), preprocessing=HOW)
    assert not (tmp_path / "default").exists()
    repdiag.embed(FIXTURES / "encoders/simclr.safetensors", FIXTURES / "digits/test/3")
    assert (tmp_path / "default").exists()


def test_what_can_be_known_before_the_work_is_said_before_it(tmp_path: Path) -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("the model was run")

    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no metric or family 'rankmee'"):
        repdiag.score(Never(), INPUTS, metrics=["rankmee"])
    with pytest.raises(OutputError):
        repdiag.score(Never(), INPUTS, out=tmp_path / "file")


def test_embeddings_are_scored_without_a_model(tmp_path: Path) -> None:
    data = blobs()
    report = repdiag.score(None, (data.features, data.labels), metrics=["cdnv"], **FAST)
    same = repdiag.score("-", data, metrics="cdnv", **FAST)
    found, again = report.value("cdnv"), same.value("cdnv")
    assert found is not None
    assert again is not None
    assert found.value == again.value
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        repdiag.score(None, data, metrics=["cdnv"], out=tmp_path / "file", **FAST)
