"""``python -m gdexp explain``: one epoch of a recorded run in numbers.

The run is computed again up to that epoch, and compared with its record.

Exit codes: 0 explained, 2 it cannot be.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gdexp.commands import common, rerun
from gdexp.errors import GdexpError, excerpt

if TYPE_CHECKING:
    from gdexp.commands.conditions import Conditions
    from gdexp.config.job import Job
    from gdexp.descent.result import Result
    from gdexp.descent.trajectory import Trajectory
    from gdexp.insight.explanation.watched import Watched
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.store import Store

FIRST, LAST = "first", "last"
DIGITS = range(2, 18)


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("explain", single=True)
    parser.add_argument(
        "--epoch",
        metavar="K",
        default=FIRST,
        help="the epoch, from 1, or last (default: the first)",
    )
    parser.add_argument(
        "--digits",
        metavar="N",
        type=_digits,
        default=6,
        help="significant digits of numbers, from 2 to 17 (default: 6)",
    )
    common.add_trust(parser)
    args = parser.parse_args(argv)
    return common.guarded(lambda: _explain(args))


def _digits(text: str) -> int:
    digits = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if digits not in DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to 17")
    return digits


def _explain(args: argparse.Namespace) -> int:
    from gdexp.commands.epoch_page import Page
    from gdexp.config import validation
    from gdexp.config.trust import Trust
    from gdexp.insight.explanation.epoch import explain
    from gdexp.tracking.restore import job_of

    store, run, before, then = rerun.recorded(args, verb="explain", purpose="explain")
    with rerun.where_it_started(then):
        with rerun.refusing(run, then, "explained"):
            job = job_of(store, run, Trust(tuple(args.trust)))
            validation.check(job)
            first = _first(store, job)
        epoch = _epoch(args.epoch, first, before, run)
        with rerun.refusing(run, then, "explained"):
            built, result = _computed(store, job, epoch)
    if built.update is None or not built.update.after or result.outcome == "failed":
        raise GdexpError(
            f"run {run.run_id} cannot be explained: now it does not reach the end of epoch "
            f"{epoch}: {result.reason}."
        )
    page = Page(job, built, explain(job, built), args.digits)
    of = (
        f" of {before.length}" if epoch <= before.length else f", after {before.length} finite ones"
    )
    lines = [f"run {run.run_id}, epoch {epoch}{of}: {run.name}"]
    lines += page.lines(_later(before, epoch, args.digits))
    if note := _difference(before, result, job, then):
        lines += ["", note]
    common.show("\n".join(lines))
    return 0


def _first(store: Store, job: Job) -> int:
    """The first epoch that the run computed itself; those before are of the run it continues."""
    from gdexp.descent.checkpoint_files import read
    from gdexp.tracking.restore import newest_checkpoint

    named = job.settings["continue_from"]
    if named is None:
        return 1
    return read(named, lambda name: newest_checkpoint(store, name)).epoch + 1


def _epoch(typed: str, first: int, before: Trajectory, run: RecordedRun) -> int:
    """The epoch that ``--epoch`` names.

    Raises:
        GdexpError: it is not one of the run's.
    """
    last = before.length + before.diverged  # also the one in which a value was not finite
    if typed in (FIRST, LAST):
        return first if typed == FIRST else last
    epoch = int(typed) if typed.isascii() and typed.isdecimal() else 0
    if first <= epoch <= last:
        return epoch
    way = f"Type --epoch {first}" + (f" to --epoch {last}" if first < last else "")
    if 0 < epoch < first:
        raise GdexpError(
            f"--epoch: run {run.run_id} continues another run from epoch {first} on, and did not "
            f"compute epoch {epoch}. {way}, or explain the run that it continues."
        )
    raise GdexpError(
        f"--epoch: {excerpt(typed)} is not an epoch of run {run.run_id} ({run.outcome}). {way}."
    )


def _computed(store: Store, job: Job, epoch: int) -> tuple[Watched, Result]:
    """The run, computed again up to an epoch that is watched."""
    from gdexp.experiment import assemble
    from gdexp.insight.explanation.watched import Watched
    from gdexp.sweep.again import compute_again
    from gdexp.tracking.restore import newest_checkpoint

    built: list[Watched] = []

    def assembled(job: Job) -> Watched:
        built.append(Watched(**vars(assemble(job)), epoch=epoch))
        return built[0]

    shortened = replace(job, settings=job.settings | {"iters": epoch})
    result = compute_again(
        shortened, lambda name: newest_checkpoint(store, name), together=False, assembled=assembled
    )
    return built[0], result


def _later(before: Trajectory, epoch: int, digits: int) -> str:
    """The loss of the next epoch, in words."""
    from gdexp.descent.numbers import short

    if epoch >= before.length:
        return ""
    return f"; in epoch {epoch + 1}: {short(float(before.loss[epoch]), digits)}"


def _difference(before: Trajectory, result: Result, job: Job, then: Conditions) -> str:
    """Where the run differs from its record, in words; "" if it does not."""
    from gdexp.insight.comparison.difference import difference

    before.length = min(before.length, result.trajectory.length)
    differs = difference(before, result.trajectory, job.settings["dtype"])
    if differs is None:
        return ""
    words = differs.first.words("recorded", "now")
    note = f"This differs from the record, from epoch {differs.first.epoch} on: {words}."
    if then.together:
        note += f" The run was computed together with {then.together - 1} others, and now alone."
    return note
