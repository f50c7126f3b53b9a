"""The evidence lower bound under a Gaussian q and a standard normal prior, with an analytic or a sampled KL."""

from abc import abstractmethod
from typing import Literal, get_args

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from benchmarks.problems.parts import check_choice, diagonal_normal
from estimators.core import Problem, base_of

KL = Literal["analytic", "mc"]


class ELBO(Problem):
    """Evidence lower bound E_q[log p(x|z)] - KL(q || N(0, I)), q a diagonal Gaussian.

    With kl = `analytic` the KL is `known` and f = log p(x|z); with kl = `mc` it is estimated too:
    f = log p(x|z) + log p(z) - log q(z).

    z has the shape of what `encode` returns, its last `event_dims` axes being one draw: (S, R, B, D) where each of B
    images has a latent vector of its own, over which q's densities are summed; (S, R, D) with event_dims = 1.
    """

    event_dims = 2

    def __init__(self, kl: KL) -> None:
        super().__init__()
        check_choice(get_args(KL), kl=kl)
        self.kl = kl

    @abstractmethod
    def encode(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q; each broadcasts to (R, B, D), or (R, D)."""

    @abstractmethod
    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        """log p(x|z): (S, R, B), an image each, where each has a latent vector of its own; else (S, R)."""

    def q(self, params: Tensor) -> Distribution:
        return diagonal_normal(*self.encode(params), event_dims=self.event_dims)

    def divergence(self, params: Tensor) -> Tensor:
        """KL(q || N(0, I)), (R,)."""
        q = self.q(params)
        return kl_divergence(q, self._prior(q))

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        terms = self._terms(z, q, params)
        return terms if self.event_dims == 1 else terms.sum(-1)

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return super().factors(z, q, params) if self.event_dims == 1 else self._terms(z, q, params)

    def _terms(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        """The integrand, one term a latent vector."""
        log_likelihood = self.log_likelihood(z, params)
        if self.kl == "analytic":
            return log_likelihood
        log_prior, log_q = (base_of(p).log_prob(z).sum(-1) for p in (self._prior(q), q))
        return log_likelihood + log_prior - log_q

    def known(self, params: Tensor) -> Tensor:
        if self.kl == "mc":
            return super().known(params)
        return -self.divergence(params)

    def _prior(self, q: Distribution) -> Distribution:
        zeros = q.mean.new_zeros(q.mean.shape)
        return diagonal_normal(zeros, zeros, event_dims=self.event_dims)
