"""``python -m gdexp compare``: recorded runs side by side, as a table."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gdexp.commands import common, formats
from gdexp.commands.formats import ID_LENGTH, Plain, Row, Value, cell, is_number, text
from gdexp.errors import GdexpError, did_you_mean

if TYPE_CHECKING:
    from gdexp.tracking.run_record import RecordedRun

RESULTS = ("final/loss", "final/prediction", "outcome")
SILENT = "not heard from"
SORT = "--sort"


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
    parser.add_argument(
        "--over",
        type=lambda word: [*dict.fromkeys(key for key in map(str.strip, word.split(",")) if key)],
        metavar="KEY[,KEY]",
        help="mean and standard deviation over these settings, such as seed: a row for each group "
        "of runs that differ only in them",
    )
    parser.add_argument(
        SORT, metavar="KEY", help="a column, param or metric; -KEY: descending (default: start)"
    )
    parser.add_argument("--desc", action="store_true", help="in descending order")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    form.add_argument("--json", action="store_true", help="a list of objects")
    form.add_argument("--markdown", action="store_true", help="a table in Markdown")
    args = parser.parse_args(_joined(argv))
    if sum((bool(args.runs), args.sweep is not None, args.last is not None, args.all)) > 1:
        parser.error("select runs by only one of RUN_ID, --sweep, --last and --all")
    if args.sort and args.sort.startswith("-"):
        args.sort, args.desc = args.sort[1:], True
    return args


def _joined(argv: Sequence[str]) -> list[str]:
    """The words with ``--sort -KEY`` as one, which argparse would take for two options."""
    words: list[str] = []
    for word in argv:
        is_key = word.startswith("-") and not word.startswith("--") and word not in ("-", "-h")
        if is_key and words[-1:] == [SORT]:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)


def _compare(args: argparse.Namespace) -> int:
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select, without_repeated

    store = open_existing(args.uri, args.experiment)
    runs = select(store, args.runs, sweep=args.sweep, last=args.last, everything=args.all)
    form = next((name for name in formats.FORMATS if getattr(args, name)), None)
    if args.over is None:
        rows, best = _rows(runs, args.sort, descending=args.desc)
    else:
        from gdexp.commands.over import groups

        is_flat = form in ("csv", "json")
        rows = [row(run) for run in without_repeated(runs)]
        rows, best = groups(rows, args.over, args.sort, descending=args.desc, is_flat=is_flat)
    common.show((formats.FORMATS[form] if form else formats.as_table)(rows))
    if best and form is None:
        print(best, file=sys.stderr)
    common.report_silent(runs)
    return 0


def _rows(
    runs: Sequence[RecordedRun], key: str | None, *, descending: bool
) -> tuple[list[Row], str]:
    """The rows of runs in order, and the sentence on the best."""
    columns = shown_columns(runs)
    rows = in_order([row(run) for run in runs], key, descending=descending)
    if key and key not in columns:
        columns.insert(-1, key)
    rows = [{column: row.get(column) for column in columns} for row in rows]
    return rows, smallest(rows)


def smallest(rows: Sequence[Row]) -> str:
    """Which of several runs has the smallest final loss; "" if fewer than two have one.

    Runs that diverged do not count. Runs tie if their printed digits are equal.
    """
    from gdexp.sweep.best import best_of, is_candidate

    best = best_of(rows)
    if sum(map(is_candidate, rows)) < 2:
        return ""
    ids = " ".join(text(row["run_id"])[:ID_LENGTH] for row in best)
    loss = cell("final/loss", best[0]["final/loss"])
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


def parsed(text: str) -> Plain:
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
    from gdexp.config.differing import MAIN, differing

    return ["run_id", *(differing([run.params for run in runs]) or MAIN), *RESULTS, "name"]


def in_order(rows: Sequence[Row], key: str | None, *, descending: bool) -> list[Row]:
    """Rows in the order that was asked for: by a key, or as they started."""
    if key is None:
        return list(reversed(rows)) if descending else list(rows)
    return ordered(rows, key, descending=descending)


def ordered(rows: Sequence[Row], key: str, *, descending: bool) -> list[Row]:
    """Sort rows by a column: numbers by size, then strings; rows without a value come last.

    Raises:
        GdexpError: no row has this key.
    """
    check_key(key, list(dict.fromkeys(name for row in rows for name in row)), of="run")
    present = [row for row in rows if row.get(key) is not None]
    missing = [row for row in rows if row.get(key) is None]
    return sorted(present, key=lambda row: _rank(row[key]), reverse=descending) + missing


def check_key(key: str, known: Sequence[str], *, of: str) -> None:
    """Check a key to sort by.

    Args:
        key: the key.
        known: those that there are.
        of: what the rows are: run or group.

    Raises:
        GdexpError: it is none of them.
    """
    if key not in known:
        raise GdexpError(
            f"{SORT}: no {of} has {key!r}. Sort by one of: {', '.join(known)}."
            f"{did_you_mean(key, known)}"
        )


def _rank(value: Value) -> tuple[bool, float, str]:
    """A sort key: numbers by size, before strings."""
    if isinstance(value, int | float) and is_number(value):
        return False, value, ""  # a whole number may be too large for a float
    return True, 0.0, text(value)
