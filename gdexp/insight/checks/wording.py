"""Numbers in the sentences of the checks."""

from __future__ import annotations


def number(value: float) -> str:
    """A factor with three decimals, where they tell something: 4.000, 0.250, 30000, 1.0002."""
    text = f"{value:.3f}"
    return text if 0.01 <= abs(value) < 1000 and text != "1.000" else f"{value:.7g}"


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with four digits, or as many as it takes to tell them apart.

    >>> told_apart(3.0, 5.0), told_apart(-8424.1, -8424.25)
    (('3', '5'), ('-8424.1', '-8424.2'))
    """
    digits = next((k for k in range(4, 12) if f"{one:.{k}g}" != f"{other:.{k}g}"), 12)
    return f"{one:.{digits}g}", f"{other:.{digits}g}"
