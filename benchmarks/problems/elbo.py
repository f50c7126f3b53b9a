"""The evidence lower bound, with an analytic or a sampled KL; under a Gaussian q and a standard normal prior."""

from abc import abstractmethod
from typing import Literal, get_args

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from benchmarks.problems.parts import DiagonalNormal, check_choice
from estimators.core import Problem, base_of

KL = Literal["analytic", "mc"]


class ELBO(Problem):
    """Evidence lower bound E_q[log p(x|z)] - KL(q || p(z)).

    With kl = `analytic` the KL is `known` and f = log p(x|z); with kl = `mc` it is estimated too:
    f = log p(x|z) + log p(z) - log q(z).

    With blocks = 1 each of B images has a latent vector of its own, and f is a sum over them; with blocks = 0 there is
    one latent vector.
    """

    blocks = 1

    def __init__(self, kl: KL) -> None:
        super().__init__()
        check_choice(get_args(KL), kl=kl)
        self.kl = kl

    @abstractmethod
    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        """log p(x|z): (S, R, B), an image each, where each has a latent vector of its own; else (S, R)."""

    @abstractmethod
    def log_ratio(self, z: Tensor, q: Distribution) -> Tensor:
        """log p(z) - log q(z) of each latent vector, shaped as `log_likelihood`."""

    @abstractmethod
    def divergence(self, params: Tensor) -> Tensor:
        """KL(q || p(z)), (R,)."""

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        terms = self.terms(z, q, params)
        return terms.sum(-1) if self.blocks else terms

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self.terms(z, q, params) if self.blocks else super().factors(z, q, params)

    def terms(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        """The integrand, one term a latent vector."""
        log_likelihood = self.log_likelihood(z, params)
        return log_likelihood if self.kl == "analytic" else log_likelihood + self.log_ratio(z, q)

    def known(self, params: Tensor) -> Tensor:
        return super().known(params) if self.kl == "mc" else -self.divergence(params)


class GaussianELBO(ELBO):
    """An evidence lower bound with q a diagonal Gaussian and p(z) = N(0, I).

    z has the shape of what `encode` returns: (S, R, B, D) where each of B images has a latent vector of its own, over
    which q's densities are summed; (S, R, D) with blocks = 0.
    """

    @abstractmethod
    def encode(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q; each broadcasts to (R, B, D), or (R, D)."""

    def q(self, params: Tensor) -> Distribution:
        return DiagonalNormal(*self.encode(params), event_dims=self.blocks + 1)

    def log_ratio(self, z: Tensor, q: Distribution) -> Tensor:
        log_prior, log_q = (base_of(p).log_prob(z).sum(-1) for p in (self._prior(q), q))
        return log_prior - log_q

    def divergence(self, params: Tensor) -> Tensor:
        q = self.q(params)
        return kl_divergence(q, self._prior(q))

    def _prior(self, q: Distribution) -> Distribution:
        zeros = q.mean.new_zeros(q.mean.shape)
        return DiagonalNormal(zeros, zeros, event_dims=self.blocks + 1)
