"""Score function with a relaxation as its control variate: REBAR, RELAX."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from estimators.baselines import Running
from estimators.core import Bound, Positive, Problem, grad
from estimators.finite import View, view

Surrogate = Callable[[View, Tensor, Tensor], Tensor]


def relaxed_control(
    problem: Problem, params: Tensor, num_samples: int = 1, *, surrogate: Surrogate, create_graph: bool = False
) -> Tensor:
    """REBAR and RELAX (Tucker et al. 2017; Grathwohl et al. 2018): a control variate of the noise behind each draw.

        E[(f(z) - c(x')) grad log q(z) + grad c(x) - grad c(x') + grad f(z)]

    x are logits with noise, z their outcome, and x' logits with other noise that has the same outcome. Unbiased for any
    c of x that is differentiable.

    surrogate: (view of q with params held, x, f(z)) -> c of each block, (S, R, *B). params: (R, P). Returns (R, P).
    Raises Unsupported for a q without independent finite coordinates.
    """
    q = view(problem, params)
    x = q.perturbed(num_samples)
    y = q.hard(x).detach()
    again = q.given(y)
    f = q.f(y)
    still = q.still()
    c, c_again = (surrogate(still, noisy, f.detach()) for noisy in (x, again))
    g = grad(q.log_prob(y), params, f - c_again, create_graph) + grad(f, params)
    return g + grad(c - c_again, params, create_graph=create_graph)


def concrete(
    q: View, x: Tensor, _: Tensor, temperature: Tensor | Positive = 0.5, scaling: Tensor | float = 1.0
) -> Tensor:
    """scaling x f(relaxed x): REBAR's control variate, as it is. With scaling 0, the score function is left."""
    return scaling * q.f(q.soft(x, temperature))


class Concrete(nn.Module):
    """REBAR's control variate, scaling x f(relaxed x), with both of its numbers tuned to the least variance.

    temperature, scaling: where they start; the temperature stays positive.
    """

    def __init__(self, temperature: float = 0.5, scaling: float = 1.0) -> None:
        super().__init__()
        Bound(0, above=True).check(temperature=temperature)
        self.log_temperature = nn.Parameter(torch.tensor(temperature, dtype=torch.float64).log())
        self.scaling = nn.Parameter(torch.tensor(scaling, dtype=torch.float64))

    def forward(self, q: View, x: Tensor, f: Tensor) -> Tensor:
        return concrete(q, x, f, self.log_temperature.exp().to(x), self.scaling.to(x))


class Network(nn.Module):
    """A learned function of the noisy logits, in units of past costs: RELAX's control variate for a black box.

    c = mean + spread x network(x), a network with one hidden layer and x squashed to (-1, 1); it does not evaluate f.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        Bound(1).check(hidden=hidden)
        self.past = Running()
        self.network = nn.Sequential(nn.LazyLinear(hidden), nn.Tanh(), nn.LazyLinear(1))

    def forward(self, q: View, x: Tensor, f: Tensor) -> Tensor:
        mean, spread = self.past(f)
        self.network.to(x)
        features = (x / 4).tanh().flatten(f.ndim)
        return mean + spread * self.network(features)[..., 0]


class Residual(nn.Module):
    """RELAX's control variate for a cost that can be differentiated: REBAR's, and a network for what that leaves."""

    def __init__(self, temperature: float = 0.5, scaling: float = 1.0, hidden: int = 16) -> None:
        super().__init__()
        self.concrete = Concrete(temperature, scaling)
        self.network = Network(hidden)

    def forward(self, q: View, x: Tensor, f: Tensor) -> Tensor:
        return self.concrete(q, x, f) + self.network(q, x, f)
