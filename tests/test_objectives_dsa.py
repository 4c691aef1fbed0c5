"""DSA, repaired and literal: hand-computed cases, slow references, gradients, symmetries, and what collapses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.objectives import dsa, dsa_literal
from repdiag.objectives.contract import REGULARIZERS, Heads, Outputs
from repdiag.objectives.regularizers.dsa import DSARegularizer
from repdiag.objectives.regularizers.dsa_literal import DSALiteralRegularizer

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def outputs(n: int = 12, width: int = 5, dim: int = 7, seed: int = 0) -> Outputs:
    """A batch in which the two views of an image resemble each other."""
    image = drawn(n, width, seed=seed)
    views = tuple(image + 0.3 * drawn(n, width, seed=seed + k) for k in (1, 2))
    before = drawn(n, dim, seed=seed + 3)
    reference = (before, before + 0.1 * drawn(n, dim, seed=seed + 4))
    return Outputs(views, Heads(views), torch.arange(n), reference=reference)


def attached(kind: Any, like: Outputs, seed: int = 0, **numbers: Any) -> Any:
    torch.manual_seed(seed)
    made = kind(**numbers)
    made.attach(9, like.heads)
    made.double()
    for parameter in made.parameters():  # none at the zero it starts from
        nn.init.normal_(parameter, std=0.3)
    return made


# Slow references: plain loops over the pairs, in float64.


def slow_scores(r: Tensor, eta: int, m: int) -> list[float]:
    cosines = nn.functional.normalize(r) @ nn.functional.normalize(r).T
    n = len(r)
    near = [sorted((j for j in range(n) if j != i), key=lambda j: -cosines[i, j])[:eta] for i in range(n)]
    count = {(i, j): sum(i in near[k] for k in near[j]) for i in range(n) for j in range(n)}
    return [sum(count[i, j] > m for j in near[i]) / eta for i in range(n)]


def slow_loss(z: list[Tensor], m: Any, s: list[float], tau: float) -> Tensor:
    """m(view, i, other view, j) -> M."""
    n = len(s)
    unit = [nn.functional.normalize(x) for x in z]
    total = torch.zeros((), dtype=DOUBLE)
    for a, b in itertools.product((0, 1), repeat=2):
        block = [
            torch.exp(s[i] * (unit[a][i] - unit[b][j]).norm() * (2 * m(a, i, b, j) - 1) / tau)
            for i in range(n)
            for j in range(n)
            if (a, i) != (b, j)
        ]
        total = total + sum(block) / n**2
    return torch.log(1 + total / 4)


def slow_gap(m: Any, wanted: Any, n: int) -> Tensor:
    blocks = itertools.product((0, 1), repeat=2)
    pairs = list(itertools.product(range(n), repeat=2))
    return sum(
        torch.stack([(m(a, i, b, j) - wanted(a, i, b, j)) ** 2 for i, j in pairs]).sum().sqrt()
        for a, b in blocks
    )


def test_repaired_terms_equal_plain_loops():
    """Module, prior, bandwidth, scores and losses written out pair by pair."""
    given = outputs()
    reg = attached(DSARegularizer, given, eta=4, m=1, quantile=0.2, hidden=6)
    terms = reg.terms(given)
    n, net = 12, reg.arranging
    z = [nn.functional.normalize(x) for x in given.heads.projections]
    r = nn.functional.normalize(given.reference[0])
    apart = sorted(float((r[i] - r[j]).norm()) for i in range(n) for j in range(n) if i != j)
    tau = apart[math.ceil(0.2 * len(apart)) - 1]

    def m(a: int, i: int, b: int, j: int) -> Tensor:
        if i == j:
            return torch.ones((), dtype=DOUBLE)
        one, two = (torch.relu(net.first(math.sqrt(5) * x)) for x in (z[a][i], z[b][j]))
        logit = net.cosine[0] * (z[a][i] @ z[b][j]) + net.cosine[1]
        sums, products = (net.second[0] * (one + two)).sum(), (net.second[1] * one * two).sum()
        return torch.sigmoid(logit + (sums + products) / math.sqrt(6))

    def wanted(a: int, i: int, b: int, j: int) -> Tensor:
        return torch.exp(-(r[i] - r[j]).norm() / tau)

    scores = slow_scores(r, 3, 1)  # of 12 images at most 12 / 4
    assert {0.0} < set(scores)
    torch.testing.assert_close(terms["arrange"], slow_loss(z, m, scores, 0.5))
    torch.testing.assert_close(terms["prior"], 0.01 * slow_gap(m, wanted, n))
    assert reg.facts()["tau"] == pytest.approx(tau)
    assert reg.facts()["mean_s"] == pytest.approx(sum(scores) / n)
    assert (reg.facts()["eta"], reg.facts()["m"]) == (3, 1)
    off = [
        m(a, i, b, j)
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    assert reg.facts()["mean_m"] == pytest.approx(float(torch.stack(off).mean().detach()))


@pytest.mark.parametrize("variant", ["difference", "concatenated"])
def test_literal_terms_equal_plain_loops(variant: str, monkeypatch: pytest.MonkeyPatch):
    """As the released code computes them, all N^2 inputs made one by one; also when computed in parts."""
    given = outputs()
    reg = attached(DSALiteralRegularizer, given, eta=4, m=1, hidden=6, variant=variant)
    n, net = 12, reg.arranging
    z = given.heads.projections
    r = [nn.functional.normalize(x) for x in given.reference]
    made = []
    for x in z:
        if variant == "difference":
            pairs = torch.stack([x[i] - x[j] for i in range(n) for j in range(n)])
            pairs = pairs / pairs.abs().sum(0)
        else:
            pairs = torch.stack([torch.cat([x[i], x[j]]) for i in range(n) for j in range(n)])
        out = torch.relu(net.second(torch.relu(net.first(pairs)))).view(n, n)
        if variant == "difference":
            out = out / out.sum(1, keepdim=True).clamp_min(1e-12)
        made.append(out)
    scores = slow_scores(given.reference[0], 4, 1)
    loss = slow_loss(list(z), lambda a, i, b, j: made[a][i, j], scores, 0.5)
    gap = slow_gap(
        lambda a, i, b, j: made[a][i, j], lambda a, i, b, j: torch.exp(-(r[a][i] - r[b][j]).norm() / 0.5), n
    )
    terms = reg.terms(given)
    torch.testing.assert_close(terms["arrange"], loss)
    torch.testing.assert_close(terms["prior"], 0.01 * gap)
    whole = torch.autograd.grad(terms["arrange"], list(reg.parameters()))
    monkeypatch.setattr(dsa_literal, "PAIR_UNITS", 2 * 12 * 6)
    parts = torch.autograd.grad(reg.terms(given)["arrange"], list(reg.parameters()))
    torch.testing.assert_close(parts, whole)


def test_loss_of_two_images_by_hand():
    """Two images on opposite sides, both views alike: distances 0 and 2, and exponents that can be counted."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=DOUBLE).repeat(2, 1)
    apart = dsa.distances(z)
    assert apart[0].tolist() == [0, 2, 0, 2]
    ones = torch.ones(2, dtype=DOUBLE)
    repel = dsa.arranged(torch.full((4, 4), -torch.inf, dtype=DOUBLE))
    assert repel.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]] * 2
    # 00 and 11: two pairs at 2, nothing for the diagonal; 01 and 10: two positives at 0, two pairs at 2.
    away = math.exp(-2 / 0.5)
    expected = math.log(1 + (2 * 2 * away + 2 * (2 + 2 * away)) / 4 / 4)
    assert float(dsa.arranging_loss(apart, repel, ones, 0.5)) == pytest.approx(expected)
    attract = torch.ones(4, 4, dtype=DOUBLE)
    near = math.exp(2 / 0.5)
    expected = math.log(1 + (2 * 2 * near + 2 * (2 + 2 * near)) / 4 / 4)
    assert float(dsa.arranging_loss(apart, attract, ones, 0.5)) == pytest.approx(expected)
    # s = 0 switches all off: only how many pairs there are is left, 12 of 16.
    assert float(dsa.arranging_loss(apart, attract, 0 * ones, 0.5)) == pytest.approx(math.log(1 + 12 / 16))
    # One image of two switched off: its 6 pairs give 1 each.
    half = torch.tensor([1.0, 0.0], dtype=DOUBLE)
    expected = math.log(1 + (6 + 2 + 4 * near) / 16)
    assert float(dsa.arranging_loss(apart, attract, half, 0.5)) == pytest.approx(expected)
    assert float(dsa.uniformity(apart)) == pytest.approx(-8)
    assert float(dsa.arranging_loss(apart, attract, ones, 0.001)) == pytest.approx(2000 + math.log(8 / 16))


def test_prior_and_scores_by_hand():
    """Five images on a circle: a group of three, a pair between, and what each one's neighbors say."""
    degrees = torch.tensor([0.0, 10.0, 25.0, 90.0, 170.0], dtype=DOUBLE).deg2rad()
    r = torch.stack([degrees.cos(), degrees.sin()], 1)
    # N(0) = {1, 2}, N(1) = {0, 2}, N(2) = {1, 0}, N(3) = {2, 1}, N(4) = {3, 2}. Of 0's neighbors, 1 points to 2, which
    # points back to 0, and 2 points to 1, which does: all confirmed. Nobody points to 3 but 4, nobody to 4.
    assert dsa.anchor_scores(r, 2, 0).tolist() == [1, 1, 1, 0, 0]
    assert dsa.anchor_scores(r, 2, 1).tolist() == [0, 0, 0, 0, 0]
    assert dsa_literal.literal_scores(r, 2, 0).tolist() == [1, 1, 1, 0, 0]
    apart = dsa.distances(r)
    assert float(apart[0, 3]) == pytest.approx(math.sqrt(2))
    ten, fifteen = 2 * math.sin(math.radians(5)), 2 * math.sin(math.radians(7.5))
    assert float(dsa.bandwidth(apart, 0.1)) == pytest.approx(ten)
    assert float(dsa.bandwidth(apart, 0.11)) == pytest.approx(fifteen)
    assert float(dsa.prior(apart, ten)[0, 1]) == pytest.approx(math.exp(-1))
    wanted = dsa.prior(apart, 0.5)
    none = torch.zeros(10, 10, dtype=DOUBLE)
    assert float(dsa.prior_gap(none, wanted)) == pytest.approx(4 * float(wanted.norm()))
    assert float(dsa.prior_gap(wanted.repeat(2, 2), wanted)) == 0


@pytest.mark.parametrize(("n", "eta"), [(40, 3), (40, 12), (64, 20), (9, 8)])
def test_chance_threshold_is_that_of_a_random_graph(n: int, eta: int):
    """Mean and variance of the counts on the arrows of simulated graphs."""
    draws = torch.rand(300, n, n, generator=torch.Generator().manual_seed(0))
    draws.diagonal(dim1=1, dim2=2).fill_(-1)
    graphs = torch.zeros(300, n, n).scatter_(2, draws.topk(eta).indices, 1.0)
    counts = (graphs @ graphs).transpose(1, 2)[graphs > 0].double()
    mean, sd = float(counts.mean()), float(counts.std())
    assert dsa.chance_threshold(n, eta) == pytest.approx(mean + 2 * sd, abs=1.03)
    assert dsa.chance_threshold(n, eta) <= mean + 2 * sd + 0.03
    scores = [
        dsa.confirmed(g.topk(eta).indices, dsa.chance_threshold(n, eta), DOUBLE).mean() for g in graphs[:100]
    ]
    assert float(torch.stack(scores).mean()) < 0.1


def test_clusters_are_confirmed_and_outliers_switched_off():
    """Four tight groups of 14 and eight images without one."""
    centers = 4 * drawn(4, 20)
    r = torch.cat([centers.repeat_interleave(14, 0) + 0.2 * drawn(56, 20, seed=1), 3 * drawn(8, 20, seed=2)])
    eta = dsa.neighbors_used(20, 64, classes=4)
    assert eta == 8
    scores = dsa.anchor_scores(dsa.unit(r), eta, dsa.chance_threshold(64, eta))
    assert float(scores[:56].mean()) > 0.8
    assert float(scores[56:].sum()) == 0
    too_many = dsa.anchor_scores(dsa.unit(r), 16, dsa.chance_threshold(64, 16))
    assert float(too_many[56:].sum()) > 0  # beyond a group's size outliers vouch for one another


def test_neighbors_are_limited_by_batch_and_classes():
    assert dsa.neighbors_used(20, 256) == 20
    assert dsa.neighbors_used(20, 256, 10) == 12
    assert dsa.neighbors_used(20, 64) == 16  # at least two clusters
    assert dsa.neighbors_used(20, 64, 1) == 16
    assert dsa.neighbors_used(20, 256, 200) == 2  # never 1, which nothing can confirm
    assert [dsa.neighbors_used(20, n) for n in (0, 1, 2, 3)] == [0, 0, 1, 2]
    r = dsa.unit(drawn(40, 4))
    assert float(dsa.anchor_scores(r, 1, 0).sum()) == 0
    assert float(dsa.anchor_scores(r, 39, dsa.chance_threshold(40, 39)).sum()) == 0


@pytest.mark.parametrize("kind", [DSARegularizer, DSALiteralRegularizer])
@pytest.mark.parametrize("variant", ["difference", "concatenated"])
def test_gradients(kind: Any, variant: str):
    """Against finite differences in double precision, with respect to both views' projections."""
    given = outputs(n=6, width=3)
    reg = attached(
        kind, given, hidden=4, eta=2, m=0, **({"variant": variant} if kind.kind.name != "dsa" else {})
    )
    z1, z2 = (x.clone().requires_grad_() for x in given.heads.projections)
    reference = given.reference[: 1 if kind is DSARegularizer else 2]
    if kind is DSALiteralRegularizer:
        assert torch.autograd.gradcheck(lambda a, b: reg(a, b, *reference), (z1, z2))
        return

    # M is a constant in L_w: there finite differences must keep it, so that the prior term is checked by itself.
    def parts(a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return reg.terms(Outputs((), Heads((a, b)), given.rows, reference=reference))

    assert torch.autograd.gradcheck(lambda a, b: parts(a, b)["prior"], (z1, z2))
    m, scores = (
        dsa.arranged(reg.arranging(dsa.unit(torch.cat([z1, z2])))).detach(),
        reg._reference(reference[0])[0],
    )

    def fixed(a: Tensor, b: Tensor) -> Tensor:
        return dsa.arranging_loss(dsa.distances(dsa.unit(torch.cat([a, b]))), m, scores, 0.5)

    assert torch.autograd.gradcheck(fixed, (z1, z2))
    mine = torch.autograd.grad(parts(z1, z2)["arrange"], (z1, z2))
    torch.testing.assert_close(mine, torch.autograd.grad(fixed(z1, z2), (z1, z2)))
    assert not torch.autograd.gradcheck(lambda a, b: parts(a, b)["arrange"], (z1, z2), raise_exception=False)
    uniform = lambda a, b: dsa.uniformity(dsa.distances(dsa.unit(torch.cat([a, b]))))  # noqa: E731
    assert torch.autograd.gradcheck(uniform, (z1, z2))


def test_the_module_learns_at_one_rate_and_only_from_the_prior():
    """Its gradient is that of the mean RMS gap, whatever lambda_m; L_w gives it none."""
    given, found = outputs(), []
    for projections in given.heads.projections:
        projections.requires_grad_()
    for weight in (0.01, 3.0):
        reg = attached(DSARegularizer, given, lambda_m=weight)
        terms, parameters = reg.terms(given), list(reg.parameters())
        assert (
            torch.autograd.grad(terms["arrange"], parameters, allow_unused=True, retain_graph=True)
            == (None,) * 4
        )
        found.append(torch.autograd.grad(terms["prior"], parameters))
    torch.testing.assert_close(found[0], found[1])
    z, wanted = dsa.unit(torch.cat(given.heads.projections)), reg._reference(given.reference[0])[1]
    gap = dsa.prior_gap(dsa.arranged(reg.arranging(z)), wanted) / (4 * 12)
    torch.testing.assert_close(found[0], torch.autograd.grad(gap, parameters))
    with pytest.raises(UsageError, match="lambda_m"):
        DSARegularizer(lambda_m=0.0)


@pytest.mark.parametrize("kind", [DSARegularizer, DSALiteralRegularizer])
def test_order_of_images_and_scale_of_projections(kind: Any):
    """Another order of the images changes nothing; for the repaired one neither do another scale and swapped views."""
    given, order = outputs(n=16), torch.randperm(16, generator=torch.Generator().manual_seed(3))
    reg = attached(kind, given, eta=3, m=0)
    z, r = given.heads.projections, given.reference
    inputs = r[:1] if kind is DSARegularizer else r
    value = reg(*z, *inputs)
    torch.testing.assert_close(reg(*(x[order] for x in z), *(x[order] for x in inputs)), value)
    assert not torch.isclose(reg(z[0][order], z[1], *inputs), value)
    if kind is DSARegularizer:
        torch.testing.assert_close(reg(z[1], z[0], *inputs), value)
        torch.testing.assert_close(reg(7 * z[0], 0.1 * z[1], 3 * r[0]), value)
        logits = reg.arranging(dsa.unit(torch.cat(z)))
        torch.testing.assert_close(logits, logits.T)
    else:
        m = reg.arranging(z[0])
        assert not torch.allclose(m, m.T)
    scores = dsa.anchor_scores(dsa.unit(r[0]), 3, 0)
    torch.testing.assert_close(dsa.anchor_scores(dsa.unit(r[0][order]), 3, 0), scores[order])


def test_pairs_attract_above_one_half_and_repel_below():
    """The sign of L_w's gradient in each distance; an anchor that is switched off has none, for its own pairs."""
    given = outputs()
    m = torch.rand(24, 24, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    scores = torch.linspace(0, 1, 12, dtype=DOUBLE)
    apart = dsa.distances(dsa.unit(torch.cat(given.heads.projections))).requires_grad_()
    dsa.arranging_loss(apart, m, scores, 0.5).backward()
    assert apart.grad is not None
    expected = torch.sign(m - 0.5) * torch.sign(scores).repeat(2)[:, None]
    assert torch.equal(apart.grad.sign(), expected.fill_diagonal_(0))


def test_the_literal_module_collapses_and_the_repaired_one_does_not():
    """L_w alone drives the literal M to 0; trained on its terms the repaired M comes to the prior's mean."""
    given = outputs(n=32, width=16)
    reg = attached(DSALiteralRegularizer, given, lambda_m=0.0, variant="concatenated")
    torch.manual_seed(0)
    reg.arranging = dsa_literal.LiteralArranging(16, 64, "concatenated").double()
    nn.init.constant_(reg.arranging.second.bias, 0.5)  # begin with attraction
    optimizer = torch.optim.SGD(reg.parameters(), lr=0.1, momentum=0.9)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        reg(*given.heads.projections, *given.reference).backward()
        optimizer.step()
        values.append(reg.facts()["mean_m"])
    assert values[0] > 0.3
    assert values[-1] == 0
    assert reg.facts()["mean_prior"] > 0.05

    # As released, the difference variant starts at 1/N, or at 0 (dead from the start): which one depends on the draw.
    starts = []
    for seed in range(8):
        torch.manual_seed(seed)
        with torch.no_grad():
            m = dsa_literal.LiteralArranging(16, 64, "difference").double()(given.heads.projections[0])
        starts.append(float(m.mean()))
        assert bool(((m - 1 / 32).abs() < 0.05 / 32).all() or (m == 0).all())
    assert len({round(32 * s) for s in starts}) == 2

    for rate in (0.3, 0.01):
        repaired = attached(DSARegularizer, given)
        optimizer = torch.optim.SGD(repaired.parameters(), lr=rate, momentum=0.9)
        for _ in range(150):
            optimizer.zero_grad()
            repaired(*given.heads.projections, given.reference[0]).backward()
            optimizer.step()
        facts = repaired.facts()
        assert facts["mean_m"] == pytest.approx(facts["mean_prior"], abs=0.05)


def test_ablations_replace_one_part_each():
    given = outputs()
    names = {}
    for name, numbers in DSARegularizer.ablations().items():
        reg = attached(DSARegularizer, given, eta=4, m=0, **numbers)
        names[name] = {key: float(value.detach()) for key, value in reg.terms(given).items()}
        if name in ("M=0", "M=prior"):
            assert not list(reg.parameters())
            mean = reg.facts()["mean_prior"] if name == "M=prior" else 0
            assert reg.facts()["mean_m"] == pytest.approx(mean, abs=1e-12)
        if name == "s=1":
            assert reg.facts()["mean_s"] == 1
    assert {name: sorted(terms) for name, terms in names.items()} == {
        "M=0": ["arrange"],
        "M=prior": ["arrange"],
        "s=1": ["arrange", "prior"],
        "uniformity": ["uniformity"],
    }
    whole = float(attached(DSARegularizer, given, eta=4, m=0).terms(given)["arrange"].detach())
    assert len({whole, *(terms.get("arrange", 0.0) for terms in names.values())}) == 5
    z = [nn.functional.normalize(x) for x in given.heads.projections]
    slow = [
        math.log(
            sum(
                math.exp(-2 * float((x[i] - x[j]).norm()) ** 2)
                for i in range(12)
                for j in range(12)
                if i != j
            )
            / 132
        )
        for x in z
    ]
    assert names["uniformity"]["uniformity"] == pytest.approx(sum(slow) / 2)


@pytest.mark.parametrize("kind", [DSARegularizer, DSALiteralRegularizer])
@pytest.mark.parametrize("case", ["two", "identical", "zero rows", "half", "large"])
def test_degenerate_batches_give_finite_values_and_gradients(kind: Any, case: str):
    """Two images, all alike, rows without a direction, half precision: finite everywhere, in float32."""
    n = 2 if case == "two" else 24
    given = outputs(n=n, width=8)
    z1, z2 = (x.float().clone() for x in given.heads.projections)
    r = [x.float().clone() for x in given.reference]
    if case == "identical":
        z1, z2, r = (x[:1].expand(n, -1).clone() for x in (z1, z1, r[0])), None, [r[0][:1].expand(n, -1)] * 2
        z1, z2, _ = z1
    if case == "zero rows":
        z1[:3], z2[1:5], r[0][:2] = 0, 0, 0
    if case == "half":
        z1, z2 = z1.bfloat16(), z2.bfloat16()
    if case == "large":
        z1, z2 = 1e10 * z1, 1e-10 * z2
    z1.requires_grad_()
    z2.requires_grad_()
    torch.manual_seed(0)
    reg = kind(eta=50)
    reg.attach(8, Heads((z1, z2)))
    value = reg(z1, z2, *r[: 1 if kind is DSARegularizer else 2])
    value.backward()
    assert value.dtype == torch.float32
    assert bool(value.isfinite())
    for got in (z1.grad, z2.grad, *(p.grad for p in reg.parameters())):
        assert got is not None
        assert bool(got.isfinite().all())
    if case == "zero rows":
        assert kind is DSALiteralRegularizer or float(z1.grad[:3].abs().sum()) == 0
    if case == "identical" and kind is DSARegularizer:
        assert reg.facts()["mean_prior"] == 1
    assert all(math.isfinite(v) for v in reg.facts().values())


def test_registered_and_refused():
    """By name; a state_dict brings the module back; what is missing is said in a sentence."""
    assert REGULARIZERS.get("dsa") is DSARegularizer
    assert REGULARIZERS.get("dsa-literal") is DSALiteralRegularizer
    given = outputs()
    reg, other = attached(DSARegularizer, given), attached(DSARegularizer, given, seed=1)
    assert reg.facts() == {}
    assert not torch.isclose(reg.terms(given)["prior"], other.terms(given)["prior"])
    other.load_state_dict(reg.state_dict())
    torch.testing.assert_close(other.terms(given), reg.terms(given))
    for kind in (DSARegularizer, DSALiteralRegularizer):
        with pytest.raises(UsageError, match="attach"):
            kind().terms(given)
        with pytest.raises(UsageError, match="before training"):
            kind().terms(Outputs(given.features, given.heads, given.rows))
    with pytest.raises(UsageError, match="two images"):
        reg(drawn(1, 5), drawn(1, 5), drawn(1, 5))
    with pytest.raises(UsageError, match="12, 12 and 11"):
        reg(*given.heads.projections, drawn(11, 7))
