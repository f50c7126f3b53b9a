"""Two versions of the code timed side by side: each cell in turns, so that both meet the machine in one state."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks import store

STOPWATCH = Path(__file__).with_name("stopwatch.py")
TURN_SECONDS = 0.004
MOST_CALLS = 100
VISIT_SECONDS, FEWEST_TURNS = 2.0, 6


class Failed(Exception):
    """A version of the code that does not run; the message is its last line."""


def environment(tree: Path) -> dict[str, str]:
    """The environment of a process that imports a tree's code, whatever else is installed."""
    return os.environ | {"PYTHONPATH": str(tree)}


class Stopwatch:
    """A process that times one version of the code, see `stopwatch.py`; it ends with its `with`."""

    def __init__(self, tree: Path, arguments: list[str]) -> None:
        self.tree = tree
        self.errors: TextIO = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(STOPWATCH), *arguments],
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def heard(self) -> Any:
        """The next answer. Raises Failed if there is none."""
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        said = [line for line in self.errors.read().splitlines() if line.strip()]
        raise Failed(said[-1] if said else f"it ended with status {self.process.returncode}")

    def ask(self, *words: object) -> Any:
        """The answer to a line."""
        assert self.process.stdin is not None
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return self.heard()
        return self.heard()


def timed(
    baseline: Path,
    candidate: Path,
    arguments: list[str],
    rounds: int,
    only: Collection[str] | None = None,
    visits: int = 1,
) -> pd.DataFrame:
    """Seconds of a full chunk in the cells of both trees' plans, taken side by side.

    Both are built, and take turns of about 4 ms; which is built and called first alternates. A round is two turns of
    each; where a single call is long, there are fewer. Cells that either cannot build are left out, and
    those of estimators that are not in `only`.
    visits: how many times to go through all cells.

    Returns one row a cell and visit: store.CELL, and `seconds` and `seconds_against` of each turn.

    Raises Failed if a tree cannot plan the arguments, or ends.
    """
    rows = []
    with Stopwatch(baseline, arguments) as before, Stopwatch(candidate, arguments) as now:
        watches = before, now
        plans = {w: {tuple(cell[name] for name in store.CELL): k for k, cell in enumerate(w.heard())} for w in watches}
        both = [cell for cell in plans[before] if cell in plans[now] and (only is None or cell[0] in only)]
        for k, cell in enumerate(tqdm(both * visits, desc="timing", unit="cell", disable=None)):
            order = watches if k % 2 else watches[::-1]
            if any(isinstance(watch.ask("build", plans[watch][cell]), str) for watch in order):
                continue
            first = [watch.ask("time", 1) for watch in order]
            calls = int(np.clip(TURN_SECONDS / min(first), 1, MOST_CALLS))
            afforded = int(VISIT_SECONDS / sum(first))  # what takes long scatters less
            seconds: dict[Stopwatch, list[float]] = {watch: [] for watch in watches}
            for turn in range(min(2 * rounds, max(afforded, FEWEST_TURNS))):
                for watch in order if turn % 2 else order[::-1]:
                    seconds[watch].append(watch.ask("time", calls))
            turns = {"seconds": seconds[now], "seconds_against": seconds[before]}
            rows.append(dict(zip(store.CELL, cell, strict=True)) | turns)
    return pd.DataFrame(rows, columns=[*store.CELL, "seconds", "seconds_against"])
