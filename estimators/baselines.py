"""Baselines for the score function: each maps the costs f, (S, R), to what is subtracted from them.

A baseline is called as (f, problem, params); most need f alone. One that learns from the past does so in training mode
(`module.train()`), and is frozen while it is measured.
"""

import torch
from torch import Tensor, nn

from estimators.core import Problem, Unsupported


def zero(f: Tensor, *_: object) -> float:
    """No baseline."""
    return 0.0


def constant(f: Tensor, *_: object, value: float) -> float:
    """The number `value`, whatever the draws (Williams 1992): unbiased, since E_q[grad log q] = 0."""
    return value


def leave_one_out(f: Tensor, *_: object) -> Tensor:
    """Mean cost of the other draws (Salimans and Knowles 2014; Mnih and Rezende 2016; Kool et al. 2019).

        b_s = 1/(S-1) sum_{t != s} f_t

    Unbiased for independent draws, since b_s does not depend on z_s. With f = log p - log q, the score term is minus
    the gradient of half the sample variance of f (VarGrad, Richter et al. 2020). f: (S, R, ...). Raises Unsupported
    for S = 1.
    """
    n = f.shape[0]
    if n < 2:
        raise Unsupported("leave_one_out needs num_samples >= 2")
    return (f.sum(0) - f) / (n - 1)


def own_mean(f: Tensor, *_: object) -> Tensor:
    """Mean cost of all draws, its own among them: biased by -1/S of the score term E_q[f grad log q]."""
    return f.mean(0)


def oracle_mean(f: Tensor, problem: Problem, params: Tensor) -> Tensor:
    """The exact E_q[f], (R,): what running means aim at; in practice unknown. Raises Unsupported if it is here too."""
    if f.ndim > 2:
        raise Unsupported("oracle_mean knows the mean of all of f, not of its terms")
    return (problem.value(params) - problem.known(params)).detach()


class Running(nn.Module):
    """Mean and standard deviation of past costs, exponentially weighted.

    decay: weight of the past against the costs of a call, between 0 and 1.
    """

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: it must be at least 0 and below 1")
        self.decay = decay
        self.sums = nn.Buffer(torch.zeros(3, dtype=torch.float64))

    def forward(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """Of the past only: f, (S, R), is taken in afterwards, in training mode. 0 and 1 before anything is known."""
        dtype = f.dtype
        weight, one, two = self.sums.clone()
        mean = one / weight.clamp(min=1e-9)
        spread = (two / weight.clamp(min=1e-9) - mean.square()).clamp(min=0).sqrt().where(weight > 0, 1.0)
        if self.training:
            f = f.detach().to(self.sums)
            new = torch.stack([torch.ones_like(f), f, f.square()]).flatten(1).mean(1)
            self.sums.mul_(self.decay).add_((1 - self.decay) * new)
        return mean.to(dtype), spread.to(dtype)


class RunningMean(nn.Module):
    """Exponential moving average of past costs (Williams 1992): unbiased, since it does not see the draws it serves.

    decay: see Running. In a measured cell the past is one chunk of estimates at the same point, so that the mean is
    that of thousands of draws, whatever the decay.
    """

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.past = Running(decay)

    def forward(self, f: Tensor, *_: object) -> Tensor:
        return self.past(f)[0]


class Learned(nn.Module):
    """A learned baseline in units of past costs (NVIL, Mnih and Gregor 2014): b = mean + shift x spread.

    At one point in parameter space there is one input, so that the network is one number, `shift`. Tuned to the least
    variance, it tends to the optimal scalar baseline. Unbiased.
    """

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.past = Running(decay)
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, f: Tensor, *_: object) -> Tensor:
        mean, spread = self.past(f)
        return mean + self.shift.to(f) * spread
