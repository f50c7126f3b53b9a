"""Estimators for finite coordinates: what they are of one another, and what two biased ones are instead."""

from functools import partial

import pytest
import torch
from torch.distributions import Bernoulli, OneHotCategorical

from benchmarks.engine import Wrapped, leaf
from benchmarks.exact import exact_moments
from estimators import beams, outcome_sets
from estimators.binary import DoubleControl, ar, arm, arms, disarm
from estimators.categorical import ars, arsm
from estimators.outcome_sets import rao_blackwell, without_replacement
from estimators.policy_gradient import greedy, group_normalised
from estimators.relaxations import concrete, relaxed_control
from tests.cases import ESTIMATORS, exact_gradient
from tests.toys import (
    COINS,
    TOYS,
    Bits,
    Polynomial,
    Toy,
    close,
    given_noise,
    grid,
    legendre,
    one_hots,
    outcomes,
    paired,
    probabilities_of,
    same_seed,
    with_values,
)

# Coins.


@pytest.mark.parametrize("toy", COINS)
def test_disarm_is_the_mean_of_arm_given_the_pair(monkeypatch, toy):
    """A pair of bits says between which two of 0, p, 1 - p, 1 its uniform is; ARM is linear there: its mean is in the
    middle. Row by row, over all pairs of all coins; and no coordinate of ARM has less variance."""
    problem = TOYS[toy]()
    for point in problem.points:
        p = problem.at(point)[:-1].sigmoid().reshape(problem.lead)
        u, _ = grid([legendre([0, float(x), 1 - float(x), 1], 1) for x in p.flatten()])
        g = []
        for estimator in (arm, disarm):
            given_noise(monkeypatch, rand=[u.reshape(1, -1, *p.shape)])
            g.append(estimator(problem, leaf(problem.at(point), len(u))))
            monkeypatch.undo()
        close(point, *g)
        merged, integrated = (paired(monkeypatch, x, problem, problem.at(point), p)[1] for x in (arm, disarm))
        assert (integrated <= merged + 1e-12).all()
        assert integrated.sum() < 0.99 * merged.sum()


def test_arm_is_the_mean_of_augment_reinforce_over_a_uniform_and_its_mirror(monkeypatch):
    problem = TOYS["coins"]()
    u = torch.rand(1, 50, 3)
    params = leaf(problem.at("init"), 50)
    g = []
    for estimator, given in ((arm, u), (ar, u), (ar, 1 - u)):
        given_noise(monkeypatch, rand=[given])
        g.append(estimator(problem, params, num_samples=2 if estimator is arm else 1))
        monkeypatch.undo()
    close("arm", g[0], (g[1] + g[2]) / 2)


def test_arms_with_an_antithetic_pair_is_disarm():
    """Draw by draw, with the same uniforms; rho = (max(2p - 1, 0) - p^2) / (p (1 - p))."""
    problem = TOYS["coins"]()

    def antithetic(p, count):
        assert count == 2
        u = torch.rand(1, *p.shape)
        rho = ((2 * p - 1).clamp(min=0) - p**2) / (p * (1 - p))
        return torch.cat([(v < p).double() for v in (u, 1 - u)]), 1 / (1 - rho)

    for point in problem.points:
        params = leaf(problem.at(point), 200)
        close(point, *same_seed(*[partial(x, problem, params, 2) for x in (disarm, partial(arms, copula=antithetic))]))


@pytest.mark.parametrize("name", ["arms_dirichlet", "arms_gaussian"])
def test_arms_of_two_has_the_variance_of_disarm(monkeypatch, name):
    """Exact variance of DisARM against that of 50,000 estimates, within 4 %.

    The sampled variance has a standard error of 0.6 % or less (kurtosis below 3): the false-alarm rate is below 1e-9,
    and a variance that is 7 % off is found in all runs.
    """
    problem = TOYS["coins"]()
    p = problem.at("init")[:-1].sigmoid()
    exact = paired(monkeypatch, disarm, problem, problem.at("init"), p)[1]
    g = ESTIMATORS[name](problem, leaf(problem.at("init"), 50_000), num_samples=2)
    kurtosis = (g - g.mean(0)).pow(4).mean(0) / g.var(0).square()
    assert (kurtosis < 3 * 50_000 * 0.006**2).all()
    torch.testing.assert_close(g.var(0), exact, rtol=0.04, atol=0)


@pytest.mark.parametrize("toy", COINS)
def test_with_nothing_learned_they_are_leave_one_out(toy):
    problem = TOYS[toy]()
    params = leaf(problem.at("steep"), 50)
    by_blocks = ESTIMATORS["score_local_loo" if problem.blocks else "score_loo"]
    for estimator in (DoubleControl(), ESTIMATORS["rodeo"]):
        for num_samples in (2, 3):
            g = same_seed(*[partial(x, problem, params, num_samples=num_samples) for x in (by_blocks, estimator)])
            close(estimator, *g)


def test_the_controls_of_double_cv_and_rodeo_do_something():
    problem = TOYS["coins"]()
    params = leaf(problem.at("init"), 50)
    for name in ("double_cv", "rodeo"):
        learned = with_values(name, problem, problem.at("init"))
        a, b = same_seed(*[partial(x, problem, params, num_samples=2) for x in (learned, ESTIMATORS["score_loo"])])
        assert (a - b).abs().max() > 0.1


def test_local_expectations_of_coins_are_the_coupled_measure_valued_derivative():
    for toy in COINS:
        problem = TOYS[toy]()
        params = leaf(problem.at("init"), 50)
        g = same_seed(*[partial(ESTIMATORS[x], problem, params, num_samples=3) for x in ("leg", "measure_valued")])
        close(toy, *g)


def test_local_expectations_of_an_additive_cost_have_no_noise():
    for categories in (None, 4):
        problem = Polynomial(1, 3, categories)
        for name in ("leg", "indecater"):
            g = ESTIMATORS[name](problem, leaf(problem.at("steep"), 20))
            exact = exact_gradient(problem, problem.at("steep"))
            assert exact.norm() > 0.1
            close(name, g, exact.expand_as(g))


def test_coordinates_have_draws_of_their_own_in_indecater_and_one_for_all_in_leg():
    """Correlations of 20,000 estimates of three coins: below 4.5 standard errors for the first, above 20 for the other.

    False alarms: 7e-6 for each of three; finds a correlation of 0.05 in 99 % of runs.
    """
    problem = Toy(3, explicit=False)
    largest = {}
    for name in ("indecater", "leg"):
        g = ESTIMATORS[name](problem, leaf(problem.at("init"), 20_000))[:, :3]
        largest[name] = float(torch.corrcoef(g.T).triu(1).abs().max()) * 20_000**0.5
    assert largest["indecater"] < 4.5
    assert largest["leg"] > 20


# Categories.


@pytest.mark.parametrize("toy", COINS)
@pytest.mark.parametrize("estimator", [ars, arsm])
def test_with_two_categories_a_swap_is_arms_mirror_image(monkeypatch, toy, estimator):
    """Draw by draw: (pi_0, pi_1) = (1 - u, u), and the exchange gives the other of the pair, whatever j is."""
    problem = TOYS[toy]()
    p = problem.at("init")[:-1].reshape(problem.lead)
    u = torch.rand(3, 40, *p.shape)
    params = leaf(problem.at("init"), 40)
    pi = torch.stack([1 - u, u], -1)
    given_noise(monkeypatch, rand=[(-pi).exp(), u])
    close(toy, estimator(problem, params, 3), arm(problem, params, 6))


@pytest.mark.parametrize("name", ["ars", "arsm"])
def test_swaps_of_four_categories_by_hand(monkeypatch, name):
    """By loops over the exchanges of one Dirichlet draw a row, in the paper's raw logits (Yin et al. 2019)."""
    problem, rows = TOYS["categories"](), 15
    point = problem.at("init")
    logits = point[:-1].reshape(2, 4)
    pi = torch.distributions.Dirichlet(torch.ones(4)).sample((1, rows, 2))
    reference = torch.randint(4, (1, rows))
    given_noise(monkeypatch, rand=[(-pi).exp()], randint=[reference])
    g = ESTIMATORS[name](problem, leaf(point, rows))
    monkeypatch.undo()

    for row in range(rows):
        params = leaf(point, 1)
        f = torch.zeros(4, 4)
        explicit = torch.zeros(4, 4, len(point))
        for c in range(4):
            for j in range(4):
                order = list(range(4))
                order[c], order[j] = j, c
                index = (pi[0, row][:, order] * (-logits).exp()).argmin(-1)
                z = torch.eye(4)[index][None, None]
                cost = problem.f(z, problem.q(params), params)
                f[c, j] = cost.item()
                explicit[c, j] = torch.autograd.grad(cost.sum(), params)[0][0]
        weight = f - f.mean(0)
        j = int(reference[0, row])
        swapped = 1 - 4 * pi[0, row, :, j]
        by_swap = weight[:, j] * swapped[:, None], explicit[:, j].mean(0)
        merged = torch.einsum("cj,nj->nc", weight, 1 / 4 - pi[0, row]), explicit.mean((0, 1))
        coupled, direct = by_swap if name == "ars" else merged
        close(name, g[row], direct + torch.cat([coupled.flatten(), torch.zeros(1)]))


@pytest.mark.parametrize("name", ["disarm_tree", "disarm_sb"])
def test_with_two_categories_a_tree_is_disarm(name):
    for toy in COINS:
        problem = TOYS[toy]()
        for point in problem.points:
            params = leaf(problem.at(point), 100)
            close(toy, *same_seed(*[partial(x, problem, params, num_samples=4) for x in (disarm, ESTIMATORS[name])]))


class Alone(Wrapped):
    """A problem of one coordinate whose q has no axis of coordinates."""

    def q(self, params):
        q = self.problem.q(params).base_dist
        if isinstance(q, Bernoulli):
            return Bernoulli(logits=q.logits[:, 0], validate_args=False)
        return OneHotCategorical(logits=q.logits[:, 0], validate_args=False)

    def f(self, z, q, params):
        return self.problem.f(z.unsqueeze(2), self.problem.q(params), params)


@pytest.mark.parametrize("categories", [None, 4])
def test_one_coordinate_needs_no_axis_of_its_own(categories):
    problem = Polynomial(3, 1, categories)
    params = leaf(problem.at("init"), 20)
    names = ["leg", "indecater", "ars", "arsm", "disarm_tree", "rao_blackwell", "wor", "unordered_set", "rebar_untuned"]
    names += ["reinmax", "gumbel_rao", "enumeration", *([] if categories else ["arm", "double_cv", "bitflip", "darn"])]
    for name in names:
        close(
            name, *same_seed(*[partial(ESTIMATORS[name], x, params, num_samples=2) for x in (problem, Alone(problem))])
        )


# Sets of outcomes.


def test_a_set_of_all_outcomes_is_exact():
    for toy, counts in (("coins", (8, 9)), ("categories", (16, 20)), ("coins_blocks", (4, 5))):
        problem = TOYS[toy]()
        for point in ("init", "steep"):
            exact = exact_gradient(problem, problem.at(point))
            for num_samples in counts:
                for name in ("sum_and_sample", "wor", "wor_baseline", "unordered_set", "unordered_set_baseline"):
                    g = ESTIMATORS[name](problem, leaf(problem.at(point), 5), num_samples=num_samples)
                    close(f"{name} {toy} {num_samples}", g, exact.expand_as(g), 1e-9)
            g = rao_blackwell(problem, leaf(problem.at(point), 5), 2, k=counts[0])
            close(f"rao_blackwell {toy}", g, exact.expand_as(g), 1e-9)


def test_an_unordered_set_of_one_is_the_score_function(monkeypatch):
    problem = TOYS["categories"]()
    z = outcomes(problem)
    y = one_hots(z, problem)
    fake = torch.stack([y, y.roll(1, 0)])
    monkeypatch.setattr(beams, "without_replacement", lambda *_: (fake, torch.zeros(2, 16)))
    params = leaf(problem.at("init"), 16)
    q = problem.q(params)
    f = problem.f(z[None], q, params)
    expected = torch.autograd.grad((q.log_prob(z) * f.detach() + f).sum(), params)[0]
    for weigh in (outcome_sets.unordered, outcome_sets.sum_and_sample):
        close(weigh, without_replacement(problem, params, 1, weigh=weigh), expected)


# Score function.


@pytest.mark.parametrize("toy", ["coins", "categories"])
def test_own_mean_is_exactly_one_s_th_short(toy):
    problem = TOYS[toy]()
    naive, exact = (
        exact_moments(ESTIMATORS["naive"], problem, problem.at("init"), 1).mean,
        exact_gradient(problem, problem.at("init")),
    )
    mean = exact_moments(ESTIMATORS["score_mean"], problem, problem.at("init"), 2).mean
    close(toy, mean - exact, -(exact - naive) / 2)
    params = leaf(problem.at("init"), 50)
    own, others = same_seed(*[partial(ESTIMATORS[x], problem, params, 3) for x in ("score_mean", "score_loo")])
    explicit = same_seed(partial(ESTIMATORS["naive"], problem, params, 3))[0]
    close(toy, own - explicit, (1 - 1 / 3) * (others - explicit))


@pytest.mark.parametrize("logit", [-1.3, 0.0, 2.0])
def test_the_normalised_group_of_two_coins_by_hand(logit):
    """The two differ with probability 2 p (1 - p); then the advantages are +- (d / 2) / (|d| / sqrt 2 + eps), d the
    difference of the costs, and the estimate is half the advantage of the head."""
    problem = Polynomial(3, 1)
    point, p = torch.tensor([logit]), torch.tensor(logit).sigmoid()
    costs = problem.f(outcomes(problem)[:, None], problem.q(point[None]), None)[:, 0]
    d = costs[1] - costs[0]
    for eps in (1e-6, 0.3):
        head = (d / 2) / (d.abs() / 2**0.5 + eps)
        mean = exact_moments(partial(group_normalised, eps=eps), problem, point, 2).mean
        close(eps, mean[0], 2 * p * (1 - p) * head / 2)


def test_the_normalised_group_of_three_outcomes_by_enumeration():
    """S = 3 draws of two coins, by sums over all 64 outcomes in numpy's terms: std with S - 1."""
    problem = TOYS["coins"]()
    z = outcomes(problem)
    p = probabilities_of(problem, "init")
    params = leaf(problem.at("init"), 1)
    f = problem.f(z[:, None], problem.q(params), params)[:, 0]
    scores = torch.cat([z - params.detach()[:, :-1].sigmoid(), torch.zeros(8, 1)], 1)
    naive = exact_moments(ESTIMATORS["naive"], problem, problem.at("init"), 1).mean
    total = naive.clone()
    for drawn in torch.cartesian_prod(*[torch.arange(8)] * 3):
        costs = f[drawn].detach().numpy()
        advantage = (costs - costs.mean()) / (costs.std(ddof=1) + 1e-6)
        total += p[drawn].prod() * (torch.as_tensor(advantage)[:, None] * scores[drawn]).mean(0)
    close("grpo", exact_moments(ESTIMATORS["grpo"], problem, problem.at("init"), 3).mean, total, 1e-11)
    assert (total - exact_gradient(problem, problem.at("init"))).norm() > 0.05


@pytest.mark.parametrize("toy", TOYS)
def test_the_greedy_baseline_is_the_cost_of_the_likeliest(toy):
    problem = TOYS[toy]()
    params = leaf(problem.at("steep"), 2)
    q, z = problem.q(params), outcomes(problem)[:, None]
    f = problem.f(z, q, params)
    best = int(q.log_prob(z)[:, 0].argmax())
    torch.testing.assert_close(greedy(f, problem, params), f[best])


@pytest.mark.parametrize("categories", [None, 4])
def test_muprop_has_no_noise_where_the_cost_is_its_own_expansion(categories):
    for power, quiet in ((1, True), (2, False)):
        problem = Polynomial(power, 2, categories)
        g = ESTIMATORS["muprop"](problem, leaf(problem.at("steep"), 30), num_samples=2)
        exact = exact_gradient(problem, problem.at("steep"))
        assert ((g - exact).abs().max() < 1e-12) == quiet


# Relaxed controls.


class Recorded(Wrapped):
    """A problem that keeps the draws it was first asked the cost of."""

    first = None

    def f(self, z, q, params):
        self.first = z.detach() if self.first is None else self.first
        return super().f(z, q, params)


@pytest.mark.parametrize("toy", ["coins", "categories"])
def test_rebar_without_its_control_is_the_score_function_at_its_own_draws(toy):
    problem = Recorded(TOYS[toy]())
    params = leaf(problem.at("init"), 60)
    controls = [partial(concrete, scaling=scaling) for scaling in (0.0, 1.0)]
    g, controlled = same_seed(*[partial(relaxed_control, problem, params, 3, surrogate=c) for c in controls])
    z = problem.first
    q = problem.q(params)
    frequency, mean = z.mean((0, 1)), q.mean[0]
    assert ((frequency - mean).abs() < 4.5 * (mean * (1 - mean) / 180).sqrt()).all()  # false alarms 7e-6 each
    f = problem.f(z, q, params)
    expected = torch.autograd.grad((q.log_prob(z) * f.detach() + f).sum() / 3, params)[0]
    close(toy, g, expected)
    assert (controlled - g).abs().max() > 0.1
    close("what f has of its own needs no control", controlled[:, -1], g[:, -1])


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_rebar_by_hand_draw_by_draw(monkeypatch, temperature):
    """One coin, as Tucker et al. (2017) write it: x = l + logit u, and x' of v, given the bit."""
    problem, count, scaling = Bits(lambda z: (z[..., 0] - 0.45) ** 3 + z[..., 0].exp(), [0.7]), 50, 1.4
    u, v = torch.rand(2, 1, count, 1)
    given_noise(monkeypatch, rand=[u, v])
    surrogate = partial(concrete, temperature=temperature, scaling=scaling)
    g = relaxed_control(problem, leaf(problem.at("init"), count), surrogate=surrogate)

    logit = problem.at("init").expand(count).clone().requires_grad_()
    p, u, v = logit.sigmoid(), u[0, :, 0], v[0, :, 0]
    x = logit + torch.logit(u)
    b = (x > 0).double()
    again = torch.where(b > 0, (v / ((1 - v) * (1 - p)) + 1).log(), -(v / ((1 - v) * p) + 1).log())
    c, c_again = (scaling * problem.cost((y / temperature).sigmoid()[:, None]) for y in (x, again))
    slopes = torch.autograd.grad((c - c_again).sum(), logit, retain_graph=True)[0]
    expected = (problem.cost(b[:, None]) - c_again) * (b - p) + slopes
    close(temperature, g[:, 0], expected.detach(), 1e-10)
