"""A VAE whose encoder and decoder are linear: real images, and an exact answer."""

import math

import torch
from torch import Tensor, nn

from benchmarks.problems.elbo import KL, GaussianELBO
from benchmarks.problems.parts import (
    STEPS,
    affine,
    check_bounds,
    digits,
    fan_in_normal,
    flatten,
    on_the_way,
    slices,
    unflatten,
)


class LinearVAE(GaussianELBO):
    """ELBO of p(z) = N(0, I), p(x|z) = N(Wz + c, v I), q(z|x) = N(Vx + a, diag(s)^2) (Lucas et al. 2019).

    Exact, with m_b = V x_b + a, in `value`: the mean of log p(x|z) is the log density at m_b minus
    (1/2v) sum_d s_d^2 ||W_d||^2, and the KL is that of two Gaussians.

    Groups: `encoder` (V, a, log s), `decoder` (W, c). The noise variance v is fixed.

    Points: `init` (V, W Gaussian with variance 1/fan-in, a = c = 0, s = 1, or what is passed), `optimum` (the
    maximum for this v, from probabilistic principal component analysis, Tipping and Bishop 1999; there q is the
    posterior and the ELBO is log p(x)), `near` (nine tenths of the way from `init` to it).

    Args:
        latent_dim: D.
        batch_size: B, the first images of scikit-learn's digits, pixels in [0, 1].
        noise_variance: v.
        kl: `analytic` or `mc`.
        data: (B, X), instead of the digits.
        encoder_weight: V (D, X). encoder_bias: a (D,). log_scale: log s (D,).
        decoder_weight: W (X, D). decoder_bias: c (X,).

    Raises:
        ValueError: a tensor of another shape, latent_dim < 1, noise_variance <= 0, unknown kl.
    """

    points = tuple(STEPS)

    def __init__(
        self,
        latent_dim: int,
        batch_size: int = 16,
        noise_variance: float = 0.02,
        kl: KL = "analytic",
        data: Tensor | None = None,
        **weights: Tensor,
    ) -> None:
        super().__init__(kl)
        check_bounds(noise_variance, latent_dim=latent_dim)
        self.x = nn.Buffer(digits(batch_size) if data is None else data.double())
        if self.x.ndim != 2:
            raise ValueError(f"data has shape {tuple(self.x.shape)}; it must be (B, X)")
        self.noise_variance = noise_variance
        D, X = latent_dim, self.x.shape[1]
        self.shapes = {
            "encoder_weight": (D, X),
            "encoder_bias": (D,),
            "log_scale": (D,),
            "decoder_weight": (X, D),
            "decoder_bias": (X,),
        }
        self.groups = slices(encoder=D * X + 2 * D, decoder=X * D + X)
        if unknown := set(weights) - set(self.shapes):
            raise ValueError(f"no weight {', '.join(sorted(unknown))}: choose from {', '.join(self.shapes)}")
        self.init = nn.Buffer(flatten(fan_in_normal(self.shapes) | weights, self.shapes).double())

    def at(self, point: str) -> Tensor:
        return on_the_way(point, self.init, self._optimum)

    def encode(self, params: Tensor) -> tuple[Tensor, Tensor]:
        w = unflatten(params, self.shapes)
        mean = affine(self.x, w["encoder_weight"], w["encoder_bias"])
        return mean, w["log_scale"][:, None]

    def log_likelihood(self, z: Tensor, params: Tensor) -> Tensor:
        w = unflatten(params, self.shapes)
        mean = affine(z, w["decoder_weight"], w["decoder_bias"])
        constant = 0.5 * self.x.shape[1] * math.log(2 * math.pi * self.noise_variance)
        return -(self.x - mean).square().sum(-1) / (2 * self.noise_variance) - constant

    def value(self, params: Tensor) -> Tensor:
        w = unflatten(params, self.shapes)
        mean, log_scale = self.encode(params)
        variance = (2 * log_scale).exp().expand_as(mean)
        spread = (variance * w["decoder_weight"].square().sum(1)[:, None]).sum((1, 2))
        divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum((1, 2))
        return self.log_likelihood(mean, params).sum(-1) - spread / (2 * self.noise_variance) - divergence

    def _optimum(self) -> Tensor:
        x, v = self.x.double(), self.noise_variance
        D, X = self.shapes["encoder_weight"]
        centre = x.mean(0)
        eigenvalues, eigenvectors = torch.linalg.eigh((x - centre).T @ (x - centre) / len(x))
        kept = min(D, X)
        spectrum = x.new_full((D,), v)
        spectrum[:kept] = eigenvalues.flip(0)[:kept].clamp(min=v)
        W = x.new_zeros(X, D)
        W[:, :kept] = eigenvectors.flip(1)[:, :kept] * (spectrum[:kept] - v).sqrt()
        V = W.T / spectrum[:, None]
        weights = {
            "encoder_weight": V,
            "encoder_bias": -V @ centre,
            "log_scale": 0.5 * (v / spectrum).log(),
            "decoder_weight": W,
            "decoder_bias": centre,
        }
        return flatten(weights, self.shapes)
