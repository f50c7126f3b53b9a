"""Families of distributions with their moments in closed form, each at a point without symmetries."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    Distribution,
    Exponential,
    Gamma,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    VonMises,
)

from benchmarks.problems.closed_forms import (
    bessel_ratio,
    dirichlet_product,
    gaussian_moment,
    gaussian_product,
    poisson_moment,
    rising,
    student_moment,
)
from benchmarks.problems.gaussian import pack, unpack
from benchmarks.problems.parts import DiagonalNormal, check_dimension

COMPONENTS = 3
CONCENTRATION = 2.0

Params = dict[str, Tensor]
Moment = Callable[[Params, int], Tensor]


class Family(NamedTuple):
    """A family of distributions of D coordinates, in unconstrained parameters.

    init: latent_dim -> the parameters by name, float64, without the axis of rows.
    q: parameters, each with rows (R, ...) -> the distribution, batch shape (R,), event shape (D,).
    moment: parameters, p -> E[cost(z_d, p)], (R, D).
    product: parameters, p -> E[prod_d cost(z_d, p)], (R,); None: the coordinates are independent.
    cost: z, p -> z^p, or what is known of this family instead.
    """

    init: Callable[[int], Params]
    q: Callable[[Params], Distribution]
    moment: Moment
    product: Moment | None = None
    cost: Callable[[Tensor, int], Tensor] = lambda z, p: z**p


def _ramps(**ends: tuple[float, float]) -> Callable[[int], Params]:
    """Initial values that differ by coordinate: evenly spaced from the first end to the other."""
    return lambda latent_dim: {
        name: torch.linspace(*end, latent_dim, dtype=torch.float64) for name, end in ends.items()
    }


def _independent(make: Callable[..., Distribution], **names: str) -> Callable[[Params], Distribution]:
    """A distribution a coordinate; names: its arguments -> the parameters, exponentiated where they are logarithms."""

    def q(v: Params) -> Distribution:
        arguments = {key: v[name].exp() if name.startswith("log_") else v[name] for key, name in names.items()}
        return Independent(make(**arguments, validate_args=False), 1, validate_args=False)

    return q


def _gamma_moment(concentration: Tensor, log_rate: Tensor, p: int) -> Tensor:
    return rising(concentration, p) * (-p * log_rate).exp()


def _fixed(like: Tensor, concentration: float) -> Tensor:
    return torch.full_like(like, concentration)


def _fixed_gamma(rate: Tensor, validate_args: bool) -> Distribution:
    return Gamma(_fixed(rate, CONCENTRATION), rate, validate_args=validate_args)


def _beta_moment(v: Params, p: int) -> Tensor:
    a, b = v["log_concentration1"].exp(), v["log_concentration0"].exp()
    return rising(a, p) / rising(a + b, p)


def _dirichlet_init(latent_dim: int) -> Params:
    check_dimension(latent_dim, least=2)
    return _ramps(log_concentration=(0.0, 1.2))(latent_dim)


def _dirichlet_moment(v: Params, p: int) -> Tensor:
    a = v["log_concentration"].exp()
    return rising(a, p) / rising(a.sum(-1, keepdim=True), p)


def _multivariate_init(latent_dim: int) -> Params:
    ramps = _ramps(loc=(0.5, 1.2), log_scale=(-0.5, 0.2))(latent_dim)
    row, column = torch.meshgrid(*[torch.arange(1.0, latent_dim + 1).double()] * 2, indexing="ij")
    below = 0.5 * (row + 2 * column).cos() / math.sqrt(latent_dim)
    return {"loc": ramps["loc"], "scale_tril": pack(below.tril(-1) + torch.diag(ramps["log_scale"].exp()))}


def _scale_tril(v: Params) -> Tensor:
    return unpack(v["scale_tril"], v["loc"].shape[-1])


def _multivariate(v: Params) -> Distribution:
    return MultivariateNormal(v["loc"], scale_tril=_scale_tril(v), validate_args=False)


def _multivariate_product(v: Params, p: int) -> Tensor:
    L = _scale_tril(v)
    return gaussian_product(v["loc"], L @ L.mT, p)


def _mixture_init(latent_dim: int) -> Params:
    ramps = _ramps(loc=(0.0, 0.4), log_scale=(0.0, 0.2))(latent_dim)
    by_component = _ramps(logits=(-0.3, 0.4), loc=(-1.0, 1.5), log_scale=(-0.6, 0.0))(COMPONENTS)
    spread = {name: by_component[name][:, None] + ramp for name, ramp in ramps.items()}
    return {"logits": by_component["logits"]} | spread


def _mixture(v: Params) -> Distribution:
    components = DiagonalNormal(v["loc"], v["log_scale"], event_dims=1)
    return MixtureSameFamily(Categorical(logits=v["logits"], validate_args=False), components, validate_args=False)


def _component_moments(v: Params, p: int) -> tuple[Tensor, Tensor]:
    """The components' weights (R, K) and moments (R, K, D)."""
    return v["logits"].softmax(-1), gaussian_moment(v["loc"], v["log_scale"].exp(), p)


def _mixture_moment(v: Params, p: int) -> Tensor:
    weights, moments = _component_moments(v, p)
    return (weights[..., None] * moments).sum(1)


def _mixture_product(v: Params, p: int) -> Tensor:
    weights, moments = _component_moments(v, p)
    return (weights * moments.prod(-1)).sum(1)


FAMILIES = {
    "normal": Family(
        _ramps(loc=(0.5, 1.2), log_scale=(-0.5, 0.2)),
        _independent(Normal, loc="loc", scale="log_scale"),
        lambda v, p: gaussian_moment(v["loc"], v["log_scale"].exp(), p),
    ),
    "multivariate_normal": Family(
        _multivariate_init,
        _multivariate,
        lambda v, p: gaussian_moment(v["loc"], _scale_tril(v).square().sum(-1).sqrt(), p),
        _multivariate_product,
    ),
    "gamma": Family(
        _ramps(log_concentration=(0.3, 1.2), log_rate=(0.5, 0.1)),
        _independent(Gamma, concentration="log_concentration", rate="log_rate"),
        lambda v, p: _gamma_moment(v["log_concentration"].exp(), v["log_rate"], p),
    ),
    "gamma_rate": Family(
        _ramps(log_rate=(0.5, 0.1)),
        _independent(_fixed_gamma, rate="log_rate"),
        lambda v, p: _gamma_moment(_fixed(v["log_rate"], CONCENTRATION), v["log_rate"], p),
    ),
    "exponential": Family(
        _ramps(log_rate=(0.5, 0.1)),
        _independent(Exponential, rate="log_rate"),
        lambda v, p: _gamma_moment(_fixed(v["log_rate"], 1.0), v["log_rate"], p),
    ),
    "beta": Family(
        _ramps(log_concentration1=(0.4, 1.0), log_concentration0=(0.9, 0.2)),
        _independent(Beta, concentration1="log_concentration1", concentration0="log_concentration0"),
        _beta_moment,
    ),
    "dirichlet": Family(
        _dirichlet_init,
        lambda v: Dirichlet(v["log_concentration"].exp(), validate_args=False),
        _dirichlet_moment,
        lambda v, p: dirichlet_product(v["log_concentration"].exp(), p),
    ),
    "student_t": Family(
        _ramps(log_df=(math.log(10), math.log(12)), loc=(0.5, 1.2), log_scale=(-0.5, 0.2)),
        _independent(StudentT, df="log_df", loc="loc", scale="log_scale"),
        lambda v, p: student_moment(v["log_df"].exp(), v["loc"], v["log_scale"].exp(), p),
    ),
    "von_mises": Family(
        _ramps(loc=(0.3, 0.9), log_concentration=(1.0, 0.4)),
        _independent(VonMises, loc="loc", concentration="log_concentration"),
        lambda v, p: bessel_ratio(v["log_concentration"].exp(), p) * (p * v["loc"]).cos(),
        cost=lambda z, p: (p * z).cos(),
    ),
    "mixture": Family(_mixture_init, _mixture, _mixture_moment, _mixture_product),
    "poisson": Family(
        _ramps(log_rate=(0.7, 0.1)),
        _independent(Poisson, rate="log_rate"),
        lambda v, p: poisson_moment(v["log_rate"].exp(), p),
    ),
    "bernoulli": Family(
        _ramps(logits=(-0.6, 0.9)), _independent(Bernoulli, logits="logits"), lambda v, p: v["logits"].sigmoid()
    ),
}
