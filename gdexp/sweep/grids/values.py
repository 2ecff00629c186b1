"""The values of the grids of the group ``sweep``, as overrides."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from gdexp.config import schema
from gdexp.config.overrides import STRINGS, parse, readable
from gdexp.config.passwords import of_words
from gdexp.config.paths import absolute
from gdexp.errors import ConfigError, did_you_mean
from gdexp.sweep.grids.axis import Axis
from gdexp.sweep.grids.ranges import is_whole, n_values

DIGITS = 12  # significant digits: 0.01 instead of 0.010000000000000002
WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_][\w./-]*", re.IGNORECASE | re.ASCII)
NAME = re.compile(r"\+{0,2}[A-Za-z_]\w*([./@:-]\w+)*", re.ASCII)
ONE_VALUE = re.compile(r"[\w.+-]+", re.ASCII)


def grid_axes(sweep: Mapping[str, Any], option: str) -> list[Axis]:
    """The axis of a grid whose settings have been checked; none for ``sweep=grid``.

    Its alternatives raise ConfigError if rounding makes two values equal, or a line of the CSV file
    is invalid.

    Raises:
        ConfigError: the CSV file cannot be read, or has no jobs.
    """
    keys: tuple[str, ...]
    rows: Iterable[Sequence[str]]
    match sweep["_kind_"]:
        case "log" | "linear":
            key = sweep["key"]
            spaced = ((f"{key}={value}",) for value in _spaced(sweep))
            return [Axis((key,), _count(sweep), spaced, f"sweep={option}")]
        case "zip":
            keys = tuple(map(str, sweep["lists"]))
            size = min(map(len, sweep["lists"].values()))
            rows = zip(*(map(typed, values) for values in sweep["lists"].values()), strict=True)
        case "csv":
            path = absolute(sweep["path"])
            keys, size = _head(path)
            rows = _jobs(path, keys)
        case _:
            return []
    alternatives = (
        of_words(f"{key}={value}" for key, value in zip(keys, row, strict=True)) for row in rows
    )
    return [Axis(keys, size, alternatives, f"sweep={option}")]


def typed(value: Any) -> str:
    """Write a value so that Hydra reads it back as the same value.

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


def _count(sweep: Mapping[str, Any]) -> int:
    """The number of values of a log or linear grid, which are not listed for that."""
    is_exact = not is_whole(sweep) or sweep["num"] > sweep["max_runs"]
    return int(sweep["num"]) if is_exact else sum(1 for _ in _spaced(sweep))


def _spaced(sweep: Mapping[str, Any]) -> Iterator[str]:
    r"""The values of a log or linear grid.

    With ``t = 0, 1/(num-1), ..., 1``: :math:`low^{1-t} \cdot high^t` or ``(1-t) * low + t * high``,
    the latter in exact arithmetic on the decimals as typed.
    """
    low, high, last = sweep["low"], sweep["high"], sweep["num"] - 1
    is_log = sweep["_kind_"] == "log"
    between = _geometric(low, high, last) if is_log else _arithmetic(low, high, last)
    if is_whole(sweep):
        whole = itertools.chain([low], map(round, between), [high])
        yield from (repr(value) for value, _ in itertools.groupby(whole))
        return
    yield repr(low)
    inner = (_rounded(value, low, high) for value in between)
    values = itertools.chain([low], inner, [high] if last else [])
    for before, value in itertools.pairwise(values):
        if before >= value:
            raise ConfigError(
                f"sweep.num: {last + 1} values from {low} to {high} are not all different. "
                "Type fewer, or ends further apart."
            )
        yield repr(value)


def _geometric(low: float, high: float, last: int) -> Iterator[float]:
    start, stop = math.log(low), math.log(high)
    return (math.exp(start + (stop - start) * i / last) for i in range(1, last))


def _arithmetic(low: float, high: float, last: int) -> Iterator[Fraction]:
    start, stop = Fraction(str(low)), Fraction(str(high))
    return (start + (stop - start) * i / last for i in range(1, last))


def _rounded(value: float | Fraction, low: float, high: float) -> float:
    """Round to DIGITS significant digits; to an int if it is whole and both ends are ints."""
    rounded = value if value == round(value) else float(f"{float(value):.{DIGITS}g}")
    is_int = isinstance(low, int) and isinstance(high, int) and rounded == round(rounded)
    return round(rounded) if is_int else float(rounded)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The numbered lines of a CSV file, without blank ones.

    Raises:
        ConfigError: the file does not exist or cannot be read.
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
            yield from ((number, cells) for number, cells in stripped if any(cells))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"sweep.path: {path} cannot be read as a CSV file ({error}).") from error


def _head(path: Path) -> tuple[tuple[str, ...], int]:
    """The settings named by the first line of a CSV file, and the number of other lines.

    Raises:
        ConfigError: the file cannot be read, has no other lines, or a setting is malformed or named
            twice.
    """
    lines = _lines(path)
    first, keys = next(lines, (1, []))
    count = sum(1 for _ in lines)
    if not count:
        raise ConfigError(
            f"sweep.path: {path.name} has no jobs. Its first line names settings, as in lr,iters, "
            "and each further line gives their values, as in 0.01,20."
        )
    for key in keys:
        if not NAME.fullmatch(key):
            raise ConfigError(
                f"sweep.path: {path.name}, line {first}: there is no setting {key!r}. "
                "python -m gdexp --help lists every setting."
            )
        if keys.count(key) > 1:
            raise ConfigError(f"sweep.path: {path.name} names {key} twice. Leave one of them out.")
    return tuple(keys), count


def _jobs(path: Path, keys: Sequence[str]) -> Iterator[list[str]]:
    """The values of these settings in each line of a CSV file but the first.

    Raises:
        ConfigError: a line lacks a value or has too many.
    """
    for number, cells in itertools.islice(_lines(path), 1, None):
        where = f"sweep.path: {path.name}, line {number}"
        if len(cells) != len(keys):
            raise ConfigError(
                f"{where}: {n_values(len(cells))} for the settings {', '.join(keys)}. "
                f"Type {len(keys)} of them."
            )
        for i, (key, cell) in enumerate(zip(keys, cells, strict=True)):
            if key in STRINGS or not ONE_VALUE.fullmatch(cell):
                cells[i] = readable(f"{key}={cell}").removeprefix(f"{key}=")
                _check_cell(key, cells[i], where)
        yield cells


def _check_cell(key: str, cell: str, where: str) -> None:
    """Refuse a cell that is empty, cannot be parsed, or has several values."""
    if not cell:
        raise ConfigError(f"{where}: {key} has no value. Type one, or '' for an empty string.")
    try:
        override = parse(f"{key}={cell}")
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if override.is_sweep_override():
        raise ConfigError(f"{where}: {key}={cell} names several values. Give each a line.")
