"""Splits the jobs of a sweep into shards, one for each task."""

from __future__ import annotations

from collections.abc import Sequence

from gdexp.config.job import Job

TOGETHER = 16  # vectorized runs that cost about as much as one: fewer are not worth a task


def split(groups: Sequence[Sequence[Job]], alone: Sequence[Job], tasks: int) -> list[list[Job]]:
    """Split jobs into shards that cost about the same, one for each task.

    The cost of a run that is computed alone is its number of epochs, that of a vectorized one the
    16th part. Groups stay together as far as that allows.

    Args:
        groups: the jobs of each program.
        alone: the jobs that cannot be vectorized.
        tasks: the largest number of shards.
    """
    ordered = [(job, TOGETHER) for group in groups for job in group] + [(job, 1) for job in alone]
    worth = sum(-(-len(group) // TOGETHER) for group in groups) + len(alone)
    count = max(1, min(tasks, worth))
    costs = [job.settings["iters"] / size for job, size in ordered]
    total, done = sum(costs), 0.0
    shards: list[list[Job]] = [[] for _ in range(count)]
    for (job, _), cost in zip(ordered, costs, strict=True):
        middle = (done + cost / 2) / total
        shards[min(count - 1, int(count * middle))].append(job)
        done += cost
    return [shard for shard in shards if shard]
