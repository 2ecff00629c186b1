"""Overrides from Python values: what ``run(lr=0.1, updater={"momentum": 0.9})`` types."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from gdexp.config import schema
from gdexp.config.overrides import assignment, is_hydras, readable
from gdexp.errors import ConfigError

MAX_RUNS = 1_000_000  # the default of sweep.max_runs
VAST = 10**100  # runs


def overrides(
    words: Iterable[Any], settings: Mapping[str, Any], *, axes: bool = False
) -> list[str]:
    """The overrides that stand for the arguments of a call.

    Args:
        words: overrides, one string each, or lists of them.
        settings: values by key; a dictionary holds the settings of a group.
        axes: whether a list is the axis of a sweep, one run for each of its values.

    Raises:
        ConfigError: a word is not a string, or a value cannot be typed.

    >>> overrides(["step=model"], {"lr": 0.1, "updater": {"momentum": 0.9}, "dtype": "float64"})
    ['step=model', 'lr=0.1', 'updater.momentum=0.9', 'dtype=float64']
    >>> overrides([], {"lr": [0.1, 0.2], "data": {"path": "my data, old.csv"}}, axes=True)
    ['lr=0.1,0.2', "data.path='my data, old.csv'"]
    """
    typed = list(_words(words))
    if axes:
        _check_size(typed, dict(_flat(settings)))
    return [*typed, *(_override(k, v, axes) for k, v in _flat(settings))]


def _check_size(words: Iterable[str], settings: Mapping[str, Any]) -> None:
    """Refuse lists that are more runs than sweep.max_runs, before their values are typed."""
    limits = [word.partition("=")[2] for word in words if word.startswith("sweep.max_runs=")]
    limit = settings.get("sweep.max_runs", limits[-1] if limits else MAX_RUNS)
    axes = [value for key, value in settings.items() if not key.startswith("sweep.")]
    size = math.prod(map(_size, axes))
    if str(limit).isdecimal():
        check_count(size, int(limit))


def check_count(size: int, limit: int) -> None:
    """Refuse a sweep of more runs than ``sweep.max_runs``.

    Raises:
        ConfigError: says what to type.
    """
    if size >= VAST:  # its digits would fill the screen
        power = math.floor(math.log10(size))
        raise ConfigError(
            f"the sweep has more than 10^{power} runs, and sweep.max_runs={limit}. "
            "Type fewer values."
        )
    if size > limit:
        raise ConfigError(
            f"the sweep has {size} runs, and sweep.max_runs={limit}. "
            f"Type sweep.max_runs={size} to run them all."
        )


def _size(value: Any) -> int:
    """The number of values of an axis."""
    try:
        return 1 if isinstance(value, str | bytes | Mapping) else len(value)
    except TypeError:  # a number, or an array without dimensions
        return 1
    except OverflowError:  # a range longer than any list
        return int((value[-1] - value[0]) // value.step + 1)


def _words(words: Iterable[Any]) -> Iterator[str]:
    for word in words:
        if isinstance(word, str):
            yield readable(word)
        elif isinstance(word, list | tuple):
            yield from _words(word)
        else:
            raise ConfigError(
                f"{word!r} is not an override. Type strings, as in 'lr=0.05', or keywords, as in "
                "lr=0.05."
            )


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values; the settings of a group by their full keys."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _override(key: str, value: Any, axes: bool) -> str:
    value = _plain(key, value)
    is_axis = axes and isinstance(value, list) and not key.startswith("sweep.")
    if not is_axis or is_hydras(f"{key}="):
        return f"{key}={_typed(key, value)}"
    if not value:
        raise ConfigError(f"{key}: the list is empty. Give it a value for each run.")
    return f"{key}={','.join(_typed(key, element) for element in value)}"


def _plain(key: str, value: Any) -> Any:
    """The value in Python's own types: arrays, tensors and ranges become lists, paths strings."""
    if callable(to_list := getattr(value, "tolist", None)):  # NumPy, torch, pandas
        return to_list()
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "columns"):
        raise ConfigError(
            f"{key}: a data frame is not a setting. Save it, and type data='csv' with data.path, "
            "or return it from a data source of your own."
        )
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(key, inner) for name, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_plain(key, element) for element in value]
    raise ConfigError(
        f"{key}: {value!r} cannot be typed as a setting. Give a number, a string, True, False, "
        "None, or a list of them."
    )


def _typed(key: str, value: Any) -> str:
    """A value as typed on the command line."""
    if isinstance(value, str):
        return value if _reads_back(key, value) else _quoted(value)
    if isinstance(value, list):
        return f"[{','.join(_typed(key, element) for element in value)}]"
    if isinstance(value, dict):
        pairs = (f"{_typed(key, k)}:{_typed(key, v)}" for k, v in value.items())
        return f"{{{','.join(pairs)}}}"
    return schema.shown(value)


def _reads_back(key: str, text: str) -> bool:
    """Whether Hydra reads these characters as this very string, so that they need no quotes."""
    if not text or any(character in text for character in "\\,[]{}"):
        return False
    try:
        return assignment(f"{key}={text}") == (key, text)
    except ConfigError:
        return False


def _quoted(text: str) -> str:
    quoted: str = QuotedString(text, Quote.single).with_quotes()
    return quoted
