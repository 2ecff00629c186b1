"""Numbers as messages print them, and losses as a comparison draws them."""

from __future__ import annotations

import math

DECADES = 16  # by which a loss can fall in double precision


def short(value: float, digits: int = 6) -> str:
    """A number with six significant digits, or as many as given.

    >>> short(0.25), short(-1e6), short(3.59e31), short(28860.4, 3)
    ('0.25', '-1e6', '3.59e31', '2.89e4')
    """
    number, large, exponent = f"{value:.{digits}g}".partition("e+")
    return f"{number}e{int(exponent)}" if large else number


def plus_minus(mean: float | None, deviation: float | None) -> str:
    """A mean with its standard deviation, if there is one; "" without a mean.

    >>> plus_minus(0.25, 0.0123456), plus_minus(0.25, None), plus_minus(None, None)
    ('0.25 ± 0.0123', '0.25', '')
    >>> plus_minus(81422.1, 66234.5), plus_minus(3.59e31, 1.2345e30)
    ('81422.1 ± 66200', '3.59e31 ± 1.23e30')
    """
    if mean is None:
        return ""
    if deviation is None:
        return short(mean)
    return f"{short(mean)} ± {short(float(f'{deviation:.3g}'))}"  # written as the mean is


def log10_loss(first: float, final: float) -> float | None:
    """``log10(final)``, but not above that of the first loss, nor more than 16 below it.

    So an axis is stretched neither by a run that has diverged, nor by a loss of exactly 0.

    Returns:
        None unless the first loss is positive and the final one not negative.

    >>> log10_loss(10.0, 0.01), log10_loss(10.0, 1e37), log10_loss(10.0, 0.0)
    (-2.0, 1.0, -15.0)
    """
    if not (first > 0 and final >= 0):
        return None
    highest = math.log10(first)
    lowest = highest - DECADES
    return min(highest, max(lowest, math.log10(final))) if final else lowest


def is_overflow(error: BaseException) -> bool:
    """Whether a Python number was too large, for Python or for the precision of a tensor."""
    return isinstance(error, OverflowError) or "without overflow" in str(error)  # torch's words
