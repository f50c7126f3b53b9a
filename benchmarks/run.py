"""Measure estimators over a grid: `python benchmarks/run.py -m estimator=score,reparam`; see --help."""

import dataclasses
import gc
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from itertools import zip_longest
from unittest.mock import patch

import hydra
import torch
from hydra.errors import MissingConfigException
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from benchmarks import config, descriptions, engine, labels, report, store, sweep

INTERRUPTED = 130


def compose(arguments: list[str], task: Callable[[DictConfig], None]) -> None:
    """Let Hydra compose each job of a command line and hand it to the task.

    Raises:
        BadInput: what Hydra says of the command line, in one line.
    """
    sys.argv[1:] = [re.sub(r"^(estimator|problem)=all$", r"\1=glob(*)", argument) for argument in arguments]
    try:
        hydra.main(version_base="1.3", config_path="../conf", config_name="config")(task)()
    except MissingConfigException as error:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        choices = f": choose from {', '.join(error.options or [])}" if error.options else ""
        raise config.BadInput(f"unknown {group} '{name}'{choices}") from error
    except Exception as error:  # Hydra raises many kinds; the tasks raise none of them
        text = "\n".join(str(e) for e in (error, error.__cause__) if e)
        if unknown := re.search(r"Key '(.*)' not in 'Config'", text):
            keys = ", ".join(field.name for field in dataclasses.fields(config.Config))
            raise config.BadInput(f"unknown key '{unknown[1]}': choose from {keys}") from error
        raise config.BadInput("; ".join(line.strip() for line in text.splitlines() if line.strip())) from error


def plan(arguments: list[str]) -> dict[str, config.Job]:
    """Every job that a command line asks for, checked, by its configuration as YAML; nothing is run.

    Hydra's sweeper composes every job before it composes it to run it; here to run is to check, so once is enough.

    Raises:
        BadInput: with one line that says what is wrong.
    """
    jobs: dict[str, config.Job] = {}
    errors: list[config.BadInput] = []

    def check(cfg: DictConfig) -> None:
        try:
            jobs[text_of(cfg)] = config.read(cfg)
        except config.BadInput as error:
            errors.append(error)

    with tempfile.TemporaryDirectory() as folder, patch.object(Sweeper, "validate_batch_is_legal"):
        nothing_written = [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}", "hydra/launcher=basic"]
        compose([*arguments, *nothing_written], check)
    if errors:
        raise errors[0]
    try:
        for job in jobs.values():
            descriptions.check(job.config["panels"])
    except ValueError as error:
        raise config.BadInput(f"panels: {error}") from error
    if len({job.out for job in jobs.values()}) > 1:
        raise config.BadInput("out: one folder a sweep")
    taken: dict[tuple[object, ...], str] = {}
    for job in jobs.values():
        named = (job.estimator_name, job.problem_name, *map(job.config.get, config.CELL_KEYS))
        for cell in sweep.cells(job):
            if taken.setdefault((*named, cell.latent_dim, cell.num_samples), cell.key) != cell.key:
                names = f"{job.estimator_name} on {job.problem_name}"
                raise config.BadInput(f"two jobs would fill the same cells of {names}; give each its own out")
    return jobs


def text_of(cfg: DictConfig) -> str:
    """A job's configuration as YAML, without what decides no number."""
    kept = [str(name) for name in cfg if name not in config.NUMBERLESS]
    return OmegaConf.to_yaml(OmegaConf.masked_copy(cfg, kept), resolve=True)


def figures_of(jobs: dict[str, config.Job]) -> descriptions.Described:
    """The figures that the jobs of a sweep describe, each once."""
    return list({figure["name"]: figure for job in jobs.values() for figure in job.config["panels"]}.values())


def options_of(jobs: dict[str, config.Job]) -> dict[str, dict[str, float]]:
    """The numbers that each label of the jobs stands for, those that it leaves out for being the YAML's among them."""
    found = {}
    for job in jobs.values():
        found[job.problem_name] = labels.numbers(job.config["problem"])
        found[job.estimator_name] = labels.numbers(job.config["estimator"])
    return found


def execute(arguments: list[str], stop: threading.Event) -> int:
    """Plan, measure and report a command line, until it ends or is to stop; returns its exit status."""
    jobs = plan(arguments)
    if not jobs:
        return 0
    out = next(iter(jobs.values())).out
    command = ["benchmarks/run.py", *arguments]
    oracles = {job.estimator_name for job in jobs.values() if job.oracle}
    store.begin(out, list(jobs), command, figures_of(jobs), options_of(jobs), oracles)
    cells = {text: sweep.cells(job) for text, job in jobs.items()}
    # each job's first, then their second, and so on: what the machine does for a while is not all one estimator's
    every = list({cell.key: cell for turn in zip_longest(*cells.values()) for cell in turn if cell}.values())
    done = sum(cell.finished() for cell in every)
    print(f"{len(every)} cell{'s' * (len(every) != 1)}, {done} measured before; results in {out}")

    def launched(cfg: DictConfig) -> None:
        own = cells[text_of(cfg)]
        with tqdm(total=len(own), initial=sum(cell.finished() for cell in own), unit="cell", disable=None) as bar:
            sweep.run(own, bar, stop)

    status = 0
    try:
        if any(argument.lstrip("+").startswith("hydra/launcher") for argument in arguments):
            compose([*arguments, "out='{}'".format(str(out).replace("'", r"\'"))], launched)
        else:
            with tqdm(total=len(every), initial=done, unit="cell", disable=None) as bar:
                sweep.run(every, bar, stop, min(job.workers for job in jobs.values()))
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on with out={out}", file=sys.stderr)
        status = INTERRUPTED
    rows = [store.read(out, cell.key) for cell in every]
    if any(rows):
        report.write(out)
    return status or int(any(row[0]["status"] == "failed" for row in rows if row))


def main() -> int:
    """Run the command line; returns 0 fine, 1 some cell failed, 2 bad input, 130 interrupted."""
    gc.freeze()  # what is imported stays; to look through it again and again takes half of the planning
    engine.keep_memory()
    torch.set_num_threads(1)  # a process for each core, not a thread: threads do not outlive a fork
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.path.append(os.getcwd())  # where a user's own estimators are; Python looks beside this script only
    stop = threading.Event()

    def interrupt(*_: object) -> None:
        stop.set()  # seen before the next cell, should Python swallow the exception in a callback
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return execute(sys.argv[1:], stop)
    except (config.BadInput, OSError) as error:
        print("run.py:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is measured is kept: `report.py FOLDER` gathers it", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
