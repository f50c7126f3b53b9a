"""Intervals and tests from a cell's sums: numpy and scipy, no torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))


def mean_interval(n: int, mean: float, sums: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a mean of skewed data, by Hall's (1992) monotone transformation of Student's t.

        T + g (T^2/3 + 1/6) / sqrt(n) + g^2 T^3 / (27 n) is normal to O(1/n), g the sample skewness.

    As good as the bootstrap-t to second order, and needs sums only. For score-type squared deviations at
    n = 1000 it covers 91 to 93 % where the interval on the log scale covers 82 to 90 % and chi-square 32 %.

    sums: central power sums of order 2, 3, 4 of the n values (the fourth is not used).
    """
    if not sums[0] > 0:
        return mean, mean
    scale = np.sqrt(sums[0] / (n - 1))
    a = sums[1] / n / (sums[0] / n) ** 1.5 / np.sqrt(n)
    inverse = 3 * (np.cbrt(1 + a * (np.array([Z, -Z]) - a / 6)) - 1) / a if abs(a) > 1e-6 else np.array([Z, -Z])
    low, high = mean - scale / np.sqrt(n) * inverse
    return max(float(low), 0.0), float(high)


def traces(batch_means: Array) -> tuple[float, float, float]:
    """tr(C), tr(C^2) and tr(C^3) of the covariance C of K Gaussian batch means (K, P), nearly without bias.

    The sample covariance's own traces are too large by terms in 1/K, which are removed (Bai and Saranadasa 1996 for
    the square); the results are held within what a covariance of rank <= P can have.
    """
    n = len(batch_means) - 1
    centred = batch_means - batch_means.mean(0)
    gram = centred @ centred.T / n
    one, two, three = (float(np.trace(power)) for power in (gram, gram @ gram, gram @ gram @ gram))
    if not one > 0:
        return 0.0, 0.0, 0.0
    if n < 3:
        return one, one**2, one**3
    two = n**2 / ((n - 1) * (n + 2)) * (two - one**2 / n)
    two = min(max(two, one**2 / batch_means.shape[1]), one**2)
    three = (three - 3 * one * two * (1 / n + 1 / n**2) - one**3 / n**2) / (1 + 3 / n + 4 / n**2)
    return one, two, min(max(three, two**2 / one), two**1.5)


def bias(
    difference: Array, batch_means: Array, noise: float, rounding: float = 0.0
) -> tuple[float, float, float, float]:
    """Norm of a mean gradient's bias: (estimate, 95 % low, 95 % high, p-value of no bias at all).

    The squared norm of the difference has mean ||bias||^2 + noise; the noise is subtracted. Without bias it is a
    weighted sum of chi-squares, whose first three moments (from `traces`) a shifted gamma takes (Imhof 1961).

    difference: (P,) mean gradient - exact gradient. batch_means: (K, P), K independent batches of the same, any origin.
    noise: trace of the covariance of `difference`. rounding: its squared rounding error.
    """
    squared = float(difference @ difference)
    noise += rounding
    one, two, three = traces(batch_means) if len(batch_means) > 1 else (0.0, 0.0, 0.0)
    if not noise > 0:
        norm = float(np.sqrt(squared))
        return norm, norm, norm, float(squared == 0)
    if not one > 0:
        one, two, three = 1.0, 1.0, 1.0
    scatter = 2 * two * (noise / one) ** 2
    p_value = float(stats.pearson3.sf((squared - noise) / np.sqrt(scatter), np.sqrt(8) * three / two**1.5))
    along = float(np.var(batch_means @ difference, ddof=1)) / len(batch_means) - scatter / 2
    spread = Z * np.sqrt(scatter + 4 * max(along, 0.0) + 4 * squared * rounding)
    estimate = squared - noise
    low, mid, high = (float(np.sqrt(max(x, 0.0))) for x in (estimate - spread, estimate, max(estimate, 0) + spread))
    return mid, low, high, p_value


def product(variance: tuple[float, float, float], factor: float, error: float) -> tuple[float, float]:
    """95 % interval of a variance (value, low, high) times an independent factor with a standard error.

    The two relative errors add in quadrature on the log scale.
    """
    value, low, high = variance
    relative = Z * error / factor

    def end(x: float, sign: int) -> float:
        widened = np.exp(sign * np.hypot(np.log(x / value), relative)) if x > 0 and value > 0 else 0.0
        return float(value * factor * widened) if widened else x * factor

    return end(low, -1), end(high, 1)


def kurtosis(n: int, sums: Sequence[float]) -> float:
    """Fourth standardised moment (3 for a Gaussian); nan for a constant."""
    return n * sums[2] / sums[0] ** 2 if sums[0] > 0 else float("nan")


def tail_shape(largest: Array, n: int) -> float:
    """Shape k of a generalised Pareto fit to the largest of n values (Zhang and Stephens 2009; Vehtari et al. 2024).

    Of a true Pareto tail: k >= 1, no mean; k >= 1/2, no variance; k <= 0, light or bounded. It is the tail as far as
    it was seen: a polynomial of Gaussians has all moments and may look like k = 1. nan below 25 values or if they tie.

    largest: descending; the fit takes min(n/5, 3 sqrt(n)) of them, as Pareto-smoothed importance sampling does.
    """
    m = min(len(largest) - 1, n // 5, int(3 * np.sqrt(n)))
    if m < 25 or not largest[m // 2] > largest[m]:
        return float("nan")
    x = (largest[:m] - largest[m])[::-1]
    candidates = 30 + int(np.sqrt(m))
    quartile = x[int(m / 4 + 0.5) - 1]
    if not quartile > 0:
        return float("nan")
    theta = 1 / x[-1] + (1 - np.sqrt(candidates / (np.arange(candidates) + 0.5))) / (3 * quartile)
    k = np.log1p(-theta[:, None] * x).mean(1)
    likelihood = m * (np.log(-theta / k) - k - 1)
    weight = np.exp(likelihood - likelihood.max())
    return float(np.log1p(-(theta @ weight / weight.sum()) * x).mean())
