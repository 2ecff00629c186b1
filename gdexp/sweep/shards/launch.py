"""The process that waits for the tasks of a sweep, and writes to the store what they bring back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.console import say
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import RunFailedError, counted
from gdexp.experiment import open_store
from gdexp.sweep.foreign import launch_overrides
from gdexp.sweep.launcher import Launch, failed
from gdexp.sweep.progress import Tally
from gdexp.sweep.shards import exchange, executor
from gdexp.sweep.shards.exchange import Exchange
from gdexp.sweep.shards.incoming import Incoming
from gdexp.sweep.shards.splitting import split
from gdexp.sweep.shards.task import Outbox, Shard
from gdexp.sweep.workers.engines import Local
from gdexp.sweep.workers.launched import ended
from gdexp.sweep.workers.pools import deaf_children
from gdexp.tracking import environment

if TYPE_CHECKING:
    from gdexp.tracking.store import Store

PAUSE, CLUSTER_PAUSE = 0.1, 1.0  # seconds between two looks at the tasks
QUEUE = 60.0  # seconds between two looks at the queue of Slurm
GO_ON = (
    "the tasks go on; to cancel them: {}. Later, python -m gdexp sync records what they have "
    "computed, and sweep.resume=last runs the rest"
)


def sharded(sweeper: Any) -> None:
    """Let the launcher of a sweeper, if it is one of submitit's, compute a shard in each task."""
    inner = getattr(sweeper, "sweeper", sweeper)  # Optuna's has another within
    if executor.cluster(inner.launcher):
        inner.launcher = ShardedLauncher(inner.launcher)


class ShardedLauncher:
    """A launcher of submitit's whose tasks compute shards, where it would run each job by itself.

    Args:
        inner: the launcher, set up.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.config: DictConfig = inner.config
        self.hydra_context = inner.hydra_context

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs of another sweeper."""
        return launch_overrides(self, job_overrides, initial_job_idx)

    def launch_jobs(self, jobs: Sequence[Job], tally: Tally) -> Sequence[JobReturn]:
        """Run jobs, and report each one to the tally."""
        loader = self.hydra_context.config_loader
        return ShardedLaunch(self.inner, self.config, loader, tally).run(jobs)


class ShardedLaunch(Launch):
    """One call of the launcher; see :class:`gdexp.sweep.launcher.Launch`.

    Args:
        launcher: the launcher of submitit's.
        config: the sweep's configuration, including Hydra's node.
        loader: Hydra's configuration loader.
        tally: counts the runs that have ended.
    """

    def __init__(self, launcher: Any, config: DictConfig, loader: Any, tally: Tally) -> None:
        super().__init__(config, loader, launcher.launch, Local(), tally)
        self._launcher = launcher
        self._is_local = executor.cluster(launcher) == "local"

    def _run_by_hydra(self, jobs: Sequence[Job]) -> None:
        """Let each task run one job, which writes to the store itself.

        The launcher numbers its jobs consecutively from a first number.
        """
        numbered = enumerate(jobs)
        for _, group in groupby(numbered, key=lambda pair: _number(pair[1]) - pair[0]):
            stretch = [job for _, job in group]
            with ended():
                returned = self._basic([list(job.typed) for job in stretch], _number(stretch[0]))
            for job, one in zip(stretch, returned, strict=True):
                self._returns[_number(job)] = one
                self._tally.ended(job, one)

    def _run_here(self, jobs: Sequence[Job]) -> None:
        own = [job for job in jobs if _needs_store(job)]
        rest = [job for job in jobs if not _needs_store(job)]
        if rest:
            self._run_shards(rest)
        if own and not self._is_stopped:
            say(
                f"{len(own)} of {counted(len(jobs), 'run')} in a task each: {_needs_store(own[0])} "
                "needs the store"
            )
            self._run_by_hydra(own)

    def _run_shards(self, jobs: Sequence[Job]) -> None:
        """Let each task compute a shard, and report the runs as their records arrive."""
        by_number = {_number(job): job for job in jobs}
        parts = split(*self._split(jobs), executor.parallel(self._launcher))
        files = Exchange.opened(absolute(self._config.hydra.sweep.dir) / exchange.NAME)
        store = open_store(jobs[0])
        incoming = Incoming(files, store)
        shards = [self._shard(files, store, i, part) for i, part in enumerate(parts)]
        try:
            with ended() as interrupt, shielded():
                tasks, cancel = self._started(shards, files)
                try:
                    self._wait(tasks, incoming, by_number)
                except BaseException:
                    self._leave(interrupt, incoming, by_number)
                    if cancel:
                        say(GO_ON.format(" ".join(cancel)))
                    raise
                if self._is_stopped:
                    if cancel:
                        subprocess.run(cancel, check=False)
                    self._leave(interrupt, incoming, by_number)
                else:
                    self._report_missing(tasks, shards)
                    incoming.close_open_runs(jobs[0])
        except KeyboardInterrupt:
            if self._is_local:  # those of a cluster go on
                files.close()
            raise
        files.close()

    def _started(self, shards: Sequence[Shard], files: Exchange) -> tuple[list[Any], list[str]]:
        """Start the tasks; returns them, and the command that cancels those of a cluster."""
        tasks = self._submit(shards)
        cancel = [] if self._is_local else executor.cancelling(tasks)
        files.announce(" ".join(cancel))
        how = f" (to cancel them: {' '.join(cancel)})" if cancel else ""
        runs = counted(sum(len(shard.jobs) for shard in shards), "run")
        say(f"{runs} in {counted(len(tasks), 'task')}{how}")
        return tasks, cancel

    def _leave(
        self, interrupt: Callable[[], None], incoming: Incoming, jobs: Mapping[int, Job]
    ) -> None:
        """End the tasks that run here, and keep what has arrived."""
        interrupt()
        self._collect(incoming, jobs)

    @property
    def _is_stopped(self) -> bool:
        """Whether a failed run has stopped the sweep."""
        return self._stop and bool(self._tally.failures)

    def _shard(
        self, files: Exchange, store: Store | None, number: int, jobs: Sequence[Job]
    ) -> Shard:
        outbox = None
        if store is not None:
            from gdexp.tracking import spool

            outbox = Outbox(spool.folder(), store.uri, store.experiment, files.launch)
        leader = environment.process() if self._is_local else ""
        start = str(absolute("."))
        return Shard(number, tuple(jobs), files, outbox, start, (*sys.path,), self._stop, leader)

    def _submit(self, shards: Sequence[Shard]) -> list[Any]:
        """Start the tasks; those here ignore the terminal's Ctrl-C, as this process ends them."""
        share = executor.parallel(self._launcher) // len(shards)
        several_here = self._is_local and len(shards) > 1
        threads = executor.threads(max(1, share)) if several_here else nullcontext()
        with deaf_children(), threads:
            return executor.submit(self._launcher, shards)

    def _wait(self, tasks: Sequence[Any], incoming: Incoming, jobs: Mapping[int, Job]) -> None:
        """Collect what the tasks bring until all have ended, or a failed run stops the sweep."""
        running, asked = list(tasks), time.monotonic()
        while running:
            running = [task for task in running if not task.done()]
            if not self._is_local and time.monotonic() > asked + QUEUE:
                left = executor.gone(running)
                running = [task for task in running if str(task.job_id) not in left]
                asked = time.monotonic()
            self._collect(incoming, jobs)
            if self._is_stopped:
                return
            if running:
                with exposed():
                    time.sleep(PAUSE if self._is_local else CLUSTER_PAUSE)
        incoming.finish()

    def _collect(self, incoming: Incoming, jobs: Mapping[int, Job]) -> None:
        """Report the runs that have ended since."""
        for number, result, failure in incoming.collect():
            if number in self._returns:
                continue  # computed once more, by a task that was started again
            if result is None:
                self._failed(jobs[number], RunFailedError(failure))
            else:
                result.job = jobs[number]
                self._ended(jobs[number], result)

    def _report_missing(self, tasks: Sequence[Any], shards: Sequence[Shard]) -> None:
        """Report the runs that a task has not computed before it ended."""
        for task, shard in zip(tasks, shards, strict=True):
            missing = [job for job in shard.jobs if _number(job) not in self._returns]
            if not missing:
                continue
            cause = f"task {task.job_id} ended without it: {executor.reason(task)}"
            for job in missing:
                self._returns[_number(job)] = failed(job, RunFailedError(cause))
            self._tally.lost(missing, cause)
            say(f"the log of task {task.job_id} is {executor.log(task)}")


def _needs_store(job: Job) -> str:
    """The setting for which the task itself must use the store, or ""."""
    if job.settings["tracking"].get("log_model"):
        return "tracking.log_model=true"
    return "continue_from" if job.settings["continue_from"] is not None else ""


def _number(job: Job) -> int:
    assert job.number is not None
    return job.number
