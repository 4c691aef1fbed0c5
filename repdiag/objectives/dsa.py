"""DSA (Song et al., arXiv 2407.13541), repaired: which pairs of images attract, which repel, which anchors count.

Only the authors' code is public, the paper's loss was not recovered: what a docstring marks C is read in that code,
O is ours. Why it had to be repaired is told in docs/adr/0010. Everything is a function of a batch of N images in two
views: `z` (2N, P) unit projections, first all of view 0, then all of view 1, and `r` (N, R) unit reference features,
the same for both views. A matrix of 2N x 2N pairs holds the four blocks 00, 01, 10, 11 (view of the anchor, of the
other). Time O(N^2 (N + P + R)), memory O(N^2): nothing has N^2 times a width, and no loop runs over samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from repdiag.objectives.rows import computing

TINY = 8
"""Squared distances below so many units of rounding are zero: what is left there has no direction."""


def unit(x: Tensor) -> Tensor:
    """Rows (n, D) of length 1, in at least float32; a zero row stays zero and gets no gradient."""
    x = computing(x)
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(length > torch.finfo(x.dtype).tiny, length, torch.inf)


def distances(x: Tensor) -> Tensor:
    """||x_i - x_j|| (n, n) of rows (n, D) of length 0 or 1, by one matrix product.

    Rows that coincide up to rounding (below 1e-3 in float32) have distance 0 and gradient 0, as has the diagonal.
    """
    squares = (x * x).sum(1)
    squared = torch.addmm(squares, x, x.T, alpha=-2) + squares[:, None]
    least = TINY * torch.finfo(x.dtype).eps
    return squared.clamp_min(least).sqrt().masked_fill(squared <= least, 0)


def neighbors_used(eta: int, n: int, classes: int | None = None) -> int:
    """How many of a batch's n images are neighbors of one: eta, but at most n / (2K), at least 2 (O).

    An image has about n / K of its kind in the batch; half of them are near enough to be told from the rest. Unknown
    K counts as 2. One neighbor alone can never be confirmed (see `anchor_scores`), hence the 2: with fewer than 4K
    images in the batch neighbors are mostly of other classes, and only a larger batch helps.
    """
    return max(0, min(eta, n - 1, max(2, n // (2 * max(classes or 2, 2)))))


def chance_threshold(n: int, eta: int) -> int:
    """m: the largest count that a random graph explains, floor(mean + 2 standard deviations) (O).

    In it each of n nodes points to eta others, drawn without replacement and for each node apart. For j in N(i), the
    count s_ij of `anchor_scores` is then Binomial(eta - B, p), with p = eta / (n - 1) and B = 1 with probability p:
    where j points back to i, that place is lost, for i does not point to itself. Hence mean (eta - p) p and variance
    p (1 - p) (eta - p + p^2). Neighbor graphs of features are geometric, and pass this threshold even where there is
    no cluster at all: with n = 256 and eta = 20 the mean score of isotropic Gaussians is 1.0 in 2 dimensions, 0.45
    in 32 and 0.08 in 512. It only removes what has no geometry.
    """
    if n < 2:
        return 0
    p = eta / (n - 1)
    return math.floor((eta - p) * p + 2 * math.sqrt(p * (1 - p) * (eta - p + p * p)) + 1e-9)


def anchor_scores(r: Tensor, eta: int, m: int) -> Tensor:
    """s (N,) in [0, 1]: the share of an image's neighbors that confirm it; 0 switches an outlier's pairs off (C).

    N(i) are the eta images j != i of largest cosine r_i . r_j (ties as topk breaks them), s_ij = |{l in N(j) : i in
    N(l)}| for j in N(i), and s_i = |{j in N(i) : s_ij > m}| / eta. With the graph's 0/1 matrix A, s_ij = (A A)_ji: one
    matrix product. No gradient. With eta = 1 the score is 0 (three images cannot each be nearest to the next, and i
    is no neighbor of itself), with eta = N - 1 and m of `chance_threshold` too. Without neighbors it is 0.
    """
    with torch.no_grad():
        eta = min(eta, len(r) - 1)
        if eta < 1:
            return torch.zeros_like(r[:, 0])
        return confirmed((r @ r.T).fill_diagonal_(-torch.inf).topk(eta, sorted=False).indices, m, r.dtype)


def confirmed(nearest: Tensor, m: int, dtype: torch.dtype) -> Tensor:
    """The share (N,) of each row's neighbors j that confirm it, of `nearest` (N, eta): see `anchor_scores`."""
    n, eta = nearest.shape
    graph = torch.zeros(n, n, dtype=dtype, device=nearest.device).scatter_(1, nearest, 1.0)
    return (graph * (graph @ graph).T.gt(m)).sum(1) / eta


def bandwidth(apart: Tensor, quantile: float) -> Tensor:
    """tau: the smallest distance that a share `quantile` of the pairs of different images does not exceed (O).

    `apart` (N, N) are distances with a zero diagonal. In the prior a pair attracts where it is nearer than tau ln 2;
    where distances concentrate, as in most encoders, these are few: 3 % of the pairs of a ResNet-20, 0.1 % of a
    Conv4's on CIFAR-10 with the quantile 0.1. Most of DSA is then repulsion, weaker between similar images.
    """
    n = len(apart)
    if n < 2:
        return torch.ones_like(apart[0, 0])
    k = max(1, math.ceil(quantile * n * (n - 1)))
    different = apart.clone().fill_diagonal_(torch.inf)
    return different.flatten().kthvalue(k).values


def prior(apart: Tensor, tau: Tensor | float) -> Tensor:
    """Mp_ij = exp(-||r_i - r_j|| / tau) (N, N) in [0, 1], 1 where i and j coincide (C); `apart` are the distances."""
    least = torch.finfo(apart.dtype).tiny
    return torch.exp(-apart / torch.as_tensor(tau, dtype=apart.dtype, device=apart.device).clamp_min(least))


class Arranging(nn.Module):
    """M_ij in [0, 1] from two unit projections, the same for (i, j) and (j, i): a network of two layers (O).

    The first layer (`hidden` units a_i = ReLU(W sqrt(P) z_i + b)) is shared by both members of a pair, the second
    reads what is symmetric in them, the sum and the product of each unit, and the cosine:
    logit M_ij = c + k z_i . z_j + 1/sqrt(hidden) sum_h (u_h (a_ih + a_jh) + v_h a_ih a_jh).

    Hidden units of pairs, as in the released code (of z_i - z_j, or of both side by side), need (2N)^2 x hidden
    numbers, and |z_i - z_j| is not even linear: here all pairs are one matrix product of 2N x (P + hidden). On the
    features of two real encoders it fits the prior about as well as hidden units of |z_i - z_j| and z_i z_j do
    (docs/adr/0010). It starts with M = 1/2, where nothing attracts or repels.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.second = nn.Parameter(torch.zeros(2, hidden))  # u, v
        self.cosine = nn.Parameter(torch.zeros(2))  # k, c
        self.scales = math.sqrt(width), 1 / math.sqrt(hidden)

    def forward(self, z: Tensor, rate: float = 1.0) -> Tensor:
        """Logits (n, n) of unit rows (n, P); the module's parameters get `rate` times their gradient, z its own."""

        def slowed(p: Tensor) -> Tensor:
            return p if rate == 1 else p.detach() + rate * (p - p.detach())

        weight, bias = slowed(self.first.weight), slowed(self.first.bias)
        units = torch.relu(nn.functional.linear(z * self.scales[0], weight, bias))
        (u, v), (k, c) = (slowed(self.second) * self.scales[1]).unbind(), slowed(self.cosine).unbind()
        own = units @ u
        weighted, plain = torch.cat([z * k, units * v], 1), torch.cat([z, units], 1)
        return torch.addmm(own + c, weighted, plain.T) + own[:, None]


def arranged(logits: Tensor) -> Tensor:
    """M (2N, 2N) = sigmoid(logits), and 1 for the pairs of an image with itself, in all four blocks (O)."""
    n = len(logits) // 2
    own = torch.eye(n, dtype=torch.bool, device=logits.device).repeat(2, 2)
    return torch.sigmoid(logits).masked_fill(own, 1)


def pair_loss(apart: Tensor, m: Tensor, scores: Tensor, tau: float) -> Tensor:
    """L_w = log(1 + 1/4 sum_blocks mean_ij exp(s_i ||z_i - z_j|| (2 M_ij - 1) / tau')) (C), a scalar above 0.

    `apart` and `m` are (2N, 2N), `scores` (N,), shared by both views. A projection with itself (the diagonals of the
    blocks 00 and 11) adds nothing, and counts in the mean, as in the code. Smaller is better: where M > 1/2 a pair
    attracts, where M < 1/2 it repels. The sum is taken in the log domain, so that no tau' overflows.
    """
    pull = (2 * m - 1) * (scores / tau).repeat(2)[:, None]
    exponents = (apart * pull).fill_diagonal_(-torch.inf)
    return nn.functional.softplus(torch.logsumexp(exponents.flatten(), 0) - math.log(apart.numel()))


def arranging_loss(apart: Tensor, m: Tensor, scores: Tensor, tau: float) -> Tensor:
    """L_w (see `pair_loss`) with M as a constant (O).

    Raising a pair's M can only raise L_w, so that with a gradient L_w alone would drive all of M to 0.
    """
    return pair_loss(apart, m.detach(), scores, tau)


def prior_gap(m: Tensor, wanted: Tensor) -> Tensor:
    """sum_blocks ||M - Mp||_F (C), a scalar from 0: `m` (2N, 2N), `wanted` (2N, 2N), or (N, N) for all blocks."""
    n = len(m) // 2
    blocks = wanted[:, None, :] if len(wanted) == n else wanted.view(2, n, 2, n)
    norms: Tensor = torch.linalg.vector_norm(m.view(2, n, 2, n) - blocks, dim=(1, 3))
    return norms.sum()


def uniformity(apart: Tensor, t: float = 2.0) -> Tensor:
    """log mean_{i != j} exp(-t ||z_i - z_j||^2) within each view, mean over both (Wang & Isola 2020), for ablation.

    `apart` (2N, 2N), N at least 2. A scalar from -4t to 0; smaller is more uniform.
    """
    n = len(apart) // 2
    views = apart.view(2, n, 2, n).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    off = torch.eye(n, dtype=torch.bool, device=apart.device)
    exponents = (-t * views.square()).masked_fill(off, -torch.inf)
    return (torch.logsumexp(exponents.flatten(1), 1) - math.log(n * (n - 1))).mean()
