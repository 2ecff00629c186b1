"""The best run of a sweep: which one it is, whether others tie with it, and the sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.console import say
from gdexp.descent.numbers import short
from gdexp.descent.result import Result
from gdexp.errors import counted
from gdexp.insight import repetitions

Row: TypeAlias = Mapping[str, Any]

SUCCESSFUL = ("completed", "converged")
NAMED = 3  # runs of a tie that are named
LOSS = "final/loss"

unreported: list[tuple[Job, Row]] = []
"""The runs of a sweep that has no summary run: of another sweeper, or with tracking=off."""


def best_of(rows: Sequence[Row]) -> list[Row]:
    """The completed or converged runs with the smallest final loss; several if they tie.

    Losses tie if their six printed digits are equal. The smallest comes first.

    >>> runs = [{"outcome": "completed", "final/loss": loss} for loss in (2, 1.0000001, 1)]
    >>> [row["final/loss"] for row in best_of(runs)]
    [1, 1.0000001]
    """
    ranked = sorted(filter(is_candidate, rows), key=lambda row: float(row[LOSS]))
    return [row for row in ranked if _shown(row) == _shown(ranked[0])]


def is_candidate(row: Row) -> bool:
    """Whether a run completed or converged, with a finite loss."""
    loss = row.get(LOSS)
    return row["outcome"] in SUCCESSFUL and loss is not None and math.isfinite(loss)


def _shown(row: Row) -> str:
    return short(float(row[LOSS]))


def sentence(rows: Sequence[Row]) -> str:
    """Name the best run, or the runs that tie; "" if no run completed or converged."""
    best = best_of(rows)
    if not best:
        return ""
    if len(best) == 1:
        return f"Best: {best[0]['name']}, loss {_shown(best[0])}"
    names = [str(row["name"]) for row in sorted(best, key=lambda row: row.get("job", 0))]
    more = f"; and {len(names) - NAMED} more" if len(names) > NAMED else ""
    listed = "; ".join(names[:NAMED])
    return f"Best: {counted(len(best), 'run')} tie with loss {_shown(best[0])}: {listed}{more}"


def are_comparable(jobs: Sequence[Job]) -> bool:
    """Whether the losses of all jobs measure the same quantity of the same targets."""
    return len({_quantity(job) for job in jobs}) <= 1


def _quantity(job: Job) -> str:
    settings, data = job.settings, job.settings["data"]
    loss = {k: v for k, v in settings["loss"].items() if k not in ("_target_", "reduction")}
    measured = capabilities.of(settings, "loss", "measures") or settings["loss"]["_target_"]
    targets = [data.get(key) for key in ("_target_", "path", "target", "y")]
    return repr((measured, capabilities.reduction(settings, "loss"), loss, targets))


def remember(job: Job, result: Result) -> None:
    """Keep what :func:`report` needs of a run."""
    loss = result.loss if result.trajectory.length else None
    name = f"#{job.number} {' '.join(job.words) or 'defaults'}"
    row = {"job": job.number, "name": name, "outcome": result.outcome, LOSS: loss}
    unreported.append((job, row))


def taken() -> list[Job]:
    """The jobs of the unreported runs, which a summary reports from now on."""
    jobs = [job for job, _ in unreported]
    unreported.clear()
    return jobs


def report() -> None:
    """Print the best of the runs that no summary reports."""
    rows: list[Row] = [{**job.flat(), **row} for job, row in unreported]
    jobs = taken()
    if len(rows) > 1 and are_comparable(jobs) and (best := sentence(rows)):
        groups = repetitions.over_seeds(rows, [LOSS])
        say(". ".join(filter(None, [best, repetitions.sentence(groups, [repetitions.SEED])])))
