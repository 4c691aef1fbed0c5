"""Multinomial logistic regression by L-BFGS (torch), on the CPU or a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.kernels.rows import Doubles, Floats, Ints
from repdiag.kernels.threads import suited


@dataclass(frozen=True)
class LinearModel:
    """`weight` (D, K) and `bias` (K,) on features standardized by `mean` and `scale` (D,)."""

    weight: Floats
    bias: Floats
    mean: Floats
    scale: Floats

    def logits(self, x: Floats) -> Floats:
        """(N, D) -> (N, K)."""
        folded = self.weight / self.scale[:, None]
        return np.asarray(x @ folded + (self.bias - self.mean @ folded), np.float32)

    def probabilities(self, x: Floats) -> Doubles:
        """Softmax of the logits, (N, K)."""
        from scipy.special import softmax

        return np.asarray(softmax(self.logits(x).astype(np.float64), axis=1))


def fit(
    x: Floats,
    y: Ints,
    k: int,
    l2: float,
    *,
    start: LinearModel | None = None,
    standard: tuple[Floats, Floats] | None = None,
    iterations: int = 100,
    device: str = "cpu",
) -> LinearModel:
    """Minimize mean cross-entropy + l2/2 * ||W||^2 (the bias is free) over rows `x` (N, D), labels `y` (N,).

    Features are standardized with the mean and population std of `x` (constant features get scale 1): the
    problem is then well conditioned and `l2` means the same for every encoder. `start` warms up from another
    solution on the same features. `standard` gives mean and scale (D,) from elsewhere: of a few rows they would
    say little. In scikit-learn's terms C = 1 / (l2 * N).
    """
    import torch

    rows = torch.from_numpy(np.array(x, np.float32)).to(device)
    if standard is None:
        mean = rows.double().mean(0).float()
        scale = rows.double().std(0, correction=0).float()
        scale[scale < 1e-12] = 1
    else:
        mean, scale = (torch.from_numpy(np.array(v, np.float32)).to(device) for v in standard)
    rows.sub_(mean).div_(scale)
    target = torch.from_numpy(np.array(y)).to(device)
    basis = None
    if rows.shape[0] < rows.shape[1]:  # the best W lies in the span of the rows: N coordinates each do
        basis, triangle = torch.linalg.qr(rows.T)
        rows = triangle.T.contiguous()
    if start is None:
        weight, bias = torch.zeros(rows.shape[1], k, device=device), torch.zeros(k, device=device)
    else:
        weight = torch.from_numpy(start.weight.copy()).to(device)
        weight = weight if basis is None else basis.T @ weight
        bias = torch.from_numpy(start.bias.copy()).to(device)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-6,  # of the loss: tighter moved no accuracy by more than a sample in a thousand
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(torch.addmm(bias, rows, weight), target)
        value = value + l2 / 2 * (weight * weight).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad(), suited(rows.numel() * k):
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    if basis is not None:
        weight = basis @ weight.detach()
    return LinearModel(
        *(np.asarray(v.detach().cpu().numpy(), np.float32) for v in (weight, bias, mean, scale))
    )
