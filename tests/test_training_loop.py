"""The loop against a literal one, and what all arms share."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sample_training import (
    DIM,
    HOW,
    QSCORE,
    ProbeParameters,
    ProbeRegularizer,
    encoder,
    images,
    job,
    network,
    probe,
)
from torch import Tensor, nn

from repdiag.checkpoints.program import Program
from repdiag.encoders import Encoder, Loading
from repdiag.encoders.chosen import choose
from repdiag.encoders.features import network_of
from repdiag.encoders.weights import OWN, Pooled
from repdiag.encoders.wrap import Guest, wrap
from repdiag.errors import DataError, RepdiagError, UsageError
from repdiag.objectives.contract import BASES, Outputs
from repdiag.objectives.parameters import NoneParameters, ReSAParameters
from repdiag.training import loop, networks, sight, state, step
from repdiag.training.augment import apply, augmentations, draw, normalize
from repdiag.training.course import CLOCK
from repdiag.training.job import TrainJob
from repdiag.training.loop import train
from repdiag.training.optim import rate
from repdiag.training.schedule import schedule
from repdiag.training.seeds import seed_of

__all__ = ["probe"]


def same(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_steps_are_those_of_a_literal_loop(tmp_path: Path, parts: int) -> None:
    """Order, views, loss as the mean over parts, schedule and SGD, written out plainly."""
    chosen = job(tmp_path, accumulate=parts, head_epochs=0.0, validation=None, lr=0.1, weight_decay=0.0)
    config = chosen.config
    found = train(chosen)
    plan = schedule(config, len(chosen.images), 1, 0, warm_up=False)
    net = copy.deepcopy(chosen.encoder.module).requires_grad_(True).train()
    torch.manual_seed(seed_of(0, "heads"))
    base = BASES.get("simclr")(DIM)
    learned = [*net.parameters(), *base.parameters()]
    momenta = [torch.zeros_like(p) for p in learned]
    for number in range(6):
        epoch, place = divmod(number, 3)
        order = torch.randperm(
            28, generator=torch.Generator().manual_seed(seed_of(0, "order", "train", epoch))
        )
        rows = order[8 * place : 8 * place + 8]
        generator = torch.Generator().manual_seed(seed_of(0, "views", "train", number))
        draws = [draw(8, how, generator) for how in augmentations(config, HOW)]
        loss: Any = 0
        for part in range(parts):
            piece = slice(part * 8 // parts, (part + 1) * 8 // parts)
            squares = next(chosen.images.batches([rows[piece]]))
            torch.manual_seed(seed_of(seed_of(0, "noise", "train", number, part), "encoder", 0))
            views = [
                normalize(apply(squares, d.rows(piece), a), HOW)
                for d, a in zip(draws, augmentations(config, HOW), strict=True)
            ]
            features = tuple(net(view) for view in views)
            loss = loss + base.loss(Outputs(features, base.heads(features), rows[piece])) / parts
        gradients = torch.autograd.grad(loss, learned)
        lr = rate(number, 6, round(0.5 * 3), 0.1, 0.0)
        with torch.no_grad():
            for p, g, m in zip(learned, gradients, momenta, strict=True):
                m.mul_(0.9).add_(g)
                p.sub_(lr * m)
    assert plan.steps("train") == 6
    for name, tensor in network_of(net).state_dict().items():
        torch.testing.assert_close(found.state[name], tensor, rtol=1e-4, atol=1e-5)
    moved = max(float((found.state[k] - v).abs().max()) for k, v in network().state_dict().items())
    assert moved > 1e-3  # so that the comparison says something


def test_the_result_is_a_new_encoder_and_the_old_one_is_untouched(tmp_path: Path) -> None:
    given = encoder()
    before = copy.deepcopy(given.module.state_dict())
    random = torch.get_rng_state()
    found = train(job(tmp_path, encoder=given, ema=0.5))
    assert same(given.module.state_dict(), before)
    assert not any(p.requires_grad for p in given.module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    new = found.encoder
    assert new.name == given.name
    assert new.fingerprint != given.fingerprint
    assert not new.module.training
    assert not any(p.requires_grad for p in new.module.parameters())
    assert same(network_of(new.module).state_dict(), dict(found.state))
    x = torch.randn(3, 3, 8, 8)
    assert not torch.allclose(new.module(x), given.module(x), atol=1e-3)
    assert found.projector is not None
    assert found.log.columns["epoch"].tolist() == [0, 1, 2]
    assert found.log.columns["step"].tolist() == [0, 3, 6]
    assert found.facts["steps"] == 6
    assert found.facts["head_steps"] == 3
    assert found.facts["stopped_by"] == ""


def test_a_finished_run_is_given_back_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(job(tmp_path, QSCORE))
    monkeypatch.setattr(loop, "build", None)
    again = train(job(tmp_path, QSCORE))
    assert again.encoder.fingerprint == first.encoder.fingerprint
    assert same(dict(again.state), dict(first.state))
    assert same(dict(again.projector or {}), dict(first.projector or {}))
    assert again.facts == first.facts
    for name, column in first.log.columns.items():
        np.testing.assert_array_equal(again.log.columns[name], column)
    assert not (tmp_path / state.STATE).exists()
    with pytest.raises(UsageError, match="other configuration was begun here"):
        train(job(tmp_path, QSCORE, lr=0.01))


# ------------------------------------------------------------------------------------------- arms


def watched(monkeypatch: pytest.MonkeyPatch, chosen: TrainJob) -> dict[str, Any]:
    """Train, and note every view of two-view batches and the heads at the start and after the warm-up."""
    seen: dict[str, Any] = {"views": [], "heads": []}
    views, start, made = sight.Sight.views, loop._Loop._start, networks.build

    def view(self: Any, squares: Tensor, draws: Any, how: Any) -> list[Tensor]:
        given = views(self, squares, draws, how)
        if len(given) == 2:
            seen["views"] += given
        return given

    def build(chosen: TrainJob) -> networks.Networks:
        nets = made(chosen)
        seen["heads"].append(copy.deepcopy(nets.base.state_dict()))
        return nets

    def started(self: Any) -> None:
        seen["heads"].append(copy.deepcopy(self.nets.base.state_dict()))
        seen["encoder"] = copy.deepcopy(self.nets.encoder.state_dict())
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(sight.Sight, "views", view)
        patch.setattr(loop, "build", build)
        patch.setattr(loop._Loop, "_start", started)
        seen["trained"] = train(chosen)
    return seen


def test_arms_share_images_views_and_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the heads after the warm-up: a regularizer whose loss looks at projections does not train them."""
    control = watched(monkeypatch, job(tmp_path / "a", base="byol"))
    arm = watched(monkeypatch, job(tmp_path / "b", ReSAParameters(hidden=8, out=4), base="byol"))
    other = watched(monkeypatch, job(tmp_path / "c", base="byol", seed=1))
    assert len(control["views"]) == len(arm["views"]) > 18
    assert all(torch.equal(a, b) for a, b in zip(control["views"], arm["views"], strict=True))
    assert not torch.equal(control["views"][0], other["views"][0])
    for a, b, c in zip(control["heads"], arm["heads"], other["heads"], strict=True):
        assert same(a, b)
        assert not same(a, c)
    assert not same(*control["heads"])  # the warm-up did something
    assert same(control["encoder"], encoder().module.state_dict())  # and left the encoder alone
    assert not same(dict(control["trained"].state), dict(arm["trained"].state))


def test_what_a_regularizer_asks_for_costs_the_encoder_nothing(
    tmp_path: Path, probe: type[ProbeRegularizer]
) -> None:
    """With all needs and a term of weight 0 the weights are the control's, bit for bit, batch statistics too."""
    control = train(job(tmp_path / "a", NoneParameters(), head_epochs=0.0))
    arm = train(job(tmp_path / "b", ProbeParameters(), head_epochs=0.0))
    assert same(dict(control.state), dict(arm.state))
    moved = train(job(tmp_path / "c", ProbeParameters(weight=0.1), head_epochs=0.0))
    assert not same(dict(control.state), dict(moved.state))


@pytest.mark.parametrize("reference", ["images", "views"])
def test_a_regularizer_gets_what_it_needs(
    tmp_path: Path, probe: type[ProbeRegularizer], reference: str
) -> None:
    chosen = job(tmp_path, ProbeParameters(weight=0.01, reference=reference), accumulate=2)
    train(chosen)
    plain = chosen.encoder.module
    clean = normalize(chosen.images.clean(torch.arange(28)).float() / 255, HOW)
    assert len(probe.seen) == 2 * (3 + 6)
    for outputs in probe.seen:
        assert [tuple(h.shape) for h in outputs.features] == [(4, DIM)] * 2
        assert [tuple(h.shape) for h in outputs.momentum] == [(4, DIM)] * 2
        assert outputs.weak is not None
        assert outputs.weak.shape == (4, DIM)
        others = (*outputs.momentum, outputs.weak, *outputs.reference)
        assert not any(one.requires_grad for one in others)
        if reference == "images":
            torch.testing.assert_close(outputs.reference[0], plain(clean[outputs.rows]))
            assert outputs.reference[0] is outputs.reference[1]
        else:
            assert not torch.equal(*outputs.reference)
    warm, trained = probe.seen[:6], probe.seen[6:]
    assert not any(one.features[0].requires_grad for one in warm)
    assert all(one.features[0].requires_grad for one in trained)
    # not (yet) moved, and in eval mode: the slow encoder sees what the encoder sees
    assert all(torch.equal(a, b) for one in warm for a, b in zip(one.features, one.momentum, strict=True))
    assert [one.progress for one in trained] == [i / 6 for i in range(6) for _ in range(2)]
    assert [epoch for epoch, _ in probe.epochs] == [0, 1]
    torch.testing.assert_close(probe.epochs[0][1], plain(clean))
    assert len({tuple(one.rows.tolist()) for one in trained}) == 12
    assert sorted(torch.cat([one.rows for one in trained[:6]]).unique().tolist()) == sorted(
        torch.cat([one.rows for one in trained[:6]]).tolist()
    )  # no image twice in an epoch
    assert probe.followed[:3] == [0.9] * 3
    assert probe.followed[3] == 0.9 < probe.followed[-1] < 1


# -------------------------------------------------------------------------------------- batch norm, EMA


def statistics(tensors: Any) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if "running" in name}


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_frozen_batch_norms_keep_their_statistics(tmp_path: Path, mode: str) -> None:
    found = train(job(tmp_path, batch_norm=mode))
    kept = same(statistics(found.state), statistics(network().state_dict()))
    assert kept == (mode == "frozen")
    assert not torch.equal(found.state["1.weight"], network().state_dict()["1.weight"])


def test_the_average_of_the_weights_is_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [network().state_dict()["0.weight"]]
    follow = step.Stepper._follow

    def followed(self: step.Stepper, heads_only: bool, progress: float) -> None:
        follow(self, heads_only, progress)
        if not heads_only:
            weights.append(network_of(self.nets.encoder).get_parameter("0.weight").detach().clone())

    monkeypatch.setattr(step.Stepper, "_follow", followed)
    found = train(job(tmp_path, ema=0.8))
    average = weights[0]
    for one in weights[1:]:
        average = 0.8 * average + 0.2 * one
    torch.testing.assert_close(found.state["0.weight"], average)
    assert not torch.allclose(average, weights[-1])


def test_clipping_bounds_the_gradient() -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    assert float(step.clipped(gradients, 0.0)) == 5.0
    assert gradients[1].item() == 4.0
    assert float(step.clipped(gradients, 1.0)) == 5.0
    torch.testing.assert_close(gradients[0], torch.tensor([0.6, 0.0]))
    assert float(step.clipped(gradients, 1.0)) == pytest.approx(1.0)
    torch.testing.assert_close(gradients[1], torch.tensor([[0.8]]))
    assert float(step.clipped([], 1.0)) == 0


# -------------------------------------------------------------------------------------- what cannot be


def test_fewer_images_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    found = train(job(tmp_path, images=images(5), accumulate=2, validation=None))
    assert found.facts["batch"] == 4
    assert found.facts["steps"] == 2
    assert np.isnan(found.log.columns["held_out"]).all()


def broken(kind: str) -> dict[str, Any]:
    if kind == "one image":
        return {"images": images(1)}
    if kind == "crops":
        return {"views": 4}
    if kind == "labels":
        return {"base": "supcon"}
    net = network().eval()
    if kind == "program":
        made: nn.Module = Program(net, None)
    elif kind == "frozen script":
        made = torch.jit.freeze(torch.jit.script(net))
    elif kind == "no gradient":
        made = NoGradient(net)
    else:
        return {"encoder": wrap(Guest(net), HOW)}
    return {"encoder": Encoder(Pooled(made, OWN).eval(), "tiny", "tiny", DIM, HOW, "", Loading("a test"))}


class NoGradient(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("one image", DataError, "There are 1 image"),
        ("crops", UsageError, "simclr takes two views, not 4"),
        ("labels", UsageError, "supcon needs labels"),
        ("program", UsageError, "an exported program, which cannot be trained"),
        ("frozen script", UsageError, "tiny has no weights that could learn"),
        ("no gradient", UsageError, "tiny gives features without a gradient"),
        ("guest", UsageError, "a module in memory, which repdiag does not train"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_what_cannot_be_trained_is_told_in_a_sentence(
    tmp_path: Path, kind: str, error: type[RepdiagError], said: str
) -> None:
    with pytest.raises(error, match=said):
        train(job(tmp_path, **broken(kind)))
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_cannot_be_divided_among_processes() -> None:
    chosen = job(Path(), accumulate=4)
    assert [list(s) for s in zip(*schedule(chosen.config, 28, 2, 1, False).slices(), strict=True)] == [
        [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)],
        [slice(1, 2), slice(3, 4), slice(5, 6), slice(7, 8)],
    ]
    with pytest.raises(UsageError, match="multiple of 12"):
        schedule(chosen.config, 28, 3, 0, False)


def test_chosen_columns_of_an_encoder_are_tuned_as_such(tmp_path: Path) -> None:
    cut = choose(encoder(), [3, 1, 4, 15, 9, 2])
    found = train(job(tmp_path, encoder=cut))
    assert found.encoder.dim == 6
    assert found.encoder.fingerprint != cut.fingerprint
    assert same(dict(found.state), network_of(found.encoder.module).state_dict())
    assert "index" not in found.state
    x = torch.randn(2, 3, 8, 8)
    whole = network_of(found.encoder.module)(x)
    torch.testing.assert_close(found.encoder.module(x), whole[:, [3, 1, 4, 15, 9, 2]])


def test_supervised_small_crops_and_streams(tmp_path: Path) -> None:
    """Labels reach the base; more views than two; images that do not fit into memory give the same run."""
    labeled = train(job(tmp_path / "a", base="supcon", images=images(labels=True), validation=None))
    plain = train(job(tmp_path / "b", validation=None))
    assert not same(dict(labeled.state), dict(plain.state))
    held, streamed = (
        train(job(tmp_path / str(m), base="swav", views=3, images=images(memory=m), validation=None))
        for m in (1.0, 0.0)
    )
    assert same(dict(held.state), dict(streamed.state))


def test_the_log_has_one_row_an_epoch(tmp_path: Path) -> None:
    found = train(job(tmp_path, dataclasses.replace(QSCORE, lambda2=0.01)))
    columns = found.log.columns
    terms = columns["term.lambda1"] + columns["term.lambda2"]
    np.testing.assert_allclose(columns["loss"], columns["base"] + terms)
    assert columns["lr"][0] == 0.1
    assert columns["lr"][-1] == 0.0
    assert (columns["gradient_norm"] > 0).all()
    assert np.isfinite(columns["held_out"]).all()
    assert columns["usage"][0] == 1
    assert set(CLOCK) < set(columns)
    assert "fact.q_score" in columns
