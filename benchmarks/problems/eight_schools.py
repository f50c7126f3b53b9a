"""The eight schools: a hierarchical posterior with a scale that nearly vanishes."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.problems.gaussian import EXACT_BELOW, softplus_mean
from benchmarks.problems.target import MeanField, maximiser

EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
PRIOR_SCALE = 5.0


class EightSchools(MeanField):
    """log p(y, z) - log q(z), z = (mu, log tau, theta_1 .. theta_8), centred; KL sampled (Rubin 1981).

        y_j ~ N(theta_j, error_j^2), theta_j ~ N(mu, tau^2), mu ~ N(0, 25), tau ~ half-Cauchy(5)

    Exact: Gaussian terms in closed form, with E[(theta_j - mu)^2 exp(-2 log tau)] the product of a second moment and
    a log-normal mean; the half-Cauchy's -log(1 + tau^2/25) is a softplus of 2 log tau, by the trapezium rule.

    Points: `init` (loc 0, log_scale -1), `optimum` (the maximum of the exact objective that L-BFGS reaches from
    there; kept in the cache folder), `near` (nine tenths of the way). D = 10 is fixed.
    """

    def __init__(self) -> None:
        super().__init__(2 + len(EFFECTS), log_scale=-1.0)
        self.effects = nn.Buffer(torch.tensor(EFFECTS, dtype=torch.float64))
        self.errors = nn.Buffer(torch.tensor(ERRORS, dtype=torch.float64))

    def log_density(self, z: Tensor) -> Tensor:
        mu, log_tau, theta = z[..., 0], z[..., 1], z[..., 2:]
        cauchy = softplus(2 * (log_tau - math.log(PRIOR_SCALE)), threshold=EXACT_BELOW)
        residuals, spread = (self.effects - theta).square(), (theta - mu[..., None]).square()
        return self._log_density(mu.square(), log_tau, residuals, spread, (-2 * log_tau).exp(), cauchy)

    def mean_log_density(self, loc: Tensor, variance: Tensor) -> Tensor:
        mu, log_tau, theta = loc[..., 0], loc[..., 1], loc[..., 2:]
        scale = variance[..., 1].sqrt()
        cauchy = softplus_mean(2 * (log_tau - math.log(PRIOR_SCALE)), 2 * scale)
        residuals = (self.effects - theta).square() + variance[..., 2:]
        spread = (theta - mu[..., None]).square() + variance[..., 2:] + variance[..., :1]
        precision = (-2 * log_tau + 2 * variance[..., 1]).exp()
        return self._log_density(mu.square() + variance[..., 0], log_tau, residuals, spread, precision, cauchy)

    def optimum(self) -> Tensor:
        exact = EightSchools()
        return maximiser(exact, exact.init)

    def _log_density(
        self, mu2: Tensor, log_tau: Tensor, residuals: Tensor, spread: Tensor, precision: Tensor, cauchy: Tensor
    ) -> Tensor:
        """log p from mu^2, log tau, (y - theta)^2, (theta - mu)^2, tau^-2, log(1 + tau^2/25).

        It is linear in each and in the product of the spread and the precision, which are independent under q, so
        that their means give its mean.
        """
        count = len(EFFECTS)
        likelihood = -0.5 * (residuals / self.errors.square()).sum(-1) - self.errors.log().sum()
        theta = -0.5 * spread.sum(-1) * precision - count * log_tau
        mu = -0.5 * mu2 / PRIOR_SCALE**2 - math.log(PRIOR_SCALE)
        tau = math.log(2 / (math.pi * PRIOR_SCALE)) - cauchy + log_tau
        return likelihood + theta + mu + tau - 0.5 * (2 * count + 1) * math.log(2 * math.pi)
