"""A VAE with discrete latents on real images: exact by enumeration while it is small."""

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.cache import cached
from benchmarks.problems.corners import alternating, bits, one_hots
from benchmarks.problems.elbo import ELBO, KL
from benchmarks.problems.parts import (
    STEPS,
    affine,
    check_at_least,
    check_bounds,
    climbed,
    digits,
    fan_in_normal,
    flatten,
    on_the_way,
    slices,
    unflatten,
)
from estimators.core import Unsupported, base_of, grad

MOST_OUTCOMES = 4096
LEARNING_RATE = 1e-2
DRAWS_A_STEP = 16


class DiscreteVAE(ELBO):
    """ELBO of a VAE whose D latents are coins or categories, encoder and decoder linear (Mnih and Gregor 2014).

    q(z|x) = prod_d Categorical(softmax((Vx + a)_d)), coins with one logit where there are two categories; p(z) uniform;
    p(x|z) Bernoulli with logits Wz + c (grey levels taken as probabilities). z is (S, R, B, D), or one-hot
    (S, R, B, D, C). It is maximised.

    Exact: the sum over the C^D outcomes of each image, while C^D <= 4096.

    Groups: `encoder` (V, a), `decoder` (W, c).

    Points: `init` (V, W Gaussian with variance 1/fan-in, a = c = 0), `optimum` (train_steps of Adam from there: on the
    exact objective, or beyond 4096 outcomes by leave-one-out scores of 16 draws. There is no finite maximum: a pixel
    that is 0 in every image draws its c to minus infinity), `near` (nine tenths of the way), `saturated` (`init` with
    a = 8, -8, 8, ...). What is trained is kept in the cache folder.

    Args:
        latent_dim: D.
        categories: C.
        batch_size: B, the first images of scikit-learn's digits, pixels in [0, 1].
        kl: `analytic` or `mc`.
        train_steps: of the point `optimum`.

    Raises:
        ValueError: a size below 1, categories < 2, unknown kl.
    """

    points = (*STEPS, "saturated")

    def __init__(
        self, latent_dim: int, categories: int = 2, batch_size: int = 1, kl: KL = "analytic", train_steps: int = 500
    ) -> None:
        super().__init__(kl)
        check_bounds(latent_dim=latent_dim, train_steps=train_steps)
        check_at_least(2, categories=categories)
        self.x = nn.Buffer(digits(batch_size))
        self.categories, self.train_steps = categories, train_steps
        self.latent = (latent_dim,) if categories == 2 else (latent_dim, categories)
        N, X = torch.Size(self.latent).numel(), self.x.shape[1]
        self.shapes = {"encoder_weight": (N, X), "encoder_bias": (N,), "decoder_weight": (X, N), "decoder_bias": (X,)}
        self.groups = slices(encoder=N * X + N, decoder=X * N + X)
        weights = fan_in_normal(self.shapes)
        self.init = nn.Buffer(flatten(weights, self.shapes))
        self.saturated = nn.Buffer(flatten(weights | {"encoder_bias": alternating(N)}, self.shapes))

    def at(self, point: str) -> Tensor:
        return self.saturated if point == "saturated" else on_the_way(point, self.init, self._trained)

    def q(self, params: Tensor) -> Distribution:
        w = unflatten(params, self.shapes)
        logits = affine(self.x, w["encoder_weight"], w["encoder_bias"])
        return bits(logits, 2) if self.categories == 2 else one_hots(logits.unflatten(-1, self.latent), 2)

    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        w = unflatten(params, self.shapes)
        z = z.flatten(-len(self.latent))
        pixels = affine(z, w["decoder_weight"], w["decoder_bias"])
        return torch.einsum("...bx,bx->...b", pixels, self.x) - nn.functional.softplus(pixels).sum(-1)

    def log_ratio(self, z: Tensor, q: Distribution) -> Tensor:
        return self._log_prior() - self._log_q(z, q)

    def divergence(self, params: Tensor) -> Tensor:
        entropy = base_of(self.q(params)).entropy().sum((-1, -2))
        return -len(self.x) * self._log_prior() - entropy

    def value(self, params: Tensor) -> Tensor:
        q, z = self.q(params), self._outcomes()
        return (self._log_q(z, q).exp() * self.terms(z, q, params)).sum((0, -1)) + self.known(params)

    def _log_prior(self) -> float:
        return -self.latent[0] * float(torch.tensor(self.categories).double().log())

    def _log_q(self, z: Tensor, q: Distribution) -> Tensor:
        """log q of each image's latents, (S, R, B): linear in z, also in a relaxed one."""
        return base_of(q).log_prob(z).sum(-1)

    def _outcomes(self) -> Tensor:
        """Every z of one image, (C^D, 1, 1, D) or (C^D, 1, 1, D, C)."""
        D, C = self.latent[0], self.categories
        if C**D > MOST_OUTCOMES:
            raise Unsupported(f"{C}^{D} outcomes are more than {MOST_OUTCOMES}: no exact objective")
        chosen = torch.cartesian_prod(*[torch.arange(C, device=self.x.device)] * D).reshape(-1, D)
        z = chosen if C == 2 else nn.functional.one_hot(chosen, C)
        return z.to(self.x)[:, None, None]

    def _trained(self) -> Tensor:
        parts = ["DiscreteVAE.trained", self.categories, self.train_steps, self.shapes, LEARNING_RATE, DRAWS_A_STEP]
        exact = copy.deepcopy(self).double().cpu()
        return cached([*parts, MOST_OUTCOMES, self.kl, exact.x.tolist()], exact._train)

    def _train(self) -> Tensor:
        return climbed(self.init, self._slope, self.train_steps, LEARNING_RATE)

    def _slope(self, params: Tensor) -> Tensor:
        """The gradient, (1, P): exact, or the score function's with the mean of the other draws for a baseline."""
        try:
            return grad(self.value(params)[None], params)
        except Unsupported:
            q = self.q(params)
            z = q.sample((DRAWS_A_STEP,))
            f = self.terms(z, q, params)
            others = (f.sum(0) - f) / (len(f) - 1)
            score = grad(self._log_q(z, q), params, f - others)
            return score + grad(f, params) + grad(self.known(params)[None], params)
