"""Subsets of a fixed size: their distribution, exact by dynamic programming, and a quadratic cost of one."""

import math
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.corners import Cornered, near_bits, normals, signs
from benchmarks.problems.parts import check_at_least, check_dimension, slices
from estimators.core import Unsupported

MOST_OUTCOMES = 2**18
IMPOSSIBLE = -1e30


class Subsets(Distribution):
    """q(z) proportional to exp(logits'z) over the k-subsets of n, z in {0, 1}^n with sum k (Ahmed et al. 2023).

    The normaliser is an elementary symmetric polynomial of exp(logits); `log_prob` is linear in z, and takes relaxed
    ones.

    logits: (R, n). k: 0 to n.
    """

    arg_constraints = {}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(self, logits: Tensor, k: int) -> None:
        self.logits, self.k = logits, k
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)
        self._tails = self._sums()

    def _sums(self) -> list[Tensor]:
        """Item i: log sum over the j-subsets of items i to n - 1 of exp(logits'z), j = 0 to k: (R, k + 1)."""
        nothing = torch.full_like(self.logits[..., :1], IMPOSSIBLE)
        tail = torch.cat([torch.zeros_like(nothing), nothing.expand(*self.batch_shape, self.k)], -1)
        tails = [tail]
        for logit in reversed(self.logits.unbind(-1)):
            taken = torch.cat([nothing, logit[..., None] + tail[..., :-1]], -1)
            tail = torch.logaddexp(tail, taken)
            tails.append(tail)
        return tails[::-1]

    @property
    def _taken(self) -> list[Tensor]:
        """Item i: the probability that item i is in, of j to be found among i to n - 1; (R, k + 1)."""
        items = zip(self.logits.unbind(-1), self._tails[:-1], self._tails[1:], strict=True)
        return [
            nn.functional.pad((logit[..., None] + after[..., :-1] - now[..., 1:]).exp(), (1, 0))
            for logit, now, after in items
        ]

    @property
    def mean(self) -> Tensor:
        """The probability that each item is in, (R, n)."""
        left = nn.functional.one_hot(torch.tensor(self.k), self.k + 1).to(self.logits).expand(*self.batch_shape, -1)
        means = []
        for taken in self._taken:
            found = left * taken
            means.append(found.sum(-1))
            left = left - found + nn.functional.pad(found[..., 1:], (0, 1))
        return torch.stack(means, -1)

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    @property
    def mode(self) -> Tensor:
        """The k items with the largest logits, (R, n)."""
        best = self.logits.topk(self.k, -1).indices
        return torch.zeros_like(self.logits).scatter(-1, best, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits).sum(-1) - self._tails[0][..., -1]

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """One item after the other, given how many are left to be found; (S, R, n)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        left = torch.full(shape[:-1], self.k, device=self.logits.device)
        z = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        for i, taken in enumerate(self._taken):
            p = taken.detach().expand(*shape[:-1], -1).gather(-1, left[..., None])[..., 0]
            z[..., i] = (z[..., i] < p).to(z)
            left = left - z[..., i].long()
        return z

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every subset, (N, R, n), or (N, 1, n). Raises Unsupported for more than 2^18."""
        n = self.event_shape[0]
        check_outcomes(math.comb(n, self.k))
        chosen = torch.tensor(list(combinations(range(n), self.k)), device=self.logits.device).long()
        support = torch.zeros(len(chosen), n, dtype=self.logits.dtype, device=self.logits.device)
        support.scatter_(-1, chosen, 1.0)
        return over_rows(support, self.batch_shape, expand)


def check_outcomes(count: int) -> None:
    """Raise Unsupported for more outcomes than are worth a list."""
    if count > MOST_OUTCOMES:
        raise Unsupported(f"{count} outcomes are too many to enumerate: at most {MOST_OUTCOMES}")


def over_rows(support: Tensor, rows: torch.Size, expand: bool) -> Tensor:
    """Outcomes (N, *event) as `enumerate_support` returns them: (N, *rows, *event), or with 1 for each row's axis."""
    event = support.shape[1:]
    ones = support.reshape(-1, *[1] * len(rows), *event)
    return ones.expand(-1, *rows, *event) if expand else ones


class SubsetQuadratic(Cornered):
    """E_q[||z - b||^2], q over the k-subsets of D items, b fixed standard normal numbers (Niepert et al. 2021).

    Exact: sum_i m_i (1 - 2 b_i) + b_i^2, m the marginals (`Subsets.mean`). A cost: it is minimised.

    Points: `init` (fixed Gaussian logits of standard deviation 1/2), `optimum` (8 for the k largest b, -8 for the
    others: the least value for |logits| <= 8), `near` (the logits of coins nine tenths of the way in probability),
    `saturated` (8 for the k smallest b, else -8).

    Args:
        latent_dim: D.
        k: None: half of D, rounded down.

    Raises:
        ValueError: latent_dim < 1, k < 1.
        Unsupported: D <= k.
    """

    def __init__(self, latent_dim: int, k: int | None = None) -> None:
        k = max(latent_dim // 2, 1) if k is None else k
        check_at_least(1, k=k)
        check_dimension(latent_dim, least=k + 1)
        init, b = normals(2, latent_dim)
        rank = b.argsort().argsort()
        init, optimum, saturated = init / 2, signs(rank >= latent_dim - k), signs(rank < k)
        super().__init__(init, near_bits(init, optimum), optimum, saturated)
        self.k, self.b = k, nn.Buffer(b)
        self.groups = slices(logits=latent_dim)

    def q(self, params: Tensor) -> Distribution:
        return Subsets(params, self.k)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return (z - self.b).square()

    def value(self, params: Tensor) -> Tensor:
        return (Subsets(params, self.k).mean * (1 - 2 * self.b) + self.b.square()).sum(-1)
