"""What stops a run, and what is kept then."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sample_training import ProbeParameters, ProbeRegularizer, encoder, images, job, probe

from repdiag.errors import InputError, ResourceError
from repdiag.training import guards, loop, state, step
from repdiag.training.guards import check_finite, collapse, effective_rank, health
from repdiag.training.held_out import held_out
from repdiag.training.loop import train

__all__ = ["probe"]


# ------------------------------------------------------------------------------------------- not finite


def test_a_term_that_is_no_number_stops_before_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: type[ProbeRegularizer]
) -> None:
    weights: list[dict[str, Any]] = []
    check = step.check_finite

    def checked(*told: Any) -> None:
        weights.append(copy.deepcopy(chosen_nets[0].encoder.state_dict()))
        check(*told)

    chosen_nets: list[Any] = []
    build = loop.build

    def built(chosen: Any) -> Any:
        chosen_nets.append(build(chosen))
        return chosen_nets[-1]

    monkeypatch.setattr(step, "check_finite", checked)
    monkeypatch.setattr(loop, "build", built)
    with pytest.raises(InputError) as told:
        train(job(tmp_path, ProbeParameters(weight=0.1, nan_at=7)))
    assert "diverged in epoch 2 of 2, step 5 of 6: the loss (term.pull) is no longer finite" in str(
        told.value
    )
    assert "Lower --lr" in str(told.value)
    after = chosen_nets[0].encoder.state_dict()
    for name, tensor in chosen_nets[0].encoder.named_parameters():
        assert torch.equal(tensor, weights[-1][name])
        assert bool(after[name].isfinite().all())
    known = torch.load(tmp_path / state.STATE, weights_only=True)
    assert known["course"]["step"] == 3  # the last good epoch
    assert known["course"]["kept"]["epoch"] == 1
    assert not (tmp_path / state.DONE).exists()


def test_a_gradient_that_is_no_number_is_told_from_a_loss() -> None:
    check_finite({"base": 1.0}, 2.0, "epoch 1", Path("run"))
    with pytest.raises(InputError, match=r"epoch 1: the gradient is no longer finite"):
        check_finite({"base": 1.0}, math.inf, "epoch 1", Path("run"))
    with pytest.raises(InputError, match=r"the loss \(base, term.x\)"):
        check_finite({"base": math.nan, "term.x": -math.inf}, 1.0, "epoch 1", Path("run"))


def test_a_rate_that_is_far_too_high_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Training diverged in epoch"):
        train(job(tmp_path, lr=1e30, warmup_epochs=0.0, epochs=4))


# --------------------------------------------------------------------------------------------- collapse


def test_the_rank_is_that_of_unit_rows() -> None:
    rows = torch.eye(6).repeat(3, 1) * torch.arange(1, 19).view(-1, 1)
    assert effective_rank(rows) == pytest.approx(6, rel=1e-4)
    assert effective_rank(torch.ones(9, 4)) == pytest.approx(1, abs=1e-4)
    assert effective_rank(torch.zeros(9, 4)) == 0
    assert effective_rank(torch.full((9, 4), float("nan"))) == 0
    # against singular values, with more features than rows and with fewer
    for shape in ((40, 8), (8, 40)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        s = np.linalg.svd((x / x.norm(dim=1, keepdim=True)).numpy(), compute_uv=False)
        p = s / s.sum() + 1e-7
        assert effective_rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)


def test_usage_counts_features_that_varied_and_still_do() -> None:
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    x[:, 0] = 3.0  # never varied: not counted
    was = guards.before(x)
    assert health(x, was).usage == 1
    now = x.clone()
    now[:, :4] = 1.0
    assert health(now, was).usage == pytest.approx(4 / 7)
    assert health(5e-4 * x, was).usage == 0
    assert health(2e-3 * x, was).usage == 1
    constant = torch.ones(10, 3)
    assert health(constant, guards.before(constant)).usage == 1


def test_what_is_called_a_collapse() -> None:
    config = job(Path(), collapse_rank=0.1, collapse_usage=0.5).config
    was = guards.Before(50.0, torch.ones(4))
    assert collapse(guards.Health(5.1, 0.6), was, config) == ""
    assert "fell from 50.0 to 4.9" in collapse(guards.Health(4.9, 0.6), was, config)
    assert "only 40% of the features" in collapse(guards.Health(50.0, 0.4), was, config)
    never = job(Path(), collapse_rank=0.0, collapse_usage=0.0).config
    assert collapse(guards.Health(0.0, 0.0), was, never) == ""


def test_a_regularizer_that_collapses_is_stopped_and_the_last_good_state_kept(
    tmp_path: Path, probe: type[ProbeRegularizer]
) -> None:
    """It pulls all features to 1: within a few epochs nothing tells images apart."""
    chosen = {"epochs": 30, "lr": 0.05, "collapse_rank": 0.6, "collapse_usage": 0.5, "warmup_epochs": 6.0}
    found = train(job(tmp_path, ProbeParameters(weight=10.0, collapse=True), **chosen))
    ran, kept = found.facts["epochs"], found.facts["best_epoch"]
    assert found.facts["stopped_by"].startswith("collapse: ")
    assert 0 < kept == ran - 1 < 29
    rank = found.log.columns["rank"]
    assert (rank[: kept + 1] >= 0.6 * rank[0]).all()
    usage = found.log.columns["usage"]
    assert rank[ran] < 0.6 * rank[0] or usage[ran] < 0.5
    assert found.facts["rank_after"] == rank[kept]
    # what is given back is that state, not the collapsed one
    made, clean = found.encoder.module, images()
    features = made((clean.clean(torch.arange(28)).float() / 255 - 0.5) / 0.25)
    assert effective_rank(features) == pytest.approx(rank[kept], rel=1e-3)
    assert train(job(tmp_path, ProbeParameters(weight=10.0, collapse=True), **chosen)).facts == found.facts


def test_a_collapse_in_the_first_epoch_leaves_the_encoder_as_it_was(
    tmp_path: Path, probe: type[ProbeRegularizer]
) -> None:
    given = encoder()
    pull = ProbeParameters(weight=100.0, collapse=True)
    found = train(job(tmp_path, pull, encoder=given, collapse_rank=0.9, lr=0.1, warmup_epochs=0.0))
    assert found.facts["stopped_by"].endswith("in epoch 1; the encoder as it was is kept")
    assert found.facts["best_epoch"] == 0
    assert found.encoder.fingerprint == given.fingerprint


# ------------------------------------------------------------------------------------------- held-out


def test_patience_stops_and_keeps_the_lowest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([9.0, 5.0, 4.0, 4.5, 4.2, 1.0])
    kept: dict[int, Any] = {}
    measure = loop._Loop._measure

    def measured(self: Any, epoch: int) -> None:
        kept[epoch] = copy.deepcopy(self.nets.encoder.state_dict())
        measure(self, epoch)

    monkeypatch.setattr(loop, "held_out", lambda steps: next(losses))
    monkeypatch.setattr(loop._Loop, "_measure", measured)
    found = train(job(tmp_path, epochs=9, patience=2))
    assert found.facts["stopped_by"] == "patience: the held-out loss was lowest after epoch 2"
    assert (found.facts["epochs"], found.facts["best_epoch"]) == (4, 2)
    assert found.facts["held_out_after"] == 4.0
    for name, tensor in found.encoder.module.state_dict().items():
        assert torch.equal(tensor, kept[2][name])


def test_the_held_out_loss_is_fixed_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked twice it says the same; queue, statistics and training go on as if it had not been asked."""
    said: list[float] = []
    ask = held_out

    def asked(steps: step.Stepper) -> float:
        said.extend([ask(steps), ask(steps)])
        return said[-1]

    monkeypatch.setattr(loop, "held_out", asked)
    asking = train(job(tmp_path / "a", base="moco"))
    monkeypatch.setattr(loop, "held_out", lambda steps: math.nan)
    silent = train(job(tmp_path / "b", base="moco"))
    assert said[::2] == said[1::2]
    assert len(set(said)) == 3
    for name, tensor in asking.state.items():
        assert torch.equal(tensor, silent.state[name])


def test_an_encoder_that_improves_lowers_the_held_out_loss(tmp_path: Path) -> None:
    found = train(job(tmp_path, images=images(64), epochs=12, lr=0.05, batch_size=16, weight_decay=0.0))
    held_out = found.log.columns["held_out"]
    assert held_out[-1] < held_out[1]


# --------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
        RuntimeError("can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def take(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(step.Stepper, "take", take)
    with pytest.raises(
        ResourceError, match=r"batches of 8 images in 2 parts.* Lower --batch-size.*--accumulate"
    ):
        train(job(tmp_path, accumulate=2))


def test_other_errors_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(step.Stepper, "take", take)
    with pytest.raises(RuntimeError, match="a bug"):
        train(job(tmp_path))
