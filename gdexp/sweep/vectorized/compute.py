"""Computes jobs together: as programs of their numbers, and yields the result of each."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gdexp.config.job import Job
from gdexp.descent.build import Components, build
from gdexp.descent.compute import new_trajectory
from gdexp.descent.result import Result
from gdexp.descent.signals import signalled
from gdexp.sweep.vectorized.eligible import curve_key, is_of_points
from gdexp.sweep.vectorized.points import runs as points
from gdexp.sweep.vectorized.stacks.runs import Origin, Stacked, key_of, result_of
from gdexp.sweep.workers.engines import Engine, Local

LAST = 1.0  # seconds for runs that a signal has interrupted
MEMORY = 256 * 2**20  # bytes of curves held in memory before they are written
GIB = 2**30


@dataclass
class Part:
    """Jobs that are computed as one program.

    Attributes:
        jobs: the jobs.
        program: what computes them.
        result: the result of the i-th job, from the program's.
    """

    jobs: Sequence[Job]
    program: Any
    result: Callable[[Any, int], Result]


def compute(
    jobs: Sequence[Job], on_progress: Callable[[int], None], engine: Engine | None = None
) -> Iterator[tuple[Job, Result]]:
    """Compute jobs with the same group key, shard by shard, and yield them in any order.

    After a signal, the runs that had begun are yielded as interrupted, for a second: many take
    longer to describe than anybody waits.

    Args:
        jobs: the jobs.
        on_progress: called with the number of epochs computed so far, of all jobs.
        engine: computes the shards; None: this process does.
    """
    engine = engine or Local()
    parts: list[Part | None] = []

    def programs() -> Iterator[Any]:
        for part in _parts(jobs, engine.shards):
            parts.append(part)
            yield part.program

    for computed in engine.compute(programs(), on_progress):
        part, start = parts[computed.number], time.monotonic()
        assert part is not None
        parts[computed.number] = None  # its rows and curves may be large
        share = computed.seconds / len(part.jobs)
        numbered = sorted(enumerate(part.jobs), key=lambda pair: pair[1].number or 0)
        for place, (i, job) in enumerate(numbered):
            if computed.result.interrupted[i] and (
                not computed.result.length[i] or time.monotonic() > start + LAST
            ):
                continue
            result = part.result(computed.result, i)
            # As if one after another: a database appends rows that are in order of time.
            result.started, result.seconds = computed.started + place * share, share
            result.together, result.computed_on = len(part.jobs), computed.computed_on
            yield job, result
        if signalled():
            return


def _parts(jobs: Sequence[Job], shards: int) -> Iterator[Part]:
    """Split jobs into that many parts, or more if their curves would not fit in memory.

    Jobs that differ only in iters stay together, because they share one curve.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[curve_key(job)].append(job)
    ordered, built = list(groups.values()), build(jobs[0])
    largest = bytes_of(jobs[0], built, max(job.settings["iters"] for job in jobs))
    memory, workers = memory_of(jobs[0]), max(1, shards // 2)  # of two shards, one waits
    room = max(memory // workers, memory // 16) // largest
    size = max(1, min(room, -(-len(ordered) // shards)))
    for start in range(0, len(ordered), size):
        part = [job for group in ordered[start : start + size] for job in group]
        yield from [_of_points(part, built)] if is_of_points(part[0]) else _stacks(part)


def memory_of(job: Job) -> int:
    """The bytes of curves that may be in memory before they are written."""
    asked = job.settings.get("sweep", {}).get("memory")
    if asked is not None:
        return int(asked * GIB)
    return min(MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


def bytes_of(job: Job, built: Components, epochs: int) -> int:
    """The memory that the curves of a run take, in bytes."""
    return 8 * len(new_trajectory(job, built).table) * epochs


def _of_points(jobs: Sequence[Job], built: Components) -> Part:
    def result(computed: Any, i: int) -> Result:
        return points.result_of(jobs[i], built, computed, i)

    return Part(jobs, points.program_of(jobs, built), result)


def _stacks(jobs: Sequence[Job]) -> Iterator[Part]:
    """The stacks of jobs, one for each shape of their parameters and tables."""
    origins: dict[str, Origin] = {}
    shaped: dict[Any, list[tuple[Job, Origin]]] = defaultdict(list)
    for job in jobs:
        if (key := key_of(job)) not in origins:
            origins[key] = Origin.of(job)
        shaped[origins[key].shape].append((job, origins[key]))
    for pairs in shaped.values():
        yield _stack([job for job, _ in pairs], [origin for _, origin in pairs])


def _stack(jobs: Sequence[Job], origins: Sequence[Origin]) -> Part:
    stacked = Stacked.of(jobs, origins)

    def result(computed: Any, i: int) -> Result:
        return result_of(stacked, computed, i)

    return Part(jobs, stacked.stack, result)
