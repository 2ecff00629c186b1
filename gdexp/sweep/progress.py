"""Progress of a sweep: runs done by outcome, failures and the time remaining."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from hydra.core.utils import JobReturn, JobStatus

from gdexp.config.job import Job
from gdexp.console import report_job, report_notes, say
from gdexp.descent.progress import new_bar
from gdexp.descent.result import Result
from gdexp.errors import counted
from gdexp.sweep import best

FEW = 30  # up to this many runs, each is reported on its own line
LONG = 100_000  # epochs that take long enough for a bar, however few the runs
LISTED = 100  # failures that are listed at the end


Observer: TypeAlias = Callable[[Job, JobReturn, Result | None], None]
"""Called with each run of a sweep that has ended, and its result if it was computed here."""

_observer: ContextVar[Observer | None] = ContextVar("_observer", default=None)


@contextmanager
def observed(by: Observer) -> Iterator[None]:
    """Tell an observer of every run that this thread launches within this block."""
    token = _observer.set(by)
    try:
        yield
    finally:
        _observer.reset(token)


def epochs_of(jobs: Sequence[Job]) -> int:
    """The number of epochs of jobs."""
    return sum(job.settings["iters"] for job in jobs)


class Tally:
    """Counts the runs of a sweep by outcome; on a terminal, with a bar.

    Args:
        total: the number of runs.
        epochs: the number of epochs of all of them.
        summarised: whether the sweep has a summary run, which names the best run.

    Attributes:
        failures: overrides and cause of every failed run.
        rows: the summary's row of each run computed in this process, by job number.
    """

    def __init__(self, total: int, epochs: int = 0, *, summarised: bool = True) -> None:
        self.failures: list[tuple[str, str]] = []
        self.rows: dict[int, dict[str, Any]] = {}
        self._total, self._epochs, self._summarised = total, epochs, summarised
        self._computed = 0  # epochs of the programs before the current one
        self._outcomes: Counter[str] = Counter()
        self._observer = _observer.get()  # a run may be reported by another thread
        self._bar: Any = None
        if (total > FEW or epochs > LONG) and sys.stderr.isatty():
            self._bar = new_bar("counts")
            self._task = self._bar.add_task("running", total=total, counts="")
            self._bar.start()

    def computed(self, epochs: int) -> None:
        """Show how many epochs of the current program are computed; its runs end together."""
        if self._bar is not None:
            done = f"{self._computed + epochs:,} of {self._epochs:,} epochs"
            self._bar.update(self._task, description=done)

    def computed_all(self, jobs: Sequence[Job]) -> None:
        """Count the epochs of these runs, which have been computed together."""
        self._computed += epochs_of(jobs)

    def ended(self, job: Job, returned: JobReturn, result: Result | None = None) -> None:
        """Count a run that has ended; if its result is given, also report it and keep its row."""
        if self._observer is not None:
            self._observer(job, returned, result)
        if returned.status is JobStatus.FAILED:
            cause = str(returned._return_value)
            self.failures.append((" ".join(job.words), cause))
            self._outcomes["failed"] += 1
            say(f"#{job.number} {' '.join(job.words)}: failed, {cause}")
        else:
            self._outcomes[result.outcome if result else "done"] += 1
            if result is not None:
                self._keep(job, result)
        if self._bar is not None:
            done = sum(self._outcomes.values())
            self._bar.update(self._task, completed=done, counts=self.counts)

    def lost(self, jobs: Sequence[Job], cause: str) -> None:
        """Count runs that were not computed, for one cause."""
        self.failures += [(" ".join(job.words), cause) for job in jobs]
        self._outcomes["failed"] += len(jobs)
        first = f"#{jobs[0].number} {' '.join(jobs[0].words)}".rstrip()
        which = first + f" and {counted(len(jobs) - 1, 'more run')}" * (len(jobs) > 1)
        say(f"{which}: failed, {cause}")

    def _keep(self, job: Job, result: Result) -> None:
        if result.run_id is not None and job.number is not None:
            from gdexp.sweep.summary import table_row

            self.rows[job.number] = table_row(job, result)
        if not self._summarised:
            best.remember(job, result)
        report = report_job if self._total <= FEW else report_notes
        report(job, result)

    @property
    def counts(self) -> str:
        """``22 completed, 2 diverged``."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self._outcomes.most_common())

    def close(self) -> None:
        """Remove the bar and list the failures."""
        if self._bar is not None:
            self._bar.stop()
        if self.failures:
            width = max(len(overrides) for overrides, _ in self.failures)
            say(f"{len(self.failures)} of {counted(self._total, 'run')} failed:")
            for overrides, cause in self.failures[:LISTED]:
                say(f"  {overrides:<{width}}  {cause}")
            if (more := len(self.failures) - LISTED) > 0:
                say(f"  and {more} more")
