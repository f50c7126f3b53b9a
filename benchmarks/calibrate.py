"""Whether the intervals and tests hold what they claim: `python benchmarks/calibrate.py`; see --help.

Whole cells with known answers are measured again and again with other seeds, by sampling. Counted is how often each
interval covers the truth, how often each test errs, and how often a planted bias of the size called detectable is
found.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from scipy import stats
from tqdm import tqdm

from benchmarks import comparisons, plots, store, summary
from benchmarks.bias import Difference
from benchmarks.config import estimator_of
from benchmarks.costs import Costs
from benchmarks.engine import Chunks, chunk_rows, stream
from benchmarks.exact import exact_moments
from benchmarks.measure import replicate
from benchmarks.reference import reference_gradient
from benchmarks.sampling import Target
from estimators.core import Problem

ROOT = Path(__file__).parents[1]
CASES = ROOT / "conf" / "calibration.yaml"
BLOCK = 25
PRECISION, LOOSE = 0.05, 0.9
FEWEST, MOST = 2000, 1_000_000
FALSE_ALARM = 0.001
CLAIMS = {
    "variance covered": (0.95, 0.93),
    "variance within precision": (0.95, 0.95),
    "bias covered": (0.95, 0.93),
    "planted bias covered": (0.95, 0.93),
    "ratio covered": (0.95, 0.93),
    "zero bias rejected at 5 %": (0.05, 0.065),
    "zero bias rejected at 0.1 %": (0.001, 0.0013),
    "planted in one found": (0.9, 0.85),
    "planted in all found": (0.9, 0.85),
}
UNTIMED = Costs((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0)


class Truth(NamedTuple):
    """Of a group: total variance, norm of the bias, and which coordinate is the noisiest."""

    variance: float
    bias: float
    noisiest: int


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A cell with a known answer, and two estimators that are measured on it."""

    name: str
    problem: Problem
    point: str
    num_samples: int
    estimators: dict[str, Any]

    @classmethod
    def of(cls, name: str, options: dict[str, Any]) -> "Case":
        """A case as its YAML has it."""
        functions = {role: estimator_of(options[role]) for role in ("estimator", "against")}
        problem = instantiate(options["problem"]).double()
        return cls(name, problem, options.get("point", "init"), options.get("num_samples", 1), functions)

    def cell(self, role: str, seed: int, precision: float) -> tuple[summary.Known, Any]:
        """What one measurement gives, as `measure` makes it, by sampling."""
        point = self.problem.at(self.point)
        rows = chunk_rows(self.problem, point, self.num_samples)
        fewest = -(-FEWEST // rows)
        target = Target(precision, None, fewest, MOST // rows, 600.0)
        draws = stream("calibrate", seed, self.name)
        chunks = Chunks(self.estimators[role], self.problem, point, self.num_samples, rows, draws)
        return replicate(chunks, chunks, target, exact=False)

    @cache  # noqa: B019 (a case lives as long as its process)
    def truth(self, role: str) -> dict[str, Truth]:
        """What is exactly so of each group."""
        point = self.problem.at(self.point)
        exact = exact_moments(self.estimators[role], self.problem, point, self.num_samples)
        if exact is None:
            raise ValueError(f"case {self.name}: the exact moments are not to be had; use fewer draws")
        bias = exact.mean - reference_gradient(self.problem, point).gradient
        bias = bias.where(bias.abs() > 1e-9 * exact.variance.sum().sqrt(), 0.0)
        return {
            name: Truth(
                float(exact.variance[group].sum()), float(bias[group].norm()), int(exact.variance[group].argmax())
            )
            for name, group in (self.problem.groups | {"all": slice(None)}).items()
        }


def outcomes(case: Case, seed: int) -> Iterator[dict[str, Any]]:
    """What each interval and test did in one measurement at the default precision, one dict a group and claim."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for role in case.estimators:
        known, run = case.cell(role, seed, PRECISION)
        truths = case.truth(role)
        rows[role] = [
            {
                "group": name,
                "estimator": role,
                "status": "ok",
                "reason": "",
                **dict.fromkeys(comparisons.PAIRED[:-1], 0),
            }
            | summary.row(run.total, known, i, UNTIMED, True)
            for i, name in enumerate(known.groups)
        ]
        if role == "against":
            continue
        for i, (name, row) in enumerate(zip(known.groups, rows[role], strict=True)):
            truth = truths[name]
            if truth.variance <= 1e-12 * truths["all"].variance:
                continue
            width = (row["variance_high"] - row["variance_low"]) / 2 / row["variance"]
            said = {"group": name, "width": width, "replicates": row["replicates"]}
            yield said | {"claim": "variance covered", "hit": _within(truth.variance, row, "variance")}
            near = abs(row["variance"] / truth.variance - 1) <= PRECISION
            yield said | {"claim": "variance within precision", "hit": near}
            yield said | {"claim": "bias covered", "hit": _within(truth.bias, row, "bias")}
            if not truth.bias:
                error = summary.difference(run.total, known, i)
                yield from (said | row for row in planted(error, truth.noisiest))
    frame = pd.DataFrame([row for part in rows.values() for row in part])
    found: dict[str, Any]
    for found in comparisons.compare(frame, against="against").query("at == 'one estimate'").to_dict("records"):  # type: ignore[assignment]
        group = found["group"]
        ratio = case.truth("estimator")[group].variance / case.truth("against")[group].variance
        width = (found["ratio_high"] - found["ratio_low"]) / 2 / found["ratio"]
        yield {"group": group, "claim": "ratio covered", "hit": _within(ratio, found, "ratio"), "width": width}


def planted(error: Difference, noisiest: int) -> Iterator[dict[str, Any]]:
    """Whether a bias of the size that the run calls detectable is found, and its interval covers it."""
    size, count = error.detectable(), len(error.value)
    one = np.zeros(count)
    one[noisiest] = size
    for place, shift in (("one", one), ("one", -one), ("all", np.full(count, size / np.sqrt(count)))):
        moved = dataclasses.replace(error, value=error.value + shift, batch_means=error.batch_means + shift)
        yield {"claim": f"planted in {place} found", "hit": moved.p_value() < 0.05}
        if place == "all":
            _, low, high = moved.norm()
            yield {"claim": "planted bias covered", "hit": low <= size <= high}


def sizes(case: Case, seed: int) -> Iterator[dict[str, Any]]:
    """Whether the test of zero bias errs, in a short run: the fewest replicates of the default."""
    if any(truth.bias for truth in case.truth("estimator").values()):
        return
    known, run = case.cell("estimator", seed, LOOSE)
    for i, name in enumerate(known.groups):
        p = summary.difference(run.total, known, i).p_value()
        said = {"group": name, "replicates": run.total.gradient.n}
        yield said | {"claim": "zero bias rejected at 5 %", "hit": p < 0.05}
        yield said | {"claim": "zero bias rejected at 0.1 %", "hit": p < 0.001}


def _within(truth: float, row: dict[str, Any], column: str) -> bool:
    """Whether an interval covers; equality up to rounding counts."""
    return bool(row[f"{column}_low"] <= truth * (1 + 1e-9) and truth * (1 - 1e-9) <= row[f"{column}_high"])


@cache
def _case(path: Path, name: str) -> Case:
    options: Any = OmegaConf.to_container(OmegaConf.load(path))
    return Case.of(name, options[name])


def check(path: Path) -> None:
    """Raise unless every case of a file can be built and has an exact answer."""
    names = OmegaConf.load(path)
    if not isinstance(names, DictConfig) or not names:
        raise ValueError("it must name cases, each with problem, estimator and against")
    for name in names:
        for role in _case(path, str(name)).estimators:
            _case(path, str(name)).truth(role)


def block(path: Path, name: str, kind: str, seeds: range) -> list[dict[str, Any]]:
    """The outcomes of some seeds of a case."""
    torch.set_num_threads(1)
    run = {"outcomes": outcomes, "sizes": sizes}[kind]
    return [row | {"case": name} for seed in seeds for row in run(_case(path, name), seed)]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Rates with their 95 % intervals (Clopper and Pearson 1934), one row a case, group and claim.

    `contradicted`: the rate is beyond its bound by more than chance (binomial test; a false alarm in one of 1,000
    tables). `shown`: it is on the right side of the bound by more than chance, at 2.5 %.
    """
    table = []
    for (case, group, claim), part in rows.groupby(["case", "group", "claim"], sort=False):
        nominal, bound = CLAIMS[str(claim)]
        count, n = int(part["hit"].sum()), len(part)
        low, high = stats.binomtest(count, n).proportion_ci()
        contradiction = stats.binomtest(count, n, bound, alternative="greater" if nominal < 0.5 else "less").pvalue
        table.append(
            {"case": case, "group": group, "claim": claim, "claimed": nominal, "bound": bound}
            | {"rate": count / n, "rate_low": low, "rate_high": high, "repetitions": n, "p": contradiction}
            | {"median_width": part["width"].median(), "median_replicates": part["replicates"].median()}
        )
    frame = pd.DataFrame(table)
    test = frame["claimed"] < 0.5
    shown = np.where(test, frame["rate_high"] <= frame["bound"], frame["rate_low"] >= frame["bound"])
    return frame.assign(shown=shown, contradicted=frame["p"] < FALSE_ALARM / len(frame)).drop(columns="p")


def run(path: Path, out: Path, repetitions: int, tests: int, workers: int) -> pd.DataFrame:
    """Calibrate all cases of a file; blocks that are done are kept in out/blocks and not run again."""
    sources = [p.read_text() for folder in ("benchmarks", "estimators") for p in sorted((ROOT / folder).rglob("*.py"))]
    names = list(OmegaConf.load(path))
    counts = {"outcomes": repetitions, "sizes": tests}
    jobs = [
        (path, str(name), kind, range(first, min(first + BLOCK, count)))
        for kind, count in counts.items()
        for first in range(0, count, BLOCK)
        for name in names
    ]
    keys = [store.content_key([str(part) for part in job[1:]] + [path.read_text(), *sources]) for job in jobs]
    todo = [(key, job) for key, job in zip(keys, jobs, strict=True) if not (out / "blocks" / f"{key}.json").exists()]
    with (
        ProcessPoolExecutor(workers) as pool,
        tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="block") as bar,
    ):
        futures = {pool.submit(block, *job): key for key, job in todo}
        for future, key in futures.items():
            rows = pd.DataFrame(future.result())
            store.write_atomically(out / "blocks" / f"{key}.json", rows.to_json(orient="records").encode())
            bar.update()
    blocks = [pd.read_json(out / "blocks" / f"{key}.json") for key in keys]
    return table(pd.concat([block for block in blocks if len(block)], ignore_index=True))


def main() -> int:
    """Command line; returns 0 if no claim is contradicted, 1 if one is, 2 for bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").replace("; see --help", ""))
    parser.add_argument("--out", type=Path, default=Path("results/calibration"), help="the folder to write to")
    parser.add_argument("--cases", type=Path, default=CASES, help="a YAML of cases, like conf/calibration.yaml")
    parser.add_argument("--repetitions", type=int, default=400, help="measurements of each case at full precision")
    parser.add_argument("--tests", type=int, default=6000, help="short runs of each case, for the size of tests")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    if min(options.repetitions, options.tests, options.workers) < 1:
        print("calibrate.py: repetitions, tests and workers must be at least 1", file=sys.stderr)
        return 2
    try:
        check(options.cases)
    except Exception as error:  # whatever a YAML, a target or its own code may raise
        said = error.__cause__ or error
        print(f"calibrate.py: {options.cases}: {type(said).__name__}: {' '.join(str(said).split())}", file=sys.stderr)
        return 2
    frame = run(options.cases, options.out, options.repetitions, options.tests, options.workers)
    store.write_atomically(options.out / "calibration.csv", frame.to_csv(index=False, float_format="%.4g").encode())
    plots.save(plots.calibration(frame), options.out / "calibration")
    print(frame.drop(columns=["claimed"]).to_markdown(index=False, floatfmt=".4g"))
    broken, shown = int(frame["contradicted"].sum()), int(frame["shown"].sum())
    print(f"\n{len(frame)} rates: {shown} within their bound beyond chance, {broken} contradict it; see {options.out}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
