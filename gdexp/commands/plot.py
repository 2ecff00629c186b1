"""``python -m gdexp plot``: recorded runs or a sweep as pictures, in a file or a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gdexp.commands import common
from gdexp.config.paths import OUTPUTS, absolute, relative
from gdexp.errors import GdexpError, counted

if TYPE_CHECKING:
    from gdexp.config.trust import Trust
    from gdexp.descent.result import Result
    from gdexp.insight.pictures.files import Place
    from gdexp.insight.pictures.picture import Picture
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.selection import Selection
    from gdexp.tracking.store import Store

FOLDER = f"{OUTPUTS}/plots"
MANY = 20  # runs whose losses are drawn together


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("plot", default=common.SHOWN)
    parser.add_argument(
        "--out",
        metavar="PLACE",
        help="FILE.svg or FILE.png for one sheet with all pictures, or FOLDER/ for an SVG of each "
        f"(default: a new file in {FOLDER})",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this picture (repeatable)"
    )
    parser.add_argument(
        "--axes",
        type=lambda text: text.split(","),
        default=[],
        metavar="A,B",
        help="the settings of the axes of a sweep's map (default: lr,iters, else the first two "
        "that differ)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that --out names")
    common.add_trust(parser)
    parser.epilog = common.SWEEPS
    args = parser.parse_args(argv)
    return common.guarded(lambda: _plot(args))


def _plot(args: argparse.Namespace) -> int:
    from gdexp.config.trust import Trust
    from gdexp.insight.pictures.files import Place, chosen
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.selection import selection

    place = None if args.out is None else _place(args.out, args.force)
    store = open_existing(args.uri, args.experiment)
    selected = selection(store, args.runs)
    pictures, heading, name = _drawn(store, selected, Trust(tuple(args.trust)), args.axes)
    if not pictures:
        raise GdexpError(f"{heading}: there is nothing to draw.")
    pictures = chosen(pictures, args.only)
    place = place or Place.new(absolute(FOLDER), name)
    for path in place.write(pictures, heading):
        common.show(str(relative(path)))
    return 0


def _place(out: str, force: bool) -> Place:
    from gdexp.insight.pictures.files import Place

    try:
        return Place.of(out, replaces=force, how="add --force")
    except GdexpError as error:
        raise GdexpError(f"--out: {error}") from error


def _drawn(
    store: Store, selected: Selection, trust: Trust, axes: Sequence[str]
) -> tuple[list[Picture], str, str]:
    """The pictures, their heading, and the stem of a file for them."""
    runs = selected.runs
    if selected.sweep_id is not None:
        from gdexp.sweep.pictures import pictures_of

        heading = f"sweep {selected.sweep_id}: {counted(len(runs), 'run')}"
        pictures = [*pictures_of(store, runs, axes)]
        return pictures, heading, f"sweep-{selected.sweep_id}"
    if axes:
        raise GdexpError("--axes: only a sweep has a map. Leave --axes out, or name a sweep.")
    if len(runs) > 1:
        return [_losses(store, runs, trust)], counted(len(runs), "run"), "runs"
    (run,) = runs
    result = _result(store, run, trust)
    return _of_run(run, result), f"{run.name} ({run.outcome})", f"run-{run.run_id[:8]}"


def _of_run(run: RecordedRun, result: Result) -> list[Picture]:
    from gdexp.commands.conditions import Conditions
    from gdexp.commands.rerun import where_it_started
    from gdexp.insight.pictures.of_run import of_run

    with where_it_started(Conditions.recorded(run)):
        return [*of_run(result)]


def _losses(store: Store, runs: Sequence[RecordedRun], trust: Trust) -> Picture:
    from gdexp.config.differing import differing
    from gdexp.insight.pictures.of_runs import of_runs

    if len(runs) > MANY:
        raise GdexpError(
            f"{len(runs)} runs are too many for one picture. Name up to {MANY}, or a sweep."
        )
    keys = differing([run.params for run in runs])
    results: dict[str, Result] = {}
    for run in runs:
        words = [f"{key}={run.params[key]}" for key in keys if key in run.params]
        name = " ".join(words) or run.run_id[:8]
        results[f"{name} ({run.run_id[:8]})" if name in results else name] = _result(
            store, run, trust
        )
    picture = of_runs(results)
    assert picture is not None  # each has an epoch
    return picture


def _result(store: Store, run: RecordedRun, trust: Trust) -> Result:
    """The recorded result of a run, with its job if that can be read.

    Raises:
        GdexpError: it has no trajectory, or no epoch in it.
    """
    from gdexp.commands.recorded import add_job
    from gdexp.tracking.reading import files_of
    from gdexp.tracking.restore import TRAJECTORY, result_of

    if TRAJECTORY not in files_of(store, run):
        is_open = run.status == "RUNNING"
        end = "has not ended" if is_open else f"ended as {run.outcome}"
        raise GdexpError(
            f"run {run.run_id} has no {TRAJECTORY} among its artifacts, so there is nothing to "
            f"draw: it {end}. {'Draw it when it has' if is_open else 'Run it again'}."
        )
    result = result_of(store, run)
    if not result.trajectory.length:
        raise GdexpError(
            f"run {run.run_id} has no epoch, so there is nothing to draw: it {run.outcome}, "
            f"{result.reason}."
        )
    add_job(store, run, result, trust)
    return result
