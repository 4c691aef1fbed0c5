"""Each base objective is its paper's formula, keeps its state, and leaves alone what is not its own."""

from __future__ import annotations

import copy
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

pytest.importorskip("lightly", reason="the base objectives are lightly's, which the extra 'tune' installs")

import repdiag.objectives.bases as package
from repdiag.errors import UsageError
from repdiag.objectives import base_names
from repdiag.objectives.bases import _heads
from repdiag.objectives.contract import BASES, Base, Heads, Outputs
from repdiag.objectives.supcon import supervised_contrastive

DIM, N = 24, 12
SLOW = {"moco", "byol", "dino"}


def made(name: str, seed: int = 0, projector: nn.Module | None = None) -> Base:
    torch.manual_seed(seed)
    return BASES.get(name)(DIM, projector).double()


def features(views: int = 2, n: int = N, seed: int = 1) -> tuple[Tensor, ...]:
    """Views of the same images: alike, not equal."""
    draws = torch.Generator().manual_seed(seed)
    image = torch.randn(n, DIM, generator=draws, dtype=torch.float64)
    return tuple(
        image + 0.5 * torch.randn(n, DIM, generator=draws, dtype=torch.float64) for _ in range(views)
    )


def seen(base: Base, h: Sequence[Tensor], labels: Tensor | None = None) -> Outputs:
    slow = tuple(x.detach() + 0.1 for x in h[:2])
    return Outputs(tuple(h), base.heads(h, slow), torch.arange(len(h[0])), labels, slow)


def views_of(name: str) -> int:
    return 4 if BASES.get(name).small_crops else 2


LABELS = torch.arange(N) % 3


# --------------------------------------------------------------------------------------------- literal references


def nt_xent(z: Sequence[Tensor], t: float, groups: Sequence[int]) -> Tensor:
    rows = [F.normalize(r, dim=0) for r in torch.cat(list(z))]
    of = list(groups) * len(z)
    terms = []
    for i, a in enumerate(rows):
        below = sum((a @ b / t).exp() for k, b in enumerate(rows) if k != i)
        positives = [k for k in range(len(rows)) if k != i and of[k] == of[i]]
        terms.append(-sum(((a @ rows[p] / t).exp() / below).log() for p in positives) / len(positives))
    return torch.stack(terms).mean()


def simclr(base: Base, x: Outputs) -> Tensor:
    return nt_xent(x.heads.projections, 0.2, range(N))


def supcon(base: Base, x: Outputs) -> Tensor:
    return nt_xent(x.heads.projections, 0.1, LABELS.tolist())


def moco(base: Base, x: Outputs) -> Tensor:
    (queue,) = (v.clone() for k, v in base.state_dict().items() if k.endswith("bank"))  # in lightly's place
    terms = []
    for q, k in zip(x.heads.projections[0], x.heads.targets[1], strict=True):
        q, k = F.normalize(q, dim=0), F.normalize(k, dim=0)
        up = (q @ k / 0.2).exp()
        terms.append(-(up / (up + (queue @ q / 0.2).exp().sum())).log())
    return torch.stack(terms).mean()


def both_ways(base: Base, x: Outputs) -> Tensor:
    def cosines(p: Tensor, t: Tensor) -> Tensor:
        return torch.stack([a @ b / (a.norm() * b.norm()) for a, b in zip(p, t.detach(), strict=True)]).mean()

    targets = x.heads.targets
    return -(cosines(x.heads.predictions[0], targets[1]) + cosines(x.heads.predictions[1], targets[0])) / 2


def barlow(base: Base, x: Outputs) -> Tensor:
    a, b = ((z - z.mean(0)) / z.var(0, correction=0).sqrt() for z in x.heads.projections)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(a.shape[1]):
        c = (a[:, i, None] * b).mean(0)
        total = total + 0.005 * (c.square().sum() - c[i].square()) + (1 - c[i]).square()
    return total


def vicreg(base: Base, x: Outputs) -> Tensor:
    a, b = x.heads.projections
    spread = [F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (a, b)]
    spill = []
    for z in (a, b):
        c = torch.cov(z.T)
        spill.append((c.square().sum() - c.diagonal().square().sum()) / z.shape[1])
    return 25 * (a - b).square().mean() + 25 * sum(spread) / 2 + sum(spill)


def swav(base: Base, x: Outputs) -> Tensor:
    w = base.get_parameter("prototypes.weight").detach()
    assert torch.allclose(w.norm(dim=1), torch.ones(512, dtype=torch.float64))
    scores = x.heads.predictions
    for z, s in zip(x.heads.projections, scores, strict=True):
        assert torch.allclose(F.normalize(z) @ w.T, s)
    terms = []
    for s in range(2):
        q = (scores[s].detach() / 0.05).exp()
        for _ in range(3):
            q = q / q.sum(0)
            q = q / q.sum(1, keepdim=True)
        terms += [-(q * (scores[v] / 0.1).log_softmax(1)).sum(1).mean() for v in range(4) if v != s]
    return torch.stack(terms).mean()


def dino(base: Base, x: Outputs) -> Tensor:
    center = base.state_dict()["criterion.center"].clone()[0, 0]
    terms = []
    for s, teacher in enumerate(x.heads.targets):
        p = ((teacher - center) / 0.04).softmax(1)
        students = x.heads.predictions
        terms += [-(p * (students[v] / 0.1).log_softmax(1)).sum(1).mean() for v in range(4) if v != s]
    return torch.stack(terms).mean()


LITERAL: dict[str, Callable[[Base, Outputs], Tensor]] = {
    "simclr": simclr, "supcon": supcon, "moco": moco, "byol": both_ways, "simsiam": both_ways,
    "barlow": barlow, "vicreg": vicreg, "swav": swav, "dino": dino,
}  # fmt: skip


@pytest.mark.parametrize("name", base_names())
def test_the_loss_and_its_gradient_are_those_of_the_formula_written_out(name: str) -> None:
    """In float64; DINO's center and MoCo's queue are those that a first step left, not the initial ones."""
    base = made(name)
    h = tuple(x.requires_grad_() for x in features(views_of(name)))
    base.loss(seen(base, h, LABELS))
    expected = LITERAL[name](base, seen(base, h, LABELS))
    found = base.loss(seen(base, h, LABELS))
    # lightly adds 1e-5 to variances that are 1 already, and has DINO's 0.04 in float32
    tolerance = 1e-4 if name == "barlow" else 1e-7 if name == "dino" else 1e-9
    assert found.item() == pytest.approx(expected.item(), rel=tolerance)
    learned = [p for p in base.parameters() if p.requires_grad]
    for a, b in zip(
        torch.autograd.grad(found, (*h, *learned), allow_unused=True),
        torch.autograd.grad(expected, (*h, *learned), allow_unused=True),
        strict=True,
    ):
        if a is None or b is None:
            assert a is b is None  # MoCo's second view: only its slow projection is used
            continue
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max() + 1e-9))


def test_every_base_is_tested_here_and_named_as_its_module() -> None:
    assert set(LITERAL) == set(base_names()) == {kind.name for kind in BASES}
    assert {p.stem for p in Path(package.__path__[0]).glob("[a-z]*.py")} == set(base_names())


# --------------------------------------------------------------------------------------------- what a base promises


@pytest.mark.parametrize("name", base_names())
def test_a_step_teaches_heads_and_features_and_the_slow_heads_only_follow(name: str) -> None:
    base = made(name)
    h = tuple(x.requires_grad_() for x in features(views_of(name)))
    base.loss(seen(base, h, LABELS)).backward()
    slow = {n: p for n, p in base.named_parameters() if n.startswith("slow_")}
    assert bool(slow) == (name in SLOW) == (base.momentum is not None)
    for n, p in base.named_parameters():
        if n in slow:
            assert p.grad is None
            assert not p.requires_grad
        elif n.endswith("bias") and "layers" in n:
            assert p.grad is not None  # before a batch norm a bias has a gradient of about 0
        else:
            assert p.grad is not None, n
            assert p.grad.abs().sum() > 0, n
    assert h[0].grad is not None
    assert h[0].grad.abs().sum() > 0
    assert not any(t.requires_grad for t in base.heads(h, h[:2]).targets)
    with torch.no_grad():
        for n, p in base.named_parameters():
            if n not in slow:
                p.add_(1)
    before = {n: p.clone() for n, p in slow.items()}
    base.follow(0.75)
    now = dict(base.named_parameters())
    for n, old in before.items():
        assert torch.allclose(now[n], 0.75 * old + 0.25 * now[n.removeprefix("slow_")])


@pytest.mark.parametrize("name", base_names())
def test_a_state_dict_holds_all_that_the_next_step_depends_on(name: str) -> None:
    """A base of other weights that takes the state goes on with the very same numbers; one that does not, does not."""

    def step(base: Base, seed: int) -> float:
        optimizer = torch.optim.SGD([p for p in base.parameters() if p.requires_grad], lr=0.1)
        loss = base.loss(seen(base, features(views_of(name), seed=seed), LABELS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        base.follow(0.9)
        return loss.item()

    first, other, without = made(name), made(name, seed=5), made(name, seed=5)
    step(first, 2)
    other.load_state_dict(first.state_dict())
    assert step(first, 3) == step(other, 3) != step(without, 3)
    assert step(first, 4) == step(other, 4)
    if name == "moco":
        without = made(name, seed=5)  # all but the queue: what lightly alone would keep
        without.load_state_dict(
            {k: v for k, v in first.state_dict().items() if "bank" not in k}, strict=False
        )
        assert step(first, 6) != step(without, 6)


@pytest.mark.parametrize("name", base_names())
def test_a_look_without_gradient_leaves_no_trace(name: str) -> None:
    """A held-out loss must not move a queue, a center, prototypes or running statistics."""
    base = made(name).eval()
    h = features(views_of(name))
    with torch.no_grad():
        before = {k: v.clone() for k, v in base.state_dict().items()}
        losses = {base.loss(seen(base, h, LABELS)).item() for _ in range(2)}
    assert len(losses) == 1
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())


@pytest.mark.parametrize("name", base_names())
def test_the_loss_is_in_float32_inside_autocast_and_the_logits_are_too(name: str) -> None:
    base = made(name).float()
    h = tuple(x.float() for x in features(views_of(name)))
    again = copy.deepcopy(base)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = seen(base, h, LABELS)
        found = base.loss(outputs)
    assert outputs.heads.projections[0].dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert found.shape == ()
    wide = Heads(*(tuple(t.float() for t in part) for part in vars(outputs.heads).values()))
    plain = again.loss(Outputs(h, wide, outputs.rows, LABELS))
    assert found.item() == plain.item()
    if name in ("swav", "dino"):
        assert outputs.heads.predictions[0].dtype == torch.float32


# --------------------------------------------------------------------------------------------- a checkpoint's projector


@pytest.mark.parametrize("name", base_names())
def test_a_given_projector_goes_on_as_a_copy_and_is_not_fresh(name: str) -> None:
    given = nn.Sequential(nn.Linear(DIM, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10)).double()
    given.eval().requires_grad_(False)
    before = copy.deepcopy(given.state_dict())
    base = made(name, projector=given)
    assert base.fresh == tuple(n for n in ("predictor", "prototypes") if hasattr(base, n))
    assert made(name).fresh == ("projector", *base.fresh)
    base.train()
    outputs = seen(base, features(views_of(name)), LABELS)
    assert outputs.heads.projections[0].shape == (N, 10)
    base.loss(outputs).backward()
    torch.optim.SGD([p for p in base.parameters() if p.requires_grad], lr=1.0).step()
    own = base.get_submodule("projector").state_dict()
    assert all(torch.equal(v, before[k]) for k, v in given.state_dict().items())
    assert not torch.equal(own["3.weight"], before["3.weight"])


def test_a_projector_for_another_encoder_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"does not take the encoder's 24 features.*--projector fresh"):
        made("simclr", projector=nn.Linear(25, 8))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_projector_with_weight_norm_can_be_taken_over_after_it_ran() -> None:
    given = nn.Sequential(nn.Linear(DIM, 16), nn.utils.weight_norm(nn.Linear(16, 8)))
    given[1].weight_g.requires_grad_(False)
    expected = given(torch.ones(2, DIM))
    base = BASES.get("byol")(DIM, given)
    assert torch.equal(base.get_submodule("projector")(torch.ones(2, DIM)), expected)
    assert not base.get_parameter(
        "projector.1.weight_g"
    ).requires_grad  # some learn: what is fixed stays fixed


def test_swavs_scores_are_cosines_whatever_the_length_of_the_prototypes() -> None:
    base, h = made("swav"), features(4)
    expected = base.heads(h).predictions
    weight = base.get_parameter("prototypes.weight")
    with torch.no_grad():
        weight.mul_(3)
        looked = base.heads(h).predictions
    assert float(weight.norm(dim=1).mean().detach()) == pytest.approx(3)
    learned = base.heads(h).predictions
    for a, b, c in zip(expected, looked, learned, strict=True):
        assert torch.allclose(a, b)
        assert torch.allclose(a, c)
    base.loss(seen(base, h)).backward()  # heads ran twice before it: no complaint of changed weights


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_dinos_heads_are_lightlys() -> None:
    """Bottleneck, unit length and cosines in place of weight_norm: the same numbers from the same weights."""
    theirs = _heads.modules.DINOProjectionHead(DIM, 4 * DIM, 256, 4096, batch_norm=True).double()
    base = made("dino")
    with torch.no_grad():
        base.get_submodule("projector").load_state_dict(theirs.layers.state_dict())
        base.get_parameter("prototypes.weight").copy_(theirs.last_layer.weight_v)
    h = features(1)
    assert torch.allclose(base.heads(h).predictions[0], theirs(h[0]))


def test_widths_are_the_papers_for_a_resnet_50() -> None:
    hidden = {
        "simclr": 2048,
        "moco": 2048,
        "byol": 4096,
        "simsiam": 2048,
        "swav": 2048,
        "barlow": 8192,
        "dino": 2048,
    }
    with torch.device("meta"):
        for name, width in hidden.items():
            head = BASES.get(name).head(None, 2048)  # type: ignore[attr-defined]
            assert next(head.parameters()).shape == (width, 2048), name


def test_slow_heads_work_in_the_mode_of_the_trained_ones() -> None:
    """While new heads are warmed up alone a caller has all else in evaluation mode."""
    base = made("byol").eval()
    base.get_submodule("projector").train()
    heads = base.heads(features(), features())
    assert torch.allclose(heads.targets[0], heads.projections[0])
    assert base.get_buffer("slow_projector.layers.1.num_batches_tracked") == 2


def test_without_lightly_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    spec = importlib.util.spec_from_file_location("another", _heads.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(UsageError, match=r"pip install 'repdiag\[tune\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


# --------------------------------------------------------------------------------------------- the supervised loss


def projections(n: int = 6, views: int = 2) -> list[Tensor]:
    draws = torch.Generator().manual_seed(0)
    return [torch.randn(n, 5, generator=draws, dtype=torch.float64) for _ in range(views)]


def test_without_labels_the_supervised_loss_is_nt_xent() -> None:
    z = projections()
    theirs = _heads.losses.NTXentLoss(temperature=0.3)(*z)
    for labels in (None, torch.full((6,), -1), torch.arange(6)):
        assert supervised_contrastive(z, labels, 0.3).item() == pytest.approx(theirs.item(), rel=1e-12)
    for labels in (torch.zeros(6), torch.tensor([0, 0, -1, -1, -1, -1])):
        assert supervised_contrastive(z, labels.long(), 0.3).item() != pytest.approx(theirs.item(), rel=1e-3)


def test_the_supervised_loss_has_its_analytic_values() -> None:
    """All alike: log(2N - 1). Two orthogonal classes of two: three others, of which one is of the class."""
    assert supervised_contrastive([torch.ones(4, 3)] * 2).item() == pytest.approx(math.log(7), rel=1e-6)
    z = torch.eye(2, dtype=torch.float64)
    e = math.exp(1 / 0.5)
    assert supervised_contrastive([z, z], temperature=0.5).item() == pytest.approx(math.log((e + 2) / e))
    unknown = torch.tensor([3, 3, -1])
    z = [torch.eye(3, dtype=torch.float64)] * 2  # class 3 has two images: positives at cosine 1, 0 and 0
    both, one = math.log(e + 4) - 2 / 3, math.log(e + 4) - 2
    assert supervised_contrastive(z, unknown, 0.5).item() == pytest.approx((4 * both + 2 * one) / 6)


def test_the_supervised_loss_knows_no_order_nor_scale_nor_names_and_its_gradient_is_right() -> None:
    z, labels = projections(views=3), torch.tensor([7, 0, 7, -1, -1, 0])
    value = supervised_contrastive(z, labels, 0.5)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    assert torch.allclose(value, supervised_contrastive([3 * x[order] for x in z[::-1]], labels[order], 0.5))
    assert torch.allclose(value, supervised_contrastive(z, torch.tensor([1, 9, 1, -5, -1, 9]), 0.5))
    assert not torch.allclose(value, supervised_contrastive(z, torch.tensor([7, 0, 7, 0, -1, 0]), 0.5))
    inputs = tuple(x.requires_grad_() for x in z)
    assert torch.autograd.gradcheck(lambda *x: supervised_contrastive(x, labels, 0.5), inputs)


def test_the_supervised_loss_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="second view"):
        supervised_contrastive(projections(views=1))
    with pytest.raises(ValueError, match="above 0"):
        supervised_contrastive(projections(), temperature=0)
