"""A run's life in MLflow: opened before the first epoch, written in batches, always closed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mlflow.entities import Metric, RunStatus
from numpy.typing import NDArray

from gdexp.config.job import Job
from gdexp.data.preparation import Prepared
from gdexp.descent.build import Components
from gdexp.descent.fitted import FILE, Fitted, is_told
from gdexp.descent.signals import shielded
from gdexp.descent.trajectory import Trajectory
from gdexp.tracking import describe
from gdexp.tracking.artifacts import CHECKPOINTS
from gdexp.tracking.curves import curve_epochs, epoch_times, parquet
from gdexp.tracking.store import Store

if TYPE_CHECKING:
    from gdexp.experiment import Result

BATCH = 1000  # rows that MLflow takes in one call
EVERY = 5.0  # seconds between writes while a run goes on
STATUS = {"failed": RunStatus.FAILED, "interrupted": RunStatus.KILLED}


class Record:
    """One run in the store.

    Attributes:
        run_id: the run's id in MLflow.
        name: the run's name, the overrides it was started with.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self.store = store
        self.name = describe.run_name(job)
        self._job = job
        self._started = time.time()
        self._written = time.perf_counter()
        self._sent = 0
        self._wanted = curve_epochs(job.settings["iters"], job.settings["tracking"]["max_points"])
        run = store.client.create_run(
            store.experiment_id,
            start_time=int(self._started * 1000),
            tags=describe.tags(job),
            run_name=self.name,
        )
        self.run_id: str = run.info.run_id

    def update(self, trajectory: Trajectory) -> None:
        """Write the new points, if the last write was a while ago."""
        if time.perf_counter() - self._written > EVERY:
            with shielded():
                self._send_curves(trajectory, self._wanted)
            self._written = time.perf_counter()

    def checkpoint(self, name: str, content: bytes) -> None:
        """Keep a checkpoint among the run's artifacts."""
        with shielded(), tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(content)
            self.store.client.log_artifacts(self.run_id, folder, CHECKPOINTS)

    def close(self, result: Result, built: Components) -> None:
        """Write what is left and end the run; a signal waits until this is done."""
        has_fitted = result.outcome in ("completed", "converged")
        fitted = Fitted.of(self._job, built) if has_fitted else None
        status = STATUS.get(result.outcome, RunStatus.FINISHED)
        with shielded():
            try:
                last = np.array([result.trajectory.length])
                self._send_curves(result.trajectory, np.union1d(self._wanted, last))
                self._send_summary(result)
                self._send_artifacts(result, fitted)
                if fitted and self._job.settings["tracking"].get("log_model"):
                    self._send_model(fitted, built.data)
            finally:
                self.store.client.set_terminated(self.run_id, RunStatus.to_string(status))

    def _send_curves(self, trajectory: Trajectory, wanted: NDArray[np.int64]) -> None:
        epochs = wanted[(wanted > self._sent) & (wanted <= trajectory.length)]
        rows = list(self._metrics(trajectory, epochs))
        for start in range(0, len(rows), BATCH):
            self.store.client.log_batch(self.run_id, metrics=rows[start : start + BATCH])
        self._sent = trajectory.length

    def _metrics(self, trajectory: Trajectory, epochs: NDArray[np.int64]) -> Iterator[Metric]:
        """The curves' points; an epoch's time is interpolated between start and now."""
        pace = (time.time() - self._started) / max(1, trajectory.length)
        stamps = epoch_times(epochs, self._started, pace).tolist()
        steps = epochs.tolist()
        for name, values in trajectory.columns().items():
            points = zip(values[epochs - 1].tolist(), stamps, steps, strict=True)
            yield from (Metric(name, value, stamp, step) for value, stamp, step in points)

    def _send_summary(self, result: Result) -> None:
        now, last = int(time.time() * 1000), result.trajectory.length
        metrics = [Metric(n, v, now, last) for n, v in describe.final_metrics(result).items()]
        tags = describe.final_tags(self._job, result)
        self.store.client.log_batch(self.run_id, metrics=metrics, tags=tags)

    def _send_artifacts(self, result: Result, fitted: Fitted | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "transcript.txt").write_text(result.transcript)
            Path(folder, "trajectory.parquet").write_bytes(parquet(result.trajectory))
            if fitted and not is_told(self._job.settings):
                Path(folder, FILE).write_bytes(fitted.packed())
            self.store.client.log_artifacts(self.run_id, folder)

    def _send_model(self, fitted: Fitted, data: Prepared) -> None:
        from gdexp.tracking.model import log_model  # imports much of MLflow

        params = describe.params(self._job)
        log_model(self.store, self.run_id, fitted, data, params, self._sent)


def open_record(store: Store, job: Job, data: Prepared) -> Record:
    """Create the run with its parameters, tags, configuration and data set."""
    with shielded():
        record = Record(store, job)
        client = store.client
        try:
            client.log_batch(record.run_id, params=describe.params(job))
            client.log_inputs(record.run_id, [describe.dataset_input(data)])
            client.log_text(record.run_id, describe.config_text(job), "config.yaml")
        except BaseException:
            client.set_terminated(record.run_id, "FAILED")
            raise
    return record
