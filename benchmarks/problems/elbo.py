"""What variational autoencoders share: the evidence lower bound with an analytic or a sampled KL."""

from abc import abstractmethod
from typing import Literal, get_args

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from benchmarks.problems.parts import diagonal_normal
from estimators.core import Problem

KL = Literal["analytic", "mc"]


class ELBO(Problem):
    """Evidence lower bound of B images, E_q[log p(x|z)] - KL(q(z|x) || N(0, I)), summed over the images.

    z has shape (S, R, B, D): one latent vector an image, drawn from a diagonal Gaussian. With kl = `analytic` the
    KL is `known` and f = log p(x|z); with kl = `mc` it is estimated too: f = log p(x|z) + log p(z) - log q(z).
    """

    def __init__(self, kl: KL) -> None:
        super().__init__()
        if kl not in get_args(KL):
            raise ValueError(f"kl={kl}: choose from {', '.join(get_args(KL))}")
        self.kl = kl

    @abstractmethod
    def encode(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q; each broadcasts to (R, B, D)."""

    @abstractmethod
    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        """log p(x|z) summed over images and pixels, (S, R)."""

    def q(self, params: Tensor) -> Distribution:
        return diagonal_normal(*self.encode(params), event_dims=2)

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        log_likelihood = self.log_likelihood(z, params)
        if self.kl == "analytic":
            return log_likelihood
        return log_likelihood + self._prior(q).log_prob(z) - q.log_prob(z)

    def known(self, params: Tensor) -> Tensor:
        if self.kl == "mc":
            return super().known(params)
        q = self.q(params)
        return -kl_divergence(q, self._prior(q))

    def _prior(self, q: Distribution) -> Distribution:
        zeros = q.mean.new_zeros(q.mean.shape)
        return diagonal_normal(zeros, zeros, event_dims=2)
