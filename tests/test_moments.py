"""Streamed sums against two passes, in any order and grouping."""

import pytest
import torch
from scipy import stats

from benchmarks.moments import BATCHES, LARGEST, OCTAVES, Moments, Replicates


def pieces(x, sizes):
    return [Moments.of(part, order=4) for part in x.split(sizes)]


def test_order_and_grouping_do_not_matter():
    x = torch.randn(1000, 3).exp()
    a, b, c, d = pieces(x, [1, 499, 17, 483])
    whole = Moments.of(x, order=4)
    for total in (a + b + c + d, d + (c + (b + a)), (a + c) + (b + d)):
        assert total.n == 1000
        torch.testing.assert_close(total.mean, whole.mean, rtol=1e-12, atol=0)
        for mine, other in zip(total.sums, whole.sums, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-11, atol=0)


def test_streaming_agrees_with_two_passes_on_mean_1e6_variance_1():
    x = 1e6 + torch.randn(100_000, 2)
    total = sum(pieces(x, 137)[1:], start=pieces(x, 137)[0])
    torch.testing.assert_close(total.variance, x.var(0), rtol=1e-10, atol=0)


def test_central_moments_are_scipys():
    x = torch.randn(500, 2) ** 3
    total = Moments.of(x, order=4)
    for p, mine in zip((2, 3, 4), total.sums, strict=True):
        torch.testing.assert_close(mine / 500, torch.as_tensor(stats.moment(x.numpy(), p)))


def test_moments_about_a_centre_are_those_of_two_passes():
    """About a centre half a standard deviation off, where shifting them loses a few digits."""
    x = torch.randn(1000, 3).exp() + 1e3
    centre = x.mean(0) + 0.5 * x.std(0)
    found = Moments.about(centre, 1000, tuple((x - centre).pow(p).sum(0) for p in (1, 2, 3, 4)))
    whole = Moments.of(x, order=4)
    torch.testing.assert_close(found.mean, whole.mean, rtol=1e-14, atol=0)
    for mine, other in zip(found.sums, whole.sums, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=0)


def test_a_centre_far_from_the_mean_costs_no_digits():
    """1e5 standard deviations off, sums about the centre would have no digit of the fourth moment left."""
    x = torch.randn(1000, 2)
    found = Replicates.of(x + 1e5, [slice(0, 2)], torch.zeros(2)).gradient
    for mine, other in zip(found.sums, Moments.of(x + 1e5, order=4).sums, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_the_largest_are_kept_whatever_the_chunks():
    x = torch.rand(5000, 1)
    parts = [Replicates.of(part, [slice(0, 1)], torch.zeros(1)) for part in x.split(1700)]
    total = parts[0] + parts[1] + parts[2]
    torch.testing.assert_close(total.largest[0].sort().values, x[:, 0].square().sort().values[-LARGEST:])


@pytest.mark.parametrize("sizes", [[300], [100, 100, 100], [64, 200, 36]])
def test_replicates_do_not_depend_on_the_chunks(sizes):
    g = torch.randn(300, 5) + 1e3
    groups, centre = [slice(0, 2), slice(2, 5), slice(0, 5)], torch.full((5,), 1e3)
    parts, first = [], 0
    for part in g.split(sizes):
        parts.append(Replicates.of(part, groups, centre, first))
        first += len(part)
    total = sum(parts[1:], start=parts[0])
    torch.testing.assert_close(total.gradient.variance, g.var(0))
    distances = (g - centre)[:, 2:5].square().sum(1)
    torch.testing.assert_close(total.deviations.mean[1], distances.mean())
    torch.testing.assert_close(total.largest[1].sort().values, distances.sort().values)
    torch.testing.assert_close(total.batch_sums[3], (g - centre)[3::BATCHES].sum(0))
    assert int(total.batch_counts.sum()) == 300
    half_octaves, counts = (2 * distances.log2()).floor().unique(return_counts=True)
    assert total.counts[1].nonzero().flatten().sub(2 * OCTAVES).tolist() == half_octaves.tolist()
    assert total.counts[1][total.counts[1] > 0].tolist() == counts.tolist()


def test_counts_have_the_edges_they_name_and_no_zeros():
    """1 is k = 0, 1.5 is k = 1, 4 is k = 4; what is beyond the range is in the outermost."""
    d = torch.tensor([0.0, 1.0, 1.4, 1.5, 1.99, 4.0, 1e-300, 1e300], dtype=torch.float64)
    counts = Replicates.of(d.sqrt()[:, None], [slice(0, 1)], torch.zeros(1)).counts[0]
    found = {int(k) - 2 * OCTAVES: int(counts[k]) for k in counts.nonzero()}
    assert found == {-2 * OCTAVES: 1, 0: 2, 1: 2, 4: 1, 2 * OCTAVES - 1: 1}
