"""Control variates by a discrete Stein operator."""

import torch
from torch import Tensor, nn

from estimators.baselines import Running, leave_one_out
from estimators.binary import costs_and_slopes
from estimators.core import Bound, Problem, Unsupported, grad
from estimators.finite import Binary


class RODEO(nn.Module):
    """REINFORCE with discrete Stein operators (Shi et al. 2022): leave-one-out, and a learned function of the others.

        E[1/S sum_s (f(b_s) - 1/(S-1) sum_{t != s} (f(b_t) + beta (A h_t)(b_t))) (b_s - p) + alpha (A h_s score)(b_s)]
        grad l + E_q[grad f]

    A is the Gibbs operator, (A h)(b) = 1/N sum_n E_{b_n}[h(b)] - h(b), whose mean under q is zero; h_s(b) is a network
    of the means over the other draws t of f(b_t) and of f'(b_t)'(b - b_t), so that it does not evaluate f. Unbiased.
    Costs S evaluations of f and of its gradient.

    alpha and beta start at 0 (`score_loo`) and are tuned with the network to the least variance. params: (R, P).
    Returns (R, P). Raises Unsupported for a q that is not Bernoulli and for S = 1. hidden: width of the network.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        Bound(1).check(hidden=hidden)
        self.past = Running()
        self.network = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
        self.alpha = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.beta = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, problem: Problem, params: Tensor, num_samples: int = 2, create_graph: bool = False) -> Tensor:
        if num_samples < 2:
            raise Unsupported("RODEO needs num_samples >= 2")
        q = Binary(problem, params)
        b, p = q.sample(num_samples), q.probs.detach()
        f, slope, explicit = costs_and_slopes(q, b)
        h, flipped = self._controls(b, f, slope)
        gibbs = _gibbs(b, p, h, flipped)
        signal = f - leave_one_out(f) - self.beta.to(f) * leave_one_out(gibbs.mean(-1) - h)
        weight = signal[..., None] * (b - p) + self.alpha.to(f) * _gibbs_of_score(b, p, h, flipped)
        return grad(q.logits, params, weight, create_graph) + explicit

    def _controls(self, b: Tensor, f: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """h at each draw, (S, R, *B), and with each of its bits flipped, (S, R, *B, N), in units of past costs."""
        mean, spread = self.past(f)
        spread = torch.where(spread > 0, spread, 1)
        self.network.to(f)
        others = leave_one_out(slope)
        step = ((others * b).sum(-1) - leave_one_out((slope * b).sum(-1)))[..., None]
        near = torch.cat([step, step + (1 - 2 * b) * others], -1) / spread
        at = ((leave_one_out(f) - mean) / spread)[..., None].expand_as(near)
        h = spread * self.network(torch.stack([near, at], -1))[..., 0]
        return h[..., 0], h[..., 1:]


def _gibbs(b: Tensor, p: Tensor, h: Tensor, flipped: Tensor) -> Tensor:
    """E[h] over each bit, the others as they are, (S, R, *B, N)."""
    stays = torch.where(b > 0, p, 1 - p)
    return stays * h[..., None] + (1 - stays) * flipped


def _gibbs_of_score(b: Tensor, p: Tensor, h: Tensor, flipped: Tensor) -> Tensor:
    """The Gibbs operator on h (b - p), (S, R, *B, N): bit n's own mean is p (1 - p) (h(b_n = 1) - h(b_n = 0))."""
    means = _gibbs(b, p, h, flipped)
    own = p * (1 - p) * (2 * b - 1) * (h[..., None] - flipped)
    others = means.sum(-1, keepdim=True) - means
    return ((b - p) * others + own) / b.shape[-1] - h[..., None] * (b - p)
