"""Which rows of a results frame may be ranked or recommended. No torch, no Hydra."""

import numpy as np
import pandas as pd

from benchmarks import overtaking, store
from benchmarks.comparisons import PAIRED, UNTRUSTED

BIASED = "biased"
NOT_TESTED = "not tested"
FLOOR = 1e-10


def measured(rows: pd.DataFrame) -> pd.Series:
    """Rows with numbers in them."""
    return rows["status"].isin(store.MEASURED)


def unbiased(rows: pd.DataFrame) -> pd.Series:
    """Rows whose bias was tested and not found; all, in a frame without verdicts."""
    if "verdict" not in rows:
        return pd.Series(True, index=rows.index)
    return ~rows["verdict"].fillna("").str.startswith((BIASED, NOT_TESTED))


def usable(rows: pd.DataFrame) -> pd.Series:
    """Rows of an estimator that can be used: it calls f, and knows nothing that nobody knows in practice."""
    oracle = rows["oracle"].astype(bool) if "oracle" in rows else pd.Series(False, index=rows.index)
    return (rows["evaluations"] > 0) & ~oracle


def trusted(rows: pd.DataFrame) -> pd.Series:
    """Rows whose tail allows an interval; without one, nothing can be told apart."""
    return ~rows["reason"].fillna("").str.contains(UNTRUSTED)


def finite(rows: pd.DataFrame) -> pd.Series:
    """Rows with a variance that exists."""
    return pd.Series(np.isfinite(rows["variance"].astype(float)), index=rows.index)


def rankable(rows: pd.DataFrame) -> pd.Series:
    """Rows that may be compared for the least variance."""
    return measured(rows) & finite(rows) & trusted(rows) & unbiased(rows) & usable(rows)


def drawable(rows: pd.DataFrame, column: str) -> pd.Series:
    """Values with a place on one logarithmic axis: none that are infinite, or nothing beside the largest.

    Nothing is what is zero within the rounding that its interval states, or below 1e-10 of the largest.
    """
    values = rows[column].astype(float)
    positive = (values > 0) & np.isfinite(values)
    if f"{column}_low" in rows:
        positive &= ~overtaking.zero(rows, column)
    return positive & (values > FLOOR * values[positive].max())


def noiseless(rows: pd.DataFrame) -> pd.Series:
    """Rows whose variance is nothing: zero within its rounding, or below 1e-10 of the largest in its cell and group."""
    nothing = pd.Series(False, index=rows.index)
    for _, cell in rows[finite(rows)].groupby(PAIRED):
        nothing[cell.index] = ~drawable(cell, "variance")
    return nothing


def without_noise(rows: pd.DataFrame) -> frozenset[str]:
    """Estimators of one problem whose variance is nothing in every cell, at every point: an enumeration's, say."""
    whole = rows[(rows["group"] == "all") & finite(rows)]
    noisy = set(whole.loc[~noiseless(whole), "estimator"])
    return frozenset(str(name) for name in set(whole["estimator"]) - noisy)


def has_norm(frame: pd.DataFrame) -> pd.Series:
    """Rows whose problem, point, D and group has an exact gradient beyond rounding, by its most precise estimator."""
    told = pd.Series(np.isfinite(frame["bias_detectable"].astype(float)), index=frame.index)
    held = [frame[name] for name in PAIRED if name != "num_samples"]
    return told.groupby(held).transform("any").astype(bool)
