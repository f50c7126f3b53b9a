"""Moments of a family of distributions: one cost on every family, with its exact mean."""

import math

from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.families import FAMILIES
from benchmarks.problems.parts import check_bounds, check_choice, flatten, slices, unflatten
from estimators.core import Problem


class Moments(Problem):
    """E_q[sum_d z_d^power], or of the product over d, for q of a family (Jankowiak and Obermeyer 2018).

    Exact: raw moments of each family in closed form; of a product, the product of the means where the coordinates
    are independent, rising factorials for the Dirichlet, Isserlis' recursion for the multivariate normal (as far as
    D x power <= 8), the weighted mean over the components of the mixture. An angle's cost is cos(power z_d), with
    mean I_power(kappa) / I_0(kappa) cos(power loc).

    Groups: the family's parameters (`loc`, `log_scale`, `log_concentration`, `log_rate`, `logits`, `log_df`; a
    `scale_tril` holds the lower triangle of a Cholesky factor by row, with the logarithms of its diagonal).

    Point: `init`, where no two coordinates are alike and none is symmetric. Student's t has df from 10 to 12 there:
    the mean needs df > power, a finite variance of gradient estimates df > 2 power, so power up to 4.

    Args:
        latent_dim: D.
        family: normal, multivariate_normal, gamma, gamma_rate (concentration 2), exponential, beta, dirichlet,
            student_t, von_mises, mixture (of 3 diagonal Gaussians), poisson or bernoulli.
        power: of each coordinate.
        product: multiply the coordinates instead of adding them up.

    Raises:
        ValueError: an unknown family, a power that is no integer or < 1, latent_dim < 1.
        Unsupported: a Dirichlet of latent_dim = 1; by `value`, where the mean is not known or infinite.
    """

    points = ("init",)

    def __init__(self, latent_dim: int, family: str, power: int = 2, product: bool = False) -> None:
        super().__init__()
        check_bounds(latent_dim=latent_dim, power=power)
        if power != int(power):
            raise ValueError(f"power={power}: it must be an integer")
        check_choice(FAMILIES, family=family)
        self.family, self.power, self.product = FAMILIES[family], power, product
        init = self.family.init(latent_dim)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in init.items()}
        self.groups = slices(**{name: math.prod(shape) for name, shape in self.shapes.items()})
        self.init = nn.Buffer(flatten(init, self.shapes))

    def at(self, point: str) -> Tensor:
        return {"init": self.init}[point]

    def q(self, params: Tensor) -> Distribution:
        return self.family.q(unflatten(params, self.shapes))

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        costs = self.family.cost(z, self.power)
        return costs.prod(-1) if self.product else costs.sum(-1)

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return super().factors(z, q, params) if self.product else self.family.cost(z, self.power)

    def value(self, params: Tensor) -> Tensor:
        v = unflatten(params, self.shapes)
        if self.product and self.family.product is not None:
            return self.family.product(v, self.power)
        means = self.family.moment(v, self.power)
        return means.prod(-1) if self.product else means.sum(-1)
