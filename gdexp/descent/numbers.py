"""Numbers as messages print them, and losses as a comparison draws them."""

from __future__ import annotations

import math

DECADES = 16  # by which a loss can fall in double precision


def short(value: float, digits: int = 6) -> str:
    """A number with six significant digits, or as many as given.

    >>> short(0.25), short(-1e6), short(3.59e31), short(28860.4, 3), short(1e-6)
    ('0.25', '-1e6', '3.59e31', '2.89e4', '1e-06')
    """
    return _plain(f"{value:.{digits}g}")


def exact(value: float) -> str:
    """A setting, with every digit that was typed.

    >>> exact(0.05), exact(10.0), exact(1e-08), exact(0.133333333333), exact(20)
    ('0.05', '10', '1e-08', '0.133333333333', '20')
    """
    return _plain(f"{value}".removesuffix(".0"))


def apart(value: float, mark: float, digits: int) -> str:
    """A number with so many digits, or with as many as it takes not to be rounded to a mark.

    >>> apart(0.85, 1, 4), apart(1 - 6e-8, 1, 4), apart(1.00000015, 1, 4), apart(1, 1, 4)
    ('0.85', '0.99999994', '1.00000015', '1')
    """
    enough = (k for k in range(digits, 19) if float(f"{value:.{k}g}") != mark or value == mark)
    needed = next(enough)
    return short(value, needed if needed == digits else needed + 1)


def whole(text: str) -> int | None:
    """The whole number below 10⁹ that a text is; None for any other text.

    >>> whole("12"), whole("-1"), whole("1.5"), whole("")
    (12, None, None, None)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def factor(value: float) -> str:
    """A factor with three decimals, where they tell something.

    >>> factor(4), factor(0.25), factor(30000), factor(1.0002)
    ('4.000', '0.250', '30000', '1.0002')
    """
    text = f"{value:.3f}"
    return text if 0.01 <= abs(value) < 1000 and text != "1.000" else short(value, 7)


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with four digits, or as many as it takes to tell them apart.

    >>> told_apart(3.0, 5.0), told_apart(-8424.1, -8424.25)
    (('3', '5'), ('-8424.1', '-8424.2'))
    """
    digits = next((k for k in range(4, 12) if short(one, k) != short(other, k)), 12)
    return short(one, digits), short(other, digits)


def _plain(text: str) -> str:
    """A number as Python prints it, but 1e6 for 1e+06."""
    number, is_large, exponent = text.partition("e+")
    return f"{number}e{int(exponent)}" if is_large else number


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
