"""Does the gate hold here? Compares runs of one commit with each other, as they are and with a change planted.

    python benchmarks/gate/trials.py results/A results/B results/C ...

The folders: runs of one sweep by one commit, with one seed or several. Every ordered pair is compared; then each
change is planted in an estimator drawn at random, and it counts as found where that one is named as worse.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import store
from benchmarks.gate import changes, sides

Plant = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
DETECTED = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.9))  # errors that a bias called detectable has


def noisier(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """10 % more variance."""
    batches = [None if np.ndim(b) == 0 else 1.1 * np.asarray(b) for b in rows["batch_variances"]]
    scaled = {name: 1.1 * rows[name] for name in ("variance", "variance_low", "variance_high")}
    return rows.assign(**scaled, batch_variances=pd.Series(batches, index=rows.index, dtype=object))


def biased(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A bias of twice what the run calls detectable, as a test of its power would find it."""
    error = rows["bias_detectable"] * rows["gradient_norm"] / DETECTED
    z = 2 * DETECTED + rng.normal(size=len(rows))
    ends = {f"bias{end}": ((z + step) * error).clip(lower=0) for end, step in (("", 0), ("_low", -2), ("_high", 2))}
    return rows.assign(**ends, bias_p=2 * stats.norm.sf(z))


def slower(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """30 % slower."""
    return rows.assign(relative_seconds=1.3 * rows["relative_seconds"])


def costlier(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """One more evaluation."""
    return rows.assign(evaluations=rows["evaluations"] + 1)


PLANTS: dict[str, Plant] = {
    "10 % more variance": noisier,
    "twice the detectable bias": biased,
    "30 % slower": slower,
    "one more evaluation": costlier,
}


def named(baseline: sides.Side, candidate: sides.Side) -> set[str]:
    """The estimators that are called worse."""
    table = changes.compare(baseline, candidate).table
    return set(table.loc[table["verdict"] == "worse", "estimator"])


def nulls(runs: list[sides.Side]) -> pd.DataFrame:
    """Every ordered pair as it is: whether anything is called worse."""
    red = [bool(named(one, other)) for one, other in permutations(runs, 2)]
    return pd.DataFrame([{"planted": "nothing", "comparisons": len(red), "found": "", "others named": sum(red)}])


def planted(runs: list[sides.Side], plant: str, times: int, rng: np.random.Generator) -> dict[str, object]:
    """How often a change of an unbiased estimator is found in a pair drawn at random, and another one named."""
    found, others = 0, 0
    for _ in range(times):
        one, other = (runs[k] for k in rng.choice(len(runs), 2, replace=False))
        fit = other.frame[other.frame["status"].isin(store.MEASURED) & (other.frame["bias_p"] > 0.01)]
        name = rng.choice(sorted(set(fit["estimator"])))
        chosen = other.frame["estimator"] == name
        frame = pd.concat([PLANTS[plant](other.frame[chosen], rng), other.frame[~chosen]], ignore_index=True)
        worse = named(one, replace(other, frame=frame))
        found, others = found + (name in worse), others + bool(worse - {name})
    return {"planted": plant, "comparisons": times, "found": found, "others named": others}


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="results of one sweep, two runs or more")
    parser.add_argument("--times", type=int, default=60, help="comparisons of each planted change (60)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    try:
        runs = [sides.read(folder) for folder in options.folders]
        if len(runs) < 2:
            raise sides.NotComparable("name two folders or more")
        tables = [nulls(runs), pd.DataFrame([planted(runs, plant, options.times, rng) for plant in PLANTS])]
    except sides.NotComparable as error:
        print(f"trials.py: {error}", file=sys.stderr)
        return 2
    print(pd.concat(tables).to_markdown(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
