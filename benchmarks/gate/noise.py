"""What log ratios of times are made of if nothing changed: two Student's t, and robust scatter beyond known errors."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, special, stats

from benchmarks.intervals import Array

CLIP = 4.0
CLIPPED = stats.chi2.cdf(CLIP, 3) + CLIP * stats.chi2.sf(CLIP, 1)  # the mean of min(z², CLIP) of a normal z
GRID = np.linspace(-12, 12, 241)
POWER = 0.9


@dataclass(frozen=True)
class Noise:
    """What an estimator's log ratio is made of if nothing changed: the sum of two Student's t.

    error, degrees: of the mean over its cells. shared, shared_degrees: of what its cells have in common in a run.
    """

    error: float
    degrees: float
    shared: float
    shared_degrees: float

    @cached_property
    def weights(self) -> Array:
        """The density of the mean's t at GRID, with sum 1."""
        density = stats.t.pdf(GRID, self.degrees)
        return density / density.sum()

    def beyond(self, shift: float) -> float:
        """The chance of a shift at least so large."""
        return float(self.weights @ special.stdtr(self.shared_degrees, (GRID * self.error - shift) / self.shared))

    def quantile(self, chance: float) -> float:
        """The shift that is beyond with this chance, below 1/2."""
        top = self.error + self.shared
        while self.beyond(top) > chance:
            top *= 2
        return float(optimize.brentq(lambda shift: self.beyond(shift) - chance, 0.0, top, xtol=1e-6))

    def detectable(self, chance: float) -> float:
        """The shift that is significant at this chance 9 times in 10."""
        return self.quantile(chance) + float(stats.norm.ppf(POWER)) * float(np.hypot(self.error, self.shared))


def beyond_errors(distances: Array, squared_errors: Array, free: int) -> float:
    """The variance that distances from a middle have beyond their own errors: 0 if these suffice.

    So that clipped squares of distance over error have the mean that they have if normal; free: degrees of freedom.
    """

    def misfit(variance: float) -> float:
        return float(np.minimum(distances**2 / (squared_errors + variance), CLIP).sum()) / free - CLIPPED

    top = float((distances**2).sum()) / CLIPPED
    least = 1e-12 * top
    return float(optimize.brentq(misfit, least, 2 * top)) if top > 0 and misfit(least) > 0 else 0.0
