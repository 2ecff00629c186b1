"""Messages about a run on stderr: how it ended, where it is recorded, notes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.data.categories import numbered
from gdexp.descent.result import Result
from gdexp.descent.transcript import FEW

LISTED = 30  # maximum number of coefficients to list

_noted: set[str] = set()


def report_job(job: Job, result: Result, place: str = "") -> None:
    """Print the lines after a run; in a sweep, one line.

    Args:
        job: the run.
        result: its result.
        place: where it is recorded, in words.
    """
    if job.number is not None:
        loss = f"loss {result.trajectory.loss[-1]:.6g}, " if result.trajectory.length else ""
        ended = f"{loss}f({result.at}) = {result.prediction:.6g}"
        say(f"#{job.number} {' '.join(job.typed) or 'defaults'}: {result.outcome}, {ended}")
        if result.note and job.choices["gradient"] not in _noted:
            _noted.add(job.choices["gradient"])  # once in a sweep is enough
            say(f"note: {result.note}")
        return
    if result.outcome != "completed":
        say(f"{result.outcome}: {result.reason}")
    if result.note:
        say(f"note: {result.note}")
    data = job.settings["data"]
    own = not capabilities.of(job.settings, "data", "inline") and not data["standardize"]
    if result.outcome == "diverged" and own:
        say("note: data.standardize=true gives all features the same scale, so larger steps work")
    for line in _fit(job, result):
        say(line)
    if result.continue_from is not None:
        say(f"continue from its newest checkpoint with: continue_from={result.continue_from}")
    if result.run_id is not None:
        say(f"recorded as run {result.run_id} in {place}")
        say("see it with: python -m gdexp ui")


def _fit(job: Job, result: Result) -> Iterator[str]:
    """Coefficients that the transcript does not show, the names of the classes, the scores."""
    printed = [*result.parameters.values()] if len(result.parameters) <= FEW else []
    if result.coefficients and [*result.coefficients.values()] != printed:
        listed = [*result.coefficients.items()][:LISTED]
        width = max(len(name) for name, _ in listed)
        yield "coefficients, in the data's own units:"
        for name, value in listed:
            yield f"  {name:<{width}}  {value: .6g}"
        if (more := len(result.coefficients) - LISTED) > 0:
            yield f"  and {more} more"
    if result.data is not None and result.data.fitted.classes:
        yield f"classes: {numbered(result.data.fitted.classes)}"
    if result.scores:
        yield ", ".join(f"{name} {value:.6g}" for name, value in result.scores.items())


def report_sweep() -> None:
    """Print the line after a sweep."""
    say("compare the runs with: python -m gdexp compare, or in the browser: python -m gdexp ui")


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)
