"""Conjugate posteriors of three families without a location and a scale: the optimum is exact, the KL closed."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet, Distribution, Gamma, Independent, VonMises, kl_divergence

from benchmarks.problems.closed_forms import bessel_ratio, log_bessel
from benchmarks.problems.parts import check_bounds, check_dimension, digits, slices
from benchmarks.problems.target import Target
from estimators.core import Unsupported

PIXELS = 8
ROWS = 1797 * PIXELS
GREY_LEVELS = 16


class Conjugate(Target):
    """log p(x, z) - log q(z) where the posterior is of q's family: log p(x, z) = log p(x) + log p(z|x); KL sampled.

    Exact: log p(x) - KL(q || p(z|x)). Where q has the posterior's parameters f is log p(x), whatever z is.

    posterior: its parameters, (P,). log_evidence: log p(x), (D,) of each coordinate if they are independent, else ().
    """

    def __init__(self, posterior: Tensor, log_evidence: Tensor) -> None:
        super().__init__(torch.zeros_like(posterior))
        self.posterior = nn.Buffer(posterior)
        self.log_evidence = nn.Buffer(log_evidence)

    @abstractmethod
    def divergence(self, params: Tensor) -> Tensor:
        """KL(q || p(z|x)), (R,)."""

    def log_density(self, z: Tensor) -> Tensor:
        return self.log_evidence.sum() + self.q(self.posterior[None]).log_prob(z)

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        posterior = self.q(self.posterior[None])
        if not (isinstance(q, Independent) and isinstance(posterior, Independent)):
            raise Unsupported(f"a {type(q).__name__} q does not factorise over z")
        return self.log_evidence + posterior.base_dist.log_prob(z) - q.base_dist.log_prob(z)

    def value(self, params: Tensor) -> Tensor:
        return self.log_evidence.sum() - self.divergence(params)

    def optimum(self) -> Tensor:
        return self.posterior


class GammaPoisson(Conjugate):
    """Rates z_d ~ Gamma(2, 1/2) of Poisson counts, q = prod_d Gamma (Figurnov et al. 2018); see `Conjugate`.

    Rate d has PIXELS counts: the grey levels, 0 to 16, of the d-th row of pixels of scikit-learn's digits.

    Groups: `log_concentration`, `log_rate`. Points: `init` (all 0), `near`, `optimum` (the posterior).

    Args:
        latent_dim: D.

    Raises:
        Unsupported: more than there are rows of pixels. ValueError: latent_dim < 1.
    """

    concentration, rate = 2.0, 0.5

    def __init__(self, latent_dim: int) -> None:
        check_dimension(latent_dim, most=ROWS)
        counts = pixel_rows(latent_dim)
        a, b = (torch.full((latent_dim,), p, dtype=torch.float64) for p in (self.concentration, self.rate))
        a_after, b_after = a + counts.sum(1), b + PIXELS
        evidence = _log_gamma_normaliser(a_after, b_after) - _log_gamma_normaliser(a, b)
        super().__init__(torch.cat([a_after, b_after]).log(), evidence - (counts + 1).lgamma().sum(1))
        self.groups = slices(log_concentration=latent_dim, log_rate=latent_dim)

    def q(self, params: Tensor) -> Distribution:
        concentration, rate = params.exp().chunk(2, dim=-1)
        return Independent(Gamma(concentration, rate, validate_args=False), 1, validate_args=False)

    def divergence(self, params: Tensor) -> Tensor:
        return kl_divergence(self.q(params), self.q(self.posterior[None]))


class DirichletMultinomial(Conjugate):
    """Shares z ~ Dirichlet(1, ..., 1) of D categories of a count, q Dirichlet (Naesseth et al. 2017); see `Conjugate`.

    Category d was seen as often as the grey levels of the d-th row of pixels of scikit-learn's digits add up to, in
    one given order.

    Group: `log_concentration`. Points: `init` (all 0), `near`, `optimum` (the posterior).

    Args:
        latent_dim: D.

    Raises:
        Unsupported: latent_dim = 1, or more than there are rows of pixels. ValueError: latent_dim < 1.
    """

    def __init__(self, latent_dim: int) -> None:
        check_dimension(latent_dim, least=2, most=ROWS)
        prior = torch.ones(latent_dim, dtype=torch.float64)
        after = prior + pixel_rows(latent_dim).sum(1)
        super().__init__(after.log(), _log_beta(after) - _log_beta(prior))
        self.groups = slices(log_concentration=latent_dim)

    def q(self, params: Tensor) -> Distribution:
        return Dirichlet(params.exp(), validate_args=False)

    def divergence(self, params: Tensor) -> Tensor:
        return kl_divergence(self.q(params), self.q(self.posterior[None]))


class VonMisesTarget(Conjugate):
    """Angles z_d ~ vM(0, 1), one observation x_d ~ vM(z_d, 2) of each; q = prod_d vM (Mardia and El-Atoum 1976).

    The posterior's concentration and direction are the length and direction of (1, 0) + 2 (cos x_d, sin x_d). The
    observations are multiples of the golden angle, d = 1 .. D. See `Conjugate`.

    Exact: KL(vM(l, c) || vM(m, k)) = log I_0(k) - log I_0(c) + I_1(c)/I_0(c) (c - k cos(l - m)). torch's log density
    takes log I_0 from a polynomial, to 2e-7.

    Groups: `loc`, `log_concentration`. Points: `init` (all 0), `near`, `optimum` (the posterior).

    Args:
        latent_dim: D.

    Raises:
        ValueError: latent_dim < 1.
    """

    prior, likelihood = 1.0, 2.0

    def __init__(self, latent_dim: int) -> None:
        check_bounds(latent_dim=latent_dim)
        golden = math.pi * (3 - 5**0.5)
        x = golden * torch.arange(1, latent_dim + 1, dtype=torch.float64)
        across, along = self.likelihood * x.sin(), self.prior + self.likelihood * x.cos()
        concentration = torch.hypot(across, along)
        known = torch.tensor([self.prior, self.likelihood], dtype=torch.float64)
        evidence = log_bessel(concentration) - log_bessel(known).sum() - math.log(2 * math.pi)
        super().__init__(torch.cat([torch.atan2(across, along), concentration.log()]), evidence)
        self.groups = slices(loc=latent_dim, log_concentration=latent_dim)

    def q(self, params: Tensor) -> Distribution:
        loc, log_concentration = params.chunk(2, dim=-1)
        return Independent(VonMises(loc, log_concentration.exp(), validate_args=False), 1, validate_args=False)

    def divergence(self, params: Tensor) -> Tensor:
        loc, c = params.chunk(2, dim=-1)
        m, k = self.posterior.chunk(2)
        c, k = c.exp(), k.exp()
        return (log_bessel(k) - log_bessel(c) + bessel_ratio(c, 1) * (c - k * (loc - m).cos())).sum(-1)


def pixel_rows(count: int) -> Tensor:
    """Grey levels, 0 to 16, of the first rows of pixels of scikit-learn's digits, image after image: (count, 8)."""
    images = -(-count // PIXELS)
    return (digits(images) * GREY_LEVELS).reshape(-1, PIXELS)[:count]


def _log_gamma_normaliser(concentration: Tensor, rate: Tensor) -> Tensor:
    """Log integral of x^(concentration - 1) exp(-rate x)."""
    return concentration.lgamma() - concentration * rate.log()


def _log_beta(concentration: Tensor) -> Tensor:
    return concentration.lgamma().sum() - concentration.sum().lgamma()
