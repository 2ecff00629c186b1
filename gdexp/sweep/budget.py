"""The rows that a sweep may write: if all points of its curves are more, its curves are thinned."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gdexp.config.job import Job
from gdexp.config.settings import default_of
from gdexp.console import say
from gdexp.descent.build import build
from gdexp.descent.compute import new_trajectory
from gdexp.insight.checks import every_epoch

MAX_ROWS, MAX_POINTS = "tracking.max_rows", "tracking.max_points"
FEWEST = 2  # points of a curve: its first and its last
SHAPING = ("data", "predictor", "gradient", "loss")  # what the curves of a run depend on


def within_budget(
    jobs: Sequence[Job], tracking: Mapping[str, Any], runs: int | None = None
) -> list[Job]:
    """The jobs of a sweep, with ``tracking.max_points`` as low as ``tracking.max_rows`` demands.

    All curves of a sweep have the same limit, which one line announces; the runs of a resumed sweep
    are thinned like those before. As an override, the limit reaches every process.

    Args:
        jobs: all jobs of the sweep, or some that stand for all.
        tracking: the settings of the group ``tracking``.
        runs: the number of runs in all, if more follow.
    """
    limit = tracking.get("max_rows", default_of(MAX_ROWS))
    if not (jobs and tracking["enabled"] and limit):
        return list(jobs)
    curves = _curves(jobs) * max(1.0, (runs or 0) / len(jobs))
    most = np.array([min(job.settings["iters"], _points(job)) for job in jobs])

    def rows(points: int) -> int:
        return int(curves @ np.minimum(most, points))

    longest = int(most.max())
    if rows(longest) <= limit:
        return list(jobs)
    points = FEWEST + max(0, bisect_right(range(FEWEST, longest), limit, key=rows) - 1)
    if jobs[0].number == 0 or runs is None:
        still = f", the fewest, which still make {rows(points):,}" if rows(points) > limit else ""
        say(
            f"the curves of all runs have {rows(longest):,} points, more than {MAX_ROWS}={limit}, "
            f"so each keeps at most {points}{still}; trajectory.parquet has every epoch"
        )
    return [_thinned(job, points) if n > points else job for job, n in zip(jobs, most, strict=True)]


def _points(job: Job) -> int:
    return int(job.settings["tracking"]["max_points"])


def _curves(jobs: Sequence[Job]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The number of curves of each job; one is built for each combination that shapes them."""
    known: dict[str, int] = {}
    numbers = []
    for job in jobs:
        settings = job.settings
        shaping = [settings[name] for name in SHAPING]
        key = repr((shaping, settings["scheduler"]["_target_"], settings["check"]["gradient"]))
        if key not in known:
            known[key] = _count(job)
        numbers.append(known[key])
    return np.array(numbers, float)


def _count(job: Job) -> int:
    """The number of curves of a run; 0 if it cannot be built, and will fail."""
    try:
        built = build(job)
        every_epoch.watch(job, built, 0)
    except (Exception, SystemExit):
        return 0
    one_epoch = replace(job, settings={**job.settings, "iters": 1})
    return len(new_trajectory(one_epoch, built).columns())


def _thinned(job: Job, points: int) -> Job:
    tracking = {**job.settings["tracking"], "max_points": points}
    words = [word for word in job.typed if word.lstrip("+").partition("=")[0] != MAX_POINTS]
    return replace(
        job,
        settings={**job.settings, "tracking": tracking},
        typed=(*words, f"{MAX_POINTS}={points}"),
    )
