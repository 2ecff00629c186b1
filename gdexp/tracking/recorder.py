"""Writing runs: many that have ended in one transaction, and one that lasts as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from gdexp.config.job import Job
from gdexp.data.preparation import Prepared
from gdexp.descent.result import Result
from gdexp.descent.signals import shielded
from gdexp.descent.trajectory import Trajectory
from gdexp.tracking import describe
from gdexp.tracking.run_record import RunRecord
from gdexp.tracking.store import Store

LASTING = 1.0  # seconds after which a run is opened in the store
EVERY = 5.0  # seconds between two writes of a run that goes on
ROWS = 200_000  # in one transaction: about a second of SQLite
BYTES = 64 * 2**20  # of files in one transaction
RUNS = 2000  # in one transaction; each touches all of the indexes
DELAY = 2.0  # seconds that a run waits for others to be written with


class Recording:
    """A run under way: opened in the store once it lasts, and fed with points.

    Args:
        store: where it is recorded.
        job: the run.
        data: what it is fitted to.
    """

    def __init__(self, store: Store, job: Job, data: Prepared) -> None:
        self.job = job
        self.run_id: str | None = None  # once it is open
        self.sent = 0  # epochs that the store has
        self._store, self._data = store, data
        self._started = time.time()
        self._written = time.perf_counter()

    def update(self, trajectory: Trajectory) -> None:
        """Write the new points, if the last write was a while ago."""
        if time.perf_counter() - self._written > (EVERY if self.run_id else LASTING):
            self._open()
            with shielded():
                self._feed(trajectory)

    def keep(self, name: str, content: bytes) -> str:
        """Keep a checkpoint among the run's files; the answer is what continue_from takes."""
        run_id = self._open()
        with shielded():
            self._write(artifacts={f"{describe.CHECKPOINTS}/{name}": content})
        return run_id

    def keep_model(self, result: Result) -> None:
        """Keep the fitted predictor as an MLflow model, which needs the run to be there."""
        if result.fitted is None:
            return
        from gdexp.tracking.model import log_model  # imports much of MLflow

        run_id, params = self._open(), describe.params(self.job)
        epoch = result.trajectory.length
        log_model(self._store, run_id, result.fitted, self._data, params, epoch)

    def _open(self) -> str:
        with shielded():
            if self.run_id is None:
                record = describe.opening(self.job, self._data, self._started)
                (self.run_id,) = self._store.write([record])
                self._written = time.perf_counter()
            return self.run_id

    def _feed(self, trajectory: Trajectory) -> None:
        seconds = time.time() - self._started
        curves = describe.curves(self.job, trajectory, self._started, seconds, after=self.sent)
        self._write(curves=[*curves])
        self.sent = trajectory.length
        self._written = time.perf_counter()

    def _write(self, **news: Any) -> None:
        assert self.run_id is not None
        self._store.write([describe.addition(self.job, self.run_id, self._started, **news)])


class _Pending(NamedTuple):
    job: Job
    result: Result
    record: RunRecord


class Recorder:
    """Writes runs to a store, in few transactions.

    Args:
        store: the store.
        on_written: is told of every run once it is in the store.
    """

    def __init__(
        self, store: Store, on_written: Callable[[Job, Result], None] | None = None
    ) -> None:
        self.store = store
        self._on_written = on_written
        self._pending: list[_Pending] = []
        self._rows = self._bytes = self._count = 0
        self._since = 0.0

    def begin(self, job: Job, data: Prepared) -> Recording:
        """A run that is about to start; nothing is written yet."""
        return Recording(self.store, job, data)

    def end(self, recording: Recording, result: Result) -> None:
        """Record how a run has ended."""
        try:
            if recording.job.settings["tracking"].get("log_model"):
                recording.keep_model(result)
        except Exception as error:
            result.outcome, result.reason = "failed", f"the model could not be logged: {error}"
            raise
        finally:
            self._add(recording.job, result, self._ended(recording, result))

    def _ended(self, recording: Recording, result: Result) -> RunRecord:
        record = describe.record(recording.job, result, after=recording.sent)
        if recording.run_id is not None:
            news: dict[str, Any] = {"params": {}, "dataset": None, "is_open": True}
            return replace(record, run_id=recording.run_id, **news)
        return record

    def add(self, job: Job, result: Result) -> None:
        """Record a run that was computed elsewhere."""
        self._add(job, result, describe.record(job, result))

    def _add(self, job: Job, result: Result, record: RunRecord) -> None:
        if not self._pending:
            self._since = time.perf_counter()
        self._pending.append(_Pending(job, result, record))
        self._rows += record.size
        self._bytes += sum(map(len, record.artifacts.values()))
        is_full = self._rows > ROWS or self._bytes > BYTES or len(self._pending) >= RUNS
        if is_full or time.perf_counter() - self._since > DELAY:
            self.flush()

    def flush(self) -> None:
        """Write what is pending; a signal waits until this is done.

        Raises:
            WriteError: the store refuses.
        """
        with shielded():
            pending, self._pending = self._pending, []
            self._rows = self._bytes = 0
            parts = [pending] if self.store.atomic else [[one] for one in pending]
            for part in filter(None, parts):
                ids = self.store.write([one.record for one in part])
                self._count += len(part)
                for one, run_id in zip(part, ids, strict=True):
                    one.result.run_id = run_id
                    if self._on_written is not None:
                        self._on_written(one.job, one.result)

    def close(self) -> None:
        """Write what is pending, and let a database with many new runs measure its tables."""
        self.flush()
        if self._count:
            self.store.analyze_after(self._count)
