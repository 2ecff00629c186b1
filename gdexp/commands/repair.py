"""``python -m gdexp repair``: record the end of runs of which nobody knows whether they are alive.

A run whose process has died on this machine is closed by every command. Of a process on another
machine, in another container or before a reboot, only the user can know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gdexp.commands import common
from gdexp.errors import GdexpError, counted

if TYPE_CHECKING:
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.store import Store


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("repair", default="all that are not heard from")
    parser.add_argument("--yes", action="store_true", help="record the end without asking")
    args = parser.parse_args(argv)
    return common.guarded(lambda: _repair(args))


def _repair(args: argparse.Namespace) -> int:
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.liveness import is_silent, silence, under_way

    store = open_existing(args.uri, args.experiment)
    named = [_named(store, prefix) for prefix in dict.fromkeys(args.runs)]
    runs = named or [run for run in under_way(store) if is_silent(run)]
    if not runs:
        print("nothing to repair: every run has an end, or its process is alive", file=sys.stderr)
        return 0
    asks = sys.stdin is not None and sys.stdin.isatty() and not args.yes
    closed = 0
    for run in runs:
        common.show(f"{run.run_id}  {silence(run)}  {run.name}")
        if args.yes or (asks and _agreed()):
            closed += _close(store, run)
    if asks or args.yes:
        print(f"{counted(closed, 'run')} recorded as KILLED", file=sys.stderr)
    else:
        print("if their processes are gone, add --yes: they become KILLED", file=sys.stderr)
    return 0


def _named(store: Store, prefix: str) -> RecordedRun:
    """The run with this id, if it has no end and its process may be gone."""
    from gdexp.tracking.liveness import is_silent
    from gdexp.tracking.query import by_id

    run = by_id(store, prefix, kinds=("run", "sweep"))
    if run.status != "RUNNING":
        raise GdexpError(f"run {prefix!r} has an end: it is {run.status}. Name another.")
    if not is_silent(run):
        raise GdexpError(f"run {prefix!r} is under way: its process is alive. Stop it first.")
    return run


def _agreed() -> bool:
    try:
        print("is its process gone? record it as KILLED? [y/N] ", end="", file=sys.stderr)
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _close(store: Store, run: RecordedRun) -> bool:
    from gdexp.tracking.liveness import close, silence

    return close(store, run, f" ({silence(run)}; recorded by python -m gdexp repair)")
