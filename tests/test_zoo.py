"""The zoo's nine methods train, stop, go on and are saved for repdiag; its views and its table are as they say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FIXTURES, ROOT

pytest.importorskip("lightly", reason="the zoo is trained with lightly, which the extra 'tune' installs")
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # where `python -m benchmarks.zoo.train` runs

from benchmarks.zoo import images, loop, methods, train, views
from benchmarks.zoo import score as scoring
from benchmarks.zoo.backbone import ResNet18, normalize
from repdiag import load_encoder
from repdiag.errors import UsageError
from repdiag.types import MetricResult, Skipped

CPU = torch.device("cpu")
FOLLOWERS = {"moco", "byol", "dino"}


def pool(n: int = 64, seed: int = 0) -> images.Pool:
    """Smooth random images, so that crops of one have something in common."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    pixels = (torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1) * 255).byte()
    return images.Pool(pixels, torch.arange(n) % 4, 4, images.digests(pixels.numpy()))


def toy(epochs: int = 1) -> loop.Settings:
    """Batches of 16: four steps an epoch on 64 images."""
    return loop.Settings(epochs, batch_size=16, width=4)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """With more, their number decides the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --------------------------------------------------------------------------------------------- views


def batch(n: int = 32) -> torch.Tensor:
    return pool(n).images


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_views_keep_shape_and_range_and_come_from_the_seed_alone() -> None:
    x, draws = batch(), generator()
    first, second = views.view(x, draws), views.view(x, draws)
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1
    assert torch.equal(first, views.view(x, generator()))
    assert ((first - second).abs().amax((1, 2, 3)) > 0.01).all(), "an image has the same view twice"


def test_each_image_of_a_batch_gets_a_view_of_its_own() -> None:
    same = batch(1).expand(32, -1, -1, -1)
    found = views.view(same, generator()).flatten(1)
    assert (torch.pdist(found) > 0.1).all()


# --------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("name", methods.RECIPES)
def test_a_method_trains_its_backbone_and_the_saved_file_is_that_backbone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[loop.Run] = []
    steps, whole = [], loop.one_epoch

    def watched(run: loop.Run, *rest: object) -> float:
        kept.append(run)
        steps.append(whole(run, *rest))  # type: ignore[arg-type]
        return steps[-1]

    monkeypatch.setattr(loop, "one_epoch", watched)
    path = loop.train(name, pool(), toy(), tmp_path, CPU, lambda line: None)
    backbone = kept[0].method.backbone
    assert np.isfinite(steps).all()
    torch.manual_seed(0)
    start = ResNet18(4)
    for (part, now), before in zip(backbone.named_parameters(), start.parameters(), strict=True):
        assert not torch.equal(now, before), f"{part} did not move"
        assert now.grad is not None, f"{part} has no gradient"
        assert now.grad.abs().sum() > 0, f"{part} has no gradient"
    slow = {n: p for n, p in kept[0].method.named_parameters() if n.startswith("slow_")}
    assert bool(slow) == (name in FOLLOWERS)
    assert all(p.grad is None and not p.requires_grad for p in slow.values())
    for part, tensor in slow.items():  # they have left the start, and are not the online network
        if part.startswith("slow_backbone.") and tensor.ndim > 1:
            plain = part.removeprefix("slow_backbone.")
            assert not torch.equal(tensor, dict(start.named_parameters())[plain])
            assert not torch.equal(tensor, dict(backbone.named_parameters())[plain])

    encoder = load_encoder(str(path))
    x = normalize(batch(8).float() / 255)
    with torch.inference_mode():
        expected = backbone.eval()(x)
        found = encoder.module.eval()(x)
    assert found.shape == (8, 32)
    assert torch.equal(found, expected)
    assert encoder.preprocessing.size == 32
    assert not encoder.loading.warnings


@pytest.mark.parametrize("name", ["moco", "dino", "vicreg"])
def test_a_run_that_was_stopped_ends_with_the_very_weights_of_one_that_was_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = loop.train(name, pool(), toy(3), tmp_path / "a", CPU, lambda line: None).read_bytes()
    whole = loop.one_epoch

    def stopped(run: loop.Run, *rest: object) -> float:
        if run.done == 2:
            raise KeyboardInterrupt
        return whole(run, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "one_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            loop.train(name, pool(), toy(3), tmp_path / "b", CPU, lambda line: None, pause=0)
    assert [p.name for p in (tmp_path / "b").iterdir()] == [f"{name}.checkpoint"]
    with pytest.raises(UsageError, match="another run"):
        loop.train(name, pool(seed=1), toy(3), tmp_path / "b", CPU, lambda line: None)
    told: list[str] = []
    resumed = loop.train(name, pool(), toy(3), tmp_path / "b", CPU, told.append)
    assert told[0] == f"{name}: goes on after epoch 2"
    assert resumed.read_bytes() == straight
    assert [p.name for p in (tmp_path / "b").iterdir()] == [f"{name}.safetensors"]
    other = loop.Settings(3, batch_size=16, width=4, seed=1)
    assert loop.train(name, pool(), other, tmp_path / "c", CPU, lambda line: None).read_bytes() != straight


def test_a_finished_encoder_is_left_alone_and_one_of_another_run_is_not_taken_for_it(tmp_path: Path) -> None:
    path = loop.train(methods.RANDOM, pool(), toy(), tmp_path, CPU, lambda line: None)
    made = path.stat().st_mtime_ns
    told: list[str] = []
    loop.train(methods.RANDOM, pool(), toy(), tmp_path, CPU, told.append)
    assert path.stat().st_mtime_ns == made
    assert "there already" in told[0]
    with pytest.raises(UsageError, match="another run"):
        loop.train(methods.RANDOM, pool(seed=1), toy(), tmp_path, CPU, told.append)


def test_collapse_is_measured_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noise(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.randn(len(x), 32, generator=generator())

    assert loop.spread(Noise(), batch(64)) == pytest.approx(1, abs=0.05)
    backbone = ResNet18(4)
    assert loop.spread(backbone, batch(64)) > loop.COLLAPSED
    assert loop.spread(backbone, batch(1).expand(64, -1, -1, -1)) < 1e-4
    monkeypatch.setattr(loop, "COLLAPSED", 2.0)
    told: list[str] = []
    loop.train("supervised", pool(), toy(), tmp_path, CPU, told.append)
    assert any("COLLAPSED" in line for line in told)


def test_supervised_training_learns_what_is_there(tmp_path: Path) -> None:
    """Four classes that a color tells: the loss falls far below log 4, and a wrong objective would not."""
    shades = torch.tensor([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]], dtype=torch.uint8)
    noise = torch.randint(0, 40, (64, 3, 32, 32), generator=generator()).byte()
    x = shades[torch.arange(64) % 4].view(64, 3, 1, 1) + noise
    colored = images.Pool(x, torch.arange(64) % 4, 4, images.digests(x.numpy()))
    told: list[str] = []
    loop.train("supervised", colored, toy(12), tmp_path, CPU, told.append)
    first, last = (float(told[i].split("loss ")[1].split(",")[0]) for i in (0, 11))
    assert last < 0.75 * first


# --------------------------------------------------------------------------------------------- command lines


def test_the_command_trains_on_one_part_and_scores_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "cache"))
    zoo, digits = tmp_path / "zoo", str(FIXTURES / "digits" / "train")
    common = ["--data", digits, "--out", str(zoo), "--limit", "40", "--epochs", "1", "--width", "4"]
    assert train.main([*common, "--hold-out", "0.2", "--methods", "supervised,random"]) == 0
    said = json.loads((zoo / "pool.json").read_text())
    held = (zoo / "held-out.csv").read_text().splitlines()
    assert said["images"] == len(said["digests"]) == 40
    assert len(held) == 1 + 240  # a fifth of 1,197, rounded up
    assert "supervised: epoch 1/1, loss" in capsys.readouterr().err

    list_of_held = str(zoo / "held-out.csv")
    assert scoring.main([str(zoo), "--data", list_of_held, "--root", digits]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("of whose images 0.00% were trained on.")
    assert lines[2].startswith("| encoder | linear probe | kNN |")
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| supervised", "| random"]
    report = json.loads((zoo / "scores/held-out/random/report.json").read_text())
    knn = next(m["outcome"]["value"] for m in report["measurements"] if m["name"] == "knn_accuracy")
    assert f"| {knn:.1%} [" in lines[5]
    assert report["dataset"]["samples"] == 240

    assert scoring.main([str(zoo), "--data", digits]) == UsageError.exit_code
    assert "were trained on 3% of these images" in capsys.readouterr().err


def test_the_table_says_why_a_cell_is_empty() -> None:
    class Stub:
        def value(self, metric: str) -> MetricResult | None:
            return (
                None if metric == "qscore_auroc" else MetricResult(0.5, parameters={"kept": 0.6}, table=ROW)
            )

        def measurement(self, metric: str) -> object:
            return type("M", (), {"outcome": Skipped("Q is defined nowhere")})

    ROW = ({"kept": 1.0}, {"kept": 0.6, "gain": 0.012, "gain_low": -0.001, "gain_high": 0.02})
    lines = list(scoring.rows(iter([("byol", Stub())])))  # type: ignore[list-item]
    cells = lines[2].split(" | ")
    assert cells[0] == "| byol"
    assert cells[1] == "50.0%"
    assert cells[8] == ""
    assert cells[10] == "+1.2 [-0.1, +2.0] |"
    assert lines[-1] == "byol, Q AUROC: Q is defined nowhere."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "simclr,jigsaw"], "no method 'jigsaw'"),
        (["--epochs", "0"], "at least 1"),
        (["--hold-out", "0.9999"], "cannot be divided"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(FIXTURES / "digits" / "train"), "--out", str(tmp_path)]
    assert train.main([*data, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_images_are_read_as_repdiag_reads_them_and_the_split_is_stratified() -> None:
    data = str(FIXTURES / "digits")
    found, listed = images.read_pool(data, hold_out=0.5, seed=3)
    again, _ = images.read_pool(data, hold_out=0.5, seed=3)
    assert found.fingerprint == again.fingerprint
    assert found.fingerprint != images.read_pool(data, hold_out=0.5, seed=4)[0].fingerprint
    assert found.images.shape == (598, 3, 32, 32)  # half of the 1,197 of train/
    assert "test/" not in listed
    assert np.ptp(np.bincount(found.labels)) <= 6
    share: Callable[..., float] = images.trained_on
    assert share(data, None, frozenset(found.digests)) == 0.0  # test/ is what is scored
    assert share(str(FIXTURES / "digits/train"), None, frozenset(found.digests)) == pytest.approx(
        0.5, abs=0.01
    )
