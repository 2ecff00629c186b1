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

from gdexp.credentials import without_password
from gdexp.errors import RefusedError, StoreError, WriteError, brief
from gdexp.tracking import artifacts, dataset_query
from gdexp.tracking.database import Connection, Database, Row
from gdexp.tracking.patience import is_abandoned
from gdexp.tracking.run_record import DatasetRecord, Points, RecordedRun, RunRecord
from gdexp.tracking.sql_query import curves, is_as_read, matching_ids, recorded_runs
from gdexp.tracking.sql_rows import COLUMNS, Rows, artifact_uri, rows_of
from gdexp.tracking.sql_write import ENDINGS, insert, is_there, set_status, tag_failed
from gdexp.tracking.store import adding, reading, writing

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

    def write(self, records: Sequence[RunRecord], *, again: bool = False) -> list[str]:
        """Write runs, all of them or none, files first; see :class:`gdexp.tracking.store.Store`."""
        count = "A run" if len(records) == 1 else f"{len(records)} runs"
        start = f"{count} cannot be written to {without_password(self.uri)}: "
        try:
            rows = self._rows(records, again=again)  # before taking the lock
            self._write_files(records, again=again)
            with self._database.transaction() as connection:
                self._check_experiment(connection)
                new = [record for record in records if not (again and is_there(connection, record))]
                if len(new) < len(records):
                    rows = self._rows(new, again=again)
                insert(connection, new, rows, int(self.experiment_id), again=again)
        except BaseException as error:
            if not (again or is_abandoned()):
                self._remove_files(records)
            if not isinstance(error, Exception):
                raise
            kind = RefusedError if _is_refusal(error) else WriteError
            raise kind(f"{start}{brief(error)}.") from error
        return [record.run_id for record in records]

    def _rows(self, records: Sequence[RunRecord], *, again: bool) -> Rows:
        # Sorted by id, the inserts go to neighbouring index pages: 1.3 times faster.
        ordered = sorted(records, key=lambda record: record.run_id)
        experiment = int(self.experiment_id)
        return rows_of(ordered, experiment, self._location, additions=again)

    def _check_experiment(self, connection: Connection) -> None:
        stage = connection.query(
            "SELECT lifecycle_stage FROM experiments WHERE experiment_id = ?",
            (int(self.experiment_id),),
        )
        if stage != [("active",)]:
            raise StoreError(f"the experiment {self.experiment!r} has been deleted")

    def _write_files(self, records: Sequence[RunRecord], *, again: bool) -> None:
        files = {record.run_id: record.artifacts for record in records if record.artifacts}
        root = self._root
        if root is None:
            for run_id, contents in files.items():
                artifacts.add(artifact_uri(self._location, run_id), contents)
            return
        for record in records:
            if not (record.is_open or again) and (root / record.run_id).exists():
                raise ValueError(f"run {record.run_id} already exists")
        artifacts.write_files({root / run_id / "artifacts": files[run_id] for run_id in files})

    def _remove_files(self, records: Sequence[RunRecord]) -> None:
        """Remove the files of runs that are not in the store, unless the store does not tell.

        The commit may have succeeded, if its answer was lost.
        """
        fresh = [record.run_id for record in records if not record.is_open]
        if self._root is None or not fresh:
            return
        with suppress(Exception), self._database.reading() as connection:
            query = "SELECT 1 FROM runs WHERE run_uuid = ?"
            for run_id in [each for each in fresh if not connection.query(query, (each,))]:
                shutil.rmtree(self._root / run_id, ignore_errors=True)

    def give_up(self, records: Sequence[RunRecord]) -> None:
        """Mark runs as FAILED whose end is lost; see :class:`gdexp.tracking.store.Store`."""
        with suppress(Exception), self._database.transaction() as connection:
            for record in records:
                if record.is_open and record.status == "RUNNING":
                    continue  # its owner will end it
                is_running = "SELECT 1 FROM runs WHERE run_uuid = ? AND status = 'RUNNING'"
                if connection.query(is_running, (record.run_id,)):
                    set_status(connection, replace(record, status="FAILED"))
                    reason = "its last rows could not be written"
                    tag_failed(connection, {record.run_id: reason})

    @reading
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

    @writing
    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted; see :class:`gdexp.tracking.store.Store`."""
        with self._database.transaction() as connection:
            for run_id in run_ids:
                connection.query(
                    "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? "
                    "WHERE run_uuid = ?",
                    (int(time.time() * 1000), run_id),
                )

    @writing
    def fail(self, run_ids: Mapping[str, str]) -> None:
        """Mark runs as FAILED; see :class:`gdexp.tracking.store.Store`."""
        with self._database.transaction() as connection:
            for run_id in run_ids:
                connection.query("UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", (run_id,))
            tag_failed(connection, run_ids)

    def interrupt(self, run: RecordedRun, end_ms: int, tags: Mapping[str, str]) -> bool:
        """Mark a run as KILLED; see :class:`gdexp.tracking.store.Store`."""
        with self._database.transaction() as connection:
            if not is_as_read(connection, run):
                return False
            set_status(
                connection, RunRecord("KILLED", "KILLED", run.start_ms, end_ms, run_id=run.run_id)
            )
            rows = [(key, value, run.run_id) for key, value in tags.items()]
            connection.insert("tags", COLUMNS["tags"], rows, ENDINGS["tags"])
        artifacts.remove_partial(run.artifact_uri)
        return True

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
                f"{without_password(self.uri)} cannot be written: {brief(error)}."
            ) from error

    @reading
    def curves(self, run_ids: Sequence[str], name: str) -> dict[str, Points]:
        """A metric of many runs; see :class:`gdexp.tracking.store.Store`."""
        with self._database.reading() as connection:
            return curves(connection, run_ids, name)

    @reading
    def files(self, run: RecordedRun, below: str = "") -> list[str]:
        """The files of a run; see :class:`gdexp.tracking.store.Store`."""
        return artifacts.listed(run.artifact_uri, below)

    @reading
    def read(self, run: RecordedRun, name: str) -> bytes:
        """The content of one file."""
        return artifacts.read(run.artifact_uri, name)

    @reading
    def dataset(self, run: RecordedRun) -> DatasetRecord | None:
        """The data set of a run; see :class:`gdexp.tracking.store.Store`."""
        with self._database.reading() as connection:
            return dataset_query.by_sql(connection, run.run_id)

    @adding
    def add_files(self, run: RecordedRun, files: Mapping[str, bytes]) -> None:
        """Add artifacts to a run; see :class:`gdexp.tracking.store.Store`."""
        artifacts.add(run.artifact_uri, files)

    def analyze_after(self, written: int) -> None:
        """Update the database's statistics after many new runs; fast queries need them."""
        with suppress(Exception), self._database.transaction() as connection:
            ((total,),) = connection.query("SELECT count(*) FROM runs")
            doubled = total.bit_length() > (total - written).bit_length()
            if written >= MANY or (total >= MANY and doubled):
                connection.analyze(list(COLUMNS))


def _is_refusal(error: Exception) -> bool:
    """Whether the run itself is refused: a key, a file name, a value of the wrong type."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    own = isinstance(error, TypeError | ValueError) and not isinstance(error, OSError)
    return own or bool(kinds & {"IntegrityError", "DataError"})
