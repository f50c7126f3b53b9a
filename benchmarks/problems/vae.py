"""A VAE with one hidden layer either side: the practitioner's case, with a sampled reference gradient."""

import copy
import math
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.cache import cached
from benchmarks.problems.elbo import KL, GaussianELBO
from benchmarks.problems.gaussian import EXACT_BELOW
from benchmarks.problems.parts import (
    affine,
    check_bounds,
    check_choice,
    climbed,
    digits,
    fan_in_normal,
    flatten,
    slices,
    unflatten,
)
from estimators.core import grad

LEARNING_RATE = 3e-3
DRAWS_A_STEP = 4

Likelihood = Literal["bernoulli", "gaussian"]


class VAE(GaussianELBO):
    """ELBO of a VAE with tanh hidden layers (Kingma and Welling 2014; Rezende et al. 2014).

    q(z|x) = N(m(x), diag(s(x))^2), p(z) = N(0, I), p(x|z) Bernoulli (grey levels taken as probabilities) or Gaussian.

    Groups: `encoder`, `decoder`. Points: `init` (Gaussian weights of variance 1/fan-in, biases 0) and `trained`
    (after train_steps of Adam on this ELBO by its own pathwise gradient; kept in the cache folder).

    Args:
        latent_dim: D.
        batch_size: B, the first images of scikit-learn's digits, pixels in [0, 1].
        hidden: width of both hidden layers.
        likelihood: `bernoulli` or `gaussian`.
        noise_variance: of the Gaussian likelihood.
        kl: `analytic` or `mc`.
        train_steps: of the point `trained`.

    Raises:
        ValueError: a size below 1, noise_variance <= 0, unknown kl or likelihood.
    """

    points = ("init", "trained")

    def __init__(
        self,
        latent_dim: int,
        batch_size: int = 16,
        hidden: int = 32,
        likelihood: Likelihood = "bernoulli",
        noise_variance: float = 0.02,
        kl: KL = "analytic",
        train_steps: int = 1000,
    ) -> None:
        super().__init__(kl)
        check_choice(get_args(Likelihood), likelihood=likelihood)
        check_bounds(noise_variance, latent_dim=latent_dim, hidden=hidden, train_steps=train_steps)
        self.x = nn.Buffer(digits(batch_size))
        self.likelihood = likelihood
        self.noise_variance = noise_variance
        self.train_steps = train_steps
        X, H, D = self.x.shape[1], hidden, latent_dim
        encoder = {"hidden_weight": (H, X), "hidden_bias": (H,), "mean_weight": (D, H), "mean_bias": (D,)}
        encoder |= {"log_scale_weight": (D, H), "log_scale_bias": (D,)}
        decoder = {"decoder_hidden_weight": (H, D), "decoder_hidden_bias": (H,)}
        decoder |= {"pixel_weight": (X, H), "pixel_bias": (X,)}
        self.shapes: dict[str, tuple[int, ...]] = encoder | decoder
        self.groups = slices(
            encoder=sum(math.prod(shape) for shape in encoder.values()),
            decoder=sum(math.prod(shape) for shape in decoder.values()),
        )
        self.init = nn.Buffer(flatten(fan_in_normal(self.shapes), self.shapes))

    def at(self, point: str) -> Tensor:
        return {"init": lambda: self.init, "trained": self._trained}[point]()

    def encode(self, params: Tensor) -> tuple[Tensor, Tensor]:
        w = unflatten(params, self.shapes)
        hidden = affine(self.x, w["hidden_weight"], w["hidden_bias"]).tanh()
        return (
            affine(hidden, w["mean_weight"], w["mean_bias"]),
            affine(hidden, w["log_scale_weight"], w["log_scale_bias"]),
        )

    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        w = unflatten(params, self.shapes)
        hidden = affine(z, w["decoder_hidden_weight"], w["decoder_hidden_bias"]).tanh()
        pixels = affine(hidden, w["pixel_weight"], w["pixel_bias"])
        if self.likelihood == "bernoulli":
            return (self.x * pixels - softplus(pixels, threshold=EXACT_BELOW)).sum(-1)
        constant = 0.5 * self.x.shape[1] * math.log(2 * math.pi * self.noise_variance)
        return -(self.x - pixels).square().sum(-1) / (2 * self.noise_variance) - constant

    def _trained(self) -> Tensor:
        parts = ["VAE.trained", self.kl, self.likelihood, self.noise_variance, self.train_steps, self.shapes]
        parts += [LEARNING_RATE, DRAWS_A_STEP]
        exact = copy.deepcopy(self).double().cpu()
        return cached([*parts, exact.x.tolist()], exact._train).to(self.init)

    def _train(self) -> Tensor:
        return climbed(self.init, self._slope, self.train_steps, LEARNING_RATE)

    def _slope(self, params: Tensor) -> Tensor:
        """A pathwise gradient, (1, P)."""
        q = self.q(params)
        return grad(self.f(q.rsample((DRAWS_A_STEP,)), q, params) + self.known(params), params)
