"""What explains that a gradient is a multiple of the derivative: n, 2, n - 1 or the sign."""

from __future__ import annotations

import itertools
from collections.abc import Iterator


def explained(multiple: float, rows: int, total: int, tolerance: float) -> tuple[float, str]:
    """The multiple without rounding, and what explains it: ", n = 4: the mean's 1/n is missing".

    One that was measured on some of the rows is given as it is on all of them.
    """
    if abs(multiple) <= tolerance:
        return 0.0, ""
    for sign, power, twos in sorted(itertools.product((1, -1), (0, 1, -1), (0, 1, -1)), key=_odd):
        exact = sign * float(rows) ** power * 2.0**twos
        if exact == 1 or (power and rows == 1):
            continue
        if abs(multiple - exact) <= tolerance * abs(exact):
            exact = sign * float(total) ** power * 2.0**twos
            return exact, "".join(_factors(sign, power, twos, total))
    if rows > 2 and abs(multiple - rows / (rows - 1)) <= tolerance:
        return total / (total - 1), f", n = {total}: it is divided by n - 1, not by n"
    return multiple, ""


def _odd(factors: tuple[int, int, int]) -> int:
    """How unlikely it is that all of this went wrong."""
    sign, power, twos = factors
    return 2 * abs(twos) + 2 * abs(power) + (sign < 0) - (twos == 0 and power != 0)


def _factors(sign: int, power: int, twos: int, rows: int) -> Iterator[str]:
    whys = {
        (1, 0): "the mean's 1/n is missing",
        (-1, 0): "it is divided by n once too often",
        (0, 1): "a factor 2 is doubled",
        (0, -1): "the factor 2 of the square's derivative is missing",
    }
    reasons = [whys[pair] for pair in ((power, 0), (0, twos)) if pair in whys]
    if sign < 0:
        reasons.append("its sign is wrong, so it climbs the loss")
    if rows == 2 and power and not twos:
        reasons[0] += f", or {whys[0, power]}"
    if reasons:
        yield f", n = {rows}: " if power else ": "
        yield " and ".join(reasons)
