"""Q-Score's regularizer: the paper's formulas by hand, by a slow loop and by the metric."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from conftest import FIXTURES, blobs
from torch import Tensor

import repdiag
from repdiag.config import ScoreConfig
from repdiag.errors import UsageError
from repdiag.objectives import (
    LassoRegularizer,
    QScoreRegularizer,
    activation_counts,
    activation_mask,
    discriminative,
    lasso_loss,
    processes,
    q_scores,
    qscore_terms,
)
from repdiag.objectives.contract import REGULARIZERS, Heads, Outputs
from repdiag.objectives.parameters import ICCLParameters, QScoreParameters
from repdiag.objectives.regularizers.none import NoneRegularizer
from repdiag.scores import BY_NAME
from repdiag.workspace import Workspace

HAND = torch.tensor([[4.0, 0, 0, 0, 0], [0, 3, 0, 0, 0], [3, 4, 0, 0, 0]], dtype=torch.float64)
NOT_1 = torch.tensor([True, False, True, True, True])
"""With eps 0.9: L = {0}, {1}, {0, 1}; Q = 1 - 1/5, undefined, 3/5 - 7/25."""


def sparse(n: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows with a few features far above the others, all positive."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.gamma(0.2, 1.0, (n, dim)) + 0.01).to(dtype)


def some(dim: int, seed: int = 1) -> Tensor:
    """A random S."""
    return torch.from_numpy(np.random.default_rng(seed).random(dim) < 0.5)


def outputs(first: Tensor, second: Tensor) -> Outputs:
    return Outputs((first, second), Heads((first, second)), torch.arange(len(first)))


# ------------------------------------------------------------------------------------------ the formulas


def test_a_batch_by_hand() -> None:
    q = q_scores(HAND, NOT_1, 0.9)
    assert q[[0, 2]].tolist() == pytest.approx([0.8, 0.32])
    assert q[1].isnan()
    made = qscore_terms(HAND, NOT_1, 0.9)
    assert float(made.alpha) == pytest.approx(0.56)  # the mean of the two that are defined
    assert float(made.low) == pytest.approx(0.32 / 3)  # only the last is below; the mean is over all three
    assert made.norms.tolist() == pytest.approx([1.6, 1.8, 0, 0, 0])
    assert float(made.beta) == pytest.approx(3.4 / 5)
    assert float(made.columns) == pytest.approx(3.4)
    given = qscore_terms(HAND, NOT_1, 0.9, alpha=0.3, beta=1.7)
    assert (float(given.low), float(given.columns)) == pytest.approx((0.0, 1.8))
    assert float(qscore_terms(HAND, NOT_1, 0.9, alpha=1.0).low) == pytest.approx(1.12 / 3)


def literal(h: np.ndarray, selected: np.ndarray, eps: float) -> tuple[list[float], float, float]:
    """Q (NaN where undefined), lambda1's sum over rows / R and lambda2's sum, one number at a time."""
    unit = [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in h.tolist()]
    scores = []
    for row in unit:
        mean = sum(row) / len(row)
        std = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row))
        found = [v - mean for j, v in enumerate(row) if v > mean + eps * std and selected[j]]
        scores.append(sum(found) / len(found) if found else math.nan)
    known = [q for q in scores if not math.isnan(q)]
    low = sum(q for q in known if q < sum(known) / len(known)) / len(scores)
    norms = [sum(abs(row[j]) for row in unit) for j in range(h.shape[1])]
    return scores, low, sum(v for v in norms if v > sum(norms) / len(norms))


@pytest.mark.parametrize("signed", [False, True])
def test_the_same_as_a_slow_loop(signed: bool) -> None:
    h, selected = sparse(30, 40), some(40)
    h = h - 0.3 if signed else h
    scores, low, columns = literal(h.numpy(), selected.numpy(), 3.0)
    made = qscore_terms(h, selected, 3.0)
    assert 0 < sum(map(math.isnan, scores)) < 30
    np.testing.assert_allclose(made.scores.numpy(), scores, rtol=1e-12)
    assert (float(made.low), float(made.columns)) == pytest.approx((low, columns), rel=1e-12)
    assert float(qscore_terms(h, selected, 2.0).low) != pytest.approx(low, rel=1e-3)  # it can tell


@pytest.mark.parametrize("split", [False, True])
def test_s_and_q_are_those_of_the_metric(split: bool) -> None:
    data = blobs(n=300, dim=96, spread=1.0, split=split)
    ws = Workspace(data, ScoreConfig(eps=3.0))
    reference = data.features[data.is_train] if split else data.features
    reg = QScoreRegularizer(eps=3.0).fit(torch.from_numpy(part) for part in np.array_split(reference, 7))
    assert np.array_equal(reg.selected.numpy(), ws.activation.selected)
    frequency = 100.0 * reg.active.double() / reg.images
    np.testing.assert_array_equal(frequency.numpy(), ws.activation.frequency)
    want = BY_NAME["q_score"].values(ws)
    assert 0.05 < np.isnan(want).mean() < 0.95
    for dtype, exact in ((torch.float64, 1e-6), (torch.float32, 1e-5)):
        got = q_scores(torch.from_numpy(ws.x).to(dtype), reg.selected, 3.0)
        np.testing.assert_allclose(got.numpy(), want, rtol=exact)  # NaN in the same places


def test_s_and_q_are_those_of_the_metric_on_a_real_encoder() -> None:
    data = repdiag.embed(FIXTURES / "encoders" / "simclr.safetensors", FIXTURES / "digits" / "test")
    ws = Workspace(data, ScoreConfig(eps=3.0))
    reg = QScoreRegularizer(eps=3.0).fit([torch.tensor(data.features)])
    assert np.array_equal(reg.selected.numpy(), ws.activation.selected)
    got = q_scores(torch.tensor(ws.x), reg.selected, 3.0)
    np.testing.assert_allclose(got.numpy(), BY_NAME["q_score"].values(ws), rtol=1e-5)


def test_what_is_never_active_is_not_discriminative() -> None:
    frequency = torch.tensor([0.0, 0, 0, 0, 1, 2, 3, 4, 5, 50])
    assert discriminative(frequency, 0, 100).tolist() == [False] * 4 + [True] * 6
    assert discriminative(frequency).tolist() == [False] * 5 + [True] * 4 + [False]
    assert not discriminative(torch.zeros(9)).any()


def test_lasso_by_hand() -> None:
    assert float(lasso_loss(HAND)) == pytest.approx((1 + 1 + 7 / 5) / 3)
    assert float(lasso_loss(torch.ones(3, 16))) == pytest.approx(
        4.0
    )  # sqrt(D): nothing is sparser than one feature
    reg = LassoRegularizer(weight=0.5)
    assert float(reg.terms(outputs(HAND[:2], HAND[1:]))["lasso"]) == pytest.approx(
        0.5 * (1 + 1 + 1 + 1.4) / 4
    )
    assert float(reg(HAND)) == pytest.approx(0.5 * 3.4 / 3)


# ------------------------------------------------------------------------------------------ gradients


def test_gradients_are_right() -> None:
    h, selected = sparse(6, 30, seed=4).requires_grad_(), some(30, seed=7)
    made = qscore_terms(h, selected, 3.0)
    assert 0 < made.scores.isnan().sum() < 6
    assert (made.scores < made.alpha).any()
    assert torch.autograd.gradcheck(lambda x: q_scores(x, selected, 3.0).nan_to_num(0), (h,))
    assert torch.autograd.gradcheck(lambda x: qscore_terms(x, selected, 3.0).low, (h,))
    assert torch.autograd.gradcheck(lambda x: qscore_terms(x, selected, 3.0).columns, (h,))
    assert torch.autograd.gradcheck(lasso_loss, (h,))
    signed = (h.detach() - 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: qscore_terms(x, selected, 3.0).columns, (signed,))


def test_only_low_scores_and_heavy_columns_are_moved() -> None:
    h = HAND.clone().requires_grad_()
    qscore_terms(h, NOT_1, 0.9).low.backward()
    assert h.grad is not None
    assert h.grad[:2].eq(0).all()  # the first is above alpha, the second has no score
    assert h.grad[2, 0] > 0 > h.grad[2, 1]  # up with what is discriminative, at the cost of what is not
    light = torch.tensor([[4.0, 1, 0, 0, 0]], dtype=torch.float64).requires_grad_()
    qscore_terms(light, NOT_1, 0.9, beta=0.5).columns.backward()
    assert light.grad is not None
    assert light.grad[0, 0] > 0 > light.grad[0, 1]  # only column 0 is heavy; the unit row is where 1 comes in


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_degenerate_rows_do_nothing_and_break_nothing(dtype: torch.dtype) -> None:
    """Zero, constant, identical and one-hot rows; half precision is computed in float32."""
    rows = [torch.zeros(64), torch.full((64,), 0.1), torch.full((64,), -3.7), torch.eye(64)[5]]
    h = torch.stack([*rows, *[sparse(1, 64, 3, torch.float32)[0]] * 3]).to(dtype).requires_grad_()
    selected = torch.ones(64, dtype=torch.bool)
    q = q_scores(h, selected, 3.0)
    assert q.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert q[:3].isnan().all()
    assert q[3].item() == pytest.approx(1 - 1 / 64)
    assert q[4:].isfinite().all()
    assert q[4] == q[5] == q[6]
    made = qscore_terms(h, selected, 3.0)
    (made.columns - made.low + q.sum()).backward()  # even the NaN itself has a gradient of 0
    assert h.grad is not None
    assert h.grad.isfinite().all()
    assert h.grad[0].eq(0).all()


@pytest.mark.parametrize("dim", [18, 100, 512, 777, 2048])
def test_rounding_makes_no_feature_active(dim: int) -> None:
    """A constant row's float32 mean may lie below the constant, with a standard deviation of 0."""
    constants = torch.linspace(0.01, 7, 400)[:, None].expand(-1, dim)
    assert not activation_mask(constants).any()
    assert not activation_mask(constants / dim**0.5).any()
    assert activation_mask(constants + torch.eye(dim)[0]).sum() == 400  # one that does stand out is seen


def test_no_score_at_all_is_a_zero_and_no_gradient() -> None:
    h = torch.full((4, 32), 0.5, requires_grad=True)
    made = qscore_terms(h, torch.ones(32, dtype=torch.bool))
    made.low.backward()
    assert made.low.item() == 0
    assert h.grad is not None
    assert h.grad.eq(0).all()


def test_invariances() -> None:
    h, selected = sparse(20, 50), some(50)
    made = qscore_terms(h, selected, 3.0)
    rows, features = torch.randperm(20), torch.randperm(50)
    scale = torch.linspace(0.1, 30, 20, dtype=torch.float64)[:, None]
    for other in (
        qscore_terms(h[rows], selected, 3.0),
        qscore_terms(h[:, features], selected[features], 3.0),
        qscore_terms(scale * h, selected, 3.0),
    ):
        torch.testing.assert_close((other.low, other.columns), (made.low, made.columns))
    torch.testing.assert_close(q_scores(h[rows], selected, 3.0), made.scores[rows], equal_nan=True)
    assert torch.equal(activation_mask(scale * h + 5), activation_mask(h))
    assert int(activation_mask(h, 3.0).sum(1).max()) <= 50 / (1 + 3.0**2)  # Cantelli
    twice = qscore_terms(torch.cat([h, h]), selected, 3.0)
    torch.testing.assert_close((twice.low, twice.columns), (made.low, 2 * made.columns))  # as documented
    assert qscore_terms(h[:, features], selected, 3.0).low != made.low  # S has to go along


# ------------------------------------------------------------------------------------------ the regularizer


def fitted(seed: int = 0, **numbers: float) -> QScoreRegularizer:
    return QScoreRegularizer(**numbers).fit([sparse(200, 64, seed, torch.float32)])


def test_terms_are_signed_for_a_loop_that_minimizes() -> None:
    reg = fitted(lambda1=0.5, lambda2=0.25)
    h1, h2 = sparse(16, 64, 5, torch.float32), sparse(16, 64, 6, torch.float32)
    made = qscore_terms(torch.cat([h1, h2]), reg.selected)
    terms = reg.terms(outputs(h1, h2))
    assert set(terms) == {"lambda1", "lambda2"}
    assert float(terms["lambda1"]) == pytest.approx(-0.5 * float(made.low))
    assert float(terms["lambda2"]) == pytest.approx(0.25 * float(made.columns))
    assert float(reg(h1, h2)) == pytest.approx(sum(float(t) for t in terms.values()))
    facts = copy.deepcopy(reg).facts()  # what is kept for the log holds no graph, which could not be copied
    known = made.scores[~made.scores.isnan()]
    assert facts["no_q_score"] == pytest.approx(1 - len(known) / 32)
    assert facts["q_score"] == pytest.approx(float(known.mean()))
    assert facts["below_alpha"] == pytest.approx(float((known < known.mean()).sum()) / 32)
    assert facts["columns_above_beta"] == pytest.approx(
        float((made.norms > made.norms.mean()).double().mean())
    )


def test_gradient_descent_lifts_low_scores_and_evens_out_features() -> None:
    for change in ({"lambda2": 0.0}, {"lambda1": 0.0}):
        h = sparse(64, 64, 8, torch.float32).requires_grad_()
        reg = fitted(**{"lambda1": 1.0, "lambda2": 1.0, "alpha": 0.9, "beta": 4.0, **change})
        before = reg.step(h)
        for _ in range(20):
            (gradient,) = torch.autograd.grad(reg(h), h)
            h = (h - 0.1 * gradient).detach().requires_grad_()
        after = reg.step(h)
        if "lambda2" in change:
            assert after.scores.nanmean() > before.scores.nanmean() + 1e-3
        else:
            assert after.norms.max() < before.norms.max() - 1e-3


def test_ablations_leave_one_term_alone() -> None:
    h = sparse(16, 64, 5, torch.float32)
    for alone, change in QScoreRegularizer.ablations().items():
        terms = fitted(**change).terms(outputs(h, h))  # type: ignore[arg-type]
        assert [name for name, value in terms.items() if value != 0] == [alone]


def test_a_state_dict_brings_s_back_into_a_new_one() -> None:
    reg = fitted()
    reg.begin_epoch(3, [sparse(100, 64, 9, torch.float32)])
    other = QScoreRegularizer()
    other.load_state_dict(reg.state_dict())
    h = sparse(16, 64, 5, torch.float32)
    assert other(h).equal(reg(h))
    assert (int(other.found), int(other.images)) == (3, 100)
    assert other.active.equal(reg.active)
    attached = QScoreRegularizer()
    attached.attach(64)
    attached.load_state_dict(reg.state_dict())
    assert attached(h).equal(reg(h))
    attached.load_state_dict(QScoreRegularizer().state_dict())  # one that knows nothing
    with pytest.raises(UsageError, match="not known yet"):
        attached(h)


@pytest.mark.parametrize(("refresh", "looked"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (0, [0])])
def test_s_is_found_again_after_refresh_epochs(refresh: int, looked: list[int]) -> None:
    reg, seen = QScoreRegularizer(refresh=refresh), []

    def features(epoch: int) -> Iterator[Tensor]:
        seen.append(epoch)
        yield sparse(100, 64, epoch, torch.float32)

    reg.attach(64)
    for epoch in range(5):
        reg.begin_epoch(epoch, features(epoch))
        if epoch == 2:  # a resumed run goes on alike
            state, reg = reg.state_dict(), QScoreRegularizer(refresh=refresh)
            reg.load_state_dict(state)
    assert seen == looked


def test_counts_are_summed_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with a part of the images each find the S of all, also where one has none."""
    mine, others = sparse(120, 64, 1, torch.float32), sparse(80, 64, 2, torch.float32)
    alone = QScoreRegularizer().fit([mine, others])
    counts, seen = activation_counts([others])
    elsewhere = torch.cat([counts, torch.tensor([seen])])
    monkeypatch.setattr(processes, "total", lambda own: own + elsewhere)
    together = QScoreRegularizer().fit([mine])
    assert together.selected.equal(alone.selected)
    assert together.active.equal(alone.active)
    assert int(together.images) == 200
    empty = QScoreRegularizer()
    empty.attach(64)
    assert int(empty.fit([]).images) == 80


def test_bad_input_is_one_clear_sentence() -> None:
    h = sparse(50, 64, dtype=torch.float32)
    with pytest.raises(UsageError, match=r"S are not known yet.*Call fit"):
        QScoreRegularizer()(h)
    for dim in (2, 17):
        with pytest.raises(UsageError, match=f"with {dim} features none can be"):
            QScoreRegularizer().attach(dim)
        with pytest.raises(UsageError, match=f"with {dim} features none can be"):
            QScoreRegularizer().fit([h[:, :dim]])
    QScoreRegularizer().attach(18)
    with pytest.raises(UsageError, match=r"S is empty \(0 features are ever active\)"):
        QScoreRegularizer().fit([torch.rand(50, 64)])
    with pytest.raises(UsageError, match="no features"):
        QScoreRegularizer().fit([])
    with pytest.raises(UsageError, match=r"shape \(50, 32\), not \(B, 64\)"):
        QScoreRegularizer().fit([h, h[:, :32]])
    with pytest.raises(UsageError, match=r"\(50, 32\) and \(64\,\) bool"):
        fitted()(h[:, :32])
    with pytest.raises(UsageError, match=r"no number 'lamda1'\. Did you mean 'lambda1'"):
        QScoreRegularizer(lamda1=1.0)
    with pytest.raises(UsageError, match="lambda1 must be a number from 0"):
        QScoreRegularizer(lambda1=-1.0)
    with pytest.raises(UsageError, match="qscore takes QScoreParameters, not ICCLParameters"):
        QScoreRegularizer(ICCLParameters())
    assert QScoreRegularizer(QScoreParameters(eps=3.0), lambda2=0.0).numbers == QScoreParameters(
        eps=3.0, lambda2=0.0
    )


def test_a_failed_fit_leaves_what_was_known() -> None:
    reg, h = fitted(), sparse(16, 64, 5, torch.float32)
    before = float(reg(h))
    with pytest.raises(UsageError, match="S is empty"):
        reg.fit([torch.rand(50, 64)])
    assert float(reg(h)) == before


def test_registered_and_the_control_says_nothing() -> None:
    for name, kind in (("qscore", QScoreRegularizer), ("lasso", LassoRegularizer), ("none", NoneRegularizer)):
        assert REGULARIZERS.get(name) is kind
    assert QScoreRegularizer().needs.images
    h = sparse(4, 64)
    assert NoneRegularizer().terms(outputs(h, h)) == {}
