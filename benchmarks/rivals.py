"""The same job in other libraries: R estimates of the gradient of E||z - 1||^2, z ~ N(loc, scale^2), S draws each.

Each function returns a call that gives gradients (R, 2 D), batched over estimates by hand, which is the fastest way
that each library has. Raises ImportError where the library is not installed (`pip install -e ".[rivals]"`).
"""

import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.utils.dlpack
from torch import Tensor
from torch.distributions import Normal

Call = Callable[[], Tensor]


def cost(z: Tensor) -> Tensor:
    return (z - 1).square().sum(-1)


def torch_loop(kind: str, R: int, D: int, S: int) -> Call:
    """Plain PyTorch, one estimate at a time: what a user writes first."""

    def one() -> Tensor:
        loc, log_scale = torch.zeros(2, D).requires_grad_().unbind()
        q = Normal(loc, log_scale.exp())
        if kind == "reparam":
            surrogate = cost(q.rsample((S,))).mean()
        else:
            z = q.sample((S,))
            surrogate = (cost(z) * q.log_prob(z).sum(-1)).mean()
        return torch.cat(torch.autograd.grad(surrogate, (loc, log_scale)))

    return lambda: torch.stack([one() for _ in range(R)])


def storchastic(kind: str, R: int, D: int, S: int) -> Call:
    """Storchastic (van Krieken et al. 2021), with its independent dimension for the estimates."""
    storch: Any = importlib.import_module("storch")
    methods = {"score": storch.method.ScoreFunction, "reparam": storch.method.Reparameterization}

    def call() -> Tensor:
        leaves = [torch.zeros(R, D, requires_grad=True) for _ in range(2)]
        loc, log_scale = (storch.denote_independent(leaf, 0, "estimate") for leaf in leaves)
        z = methods[kind]("z", n_samples=S)(Normal(loc, log_scale.exp()))
        storch.add_cost(((z - 1) ** 2).sum(-1), "cost")
        storch.backward()
        return R * torch.cat([leaf.grad for leaf in leaves if leaf.grad is not None], 1)

    return call


def pyro(kind: str, R: int, D: int, S: int) -> Call:
    """Pyro (Bingham et al. 2019): Trace_ELBO with vectorised particles. Its f has log q in it, as an ELBO does."""
    library: Any = importlib.import_module("pyro")
    distributions: Any = importlib.import_module("pyro.distributions")
    fakes: Any = importlib.import_module("pyro.distributions.testing.fakes")
    family = distributions.Normal if kind == "reparam" else fakes.NonreparameterizedNormal
    leaves = [torch.zeros(R, D, requires_grad=True) for _ in range(2)]

    def model() -> None:
        with library.plate("estimate", R):
            z = library.sample("z", distributions.Normal(torch.zeros(R, D), 1.0).to_event(1).mask(False))
            library.factor("cost", -cost(z))

    def guide() -> None:
        with library.plate("estimate", R):
            library.sample("z", family(leaves[0], leaves[1].exp()).to_event(1))

    elbo = library.infer.Trace_ELBO(num_particles=S, vectorize_particles=True, max_plate_nesting=1)

    def call() -> Tensor:
        loss = elbo.differentiable_loss(model, guide)
        return torch.cat(torch.autograd.grad(loss, leaves), 1)

    library.enable_validation(False)
    return call


def jax(kind: str, R: int, D: int, S: int) -> Call:
    """JAX, by hand: jit of a batched gradient, its default generator (the fastest of its three on a CPU)."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    import jax as library
    import jax.numpy as jnp

    def estimate(params: Any, key: Any) -> Any:
        eps = library.random.normal(key, (S, D))

        def surrogate(params: Any) -> Any:
            loc, log_scale = params[:D], params[D:]
            z = loc + jnp.exp(log_scale) * eps
            if kind == "reparam":
                return jnp.mean(jnp.sum((z - 1) ** 2, -1))
            z = library.lax.stop_gradient(z)
            log_prob = jnp.sum(-0.5 * ((z - loc) * jnp.exp(-log_scale)) ** 2 - log_scale, -1)
            return jnp.mean(jnp.sum((z - 1) ** 2, -1) * log_prob)

        return library.grad(surrogate)(params)

    batched = library.jit(lambda params, key: library.vmap(estimate)(params, library.random.split(key, R)))
    keys = iter(library.random.split(library.random.key(0), 2**16))
    params = jnp.zeros((R, 2 * D))
    return lambda: torch.utils.dlpack.from_dlpack(batched(params, next(keys)).block_until_ready())


RIVALS = {"PyTorch, a loop": torch_loop, "Storchastic": storchastic, "Pyro": pyro, "JAX": jax}


def exact(name: str, D: int) -> Tensor:
    """The gradient, (2 D,): of E f, and of the entropy where f has log q in it."""
    return torch.cat([torch.full((D,), -2.0), torch.full((D,), 1.0 if name == "Pyro" else 2.0)])


def installed(kind: str, R: int, D: int, S: int) -> dict[str, Call]:
    """The calls of those that are installed; the loop makes a sixteenth as many estimates."""
    calls = {}
    for name, rival in RIVALS.items():
        rows = max(R // 16, 1) if rival is torch_loop else R
        try:
            calls[name] = partial(rival, kind, rows, D, S)()
        except ImportError:
            continue
    return calls
