"""Which rows of a results frame may be ranked or recommended. No torch, no Hydra."""

import numpy as np
import pandas as pd

from benchmarks import store
from benchmarks.comparisons import UNTRUSTED

BIASED = "biased"
NOT_TESTED = "not tested"


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
    return np.isfinite(rows["variance"].astype(float))


def rankable(rows: pd.DataFrame) -> pd.Series:
    """Rows that may be compared for the least variance."""
    return measured(rows) & finite(rows) & trusted(rows) & unbiased(rows) & usable(rows)
