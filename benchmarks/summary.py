"""From a run's sums to the columns of its rows: variance, bias and cost of each group, each with its interval."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from torch import Tensor

from benchmarks import intervals
from benchmarks.bias import Difference, combine
from benchmarks.costs import Costs
from benchmarks.exact import Exact
from benchmarks.intervals import Array, Interval
from benchmarks.moments import OCTAVES, Replicates
from benchmarks.reference import Reference

Row = dict[str, Any]
Groups = dict[str, slice]
CONTRADICTED = 1e-6
NO_VARIANCE, NO_RATE = 1.0, 0.5


@dataclass(frozen=True)
class Pilot:
    """What a few replicates tell before the run: about where the mean is, what an estimate costs, how it rounds.

    centre: (P,). evaluations, gradient_evaluations: of f, by one estimate.
    rounding: (P,), the square of the rounding error of each coordinate.
    """

    centre: Tensor
    evaluations: float
    gradient_evaluations: float
    rounding: Tensor

    def floor(self, group: slice) -> float:
        """The part of a group's total variance that may be rounding."""
        return float(self.rounding[group].sum())

    def rounding_bound(self, group: slice) -> float:
        """The upper end up to which all of a group's total variance may be rounding."""
        return 4 * self.floor(group)


@dataclass(frozen=True)
class Known:
    """What is known of a cell beside its replicates; exact: the estimator's own moments, where they are to be had."""

    groups: Groups
    pilot: Pilot
    reference: Reference
    exact: Exact | None


@dataclass(frozen=True)
class Standing:
    """How far a group is: relative half-width of its variance's interval, kurtosis, detectable bias / gradient norm."""

    width: float
    kurtosis: float
    detectable: float


def sampled_variance(total: Replicates, known: Known, i: int, level: float = intervals.LEVEL) -> Interval:
    """Total variance of group i and its interval, from the replicates; it allows for rounding."""
    group, deviations = list(known.groups.values())[i], total.deviations
    variance = float(total.gradient.variance[group].sum())
    mean = float(deviations.mean[i])
    low, high = intervals.mean_interval(deviations.n, mean, _sums(total, i), level)
    scale = variance / mean if mean > 0 else 1.0
    floor = known.pilot.floor(group)
    return variance, max(low * scale - floor, 0.0), high * scale + floor


def variance(total: Replicates, known: Known, i: int) -> Interval:
    """Total variance of group i and its interval: exact where it can be, else sampled."""
    if known.exact is None:
        return sampled_variance(total, known, i)
    group = list(known.groups.values())[i]
    value, error = (float(x[group].sum()) for x in (known.exact.variance, known.exact.variance_error))
    return value, max(value - error, 0.0), value + error


def difference(total: Replicates, known: Known, i: int) -> Difference:
    """The mean of group i minus the exact gradient, with the errors of both."""
    group, reference, exact = list(known.groups.values())[i], known.reference, known.exact
    count = len(reference.batches)
    rounding = _numpy(known.pilot.rounding[group])
    reference_part = _numpy(reference.variance[group]), np.full(len(rounding), count - 1.0)
    total_part = reference_part[0].sum(), count - 1.0
    if exact is not None:
        return Difference(
            value=_numpy((exact.mean - reference.gradient)[group]),
            variance=reference_part[0],
            skewness=np.zeros(len(rounding)),
            degrees=combine([reference_part]),
            degrees_total=float(combine([total_part])),
            batch_means=-_numpy(reference.batches[:, group]),
            rounding=rounding + _numpy(exact.mean_error[group] ** 2),
        )
    gradient, n = total.gradient, total.gradient.n
    two, three, four = (_numpy(s[group]) / n for s in gradient.sums)
    noise = two / (n - 1)
    squares = noise + reference_part[0] + rounding
    used = total.batch_counts > 0
    batches = total.batch_sums[used] / total.batch_counts[used, None] - reference.batches[used]
    tails = intervals.degrees(n, _ratio(four, two**2))
    sums = _sums(total, i)
    mean = float(total.deviations.mean[i])
    total_tail = intervals.degrees(n, 1 + _ratio(sums[0] / n, mean**2))
    return Difference(
        value=_numpy((gradient.mean - reference.gradient)[group]),
        variance=noise + reference_part[0],
        skewness=_ratio(three / n**2, squares**1.5),
        degrees=combine([(noise, tails), reference_part]),
        degrees_total=float(combine([(noise.sum(), total_tail), total_part])),
        batch_means=_numpy(batches[:, group]),
        rounding=rounding,
    )


def standings(total: Replicates, known: Known, detectable: bool) -> dict[str, Standing]:
    """How far each group is; detectable: whether to work out what bias could be found (else 0)."""
    table = {}
    for i, (name, group) in enumerate(known.groups.items()):
        value, low, high = variance(total, known, i)
        zero = known.exact is not None or high <= known.pilot.rounding_bound(group)
        table[name] = Standing(
            0.0 if zero else (high - low) / 2 / value if low > 0 else math.inf,
            0.0 if zero else intervals.kurtosis(total.deviations.n, _sums(total, i)),
            _share(difference(total, known, i).detectable(), known, group) if detectable else 0.0,
        )
    return table


def contradicts(total: Replicates, known: Known) -> bool:
    """Whether replicates rule the exact moments out (at 1e-6): another mean, or a larger variance.

    The mean must be off by the exact variance and by the sampled one: a rare event may be missing from the sample.
    """
    if known.exact is None:
        return False
    gradient = known.exact.mean.to(total.gradient.mean.device)
    mean = Reference(gradient, gradient.new_zeros(known.reference.batches.shape), "exact")
    tested = Known(known.groups, known.pilot, mean, None)
    errors = (known.exact.variance / total.gradient.n).to(gradient.device) + known.pilot.rounding
    far = (total.gradient.mean - gradient).square() > stats.chi2.isf(CONTRADICTED / len(errors), 1) * errors
    return any(
        (bool(far[group].any()) and difference(total, tested, i).p_value() < CONTRADICTED)
        or sampled_variance(total, tested, i, 1 - 2 * CONTRADICTED)[1] > variance(total, known, i)[2]
        for i, group in enumerate(known.groups.values())
    )


def tail(total: Replicates, i: int) -> float:
    """Shape of the tail of group i's squared deviations, as far as it was seen."""
    return intervals.tail_shape(_largest(total, i), total.deviations.n)


def lasting(total: Replicates, known: Known, i: int, level: float) -> float:
    """Lower bound of the shape of group i's tail, see `intervals.lasting_shape`; -inf for an exact variance or 0."""
    group = list(known.groups.values())[i]
    if known.exact is not None or sampled_variance(total, known, i)[2] <= known.pilot.rounding_bound(group):
        return -math.inf
    return intervals.lasting_shape(_largest(total, i), total.deviations.n, level)


def row(total: Replicates, known: Known, i: int, costs: Costs, has_variance: bool) -> Row:
    """The measured columns of group i; where the variance does not exist, it is infinite and bias is not tested."""
    n, pilot = total.gradient.n, known.pilot
    group = list(known.groups.values())[i]
    spread: Interval = variance(total, known, i) if has_variance else (math.inf, math.inf, math.inf)
    error = difference(total, known, i)
    bias = (*error.norm(), error.p_value(), error.detectable()) if has_variance else (math.nan,) * 5
    value, low, high = spread
    mean = total.gradient.mean if known.exact is None else known.exact.mean
    signal = max(float(mean[group].square().sum()) - (value / n if known.exact is None else 0.0), 0.0)
    time_low, time_high = intervals.product(spread, costs.seconds)
    return {
        "replicates": n,
        "evaluations": pilot.evaluations,
        "gradient_evaluations": pilot.gradient_evaluations,
        "gradient_norm": float(known.reference.gradient[group].norm()),
        "gradient_source": known.reference.source,
        "variance": value,
        "variance_low": low,
        "variance_high": high,
        "variance_source": "sampled" if known.exact is None else "exact",
        "bias": bias[0],
        "bias_low": bias[1],
        "bias_high": bias[2],
        "bias_p": bias[3],
        "bias_detectable": _share(bias[4], known, group),
        "mse": value + bias[0] ** 2 if has_variance else math.inf,
        "snr": math.sqrt(signal / value) if value > 0 else math.inf if signal > 0 else math.nan,
        "kurtosis": intervals.kurtosis(n, _sums(total, i)),
        "tail": tail(total, i),
        "seconds": costs.seconds[0],
        "seconds_low": costs.seconds[1],
        "seconds_high": costs.seconds[2],
        "relative_seconds": costs.relative[0],
        "relative_seconds_low": costs.relative[1],
        "relative_seconds_high": costs.relative[2],
        "latency": costs.latency[0],
        "latency_low": costs.latency[1],
        "latency_high": costs.latency[2],
        "peak_memory": costs.peak_memory,
        "work_variance": value * pilot.evaluations,
        "work_variance_low": low * pilot.evaluations,
        "work_variance_high": high * pilot.evaluations,
        "work_variance_time": value * costs.seconds[0],
        "work_variance_time_low": time_low,
        "work_variance_time_high": time_high,
        "batch_variances": _numpy(total.batch_deviations[:, i] / total.batch_counts).tolist(),
        "deviation_counts": [
            [k - 2 * OCTAVES, int(total.counts[i, k])] for k in total.counts[i].nonzero().flatten().tolist()
        ],
    }


def _share(norm: float, known: Known, group: slice) -> float:
    """A norm relative to the exact gradient's; infinite where that is zero within rounding."""
    gradient = float(known.reference.gradient[group].norm())
    return norm / gradient if gradient > math.sqrt(known.pilot.floor(group)) else math.inf


def _sums(total: Replicates, i: int) -> list[float]:
    """Central power sums of group i's squared deviations, of order 2, 3, 4."""
    return [float(s[i]) for s in total.deviations.sums]


def _largest(total: Replicates, i: int) -> Array:
    """The greatest squared deviations of group i, descending."""
    return np.sort(_numpy(total.largest[i]))[::-1]


def _ratio(a: Array | float, b: Array | float) -> Array:
    """a / b, zero where b is."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return np.divide(a, b, out=np.zeros_like(b), where=b > 0)


def _numpy(x: Tensor) -> Array:
    return x.numpy(force=True)
