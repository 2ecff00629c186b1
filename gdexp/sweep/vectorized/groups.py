"""Splits the jobs of a sweep into those that are computed together and those that run alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.errors import ConfigError, counted
from gdexp.sweep.vectorized import trial
from gdexp.sweep.vectorized.compute import GIB, bytes_of
from gdexp.sweep.vectorized.eligible import group_key, is_of_points, obstacle

SINGLE = "no other run has the same components, with the same settings of predictor and loss"


def vectorizable(jobs: Sequence[Job]) -> tuple[list[list[Job]], dict[str, list[Job]]]:
    """Split jobs as ``sweep.vectorize`` says.

    Returns:
        The groups of jobs that are computed together, and the other jobs by what prevents it: ""
        for a job unlike all others, and for all jobs if sweep.vectorize is off.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    alone: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.settings.get("sweep", {}).get("vectorize") == "off":
            alone[""].append(job)
        elif reason := obstacle(job):
            alone[reason].append(job)
        else:
            groups[group_key(job)].append(job)
    together = []
    for group in groups.values():
        if len(group) == 1 and not is_of_points(group[0]):
            alone[""] += group
        elif reason := trial.obstacle(group):
            alone[reason] += group
        else:
            together.append(group)
    return together, alone


def check_vectorizable(jobs: Sequence[Job], prevented: str = "") -> None:
    """Refuse a sweep that must be vectorized and cannot be, or whose runs need too much memory.

    Args:
        jobs: its jobs.
        prevented: why none of them can be vectorized, whatever they are; "" if they can.

    Raises:
        ConfigError: names the runs and what prevents it.
    """
    asked = jobs[0].settings.get("sweep", {}) if jobs else {}
    if asked.get("vectorize") != "required" and asked.get("memory") is None:
        return
    groups, alone = ([], {prevented: [*jobs]}) if prevented else vectorizable(jobs)
    for reason, left in alone.items():
        if len(jobs) > 1 and asked.get("vectorize") == "required":
            raise ConfigError(
                f"sweep.vectorize=required: {len(left)} of {counted(len(jobs), 'run')} would be "
                f"computed one after another: {reason or SINGLE}. Type sweep.vectorize=auto."
            )
    for group in groups:
        _check_memory(group)


def _check_memory(group: Sequence[Job]) -> None:
    """Refuse a group of which not even one run fits into ``sweep.memory``."""
    asked = group[0].settings.get("sweep", {}).get("memory")
    if asked is None:
        return
    longest = max(job.settings["iters"] for job in group)
    needed = bytes_of(group[0], build(group[0]), longest)
    if needed > asked * GIB:
        raise ConfigError(
            f"sweep.memory={asked:g}: the curves of one run of {longest} epochs take "
            f"{needed / GIB:.3g} GiB. Type sweep.memory={math.ceil(needed / GIB * 100) / 100:g} "
            "or more, or fewer iters."
        )
