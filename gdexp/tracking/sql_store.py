"""Runs written to SQLite or PostgreSQL by SQL: many in one transaction, without MLflow.

The rows equal those of MLflow's client. The client takes some forty statements and five commits per
run; here many runs take one statement per table, and one commit.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from gdexp.errors import StoreError, WriteError, brief
from gdexp.tracking import artifacts
from gdexp.tracking.database import Connection, Database, Row
from gdexp.tracking.location import hide_password
from gdexp.tracking.run_record import PROCESS, DatasetRecord, RecordedRun, RunRecord
from gdexp.tracking.sql_query import is_as_read, matching_ids, recorded_runs
from gdexp.tracking.sql_rows import COLUMNS, dataset_row, rows_of

KEEP = " ON CONFLICT DO NOTHING"
REPLACE = " ON CONFLICT (key, run_uuid) DO UPDATE SET "
ENDINGS = {  # of rows with the same key, MLflow's client keeps the first, or the last
    "metrics": KEEP,
    "params": KEEP,
    "datasets": KEEP,
    "tags": f"{REPLACE}value = excluded.value",
    "latest_metrics": REPLACE
    + ", ".join(f"{name} = excluded.{name}" for name in ("value", "timestamp", "step", "is_nan")),
}
MANY = 1000  # runs above which a database without statistics picks slow plans


class SqlStore:
    """A database whose tables gdexp knows.

    Args:
        database: the database.
        uri: its URI.
        experiment: the name of the experiment that runs go to.
        experiment_id: its id.
        location: where the experiment stores artifacts.
    """

    atomic = True

    def __init__(
        self, database: Database, uri: str, experiment: str, experiment_id: str, location: str
    ) -> None:
        self.uri, self.experiment, self.experiment_id = uri, experiment, experiment_id
        self._database, self._location = database, location
        self._root = artifacts.local_path(location)

    def write(self, records: Sequence[RunRecord]) -> list[str]:
        """Write runs, all of them or none, files first; see :class:`gdexp.tracking.store.Store`."""
        try:
            self._write_files(records)
            self._write_rows(records)
        except BaseException as error:
            self._clean_up(records)
            if not isinstance(error, Exception):
                raise
            count = "A run" if len(records) == 1 else f"{len(records)} runs"
            raise WriteError(
                f"{count} cannot be written to {hide_password(self.uri)}: {brief(error)}."
            ) from error
        return [record.run_id for record in records]

    def _write_rows(self, records: Sequence[RunRecord]) -> None:
        # Sorted by id, the inserts go to neighbouring index pages: 1.3 times faster.
        ordered = sorted(records, key=lambda record: record.run_id)
        rows = rows_of(ordered, int(self.experiment_id), self._location)  # before taking the lock
        with self._database.transaction() as connection:
            self._check_experiment(connection)
            for table, values in rows.items():
                connection.insert(table, COLUMNS[table], values, ENDINGS.get(table, ""))
            self._insert_datasets(connection, [run for run in records if run.dataset])
            for record in ordered:
                if record.is_open:
                    self._update(connection, record)

    def _update(self, connection: Connection, record: RunRecord) -> None:
        connection.query(
            "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?",
            (record.status, record.end_ms, record.run_id),
        )
        if record.status != "RUNNING":
            connection.query(
                f"DELETE FROM tags WHERE key = '{PROCESS}' AND run_uuid = ?", (record.run_id,)
            )

    def _check_experiment(self, connection: Connection) -> None:
        stage = connection.query(
            "SELECT lifecycle_stage FROM experiments WHERE experiment_id = ?",
            (int(self.experiment_id),),
        )
        if stage != [("active",)]:
            raise StoreError(f"the experiment {self.experiment!r} has been deleted")

    def _insert_datasets(self, connection: Connection, records: Sequence[RunRecord]) -> None:
        """Insert data sets and link runs to them; an experiment has each data set once."""
        unique: dict[tuple[str, str], DatasetRecord] = {}
        for dataset in (record.dataset for record in records if record.dataset):
            unique.setdefault((dataset.name, dataset.digest), dataset)  # the first is kept
        experiment = int(self.experiment_id)
        # sorted, so that two writers cannot deadlock
        rows = [dataset_row(unique[key], experiment) for key in sorted(unique)]
        connection.insert("datasets", COLUMNS["datasets"], rows, KEEP)
        ids = {
            key: connection.query(
                "SELECT dataset_uuid FROM datasets "
                "WHERE experiment_id = ? AND name = ? AND digest = ?",
                (experiment, *key),
            )[0][0]
            for key in unique
        }
        links, tags = [], []
        for record in records:
            assert record.dataset is not None
            link, source = uuid4().hex, ids[record.dataset.name, record.dataset.digest]
            links.append((link, "DATASET", source, "RUN", record.run_id))
            if record.dataset.context is not None:
                tags.append((link, "mlflow.data.context", record.dataset.context))
        connection.insert("inputs", COLUMNS["inputs"], links)
        connection.insert("input_tags", COLUMNS["input_tags"], tags)

    def _write_files(self, records: Sequence[RunRecord]) -> None:
        files = {record.run_id: record.artifacts for record in records if record.artifacts}
        root = self._root
        if root is not None:
            for record in records:
                if not record.is_open and (root / record.run_id).exists():
                    raise StoreError(f"run {record.run_id} already exists")
            artifacts.write_files({root / run_id / "artifacts": files[run_id] for run_id in files})
            return
        from gdexp.tracking import mlflow_files

        for run_id, contents in files.items():
            mlflow_files.upload(self._location, run_id, contents)

    def _clean_up(self, records: Sequence[RunRecord]) -> None:
        """Undo a failed write; the commit may still have succeeded, if its answer was lost."""
        with suppress(Exception), self._database.transaction() as connection:
            written = {
                run_id
                for record in records
                for (run_id,) in connection.query(
                    "SELECT run_uuid FROM runs WHERE run_uuid = ?", (record.run_id,)
                )
            }
            for record in records:
                if self._root is not None and record.run_id not in written:
                    shutil.rmtree(self._root / record.run_id, ignore_errors=True)
            for record in records:
                if not record.is_open or record.status != "RUNNING":  # its owner will not end it
                    self._end(connection, record)

    def _end(self, connection: Connection, record: RunRecord) -> None:
        """Mark a run as FAILED whose last rows could not be written, whatever its outcome."""
        is_running = "SELECT 1 FROM runs WHERE run_uuid = ? AND status = 'RUNNING'"
        if connection.query(is_running, (record.run_id,)):
            self._update(connection, replace(record, status="FAILED"))
            self._tag_failed(connection, {record.run_id: "its last rows could not be written"})

    def runs(
        self,
        tags: Mapping[str, str | None] | None = None,
        *,
        limit: int | None = None,
        id_prefix: str | None = None,
        everywhere: bool = False,
    ) -> list[RecordedRun]:
        """The newest runs; see :class:`gdexp.tracking.store.Store`."""
        experiment = None if everywhere else int(self.experiment_id)
        with self._database.reading() as connection:
            ids = matching_ids(connection, tags or {}, experiment, limit, id_prefix)
            return recorded_runs(connection, ids)

    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted; see :class:`gdexp.tracking.store.Store`."""
        with self._database.transaction() as connection:
            for run_id in run_ids:
                connection.query(
                    "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? "
                    "WHERE run_uuid = ?",
                    (int(time.time() * 1000), run_id),
                )

    def fail(self, run_ids: Mapping[str, str]) -> None:
        """Mark runs as FAILED; see :class:`gdexp.tracking.store.Store`."""
        with self._database.transaction() as connection:
            for run_id in run_ids:
                connection.query("UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", (run_id,))
            self._tag_failed(connection, run_ids)

    def interrupt(self, run: RecordedRun, end_ms: int, tags: Mapping[str, str]) -> bool:
        """Mark a run as KILLED; see :class:`gdexp.tracking.store.Store`."""
        with self._database.transaction() as connection:
            if not is_as_read(connection, run):
                return False
            self._update(
                connection, RunRecord("KILLED", "KILLED", run.start_ms, end_ms, run_id=run.run_id)
            )
            rows = [(key, value, run.run_id) for key, value in tags.items()]
            connection.insert("tags", COLUMNS["tags"], rows, ENDINGS["tags"])
        return True

    def _tag_failed(self, connection: Connection, reasons: Mapping[str, str]) -> None:
        """Set the outcome of runs to failed, and the reason of each."""
        rows = [
            row
            for run_id, reason in reasons.items()
            for row in (("gdexp.outcome", "failed", run_id), ("gdexp.reason", reason, run_id))
        ]
        connection.insert("tags", COLUMNS["tags"], rows, ENDINGS["tags"])

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment; see :class:`gdexp.tracking.store.Store`."""
        columns = ("key", "value", "experiment_id")
        rows = [(key, value, int(experiment_id)) for key, value in tags.items()]
        ending = " ON CONFLICT (key, experiment_id) DO UPDATE SET value = excluded.value"
        try:
            with self._database.transaction() as connection:
                connection.insert("experiment_tags", columns, list[Row](rows), ending)
        except Exception as error:
            raise WriteError(
                f"{hide_password(self.uri)} cannot be written: {brief(error)}."
            ) from error

    def files(self, run: RecordedRun, below: str = "") -> list[str]:
        """The files of a run; see :class:`gdexp.tracking.store.Store`."""
        folder = artifacts.local_path(run.artifact_uri)
        if folder is not None:
            return artifacts.listed(folder, below)
        from gdexp.tracking import mlflow_files

        return mlflow_files.listed(run.artifact_uri, below)

    def read(self, run: RecordedRun, name: str) -> bytes:
        """The content of one file."""
        folder = artifacts.local_path(run.artifact_uri)
        if folder is not None:
            return (folder / name).read_bytes()
        from gdexp.tracking import mlflow_files

        return mlflow_files.download(run.artifact_uri, name)

    def analyze_after(self, written: int) -> None:
        """Update the database's statistics after many new runs; fast queries need them."""
        with suppress(Exception), self._database.transaction() as connection:
            ((total,),) = connection.query("SELECT count(*) FROM runs")
            doubled = total.bit_length() > (total - written).bit_length()
            if written >= MANY or (total >= MANY and doubled):
                connection.analyze(list(COLUMNS))
