"""What is kept of n replicates: sums that can be added in any order, of a size that does not grow with n."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, islice, repeat
from math import comb

import torch
from torch import Tensor

BATCHES = 64
LARGEST = 2048
OCTAVES = 256


@dataclass(frozen=True)
class Moments:
    """Count, mean and central power sums sum (x - mean)^p, p = 2, 3, ..., of n rows, elementwise in float64."""

    n: int
    mean: Tensor
    sums: tuple[Tensor, ...]

    @classmethod
    def of(cls, x: Tensor, order: int = 2) -> Moments:
        """Two-pass moments up to `order` over the first axis of x, (n, ...)."""
        mean = x.double().mean(0)
        delta = x.double() - mean
        powers = accumulate(repeat(delta, order), torch.mul)
        return cls(len(x), mean, tuple(power.sum(0) for power in islice(powers, 1, None)))

    def __add__(self, other: Moments) -> Moments:
        """Moments of both samples together (Chan, Golub and LeVeque 1983; any order: Pebay 2008)."""
        a, b, n = self.n, other.n, self.n + other.n
        delta = other.mean - self.mean

        def merged(p: int) -> Tensor:
            total = self.sums[p - 2] + other.sums[p - 2] + (a * b / n * delta) ** p * (b ** (1 - p) - (-a) ** (1 - p))
            for k in range(1, p - 1):
                shifted = (-b / n) ** k * self.sums[p - k - 2] + (a / n) ** k * other.sums[p - k - 2]
                total = total + comb(p, k) * delta**k * shifted
            return total

        return Moments(n, self.mean + delta * (b / n), tuple(merged(p) for p in range(2, len(self.sums) + 2)))

    @property
    def variance(self) -> Tensor:
        """Unbiased sample variance."""
        return self.sums[0] / (self.n - 1)


@dataclass(frozen=True)
class Replicates:
    """What is kept of n gradients, (n, P), whose coordinates form G groups.

    gradient: moments up to 4 of each coordinate, (P,).
    deviations: moments up to 4 of each group's squared distance from `centre`, (G,).
    batch_sums, batch_deviations, batch_counts: sums of (gradient - centre), (K, P), and of the squared distances,
        (K, G), over BATCHES interleaved batches, and how many are in each, (K,).
    largest: the LARGEST greatest squared distances of each group, descending, (G, <= LARGEST).
    counts: how many squared distances d > 0 have floor(2 log2 d) = -2 OCTAVES, ..., 2 OCTAVES - 1; those beyond are in
        the outermost, (G, 4 OCTAVES).
    """

    gradient: Moments
    deviations: Moments
    batch_sums: Tensor
    batch_deviations: Tensor
    batch_counts: Tensor
    largest: Tensor
    counts: Tensor

    @classmethod
    def of(cls, gradients: Tensor, groups: list[slice], centre: Tensor, first: int = 0) -> Replicates:
        """Summary of gradients (R, P), the replicates number first, first + 1, ... of the run.

        centre, (P,): a fixed point near their mean, the same for all summaries that are to be added.
        """
        rows = len(gradients)
        delta = gradients.double() - centre
        square = delta.square()
        distances = torch.stack([square[:, group].sum(1) for group in groups], 1)
        batch = torch.arange(first, first + rows, device=delta.device) % BATCHES
        gradient = Moments.of(delta, order=4)
        return cls(
            replace(gradient, mean=centre + gradient.mean),
            Moments.of(distances, order=4),
            delta.new_zeros(BATCHES, delta.shape[1]).index_add_(0, batch, delta),
            delta.new_zeros(BATCHES, len(groups)).index_add_(0, batch, distances),
            torch.bincount(batch, minlength=BATCHES),
            distances.T.topk(min(rows, LARGEST)).values,
            _counts(distances),
        )

    def __add__(self, other: Replicates) -> Replicates:
        """Summary of both samples together; they must share groups and centre."""
        largest = torch.cat([self.largest, other.largest], 1)
        return Replicates(
            self.gradient + other.gradient,
            self.deviations + other.deviations,
            self.batch_sums + other.batch_sums,
            self.batch_deviations + other.batch_deviations,
            self.batch_counts + other.batch_counts,
            largest.topk(min(largest.shape[1], LARGEST)).values,
            self.counts + other.counts,
        )


def _counts(distances: Tensor) -> Tensor:
    """How many of each column lie in each half octave, (G, 4 OCTAVES); zeros in none."""
    groups, bins = distances.shape[1], 4 * OCTAVES
    half_octaves = (2 * distances.log2()).floor().clamp(-2 * OCTAVES, 2 * OCTAVES - 1).long() + 2 * OCTAVES
    flat = half_octaves + bins * torch.arange(groups, device=distances.device)
    return torch.bincount(flat[distances > 0], minlength=groups * bins).reshape(groups, bins)
