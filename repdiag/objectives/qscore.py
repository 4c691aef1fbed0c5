"""Q-Score and the two terms of its regularizer as differentiable functions (Kalibhat et al. 2024).

Source: Kalibhat, Narang, Firooz, Sanjabi, Feizi, AAAI 2024, arXiv 2203.01881v6, eq. 1 to 3 (P). `q_scores` is the
metric `q_score` of `repdiag score`, now with a gradient. What the paper does not say, and is ours (O): the
population standard deviation; that membership in L_i is a constant (a step function has no gradient); that a sample
with no active feature in S has no score and contributes nothing; the mean over samples in the lambda1 term.

Scope: the paper has ReLU encoders, h >= 0. Signed features are computed alike (the L1 norm takes absolute values),
but the definition was not made for them: features far *below* the mean are never active.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives.rows import computing, unit


@torch.no_grad()
def activation_mask(h: Tensor, eps: float = 4.0) -> Tensor:
    """L_i as a mask (N, D) bool: h_ij > mu_i + eps sigma_i, over the D features of row i; no gradient.

    `h` (N, D) of any float dtype (half precision is computed in float32). sigma is the population standard deviation
    (O). Invariant to scale and shift of a row. At most D / (1 + eps^2) features of a row are active (Cantelli), and
    none where eps^2 >= D - 1. Paper, section 3 (P). Features within rounding of the limit may fall on either side:
    float64 agrees with the metric, float32 nearly always.
    """
    h = computing(h)
    variance, mean = torch.var_mean(h, dim=1, correction=0, keepdim=True)
    # This mean is exact where all features are equal; that of `mean` may lie below them, and all would be active.
    return h > mean + eps * variance.sqrt()


def q_scores(h: Tensor, selected: Tensor, eps: float = 4.0) -> Tensor:
    """Q_i = 1/|L_i & S| sum_{j in L_i & S} (u_ij - mu_i), u_i = h_i / ||h_i||: (N,), NaN where L_i & S is empty.

    High: the sample stands out in discriminative features. `h` (N, D) raw features of any float dtype, `selected`
    (D,) bool is S. In (eps sigma_i, 1) where defined. Eq. 1 (P). The gradient flows through u_ij and mu_i, not
    through the membership (O); an undefined row passes none, whatever is done with its NaN. Invariant to the scale
    of h_i, to a joint permutation of features and S; equivariant to the order of rows. O(N D), no loop.

    Row (3, 1, 0, 0), eps = 1, S = all: mu = 1, sigma = 1.22, L = {0}: Q = (3 - 1) / sqrt(10) = 0.632.
    """
    return _scores(unit(h), selected, eps)


def _scores(u: Tensor, selected: Tensor, eps: float) -> Tensor:
    _fits(u, selected)
    inside = activation_mask(u, eps) & selected
    count = inside.sum(1)
    total = torch.where(inside, u, 0).sum(1)
    score = total / count.clamp(min=1) - u.mean(1)
    return torch.where(count > 0, score, torch.nan)


def _fits(h: Tensor, selected: Tensor) -> None:
    if h.ndim != 2 or selected.shape != h.shape[1:] or selected.dtype != torch.bool:
        raise UsageError(
            f"Q-Score takes features (N, D) and S as (D,) bool, not {tuple(h.shape)} and "
            f"{tuple(selected.shape)} {str(selected.dtype).removeprefix('torch.')}"
        )


@dataclass(frozen=True)
class QScoreTerms:
    """What eq. 2 and 3 need of one batch. `low` and `columns` carry gradient, the rest is for the log.

    `low` = mean_i 1[Q_i < alpha] Q_i and `columns` = sum_k 1[||H_:k||_1 > beta] ||H_:k||_1 are scalars; `scores` (R,)
    with NaN where undefined, `norms` (D,) the L1 norm of each column, `alpha` and `beta` scalars.
    """

    low: Tensor
    columns: Tensor
    scores: Tensor
    norms: Tensor
    alpha: Tensor
    beta: Tensor


def qscore_terms(
    h: Tensor, selected: Tensor, eps: float = 4.0, alpha: float | None = None, beta: float | None = None
) -> QScoreTerms:
    """The two sums of the regularizer on H (R, D), the features of all views of a batch, one below the other.

    The objective to *maximize* (eq. 2 and 3, P) is lambda1 * sum 1[Q_i < alpha] Q_i - lambda2 * `columns`, so a
    loss adds `- lambda1 * low + lambda2 * columns`. alpha is by default the batch mean of the defined Q_i, beta the
    batch mean of the column norms; both are constants to the gradient. H has rows of unit length.

    `low` is the *mean* over all R rows, those without a score counting as 0 (O: the paper gives the term per sample);
    `columns` is summed over features and over the batch, as written, so it grows with R: doubling the batch doubles it.
    With unit rows lambda1 * low is about 1e-5 and lambda2 * columns 0.1 to 1 at the paper's 1e-4: ablate each alone.

    One normalization serves both; O(R D) elementwise, no loop.
    """
    u = unit(h)
    scores = _scores(u, selected, eps)
    norms = u.abs().sum(0)
    seen, length = scores.detach(), norms.detach()
    low_limit = seen.nanmean() if alpha is None else torch.full_like(seen[0], alpha)
    high_limit = length.mean() if beta is None else torch.full_like(length[0], beta)
    low = torch.where(seen < low_limit, scores, 0).sum() / len(u)  # a NaN is not below: no gradient
    columns = torch.where(length > high_limit, norms, 0).sum()
    return QScoreTerms(low, columns, seen, length, low_limit, high_limit)


@torch.no_grad()
def activation_counts(
    batches: Iterable[Tensor], eps: float = 4.0, dim: int | None = None
) -> tuple[Tensor, int]:
    """How often each feature is active, (D,) int64, and how many rows that is of; in float64, as the metric counts.

    `batches` are (B, D) each, of one D, and are consumed one at a time; `dim` is that D where it is known. A_j =
    100 * count_j / rows, in percent. No batch at all is a UsageError unless `dim` says how many zeros to return.
    """
    count = None if dim is None else torch.zeros(dim, dtype=torch.int64)
    seen = 0
    for batch in batches:
        if batch.ndim != 2 or (count is not None and len(count) != batch.shape[1]):
            expected = "(B, D)" if count is None else f"(B, {len(count)})"
            raise UsageError(f"A batch of features has the shape {tuple(batch.shape)}, not {expected}")
        if batch.device.type == "mps":
            batch = batch.cpu()  # MPS has no float64
        active = activation_mask(batch.double(), eps).sum(0)
        count = active if count is None else count.to(active.device) + active
        seen += len(batch)
    if count is None:
        raise UsageError("There are no features to find the discriminative ones in")
    return count, seen


def discriminative(frequency: Tensor, lower: float = 50.0, upper: float = 95.0) -> Tensor:
    """S as a mask (D,) bool: features whose activation frequency A_j lies between two percentiles of A.

    Section 3 (P): below is rare or image-specific, above is generic. `frequency` (D,) in percent or counts. The limits
    belong to S (O), percentiles interpolate linearly, and a feature that is never active is never in S (O). May be
    empty.
    """
    a = frequency.detach().cpu().numpy()
    low, high = np.percentile(a, [lower, upper])
    return torch.from_numpy((a >= low) & (a <= high) & (a > 0)).to(frequency.device)
