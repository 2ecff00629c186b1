"""Running a sweep's jobs: vectorized where they differ only in numbers, else one after another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.console import say
from gdexp.errors import GdexpError
from gdexp.sweep.jobs import Plan
from gdexp.sweep.progress import Tally
from gdexp.sweep.vectorized import compute
from gdexp.sweep.workers.engines import Engine

Basic = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]


class ComputedReturn(JobReturn):
    """The return of a job that was vectorized; its configuration is composed if asked for.

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
        launcher: Hydra's launcher object, set up.
        basic: Hydra's basic way to run jobs, one after another.
        engine: what computes vectorized runs.
    """

    def __init__(self, launcher: Any, basic: Basic, engine: Engine) -> None:
        self._config: DictConfig = launcher.config
        self._loader = launcher.hydra_context.config_loader
        self._basic = basic
        self._engine = engine
        self._planned: dict[int, Job] = getattr(launcher, "planned", {})
        self._tally: Tally | None = getattr(launcher, "tally", None)
        self._stop = self._config.get("sweep", {}).get("on_error") == "stop"

    def run(self, job_overrides: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """Run the jobs, numbered from first, and return theirs in order."""
        absolute(self._config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # as Hydra's do
        jobs = [self._job(overrides, first + i) for i, overrides in enumerate(job_overrides)]
        returns: dict[int, JobReturn] = {}
        groups, alone = self._split(jobs)
        tally = self._tally or Tally(len(jobs))
        for group in groups:
            returns |= self._run_vectorized(group, alone, tally)
        for job in sorted(alone, key=lambda job: job.number or 0):
            assert job.number is not None
            (returns[job.number],) = self._basic([list(job.typed)], job.number)
            tally.ended(job, returns[job.number])
            if self._stop and returns[job.number].status is JobStatus.FAILED:
                break
        return [returns[number] for number in sorted(returns)]

    def _job(self, overrides: Sequence[str], number: int) -> Job:
        if number in self._planned:
            return self._planned[number]
        return self._plan.job(overrides, self._sweep_id, number)

    @cached_property
    def _plan(self) -> Plan:
        return plan(self._config, self._loader)

    @property
    def _sweep_id(self) -> str:
        return Path(self._config.hydra.sweep.dir).name

    def _split(self, jobs: Sequence[Job]) -> tuple[list[list[Job]], list[Job]]:
        """The jobs that can be computed together, and those that run alone."""
        groups: dict[str, list[Job]] = defaultdict(list)
        alone: list[Job] = []
        reasons: dict[str, int] = defaultdict(int)
        watched = set(self._config.hydra.callbacks or {}) - {"preflight"}
        for job in jobs:
            reason = compute.obstacle(job)
            if watched:
                reason = f"the callback {min(watched)} wants to see each job"
            if reason:
                reasons[reason] += 1
                alone.append(job)
            else:
                groups[compute.group_key(job)].append(job)
        for reason, count in reasons.items():
            say(f"{count} of {len(jobs)} runs one after another: {reason}")
        return list(groups.values()), alone

    def _run_vectorized(
        self, jobs: list[Job], alone: list[Job], tally: Tally
    ) -> dict[int, JobReturn]:
        """Compute and record jobs as one; what cannot be done is left to run alone."""
        returns: dict[int, JobReturn] = {}
        try:
            computed = compute.compute(jobs, tally.computed, self._engine)
            for ended in self._recorded(computed, jobs[0]):
                number = ended.job.number
                assert number is not None
                loss = ended.result.trajectory.loss
                value = float(loss[-1]) if len(loss) else None
                returns[number] = ComputedReturn(ended.job, value, self._composer(ended.job))
                tally.ended(ended.job, returns[number], ended.result)
        except GdexpError:
            raise
        except Exception as error:
            left = [job for job in jobs if job.number not in returns]
            reason = f"vectorizing failed with {type(error).__name__}: {error}"
            say(f"{len(left)} runs one after another: {reason}")
            alone += left
        return returns

    def _recorded(self, ended: Iterator[compute.Ended], first: Job) -> Iterator[compute.Ended]:
        """The same, each written to the store before it is passed on."""
        tracking = first.settings["tracking"]
        if not tracking["enabled"]:
            yield from ended
            return
        from gdexp.tracking.store import connect

        store = connect(tracking)
        from gdexp.sweep.recording import written

        yield from written(store, ended)

    def _composer(self, job: Job) -> Callable[[], DictConfig]:
        def compose() -> DictConfig:
            composed: DictConfig = self._loader.load_sweep_config(self._config, list(job.typed))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = job.number
            return composed

        return compose


def plan(config: DictConfig, loader: Any) -> Plan:
    """The plan of a sweep under a composed configuration."""

    def compose(overrides: list[str]) -> DictConfig:
        composed: DictConfig = loader.load_sweep_config(config, overrides)
        return composed

    return Plan(compose, loader.list_groups(""))
