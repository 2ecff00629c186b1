"""Writing runs: short ones together when they have ended, a long one also on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from gdexp.config.job import Job
from gdexp.data.preparation import Prepared
from gdexp.descent.result import Result
from gdexp.descent.signals import shielded
from gdexp.descent.trajectory import Trajectory
from gdexp.tracking import delivery, describe
from gdexp.tracking.patience import patiently
from gdexp.tracking.run_record import RunRecord
from gdexp.tracking.store import Store

LASTING = 1.0  # seconds after which a run is opened in the store
EVERY = 5.0  # seconds between two writes of a run under way
ROWS = 200_000  # per transaction: about a second in SQLite
BYTES = 64 * 2**20  # of artifacts per transaction
RUNS = 2000  # per transaction; each run updates every index
MODEL = 600.0  # seconds that uploading a model may take
NO_MODEL = "the model is not logged, since the store cannot be written"
DELAY = 2.0  # seconds that a run waits for others to share its transaction


class Recording:
    """A run under way: opened in the store when it takes long, and then updated.

    Args:
        store: where it is recorded.
        job: the run.
        data: the data it is fitted to.
    """

    def __init__(self, store: Store, job: Job, data: Prepared) -> None:
        self.job = job
        self.run_id: str | None = None  # in the store, once it is open
        self.key: str | None = None  # of its records, see RunRecord.run_id
        self.sent = 0  # the number of epochs that the store has
        self._store, self._data = store, data
        self._delivery = delivery.of(store)
        self._started = time.time()
        self._written = time.perf_counter()

    def update(self, trajectory: Trajectory) -> None:
        """Write the new points, if the last write was a while ago."""
        if time.perf_counter() - self._written > (EVERY if self.run_id else LASTING):
            self._open()
            with shielded():
                self._feed(trajectory)

    def keep(self, name: str, content: bytes) -> str:
        """Store a checkpoint as an artifact; returns the value for continue_from."""
        run_id = self._open()
        with shielded():
            self._write(artifacts={f"{describe.CHECKPOINTS}/{name}": content})
        return run_id

    def keep_model(self, result: Result) -> None:
        """Log the fitted predictor as an MLflow model, opening the run if need be."""
        if result.fitted is None:
            return
        from gdexp.tracking.model import log_model  # imports much of MLflow

        params, epoch = describe.params(self.job), result.trajectory.length
        run_id = self._open()
        log = partial(log_model, self._store, run_id, result.fitted, self._data, params, epoch)
        if self._delivery.is_pending:
            result.notes["log_model"] = NO_MODEL
        else:
            patiently(log, self._store.uri, MODEL)

    def _open(self) -> str:
        with shielded():
            if self.run_id is None:
                record = describe.opening(self.job, self._data, self._started)
                (self.run_id,) = self._delivery.write([record])
                self.key = record.run_id
                self._written = time.perf_counter()
            return self.run_id

    def _feed(self, trajectory: Trajectory) -> None:
        seconds = time.time() - self._started
        curves = describe.curves(self.job, trajectory, self._started, seconds, after=self.sent)
        self._write(curves=[*curves])
        self.sent = trajectory.length
        self._written = time.perf_counter()

    def _write(self, **news: Any) -> None:
        assert self.key is not None
        addition = RunRecord(
            name=describe.run_name(self.job),
            status="RUNNING",
            start_ms=int(self._started * 1000),
            run_id=self.key,
            is_open=True,
            **news,
        )
        self._delivery.write([addition])


class _Pending(NamedTuple):
    job: Job
    result: Result
    record: RunRecord


class Recorder:
    """Writes runs to a store, in few transactions.

    A run waits for others to be written with, but never for long: a timer writes what is pending
    while the next run is still being computed.

    Args:
        store: the store.
        on_written: called with each run after it has been written; or None.
    """

    def __init__(self, store: Store, on_written: Callable[[Job, Result], None] | None) -> None:
        self.store = store
        self._on_written = on_written
        self._delivery = delivery.of(store)
        self._pending: list[_Pending] = []
        self._spooled: dict[str, Result] = {}  # by the run's key
        self._rows = self._bytes = self._count = 0
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._error: Exception | None = None  # of the timer's thread

    def begin(self, job: Job, data: Prepared) -> Recording:
        """Start recording a run; nothing is written yet."""
        return Recording(self.store, job, data)

    def end(self, recording: Recording, result: Result) -> None:
        """Record the end of a run."""
        try:
            if recording.job.settings["tracking"].get("log_model"):
                recording.keep_model(result)
        except Exception as error:
            result.fail(error, f"the model could not be logged: {error}")
            raise
        finally:
            job, key = recording.job, recording.key
            record = describe.record(job, result, run_id=key, after=recording.sent)
            self._add(job, result, record)

    def add(self, job: Job, result: Result) -> None:
        """Record a run that has been computed, with others or in another process."""
        self._add(job, result, describe.record(job, result))

    def _add(self, job: Job, result: Result, record: RunRecord) -> None:
        with self._lock:
            self._pending.append(_Pending(job, result, record))
            self._rows += record.size
            self._bytes += sum(map(len, record.artifacts.values()))
            is_full = self._rows > ROWS or self._bytes > BYTES or len(self._pending) >= RUNS
            if self._timer is None and not is_full:
                self._timer = threading.Timer(DELAY, self._flush_late)
                self._timer.daemon = True
                self._timer.start()
        if is_full or self._error is not None:
            self.flush()

    def flush(self) -> None:
        """Write the pending runs; signals wait until they are written.

        Raises:
            WriteError: neither the store nor the spool can be written.
        """
        with shielded():
            self._write_pending()
            if self._error is not None:
                error, self._error = self._error, None
                raise error

    def _flush_late(self) -> None:
        try:
            self._write_pending()
        except Exception as error:  # raised where the runs are computed
            self._error = error

    def _write_pending(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            pending, self._pending = self._pending, []
            self._rows = self._bytes = 0
            parts = [pending] if self.store.atomic else [[entry] for entry in pending]
            for part in filter(None, parts):
                ids = self._delivery.write([entry.record for entry in part])
                self._count += len(part)
                for entry, run_id in zip(part, ids, strict=True):
                    entry.result.run_id = run_id
                    if self._delivery.is_kept(entry.record.run_id):
                        entry.result.is_spooled = True
                        self._spooled[entry.record.run_id] = entry.result
                    if self._on_written is not None:
                        self._on_written(entry.job, entry.result)

    def finish(self) -> None:
        """Try once more to deliver what has been spooled, and say so in the results."""
        with shielded():
            self._delivery.finish()
            for key, result in self._spooled.items():
                result.run_id = self._delivery.id_of(key)
                result.is_spooled = self._delivery.is_kept(key)

    def close(self) -> None:
        """Write the pending runs; after many, let the database update its statistics."""
        self.flush()
        if self._count and not self._delivery.is_pending:
            self.store.analyze_after(self._count)
