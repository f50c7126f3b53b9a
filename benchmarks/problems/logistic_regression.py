"""Bayesian logistic regression on real data, its exact ELBO by one-dimensional quadrature."""

import torch
from torch import Tensor, nn

from benchmarks.problems.elbo import KL, GaussianELBO
from benchmarks.problems.gaussian import softplus_mean
from benchmarks.problems.parts import STEPS, on_the_way, slices
from benchmarks.problems.target import maximiser


class LogisticRegression(GaussianELBO):
    """ELBO of y_n ~ Bernoulli(sigmoid(x_n'z)), z ~ N(0, I), q = N(loc, diag(exp(log_scale))^2) (Mohamed et al. 2020).

    The data are scikit-learn's breast cancer, 569 cases of 30 standardised features, and a bias: D = 31 is fixed.
    With a batch of B the log likelihood is N/B times that of a random subset, always the same one.

    Exact: x_n'z is Gaussian under q, so that each datum's mean softplus is an integral over one variable, by the
    trapezium rule to 1e-10 for a standard deviation of x_n'z up to 48 (at `init` the largest is 20.6).

    Points: `init` (q is the prior), `optimum` (the maximum of the exact objective, by L-BFGS; kept in the cache
    folder), `near` (nine tenths of the way).

    Args:
        batch_size: B; None is all of the data.
        kl: `analytic` or `mc`.

    Raises:
        ValueError: a batch_size outside 1 to 569, unknown kl.
    """

    points = tuple(STEPS)
    blocks = 0

    def __init__(self, batch_size: int | None = None, kl: KL = "analytic") -> None:
        super().__init__(kl)
        x, y = _breast_cancer()
        N = len(y)
        B = N if batch_size is None else batch_size
        if not 1 <= B <= N:
            raise ValueError(f"batch_size={batch_size}: choose from 1 to {N}, or null for all")
        chosen = torch.randperm(N, generator=torch.Generator().manual_seed(0))[:B].sort().values
        self.x, self.y = nn.Buffer(x[chosen]), nn.Buffer(y[chosen])
        self.weight = N / B
        D = x.shape[1]
        self.init = nn.Buffer(torch.zeros(2 * D, dtype=torch.float64))
        self.groups = slices(loc=D, log_scale=D)

    def at(self, point: str) -> Tensor:
        return on_the_way(point, self.init, self._optimum)

    def encode(self, params: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = params.chunk(2, dim=-1)
        return loc, log_scale

    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        logits = z @ self.x.T
        return self.weight * (self.y * logits - torch.logaddexp(logits, logits.new_zeros(()))).sum(-1)

    def value(self, params: Tensor) -> Tensor:
        loc, log_scale = self.encode(params)
        mean, scale = loc @ self.x.T, ((2 * log_scale).exp() @ self.x.T.square()).sqrt()
        log_likelihood = (self.y * mean - softplus_mean(mean, scale)).sum(-1)
        return self.weight * log_likelihood - self.divergence(params)

    def _optimum(self) -> Tensor:
        exact = LogisticRegression(len(self.y))
        return maximiser(exact, exact.init)


def _breast_cancer() -> tuple[Tensor, Tensor]:
    """Standardised features with a last column of ones, (569, 31), and labels 0 or 1, (569,); float64."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    x, y = torch.as_tensor(data.data), torch.as_tensor(data.target).double()
    x = (x - x.mean(0)) / x.std(0, correction=0)
    return torch.cat([x, torch.ones_like(x[:, :1])], 1), y
