"""Runs a sweep's jobs in this process: together if they differ only in numbers, else one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from gdexp.config.job import Job
from gdexp.config.overrides import typed
from gdexp.config.paths import absolute
from gdexp.console import print_traceback, say
from gdexp.descent.result import Result
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import (
    ConfigError,
    GdexpError,
    RunFailedError,
    StoreError,
    WriteError,
    counted,
)
from gdexp.experiment import Ready, open_store, prepare, recorder_of, run_within
from gdexp.sweep.progress import Tally
from gdexp.sweep.vectorized.compute import compute
from gdexp.sweep.vectorized.groups import vectorizable
from gdexp.sweep.workers.engines import Engine, Local

if TYPE_CHECKING:
    from gdexp.tracking.recorder import Recorder

FOLDERS = ("hydra.sweep.subdir=", "hydra.output_subdir=")  # unused where jobs have no folder

Basic = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]


class ComputedReturn(JobReturn):
    """The return of a job that was computed here; its configuration is composed on demand.

    Args:
        job: the job.
        value: the return value, the job's final loss.
        compose: composes the job's configuration, including Hydra's node.
    """

    def __init__(self, job: Job, value: float | None, compose: Callable[[], DictConfig]) -> None:
        super().__init__(overrides=list(job.typed), task_name="gdexp", status=JobStatus.COMPLETED)
        for name in ("cfg", "hydra_cfg"):  # Hydra's dataclass sets them to None
            del vars(self)[name]
        self.return_value = value
        self._compose = compose

    @functools.cached_property
    def _composed(self) -> DictConfig:
        return self._compose()

    @functools.cached_property
    def cfg(self) -> DictConfig:  # type: ignore[override]
        """The job's configuration."""
        plain = self._composed.copy()
        with open_dict(plain):
            plain.pop("hydra")
        return plain

    @functools.cached_property
    def hydra_cfg(self) -> DictConfig:  # type: ignore[override]
        """Hydra's own configuration of the job."""
        return OmegaConf.masked_copy(self._composed, "hydra")


class Launch:
    """One call of the launcher.

    Args:
        config: the sweep's configuration, including Hydra's node.
        loader: Hydra's configuration loader.
        basic: runs jobs one after another, as Hydra's basic launcher does.
        engine: computes runs together.
        tally: counts the runs that have ended.
    """

    def __init__(
        self, config: DictConfig, loader: Any, basic: Basic, engine: Engine, tally: Tally
    ) -> None:
        self._config, self._loader = config, loader
        self._basic, self._engine, self._tally = basic, engine, tally
        self._stop = config.get("sweep", {}).get("on_error") == "stop"
        self._returns: dict[int, JobReturn] = {}

    def run(self, jobs: Sequence[Job]) -> Sequence[JobReturn]:
        """Run the jobs; their returns, in order."""
        absolute(self._config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # as Hydra's do
        if reason := needs_hydra(self._config):
            say(f"{len(jobs)} of {counted(len(jobs), 'run')} one after another: {reason}")
            self._run_by_hydra(jobs)
        elif jobs:
            self._run_here(jobs)
        return [self._returns[number] for number in sorted(self._returns)]

    def _run_by_hydra(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            (returned,) = self._basic([list(job.typed)], _number(job))
            self._returns[_number(job)] = returned
            self._tally.ended(job, returned)
            if self._stop and returned.status is JobStatus.FAILED:
                break

    def _run_here(self, jobs: Sequence[Job]) -> None:
        """Compute and record the jobs in this process, together if possible."""
        recorder = self._recorder(jobs[0])
        with shielded():  # a signal must not keep computed runs from being recorded
            try:
                groups, alone = self._split(jobs)
                for group in groups:
                    alone += self._run_together(group, recorder)
                for job in sorted(alone, key=_number):
                    self._run_alone(job, recorder)
                    if self._stop and self._tally.failures:
                        break
            finally:
                if recorder is not None:
                    recorder.close()

    def _recorder(self, job: Job) -> Recorder | None:
        """What records the runs; None if tracking is off."""
        return recorder_of(open_store(job), self._ended)

    def _prepared(self, job: Job) -> Ready:
        """The run of a job, checked and built."""
        return prepare(job)

    def _split(self, jobs: Sequence[Job]) -> tuple[list[list[Job]], list[Job]]:
        """The jobs that can be computed together, and those that run alone."""
        groups, alone = vectorizable(jobs)
        for reason, left in alone.items():
            if reason:
                say(f"{len(left)} of {counted(len(jobs), 'run')} one after another: {reason}")
        return groups, [job for left in alone.values() for job in left]

    def _run_together(self, jobs: list[Job], recorder: Recorder | None) -> list[Job]:
        """Compute runs as one program; returns those that must run alone because it failed."""
        computed: set[int] = set()
        try:
            # In this process, the program itself ends at a signal, with the epochs of its runs.
            with nullcontext() if isinstance(self._engine, Local) else exposed():
                for job, result in compute(jobs, self._tally.computed, self._engine):
                    if recorder is None:
                        self._ended(job, result)
                    else:
                        recorder.add(job, result)
                    computed.add(_number(job))
            self._tally.computed_all(jobs)
            with exposed():  # raises if there was a signal
                pass
        except StoreError:
            raise
        except ConfigError:  # that the first is refused says nothing of the others
            return [job for job in jobs if _number(job) not in computed]
        except Exception as error:
            left = [job for job in jobs if _number(job) not in computed]
            reason = f"{type(error).__name__}: {error}"
            say(f"{counted(len(left), 'run')} one after another: vectorizing failed with {reason}")
            return left
        return []

    def _run_alone(self, job: Job, recorder: Recorder | None) -> None:
        try:
            with exposed():
                ready = self._prepared(job)
            result = run_within(ready, recorder, bar=False)
        except WriteError:
            raise
        except Exception as error:
            if not isinstance(error, GdexpError):
                print_traceback(error)
            self._failed(job, error)
            return
        if recorder is None:
            self._ended(job, result)

    def _ended(self, job: Job, result: Result) -> None:
        """Report a run that has ended and, if there is a store, is recorded."""
        if result.outcome in ("failed", "interrupted"):  # reported by whoever catches the exception
            return
        value = result.loss if result.trajectory.length else None
        returned = ComputedReturn(job, value, functools.partial(self._compose, job))
        self._returns[_number(job)] = returned
        self._tally.ended(job, returned, result)

    def _failed(self, job: Job, error: Exception) -> None:
        returned = failed(job, error)
        self._returns[_number(job)] = returned
        self._tally.ended(job, returned)

    def _compose(self, job: Job) -> DictConfig:
        composed: DictConfig = self._loader.load_sweep_config(self._config, list(job.typed))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = job.number
        return composed


def failed(job: Job, error: Exception) -> JobReturn:
    """The return of a job that failed."""
    returned = JobReturn(overrides=list(job.typed), task_name="gdexp", status=JobStatus.FAILED)
    returned.return_value = RunFailedError(str(error))  # reported; a sweeper may raise it
    return returned


def needs_hydra(config: DictConfig) -> str:
    """Why Hydra must run each job itself, or "" if it need not."""
    callbacks = sorted(config.hydra.callbacks or {})
    if callbacks:
        return f"the callback {callbacks[0]} is called for each job"
    if config.hydra.job.get("chdir"):
        return "hydra.job.chdir=true"
    if config.hydra.job.env_set:
        return "hydra.job.env_set is set for each job"
    own = [text for text in typed(config, "hydra") if text.startswith(FOLDERS)]
    return f"{own[0]} needs a folder for each job" if own else ""


def _number(job: Job) -> int:
    assert job.number is not None
    return job.number
