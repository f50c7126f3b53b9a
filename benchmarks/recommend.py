"""Which estimator to use: `python benchmarks/recommend.py results/NAME problem=... latent_dim=... budget=...`."""

import dataclasses
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks import advice, report, store

HELP = """usage: recommend.py results/NAME [key=value ...]

The estimator and S with the least variance for the work, among those without bias, and what cannot be told from it.

keys (what is left out is answered for each value in the folder):
  problem=NAME     as in the results
  point=NAME
  latent_dim=D
  budget=X         what there is for one gradient: evaluations of f, or seconds (in a batch, not alone)
  by=evaluations   what work is: evaluations of f, or seconds
  bias=0           the share of the exact gradient's norm that a bias may have for sure
  group=all        the parameter group
  seed=0"""


class BadInput(Exception):
    """An argument that cannot be used; the message says what is allowed."""


@dataclass
class Options:
    """The keys; see HELP."""

    problem: str | None = None
    point: str | None = None
    latent_dim: int | None = None
    seed: int | None = None
    budget: float = np.inf
    by: str = "evaluations"
    bias: float = 0.0
    group: str = "all"


def read(arguments: list[str]) -> Options:
    """The options of a command line. Raises BadInput."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_dotlist(arguments))
        options = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        keys = ", ".join(field.name for field in dataclasses.fields(Options))
        raise BadInput(f"{str(error).splitlines()[0]}: the keys are {keys}") from error
    assert isinstance(options, Options)
    for name, holds, allowed in (
        ("by", options.by in advice.WORK, " or ".join(advice.WORK)),
        ("budget", options.budget > 0, "a number > 0"),
        ("bias", options.bias >= 0, "a share of the gradient's norm, >= 0"),
    ):
        if not holds:
            raise BadInput(f"{name}={getattr(options, name)}: it must be {allowed}")
    return options


def chosen(frame: pd.DataFrame, options: Options) -> pd.DataFrame:
    """The rows that the options mean. Raises BadInput for a value that the results do not have."""
    for name in ("problem", "point", "latent_dim", "seed", "group"):
        value = getattr(options, name)
        if value is not None:
            if not (frame[name] == value).any():
                raise BadInput(f"{name}={value}: choose from {', '.join(map(str, sorted(set(frame[name]))))}")
            frame = frame[frame[name] == value]
    return frame


def main() -> int:
    """Command line; returns its exit status: 0, or 2 for bad input or nothing to recommend."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0 if arguments else 2
    try:
        options = read(arguments[1:])
        frame = chosen(report.load(arguments[0]), options)
    except (store.NotAResultsFolder, BadInput) as error:
        print(f"recommend.py: {error}", file=sys.stderr)
        return 2
    answered = False
    for title, rows in advice.each_setting(frame, options.group):
        try:
            found = advice.advise(rows, options.by, options.bias, options.budget)
        except advice.NothingToRecommend as error:
            print(f"## {title}\nnone can be recommended: {error}\n")
            continue
        print(f"## {title}\n{advice.in_words(found, options.by, options.budget)}\n")
        answered = True
    return 0 if answered else 2


if __name__ == "__main__":
    sys.exit(main())
