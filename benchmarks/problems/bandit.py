"""Policies with a sparse reward: of one choice, and of a sequence of them."""

from itertools import product

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.corners import BOX, Cornered, near_shares, normals, one_hots, one_of
from benchmarks.problems.parts import check_at_least, check_bounds, slices
from benchmarks.problems.subsets import check_outcomes, over_rows
from estimators.core import Unsupported, one_hot


class Bandit(Cornered):
    """E_q[reward of the arm], a softmax policy over arms of which some have reward 1, the others 0 (Williams 1992).

    z is one-hot, (S, R, 1, arms). Exact: the probability of a rewarded arm. It is maximised.

    Points: `init` (logits 0), `optimum` (8 for rewarded arms, else 0: the most for logits between 0 and 8), `near`
    (nine tenths of the way in probability), `saturated` (8 for one arm without a reward).

    Args:
        arms: K.
        correct: how many of them have a reward: the first ones.

    Raises:
        ValueError: correct < 1, or no arm without a reward.
    """

    def __init__(self, arms: int = 8, correct: int = 3) -> None:
        check_bounds(correct=correct)
        if not correct < arms:
            raise ValueError(f"correct={correct}: it must be below arms={arms}")
        reward = (torch.arange(arms) < correct).double()
        init, optimum = torch.zeros_like(reward), BOX * reward
        super().__init__(init, near_shares(init, optimum), optimum, one_of(torch.tensor(arms - 1), arms))
        self.reward = nn.Buffer(reward)
        self.groups = slices(logits=arms)

    def q(self, params: Tensor) -> Distribution:
        return one_hots(params[:, None])

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return z @ self.reward

    def value(self, params: Tensor) -> Tensor:
        return params.softmax(-1) @ self.reward


class Markov(Distribution):
    """Sequences of T tokens, one-hot (T, C): the first of softmax(first), each next one of its row of transitions.

    `log_prob` is multilinear in the tokens, and takes relaxed ones.

    first: logits (R, C). transitions: logits (R, C, C), a row for each token that came before.
    """

    arg_constraints = {}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(self, first: Tensor, transitions: Tensor, length: int) -> None:
        self.first, self.transitions = first.log_softmax(-1), transitions.log_softmax(-1)
        super().__init__(first.shape[:-1], torch.Size([length, first.shape[-1]]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The probability of each token at each step, (R, T, C)."""
        tokens = [self.first.exp()]
        for _ in range(1, self.event_shape[0]):
            tokens.append(torch.einsum("ri,rij->rj", tokens[-1], self.transitions.exp()))
        return torch.stack(tokens, -2)

    @property
    def mode(self) -> Tensor:
        """The likeliest sequence, one-hot (R, T, C), by the Viterbi algorithm."""
        best, came_from = self.first, []
        for _ in range(1, self.event_shape[0]):
            best, parent = (best[..., None] + self.transitions).max(-2)
            came_from.append(parent)
        tokens = [best.argmax(-1)]
        for parent in reversed(came_from):
            tokens.append(parent.gather(-1, tokens[-1][..., None])[..., 0])
        return one_hot(torch.stack(tokens[::-1], -1), self.event_shape[1]).to(self.first)

    def log_prob(self, value: Tensor) -> Tensor:
        steps = torch.einsum("...rti,rij,...rtj->...r", value[..., :-1, :], self.transitions, value[..., 1:, :])
        return (value[..., 0, :] * self.first).sum(-1) + steps

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """One token after the other; (S, R, T, C)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = -self.first.new_empty(shape).exponential_().log()
        rows = torch.arange(len(self.first), device=self.first.device)
        tokens = [(self.first + noise[..., 0, :]).argmax(-1)]
        for t in range(1, shape[-2]):
            tokens.append((self.transitions[rows, tokens[-1]] + noise[..., t, :]).argmax(-1))
        return one_hot(torch.stack(tokens, -1), shape[-1]).to(self.first)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every sequence, (N, R, T, C), or (N, 1, T, C). Raises Unsupported for more than 2^18."""
        T, C = self.event_shape
        check_outcomes(C**T)
        tokens = torch.tensor(list(product(range(C), repeat=T)), device=self.first.device)
        return over_rows(one_hot(tokens, C).to(self.first), self.batch_shape, expand)


class SequenceBandit(Cornered):
    """E_q[1 if z is one of a few sequences, else 0], q a Markov chain: a late reward (Kool et al. 2019).

    z is one-hot, (S, R, T, C). The correct sequences are 0, 1, ..., C - 1, 0, 1, ... and fixed random ones. Exact: the
    sum of their probabilities. It is maximised.

    Groups: `first` (logits of the first token), `transitions` (of each token after each other, the same at every step).

    Points: `init` (fixed Gaussian logits of standard deviation 1/2), `optimum` (8 along the first correct sequence,
    else 0, where the reward tends to 1 as 8 grows), `near` (nine tenths of the way in every probability), `saturated`
    (8 for the last token everywhere: a wrong sequence).

    Args:
        latent_dim: T.
        tokens: C.
        correct: how many sequences have a reward.

    Raises:
        ValueError: latent_dim < 1, tokens < 2, correct < 1.
        Unsupported: no sequence without a reward.
    """

    def __init__(self, latent_dim: int, tokens: int = 4, correct: int = 2) -> None:
        check_bounds(latent_dim=latent_dim, correct=correct)
        check_at_least(2, tokens=tokens)
        if not correct < tokens**latent_dim:
            raise Unsupported(f"latent_dim={latent_dim} has {tokens**latent_dim} sequences, not more than {correct}")
        C = tokens
        each = torch.arange(C)
        init = normals(1 + C, C) / 2
        optimum = one_of(torch.cat([each[:1], (each + 1) % C]), C)
        saturated = one_of(torch.full((1 + C,), C - 1), C)
        super().__init__(*(p.flatten() for p in (init, near_shares(init, optimum), optimum, saturated)))
        self.T, self.C = latent_dim, C
        self.correct = nn.Buffer(_sequences(correct, latent_dim, C))
        self.groups = slices(first=C, transitions=C * C)

    def q(self, params: Tensor) -> Distribution:
        table = params.reshape(-1, 1 + self.C, self.C)
        return Markov(table[:, 0], table[:, 1:], self.T)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return torch.einsum("...tc,ktc->...kt", z, self.correct).prod(-1).sum(-1)

    def value(self, params: Tensor) -> Tensor:
        return self.q(params).log_prob(self.correct[:, None]).exp().sum(0)


def _sequences(count: int, T: int, C: int) -> Tensor:
    """Distinct one-hot sequences (count, T, C): 0, 1, ..., then random ones other than the last token throughout."""
    generator = torch.Generator().manual_seed(0)
    wrong, found = (C - 1,) * T, [tuple(t % C for t in range(T))]
    while len(found) < count:
        drawn = tuple(torch.randint(C, (T,), generator=generator).tolist())
        found += [] if drawn in (wrong, *found) else [drawn]
    return nn.functional.one_hot(torch.tensor(found), C).double()
