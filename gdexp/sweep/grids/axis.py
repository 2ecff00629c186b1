"""An axis of a sweep, and the axes of a command line, as in ``lr=0.1,0.2 iters=range(1,5)``."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, RangeSweep

from gdexp.config.overrides import is_hydras, parse
from gdexp.errors import ConfigError

ONE_STORE = ("tracking", "tracking.enabled", "tracking.uri", "tracking.experiment")
EMPTY = re.compile(r"[^=]+=\s*(choice\(\s*\))?\s*")

Overrides: TypeAlias = tuple[str, ...]


class Axis(NamedTuple):
    """Settings that vary together.

    Attributes:
        keys: the names of the settings.
        size: the number of alternatives; of drawn points, the most there can be.
        alternatives: the overrides of each, a one-shot iterable, so that nothing is listed before
            the jobs are counted.
        origin: the override that varies the settings.
        is_sweep: False if the override sets a single value.
    """

    keys: tuple[str, ...]
    size: int
    alternatives: Iterable[Overrides]
    origin: str
    is_sweep: bool = True


def check_axis(key: str, origin: str) -> None:
    """Refuse to vary settings of the sweep itself, its store or Hydra: all its runs share them.

    Raises:
        ConfigError: the key is such a setting; start one sweep for each value.
    """
    if key.partition(".")[0] == "sweep" or key == "tracking.max_rows" or is_hydras(key + "="):
        raise ConfigError(f"{origin} names several values: start one sweep for each of them.")
    if key in ONE_STORE:
        raise ConfigError(
            f"{origin}: all runs of a sweep are recorded in one experiment of one store, so {key} "
            "has one value. Start one sweep for each of them."
        )


def run_overrides(typed: Sequence[str], loader: ConfigLoader | None) -> list[tuple[Override, str]]:
    """The overrides of a command line, parsed and as typed; of each key the last.

    Overrides of the group ``sweep`` itself are left out: they do not describe a run.

    Raises:
        ConfigError: an override cannot be parsed, or has no value.
    """
    overrides: dict[str, tuple[Override, str]] = {}
    for text in typed:
        if EMPTY.fullmatch(text):
            raise _no_values(text)
        override = parse(text, loader)
        if str(override.key_or_group).partition(".")[0] != "sweep":
            overrides[override.get_key_element()] = override, text
        elif override.is_sweep_override():
            check_axis(str(override.key_or_group), text)
    return list(overrides.values())


def _no_values(text: str) -> ConfigError:
    key = text.partition("=")[0]
    return ConfigError(f"{text} gives {key} no value. Type {key}=A or {key}=A,B to run each.")


def axis_of(override: Override, text: str) -> Axis:
    """An override as an axis, in the order and wording of Hydra's basic sweeper.

    Args:
        override: any but a continuous range.
        text: the override as typed.

    Raises:
        ConfigError: it has no values, or never ends.
    """
    key = override.get_key_element()
    keys = (key.lstrip("+~"),)
    if not override.is_sweep_override():
        word = _unescaped(override.get_value_element_as_str())
        return Axis(keys, 1, [(f"{key}={word}",)], text, is_sweep=False)
    value = override.value()
    words: Iterable[str]
    if isinstance(value, RangeSweep):
        bounds = _as_typed(value, keys[0], text)
        size, words = _range(bounds, keys[0], text)
        words = _ordered(words, is_reversed=bounds is not value, is_shuffled=value.shuffle)
    else:
        words = [_unescaped(word) for word in override.sweep_string_iterator()]
        size = len(words)
    if size == 0:
        raise _no_values(text)
    return Axis(keys, size, ((f"{key}={word}",) for word in words), text)


def _ordered(words: Iterable[str], *, is_reversed: bool, is_shuffled: bool) -> Iterator[str]:
    """The values of a range in another order; nothing is listed before the first is asked for."""
    if is_reversed or is_shuffled:
        values = list(words)[:: -1 if is_reversed else 1]
        words = random.sample(values, len(values)) if is_shuffled else values
    yield from words


def _as_typed(value: RangeSweep, key: str, text: str) -> RangeSweep:
    """The range as it was typed, if ``sort`` has turned it round: Hydra then computes other bounds.

    >>> value = parse("lr=sort(range(1,10,3),reverse=true)").value()
    >>> value.start, _as_typed(value, "lr", "lr=sort(range(1,10,3),reverse=true)").start
    (7, 1)
    """
    typed = re.search(r"range\([^()]*\)", text)
    if "sort(" not in text or typed is None:
        return value
    before: Any = parse(f"{key}={typed[0]}").value()
    return value if (before.step > 0) == (value.step > 0) else before


def _unescaped(word: str) -> str:
    r"""A reference as it is typed: Hydra words ``${hydra:job.num}`` as ``$\{hydra\:job.num\}``."""
    reference = re.fullmatch(r"\$\\\{((?:\w+\\:)?[\w./-]+)\\\}", word)
    return f"${{{reference[1]}}}".replace("\\:", ":") if reference else word


def _range(bounds: RangeSweep, key: str, text: str) -> tuple[int, Iterator[str]]:
    """The number of values of ``range(start,stop,step)``, without stop, and the values in order.

    They are computed exactly from the decimals as typed: ``range(0.1,0.4,0.1)`` is 0.1, 0.2, 0.3.
    As in Hydra, they are whole numbers if all three are, else floats.

    Raises:
        ConfigError: the range is infinite.
    """
    numbers = [bounds.start or 0, bounds.stop or 0, bounds.step]
    is_whole = all(isinstance(number, int) for number in numbers)
    if bounds.step == 0 or not (is_whole or all(map(math.isfinite, numbers))):
        raise ConfigError(f"{text} never ends. Type for example {key}=range(1,10,2).")
    start, stop, step = (Fraction(str(number)) for number in numbers)
    size = max(0, math.ceil((stop - start) / step))
    exact = (start + i * step for i in range(size))
    return size, (repr(int(value) if is_whole else float(value)) for value in exact)
