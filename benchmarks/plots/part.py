"""The rows that one figure is of, and what may be said and ranked of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import store, texts
from benchmarks.comparisons import compare
from benchmarks.intervals import product
from benchmarks.plots.style import NAMED, Looks, looks_of, natural, short
from benchmarks.store import SETTING
from benchmarks.verdicts import drawable, finite, rankable, trusted, unbiased, usable

PLACE = [*SETTING, "latent_dim", "num_samples"]
VALUES = {"one estimate": "variance", "equal evaluations": "work_variance", "equal seconds": "variance_time"}


class Drawn(NamedTuple):
    """A figure, the name of its file, and what is said below it."""

    name: str
    caption: str
    figure: Figure


class Ties:
    """Which pairs of estimators are not distinguishable, cell by cell."""

    def __init__(self, frame: pd.DataFrame, pairs: pd.DataFrame | None = None) -> None:
        self.frame, self.pairs = frame, pairs

    @cached_property
    def undecided(self) -> set[tuple[Any, ...]]:
        """(*cell, at, one, other) of each pair without a verdict, over all parameters."""
        pairs = compare(self.frame) if self.pairs is None else self.pairs
        open_ = pairs[(pairs["verdict"] == "not distinguishable") & (pairs["group"] == "all")]
        return set(open_[[*PLACE, "at", "estimator", "against"]].itertuples(index=False, name=None))

    def tied(self, cell: tuple[Any, ...], at: str, one: str, other: str) -> bool:
        """Whether two estimators are not distinguishable in a cell."""
        return (*cell, at, one, other) in self.undecided or (*cell, at, other, one) in self.undecided


@dataclass(frozen=True)
class Part:
    """The rows of one problem and point; everyone: the looks of the whole sweep.

    noiseless: estimators whose variance is nothing at any point of the problem, such as an enumeration's.
    """

    rows: pd.DataFrame
    about: str
    suffix: str
    everyone: Looks
    noiseless: frozenset[str]
    ties: Ties

    @cached_property
    def whole(self) -> pd.DataFrame:
        """The rows over all parameters."""
        return self.rows[self.rows["group"] == "all"]

    @cached_property
    def groups(self) -> dict[str, pd.DataFrame]:
        """Rows by parameter group; a group that is all parameters is not shown twice."""
        groups = {str(name): rows for name, rows in self.rows.groupby("group", sort=False)}
        return {"all parameters": groups["all"]} if len(groups) <= 2 else groups

    @cached_property
    def names(self) -> list[str]:
        """The estimators in natural order."""
        return sorted(set(self.rows["estimator"]), key=natural)

    def looks(self, chosen: Iterable[str]) -> Looks:
        """The looks of the estimators that a figure names: where a sweep has more than it can, colours for these."""
        wanted = set(chosen)
        if len(self.everyone) > NAMED:
            return looks_of(wanted, self.everyone)
        return {name: look for name, look in self.everyone.items() if name in wanted}


def with_time(rows: pd.DataFrame) -> pd.DataFrame:
    """Beside the columns, `time` and `variance_time` with their intervals, free of the machine's own speed.

    time: of an estimate, in draws of one latent coordinate's noise (standard normals, timed in the same seconds).
    """
    size = (rows["num_samples"] * rows["latent_dim"]).astype(float)
    time = {f"time{end}": rows[f"relative_seconds{end}"].astype(float) * size for end in ("", "_low", "_high")}
    variance = rows[["variance", "variance_low", "variance_high"]].astype(float).to_numpy()
    ends = [product(tuple(v), tuple(t)) for v, t in zip(variance, np.array(list(time.values())).T, strict=True)]
    low, high = np.array(ends, dtype=float).reshape(-1, 2).T
    value = rows["variance"].astype(float) * time["time"]
    return rows.assign(**time, variance_time=value, variance_time_low=low, variance_time_high=high)


def ranked(cell: pd.DataFrame, at: str, noiseless: frozenset[str]) -> pd.Series:
    """The value by which the estimators of one cell are compared, least first; nothing beside the largest is zero.

    Only of those that can be used, without a bias found, whose variance has an interval.
    """
    column = VALUES[at]
    fit = cell[rankable(cell) & np.isfinite(cell[column].astype(float)) & ~cell["estimator"].isin(noiseless)]
    values = fit[column].astype(float).where(drawable(fit, "variance"), 0.0)
    order = pd.DataFrame({"name": fit["estimator"], "value": values}).sort_values(["value", "name"])
    return pd.Series(order["value"].to_numpy(), index=order["name"].to_numpy(dtype=object))


def best(values: pd.Series, cell: tuple[Any, ...], at: str, ties: Ties) -> list[str]:
    """The estimator that comes first, then those that are not distinguishable from it."""
    first = str(values.index[0])
    rest = [str(name) for name in values.index[1:]]
    zero = values.iloc[0] == 0
    return [first, *(name for name in rest if (values[name] == 0 if zero else ties.tied(cell, at, first, name)))]


def replicates(rows: pd.DataFrame) -> str:
    """How many replicates rows have, for a caption: 1,024 to 24,576 replicates each."""
    least, most = (int(n) for n in (rows["replicates"].min(), rows["replicates"].max()))
    return f"{least:,} replicates each" if least == most else f"{least:,} to {most:,} replicates each"


def unranked(rows: pd.DataFrame, noiseless: frozenset[str]) -> str:
    """Who is not ranked though no bias was found, and why, for a caption."""
    able = finite(rows) & unbiased(rows)
    exact = noiseless & set(rows.loc[able, "estimator"])
    open_ = set(rows.loc[able & ~trusted(rows), "estimator"])
    oracles = set(rows.loc[able & ~usable(rows), "estimator"]) - exact
    known = f" Left out, for they know what nobody knows: {listed(oracles)}." if oracles else ""
    nothing = f" Left out, with a variance of zero or below 1e-10 of the largest: {listed(exact)}." if exact else ""
    return known + nothing + (f" Left out where their tail allows no interval: {listed(open_)}." if open_ else "")


def suffix(values: Iterable[Any]) -> str:
    """What the name of a figure's file ends in."""
    return store.file_name("-".join(str(value) for value in values))


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names for a caption, in natural order; beyond a few, how many others."""
    return texts.listed([short(name, 60) for name in sorted(set(names), key=natural)], most)
