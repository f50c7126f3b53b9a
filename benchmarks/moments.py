"""What is kept of n replicates: sums that can be added in any order, of a size that does not grow with n."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

BATCHES = 64
LARGEST = 2048


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
        return cls(len(x), mean, tuple((delta**p).sum(0) for p in range(2, order + 1)))

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

    gradient: mean and variance of each coordinate, (P,).
    deviations: moments up to 4 of each group's squared distance from `centre`, (G,).
    batch_sums, batch_counts: sums of (gradient - centre) over BATCHES interleaved batches, (K, P) and (K,).
    largest: the LARGEST greatest squared distances of each group, descending, (G, <= LARGEST).
    """

    gradient: Moments
    deviations: Moments
    batch_sums: Tensor
    batch_counts: Tensor
    largest: Tensor

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
        mean = delta.mean(0)
        return cls(
            Moments(rows, centre + mean, (square.sum(0) - rows * mean.square(),)),
            Moments.of(distances, order=4),
            delta.new_zeros(BATCHES, delta.shape[1]).index_add_(0, batch, delta),
            torch.bincount(batch, minlength=BATCHES),
            distances.T.topk(min(rows, LARGEST)).values,
        )

    def __add__(self, other: Replicates) -> Replicates:
        """Summary of both samples together; they must share groups and centre."""
        largest = torch.cat([self.largest, other.largest], 1)
        return Replicates(
            self.gradient + other.gradient,
            self.deviations + other.deviations,
            self.batch_sums + other.batch_sums,
            self.batch_counts + other.batch_counts,
            largest.topk(min(largest.shape[1], LARGEST)).values,
        )
