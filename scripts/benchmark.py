"""Measures gdexp's speed as ratios to other programs, each with a target.

    python scripts/benchmark.py --only "record, step=manual"    rows whose names contain this
    python scripts/benchmark.py --only "sweep, " --quick        a rough look at a group
    python scripts/benchmark.py                                 all rows: an hour on two cores

Both sides of a row run alternately and the medians of their times are compared, so that other load
on the machine affects both alike. On a busy machine, OMP_NUM_THREADS=1 keeps torch's threads from
waiting for each other. To add a row, add a Row to the ROWS of a module.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bench_data
import bench_diabetes
import bench_fits
import bench_insight
import bench_loops
import bench_record
import bench_startup
import bench_sweeps
import bench_tracking
from bench_measure import ROOT, Bench, Row, UnavailableError

ROWS = [
    *(*bench_loops.ROWS, *bench_data.ROWS, *bench_fits.ROWS, *bench_record.ROWS),
    *(*bench_startup.ROWS, *bench_tracking.ROWS, *bench_sweeps.ROWS),
    *(*bench_diabetes.ROWS, *bench_insight.ROWS),
]
HEADS = ("what", "against", "measured", "target", "", "how")


def main() -> None:
    """Measure the chosen rows and print the table, line by line."""
    args = _arguments()
    rows = _chosen(args.only)
    sys.path.insert(0, str(ROOT))
    widths = _widths(rows)
    _print(HEADS, widths)
    with tempfile.TemporaryDirectory(prefix="gdexp-benchmark-") as folder:
        bench = Bench(Path(folder), args.quick, args.long)
        for row in rows:
            _print(_cells(row, bench), widths)
    print(_machine())


def _chosen(names: Sequence[str]) -> Sequence[Row]:
    """The rows whose names contain one of these; all rows, if there are none."""
    called = {f"{row.what}, {row.against}": row for row in ROWS}
    for name in names:
        if not any(name in each for each in called):
            known = "; ".join(row.what for row in ROWS)
            sys.exit(f"no row's name contains {name!r}. The rows are: {known}")
    return [row for each, row in called.items() if any(name in each for name in names or [""])]


def _arguments() -> argparse.Namespace:
    names = "\n".join(f"  {row.what}, {row.against}" for row in ROWS)
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"rows:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="a rough look: few and short rounds, smaller tables"
    )
    parser.add_argument(
        "--long", action="store_true", help="include the rows of 10,000 runs, which take minutes"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="only rows whose names contain NAME; may be repeated",
    )
    return parser.parse_args()


def _cells(row: Row, bench: Bench) -> Sequence[str]:
    """Measure a row and format its cells."""
    try:
        measured = row.measure(bench)
    except UnavailableError as reason:
        return row.what, row.against, "-", str(row.target), "-", str(reason)
    shown = row.target.shown(measured.value)
    verdict = row.target.verdict(measured.value, measured.wrong)
    how = f"{measured.how}; {measured.wrong}" if measured.wrong else measured.how
    return row.what, row.against, shown, str(row.target), verdict, how


def _widths(rows: Sequence[Row]) -> Sequence[int]:
    """The widths of the columns, before anything is measured."""
    known = [HEADS, *((row.what, row.against, "1.23e+03x faster", str(row.target)) for row in rows)]
    return [max(map(len, column)) for column in zip(*(k[:4] for k in known), strict=True)] + [4, 0]


def _print(cells: Sequence[str], widths: Sequence[int]) -> None:
    print("  ".join(f"{c:{w}}" for c, w in zip(cells, widths, strict=True)).rstrip(), flush=True)


def _machine() -> str:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "torch")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([f"{cores} cores", f"Python {platform.python_version()}", *versions])


if __name__ == "__main__":
    main()
