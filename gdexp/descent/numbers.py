"""Numbers as messages print them."""

from __future__ import annotations


def short(value: float, digits: int = 6) -> str:
    """A number with six significant digits, or as many as given.

    >>> short(0.25), short(-1e6), short(3.59e31), short(28860.4, 3)
    ('0.25', '-1e6', '3.59e31', '2.89e4')
    """
    number, large, exponent = f"{value:.{digits}g}".partition("e+")
    return f"{number}e{int(exponent)}" if large else number
