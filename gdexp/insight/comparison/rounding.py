"""Why two ways to compute the same descent give other last digits, shown by experiment.

Each change of :mod:`gdexp.insight.comparison.changes` makes one of two runs do one operation as the
other does it. If the numbers are then the same, it is what the two do differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import NamedTuple

from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.descent.compute import begin, compute
from gdexp.descent.trajectory import Trajectory
from gdexp.insight.comparison.changes import CHANGES, Change
from gdexp.insight.comparison.difference import Difference, difference

LONGEST = 1000  # epochs that an experiment computes at most,
WORK = 2 * 10**7  # and numbers of x that it reads, unless the runs differ only later


class Explanation(NamedTuple):
    """Why two jobs differ in their digits.

    Attributes:
        changes: the fewest changes after which they do not, or the first difference is latest.
        rest: the first difference that is left; None if all numbers are then the same.
        epochs: the number of epochs that were computed.
    """

    changes: tuple[Change, ...]
    rest: Difference | None
    epochs: int


def explain(a: Job, b: Job, first: int = 1) -> Explanation:
    """Try all combinations of the known changes, small ones first, until the numbers are the same.

    At most the first 1,000 epochs are computed, and fewer of a large table.

    Args:
        a: a job whose settings have been checked.
        b: another one, which differs from it in the options of the four families.
        first: the first epoch in which they differ.
    """
    longest = max(first, min(LONGEST, WORK // build(a).data.fitted.x.size))
    jobs = _shortened(a, longest), _shortened(b, longest)
    known = [
        (side, change)
        for change in CHANGES
        for side in (0, 1)
        if change.applies(jobs[side], jobs[1 - side])
    ]

    @cache
    def trajectory(side: int, changes: tuple[Change, ...]) -> Trajectory:
        return computed(jobs[side], changes)

    def rest(chosen: Sequence[tuple[int, Change]]) -> Difference | None:
        one, other = (trajectory(k, tuple(c for side, c in chosen if side == k)) for k in (0, 1))
        return difference(one, other, a.settings["dtype"])

    best: tuple[Sequence[tuple[int, Change]], Difference | None] = (), rest(())
    for size in range(1, len(known) + 1):
        for chosen in combinations(known, size):
            if best[1] is not None and place(left := rest(chosen)) > place(best[1]):
                best = chosen, left
    return Explanation(tuple(change for _, change in best[0]), best[1], jobs[0].settings["iters"])


def computed(job: Job, changes: Sequence[Change] = ()) -> Trajectory:
    """Compute a job whose settings have been checked, with changes; nothing is recorded."""
    built = build(job)
    for change in changes:
        change.to(job, built)
    result, transcript = begin(job, built)
    compute(job, built, result, transcript, bar=False)
    return result.trajectory


def _shortened(job: Job, longest: int) -> Job:
    return replace(job, settings=job.settings | {"iters": min(job.settings["iters"], longest)})


def place(differs: Difference | None) -> tuple[float, int]:
    """How late a difference is: its epoch, then the stage at which its quantity is computed."""
    return (math.inf, 0) if differs is None else (differs.first.epoch, differs.first.stage)
