"""The one list of estimators and problems that the generic tests walk: joining it is joining the suite."""

from functools import partial

import torch

from benchmarks.problems.linear_vae import LinearVAE
from benchmarks.problems.quadratic import Quadratic
from benchmarks.problems.vae import VAE
from estimators.baselines import constant, leave_one_out
from estimators.pathwise import reparam, stl
from estimators.score_function import naive, score

UNBIASED = {
    "score": score,
    "score_constant": partial(score, baseline=partial(constant, value=3.0)),
    "score_loo": partial(score, baseline=leave_one_out),
    "reparam": reparam,
    "stl": stl,
}
ESTIMATORS = UNBIASED | {"naive": naive}


def general_quadratic() -> Quadratic:
    return Quadratic(
        2,
        A=torch.tensor([[2.0, 0.7], [-0.1, 1.0]]),
        b=torch.tensor([0.5, -1.0]),
        c=3.0,
        loc=torch.tensor([0.3, -0.8]),
        log_scale=torch.tensor([-0.4, 0.2]),
    )


def small_vae(kl: str) -> LinearVAE:
    """A linear VAE whose z has two coordinates in all: B = 2 images of X = 3 pixels, D = 1."""
    data = torch.tensor([[0.2, 0.9, 0.4], [0.7, 0.1, 0.5]])
    return LinearVAE(1, data=data, noise_variance=0.3, kl=kl)


PROBLEMS = {
    "quadratic": lambda: Quadratic(3),
    "quadratic_general": general_quadratic,
    "linear_vae": lambda: LinearVAE(2),
    "linear_vae_mc": lambda: LinearVAE(2, kl="mc"),
    "linear_vae_small": lambda: small_vae("analytic"),
    "linear_vae_small_mc": lambda: small_vae("mc"),
    "vae": lambda: VAE(2, train_steps=20),
    "vae_gaussian_mc": lambda: VAE(2, likelihood="gaussian", kl="mc", train_steps=20),
}
EXACT = ["quadratic_general", "linear_vae_small", "linear_vae_small_mc"]
