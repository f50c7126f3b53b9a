"""Baselines for the score function: each maps the costs f, (S, R), to what is subtracted from them."""

from torch import Tensor

from estimators.core import Unsupported


def zero(f: Tensor) -> float:
    """No baseline."""
    return 0.0


def constant(f: Tensor, value: float) -> float:
    """The number `value`, whatever the draws (Williams 1992): unbiased, since E_q[grad log q] = 0."""
    return value


def leave_one_out(f: Tensor) -> Tensor:
    """Mean cost of the other draws (Salimans and Knowles 2014; Mnih and Rezende 2016; Kool et al. 2019).

        b_s = 1/(S-1) sum_{t != s} f_t

    Unbiased, since b_s does not depend on z_s. f: (S, R). Raises Unsupported for S = 1.
    """
    n = f.shape[0]
    if n < 2:
        raise Unsupported("leave_one_out needs num_samples >= 2")
    return (f.sum(0) - f) / (n - 1)
