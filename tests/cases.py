"""The lists that the generic tests walk: every YAML in conf/ is in them, so adding one is joining the suite."""

import copy
import inspect
from functools import partial
from pathlib import Path

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from benchmarks.config import estimator_of
from benchmarks.engine import Estimator, leaf
from benchmarks.problems.linear_vae import LinearVAE
from benchmarks.problems.quadratic import Quadratic
from benchmarks.problems.vae import VAE
from benchmarks.tuning import modules_of
from estimators.core import Problem, grad

CONF = Path(__file__).parents[1] / "conf"
CHOICES = {
    group: {p.stem: OmegaConf.load(p) for p in sorted((CONF / group).glob("*.yaml"))}
    for group in ("estimator", "problem")
}
BIASED = {"naive", "quadrature", "fd_forward", "fd_central", "spsa", "es", "es_forward", "es_antithetic"}
BIASED |= {"score_mean", "score_optimal_same", "score_optimal_coordinate_same", "bbvi_same"}
BIASED |= {"st_identity", "st_probabilities", "st_slope_annealed", "st_hard_sigmoid", "gumbel_softmax", "reinmax"}
BIASED |= {"st_gumbel_softmax", "gumbel_rao", "decoupled_st", "gapped_st", "darn", "grpo", "wor_normalised"}
PLAIN = ["score", "score_constant", "score_loo", "reparam", "stl"]

ESTIMATORS = {name: estimator_of(OmegaConf.to_container(config)) for name, config in CHOICES["estimator"].items()}
UNBIASED = {name: estimator for name, estimator in ESTIMATORS.items() if name not in BIASED}


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


def smallest(config: DictConfig) -> Problem:
    """A problem of a YAML with latent_dim = 2, or with its own if that is fixed (its class takes no latent_dim)."""
    sized = "latent_dim" in inspect.signature(get_object(config["_target_"])).parameters
    return instantiate(config, **({"latent_dim": 2} if sized else {}))


PROBLEMS = {name: partial(smallest, config) for name, config in CHOICES["problem"].items()} | {
    "quadratic_general": general_quadratic,
    "linear_vae_mc": lambda: LinearVAE(2, kl="mc"),
    "linear_vae_small": lambda: small_vae("analytic"),
    "linear_vae_small_mc": lambda: small_vae("mc"),
    "vae_gaussian_mc": lambda: VAE(2, likelihood="gaussian", kl="mc", train_steps=20),
}


def exact_gradient(problem: Problem, point: Tensor) -> Tensor:
    """Autograd of the problem's exact objective, (P,)."""
    params = leaf(point, 1)
    return grad(problem.value(params)[None], params)[0]


EXACT = ["quadratic_general", "linear_vae_small", "linear_vae_small_mc"]


def ready(estimator: Estimator, problem: Problem, point: Tensor) -> Estimator:
    """A copy of an estimator whose modules have met the problem once and are frozen as they are, untuned."""
    estimator = copy.deepcopy(estimator)
    estimator(problem, leaf(point, 4), num_samples=2)
    for module in modules_of(estimator):
        module.eval().requires_grad_(False)
    return estimator
