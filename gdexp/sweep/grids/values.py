"""What the grids of the group ``sweep`` make of their settings: overrides, as typed."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString

from gdexp.config import schema
from gdexp.config.paths import absolute
from gdexp.errors import ConfigError, did_you_mean
from gdexp.sweep.grids.axis import Axis, Overrides, listed, parsed
from gdexp.sweep.grids.ranges import check_known, is_whole, kind, max_runs, values

DIGITS = 12  # of a value between the ends: 0.01, where the formula gives 0.010000000000000002
WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_][\w./-]*", re.IGNORECASE | re.ASCII)
NAME = re.compile(r"\+{0,2}[A-Za-z_]\w*([./@:-]\w+)*", re.ASCII)
ONE_VALUE = re.compile(r"[\w.+-]+", re.ASCII)


def grid_axes(sweep: Mapping[str, Any], option: str, known: Collection[str] | None) -> list[Axis]:
    """The axis of a grid; none for ``sweep=grid``.

    Raises:
        ConfigError: its values cannot be told apart, or its file is refused.
    """
    keys: tuple[str, ...]
    rows: Iterable[Sequence[str]]
    match kind(sweep, option):
        case "log" | "linear" as scale:
            keys, size = (sweep["key"],), sweep["num"]
            alternatives = ((f"{keys[0]}={value}",) for value in _spaced(sweep, scale))
            return [listed(keys, size, alternatives, f"sweep={option}", max_runs(sweep))]
        case "zip":
            keys = tuple(map(str, sweep["lists"]))
            rows = zip(*(map(typed, values) for values in sweep["lists"].values()), strict=True)
        case "csv":
            path = absolute(sweep["path"])
            keys, rows = _jobs(_lines(path), path.name, known)
        case _:
            return []
    found = [_overrides(keys, row) for row in rows]
    return [Axis(keys, len(found), found, f"sweep={option}")]


def typed(value: Any) -> str:
    """A value as one would type it, so that Hydra reads it as what it is.

    >>> [typed(value) for value in (0.1, True, None, "manual", "1", "a b", [1, 2])]
    ['0.1', 'true', 'null', 'manual', "'1'", "'a b'", '[1,2]']
    """
    if isinstance(value, str):
        return value if WORD.fullmatch(value) else QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{typed(part)}' for name, part in value.items())}}}"
    return schema.shown(value)


def _overrides(keys: Sequence[str], values: Sequence[str]) -> Overrides:
    return tuple(f"{key}={value}" for key, value in zip(keys, values, strict=True))


def _spaced(sweep: Mapping[str, Any], scale: str) -> Iterator[str]:
    r"""The values of a log or linear grid.

    With ``t = 0, 1/(num-1), ..., 1``: :math:`low^{1-t} \cdot high^t` or ``(1-t) * low + t * high``,
    the latter exactly, on the decimal digits one typed.
    """
    low, high, last = sweep["low"], sweep["high"], sweep["num"] - 1
    between = _geometric(low, high, last) if scale == "log" else _arithmetic(low, high, last)
    if is_whole(sweep):
        found = list(dict.fromkeys([low, *map(round, between), high]))
    else:
        found = [low, *(_rounded(value, low, high) for value in between), high][: last + 1]
        if any(a >= b for a, b in itertools.pairwise(found)):
            raise ConfigError(
                f"sweep.num: {last + 1} values from {low} to {high} cannot be told apart. "
                "Type fewer, or ends further apart."
            )
    yield from map(repr, found)


def _geometric(low: float, high: float, last: int) -> Iterator[float]:
    start, stop = math.log(low), math.log(high)
    return (math.exp(start + (stop - start) * i / last) for i in range(1, last))


def _arithmetic(low: float, high: float, last: int) -> Iterator[Fraction]:
    start, stop = Fraction(str(low)), Fraction(str(high))
    return (start + (stop - start) * i / last for i in range(1, last))


def _rounded(value: float | Fraction, low: float, high: float) -> float:
    """A value between the ends, written as a whole number where they are and it is."""
    found = value if value == round(value) else float(f"{float(value):.{DIGITS}g}")
    whole = isinstance(low, int) and isinstance(high, int) and found == round(found)
    return round(found) if whole else float(found)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank, with their numbers.

    Raises:
        ConfigError: it does not exist or cannot be read.
    """
    if not path.exists():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.csv")))
        raise ConfigError(f"sweep.path: there is no file {path}.{near or ' Name a CSV file.'}")
    if path.is_dir():
        raise ConfigError(f"sweep.path: {path} is a folder. Name a CSV file, as in jobs.csv.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            stripped = ((lines.line_num, [cell.strip() for cell in line]) for line in lines)
            return [(number, cells) for number, cells in stripped if any(cells)]
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"sweep.path: {path} cannot be read as a CSV file ({error}).") from error


def _jobs(
    lines: Sequence[tuple[int, list[str]]], name: str, known: Collection[str] | None
) -> tuple[tuple[str, ...], list[list[str]]]:
    """The settings in the first line, and the values in each of the others.

    Raises:
        ConfigError: a setting is unknown or named twice, or a line is not one value for each.
    """
    if len(lines) < 2:
        raise ConfigError(
            f"sweep.path: {name} has no jobs. Its first line names settings, as in lr,iters, and "
            "each of the others gives their values, as in 0.01,20."
        )
    (_, keys), *others = lines
    for key in keys:
        names = known if known is not None or NAME.fullmatch(key) else ()
        check_known(key, names, f"sweep.path: {name}, line {lines[0][0]}")
        if keys.count(key) > 1:
            raise ConfigError(f"sweep.path: {name} names {key} twice. Leave one of them out.")
    for number, cells in others:
        where = f"sweep.path: {name}, line {number}"
        if len(cells) != len(keys):
            raise ConfigError(
                f"{where}: {values(len(cells))} for the settings {', '.join(keys)}. "
                f"Type {len(keys)} of them."
            )
        for key, cell in zip(keys, cells, strict=True):
            if not ONE_VALUE.fullmatch(cell):
                _check_cell(key, cell, where)
    return tuple(keys), [cells for _, cells in others]


def _check_cell(key: str, cell: str, where: str) -> None:
    """Refuse what is not one value.

    Raises:
        ConfigError: it is none, or several, or cannot be read.
    """
    if not cell:
        raise ConfigError(f"{where}: {key} has no value. Type one, or '' for an empty text.")
    try:
        override = parsed(f"{key}={cell}", OverridesParser.create())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if override.is_sweep_override():
        raise ConfigError(f"{where}: {key}={cell} names several values. Give each a line.")
