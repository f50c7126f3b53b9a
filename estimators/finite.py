"""Views of a q with independent finite coordinates: its draws in one arrangement, its logits, its relaxation."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, OneHotCategorical
from torch.nn.functional import logsigmoid

from estimators.core import Problem, Unsupported, base_of, one_hot
from estimators.samplers import inner_uniforms, log_exponential

SHORT = 16  # an axis shorter than a vector register's float32 numbers


class View(ABC):
    """Draws y of N coordinates, (S, R, *B, ...), with a cost for each block: costs that weigh a block's coordinates.

    B are the problem's blocks (the images of a batch, see `Problem.blocks`), over which f is a sum; most have none.

    logits: of the coordinates, (R, *B, N) or (R, *B, N, C); params' gradient goes through them. q: problem.q(params),
    where it is at hand.
    """

    logits: Tensor
    families: tuple[type[Distribution], ...]
    coordinate_axes: int

    def __init__(self, problem: Problem, params: Tensor, q: Distribution | None = None) -> None:
        self.problem = problem
        self.params = params
        self.q = problem.q(params) if q is None else q
        self.base: Any = base_of(self.q)
        if not isinstance(self.base, self.families):
            names = " or ".join(family.__name__ for family in self.families)
            raise Unsupported(f"needs a q of independent {names} coordinates; this one is {type(self.base).__name__}")

    @abstractmethod
    def sample(self, num_samples: int) -> Tensor:
        """Draws of q, (S, R, *B, ...), without a gradient."""

    @abstractmethod
    def perturbed(self, num_samples: int) -> Tensor:
        """Logits with noise, x, of which `hard` is a draw of q; differentiable in params."""

    @abstractmethod
    def given(self, y: Tensor) -> Tensor:
        """Logits with noise, again, on condition that `hard` makes y of them; differentiable in params."""

    @abstractmethod
    def hard(self, x: Tensor) -> Tensor:
        """The outcome of noisy logits."""

    @abstractmethod
    def soft(self, x: Tensor, temperature: Tensor | float) -> Tensor:
        """The relaxed outcome of noisy logits: `hard` as the temperature goes to zero."""

    @abstractmethod
    def log_prob(self, y: Tensor) -> Tensor:
        """log q of each block, (S, R, *B)."""

    @abstractmethod
    def to_z(self, y: Tensor) -> Tensor:
        """Draws in the shape that q gives them."""

    def f(self, y: Tensor) -> Tensor:
        """Costs of each block, (S, ..., R, *B), for any leading axes of y."""
        cost = self.problem.factors if self.problem.blocks else self.problem.f
        return cost(self.to_z(y), self.q, self.params)

    def still(self) -> "View":
        """The same at params held constant: f's dependence on its draws alone."""
        return type(self)(self.problem, self.params.detach())

    def _z_shape(self, y: Tensor) -> torch.Size:
        lead = y.ndim - self.coordinate_axes - self.problem.blocks
        return y.shape[:lead] + self.q.event_shape

    def _arranged(self, x: Tensor, *last: int) -> Tensor:
        """(R, *event) -> (R, *B, N, *last)."""
        return x.reshape(x.shape[0], *self.q.event_shape[: self.problem.blocks], -1, *last)


class Binary(View):
    """Bernoulli coordinates as bits, (S, R, *B, N). Raises Unsupported for another q."""

    families = (Bernoulli,)
    coordinate_axes = 1

    def __init__(self, problem: Problem, params: Tensor, q: Distribution | None = None) -> None:
        super().__init__(problem, params, q)
        self.logits = self._arranged(self.base.logits)

    @property
    def probs(self) -> Tensor:
        return self.logits.sigmoid()

    def sample(self, num_samples: int) -> Tensor:
        return self.q.sample((num_samples,)).reshape(num_samples, *self.logits.shape)

    def log_prob(self, y: Tensor) -> Tensor:
        return torch.lerp(logsigmoid(-self.logits), logsigmoid(self.logits), y).sum(-1)

    def to_z(self, y: Tensor) -> Tensor:
        return y.reshape(self._z_shape(y))

    def perturbed(self, num_samples: int) -> Tensor:
        return self.logits + _logistic(self.logits.expand(num_samples, *self.logits.shape))

    def given(self, y: Tensor) -> Tensor:
        """A logistic variable beyond zero: +- log(1 + e^noise / (1 - p or p)) (Tucker et al. 2017, appendix)."""
        noise = _logistic(y)
        return torch.where(
            y > 0, _softplus(noise + _softplus(self.logits)), -_softplus(noise + _softplus(-self.logits))
        )

    def hard(self, x: Tensor) -> Tensor:
        return (x > 0).to(x)

    def soft(self, x: Tensor, temperature: Tensor | float) -> Tensor:
        return (x / temperature).sigmoid()


class OneHot(View):
    """Categorical coordinates as one-hot vectors, (S, R, *B, N, C); logits are normalised: log-probabilities.

    Bernoulli coordinates have two categories. Raises Unsupported for another q.
    """

    families = (OneHotCategorical, Bernoulli)
    coordinate_axes = 2

    def __init__(self, problem: Problem, params: Tensor, q: Distribution | None = None) -> None:
        super().__init__(problem, params, q)
        self.bits = isinstance(self.base, Bernoulli)
        logits = self.base.logits
        if self.bits:
            logits = torch.stack([logsigmoid(-logits), logsigmoid(logits)], -1)
        self.logits = self._arranged(logits, logits.shape[-1])

    def sample(self, num_samples: int) -> Tensor:
        z = self.q.sample((num_samples,))
        return (torch.stack([1 - z, z], -1) if self.bits else z).reshape(num_samples, *self.logits.shape)

    def log_prob(self, y: Tensor) -> Tensor:
        return (y * self.logits).sum((-2, -1))

    def to_z(self, y: Tensor) -> Tensor:
        return (y[..., 1] if self.bits else y).reshape(self._z_shape(y))

    def perturbed(self, num_samples: int) -> Tensor:
        return self.logits - log_exponential(self.logits.expand(num_samples, *self.logits.shape))

    def given(self, y: Tensor) -> Tensor:
        """The largest is a Gumbel variable, the others are Gumbel variables below it (Maddison et al. 2014)."""
        noise = log_exponential(y)
        largest = (y * noise).sum(-1, keepdim=True)
        return -torch.where(y > 0, noise, torch.logaddexp(largest, noise - self.logits))

    def hard(self, x: Tensor) -> Tensor:
        return one_hot(x.argmax(-1), x.shape[-1]).to(x)

    def soft(self, x: Tensor, temperature: Tensor | float) -> Tensor:
        return _softmax(x / temperature)


def view(problem: Problem, params: Tensor) -> Binary | OneHot:
    """Bits where q is Bernoulli, else one-hot vectors. Raises Unsupported for a q of other coordinates."""
    q = problem.q(params)
    return (Binary if isinstance(base_of(q), Bernoulli) else OneHot)(problem, params, q)


def _softmax(x: Tensor) -> Tensor:
    """Over the last axis. Where that is short, torch takes five times as long as with it made the first in memory."""
    return x.softmax(-1) if x.shape[-1] >= SHORT else x.movedim(-1, 0).contiguous().softmax(0).movedim(0, -1)


def _logistic(like: Tensor) -> Tensor:
    """Standard logistic noise."""
    return inner_uniforms(like).logit_()


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), exact where torch's own is cut off."""
    return -logsigmoid(-x)
