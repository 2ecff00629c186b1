"""Running a sweep's jobs in this process: together where they differ only in numbers, or alone."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.console import say
from gdexp.descent.result import Result
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import ConfigError, GdexpError, StoreError, WriteError
from gdexp.experiment import open_store, prepare, recorder_of, run_within
from gdexp.sweep.jobs import Plan
from gdexp.sweep.progress import Tally
from gdexp.sweep.vectorized import compute as vectorized
from gdexp.sweep.workers.engines import Engine

if TYPE_CHECKING:
    from gdexp.tracking.recorder import Recorder

Basic = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]


class ComputedReturn(JobReturn):
    """The return of a job that was computed here; its configuration is composed if asked for.

    Args:
        job: the job.
        value: what the job returns, its final loss.
        compose: composes the job's configuration, with Hydra's node in it.
    """

    def __init__(self, job: Job, value: float | None, compose: Callable[[], DictConfig]) -> None:
        self._compose = compose
        self._composed: DictConfig | None = None
        super().__init__(overrides=list(job.typed), task_name="gdexp", status=JobStatus.COMPLETED)
        self.return_value = value

    def _config(self) -> DictConfig:
        if self._composed is None:
            self._composed = self._compose()
        return self._composed

    @property
    def cfg(self) -> DictConfig:
        """The job's configuration."""
        plain = self._config().copy()
        with open_dict(plain):
            plain.pop("hydra")
        return plain

    @cfg.setter
    def cfg(self, value: object) -> None:
        """Hydra's dataclass sets it to None."""

    @property
    def hydra_cfg(self) -> DictConfig:
        """Hydra's own configuration of the job."""
        return OmegaConf.masked_copy(self._config(), "hydra")

    @hydra_cfg.setter
    def hydra_cfg(self, value: object) -> None:
        """Hydra's dataclass sets it to None."""


class Launch:
    """One call of the launcher.

    Args:
        config: Hydra's configuration of the sweep.
        loader: Hydra's loader of configurations.
        basic: Hydra's basic way to run jobs, one after another.
        engine: what computes runs together.
        tally: is told of every run that is over.
    """

    def __init__(
        self, config: DictConfig, loader: Any, basic: Basic, engine: Engine, tally: Tally
    ) -> None:
        self._config, self._loader = config, loader
        self._basic, self._engine, self._tally = basic, engine, tally
        self._stop = config.get("sweep", {}).get("on_error") == "stop"
        self._returns: dict[int, JobReturn] = {}

    def run(self, jobs: Sequence[Job]) -> Sequence[JobReturn]:
        """Run the jobs, and return theirs in order."""
        absolute(self._config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # as Hydra's do
        if watcher := self._watcher():
            count = f"{len(jobs)} of {len(jobs)} runs"
            say(f"{count} one after another: {watcher} wants to see each job")
            self._run_by_hydra(jobs)
        elif jobs:
            self._run_here(jobs)
        return [self._returns[number] for number in sorted(self._returns)]

    def _watcher(self) -> str:
        """Who wants every job to be Hydra's: a callback of the user's own, or a setting; or ""."""
        callbacks = sorted(set(self._config.hydra.callbacks or {}) - {"preflight"})
        if callbacks:
            return f"the callback {callbacks[0]}"
        return "hydra.job.chdir=true" if self._config.hydra.job.get("chdir") else ""

    def _run_by_hydra(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            (returned,) = self._basic([list(job.typed)], _number(job))
            self._returns[_number(job)] = returned
            self._tally.ended(job, returned)
            if self._stop and returned.status is JobStatus.FAILED:
                break

    def _run_here(self, jobs: Sequence[Job]) -> None:
        """Compute and record the jobs in this process, together where that is possible."""
        recorder = recorder_of(open_store(jobs[0]), self._ended)
        with shielded():  # what has been computed is recorded, whatever happens
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

    def _split(self, jobs: Sequence[Job]) -> tuple[list[list[Job]], list[Job]]:
        """The jobs that can be computed together, and those that run alone."""
        groups: dict[str, list[Job]] = defaultdict(list)
        alone: list[Job] = []
        reasons: dict[str, int] = defaultdict(int)
        for job in jobs:
            if reason := vectorized.obstacle(job):
                reasons[reason] += 1
                alone.append(job)
            else:
                groups[vectorized.group_key(job)].append(job)
        for reason, count in reasons.items():
            say(f"{count} of {len(jobs)} runs one after another: {reason}")
        return list(groups.values()), alone

    def _run_together(self, jobs: list[Job], recorder: Recorder | None) -> list[Job]:
        """Compute runs as one program; what it cannot do is left to run alone."""
        computed: set[int] = set()
        try:
            with exposed():
                for job, result in vectorized.compute(jobs, self._tally.computed, self._engine):
                    if recorder is None:
                        self._ended(job, result)
                    else:
                        recorder.add(job, result)
                    computed.add(_number(job))
        except StoreError:
            raise
        except ConfigError:  # that the first is refused says nothing of the others
            return [job for job in jobs if _number(job) not in computed]
        except Exception as error:
            left = [job for job in jobs if _number(job) not in computed]
            reason = f"{type(error).__name__}: {error}"
            say(f"{len(left)} runs one after another: vectorizing failed with {reason}")
            return left
        return []

    def _run_alone(self, job: Job, recorder: Recorder | None) -> None:
        try:
            with exposed():
                ready = prepare(job)
            result = run_within(ready, recorder, bar=False)
        except WriteError:
            raise
        except Exception as error:
            if not isinstance(error, GdexpError):
                traceback.print_exc()
            self._failed(job, error)
            return
        if recorder is None:
            self._ended(job, result)

    def _ended(self, job: Job, result: Result) -> None:
        """A run is over, and in the store if there is one."""
        if result.outcome in ("failed", "interrupted"):  # told by the exception that ended it
            return
        loss = result.trajectory.loss
        value = float(loss[-1]) if len(loss) else None
        returned = ComputedReturn(job, value, self._composer(job))
        self._returns[_number(job)] = returned
        self._tally.ended(job, returned, result)

    def _failed(self, job: Job, error: Exception) -> None:
        returned = JobReturn(overrides=list(job.typed), task_name="gdexp", status=JobStatus.FAILED)
        returned.return_value = error
        self._returns[_number(job)] = returned
        self._tally.ended(job, returned)

    def _composer(self, job: Job) -> Callable[[], DictConfig]:
        def compose() -> DictConfig:
            composed: DictConfig = self._loader.load_sweep_config(self._config, list(job.typed))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = job.number
            return composed

        return compose


def _number(job: Job) -> int:
    assert job.number is not None
    return job.number


def planned(
    config: DictConfig, loader: Any, job_overrides: Sequence[Sequence[str]], first: int
) -> list[Job]:
    """The jobs of a sweeper that hands over overrides, numbered from first."""
    plan, sweep_id = planner(config, loader), Path(config.hydra.sweep.dir).name
    return [plan.job(texts, sweep_id, first + i) for i, texts in enumerate(job_overrides)]


def planner(config: DictConfig, loader: Any) -> Plan:
    """The plan of a sweep under a composed configuration."""

    def compose(overrides: list[str]) -> DictConfig:
        composed: DictConfig = loader.load_sweep_config(config, overrides)
        return composed

    return Plan(compose, loader.list_groups(""))
