"""Estimators for finite coordinates: what they cost, which is noisier, what they refuse, and at the extremes."""

from functools import partial

import pytest
import torch

from benchmarks.engine import Counted, leaf
from benchmarks.exact import exact_moments
from benchmarks.problems.quadratic import Quadratic
from estimators.binary import disarm
from estimators.core import Unsupported
from estimators.noise_free import enumeration
from estimators.score_function import score
from tests.cases import ESTIMATORS, PROBLEMS, exact_gradient, ready
from tests.toys import TOYS, Bits, Toy, by_logistic_noise, paired

# Evaluations.

COSTS = {  # evaluations of f and of its gradient for S draws of N coordinates with C categories
    "score": lambda S, N, C: (S, 0),
    "score_loo": lambda S, N, C: (S, 0),
    "score_greedy": lambda S, N, C: (S + 1, 0),
    "score_systematic": lambda S, N, C: (S, 0),
    "grpo": lambda S, N, C: (S, 0),
    "muprop": lambda S, N, C: (S + 1, 1),
    "leg": lambda S, N, C: (S * (1 + N * (C - 1)), 0),
    "indecater": lambda S, N, C: (S * N * C, 0),
    "ars": lambda S, N, C: (S * C, 0),
    "arsm": lambda S, N, C: (S * (1 + C * (C - 1) // 2), 0),
    "disarm_tree": lambda S, N, C: (S, 0),
    "disarm_sb": lambda S, N, C: (S, 0),
    "rao_blackwell": lambda S, N, C: (S + 1, 0),
    "enumeration": lambda S, N, C: (C**N, 0),
    "rebar_untuned": lambda S, N, C: (3 * S, 2 * S),
    "rebar": lambda S, N, C: (3 * S, 2 * S),
    "relax": lambda S, N, C: (3 * S, 2 * S),
    "relax_black_box": lambda S, N, C: (S, 0),
} | dict.fromkeys(
    ["wor", "wor_baseline", "wor_normalised", "sum_and_sample", "unordered_set", "unordered_set_baseline"],
    lambda S, N, C: (S, 0),
)
COSTS |= dict.fromkeys(
    ["st_identity", "st_probabilities", "st_slope_annealed", "gapped_st", "reinmax"], lambda S, N, C: (S, S)
)
COSTS |= dict.fromkeys(["gumbel_softmax", "st_gumbel_softmax", "gumbel_rao", "decoupled_st"], lambda S, N, C: (S, S))

COSTS_OF_BITS = dict.fromkeys(["ar", "arm", "disarm", "arms_dirichlet", "arms_gaussian"], lambda S, N, C: (S, 0))
COSTS_OF_BITS |= dict.fromkeys(["double_cv", "rodeo", "darn", "st_hard_sigmoid"], lambda S, N, C: (S, S))
COSTS_OF_BITS |= dict.fromkeys(["bitflip", "stochastic_triple"], lambda S, N, C: (2 * S, 0))
COSTS_OF_BITS |= {"measure_valued": lambda S, N, C: (2 * N * S, 0)}


@pytest.mark.parametrize(
    ("problem", "size"),
    [
        (partial(Toy, 3), (4, 3, 2)),
        (partial(Toy, 2, 4), (4, 2, 4)),
        (partial(Toy, 2, blocks=2), (2, 2, 2)),
        (partial(Toy, 2, 3, blocks=2), (2, 2, 3)),
    ],
)
def test_evaluations_are_counted_as_they_are(problem, size):
    """For a cost with no params of its own; a block's draws are one evaluation together with those of other blocks."""
    problem = problem(explicit=False)
    for name, cost in (COSTS | (COSTS_OF_BITS if problem.coins else {})).items():
        estimator = ready(ESTIMATORS[name], problem, problem.at("init"))
        counted = Counted(problem)
        estimator(counted, leaf(problem.at("init"), 3), num_samples=size[0])
        if problem.blocks and name == "measure_valued":
            continue  # it knows no blocks
        assert (counted.evaluations / 3, counted.gradient_evaluations / 3) == cost(*size), name


def test_a_cost_with_params_needs_one_more_evaluation_of_each_draw():
    problem = Counted(TOYS["categories"]())
    ESTIMATORS["indecater"](problem, leaf(problem.at("init"), 3), num_samples=5)
    assert problem.evaluations == 3 * 5 * (2 * 4 + 1)


# Which is noisier, exactly.


def variance(estimator, problem, num_samples):
    return exact_moments(estimator, problem, problem.at("init"), num_samples).variance


def test_a_baseline_near_the_mean_can_be_worse_than_none():
    """f = b at p = 0.9: from p (1 - p)^3 to .0576 with the mean of f as baseline, at S = 1; leave-one-out at S = 2 is
    b (1 - b') and so on: 1/2 where the two differ, .18 .82 / 4."""
    problem = Bits(lambda z: z[..., 0], [0.9])
    centred = partial(score, baseline=lambda *_: 0.9)
    assert float(variance(score, problem, 1)) == pytest.approx(0.0009, rel=1e-9)
    assert float(variance(centred, problem, 1)) == pytest.approx(0.0576, rel=1e-9)
    assert float(variance(ESTIMATORS["score_loo"], problem, 2)) == pytest.approx(0.18 * 0.82 / 4, rel=1e-9)
    assert float(variance(score, problem, 2)) == pytest.approx(0.00045, rel=1e-9)


def test_disarm_can_be_worse_than_leave_one_out():
    """A coin at 1/2 that matters drowns those at 0.9 that do not: when one of these differs, so does it, for certain.

    Weights (0.1, ..., 10): the variance of a coin at 0.9 is about 100 (.2 .81) / 4 = 4.05 with DisARM, 50 (.18) / 4 =
    2.25 with leave-one-out; the coin at 1/2 itself gains 6.25.
    """
    p = [0.9] * 5 + [0.5]
    weights = torch.tensor([0.1] * 5 + [10.0])
    problem = Bits(lambda z: z @ weights, p)
    with pytest.MonkeyPatch.context() as patch:
        coupled = paired(patch, disarm, problem, problem.at("init"), torch.tensor(p), order=1)[1]
    independent = variance(ESTIMATORS["score_loo"], problem, 2)
    assert (coupled[:5] > 1.7 * independent[:5]).all()
    assert coupled[5] < 0.01 * independent[5]
    assert coupled.sum() > 1.1 * independent.sum()
    alike = Bits(lambda z: z.sum(-1), [0.7] * 3)
    with pytest.MonkeyPatch.context() as patch:
        coupled = paired(patch, disarm, alike, alike.at("init"), torch.tensor([0.7] * 3), order=1)[1]
    assert coupled.sum() < variance(ESTIMATORS["score_loo"], alike, 2).sum()


@pytest.mark.parametrize("toy", ["coins", "categories"])
def test_a_local_expectation_is_no_noisier_than_the_score(toy):
    """It is the score's mean given the other coordinates, where f has no params of its own."""
    problem = {"coins": Toy(3, explicit=False), "categories": Toy(2, 4, explicit=False)}[toy]
    for point in problem.points:
        local, plain = (exact_moments(ESTIMATORS[x], problem, problem.at(point), 1).variance for x in ("leg", "score"))
        assert (local <= plain + 1e-12).all()
        assert local.sum() < 0.9 * plain.sum()


def test_untuned_rebar_is_worse_than_the_score_function_on_the_toy(monkeypatch):
    """(b - 0.45)^2 at p = 1/2, by quadrature: f is (.2025, .3025), so that the score's variance is (.505 / 4)^2."""
    problem = Bits(lambda z: (z[..., 0] - 0.45).square(), [0.5])
    mean, untuned = by_logistic_noise(monkeypatch, ESTIMATORS["rebar_untuned"], problem, problem.at("init"))
    torch.testing.assert_close(mean, torch.tensor([0.025]), rtol=1e-8, atol=0)
    plain = variance(score, problem, 1)
    torch.testing.assert_close(plain, torch.tensor([(0.505 / 4) ** 2]))
    assert untuned > plain


# What is refused.

OF_BITS_ONLY = [*COSTS_OF_BITS, "measure_valued_independent"]

FINITE_ONLY = [*COSTS_OF_BITS, *COSTS]

ANY_Q = {"score", "score_loo", "score_greedy", "grpo", "muprop", "score_systematic", "measure_valued"}


@pytest.mark.parametrize("name", OF_BITS_ONLY)
def test_estimators_of_bits_refuse_categories(name):
    problem = TOYS["categories"]()
    with pytest.raises(Unsupported, match=r"Bernoulli|implemented"):
        ESTIMATORS[name](problem, leaf(problem.at("init"), 2), num_samples=2)


@pytest.mark.parametrize("name", [name for name in FINITE_ONLY if name not in ANY_Q])
def test_estimators_of_finite_coordinates_refuse_a_gaussian(name):
    problem = Quadratic(2)
    with pytest.raises(Unsupported, match="Normal"):
        ESTIMATORS[name](problem, leaf(problem.at("init"), 2), num_samples=2)


@pytest.mark.parametrize("name", ["arm", "disarm", "disarm_tree", "disarm_sb"])
def test_pairs_refuse_an_odd_number_of_draws(name):
    problem = TOYS["coins"]()
    for num_samples in (1, 3):
        with pytest.raises(Unsupported, match="even"):
            ESTIMATORS[name](problem, leaf(problem.at("init"), 2), num_samples=num_samples)


ONE_TOO_FEW = ["arms_dirichlet", "arms_gaussian", "double_cv", "rodeo", "grpo", "wor_baseline", "score_loo"]


@pytest.mark.parametrize("name", [*ONE_TOO_FEW, "unordered_set_baseline"])
def test_what_compares_draws_refuses_one(name):
    problem = TOYS["coins"]()
    with pytest.raises(Unsupported, match=">= 2"):
        ESTIMATORS[name](problem, leaf(problem.at("init"), 2), num_samples=1)


def test_enumeration_goes_to_fourteen_coins():
    def problem(count):
        return Bits(lambda z: z.sum(-1), [0.3] * count)

    g = enumeration(problem(14), leaf(problem(14).at("init"), 1))
    torch.testing.assert_close(g, torch.full((1, 14), 0.21), rtol=0, atol=1e-12)
    for too_many in (problem(15), Toy(8, 4)):
        with pytest.raises(Unsupported, match="16384 outcomes"):
            enumeration(too_many, leaf(too_many.at("init"), 1))


# Saturation.


@pytest.mark.parametrize("size", [8.0, 30.0, 100.0])
@pytest.mark.parametrize("toy", TOYS)
def test_saturated_logits_in_single_precision_are_finite_or_refused(toy, size):
    torch.set_default_dtype(torch.float32)
    problem = TOYS[toy]().float()
    count = problem.groups["logits"].stop
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0])[torch.arange(count) % 5]
    point = torch.cat([signs * size, torch.tensor([0.7])])
    wrong, ran = [], []
    for name, estimator in ESTIMATORS.items():
        try:
            g = ready(estimator, problem, point)(problem, leaf(point, 500), num_samples=4)
        except Unsupported:
            continue
        ran.append(name)
        if g.dtype != torch.float32 or not g.isfinite().all():
            wrong.append(name)
    assert set(COSTS) <= set(ran)
    assert not wrong


def test_saturated_estimates_are_those_of_the_limit():
    """At logits +-30 in float64 nothing is left to chance: each unbiased estimate is the exact gradient to 1e-6."""
    for toy in ("coins", "categories"):
        problem = TOYS[toy]()
        point = torch.cat([30 * problem.logits.sign() * torch.arange(1, len(problem.logits) + 1), torch.tensor([0.7])])
        exact = exact_gradient(problem, point)
        names = [
            "leg",
            "rao_blackwell",
            "sum_and_sample",
            "unordered_set",
            "wor",
            "wor_baseline",
            "disarm_tree",
            "arsm",
        ]
        for name in names + (["disarm", "arms_dirichlet", "arms_gaussian", "bitflip"] if problem.coins else []):
            g = ESTIMATORS[name](problem, leaf(point, 100), num_samples=2)
            torch.testing.assert_close(
                g, exact.expand_as(g), rtol=0, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}"
            )


@pytest.mark.parametrize(
    ("less", "more", "problem", "num_samples"),
    [
        ("arm", "ar", "bernoulli_sum", 2),  # Yin and Zhou 2019
        ("disarm", "score_loo", "bernoulli_sum", 2),  # Dong et al. 2020, coins that are alike
        ("arms_dirichlet", "disarm", "bernoulli_sum", 8),  # Dimitriev and Zhou 2021
        ("arms_gaussian", "disarm", "bernoulli_sum", 8),
        ("arsm", "ars", "categorical_joint", 1),  # Yin et al. 2019
        ("unordered_set", "sum_and_sample", "shared_bernoulli", 4),  # Kool et al. 2020
        ("unordered_set_baseline", "score_loo", "shared_bernoulli", 4),
        ("gumbel_rao", "st_gumbel_softmax", "binary_quadratic", 1),  # Paulus et al. 2021
        ("score", "ar", "bernoulli_sum", 2),  # and what no paper claims
    ],
)
def test_variances_are_in_the_order_that_is_claimed(less, more, problem, num_samples):
    """Of 20,000 estimates each, on two coordinates or three coins. All the true ratios are below .8.

    The logarithm of a ratio has a standard error below 4 %: an order that holds is missed with probability 1e-7.
    """
    problem = PROBLEMS[problem]()
    variances = []
    for name in (less, more):
        torch.manual_seed(0)
        g = ESTIMATORS[name](problem, leaf(problem.at("init"), 20_000), num_samples=num_samples)
        variances.append(g.detach().var(0).sum())
    assert variances[0] < variances[1]
