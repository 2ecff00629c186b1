"""Numbers as messages print them."""

from __future__ import annotations


def short(value: float) -> str:
    """A number with six digits.

    >>> short(0.25), short(-1e6), short(3.59e31)
    ('0.25', '-1e6', '3.59e31')
    """
    digits, large, exponent = f"{value:.6g}".partition("e+")
    return f"{digits}e{int(exponent)}" if large else digits
