"""A sweep as it goes: how many runs are done, failed, diverged, and the time left."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from gdexp.config.job import Job
from gdexp.console import report_job, say
from gdexp.descent.result import Result

FEW = 30  # up to so many runs, each has a line of its own


class Tally:
    """Counts the runs of a sweep; on a terminal, with a bar.

    Args:
        total: how many runs there are to do.

    Attributes:
        failures: overrides and cause of every run that failed.
        rows: what the summary says of each run whose result is at hand.
    """

    def __init__(self, total: int) -> None:
        self.failures: list[tuple[str, str]] = []
        self.rows: dict[int, dict[str, Any]] = {}
        self._total = total
        self._outcomes: Counter[str] = Counter()
        self._bar: Any = None
        if total > FEW and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("running", total=total, counts="")
            self._bar.start()

    def computed(self, runs: int) -> None:
        """So many runs of the present program are computed, not yet recorded."""
        if self._bar is not None:
            self._bar.update(self._task, description=f"computed {runs}")

    def ended(self, job: Job, returned: JobReturn, result: Result | None = None) -> None:
        """A run is over and recorded; without a result it has reported itself."""
        if returned.status is JobStatus.FAILED:
            cause = str(returned._return_value)
            self.failures.append((" ".join(job.typed), cause))
            self._outcomes["failed"] += 1
            say(f"#{job.number} {' '.join(job.typed)}: failed, {cause}")
        else:
            self._outcomes[result.outcome if result else "done"] += 1
            if result is not None:
                self._keep(job, result)
        if self._bar is not None:
            done = sum(self._outcomes.values())
            self._bar.update(self._task, completed=done, counts=self.counts)

    def _keep(self, job: Job, result: Result) -> None:
        if result.run_id is not None and job.number is not None:
            from gdexp.sweep.summary import table_row

            self.rows[job.number] = table_row(job, result)
        if self._total <= FEW:
            report_job(job, result)

    @property
    def counts(self) -> str:
        """``22 completed, 2 diverged``."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self._outcomes.most_common())

    def close(self) -> None:
        """Take the bar away and list the failures."""
        if self._bar is not None:
            self._bar.stop()
        if self.failures:
            width = max(len(overrides) for overrides, _ in self.failures)
            say(f"{len(self.failures)} of {self._total} runs failed:")
            for overrides, cause in self.failures:
                say(f"  {overrides:<{width}}  {cause}")


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
