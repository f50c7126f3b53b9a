"""Measured numbers as text, the same in sentences and in tables. No torch, no Hydra."""

import math

from benchmarks.intervals import Interval

EXACT = 1e-6


def number(x: float, digits: int = 3) -> str:
    """Significant digits, and an exponent only where people need one.

    >>> number(685123.0), number(0.0004), number(2.0), number(3.204e-7), number(float("inf"))
    ('685,000', '0.0004', '2', '3.2e-7', 'infinite')
    """
    if math.isnan(x):
        return ""
    if math.isinf(x):
        return "infinite" if x > 0 else "-infinite"
    rounded = float(f"{x:.{digits}g}")
    if 1000 <= abs(rounded) < 1e6:
        return f"{rounded:,.0f}"
    mantissa, _, exponent = f"{rounded:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def interval(value: float, low: float, high: float, unit: str = "") -> str:
    """A number and its 95 % interval; [?] where none holds, (exact) where it was computed.

    >>> interval(1.312, 1.29, 1.34), interval(-30.0, -30.0, -30.0), interval(0.4, 0.3, 0.5, " %")
    ('1.31 [1.29, 1.34]', '-30 (exact)', '0.4 % [0.3, 0.5]')
    """
    if math.isnan(value) or math.isinf(value):
        return number(value)
    if math.isnan(low):
        return f"{number(value)}{unit} [?]"
    if low < value - EXACT * abs(value) or high > value + EXACT * abs(value):
        digits = next((d for d in range(3, 6) if number(low, d) != number(high, d)), 6)
        return f"{number(value, digits)}{unit} [{number(low, digits)}, {number(high, digits)}]"
    return f"{number(value, 4)}{unit} (exact)"


def times(ratio: float, low: float, high: float, distinguished: bool = True) -> str:
    """A ratio of variances in words.

    >>> times(1 / 430, 1 / 450, 1 / 410), times(2.1, 2.0, 2.2), times(1.01, 0.98, 1.04, distinguished=False)
    ('430 [410, 450] times less', '2.1 [2, 2.2] times more', 'not distinguishable, 1.01 [0.98, 1.04]')
    """
    if not distinguished:
        return f"not distinguishable, {interval(ratio, low, high)}"
    if ratio in (0.0, math.inf):
        return "infinitely less" if ratio == 0 else "infinitely more"
    less, of = ratio < 1, (1 / ratio, 1 / high, 1 / low if low else math.inf)
    return f"{interval(*(of if less else (ratio, low, high)))} times {'less' if less else 'more'}"


def share(value: Interval, norm: float) -> str:
    """A norm and its interval as a percentage of another norm; as they are where that is not above zero."""
    x, low, high = (100 * x / norm for x in value) if norm > 0 else value
    return interval(x, low, high, " %" if norm > 0 else "")


def listed(names: list[str], most: int = 6) -> str:
    """Names in a sentence: `a, b and c`; `a, b and 7 others`.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
    ('a, b and c', 'a, b and 2 others')
    """
    said = names if len(names) <= most + 1 else [*names[:most], f"{len(names) - most} others"]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def counted(count: int, noun: str) -> str:
    """A number of things: `1 cell`, `2 cells`.

    >>> counted(1, "cell"), counted(1200, "cell")
    ('1 cell', '1,200 cells')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
