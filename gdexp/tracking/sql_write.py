"""Inserting runs and experiments into a database, in a transaction that the caller has opened."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from uuid import NAMESPACE_OID, uuid5

from gdexp.config.paths import OUTPUTS, absolute
from gdexp.tracking.database import Connection, Row
from gdexp.tracking.run_record import DatasetRecord, RunRecord
from gdexp.tracking.sql_rows import COLUMNS, Rows, dataset_row
from gdexp.tracking.tags import OUTCOME, PROCESS, REASON

KEEP = " ON CONFLICT DO NOTHING"
REPLACE = " ON CONFLICT (key, run_uuid) DO UPDATE SET "
NEWER = (
    " WHERE (excluded.step, excluded.timestamp, excluded.value)"
    " >= (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"
)
ENDINGS = {  # of rows with the same key, MLflow's client keeps the first, or the last
    "metrics": KEEP,
    "params": KEEP,
    "datasets": KEEP,
    "tags": f"{REPLACE}value = excluded.value",
    "latest_metrics": REPLACE
    + ", ".join(f"{name} = excluded.{name}" for name in ("value", "timestamp", "step", "is_nan"))
    + NEWER,
}


def insert(
    connection: Connection,
    records: Sequence[RunRecord],
    rows: Rows,
    experiment: int,
    *,
    again: bool,
) -> None:
    """Insert runs, their data sets, and the ends of runs that are open.

    Args:
        connection: in a transaction.
        records: the runs.
        rows: their rows.
        experiment: the id of their experiment.
        again: whether any of it may have been inserted before, and later records, too.
    """
    late: set[str] = set()
    if again:
        late = {record.run_id for record in records if _is_late(connection, record)}
        rows = rows | {"tags": [row for row in rows["tags"] if row[-1] not in late]}
    for table, values in rows.items():
        ending = KEEP if again and table == "runs" else ENDINGS.get(table, "")
        connection.insert(table, COLUMNS[table], values, ending)
    _insert_datasets(connection, [run for run in records if run.dataset], experiment)
    for record in sorted(records, key=lambda record: record.run_id):
        # points leave the status alone; only a run that is resumed names its process once more
        has_status = record.status != "RUNNING" or PROCESS in record.tags
        if (record.is_open or again) and has_status and record.run_id not in late:
            set_status(connection, record)


def is_there(connection: Connection, record: RunRecord) -> bool:
    """Whether a run has the end that this record describes: all of it was written with the end.

    A run that was computed once more has other times, so its points would stand beside the first.
    """
    same = "SELECT 1 FROM runs WHERE run_uuid = ? AND status = ?"
    has_end = record.status != "RUNNING"
    return has_end and bool(connection.query(same, (record.run_id, record.status)))


def _is_late(connection: Connection, record: RunRecord) -> bool:
    """Whether a run that this record calls RUNNING has ended since."""
    if record.status != "RUNNING":
        return False
    ended = "SELECT 1 FROM runs WHERE run_uuid = ? AND status <> 'RUNNING' AND end_time >= ?"
    return bool(connection.query(ended, (record.run_id, record.start_ms)))


def set_status(connection: Connection, record: RunRecord) -> None:
    """Set the status of a run, which at its end no process owns any more."""
    connection.query(
        "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?",
        (record.status, record.end_ms, record.run_id),
    )
    if record.status != "RUNNING":
        connection.query(
            f"DELETE FROM tags WHERE key = '{PROCESS}' AND run_uuid = ?", (record.run_id,)
        )


def tag_failed(connection: Connection, reasons: Mapping[str, str]) -> None:
    """Set the outcome of runs to failed, and the reason of each."""
    rows = [
        row
        for run_id, reason in reasons.items()
        for row in ((OUTCOME, "failed", run_id), (REASON, reason, run_id))
    ]
    connection.insert("tags", COLUMNS["tags"], rows, ENDINGS["tags"])


def _insert_datasets(connection: Connection, records: Sequence[RunRecord], experiment: int) -> None:
    """Insert data sets and link runs to them; an experiment has each data set once."""
    unique: dict[tuple[str, str], DatasetRecord] = {}
    for dataset in (record.dataset for record in records if record.dataset):
        unique.setdefault((dataset.name, dataset.digest), dataset)  # the first is kept
    # sorted, so that two writers cannot deadlock
    rows = [dataset_row(unique[key], experiment) for key in sorted(unique)]
    connection.insert("datasets", COLUMNS["datasets"], rows, KEEP)
    ids = {
        key: connection.query(
            "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?",
            (experiment, *key),
        )[0][0]
        for key in unique
    }
    links, tags = [], []
    for record in records:
        assert record.dataset is not None
        source = ids[record.dataset.name, record.dataset.digest]
        link = uuid5(NAMESPACE_OID, f"{source} {record.run_id}").hex  # the same when repeated
        links.append((link, "DATASET", source, "RUN", record.run_id))
        if record.dataset.context is not None:
            tags.append((link, "mlflow.data.context", record.dataset.context))
    connection.insert("inputs", COLUMNS["inputs"], links, KEEP)
    connection.insert("input_tags", COLUMNS["input_tags"], tags, KEEP)


def experiment_of(connection: Connection, name: str) -> list[Row]:
    """Id, artifact location and lifecycle stage of the experiment with this name, if it exists."""
    return connection.query(
        "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments WHERE name = ?",
        (name,),
    )


def created_experiment(connection: Connection, name: str) -> list[Row]:
    """The experiment with this name; a new one has its artifacts under ``outputs/``.

    The first one is accompanied by MLflow's own "Default".
    """
    if rows := experiment_of(connection, name):
        return rows
    now, place = int(time.time() * 1000), (absolute(OUTPUTS) / "artifacts").as_uri()
    columns = (
        *("name", "artifact_location", "lifecycle_stage", "creation_time"),
        "last_update_time",
    )
    if not connection.query("SELECT 1 FROM experiments LIMIT 1"):
        default = (0, "Default", f"{place}/0", "active", now, now)
        connection.insert("experiments", ("experiment_id", *columns), [default])
    connection.insert("experiments", columns, [(name, place, "active", now, now)])
    return experiment_of(connection, name)
