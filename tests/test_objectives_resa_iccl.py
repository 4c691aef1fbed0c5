"""ReSA's and ICCL's losses: by hand, by a slow loop of what the released codes compute, and as regularizers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.metrics.self_assignment import self_assignment as metric_assignment
from repdiag.objectives import (
    ICCLRegularizer,
    ReSARegularizer,
    handover,
    iccl_terms,
    resa_loss,
    self_assignment,
    sinkhorn,
)
from repdiag.objectives.contract import REGULARIZERS, Heads, Outputs
from repdiag.objectives.rows import unit


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def views(count: int, n: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [random(n, width, seed=seed + i, dtype=dtype) for i in range(count)]


# ------------------------------------------------------------------------------------------ Sinkhorn


def test_sinkhorn_by_hand() -> None:
    scores = torch.tensor([[1.0, 1], [1, 3]], dtype=torch.float64).log()
    once = sinkhorn(scores, eps=1.0, iterations=1)  # columns: 1/2, 1/4; 1/2, 3/4; then rows
    torch.testing.assert_close(once, torch.tensor([[2 / 3, 1 / 3], [2 / 5, 3 / 5]], dtype=torch.float64))
    torch.testing.assert_close(sinkhorn(scores / 2, eps=0.5, iterations=1), once)
    torch.testing.assert_close(sinkhorn(torch.zeros(5, 5)), torch.full((5, 5), 0.2))


def released(scores: np.ndarray, eps: float, iterations: int) -> np.ndarray:
    """Without logarithms, on the transpose, as the released code goes about it."""
    q = np.exp(scores / eps).T
    n = len(q)
    for _ in range(iterations):
        for j in range(n):
            q[j] *= 1 / n / q[j].sum()
        for i in range(n):
            q[:, i] *= 1 / n / q[:, i].sum()
    return (q / q.sum(0)).T


def test_sinkhorn_is_the_released_codes_and_the_metrics() -> None:
    u = unit(random(12, 6))
    for eps, iterations in ((0.2, 1), (0.2, 3), (0.05, 3)):
        scores = u @ unit(random(12, 6, seed=9)).T
        np.testing.assert_allclose(
            sinkhorn(scores, eps, iterations).numpy(), released(scores.numpy(), eps, iterations), rtol=1e-10
        )
    np.testing.assert_allclose(self_assignment(3 * u).numpy(), metric_assignment(u.numpy(), 0.05), rtol=1e-10)
    assert not np.allclose(sinkhorn(scores, 0.2, 1), released(scores.numpy(), 0.2, 3))


def test_sinkhorn_is_stable_and_goes_to_doubly_stochastic() -> None:
    scores = unit(random(20, 6, dtype=torch.float32)) @ unit(random(20, 6, seed=1, dtype=torch.float32)).T
    for eps in (1e-4, 0.05, 100.0):
        a = sinkhorn(scores, eps)
        assert a.isfinite().all()
        torch.testing.assert_close(a.sum(1), torch.ones(20))
    assert (
        (sinkhorn(scores, 0.2, 200).sum(0) - 1).abs().max()
        < 1e-4
        < (sinkhorn(scores, 0.2).sum(0) - 1).abs().max()
    )
    torch.testing.assert_close(sinkhorn(scores + 7), sinkhorn(scores), atol=1e-5, rtol=1e-4)
    rows, columns = torch.randperm(20), torch.randperm(20)
    torch.testing.assert_close(sinkhorn(scores[rows][:, columns]), sinkhorn(scores)[rows][:, columns])
    assert sinkhorn(scores.bfloat16()).dtype == torch.float32


def test_self_assignment_of_structure_and_of_none() -> None:
    assert self_assignment(torch.eye(8)).diagonal().min() > 1 - 1e-7
    pairs = torch.eye(4).repeat_interleave(2, 0)
    want = torch.block_diag(*[torch.full((2, 2), 0.5)] * 4)
    torch.testing.assert_close(self_assignment(pairs), want, atol=1e-6, rtol=0)
    h = random(6, 5).requires_grad_()
    assert not self_assignment(h).requires_grad
    assert not self_assignment(h, random(6, 5, seed=1)).allclose(self_assignment(h))
    for bad in (torch.zeros(4, 3), torch.ones(4, 3), torch.full((4, 3), 1e-30)):
        torch.testing.assert_close(self_assignment(bad), torch.full((4, 4), 0.25))


# ------------------------------------------------------------------------------------------ ReSA's loss


def test_resa_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    loss = resa_loss([eye, eye], [3 * eye, 5 * eye], eye)  # logits 1 / 0.4 and 0
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1 / 0.4)))
    same = torch.ones(7, 3, dtype=torch.float64)
    assert float(resa_loss([same, same], [same, same], self_assignment(random(7, 5)))) == pytest.approx(
        math.log(7) * (1 + float(self_assignment(random(7, 5)).sum()) / 7) / 2
    )


def slow_resa(p: Sequence[Tensor], z: Sequence[Tensor], a: Tensor, temperature: float) -> float:
    """One pair of views, one image, one other at a time, with exponentials."""
    found = []
    for v, online in enumerate(p):
        for q, slow in enumerate(z):
            if v == q:
                continue
            n, total = len(a), 0.0
            x = [
                [
                    math.exp(float(online[i] @ slow[j] / online[i].norm() / slow[j].norm()) / temperature)
                    for j in range(n)
                ]
                for i in range(n)
            ]
            for i in range(n):
                for j in range(n):
                    total -= float(a[i, j]) * math.log(x[i][j] / sum(x[i])) / n
                    total -= float(a[i, j]) * math.log(x[i][j] / sum(row[j] for row in x)) / n
            found.append(total / 2)
    return sum(found) / len(found)


@pytest.mark.parametrize("count", [2, 3])
def test_resa_is_the_slow_loop(count: int) -> None:
    p, z, a = views(count, 6, 4), views(2, 6, 4, seed=20), self_assignment(random(6, 3))
    want = slow_resa(p, z, a, 0.4)
    assert float(resa_loss(p, z, a)) == pytest.approx(want, rel=1e-12)
    order = torch.randperm(6)
    moved = resa_loss([3 * x[order] for x in p], [x[order] for x in z], a[order][:, order])
    assert float(moved) == pytest.approx(want)
    assert float(resa_loss(p, z, a.roll(1, 0))) != pytest.approx(want, rel=1e-3)


def test_resa_gradients() -> None:
    p, z = views(2, 5, 4), views(2, 5, 4, seed=20)
    a = self_assignment(random(5, 3))
    for x in (*p, *z):
        x.requires_grad_()
    assert torch.autograd.gradcheck(lambda one, two: resa_loss([one, two], z, a), tuple(p))
    assert torch.autograd.gradcheck(lambda s: sinkhorn(s, 0.3), (random(4, 4).requires_grad_(),))
    resa_loss(p, z, a).backward()
    assert all(x.grad is None for x in z)
    for dtype in (torch.float32, torch.bfloat16):
        rows = [torch.zeros(4, 6), torch.ones(4, 6), random(1, 6, dtype=torch.float32).expand(4, -1)]
        h = torch.cat(rows).to(dtype).requires_grad_()
        loss = resa_loss([h, h], [h.detach(), h.detach()], self_assignment(h.detach()))
        loss.backward()
        assert loss.dtype == torch.float32
        assert h.grad is not None
        assert h.grad.isfinite().all()
        assert h.grad.abs().max() < 10  # a zero row is not thrown away by 1e12


def test_resa_refuses_nonsense() -> None:
    one = random(4, 3)
    with pytest.raises(UsageError, match="different views"):
        resa_loss([one], [one], torch.eye(4))
    with pytest.raises(UsageError, match="eps above 0"):
        sinkhorn(one, eps=0.0)
    with pytest.raises(UsageError, match="at least one iteration"):
        sinkhorn(one, iterations=0)


# ------------------------------------------------------------------------------------------ ReSA, the regularizer

SMALL = {"hidden": 16, "out": 8}


def batch(n: int = 12, dim: int = 10, dtype: torch.dtype = torch.float32, **more: object) -> Outputs:
    h, slow = views(2, n, dim, dtype=dtype), views(2, n, dim, seed=30, dtype=dtype)
    settings = {"momentum": tuple(slow), "weak": random(n, dim, seed=50, dtype=dtype), **more}
    heads = Heads(tuple(views(2, n, 6, seed=60, dtype=dtype)))
    return Outputs(tuple(x.requires_grad_() for x in h), heads, torch.arange(n), **settings)  # type: ignore[arg-type]


def attached(
    kind: type[ReSARegularizer] | type[ICCLRegularizer], heads: Heads | None = None, **numbers: object
):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    reg = kind(**numbers)
    reg.attach(10, heads or Heads(tuple(views(2, 4, 6, dtype=torch.float32))))
    return reg


def test_resa_heads_are_the_codes() -> None:
    reg = ReSARegularizer()
    reg.attach(64)
    kinds = [type(layer) for layer in reg.projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear, nn.BatchNorm1d]
    assert [m.out_features for m in reg.projector if isinstance(m, nn.Linear)] == [2048, 2048, 512]
    assert [m.affine for m in reg.projector if isinstance(m, nn.BatchNorm1d)] == [True, True, False]
    assert [(m.in_features, m.out_features) for m in reg.predictor if isinstance(m, nn.Linear)] == [
        (512, 2048),
        (2048, 512),
    ]
    assert attached(ReSARegularizer, predictor=False, **SMALL).predictor is None
    assert ReSARegularizer(momentum=0.9).needs.momentum == 0.9
    assert ReSARegularizer().needs.weak_view
    at_512 = ReSARegularizer()
    at_512.attach(512)
    trained = sum(w.numel() for w in at_512.parameters() if w.requires_grad)
    assert trained == pytest.approx(8.4e6, rel=0.02)  # what the docstring says


def test_resa_as_a_regularizer_is_the_loss_of_its_heads() -> None:
    reg, out = attached(ReSARegularizer, weight=0.5, **SMALL), batch()
    terms = reg.terms(out)
    with torch.no_grad():
        p = [reg.predictor(reg.projector(h)) for h in out.features]
        z = [reg.slow(h) for h in out.momentum]
    assert out.weak is not None
    want = 0.5 * resa_loss(p, z, self_assignment(out.weak))
    assert terms["resa"].item() == pytest.approx(want.item(), rel=1e-5)
    spread = 1 - float(self_assignment(out.weak).diagonal().mean())
    assert reg.facts()["assigned_to_others"] == pytest.approx(spread, abs=1e-6)
    terms["resa"].backward()
    assert all(h.grad is not None and h.grad.abs().sum() > 0 for h in out.features)
    assert all(w.grad is None for w in reg.slow.parameters())
    assert all(w.grad is not None for w in (*reg.projector.parameters(), *reg.predictor.parameters()))


def test_resas_slow_projector_follows_and_comes_back() -> None:
    reg = attached(ReSARegularizer, **SMALL)
    before = copy.deepcopy(reg.slow.state_dict())
    with torch.no_grad():
        for weight in reg.projector.parameters():
            weight.add_(1.0)
    reg.follow(1.0)
    assert all(value.equal(before[name]) for name, value in reg.slow.state_dict().items())
    reg.follow(0.75)
    for name, value in reg.slow.named_parameters():
        torch.testing.assert_close(value.data, before[name] + 0.25)
    other = attached(ReSARegularizer, **SMALL)
    other.load_state_dict(reg.state_dict())
    assert other.terms(batch())["resa"].equal(reg.terms(batch())["resa"])


def test_resa_says_what_is_missing() -> None:
    for missing in ({"weak": None}, {"momentum": ()}):
        with pytest.raises(UsageError, match="slow encoder's features of two views and those of a weak view"):
            attached(ReSARegularizer, **SMALL).terms(batch(**missing))
    with pytest.raises(UsageError, match="Call attach"):
        ReSARegularizer().terms(batch())


# ------------------------------------------------------------------------------------------ ICCL's terms


def test_iccl_by_hand() -> None:
    one = torch.tensor([[2.0, 0], [0, 3]], dtype=torch.float64)
    same = iccl_terms(one, one, one, one)
    assert float(same.sim) == pytest.approx(0.0)
    off_m, off_n = 1 / (1 + math.exp(1 / 0.07)), 1 / (1 + math.exp(1 / 0.1))
    assert float(same.aug) == pytest.approx(-(1 - off_m) * math.log(1 - off_n) - off_m * math.log(off_n))
    assert float(same.uniform) == pytest.approx(0.0, abs=1e-12)  # each coordinate is one row's
    crossed = iccl_terms(one, one, one.flip(1), one.flip(1))
    assert float(crossed.sim) == pytest.approx(4.0)  # ||e1 - e2||^2 in both directions
    assert float(crossed.aug) == pytest.approx(-(1 - off_m) * math.log(off_n) - off_m * math.log(1 - off_n))
    alone = one[:1]
    uneven = iccl_terms(alone, alone, alone, alone).uniform
    assert float(uneven) == pytest.approx(-math.log(2) - (math.log(1 - off_n) + math.log(off_n)) / 2)
    assert float(iccl_terms(one, one, -one, -one, similarity="cosine").sim) == pytest.approx(1.0)


def slow_iccl(p: Sequence[Tensor], q: Sequence[Tensor], t1: float, t2: float) -> tuple[float, float, float]:
    """Each sum of the released code (that with a slow encoder) as a loop."""

    def lengthened(x: Tensor) -> list[list[float]]:
        return [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in x.tolist()]

    def soft(row: list[float], t: float) -> list[float]:
        total = sum(math.exp(v / t) for v in row)
        return [math.exp(v / t) / total for v in row]

    ps, qs = [lengthened(x) for x in p], [lengthened(x) for x in q]
    n, k = len(ps[0]), len(ps[0][0])
    sim = aug = 0.0
    used = [0.0] * k
    for mine, other in ((0, 1), (1, 0)):
        for i in range(n):
            online, target = ps[mine][i], qs[other][i]
            sim += sum((a - b) ** 2 for a, b in zip(online, target, strict=True)) / n
            assigned = soft(online, t1)
            aug -= sum(m * math.log(a) for m, a in zip(soft(target, t2), assigned, strict=True)) / n / 2
            used = [u + a / (2 * n) for u, a in zip(used, assigned, strict=True)]
    return sim, aug, -math.log(k) - sum(map(math.log, used)) / k


def test_iccl_is_the_slow_loop() -> None:
    p, q = views(2, 7, 5), views(2, 7, 5, seed=40)
    want = slow_iccl(p, q, 0.1, 0.07)
    made = iccl_terms(*p, *q)
    assert [float(x) for x in made] == pytest.approx(want, rel=1e-10)
    assert [float(x) for x in iccl_terms(*p, *q, t2=0.2)] != pytest.approx(want, rel=1e-3)
    cosine = iccl_terms(*p, *q, similarity="cosine")
    assert float(made.sim) == pytest.approx(4 + 4 * float(cosine.sim))
    rows, coordinates = torch.randperm(7), torch.randperm(5)
    for other in (
        iccl_terms(*(x[rows] for x in (*p, *q))),
        iccl_terms(*(x[:, coordinates] for x in (*p, *q))),
        iccl_terms(*(4 * x for x in (*p, *q))),
        iccl_terms(p[1], p[0], q[1], q[0]),
    ):
        torch.testing.assert_close(other, made)


@pytest.mark.parametrize("similarity", ["mse", "cosine"])
def test_iccl_gradients(similarity: str) -> None:
    p, q = views(2, 4, 5), views(2, 4, 5, seed=40)
    for x in (*p, *q):
        x.requires_grad_()
    for which in range(3):
        assert torch.autograd.gradcheck(
            lambda a, b, which=which: iccl_terms(a, b, *q, similarity=similarity)[which], tuple(p)
        )
    sum(iccl_terms(*p, *q, similarity=similarity)).backward()
    assert all(x.grad is None for x in q)


def test_iccl_is_finite_where_rows_and_temperatures_are_not_nice() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        rows = [torch.zeros(2, 6), torch.ones(2, 6), random(1, 6, dtype=torch.float32).expand(3, -1)]
        p = torch.cat(rows).to(dtype).requires_grad_()
        loss = sum(iccl_terms(p, p, p, p.flip(0), t1=0.005, t2=0.005))
        assert isinstance(loss, Tensor)
        loss.backward()
        assert loss.isfinite()
        assert loss.dtype == torch.float32
        assert p.grad is not None
        assert p.grad.isfinite().all()
    with pytest.raises(UsageError, match="of one shape"):
        iccl_terms(*views(2, 4, 5), *views(2, 4, 6))
    with pytest.raises(UsageError, match="mse or cosine"):
        iccl_terms(*views(2, 4, 5), *views(2, 4, 5), similarity="dot")


def test_the_hand_over_is_a_ramp() -> None:
    assert [handover(p) for p in (0.0, 0.5, 0.6, 0.999)] == [0.0, 0.0, 1.0, 1.0]
    assert handover(0.525) == pytest.approx(0.25)
    assert [handover(p, 0.3, 0.3) for p in (0.29, 0.3, 0.31)] == [0.0, 1.0, 1.0]
    assert handover(0.0, 0.0, 0.0) == 1.0


# ------------------------------------------------------------------------------------------ ICCL, the regularizer


def test_iccl_takes_the_bases_predictions_and_targets() -> None:
    p, q, z = views(2, 12, 6), views(2, 12, 6, seed=40), views(2, 12, 9, seed=60)
    heads = Heads(tuple(z), tuple(p), tuple(q))
    reg = attached(ICCLRegularizer, heads, weight=0.5, lambda_uniform=3.0)
    assert not list(reg.parameters())
    made = iccl_terms(*p, *q)
    for progress, share in ((0.1, 0.0), (0.525, 0.25), (0.8, 1.0)):
        terms = reg.terms(Outputs(tuple(z), heads, torch.arange(12), progress=progress))
        want = {
            "sim": 0.5 * (1 - share) * made.sim,
            "aug": 0.5 * share * made.aug,
            "uniform": 0.5 * share * 3.0 * made.uniform,
        }
        assert {k: float(v) for k, v in terms.items()} == pytest.approx(
            {k: float(v) for k, v in want.items()}
        )
        assert float(reg(*p, *q, progress=progress)) == pytest.approx(sum(map(float, want.values())))
        assert reg.facts() == pytest.approx({"handover": share})


def test_iccl_brings_a_predictor_where_the_base_has_none() -> None:
    z = [x.requires_grad_() for x in views(2, 12, 80, dtype=torch.float32)]
    heads = Heads(tuple(z))
    reg = attached(ICCLRegularizer, heads)
    sizes = [(m.in_features, m.out_features) for m in reg.predictor if isinstance(m, nn.Linear)]
    assert sizes == [(80, 20), (20, 80)]
    out = Outputs(tuple(z), heads, torch.arange(12), progress=0.55)
    terms = reg.terms(out)
    want = iccl_terms(*(reg.predictor(x) for x in z), *z)
    assert terms["sim"].item() == pytest.approx(0.5 * want.sim.item(), rel=1e-5)
    sum(terms.values()).backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in reg.predictor.parameters())
    assert all(x.grad is not None for x in z)
    narrow = attached(ICCLRegularizer, Heads(heads.projections, (), tuple(views(2, 12, 5))))
    assert narrow.predictor[-1].out_features == 5  # as wide as the targets


def test_iccl_says_what_does_not_fit() -> None:
    z = tuple(views(2, 4, 6, dtype=torch.float32))
    with pytest.raises(UsageError, match="6 and 5 wide"):
        ICCLRegularizer().attach(10, Heads(z, z, tuple(views(2, 4, 5))))
    with pytest.raises(UsageError, match="Call attach first"):
        ICCLRegularizer().terms(batch())


def test_registered_without_ablations_or_a_clean_pass() -> None:
    for name, kind in (("resa", ReSARegularizer), ("iccl", ICCLRegularizer)):
        assert REGULARIZERS.get(name) is kind
        assert kind.ablations() == {}
        assert not kind().needs.images
