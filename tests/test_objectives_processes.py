"""Two processes with half of the images each are one process with all of them: losses, gradients, batch norm."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

pytest.importorskip("lightly", reason="the base objectives are lightly's, which the extra 'tune' installs")

from timm.layers import BatchNormAct2d

from repdiag.errors import UsageError
from repdiag.objectives import base_names, processes
from repdiag.objectives.contract import BASES, Heads, Outputs
from repdiag.objectives.sync_norm import Synchronized, plain, synchronized

pytestmark = pytest.mark.xdist_group("objectives processes")  # what the processes found is made once

N, STEPS, LIMIT = 8, 2, 240.0
NORMS = {
    "1d": lambda: nn.BatchNorm1d(3),
    "2d": lambda: nn.BatchNorm2d(3),
    "3d": lambda: nn.BatchNorm3d(3, affine=False),
    "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "untracked": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "timm": lambda: BatchNormAct2d(3),
}


def encoder() -> nn.Module:
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers)


def images(step: int) -> Tensor:
    """(V = 4, N, 3, 6, 6): views of the same images."""
    draws = torch.Generator().manual_seed(step)
    image = torch.rand(N, 3, 6, 6, generator=draws, dtype=torch.float64)
    return image + 0.3 * torch.rand(4, N, 3, 6, 6, generator=draws, dtype=torch.float64)


def own(rows: Tensor) -> Tensor:
    """This process's part of the rows of a batch."""
    return rows.chunk(processes.count())[processes.rank()]


def train(name: str, sync: bool = True) -> dict[str, Any]:
    """Two steps in float64 as the loop makes them: the losses, the first step's gradients, the last state."""
    torch.manual_seed(0)
    kind = BASES.get(name)
    net = nn.ModuleDict({"encoder": encoder(), "slow": encoder(), "base": kind(24)}).double()
    net["slow"].load_state_dict(net["encoder"].state_dict())
    net["slow"].requires_grad_(False)
    if sync:
        net = synchronized(net)
    learned = {n: p for n, p in net.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(learned.values(), lr=0.1)
    losses, gradients = [], {}
    for step in range(STEPS):
        x = [own(view) for view in images(step)[: 4 if kind.small_crops else 2]]
        h = [net["encoder"](view) for view in x]
        with torch.no_grad():
            slow = [net["slow"](view) for view in x[:2]]
        heads = net["base"].heads(h, slow)
        parts = (heads.projections, heads.predictions, heads.targets)
        whole = Heads(*(tuple(processes.gather(t) for t in part) for part in parts))
        rows = processes.gather(own(torch.arange(N)))
        loss = net["base"].loss(Outputs(tuple(map(processes.gather, h)), whole, rows, rows % 3))
        optimizer.zero_grad()
        loss.backward()
        for parameter in learned.values():
            if parameter.grad is not None:
                parameter.grad = processes.total(parameter.grad) / processes.count()
        if step == 0:
            gradients = {n: p.grad.clone() for n, p in learned.items() if p.grad is not None}
        optimizer.step()
        net["base"].follow(0.9)
        losses.append(loss.item())
    return {"losses": losses, "gradients": gradients, "state": net.state_dict()}


def normalize(name: str, dtype: torch.dtype, uneven: bool = False) -> dict[str, Any]:
    """One pass in training, forth and back, and one in evaluation, on values far from 0."""
    draws = torch.Generator().manual_seed(3)
    shape = {"1d": (N, 3), "3d": (N, 3, 2, 2, 2)}.get(name, (N, 3, 4, 4))
    x = (1000 + torch.randn(shape, generator=draws, dtype=torch.float64)).to(dtype)
    weights = torch.randn(shape, generator=draws, dtype=torch.float64)
    if uneven:
        part = slice(0, 3) if processes.rank() == 0 else slice(3, N)
        part = part if processes.count() > 1 else slice(0, N)
        x, weights = x[part], weights[part]
    else:
        x, weights = own(x), own(weights)
    x = x.clone().requires_grad_()
    made = NORMS[name]()
    if made.affine:
        nn.init.uniform_(made.weight, generator=draws)
        nn.init.uniform_(made.bias, generator=draws)
    made = made.to(dtype if dtype == torch.float64 else torch.float32)
    names = list(made.state_dict())
    norm = synchronized(made)
    assert norm is made
    y = norm(x)
    (y.double() * weights).sum().backward()
    own_gradients = {n: processes.total(p.grad) for n, p in norm.named_parameters()}
    state = {k: v.clone() for k, v in norm.state_dict().items()}
    assert list(state) == names
    looked = norm.eval()(x)
    assert plain(norm) is made
    assert type(made) is type(NORMS[name]())
    assert torch.equal(made(x), looked)
    assert not set(vars(made)) - set(vars(NORMS[name]()))
    return {
        "y": y.detach(), "x": x.grad, "weights": own_gradients, "state": state, "looked": looked.detach(),
        "dtype": y.dtype,
    }  # fmt: skip


def gathered() -> dict[str, Any]:
    """Each process differentiates the same function of all rows, one of which is used on process 0 only."""
    x = own(torch.arange(12.0, dtype=torch.float64).view(6, 2)).clone().requires_grad_()
    every = processes.gather(x)
    loss = (every**3).sum() + (every[-1].sum() if processes.rank() == 0 else 0)
    loss.backward()
    found = {"all": every.detach(), "gradient": x.grad, "count": processes.count(), "rank": processes.rank()}
    found["total"] = processes.total(x.sum())
    assert not found["total"].requires_grad
    found["flags"] = processes.gather(torch.tensor([processes.rank() == 1]))
    return found


class Odd(nn.BatchNorm1d):
    """A batch norm of its own kind."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


def refused() -> str:
    net = nn.Sequential(nn.BatchNorm1d(2), Odd(2))
    with pytest.raises(UsageError) as caught:
        synchronized(net)
    assert type(net[0]) is nn.BatchNorm1d  # nothing was changed
    return str(caught.value)


def everything() -> dict[str, Any]:
    """All that is compared."""
    found: dict[str, Any] = {"gathered": gathered()}
    for name in base_names():
        found[name] = train(name)
    found["unsynchronized"] = train("simclr", sync=False)
    for name in NORMS:
        found[f"norm {name}"] = normalize(name, torch.float64)
    found["norm float32"] = normalize("2d", torch.float32)
    found["norm bfloat16"] = normalize("2d", torch.bfloat16)
    found["norm uneven"] = normalize("2d", torch.float64, uneven=True)
    if processes.count() > 1:
        found["refused"] = refused()
        net = synchronized(encoder())
        assert synchronized(net) is net  # twice is once
        assert type(plain(net)[1]) is nn.BatchNorm2d
    return found


def work(rank: int, folder: str) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    where = f"file://{folder}/meeting"
    dist.init_process_group(
        "gloo", init_method=where, rank=rank, world_size=2, timeout=timedelta(seconds=LIMIT)
    )
    torch.save(everything(), Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found; one start for all tests, and an end where one of them hangs."""
    folder = tmp_path_factory.mktemp("processes")
    started = mp.spawn(work, args=(str(folder),), nprocs=2, join=False)
    end = time.monotonic() + LIMIT
    while not started.join(timeout=1):
        if time.monotonic() > end:
            for process in started.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    """What a single process finds."""
    return everything()


@pytest.mark.parametrize("name", base_names())
def test_a_base_is_the_same_in_one_process_and_in_two(
    name: str, one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    """Losses of two steps, gradients averaged over processes, and all weights, queues and statistics after them."""
    alone = one[name]
    for found in (process[name] for process in two):
        assert found["losses"] == pytest.approx(alone["losses"], rel=1e-6)
        assert found["gradients"].keys() == alone["gradients"].keys()
        for n, g in alone["gradients"].items():
            assert torch.allclose(
                found["gradients"][n], g, rtol=1e-5, atol=1e-5 * float(g.abs().max() + 1e-6)
            ), n
        assert found["state"].keys() == alone["state"].keys()
        for n, t in alone["state"].items():
            assert torch.allclose(found["state"][n].double(), t.double(), rtol=1e-4, atol=1e-6), n
    assert any(float(g.abs().max()) > 1e-6 for n, g in alone["gradients"].items() if n.startswith("encoder"))


def test_without_synchronized_norms_it_is_not_the_same(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    """So the comparison above can fail."""
    assert one["unsynchronized"]["losses"] == one["simclr"]["losses"]
    alone, found = one["simclr"]["losses"][0], two[0]["unsynchronized"]["losses"][0]
    assert found != pytest.approx(alone, rel=1e-4)


TOLERANCES = {"norm float32": 1e-4, "norm bfloat16": 2e-2}


@pytest.mark.parametrize(
    "name", [*(f"norm {n}" for n in NORMS), "norm float32", "norm bfloat16", "norm uneven"]
)
def test_batch_norm_over_two_processes_is_that_of_one(
    name: str, one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    """Forward, backward, running statistics and evaluation, at a mean 1000 times the standard deviation."""
    alone, close = one[name], TOLERANCES.get(name, 1e-9)
    for part in ("y", "x", "looked")[
        : 2 if name == "norm untracked" else 3
    ]:  # evaluation is not synchronized
        both = torch.cat([process[name][part] for process in two])
        assert torch.allclose(both.double(), alone[part].double(), rtol=close, atol=close), part
    for process in two:
        assert process[name]["dtype"] == alone["dtype"]
        for part in ("weights", "state"):
            assert process[name][part].keys() == alone[part].keys()
            for n, t in alone[part].items():
                assert torch.allclose(process[name][part][n].double(), t.double(), rtol=close, atol=close), n


def test_gathered_rows_have_the_gradients_of_all_processes(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    x = torch.arange(12.0, dtype=torch.float64).view(6, 2)
    for rank, found in enumerate(process["gathered"] for process in two):
        assert torch.equal(found["all"], x)
        extra = torch.tensor([[0.0], [0], [0], [0], [0], [1]])
        assert torch.equal(found["gradient"], (2 * 3 * x**2 + extra).chunk(2)[rank])
        assert (found["count"], found["rank"]) == (2, rank)
        assert found["total"] == x.sum()
        assert found["flags"].tolist() == [False, True]
    alone = one["gathered"]
    assert (alone["count"], alone["rank"]) == (1, 0)
    assert torch.equal(alone["all"], x)
    assert alone["flags"].tolist() == [False]


def test_an_unknown_batch_norm_is_refused_before_anything_changes(two: list[dict[str, Any]]) -> None:
    assert two[0]["refused"].startswith("The encoder's batch norm Odd cannot be synchronized over processes.")
    assert "--batch-norm frozen" in two[0]["refused"]


def test_with_one_process_nothing_is_converted() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), Odd(2))
    assert synchronized(net) is net
    assert not any(isinstance(m, Synchronized) for m in net.modules())
