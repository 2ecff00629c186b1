"""``python -m gdexp compare``: recorded runs side by side, as a table."""

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
from gdexp.descent.numbers import short
from gdexp.errors import GdexpError, did_you_mean

if TYPE_CHECKING:
    from gdexp.tracking.run_record import RecordedRun

Value: TypeAlias = bool | int | float | str | None
Row: TypeAlias = dict[str, Value]

RESULTS = ("final/loss", "final/prediction", "outcome")
COLOURS = {"diverged": "red", "failed": "red", "interrupted": "yellow", "running": "cyan"}
SILENT = "not heard from"
ID_LENGTH = 8  # characters of a run's id in the table


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    args = _arguments(argv)
    return common.guarded(lambda: _compare(args))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = common.parser("compare")
    parser.add_argument(
        "--sweep", metavar="ID", help="the runs of this sweep; last: the newest sweep"
    )
    parser.add_argument("--last", type=_count, metavar="N", help="the newest N runs")
    parser.add_argument("--all", action="store_true", help="all runs of the experiment")
    parser.add_argument("--sort", metavar="KEY", help="a column, param or metric (default: start)")
    parser.add_argument("--desc", action="store_true", help="in descending order")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    form.add_argument("--json", action="store_true", help="a list of objects")
    args = parser.parse_args(argv)
    if sum((bool(args.runs), args.sweep is not None, args.last is not None, args.all)) > 1:
        parser.error("select runs by only one of RUN_ID, --sweep, --last and --all")
    return args


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)


def _compare(args: argparse.Namespace) -> int:
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select

    store = open_existing(args.uri, args.experiment)
    runs = select(store, args.runs, sweep=args.sweep, last=args.last, everything=args.all)
    columns = shown_columns(runs)
    rows = [row(run) for run in runs]
    if args.sort:
        rows = ordered(rows, args.sort, descending=args.desc)
        columns = columns if args.sort in columns else [*columns[:-1], args.sort, columns[-1]]
    elif args.desc:
        rows.reverse()
    rows = [{column: row.get(column) for column in columns} for row in rows]
    common.show(as_json(rows) if args.json else as_csv(rows) if args.csv else as_table(rows))
    if not (args.json or args.csv) and (best := smallest(rows)):
        print(best, file=sys.stderr)
    common.report_silent(runs)
    return 0


def smallest(rows: Sequence[Row]) -> str:
    """Which of several runs has the smallest final loss; "" if fewer than two have one.

    Runs that diverged do not count. Runs tie if their printed digits are equal.
    """
    from gdexp.sweep.best import best_of, is_candidate

    best = best_of(rows)
    if sum(map(is_candidate, rows)) < 2:
        return ""
    ids = " ".join(text(row["run_id"])[:ID_LENGTH] for row in best)
    loss = _cell("final/loss", best[0]["final/loss"])
    return f"smallest final/loss: {loss}, {f'{len(best)} runs tie' if best[1:] else 'run'}: {ids}"


def row(run: RecordedRun) -> Row:
    """A run by column: its id, params, metrics, outcome and name."""
    from gdexp.tracking.liveness import is_silent

    return {
        "run_id": run.run_id,
        **{key: parsed(text) for key, text in run.params.items()},
        **{key: v if math.isfinite(v) else None for key, v in run.metrics.items()},
        "outcome": SILENT if is_silent(run) else run.outcome,
        "name": run.name,
    }


def parsed(text: str) -> Value:
    """The value of a param, which the store keeps as a string.

    >>> parsed("0.05"), parsed("true"), parsed("null"), parsed("manual"), parsed("[1, 2]")
    (0.05, True, None, 'manual', '[1, 2]')
    """
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


def shown_columns(runs: Sequence[RecordedRun]) -> list[str]:
    """The columns to show: the id, the params that differ, the results and the name."""
    from gdexp.tracking.query import MAIN, differing

    return ["run_id", *(differing([run.params for run in runs]) or MAIN), *RESULTS, "name"]


def ordered(rows: Sequence[Row], key: str, *, descending: bool) -> list[Row]:
    """Sort rows by a column: numbers by size, then strings; rows without a value come last.

    Raises:
        GdexpError: no row has this key.
    """
    known = list(dict.fromkeys(name for row in rows for name in row))
    if key not in known:
        raise GdexpError(
            f"--sort: no run has {key!r}. Sort by one of: {', '.join(known)}."
            f"{did_you_mean(key, known)}"
        )
    present = [row for row in rows if row.get(key) is not None]
    missing = [row for row in rows if row.get(key) is None]
    return sorted(present, key=lambda row: _rank(row[key]), reverse=descending) + missing


def _rank(value: Value) -> tuple[bool, float, str]:
    """A sort key: numbers by size, before strings."""
    number = _is_number(value)
    return not number, float(value or 0) if number else 0.0, "" if number else text(value)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Value) -> str:
    """A value as it is typed on the command line; "" if it is missing."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list of objects."""
    return json.dumps(rows, indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV: a header and one line per run."""
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(rows[0])
    lines.writerows([text(value) for value in row.values()] for row in rows)
    return stream.getvalue().rstrip("\n")


def as_table(rows: Sequence[Row]) -> str:
    """The rows as a table, with shortened ids and six digits of each metric.

    A terminal limits its width, so names are wrapped; otherwise it is as wide as its content.
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
        return text(value)[:ID_LENGTH]
    if isinstance(value, float) and "/" in column:  # a metric; params keep every digit
        return short(value)
    return text(value)
