"""Messages about a run on stderr: how it ended, where it is recorded, notes."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.config.paths import relative
from gdexp.credentials import scrubbed
from gdexp.data.categories import numbered
from gdexp.descent.numbers import short
from gdexp.descent.result import FORECAST, Result
from gdexp.descent.transcript import FEW
from gdexp.errors import full_traceback

LISTED = 30  # maximum number of coefficients to list

_noted: set[tuple[str | None, str]] = set()
_silent: list[None] = []  # one entry for each block of silent, of whichever thread


def report_job(job: Job, result: Result, place: str = "") -> None:
    """Print the lines after a run; in a sweep, one line.

    Args:
        job: the run.
        result: its result.
        place: where it is recorded, in words.
    """
    if job.number is not None:
        loss = f"loss {short(result.loss)}, " if result.trajectory.length else ""
        reached = f"{loss}f({result.at}) = {short(result.prediction)}"
        ended = result.outcome
        if ended == "completed" and ended in result.notes:  # of a kind that is printed only once
            ended += ", not converged"
        say(f"#{job.number} {' '.join(job.words) or 'defaults'}: {ended}, {reached}")
        report_notes(job, result)
        return
    ended, loss = f"{result.outcome}: {result.reason}", short(result.loss)
    is_told = not result.trajectory.length or ended.endswith(f" to {loss}")  # the loss grew
    say(ended if is_told else f"{ended}; final loss {loss}")
    for kind, note in result.notes.items():
        if kind != FORECAST:
            say(f"note: {note}")
    data = job.settings["data"]
    own = not capabilities.of(job.settings, "data", "inline") and not data["standardize"]
    if result.outcome == "diverged" and own:
        say("note: data.standardize=true gives all features the same scale, so larger steps work.")
    for line in _fit(job, result):
        say(line)
    if result.continue_from is not None:
        word = shlex.quote(f"continue_from={result.continue_from}")
        say(f"continue from its newest checkpoint with: {word}")
    if result.is_spooled:
        say(
            f"kept in outputs/spool as run {result.run_id}; python -m gdexp sync delivers it to "
            f"{place} and prints its id"
        )
    elif result.run_id is not None:
        say(f"recorded as run {result.run_id} in {place}")
        say("see it with: python -m gdexp ui")


def report_forecast(result: Result) -> None:
    """Print what is forecast of a single run before its first epoch, if that is a warning."""
    if FORECAST in result.notes:
        say(f"note: {result.notes[FORECAST]}")


def report_notes(job: Job, result: Result) -> None:
    """Print the notes of a run of a sweep, but one of each kind in the whole sweep.

    That a run diverged as forecast is not worth a line of its own.
    """
    for kind, note in result.notes.items():
        if kind == "diverged" and FORECAST in result.notes:
            continue
        if (job.sweep_id, kind) not in _noted:
            _noted.add((job.sweep_id, kind))
            about = "" if kind.startswith("gradient=") else f" (#{job.number})"
            say(f"note{about}: {note}")


def _fit(job: Job, result: Result) -> Iterator[str]:
    """Coefficients that the transcript does not show, the names of the classes, the scores."""
    printed = [*result.parameters.values()] if len(result.parameters) <= FEW else []
    if result.coefficients and [*result.coefficients.values()] != printed:
        listed = [*result.coefficients.items()][:LISTED]
        width = max(len(name) for name, _ in listed)
        yield "coefficients, in the data's own units:"
        for name, value in listed:
            yield f"  {name:<{width}}  {' ' * (value >= 0)}{short(value)}"
        if (more := len(result.coefficients) - LISTED) > 0:
            yield f"  and {more} more"
    if result.data is not None and result.data.fitted.classes:
        yield f"classes: {numbered(result.data.fitted.classes)}"
    if result.scores:
        yield ", ".join(f"{name} {short(value)}" for name, value in result.scores.items())


def report_sweep() -> None:
    """Print the line after a sweep."""
    say("compare the runs with: python -m gdexp compare, or in the browser: python -m gdexp ui")


def report_kept(folder: Path, reason: str) -> None:
    """Print that runs are in the spool, also within :func:`silent`.

    Args:
        folder: the folder of the spool.
        reason: why the store cannot be written.
    """
    print(
        f"the store cannot be written ({reason}): runs are kept in {relative(folder)} and "
        "delivered later, by the next command or by python -m gdexp sync",
        file=sys.stderr,
        flush=True,
    )


def log_settings(job: Job, place: str) -> None:
    """Log the settings of a run, for hydra.verbose=true.

    Args:
        job: the run, or the first one of a sweep.
        place: where it is recorded, in words.
    """
    log = logging.getLogger("gdexp")
    for key, value in job.flat().items():
        log.debug("%s=%s", key, value)
    log.debug("recorded in %s", place or "no store")


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an exception on stderr, without passwords."""
    print(full_traceback(error), end="", file=sys.stderr)


def say(text: str) -> None:
    """Print a line on stderr without passwords, unless within :func:`silent`."""
    if not _silent:
        print(scrubbed(text), file=sys.stderr, flush=True)


@contextmanager
def silent() -> Iterator[None]:
    """Print none of these lines within this block, whichever thread reports a run."""
    _silent.append(None)
    try:
        yield
    finally:
        _silent.pop()
