"""What is kept of n replicates: sums that can be added in any order, of a size that does not grow with n."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate, islice, repeat
from math import comb

import numpy as np
import torch
from torch import Tensor

BATCHES = 64
LARGEST = 2048
OCTAVES = 256
FAR = 10.0  # standard deviations from the centre, beyond which sums about it lose digits


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

    @classmethod
    def about(cls, centre: Tensor, n: int, sums: tuple[Tensor, Tensor, Tensor, Tensor]) -> Moments:
        """Moments from power sums sum (x - centre)^p, p = 1, ..., 4, about a point near the mean of n rows."""
        m = sums[0] / n
        two, three, four = sums[1:]
        return cls(
            n,
            centre + m,
            (
                (two - n * m**2).clamp(min=0),
                three - 3 * m * two + 2 * n * m**3,
                (four - 4 * m * three + 6 * m**2 * two - 3 * n * m**4).clamp(min=0),
            ),
        )

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
    largest: the LARGEST greatest squared distances of each group, in any order, (G, <= LARGEST).
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
        delta = gradients - centre  # in float64, as the centre is
        square = delta.square()
        distances = torch.stack([square[:, group].sum(1) for group in groups], 1)
        batch = torch.arange(first, first + rows, device=delta.device) % BATCHES
        batch_sums = _by_batch(delta, batch)
        sums = batch_sums.sum(0), square.sum(0), (delta * square).sum(0), square.square().sum(0)
        gradient = Moments.about(centre, rows, sums)
        if bool((rows * (gradient.mean - centre).square() > FAR**2 * gradient.sums[0]).any()):
            gradient = Moments.of(delta, order=4)
            gradient = replace(gradient, mean=centre + gradient.mean)
        return cls(
            gradient,
            Moments.of(distances, order=4),
            batch_sums,
            _by_batch(distances, batch),
            torch.bincount(batch, minlength=BATCHES),
            _largest(distances.T),
            _counts(distances),
        )

    def __add__(self, other: Replicates) -> Replicates:
        """Summary of both samples together; they must share groups and centre."""
        return Replicates(
            self.gradient + other.gradient,
            self.deviations + other.deviations,
            self.batch_sums + other.batch_sums,
            self.batch_deviations + other.batch_deviations,
            self.batch_counts + other.batch_counts,
            _largest(torch.cat([self.largest, other.largest], 1)),
            self.counts + other.counts,
        )


def _by_batch(x: Tensor, batch: Tensor) -> Tensor:
    """Sums of the rows of each batch, (BATCHES, ...)."""
    return x.new_zeros(BATCHES, *x.shape[1:]).index_add_(0, batch, x)


def _largest(x: Tensor) -> Tensor:
    """The LARGEST greatest of each row, in any order; on a CPU by numpy, whose selection is ten times as fast."""
    if x.shape[1] <= LARGEST:
        return x
    if x.device.type == "cpu":
        return torch.from_numpy(np.partition(x.numpy(), -LARGEST, axis=1)[:, -LARGEST:].copy())
    return x.topk(LARGEST, sorted=False).values


def _counts(distances: Tensor) -> Tensor:
    """How many of each column lie in each half octave, (G, 4 OCTAVES); zeros in none."""
    groups, bins = distances.shape[1], 4 * OCTAVES
    mantissa, exponent = torch.frexp(distances)
    half_octaves = 2 * exponent - 1 - (mantissa < math.sqrt(0.5)).int()
    inside = half_octaves.clamp(-2 * OCTAVES, 2 * OCTAVES - 1) + 2 * OCTAVES
    nowhere = (distances == 0) * bins * groups
    flat = inside + bins * torch.arange(groups, device=distances.device) + nowhere
    return torch.bincount(flat.flatten(), minlength=groups * bins)[: groups * bins].reshape(groups, bins)
