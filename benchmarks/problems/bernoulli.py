"""Costs of coins on which discrete estimators are compared: everything about them is known."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.corners import Cornered, alternating, bits, near_bits, normals, signs, spaced
from benchmarks.problems.parts import check_at_least, check_bounds, check_choice, slices
from estimators.core import Problem

Combine = Literal["mean", "sum"]

SHARED_TARGETS = (0.6, 0.51, 0.48)


class BernoulliCost(Cornered):
    """E_q[mean_d |b_d - t_d|^power], or the sum over d, q = prod_d Bernoulli(sigmoid(logits_d)) (Tucker et al. 2017).

    Other powers than 2 are those of polynomial programming (Liu et al. 2023). A cost: it is minimised.

    Exact: the mean, or sum, of p_d |1 - t_d|^power + (1 - p_d) |t_d|^power, p = sigmoid(logits).

    Points: `init` (as given), `optimum` (the least value for |logits| <= 8: 8 where t_d > 1/2, else -8), `near` (nine
    tenths of the way in probability), `saturated` (8, -8, 8, ...).

    Args:
        latent_dim: D.
        target: t; the nearer to 1/2, the smaller the gradient against its noise.
        spread: t_d goes evenly from target - spread to target + spread; all of them between 0 and 1.
        power: 1 or more.
        combine: `mean` or `sum`.
        probability: p of each coordinate at `init`, where tilt is 0.
        tilt: added to the logits at `init`, evenly from -tilt to tilt.

    Raises:
        ValueError: latent_dim < 1, targets outside [0, 1], power < 1, an unknown combine, a probability outside (0, 1).
    """

    def __init__(
        self,
        latent_dim: int,
        target: float = 0.45,
        spread: float = 0.0,
        power: float = 2.0,
        combine: Combine = "mean",
        probability: float = 0.5,
        tilt: float = 0.0,
    ) -> None:
        check_bounds(latent_dim=latent_dim)
        check_at_least(1, power=power)
        check_choice(get_args(Combine), combine=combine)
        if not (abs(spread) <= target and abs(spread) <= 1 - target):
            raise ValueError(f"target={target}, spread={spread}: every target must be between 0 and 1")
        if not 0 < probability < 1:
            raise ValueError(f"probability={probability}: it must be strictly between 0 and 1")
        targets = spaced(target, spread, latent_dim)
        init = spaced(math.log(probability) - math.log1p(-probability), tilt, latent_dim)
        optimum = signs(targets > 0.5)
        super().__init__(init, near_bits(init, optimum), optimum, alternating(latent_dim))
        self.power = power
        self.weight = 1 / latent_dim if combine == "mean" else 1.0
        self.targets = nn.Buffer(targets)
        self.groups = slices(logits=latent_dim)

    def q(self, params: Tensor) -> Distribution:
        return bits(params)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.weight * (z - self.targets).abs().pow(self.power)

    def value(self, params: Tensor) -> Tensor:
        p = params.sigmoid()
        one, zero = (1 - self.targets).abs().pow(self.power), self.targets.abs().pow(self.power)
        return self.weight * (p * one + (1 - p) * zero).sum(-1)


class SharedBernoulli(Cornered):
    """E_q[sum_i (b_i - t_i)^2], t = (.6, .51, .48), three coins that share one logit (Liu et al. 2019).

    A cost: it is minimised. Exact: sum_i p (1 - 2 t_i) + t_i^2, p = sigmoid(logit); the gradient is -.18 p (1 - p).

    Points: `init` (0), `optimum` (8, the least value for |logit| <= 8), `near` (nine tenths of the way in probability),
    `saturated` (-4).
    """

    def __init__(self) -> None:
        init, optimum = torch.zeros(1, dtype=torch.float64), signs(torch.ones(1))
        super().__init__(init, near_bits(init, optimum), optimum, init - 4)
        self.targets = nn.Buffer(torch.tensor(SHARED_TARGETS, dtype=torch.float64))
        self.groups = slices(logit=1)

    def q(self, params: Tensor) -> Distribution:
        return bits(params.expand(-1, len(self.targets)))

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return (z - self.targets).square()

    def value(self, params: Tensor) -> Tensor:
        return (params.sigmoid() * (1 - 2 * self.targets) + self.targets.square()).sum(-1)


class BinaryQuadratic(Problem):
    """E_q[b'Ab + a'b], q = prod_d Bernoulli(sigmoid(logits_d)): binary optimisation whose coordinates interact.

    a is standard normal and A symmetric Gaussian, its entries of variance 1/D; always the same ones.

    Exact: p'Ap + sum_d A_dd p_d (1 - p_d) + a'p, p = sigmoid(logits).

    Points: `init` (fixed Gaussian logits), `saturated` (8, -8, 8, ...). The least value is the problem of binary
    quadratic optimisation, which is hard.

    Args:
        latent_dim: D.

    Raises:
        ValueError: latent_dim < 1.
    """

    points = ("init", "saturated")

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_bounds(latent_dim=latent_dim)
        square, self.a, self.init = map(nn.Buffer, normals(latent_dim + 2, latent_dim).split([latent_dim, 1, 1]))
        self.A = nn.Buffer((square + square.T) / math.sqrt(2 * latent_dim))
        self.groups = slices(logits=latent_dim)

    def at(self, point: str) -> Tensor:
        return {"init": self.init[0], "saturated": alternating(self.init.shape[1]).to(self.init)}[point]

    def q(self, params: Tensor) -> Distribution:
        return bits(params)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return ((z @ self.A + self.a) * z).sum(-1)

    def value(self, params: Tensor) -> Tensor:
        p = params.sigmoid()
        return ((p @ self.A + self.a) * p + self.A.diagonal() * p * (1 - p)).sum(-1)
