"""Rows of values as text: a table, CSV, JSON, Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from gdexp.descent.numbers import exact, plus_minus, short


class Spread(NamedTuple):
    """A mean and the standard deviation, if there is one, as one cell."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return plus_minus(*self)


Plain: TypeAlias = bool | int | float | str | None
Value: TypeAlias = Plain | Spread
Row: TypeAlias = dict[str, Value]

COLOURS = {"diverged": "red", "failed": "red", "interrupted": "yellow", "running": "cyan"}
ID_LENGTH = 8  # characters of a run's id in a table
MARKED = re.compile(r"[\\`*\[\]<>&|~$]|(?<!\w)_|_(?!\w)")  # what Markdown would read as markup


def text(value: Value) -> str:
    """A value as it is typed on the command line; "" if it is missing."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_number(value: Value) -> bool:
    """Whether a value is a number, which a bool is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_json(value: object) -> str:
    """Rows, or any other value, as JSON with every digit; null for what is not finite."""
    encoding = sys.stdout.encoding or "utf-8"
    is_ascii = encoding.lower().replace("-", "") != "utf8"  # else é might be printed as \\xe9
    finite = _finite(value)
    return json.dumps(finite, indent=2, ensure_ascii=is_ascii, allow_nan=False, default=str)


def _finite(value: object) -> object:
    """The value with null for NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV: a header and one line per row, with every digit."""
    lines = [[*rows[0]], *([text(value) for value in row.values()] for row in rows)]
    return "\n".join(map(_csv_line, lines))


def _csv_line(cells: Sequence[str]) -> str:
    """One line, without its end. A cell with either half of CR LF is quoted."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\r\n").writerow(cells)
    return stream.getvalue().removesuffix("\r\n")


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a table in GitHub's Markdown, with what :func:`as_table` shows."""
    columns = [*rows[0]]
    ends = ["---:" if _is_numeric(rows, column) else "---" for column in columns]
    lines = [
        [_escaped(column) for column in columns],
        ends,
        *([_escaped(cell(key, value)) for key, value in row.items()] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(content: str) -> str:
    """A cell whose characters stand for themselves; its lines are separated by ``<br>``."""
    return "<br>".join(MARKED.sub(r"\\\g<0>", line) for line in content.splitlines())


def as_table(rows: Sequence[Row]) -> str:
    """The rows as a table, with shortened ids and six digits of each metric.

    A terminal limits its width, so the widest cells are wrapped; otherwise it is as wide as its
    content.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else 100_000
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in rows[0]:
        table.add_column(
            column,
            justify="right" if _is_numeric(rows, column) else "left",
            overflow="fold",
        )
    for row in rows:
        colour = COLOURS.get(text(row.get("outcome")))
        table.add_row(*(cell(column, row[column]) for column in row), style=colour)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(map(str.rstrip, capture.get().splitlines())).strip("\n")


def _is_numeric(rows: Sequence[Row], column: str) -> bool:
    """Whether all values that a column has are numbers, or means with their deviations."""
    values = [row[column] for row in rows if row[column] is not None]
    return all(is_number(value) or isinstance(value, Spread) for value in values)


def cell(column: str, value: Value) -> str:
    """A value as a table shows it."""
    if column == "run_id":
        return text(value)[:ID_LENGTH]
    if isinstance(value, float):  # a metric, or a param, which keeps every digit
        return short(value) if "/" in column else exact(value)
    return text(value)


FORMATS = {"csv": as_csv, "json": as_json, "markdown": as_markdown}
"""The formats of which stdout holds nothing else, by the name of their flag."""
