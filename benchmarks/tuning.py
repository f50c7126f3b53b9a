"""Tuning of what an estimator has learned or remembers, before it is measured."""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.engine import Counted, Estimator, chunk_rows, leaf, stream
from estimators.core import Problem

STEPS = 400
ROWS = 64
LEARNING_RATE = 0.05


def tune(estimator: Estimator, problem: Problem, point: Tensor, num_samples: int, seed: int) -> tuple[Estimator, float]:
    """A copy of an estimator, ready to be measured at a point, and the evaluations of f that this took.

    An estimator is tuned if it is a module or has modules among its options. One call on a full chunk in training mode
    lets them size themselves and remember the past; then what has parameters takes STEPS steps of Adam, with ROWS
    estimates each, to minimise their variance: E|g|^2 has the same minimum, as the mean does not depend on them, but
    where the mean is large its noise drowns the rest. In the end all is frozen. An estimator with parameters takes
    `create_graph`, so that its estimate can be differentiated.
    """
    if not list(modules_of(estimator)):
        return estimator, 0.0
    estimator, counted = copy.deepcopy(estimator), Counted(problem)
    for module in modules_of(estimator):
        module.train()
    with torch.random.fork_rng():
        torch.manual_seed(stream("tuning", seed))
        estimator(counted, leaf(point, chunk_rows(problem, point, num_samples)), num_samples=num_samples)
        parameters = [parameter for module in modules_of(estimator) for parameter in module.parameters()]
        if parameters:
            _descend(estimator, counted, leaf(point, ROWS), num_samples, parameters)
    for module in modules_of(estimator):
        module.eval().requires_grad_(False)
    return estimator, float(counted.evaluations)


def modules_of(estimator: object) -> Iterator[nn.Module]:
    """The modules that an estimator is, or has among its options at any depth."""
    if isinstance(estimator, nn.Module):
        yield estimator
    elif isinstance(estimator, partial):
        for option in (*estimator.args, *estimator.keywords.values()):
            yield from modules_of(option)


def _descend(
    estimator: Estimator, problem: Problem, params: Tensor, num_samples: int, parameters: list[nn.Parameter]
) -> None:
    """Adam on the variance of the estimate, with a learning rate that falls to zero."""
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        g = estimator(problem, params, num_samples=num_samples, create_graph=True)
        loss = g.var(0).sum()
        for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = slope
        adam.step()
        schedule.step()
