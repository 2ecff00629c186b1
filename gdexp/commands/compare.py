"""``python -m gdexp compare``: the runs of a sweep side by side, in the terminal."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from gdexp.commands import common
from gdexp.errors import GdexpError, did_you_mean
from gdexp.tracking import query

if TYPE_CHECKING:
    from mlflow.entities import Run

Value: TypeAlias = bool | int | float | str | None
Row: TypeAlias = dict[str, Value]

RESULTS = ("final/loss", "final/prediction", "outcome")
ALIKE = ("step", "lr", "iters")  # shown where no param differs
COLOURS = {"diverged": "red", "failed": "red", "interrupted": "yellow", "running": "cyan"}
SHORT = 8  # characters of a run's id in the table


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    args = _arguments(argv)
    return common.guarded(lambda: _compare(args))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = common.parser("compare")
    parser.add_argument("--sweep", metavar="ID", help="the runs of this sweep, or of the last")
    parser.add_argument("--last", type=_count, metavar="N", help="the newest N runs")
    parser.add_argument("--all", action="store_true", help="all runs of the experiment")
    parser.add_argument("--sort", metavar="KEY", help="a column, param or metric (default: start)")
    parser.add_argument("--desc", action="store_true", help="the largest first")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    form.add_argument("--json", action="store_true", help="a list of objects")
    args = parser.parse_args(argv)
    if sum((bool(args.runs), args.sweep is not None, args.last is not None, args.all)) > 1:
        parser.error("name the runs in one way: RUN_ID, --sweep, --last or --all")
    return args


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)


def _compare(args: argparse.Namespace) -> int:
    store = query.open_store(args.uri, args.experiment)
    runs = query.select(store, args.runs, sweep=args.sweep, last=args.last, everything=args.all)
    columns = shown_columns(runs)
    rows = [row(run) for run in runs]
    if args.sort:
        rows = ordered(rows, args.sort, descending=args.desc)
        columns = columns if args.sort in columns else [*columns[:-1], args.sort, columns[-1]]
    elif args.desc:
        rows.reverse()
    rows = [{column: row.get(column) for column in columns} for row in rows]
    common.show(as_json(rows) if args.json else as_csv(rows) if args.csv else as_table(rows))
    return 0


def row(run: Run) -> Row:
    """All that is known of a run, by name: its id, params, metrics, outcome and name."""
    found: Row = {"run_id": run.info.run_id}
    found |= {key: parsed(text) for key, text in run.data.params.items()}
    found |= {key: v if math.isfinite(v) else None for key, v in run.data.metrics.items()}
    outcome = run.data.tags.get("gdexp.outcome", run.info.status.lower())
    return found | {"outcome": outcome, "name": run.info.run_name}


def parsed(text: str) -> Value:
    """A param's text as the value it was.

    >>> parsed("0.05"), parsed("true"), parsed("null"), parsed("manual"), parsed("[1, 2]")
    (0.05, True, None, 'manual', '[1, 2]')
    """
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


def shown_columns(runs: Sequence[Run]) -> list[str]:
    """The id, the params that differ, the results and the name.

    A param that some runs lack (updater.momentum belongs to SGD alone) differs only if those that
    have it differ: the choice that brings it along has a column already. A component's setting
    that repeats the run's own (updater.lr is lr) is left out.
    """
    values: dict[str, dict[str, str]] = {}
    for run in runs:
        for key, text in run.data.params.items():
            values.setdefault(key, {})[run.info.run_id] = text

    def repeats(key: str) -> bool:
        whole = values.get(key.rpartition(".")[2], {}) if "." in key else {}
        return values[key].items() <= whole.items()

    differ = [k for k, found in values.items() if len(set(found.values())) > 1 and not repeats(k)]
    differ.sort(key=lambda key: key not in ALIKE)
    return ["run_id", *(differ or ALIKE), *RESULTS, "name"]


def ordered(rows: Sequence[Row], key: str, *, descending: bool = False) -> list[Row]:
    """The rows by one of their values, numbers as numbers, those without it last.

    Raises:
        GdexpError: no row has this key.
    """
    known = list(dict.fromkeys(name for row in rows for name in row))
    if key not in known:
        raise GdexpError(
            f"--sort: no run has {key!r}. Sort by one of: {', '.join(known)}."
            f"{did_you_mean(key, known)}"
        )
    there = [row for row in rows if row.get(key) is not None]
    missing = [row for row in rows if row.get(key) is None]
    return sorted(there, key=lambda row: _rank(row[key]), reverse=descending) + missing


def _rank(value: Value) -> tuple[bool, float, str]:
    """Numbers by size and before words."""
    number = _is_number(value)
    return not number, float(value or 0) if number else 0.0, "" if number else text(value)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Value) -> str:
    """A value as one would type it; nothing for a missing one."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects."""
    return json.dumps(rows, indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row]) -> str:
    """A header and a line for each run."""
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(rows[0])
    lines.writerows([text(value) for value in row.values()] for row in rows)
    return stream.getvalue().rstrip("\n")


def as_table(rows: Sequence[Row]) -> str:
    """A table for the eye: ids cut short, six digits of a metric, as wide as it needs to be.

    On a terminal it is as wide as the terminal, and only names are wrapped.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else 100_000
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in rows[0]:
        numbers = all(_is_number(row[column]) for row in rows if row[column] is not None)
        table.add_column(
            column,
            justify="right" if numbers else "left",
            no_wrap=column != "name",
            overflow="fold",
        )
    for row in rows:
        colour = COLOURS.get(text(row["outcome"]))
        table.add_row(*(_cell(column, row[column]) for column in row), style=colour)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(map(str.rstrip, capture.get().splitlines())).strip("\n")


def _cell(column: str, value: Value) -> str:
    if column == "run_id":
        return text(value)[:SHORT]
    metric = isinstance(value, float) and "/" in column  # params keep every digit
    return f"{value:.6g}" if metric else text(value)
