"""The summary run of a sweep: the table of its runs, counts by outcome, the best run, the time."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gdexp.config.job import Job, quoted
from gdexp.config.paths import OUTPUTS, absolute
from gdexp.descent.result import Result
from gdexp.errors import ConfigError, counted, cut
from gdexp.insight import repetitions
from gdexp.sweep import best, resume
from gdexp.tracking import delivery, describe, environment, query
from gdexp.tracking.curves import table_parquet
from gdexp.tracking.delivery import Delivery
from gdexp.tracking.metric_names import curve_name
from gdexp.tracking.run_record import Curve, RecordedRun, RunRecord
from gdexp.tracking.store import Store
from gdexp.tracking.tags import (
    BEST_RUN,
    KIND,
    NOTE,
    OUTCOME,
    OVERRIDES,
    PROCESS,
    RUN_KEY,
    SWEEP,
    SWEEP_DIR,
)

Row: TypeAlias = Mapping[str, Any]


@dataclass
class Summary:
    """The summary run of a running sweep.

    Args:
        store: records it.
        typed: the overrides of the command line, without sweep.resume.
        jobs: all jobs of the sweep.
        folder: the sweep's folder.

    Attributes:
        run_id: the id of the summary run, once it is open.
    """

    store: Store
    typed: Sequence[str]
    jobs: Sequence[Job]
    folder: str
    run_id: str | None = None
    _key: str | None = None  # of its records
    _started: float = field(default_factory=time.time)
    _is_unread: bool = False  # whether runs are missing from the table as the store did not answer

    @property
    def sweep_id(self) -> str:
        """The id of the sweep."""
        return str(self.jobs[0].sweep_id)

    @property
    def _command(self) -> str:
        return quoted("python -m gdexp -m", self.typed)

    @property
    def _or_resume(self) -> str:
        return f", or type sweep.resume={self.sweep_id} to run its missing jobs"

    def open(self) -> None:
        """Open the run and record the definition of the sweep's jobs.

        Raises:
            ConfigError: the store already has a sweep of this name; their runs would be mixed.
        """
        # A store that does not answer is not asked: the name of a new folder is unique.
        if self._delivery.read(lambda: query.summaries_of(self.store, self.sweep_id)):
            raise ConfigError(
                f"hydra.sweep.dir: a sweep {self.sweep_id!r} is recorded already. Name another "
                f"folder{self._or_resume}."
            )
        count = f"{counted(len(self.jobs), 'run')}, " if self.jobs else ""
        note = f"`{cut(self._command, describe.LONGEST_VALUE)}`: {count}not finished yet."
        tags = self._tags() | describe.source_tags() | {PROCESS: environment.process()}
        tags[NOTE] = note
        record = self._record(tags, "RUNNING", **self._definition())
        (self.run_id,), self._key = self._delivery.write([record]), record.run_id

    def reopen(self, former: RecordedRun) -> None:
        """Reopen the summary run of a resumed sweep."""
        self.run_id = former.run_id
        self._key = former.tags.get(RUN_KEY, former.run_id)
        # An older version may have been killed before it recorded the definition.
        news = {} if "jobs" in former.params else self._definition()
        tags = self._tags() | {PROCESS: environment.process()}
        self._delivery.write([self._record(tags, "RUNNING", **news)])

    def close(self, rows: Mapping[int, Row], status: str) -> str:
        """End the run with the table of all runs; missing rows are read from the store.

        Args:
            rows: the rows of runs computed in this process, by job number.
            status: FINISHED, FAILED or KILLED.

        Returns:
            The summary in a sentence.
        """
        assert self.run_id is not None
        table = self._table(rows)
        groups = repetitions.over_seeds(table)
        counts = Counter(str(row["outcome"]) for row in table)
        parts = [f"{n} {outcome}" for outcome, n in counts.most_common()]
        missing = len(table) < len(self.jobs)  # refused, or not begun: they leave no record
        count = counted(max(len(self.jobs), len(table)), "run")
        count = f"{len(table)} of {count} recorded" if missing else count
        if self._is_unread:
            count = f"{counted(len(self.jobs), 'run')}, which cannot be read from the store now"
            count += self._or_resume.replace("run its missing jobs", "complete this table")
        sentence = count + (": " if parts else "") + ", ".join(parts)
        now = time.time()
        seconds = now - self._started
        metrics = {"sweep/runs": len(table), "sweep/seconds": seconds}
        metrics |= {f"sweep/{outcome}": n for outcome, n in counts.items()}
        outcome = {"FINISHED": "completed", "KILLED": "interrupted"}.get(status, "failed")
        tags = self._tags() | {OUTCOME: outcome}
        candidates = {row["job"] for row in table if best.is_candidate(row)}
        if not best.are_comparable([job for job in self.jobs if job.number in candidates]):
            sentence += ". Their losses measure different things, so none is the best"
        elif winners := best.best_of(table):
            metrics["best/loss"] = winners[0]["final/loss"]
            tags[BEST_RUN] = str(winners[0]["run_id"])
            sentence += f". {best.sentence(table)}"
            if over := repetitions.sentence(groups, [repetitions.SEED]):
                sentence += f". {over}"
        took = f"{sentence}. The sweep took {seconds:.1f} s"
        tags[NOTE] = f"`{cut(self._command, describe.LONGEST_VALUE)}`: {took}."
        stamp = int(now * 1000)
        curves = [Curve.point(name, float(v), 0, stamp) for name, v in metrics.items()]
        news = {"curves": curves, "end_ms": stamp, "artifacts": _files(table, groups)}
        if self._delivery.is_pending:  # the store may have lost what it had
            news = self._definition() | news
            news["artifacts"] = self._definition()["artifacts"] | news["artifacts"]
        self._delivery.write([self._record(tags, status, **news)])
        self._delivery.finish()
        if self._delivery.is_pending:
            took += f"; it is kept in {OUTPUTS}/spool, and delivered by python -m gdexp sync"
        if status == "KILLED" and self._or_resume:
            took += ". To run the rest, type the same command with sweep.resume=last"
        return took

    @property
    def _delivery(self) -> Delivery:
        return delivery.of(self.store)

    def _tags(self) -> dict[str, str]:
        return {
            KIND: "sweep",
            SWEEP: self.sweep_id,
            SWEEP_DIR: str(absolute(self.folder)),  # resumable from anywhere
            OVERRIDES: cut(" ".join(self.typed), describe.LONGEST_VALUE),
        }

    def _definition(self) -> dict[str, Any]:
        jobs = {resume.DEFINITION: resume.definition(self.jobs)}
        return {"params": {"jobs": str(len(self.jobs))}, "artifacts": jobs}

    def _record(self, tags: Mapping[str, str], status: str, **news: Any) -> RunRecord:
        """The record that opens the summary run, or adds to the open run."""
        if self._key is not None:
            news |= {"run_id": self._key, "is_open": True}
        return RunRecord(
            name=self._name,
            status=status,
            start_ms=int(self._started * 1000),
            tags=tags,
            **news,
        )

    @property
    def _name(self) -> str:
        return f"sweep {' '.join(self.typed)}"[: describe.LONGEST_NAME]

    def _table(self, rows: Mapping[int, Row]) -> Sequence[Row]:
        """A row for each run of the sweep, read from the store unless all are given.

        Only those given, if the store does not answer.
        """
        if len(rows) < len(self.jobs):
            recorded = self._recorded()
            recorded.sort(key=lambda run: run.status == "FINISHED")  # of two, the finished one wins
            read = {run.number: row_of(run) for run in recorded if run.number is not None}
            rows = {**read, **rows}
        return [rows[number] for number in sorted(rows)]

    def _recorded(self) -> list[RecordedRun]:
        self._delivery.finish()  # what is spooled is not in the store yet
        recorded = self._delivery.read(lambda: query.runs_of(self.store, self.sweep_id))
        self._is_unread = recorded is None
        return recorded or []


def _files(table: Sequence[Row], groups: Sequence[Row]) -> dict[str, bytes]:
    files = {"runs.csv": _csv(table), "runs.parquet": table_parquet(table)}
    if groups:
        files["repetitions.csv"] = _csv(groups)
    return files


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    lines.writeheader()
    lines.writerows(rows)
    return text.getvalue().encode()


def table_row(job: Job, result: Result) -> dict[str, Any]:
    """The row of a run that was computed here; equal to :func:`row_of` its record."""
    columns = result.trajectory.columns().items()
    last = {curve_name(name): float(v[-1]) for name, v in columns if len(v)}
    return {
        "job": job.number,
        "run_id": result.run_id,
        "name": describe.run_name(job),
        "outcome": result.outcome,
        **describe.params(job),
        **last,
        **describe.final_metrics(result),
    }


def row_of(run: RecordedRun) -> dict[str, Any]:
    """The row of a recorded run."""
    return {
        "job": run.number,
        "run_id": run.run_id,
        "name": run.name,
        "outcome": run.outcome,
        **run.params,
        **run.metrics,
    }
