"""The bias of a mean gradient: its norm, a test that there is none, and what that test could have found."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, special, stats

from benchmarks.intervals import LEVEL, Array, Z, hall

TEST_LEVEL = 0.05
POWER = 0.9
MANY = 1e9
NOISE_QUANTILES = (np.arange(64) + 0.5) / 64


def traces(batch_means: Array) -> tuple[float, float, float, float]:
    """tr(C), tr(C^2), tr(C^3) and the largest eigenvalue of the covariance C of K batch means (K, P).

    The sample covariance's own traces are too large by terms in 1/K, which are removed (Bai and Saranadasa 1996 for
    the square), as is the noise in the eigenvalue (Baik and Silverstein 2006); the results are held within what a
    covariance of rank <= P can have.
    """
    n = len(batch_means) - 1
    if n < 1:
        return 0.0, 0.0, 0.0, 0.0
    centred = batch_means - batch_means.mean(0)
    values = np.linalg.eigvalsh(centred @ centred.T / n)
    one, two, three = (float((values**p).sum()) for p in (1, 2, 3))
    if not one > 0:
        return 0.0, 0.0, 0.0, 0.0
    if n < 3:
        return one, one**2, one**3, one
    two = n**2 / ((n - 1) * (n + 2)) * (two - one**2 / n)
    two = min(max(two, one**2 / batch_means.shape[1]), one**2)
    three = (three - 3 * one * two * (1 / n + 1 / n**2) - one**3 / n**2) / (1 + 3 / n + 4 / n**2)
    three = min(max(three, two**2 / one), two**1.5)
    largest = values[-1] - (one - values[-1]) / n
    return one, two, three, float(min(max(largest, three / two), np.sqrt(two)))


def combine(parts: Iterable[tuple[Array | float, Array | float]]) -> Array:
    """Degrees of freedom of a sum of independent variance estimates, each with its own (Welch 1947)."""
    variances, degrees = map(np.array, zip(*parts, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(variances.sum(0) ** 2 / (variances**2 / degrees).sum(0), nan=MANY)


@dataclass(frozen=True)
class Difference:
    """A mean gradient minus the exact one, (P,), and its error.

    variance: (P,), squared standard errors. skewness: (P,), of the mean (0 for a Gaussian one).
    degrees: (P,), degrees of freedom of `variance`; degrees_total: of its sum.
    batch_means: (K, P), K independent batches of the same difference, any origin.
    rounding: (P,), squared rounding errors.
    """

    value: Array
    variance: Array
    skewness: Array
    degrees: Array
    degrees_total: float
    batch_means: Array
    rounding: Array

    @cached_property
    def noise(self) -> float:
        """Mean squared norm of the difference if there is no bias."""
        return float((self.variance + self.rounding).sum())

    @cached_property
    def _batches(self) -> tuple[float, float, float, float, float]:
        """`traces` of the batch means, and by what their covariance is scaled to that of the difference."""
        found = traces(self.batch_means)
        return (*found, self.noise / found[0]) if found[0] > 0 else (1.0, 1.0, 1.0, 1.0, self.noise)

    @cached_property
    def spectrum(self) -> tuple[float, float, float]:
        """tr(C^2), tr(C^3) and the largest eigenvalue of the covariance C of the difference, where tr(C) = noise."""
        _, two, three, largest, scale = self._batches
        return two * scale**2, three * scale**3, largest * scale

    def norm(self) -> tuple[float, float, float]:
        """The bias's norm and its 95 % interval.

        The squared norm of the difference d has mean ||b||^2 + noise; the noise is subtracted. The ends are the norms
        whose squared difference would be below or above what was seen with probability 2.5 %, for a bias in the
        noisiest direction that d allows: b'Cb is at most ||b||^2 lambda, and cannot be far above d'Cd - tr(C^2).
        """
        squared = float(self.value @ self.value)
        if not self.noise > 0:
            return (float(np.sqrt(squared)),) * 3
        two, _, largest = self.spectrum
        tail = (1 - LEVEL) / 2
        along = float(np.var(self.batch_means @ self.value, ddof=min(1, len(self.batch_means) - 1))) * self._batches[4]
        along += squared * float(self.rounding.sum())
        inner = Z**2 * largest**2 + max(along - two, 0.0) + Z * np.sqrt(2 * two) * largest
        most = min(np.sqrt(along) + Z * np.sqrt(two), Z * largest + np.sqrt(inner)) ** 2

        def exceeded(seen: float, size: float) -> float:
            return self._tail(seen, size, min(size * largest, most))

        low, seen = 0.0, max(squared, self.noise)
        if exceeded(squared, 0.0) < tail:
            low = optimize.brentq(lambda size: exceeded(squared, size) - tail, 0.0, squared)
        end = seen + 40 * np.sqrt(2 * two + 4 * most)
        high = optimize.brentq(lambda size: 1 - tail - exceeded(seen, size), seen - self.noise, end)
        return float(np.sqrt(max(squared - self.noise, 0.0))), float(np.sqrt(low)), float(np.sqrt(high))

    def p_value(self) -> float:
        """p-value of no bias at all: the smaller of two tests' (Bonferroni), against a sparse and a dense bias.

        Sparse: the largest of the P Student's t, each made normal by Hall's transformation (Bonferroni over P).
        Dense: the squared norm, see `_tail`.
        """
        squares = self.variance + self.rounding
        noisy = squares > 0
        if np.any(self.value[~noisy] != 0):
            return 0.0
        if not noisy.any():
            return 1.0
        t = hall(self.value[noisy] / np.sqrt(squares[noisy]), self.skewness[noisy])
        sparse = min(1.0, noisy.sum() * 2 * float(np.min(stats.t.sf(np.abs(t), self.degrees[noisy]))))
        return sparse if noisy.sum() == 1 else min(1.0, 2 * sparse, 2 * self._tail(float(t**2 @ squares[noisy])))

    def detectable(self) -> float:
        """The least norm of a bias, in whatever direction, that `p_value` finds at 5 % with 90 % power.

        The worst direction is the noisiest one.
        """
        squares = self.variance + self.rounding
        if not self.noise > 0:
            return 0.0
        if (squares > 0).sum() == 1:
            i = int(squares.argmax())
            found = stats.t.ppf(1 - TEST_LEVEL / 2, self.degrees[i]) + stats.norm.ppf(POWER)
            return float(np.sqrt(squares[i]) * found)
        two, _, largest = self.spectrum
        far = self.noise + 1000 * (np.sqrt(two) + largest)
        critical = optimize.brentq(lambda seen: self._tail(seen) - TEST_LEVEL / 2, self.noise, far)
        missed = lambda size: POWER - self._tail(critical, size, size * largest)  # noqa: E731
        return float(np.sqrt(optimize.brentq(missed, 0.0, 100 * critical)))

    def _tail(self, seen: float, size: float = 0.0, along: float = 0.0) -> float:
        """Probability that the squared norm exceeds what was seen, for a bias b of squared norm `size`.

        along: b'Cb. A gamma with the first three moments of the weighted sum of noncentral chi-squares (Imhof 1961),
        averaged over what the noise, an estimate itself, may be.
        """
        two, three, largest = self.spectrum
        w = self._scales
        spread = np.sqrt(2 * two * w**2 + 4 * along * w)
        shape = 4 * (spread**3 / (8 * three * w**3 + 24 * along * largest * w**2)) ** 2
        x = shape + (seen - size - self.noise * w) / spread * np.sqrt(shape)
        return float(special.gammaincc(shape, np.maximum(x, 0.0)).mean())

    @cached_property
    def _scales(self) -> Array:
        """Quantiles of what the noise may be, relative to its estimate."""
        return self.degrees_total / stats.chi2.ppf(NOISE_QUANTILES, self.degrees_total)
