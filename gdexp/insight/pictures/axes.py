"""The axes of a sweep: the params that differ among its runs, their values and their scales."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.config.differing import differing
from gdexp.descent.numbers import short
from gdexp.errors import GdexpError, cut, did_you_mean

Row: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = NDArray[np.float64]

SEED = "seed"
FIRST = ("lr", "iters")  # the axes of a map, if the sweep varies them
NOT_PARAMS = ("run_id", "name", "outcome", "behaviour", SEED)
NONE = "none"  # the value of a setting that the run does not have
TICKS = 12  # values that are all named on an axis
WIDE = 10  # a ratio of two values that makes a scale logarithmic
LONGEST = 18  # characters of a value on an axis


@dataclass(frozen=True)
class Axis:
    """A param and its values, in the order of the axis.

    On a map, the value with index i has its centre at i: cells are equally wide, and numbers
    between two values lie between their centres, on the axis's scale.

    Attributes:
        key: the param.
        values: numbers in ascending order, or strings in the order of their first run.
        scale: linear, log or category.
    """

    key: str
    values: tuple[float, ...] | tuple[str, ...]
    scale: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.scale != "category"

    def of(self, row: Row) -> Any:
        """The value of a run: a number, or a string."""
        text = str(row.get(self.key, NONE))
        return float(text) if self.is_numeric else text

    def place(self, row: Row) -> float:
        """Where a run stands on an axis with a true scale: its number, or the index of its word."""
        value = self.of(row)
        return float(value) if self.is_numeric else float(self.index[value])

    @property
    def index(self) -> dict[Any, int]:
        """The index of each value."""
        return {value: i for i, value in enumerate(self.values)}

    def position(self, number: float) -> float:
        """Where a number lies on a map; beyond the ends, at their edges.

        >>> Axis("lr", (0.01, 0.1, 1.0), "log").position(0.0316227766)
        0.5
        """
        last = len(self) - 1
        if not last:
            return math.copysign(0.5, number - float(self.values[0]))
        if number <= 0 and self.scale == "log":
            return -0.5
        values = [float(value) for value in self.values]
        i = min(max(bisect.bisect_right(values, number) - 1, 0), last - 1)
        share, whole = (number - values[i]), (values[i + 1] - values[i])
        if self.scale == "log":
            share, whole = (_log_ratio(v, values[i]) for v in (number, values[i + 1]))
        return round(min(max(i + share / whole, -0.5), last + 0.5), 9)

    def at(self, position: float) -> str:
        """What is at a position on a map, as a cursor shows it; the inverse of :meth:`position`.

        >>> Axis("lr", (0.01, 0.1, 1.0), "log").at(0.5)
        '0.03162'
        """
        last = len(self) - 1
        nearest = min(max(round(position), 0), last)
        if not self.is_numeric or position == nearest or not last:
            return self.label(self.values[nearest])
        i = min(max(math.floor(position), 0), last - 1)
        low, high, share = float(self.values[i]), float(self.values[i + 1]), position - i
        between = low * (high / low) ** share if self.scale == "log" else low + share * (high - low)
        return short(between, 4)

    def ticks(self) -> list[tuple[float, str]]:
        """Positions on a map and their labels: each value, or round numbers if they are many."""
        if len(self) <= TICKS:
            return [(i, self.label(value)) for i, value in enumerate(self.values)]
        if not self.is_numeric:
            steps = range(0, len(self), math.ceil(len(self) / TICKS))
            return [(i, self.label(self.values[i])) for i in steps]
        low, high = float(self.values[0]), float(self.values[-1])
        marks = [v for v in self._round(low, high) if low <= v <= high]
        return [(self.position(v), short(v, 4)) for v in marks]

    def _round(self, low: float, high: float) -> Iterable[float]:
        from matplotlib.ticker import LogLocator, MaxNLocator

        if self.scale == "log":
            subs = (1.0,) if high / low > 1000 else (1.0, 2.0, 5.0)
            return [float(v) for v in LogLocator(subs=subs).tick_values(low, high)]
        return [float(v) for v in MaxNLocator(6).tick_values(low, high)]

    def label(self, value: Any) -> str:
        """A value as it is shown."""
        if self.is_numeric:
            return short(float(value), 4)
        return cut(value, LONGEST)


def axis_of(rows: Sequence[Row], key: str) -> Axis:
    """The axis of a param: numeric if all its values are finite numbers."""
    words = list(dict.fromkeys(str(row.get(key, NONE)) for row in rows))
    try:
        numbers = sorted({float(word) for word in words})
    except ValueError:
        return Axis(key, tuple(words), "category")
    if not np.isfinite(numbers).all():
        return Axis(key, tuple(words), "category")
    return Axis(key, tuple(numbers), "log" if _is_logarithmic(np.array(numbers)) else "linear")


def _is_logarithmic(numbers: Floats) -> bool:
    """Whether numbers are spaced more evenly by their ratios than by their differences."""
    if len(numbers) < 2 or numbers[0] <= 0:
        return False
    if len(numbers) == 2:
        return bool(numbers[1] >= WIDE * numbers[0])
    steps, ratios = np.diff(numbers), np.diff(np.log(numbers))
    return bool(steps.std() / steps.mean() > 1.001 * ratios.std() / ratios.mean())


def swept(rows: Sequence[Row]) -> list[Axis]:
    """The params that differ among runs, besides the seed: lr and iters first, words last.

    A setting that the step or a choice determines (the updater of the step model) is left out.
    """
    params = [_params(row) for row in rows]
    keys = differing(params)
    kept = [key for key in keys if not any(_determines(params, own, key) for own in keys)]
    axes = [axis_of(rows, key) for key in kept]
    return sorted(axes, key=lambda axis: (_rank(axis.key), not axis.is_numeric))


def chosen(rows: Sequence[Row], keys: Sequence[str]) -> list[Axis]:
    """The axes that were asked for.

    Raises:
        GdexpError: no run has such a setting, or one is named twice, or more than two are named.
    """
    known = list(dict.fromkeys(key for row in rows for key in _params(row)))
    known += [SEED] if any(SEED in row for row in rows) else []
    varied = [axis.key for axis in swept(rows)]
    for key in keys:
        if key not in known:
            raise GdexpError(
                f"--axes: no run has a setting {key!r}.{did_you_mean(key, known)} The runs differ "
                f"in: {', '.join(varied) or 'nothing'}."
            )
    if not 1 <= len(keys) <= 2 or len({*keys}) < len(keys):
        raise GdexpError(
            f"--axes: a picture has one or two axes, not {', '.join(keys) or 'none'}. "
            f"Type for example --axes {','.join(varied[:2]) or 'lr,iters'}."
        )
    return [axis_of(rows, key) for key in keys]


def _params(row: Row) -> dict[str, str]:
    return {k: v for k, v in row.items() if isinstance(v, str) and k not in NOT_PARAMS}


def _determines(params: Sequence[Row], own: str, key: str) -> bool:
    """Whether a choice says what another setting is: the step any choice, a choice its settings."""
    if key == own or key in FIRST or not (own == "step" or key.startswith(f"{own}.")):
        return False
    pairs = {(row.get(own), row.get(key)) for row in params}
    return len(pairs) == len({first for first, _ in pairs})


def _rank(key: str) -> int:
    return FIRST.index(key) if key in FIRST else len(FIRST)


def _log_ratio(a: float, b: float) -> float:
    """``log(a / b)`` of positive numbers, also if they are close or the ratio would overflow."""
    return math.log1p((a - b) / b) if b / 2 < a < 2 * b else math.log(a) - math.log(b)
