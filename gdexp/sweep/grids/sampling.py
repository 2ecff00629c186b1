"""Points drawn from intervals: ``sweep=random`` and ``sweep=sobol``.

An interval is typed as for Hydra's Optuna sweeper: ``lr=tag(log,interval(0.0001,0.1))``. The
intervals of a sweep are one axis, whose alternatives are points of the box that they span.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from gdexp.errors import ConfigError, did_you_mean
from gdexp.sweep.grids.axis import Axis, Overrides
from gdexp.sweep.grids.ranges import DRAWN, KINDS, WHOLE_NUMBERS
from gdexp.sweep.grids.values import DIGITS

LOG = "log"  # the only tag
BITS = 53  # of a coordinate, as a float has
DRAWS = (1, 2, 4, 8, 16)  # times as many points, until enough of them are distinct


class Interval(NamedTuple):
    """The values that a setting may take.

    Attributes:
        key: the setting as typed, with ``+`` if it is added.
        low: the smallest value.
        high: the largest value.
        is_log: whether equal ratios are equally likely, instead of equal differences.
        is_whole: whether the values are whole numbers.
        text: the override as typed.
    """

    key: str
    low: float
    high: float
    is_log: bool
    is_whole: bool
    text: str = ""

    def at(self, share: float) -> str:
        r"""The value at a share u of the interval, :math:`0 \le u < 1`.

        It is :math:`(1-u) \cdot low + u \cdot high`, on a log scale
        :math:`low^{1-u} \cdot high^u`, rounded to 12 significant digits. For whole numbers the ends
        are moved outwards by 1/2, so that rounding makes both as likely as others.

        >>> [Interval("iters", 1, 3, False, True).at(u) for u in (0.2, 0.5, 0.8)]
        ['1', '2', '3']
        >>> Interval("lr", 0.0001, 1.0, True, False).at(0.5)
        '0.01'
        """
        low, high = self.low, self.high
        if self.is_whole:
            low, high = low - 0.5, high + 0.5
        if self.is_log:
            value = math.exp((1 - share) * math.log(low) + share * math.log(high))
        else:
            value = (1 - share) * low + share * high
        rounded = round(value) if self.is_whole else float(f"{value:.{DIGITS}g}")
        return repr(min(max(rounded, self.low), self.high))


def interval(override: Override, text: str) -> Interval:
    """The interval of an override.

    Args:
        override: a continuous range.
        text: the override as typed.

    Raises:
        ConfigError: an end is not finite, not above 0 on a log scale, or not a whole number where
            the setting is one; the ends are not in order; or there is another tag than log.
    """
    value: Any = override.value()
    key, low, high = override.get_key_element(), value.start, value.end
    is_whole = isinstance(low, int) or key.lstrip("+") in WHOLE_NUMBERS
    example = "interval(10,1000)" if is_whole else "interval(0.001,0.1)"
    if others := value.tags - {LOG}:
        near = did_you_mean(min(others), [LOG]) or f" Type for example {key}=tag(log,{example})."
        raise ConfigError(f"{text}: there is no tag {min(others)!r}, only log.{near}")
    is_log = LOG in value.tags
    for end in (low, high):
        what = "a whole number" if is_whole else "a finite number"
        is_number = math.isfinite(end) and not (is_whole and end != round(end))
        if not is_number or (is_log and end <= 0):
            raise ConfigError(
                f"{text}: {end} is not {what}{' > 0' if is_log else ''}. "
                f"Type for example {key}={_typed(example, is_log)}."
            )
    if is_whole:
        low, high = round(low), round(high)
    if low >= high:
        instead = _typed(f"interval({high},{low})", is_log) if low > high else low
        raise ConfigError(f"{text}: {low} is not below {high}. Type {key}={instead}.")
    return Interval(key, low, high, is_log, is_whole, text)


def _typed(call: str, is_log: bool) -> str:
    return f"tag(log,{call})" if is_log else call


def drawn_axes(intervals: Sequence[Interval], sweep: Mapping[str, Any], option: str) -> list[Axis]:
    """The axis of the points drawn from intervals; none if the sweep draws none.

    Args:
        intervals: one for each setting.
        sweep: the settings of the group ``sweep``, checked.
        option: the chosen option.

    Raises:
        ConfigError: the sweep draws no points but there are intervals, or the other way round.
    """
    draws = KINDS[sweep["_kind_"]] is DRAWN
    if intervals and not draws:
        key, low, high, is_log, _, text = intervals[0]
        raise ConfigError(
            f"{text} is a continuous range. To draw values from it, add sweep=random sweep.num=50; "
            f"for evenly spaced ones, type sweep={'log' if is_log else 'linear'} "
            f"sweep.key={key.lstrip('+')} sweep.low={low} sweep.high={high} sweep.num=5."
        )
    if draws and not intervals:
        raise ConfigError(
            f"sweep={option} needs an interval to draw from. Type for example "
            "lr=interval(0.001,0.1), or lr=tag(log,interval(0.0001,0.1)) for a log scale."
        )
    if not intervals:
        return []
    keys = tuple(each.key.lstrip("+") for each in intervals)
    most = math.prod(each.high - each.low + 1 if each.is_whole else math.inf for each in intervals)
    size = int(min(most, sweep["num"]))
    return [Axis(keys, size, _points(intervals, sweep, size), f"sweep={option}")]


def _points(
    intervals: Sequence[Interval], sweep: Mapping[str, Any], size: int
) -> Iterator[Overrides]:
    """The first distinct points of the sequence: as many as the size, or fewer of whole numbers."""
    shares = _sobol if sweep["_kind_"] == "sobol" else _uniform
    distinct: dict[Overrides, None] = {}
    for times in DRAWS:
        if len(distinct) < size:
            drawn = shares(len(intervals), times * size, sweep["seed"])
            distinct = dict.fromkeys(_overrides(intervals, point) for point in drawn)
    yield from itertools.islice(distinct, size)


def _overrides(intervals: Sequence[Interval], point: Sequence[float]) -> Overrides:
    return tuple(f"{i.key}={i.at(share)}" for i, share in zip(intervals, point, strict=True))


def _uniform(dimension: int, count: int, seed: int) -> Iterator[Sequence[float]]:
    """Independent points of the unit cube, by Python's generator, whose numbers never change."""
    generator = random.Random(seed)
    return ([generator.random() for _ in range(dimension)] for _ in range(count))


def _sobol(dimension: int, count: int, seed: int) -> Iterator[Sequence[float]]:
    """The first points of a scrambled Sobol sequence, which fill the unit cube evenly.

    Source: Owen, "Scrambling Sobol' and Niederreiter-Xing points", 1998; by SciPy, with 53 bits.
    """
    from scipy.stats import qmc

    power = (count - 1).bit_length()  # SciPy warns of other counts than powers of two
    points = qmc.Sobol(dimension, scramble=True, bits=BITS, rng=seed).random_base2(power)
    return iter(points[:count].tolist())
