"""A recorded run that is to be computed again: its trajectory, its folder, why it cannot be."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gdexp.config.paths import started_in
from gdexp.errors import ConfigError, GdexpError, UntrustedError, first_line

if TYPE_CHECKING:
    from gdexp.commands.conditions import Conditions
    from gdexp.descent.trajectory import Trajectory
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.store import Store


def recorded(
    args: argparse.Namespace, *, verb: str, purpose: str
) -> tuple[Store, RecordedRun, Trajectory, Conditions]:
    """The run that is named: its store, itself, every recorded epoch, and what surrounded it.

    Args:
        args: the arguments of a command that takes a single run.
        verb: what is done with it, as in "replay".
        purpose: what cannot be done without a trajectory, as in "compare with".

    Raises:
        GdexpError: the run does not exist, has not ended, or has no trajectory.
    """
    from gdexp.commands.conditions import Conditions
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select

    store = open_existing(args.uri, args.experiment)
    run = select(store, args.runs)[0]
    return store, run, _trajectory(store, run, verb, purpose), Conditions.recorded(run)


def _trajectory(store: Store, run: RecordedRun, verb: str, purpose: str) -> Trajectory:
    """Every recorded epoch of a run that has ended."""
    from gdexp.tracking.reading import files_of
    from gdexp.tracking.restore import TRAJECTORY, trajectory_of

    if run.status == "RUNNING":
        raise GdexpError(f"run {run.run_id} has not ended. {verb.capitalize()} it when it has.")
    if TRAJECTORY not in files_of(store, run):
        raise GdexpError(
            f"run {run.run_id} ({run.outcome}) has no {TRAJECTORY} among its artifacts, so there "
            f"is nothing to {purpose}. Run it again."
        )
    recorded = trajectory_of(store, run)
    if not (recorded.length or recorded.diverged):
        raise GdexpError(
            f"run {run.run_id} ({run.outcome}) ended before its first epoch did, so there is "
            f"nothing to {purpose}. Run it again."
        )
    return recorded


@contextmanager
def where_it_started(then: Conditions) -> Iterator[None]:
    """Let relative paths start from the folder in which the run was started, if it exists."""
    with started_in(then.folder if os.path.isdir(then.folder) else os.getcwd()):
        yield


@contextmanager
def refusing(run: RecordedRun, then: Conditions, done: str) -> Iterator[None]:
    """Say why a run cannot be built here, and where it was started.

    Args:
        run: the run.
        then: its conditions.
        done: what cannot be done with it, as in "replayed".
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if type(error) is GdexpError else error
        if isinstance(error, GdexpError) and not isinstance(cause, ConfigError):
            raise
        if isinstance(cause, UntrustedError):
            raise
        problem = first_line(cause or error).partition(". ")[0].rstrip(".")  # then: what to type
        where = f" It was started in the folder {then.folder}." if then.folder else ""
        if where and not os.path.isdir(then.folder):
            where = f"{where[:-1]}, which does not exist here."
        raise GdexpError(f"run {run.run_id} cannot be {done}: {problem}.{where}") from error
