"""What a run may be asked for: the typed keys, their bounds, and the cells that a configuration stands for."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate, to_absolute_path
from omegaconf import DictConfig, OmegaConf

from benchmarks import (
    bias,
    compiled,
    costs,
    engine,
    exact,
    intervals,
    measure,
    moments,
    reference,
    sampling,
    store,
    summary,
    tuning,
    workers,
)
from benchmarks.engine import Estimator
from benchmarks.naming import label
from benchmarks.options import check_options
from estimators.core import Problem, Unsupported

DTYPES = {"float32": torch.float32, "float64": torch.float64}
CELL_KEYS = ("point", "seed", "device", "dtype")
NUMBERLESS = ("out", "panels", "workers")  # keys that decide no number: a place, figures, how many processes
ORACLES = {"estimators.noise_free.exact", "estimators.baselines.oracle_mean", "estimators.control_variates.Oracle"}
MEASURING = (bias, compiled, costs, engine, exact, intervals, measure, moments, reference, sampling, summary, tuning)


class BadInput(Exception):
    """A request that cannot be run; the message says in one line what is allowed."""


@dataclass
class Config:
    """The keys of a run; `python benchmarks/run.py --help` explains them."""

    estimator: Any = None
    problem: Any = None
    latent_dim: Any = field(default_factory=lambda: [2, 8, 32, 128])
    num_samples: Any = field(default_factory=lambda: [1, 4, 16, 64])
    point: str = "init"
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    compile: bool = False
    exact: bool = True
    precision: float = 0.05
    bias_precision: float | None = None
    min_replicates: int = 2000
    max_replicates: int = 1_000_000
    time_budget: float = 30.0
    workers: int | None = None
    panels: list[Any] = field(default_factory=list)
    out: str = "results/${now:%Y-%m-%d_%H-%M-%S}"


ConfigStore.instance().store(name="schema", node=Config)


@dataclass(frozen=True)
class Job:
    """A validated configuration: its grid is `latent_dims` x `num_samples`; labels name it in tables."""

    config: dict[str, Any]
    estimator_name: str
    problem_name: str
    latent_dims: list[int]
    num_samples: list[int]
    out: Path

    def estimator(self) -> Estimator:
        """The estimator, a callable (problem, params, num_samples=S): a function with its options, or an instance.

        What it draws to begin with, as the weights of a network, follows from the seed.
        """
        with _seeded(self.config["seed"]):
            return estimator_of(self.config["estimator"])

    def problem(self, latent_dim: int) -> Problem:
        """The problem at one latent_dim, on the device and in the dtype asked for."""
        size = {} if self.fixed else {"latent_dim": latent_dim}
        with _seeded(0):  # should it draw anything, it is the same problem for all estimators and seeds
            problem: Problem = instantiate(self.config["problem"], **size)
        return problem.to(self.config["device"], DTYPES[self.config["dtype"]])

    @property
    def oracle(self) -> bool:
        """Whether the estimator knows what nobody knows in practice, such as E f."""
        return not ORACLES.isdisjoint(_targets(self.config["estimator"]))

    @property
    def workers(self) -> int:
        """How many cells to measure at once: by default one a processor; on a GPU one."""
        return self.config["workers"] or (1 if self.config["device"] == "cuda" else workers.available())

    @property
    def fixed(self) -> bool:
        """Whether the problem has one latent_dim only: its class takes none."""
        return "latent_dim" not in inspect.signature(get_object(self.config["problem"]["_target_"])).parameters

    def key(self, latent_dim: int, num_samples: int) -> str:
        """Hash of everything that decides a cell's numbers: settings, versions, and the source that computes them."""
        settings = {name: value for name, value in self.config.items() if name not in NUMBERLESS}
        names = [self.estimator_name, self.problem_name]
        cell = {"latent_dim": latent_dim, "num_samples": num_samples}
        return store.content_key([settings | cell, names, self.sources, store.VERSION, torch.__version__])

    @cached_property
    def sources(self) -> str:
        """Hash of the source of all estimators, problems and the measuring, and of every target's module."""
        root = Path(__file__).parents[1]
        files = {path for name in ("estimators", "benchmarks/problems") for path in (root / name).rglob("*.py")}
        files |= {Path(module.__file__ or "") for module in MEASURING}
        targets = [get_object(name) for name in _targets([self.config["estimator"], self.config["problem"]])]
        files |= {Path(file) for target in targets for file in _files(target)}
        return store.content_key(sorted(path.read_text() for path in files))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's generator at a seed, and as it was again."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def estimator_of(node: dict[str, Any]) -> Estimator:
    """What a YAML of an estimator stands for: a function with its options, or an instance of a class."""
    return instantiate(node | {"_partial_": not inspect.isclass(get_object(node["_target_"]))})


def _targets(node: Any) -> list[str]:
    """Every `_target_` in a configuration, at any depth."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    here = [node["_target_"]] if isinstance(node, dict) and "_target_" in node else []
    return here + [name for value in inner for name in _targets(value)]


def _files(target: Any) -> list[str]:
    """Source files of a function's module, or of a class and its bases; none for what is built in."""
    modules = [inspect.getmodule(cls) for cls in getattr(target, "__mro__", [target])]
    files = [getattr(module, "__file__", None) for module in modules]
    return [file for file in files if file and file.endswith(".py") and "site-packages" not in file]


def read(cfg: DictConfig) -> Job:
    """Check a composed configuration and make a job of it.

    Raises:
        BadInput: a value out of bounds, a target that cannot be loaded, an unknown point, an unusable `out`.
    """
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    _check_bounds(config)
    job = Job(
        config=config,
        estimator_name=label("estimator", cfg),
        problem_name=label("problem", cfg),
        latent_dims=_sizes("latent_dim", config.pop("latent_dim")),
        num_samples=_sizes("num_samples", config.pop("num_samples")),
        out=Path(to_absolute_path(config["out"])),
    )
    try:
        store.check(job.out)
        estimator = job.estimator()
        check_options(estimator)
        problem = job.problem(min(job.latent_dims))
    except store.NotAResultsFolder as error:
        raise BadInput(str(error)) from error
    except Exception as error:
        if isinstance(cause(error), Unsupported):
            return job
        raise BadInput(" ".join(str(cause(error)).split())) from error
    try:
        function, options = (estimator.func, estimator.keywords) if isinstance(estimator, partial) else (estimator, {})
        inspect.signature(function).bind(problem, None, num_samples=1, **options)
    except (TypeError, ValueError) as error:
        text = f"estimator={job.estimator_name} cannot be called as (problem, params, num_samples=S): {error}"
        raise BadInput(text) from error
    if config["point"] not in problem.points:
        raise BadInput(f"point={config['point']}: {job.problem_name} has {', '.join(problem.points)}")
    if job.fixed:
        own = engine.latent_dim(problem, problem.at(config["point"]))
        job = replace(job, latent_dims=[own, *(size for size in job.latent_dims if size != own)])
    return job


def cause(error: Exception) -> BaseException:
    """What went wrong in a function or class that Hydra called, without Hydra's own words around it."""
    return error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error


def _check_bounds(config: dict[str, Any]) -> None:
    """Raise BadInput for a key that is out of bounds."""
    bias, least, workers = config["bias_precision"], config["min_replicates"], config["workers"]
    for name, holds, allowed in (
        ("seed", config["seed"] >= 0, "an integer >= 0"),
        ("dtype", config["dtype"] in DTYPES, " or ".join(DTYPES)),
        ("device", config["device"] in ("cpu", "cuda"), "cpu or cuda"),
        ("precision", 0 < config["precision"] < 1, "a number between 0 and 1"),
        ("bias_precision", bias is None or bias > 0, "a number > 0, or null"),
        ("min_replicates", least >= 2, "an integer >= 2"),
        ("max_replicates", config["max_replicates"] >= least, f"an integer >= min_replicates, {least}"),
        ("time_budget", config["time_budget"] > 0, "seconds > 0"),
        ("workers", workers is None or workers >= 1, "an integer >= 1, or null for one a processor"),
        ("workers", workers in (None, 1) or config["device"] == "cpu", "1 on a GPU"),
    ):
        if not holds:
            raise BadInput(f"{name}={config[name]}: it must be {allowed}")
    if config["device"] == "cuda" and not torch.cuda.is_available():
        raise BadInput("device=cuda: this machine has no CUDA device that torch can use; it must be cpu")


def _sizes(name: str, value: Any) -> list[int]:
    """A size or a list of sizes as a list without repeats."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 1 for v in values):
        raise BadInput(f"{name}={value}: it must be an integer >= 1, or a list of them as in {name}=[1,4]")
    return list(dict.fromkeys(values))
