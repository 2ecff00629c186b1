"""An axis of a sweep, and the axes that are typed, as in ``lr=0.1,0.2 iters=range(1,5)``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from gdexp.errors import ConfigError

ONE_STORE = ("tracking", "tracking.enabled", "tracking.uri", "tracking.experiment")
EMPTY = re.compile(r"[^=]+=\s*(choice\(\s*\))?\s*")

Overrides: TypeAlias = tuple[str, ...]


class Axis(NamedTuple):
    """Settings that vary together, and the overrides of each alternative.

    Attributes:
        keys: the names of the settings.
        size: how many alternatives there are.
        alternatives: them, to be read once; none where a range of them is too long to list.
        origin: who varies the settings, as one would type it.
        is_sweep: whether several values are meant, rather than one value set.
    """

    keys: tuple[str, ...]
    size: int
    alternatives: Iterable[Overrides]
    origin: str
    is_sweep: bool = True


def check_key(key: str, origin: str) -> None:
    """Refuse to vary the sweep itself, or where it is recorded: its runs share one summary.

    Raises:
        ConfigError: start one sweep for each value.
    """
    if key.partition(".")[0] == "sweep":
        raise ConfigError(f"{origin} names several values: start one sweep for each of them.")
    if key in ONE_STORE:
        raise ConfigError(
            f"{origin}: all runs of a sweep are recorded in one experiment of one store, so {key} "
            "has one value. Start one sweep for each of them."
        )


def listed(
    keys: tuple[str, ...],
    size: int,
    alternatives: Iterable[Overrides],
    origin: str,
    limit: int,
) -> Axis:
    """An axis with its alternatives, unless they are more than limit: then with their number."""
    if size > limit:
        return Axis(keys, size, (), origin)
    found = list(alternatives)
    return Axis(keys, len(found), found, origin)


def typed_axes(typed: Sequence[str], loader: ConfigLoader | None, limit: int) -> list[Axis]:
    """The overrides of a command line as axes, in the order and with the texts of Hydra's sweeper.

    Overrides of the group ``sweep`` itself are left out: they say nothing about a single run.

    Raises:
        ConfigError: an override cannot be read, or has no values or no end of them.
    """
    parser = OverridesParser.create(config_loader=loader)
    found: dict[str, Axis] = {}
    for text in typed:
        override = parsed(text, parser)
        if str(override.key_or_group).partition(".")[0] != "sweep":
            found[override.get_key_element()] = _axis(override, text, limit)
        elif override.is_sweep_override():
            check_key(str(override.key_or_group), text)
    return list(found.values())


def parsed(text: str, parser: OverridesParser) -> Override:
    """An override as Hydra reads it.

    Raises:
        ConfigError: it cannot be read, or has no value.
    """
    if EMPTY.fullmatch(text):
        raise _no_values(text)
    return read_override(text, parser)


def read_override(text: str, parser: OverridesParser) -> Override:
    """An override as Hydra reads it, with or without a value.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        (override,) = parser.parse_overrides([text])  # which hands the loader on
        if not override.key_or_group:
            raise HydraException("no key")
        return override
    except HydraException as error:
        raise ConfigError(f"{text!r} cannot be read as key=value, as in lr=0.05.") from error


def _no_values(text: str) -> ConfigError:
    key = text.partition("=")[0]
    return ConfigError(f"{text} gives {key} no value. Type {key}=A or {key}=A,B to run each.")


def _axis(override: Override, text: str, limit: int) -> Axis:
    key = override.get_key_element()
    keys = (key.lstrip("+~"),)
    if not override.is_sweep_override():
        value = override.get_value_element_as_str()
        return Axis(keys, 1, [(f"{key}={value}",)], text, is_sweep=False)
    size, exact = _size(override, text)
    values = ((f"{key}={value}",) for value in override.sweep_string_iterator())
    whole = Axis(keys, size, values, text)
    axis = whole if exact else listed(keys, size, values, text, limit)
    if axis.size == 0:
        raise _no_values(text)
    return axis


def _size(override: Override, text: str) -> tuple[int, bool]:
    """How many values a range has, and whether to the last one: floats are rounded on the way.

    All else has its values listed already and need not be counted beforehand.

    Raises:
        ConfigError: it has no end of them.
    """
    value, key = override.value(), override.key_or_group
    if isinstance(value, IntervalSweep):
        raise ConfigError(
            f"{text} has no end of values. Type sweep=linear sweep.key={key} "
            f"sweep.low={value.start} sweep.high={value.end} sweep.num=5."
        )
    if not isinstance(value, RangeSweep):
        return 0, False
    numbers = [value.start or 0, value.stop or 0, value.step]
    exact = all(isinstance(n, int) for n in numbers)
    if value.step == 0 or not (exact or all(map(math.isfinite, numbers))):
        raise ConfigError(f"{text} has no end of values. Type for example {key}=range(1,10,2).")
    start, stop, step = map(Fraction, numbers)
    return max(0, math.ceil((stop - start) / step)), exact
