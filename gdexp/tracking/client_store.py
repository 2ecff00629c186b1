"""Runs written by MLflow's client: to a tracking server, or to tables that gdexp does not know."""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdexp.errors import StoreError, WriteError, brief
from gdexp.tracking.artifacts import temporary_folder
from gdexp.tracking.location import hide_password
from gdexp.tracking.run_record import PROCESS, DatasetRecord, RecordedRun, RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1000  # metric rows that MLflow takes in one call
PAGE = 1000  # runs in one response


class ClientStore:
    """A store that MLflow's client writes, run by run.

    Args:
        client: the client.
        uri: the store's URI.
        experiment: the name of the experiment that runs go to.
        experiment_id: its id.
    """

    atomic = False

    def __init__(self, client: MlflowClient, uri: str, experiment: str, experiment_id: str) -> None:
        self.client, self.uri = client, uri
        self.experiment, self.experiment_id = experiment, experiment_id

    def write(self, records: Sequence[RunRecord]) -> list[str]:
        """Write runs one by one; see :class:`gdexp.tracking.store.Store`."""
        written = []
        for record in records:
            try:
                written.append(self._add(record) if record.is_open else self._create(record))
            except Exception as error:
                raise WriteError(
                    f"A run cannot be written to {hide_password(self.uri)}: {brief(error)}."
                ) from error
        return written

    def _create(self, record: RunRecord) -> str:
        created = self.client.create_run(
            self.experiment_id,
            start_time=record.start_ms,
            tags=dict(record.tags),
            run_name=record.name,
        )
        run_id = str(created.info.run_id)
        try:
            self._log(run_id, record)
        except BaseException:
            with contextlib.suppress(Exception):  # the store may be unreachable
                self.client.delete_run(run_id)
            raise
        return run_id

    def _add(self, record: RunRecord) -> str:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in record.tags.items()]
        if tags:
            self.client.log_batch(record.run_id, tags=tags)
        if PROCESS in record.tags:  # it had ended, and is resumed
            self.client.update_run(record.run_id, status=record.status)
        self._log(record.run_id, record)
        return record.run_id

    def _log(self, run_id: str, record: RunRecord) -> None:
        """Write the params, metrics, data set and artifacts of a run, and its end last."""
        from mlflow.entities import Param

        if record.params:
            params = [Param(key, value) for key, value in record.params.items()]
            self.client.log_batch(run_id, params=params)
        rows = list(_metrics(record))
        for start in range(0, len(rows), BATCH):
            self.client.log_batch(run_id, metrics=rows[start : start + BATCH])
        if record.dataset is not None:
            self._log_dataset(run_id, record.dataset)
        if record.artifacts:
            with temporary_folder(record.artifacts) as folder:
                self.client.log_artifacts(run_id, folder)
        if record.status != "RUNNING":
            if record.is_open:
                with contextlib.suppress(Exception):  # it may not exist
                    self.client.delete_tag(run_id, PROCESS)
            self.client.set_terminated(run_id, record.status, record.end_ms)

    def _log_dataset(self, run_id: str, record: DatasetRecord) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(
            record.name,
            record.digest,
            record.source_type,
            record.source,
            record.schema,
            record.profile,
        )
        tags = []
        if record.context is not None:
            tags.append(InputTag("mlflow.data.context", record.context))
        try:
            self.client.log_inputs(run_id, [DatasetInput(dataset, tags)])
        except MlflowException:  # another process has just created this data set
            self.client.log_inputs(run_id, [DatasetInput(dataset, tags)])

    def runs(
        self,
        tags: Mapping[str, str | None] | None = None,
        *,
        limit: int | None = None,
        id_prefix: str | None = None,
        everywhere: bool = False,
    ) -> list[RecordedRun]:
        """The newest runs; see :class:`gdexp.tracking.store.Store`."""
        conditions = [
            f"tags.`{key}` LIKE '%'" if value is None else f"tags.`{key}` = {quoted(value)}"
            for key, value in (tags or {}).items()
        ]
        if id_prefix is not None:
            if not id_prefix.isalnum():
                return []
            conditions.append(f"attributes.run_id LIKE '{id_prefix}%'")
        experiments = [self.experiment_id]
        if everywhere:
            experiments = [each.experiment_id for each in self.client.search_experiments()]
        pages = self._pages(experiments, " AND ".join(conditions), limit)
        return [_recorded(run) for run in pages]

    def _pages(self, experiments: list[str], condition: str, limit: int | None) -> Iterator[Run]:
        token, count = None, 0
        while limit is None or count < limit:
            size = PAGE if limit is None else min(PAGE, limit - count)
            page = self.client.search_runs(
                experiments, condition, 1, size, ["attributes.start_time DESC"], page_token=token
            )
            yield from page
            count += len(page)
            token = page.token
            if not token:
                return

    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted; see :class:`gdexp.tracking.store.Store`."""
        for run_id in run_ids:
            self.client.delete_run(run_id)

    def fail(self, run_ids: Mapping[str, str]) -> None:
        """Mark runs as FAILED; see :class:`gdexp.tracking.store.Store`."""
        for run_id, reason in run_ids.items():
            self.client.set_tag(run_id, "gdexp.outcome", "failed")
            self.client.set_tag(run_id, "gdexp.reason", reason)
            self.client.update_run(run_id, status="FAILED")

    def interrupt(self, run: RecordedRun, end_ms: int, tags: Mapping[str, str]) -> bool:
        """Mark a run as KILLED; see :class:`gdexp.tracking.store.Store`."""
        now = _recorded(self.client.get_run(run.run_id))
        if (now.status, now.tags.get(PROCESS)) != (run.status, run.tags.get(PROCESS)):
            return False
        end: dict[str, Any] = {"end_ms": end_ms, "tags": tags, "run_id": run.run_id}
        self._add(RunRecord("KILLED", "KILLED", run.start_ms, is_open=True, **end))
        return True

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment; see :class:`gdexp.tracking.store.Store`."""
        try:
            for key, value in tags.items():
                self.client.set_experiment_tag(experiment_id, key, value)
        except Exception as error:
            raise WriteError(
                f"{hide_password(self.uri)} cannot be written: {brief(error)}."
            ) from error

    def files(self, run: RecordedRun, below: str = "") -> list[str]:
        """The files of a run; see :class:`gdexp.tracking.store.Store`."""
        entries = self.client.list_artifacts(run.run_id, below or None)
        return sorted(entry.path for entry in entries)

    def read(self, run: RecordedRun, name: str) -> bytes:
        """The content of one file."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run.run_id, name, folder)).read_bytes()

    def analyze_after(self, written: int) -> None:
        """Do nothing: a server is tuned by its administrator."""


def _metrics(record: RunRecord) -> Iterator[Any]:
    from mlflow.entities import Metric

    for curve in record.curves:
        columns = curve.values.tolist(), curve.timestamps.tolist(), curve.steps.tolist()
        yield from (Metric(curve.name, *point) for point in zip(*columns, strict=True))


def _recorded(run: Run) -> RecordedRun:
    points = run.data._metric_objs  # the public dictionary has no times
    start = run.info.start_time or 0
    return RecordedRun(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name or "",
        status=run.info.status,
        start_ms=start,
        artifact_uri=run.info.artifact_uri or "",
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        heard_ms=max([start, *(point.timestamp for point in points)]),
        epoch=max([0, *(point.step for point in points)]),
    )


def quoted(text: str) -> str:
    """A string quoted for MLflow's filter syntax.

    Raises:
        StoreError: it contains both kinds of quotes, which that syntax cannot express.
    """
    if "'" in text and '"' in text:
        raise StoreError(f"{text!r} contains both kinds of quotes: MLflow cannot search for it.")
    return f'"{text}"' if "'" in text else f"'{text}'"


def quiet() -> None:
    """Turn off telemetry and logs on stderr, and make retries end within seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow  # noqa: F401  (configures its loggers, so it must come before ours)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
