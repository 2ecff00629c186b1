"""What counts as a number, a truth value and an empty cell, wherever a table is read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

DECIMALS = {"point": ".", "comma": ","}
THOUSANDS = {"comma": ",", "point": ".", "space": " \u00a0\u202f", "apostrophe": "'\u2019"}
TRUTH = {"true": 1.0, "false": 0.0}
EMPTY = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""The cells that pandas takes for missing values."""
BLANK = " \t\r\n"


@dataclass(frozen=True)
class Notation:
    """How a table writes its numbers.

    A number is what pandas reads as one: ASCII digits, an optional sign, decimal sign and exponent,
    or "inf". So ``1_0`` and ``٣`` are not numbers, which Python's ``float`` accepts.

    Attributes:
        decimal: a name in DECIMALS.
        thousands: a name in THOUSANDS; None if digits are not grouped.
    """

    decimal: str = "point"
    thousands: str | None = None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        point = re.escape(DECIMALS[self.decimal])
        whole = "[0-9]+"
        if self.thousands:
            sign = f"(?P<sign>[{THOUSANDS[self.thousands]}])"
            whole = f"(?:[1-9][0-9]{{0,2}}{sign}[0-9]{{3}}(?:(?P=sign)[0-9]{{3}})*|[0-9]+)"
        digits = f"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)"
        return re.compile(f"[+-]?(?:{digits}(?:[eE][+-]?[0-9]+)?|inf(?:inity)?)", re.I | re.A)

    def number(self, cell: Any) -> float | None:
        """The number in a cell, 1 for true, 0 for false, NaN if it is empty; None for other text.

        >>> notation = Notation("comma", "point")
        >>> [notation.number(cell) for cell in ("1.234,5", "True", "", "1.23", "1_0")]
        [1234.5, 1.0, nan, None, None]
        """
        if not isinstance(cell, str):
            return _float(cell)
        cell = cell.strip(BLANK)
        if cell in EMPTY:
            return math.nan
        if not self._pattern.fullmatch(cell):
            return TRUTH.get(cell.lower())
        for sign in THOUSANDS[self.thousands] if self.thousands else "":
            cell = cell.replace(sign, "")
        return float(cell.replace(DECIMALS[self.decimal], "."))

    def is_number(self, cell: str) -> bool:
        """Whether a cell holds a finite number; true and false are none."""
        number = self.number(cell)
        return number is not None and math.isfinite(number) and cell.strip().lower() not in TRUTH


def _float(cell: Any) -> float | None:
    """A cell that is not a string as a number; a missing value is NaN."""
    try:
        return math.nan if cell is None else float(cell)
    except OverflowError:
        return math.inf if cell > 0 else -math.inf
    except (TypeError, ValueError):
        return None
