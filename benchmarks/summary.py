"""From a run's sums to the columns of its rows: variance, bias and cost of each group, each with its interval."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmarks import intervals
from benchmarks.moments import Replicates
from benchmarks.reference import Reference

Row = dict[str, Any]
Groups = dict[str, slice]


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


def _sums(total: Replicates, i: int) -> list[float]:
    """Central power sums of group i's squared deviations, of order 2, 3, 4."""
    return [float(s[i]) for s in total.deviations.sums]


def interval(total: Replicates, i: int, group: slice, pilot: Pilot) -> tuple[float, float, float]:
    """Total variance of group i and its interval, which allows for rounding."""
    n, deviations = total.deviations.n, total.deviations
    variance = float(total.gradient.variance[group].sum())
    mean = float(deviations.mean[i])
    low, high = intervals.mean_interval(n, mean, _sums(total, i))
    scale = variance / mean if mean > 0 else 1.0
    floor = pilot.floor(group)
    return variance, max(low * scale - floor, 0.0), high * scale + floor


def spread(total: Replicates, groups: Groups, pilot: Pilot) -> tuple[float, float]:
    """Largest relative half-width and kurtosis over the groups whose variance is not within rounding of zero."""
    widths, heavy = [0.0], [0.0]
    for i, group in enumerate(groups.values()):
        variance, low, high = interval(total, i, group, pilot)
        if high > 4 * pilot.floor(group):
            widths.append((high - low) / 2 / variance if low > 0 else math.inf)
            heavy.append(intervals.kurtosis(total.deviations.n, _sums(total, i)))
    return max(widths), max(heavy)


def rows(
    total: Replicates,
    groups: Groups,
    pilot: Pilot,
    exact: Reference,
    chunk_seconds: tuple[float, float],
    alone: tuple[float, float],
) -> dict[str, Row]:
    """The measured columns of each group."""
    n = total.gradient.n
    difference = (total.gradient.mean - exact.gradient).numpy(force=True)
    used = total.batch_counts > 0
    batches = (total.batch_sums[used] / total.batch_counts[used, None] - exact.batches[used]).numpy(force=True)
    exact_variance = exact.variance
    table: dict[str, Row] = {}
    for i, (name, group) in enumerate(groups.items()):
        variance, low, high = interval(total, i, group, pilot)
        noise = variance / n + float(exact_variance[group].sum())
        bias, bias_low, bias_high, bias_p = intervals.bias(
            difference[group], batches[:, group], noise, pilot.floor(group)
        )
        signal = max(float(total.gradient.mean[group].square().sum()) - variance / n, 0.0)
        time_low, time_high = intervals.product((variance, low, high), *chunk_seconds)
        table[name] = {
            "replicates": n,
            "evaluations": pilot.evaluations,
            "gradient_evaluations": pilot.gradient_evaluations,
            "tuning_evaluations": 0.0,
            "gradient_norm": float(exact.gradient[group].norm()),
            "gradient_source": exact.source,
            "variance": variance,
            "variance_low": low,
            "variance_high": high,
            "variance_source": "sampled",
            "bias": bias,
            "bias_low": bias_low,
            "bias_high": bias_high,
            "bias_p": bias_p,
            "mse": variance + bias**2,
            "snr": math.sqrt(signal / variance) if variance > 0 else math.inf if signal > 0 else math.nan,
            "kurtosis": intervals.kurtosis(n, _sums(total, i)),
            "tail": intervals.tail_shape(total.largest[i].numpy(force=True), n),
            "seconds": chunk_seconds[0],
            "latency": alone[0],
            "work_variance": variance * pilot.evaluations,
            "work_variance_low": low * pilot.evaluations,
            "work_variance_high": high * pilot.evaluations,
            "work_variance_time": variance * chunk_seconds[0],
            "work_variance_time_low": time_low,
            "work_variance_time_high": time_high,
        }
    return table
