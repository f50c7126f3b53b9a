"""Two revisions of the code measured: worktrees, a run of `benchmarks/run.py` each, and their times side by side."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from benchmarks.gate import lockstep, sides, timing

ROOT = Path(__file__).parents[2]
DEFAULT = ["-m", "experiment=gate"]
OLD = "it is older than the gate; compare with baseline=results/baseline, or on a grid that both know"


def resolved(name: str) -> str | None:
    """The commit that a name stands for in this repository; None if it stands for none."""
    if name.startswith("-"):
        return None
    found = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return found.stdout.strip() or None


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A checkout of a commit in a temporary folder, removed in the end, also when interrupted.

    Raises sides.NotComparable if git cannot make it.
    """
    with tempfile.TemporaryDirectory(prefix="gradiometer-") as folder:
        tree = Path(folder) / "tree"
        try:
            made = _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
            if made.returncode:
                raise sides.NotComparable(f"git worktree: {_last(made.stderr)}")
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def measured(
    baseline: str, candidate: str | None, arguments: list[str], rounds: int, keep: str = ""
) -> tuple[sides.Side, sides.Side, pd.DataFrame]:
    """Both sides measured, and their times taken side by side, see `lockstep.timed`.

    baseline, candidate: commits; None for the working tree. arguments: of `benchmarks/run.py`, the same for both.
    keep: a new folder for what is measured of the candidate; none by default.

    Raises sides.NotComparable if a revision cannot be checked out, lacks what a comparison needs, or its run fails.
    """
    arguments = arguments or DEFAULT
    if keep and Path(keep).exists():
        raise sides.NotComparable(f"keep={keep}: it is there already; name a new folder")
    with ExitStack() as stack:
        trees = [stack.enter_context(worktree(commit)) if commit else ROOT for commit in (baseline, candidate)]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gradiometer-")))
        outs = {"baseline": folder / "baseline", "candidate": Path(keep).resolve() if keep else folder / "candidate"}
        for name, tree in zip(outs, trees, strict=True):
            if tree != ROOT:
                _require(name, tree, arguments)
        for (name, out), tree in zip(outs.items(), trees, strict=True):
            _run(name, tree, arguments, out)
        try:
            turns = _timed(trees[0], trees[1], arguments, rounds)
        except lockstep.Failed as error:
            raise sides.NotComparable(f"timing: {error}") from error
        before, now = (sides.read(out) for out in outs.values())
    return before, now, turns


def _require(name: str, tree: Path, arguments: list[str]) -> None:
    """Raise sides.NotComparable, before anything is measured, if a tree is too old to be compared."""
    wanted = [f"conf/{word.replace('=', '/')}.yaml" for word in arguments if word.startswith("experiment=")]
    for path in ("benchmarks/run.py", *wanted):
        if not (tree / path).exists():
            raise sides.NotComparable(f"{name}: it has no {path}: {OLD}")
    try:
        with lockstep.Stopwatch(tree, []) as watch:
            watch.heard()
    except lockstep.Failed as error:
        raise sides.NotComparable(f"{name}: it cannot be timed: {error}; perhaps {OLD}") from error


def _timed(baseline: Path, candidate: Path, arguments: list[str], rounds: int) -> pd.DataFrame:
    """`lockstep.timed`; then, of what seems to have changed, three times more in new processes, with three visits each.

    `run` is 0 for the first time, then 1, 2, 3.
    """
    first = lockstep.timed(baseline, candidate, arguments, rounds).assign(run=0)
    suspects = timing.suspects(timing.shifts_of_turns(first))
    runs = range(1, 1 + timing.LOOKS if suspects else 1)
    trees = baseline, candidate
    again = [lockstep.timed(*trees, arguments, rounds, suspects, timing.VISITS).assign(run=run) for run in runs]
    return pd.concat([first, *again], ignore_index=True)


def _run(name: str, tree: Path, arguments: list[str], out: Path) -> None:
    """Run a tree's own `benchmarks/run.py`; cells that fail are rows, what else fails is an error."""
    command = [sys.executable, str(tree / "benchmarks" / "run.py"), *arguments, f"out='{out}'"]
    with ExitStack() as stack:
        said = stack.enter_context(tempfile.TemporaryFile("w+"))
        bar = stack.enter_context(tqdm(desc=f"measuring the {name}", unit="cell", disable=None))
        made = stack.enter_context(
            subprocess.Popen(command, cwd=tree, env=lockstep.environment(tree), stdout=subprocess.DEVNULL, stderr=said)
        )
        stack.callback(made.kill)
        while made.poll() is None:
            time.sleep(0.2)
            bar.update(len(list(out.glob("cells/*.json"))) - bar.n)
        said.seek(0)
        if made.returncode not in (0, 1) or not (out / "results.parquet").exists():
            raise sides.NotComparable(f"{name}: its run failed: {_last(said.read())}")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)


def _last(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
