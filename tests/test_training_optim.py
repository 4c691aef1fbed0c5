"""Rates, optimizers and slow copies do what their formulas say."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from torch import nn

from repdiag.errors import UsageError
from repdiag.training.config import TuneConfig
from repdiag.training.optim import drift, momentum_at, optimizer, rate, set_rate


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def config(**changes: Any) -> TuneConfig:
    return TuneConfig(**{"optimizer": "sgd", "lr": 0.1, **changes})


# -------------------------------------------------------------------------------------------------- rate


def test_the_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    found = [rate(step, 13, 4, 2.0, 0.5) for step in range(13)]
    assert found[:4] == [0.5, 1.0, 1.5, 2.0]
    assert found[3:] == pytest.approx([0.5 + 1.5 * (1 + math.cos(math.pi * k / 9)) / 2 for k in range(10)])
    assert found[-1] == 0.5
    assert sorted(found[3:], reverse=True) == found[3:]


@pytest.mark.parametrize(
    ("steps", "warmup", "expected"),
    [
        (3, 0, [1.0, 0.5, 0.0]),
        (3, 1, [1.0, 0.5, 0.0]),
        (4, 100, [0.5, 1.0, 0.5, 0.0]),  # cut to half of the training
        (1, 5, [1.0]),
        (2, 1, [1.0, 0.0]),
    ],
)
def test_short_trainings_reach_the_peak_too(steps: int, warmup: int, expected: list[float]) -> None:
    assert [rate(step, steps, warmup, 1.0, 0.0) for step in range(steps)] == pytest.approx(expected)


@pytest.mark.parametrize("step", [-1, 5])
def test_there_is_no_rate_outside_the_training(step: int) -> None:
    with pytest.raises(ValueError, match="no step"):
        rate(step, 5, 1, 1.0, 0.0)


def test_a_rate_is_given_to_all_groups() -> None:
    made = optimizer(config(), [net()])
    set_rate(made, 0.25)
    assert [group["lr"] for group in made.param_groups] == [0.25, 0.25]


# ------------------------------------------------------------------------------------------- optimizers


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_biases_and_norms_do_not_decay_and_frozen_parameters_are_left_out(name: str) -> None:
    if name == "lars":
        pytest.importorskip("lightly")
    first, head = net(), nn.Linear(2, 2)
    first[0].weight.requires_grad_(False)
    made = optimizer(config(optimizer=name, weight_decay=0.3), [first, head, first[3]])
    assert type(made).__name__.lower() == name
    by_decay = {group["weight_decay"]: {id(p) for p in group["params"]} for group in made.param_groups}
    assert by_decay[0.3] == {id(first[3].weight), id(head.weight)}
    norms = (first[0].bias, first[1].weight, first[1].bias, first[3].bias, head.bias)
    assert by_decay[0.0] == {id(p) for p in norms}
    with pytest.raises(UsageError, match="Nothing is left to train"):
        optimizer(config(optimizer=name), [nn.Linear(2, 2).requires_grad_(False), nn.Flatten()])


def test_sgd_takes_two_steps_as_by_hand() -> None:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
    made = optimizer(config(lr=0.1, momentum=0.5, weight_decay=0.2), [layer])
    for _ in range(2):
        layer.weight.grad, layer.bias.grad = torch.ones(1, 1), torch.ones(1)
        made.step()
    # weight: v = 1 + 0.2 * 2 = 1.4, w = 1.86; v = 0.7 + 1 + 0.372 = 2.072, w = 1.6528. bias: 1 - 0.1 - 0.15.
    assert layer.weight.item() == pytest.approx(1.6528)
    assert layer.bias.item() == pytest.approx(0.75)


@pytest.mark.parametrize("decay", [0.0, 1e-6, 0.1])
def test_lars_moves_a_weight_by_a_share_of_its_length_whatever_the_gradient(decay: float) -> None:
    """With a weight decay of 0 as well, which lightly's takes for no adaptation."""
    pytest.importorskip("lightly")
    moved = []
    for scale in (1.0, 1000.0):
        layer = net()[3]
        before = layer.weight.detach().clone()
        bias = layer.bias.detach().clone()
        made = optimizer(config(optimizer="lars", lr=2.0, weight_decay=decay), [layer])
        generator = torch.Generator().manual_seed(0)
        layer.weight.grad = scale * torch.randn(2, 16, generator=generator)
        layer.bias.grad = scale * torch.ones(2)
        gradient, length = layer.weight.grad + decay * before, before.norm()
        step = 2.0 * 0.001 * length / (layer.weight.grad.norm() + decay * length) * gradient
        made.step()
        assert torch.allclose(layer.weight, before - step, atol=1e-7)
        assert torch.allclose(layer.bias, bias - 2.0 * scale)  # as under SGD
        moved.append(float((layer.weight.detach() - before).norm() / length))
    assert moved[0] == pytest.approx(0.002, rel=0.05)
    assert moved[0] == pytest.approx(moved[1], rel=0.05)


def test_lars_without_lightly_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name.startswith("lightly"):
            raise ModuleNotFoundError(f"No module named '{name}'", name="lightly")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'repdiag\[tune\]'"):
        optimizer(config(optimizer="lars"), [net()])
    assert optimizer(config(), [net()]), "sgd needs no lightly"


# -------------------------------------------------------------------------------------------- slow copies


def test_a_slow_network_follows_and_its_buffers_are_copied() -> None:
    slow, online = net(1), net(2)
    online[1].running_mean.fill_(3.0)
    online[1].num_batches_tracked.fill_(7)
    expected = [
        0.9 * s.detach() + 0.1 * o.detach()
        for s, o in zip(slow.parameters(), online.parameters(), strict=True)
    ]
    untouched = [p.detach().clone() for p in online.parameters()]
    drift(slow, online, 0.9)
    for found, wanted in zip(slow.parameters(), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-7)
    assert all(torch.equal(p, q) for p, q in zip(online.parameters(), untouched, strict=True))
    assert (slow[1].running_mean == 3).all()
    assert int(slow[1].num_batches_tracked) == 7
    before = [p.detach().clone() for p in slow.parameters()]
    drift(slow, online, 1.0)
    assert all(torch.equal(p, q) for p, q in zip(slow.parameters(), before, strict=True))
    drift(slow, online, 0.0)
    assert all(torch.equal(p, q) for p, q in zip(slow.parameters(), online.parameters(), strict=True))
    drift(nn.Flatten(), nn.Flatten(), 0.5)  # nothing to do


def test_networks_of_two_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        drift(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)


def test_momentum_rises_to_one_along_a_cosine() -> None:
    assert momentum_at(0.99, 0.0, False) == pytest.approx(0.99)
    assert momentum_at(0.99, 0.5, False) == pytest.approx(0.995)
    assert momentum_at(0.99, 1.0, False) == 1.0
    assert momentum_at(0.99, 0.7, True) == 0.99
