"""Reading runs back from a database."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gdexp.tracking.database import Connection
from gdexp.tracking.run_record import Points, RecordedRun
from gdexp.tracking.tags import PROCESS

AT_ONCE = 500  # ids per query
RUN = ("run_uuid", "experiment_id", "name", "status", "start_time", "artifact_uri")


def matching_ids(
    connection: Connection,
    tags: Mapping[str, str | None],
    experiment: int | None,
    limit: int | None,
    id_prefix: str | None,
) -> list[str]:
    """The ids of active runs, newest first.

    Args:
        connection: the database.
        tags: required tags with their values; None: any value.
        experiment: the experiment; None: any.
        limit: the maximum number; None: all.
        id_prefix: a prefix of the ids; None: any.
    """
    joins, where, values = "", "r.lifecycle_stage = 'active'", list[Any]()
    for i, (key, value) in enumerate(tags.items()):
        joins += f" JOIN tags t{i} ON t{i}.run_uuid = r.run_uuid AND t{i}.key = ?"
        values.append(key)
        if value is not None:
            joins += f" AND t{i}.value = ?"
            values.append(value)
    if experiment is not None:
        where += " AND r.experiment_id = ?"
        values.append(experiment)
    if id_prefix is not None:
        where += " AND substr(r.run_uuid, 1, ?) = ?"
        values += [len(id_prefix), id_prefix]
    ending = "" if limit is None else f" LIMIT {int(limit)}"
    order = "r.start_time DESC, r.run_uuid"
    rows = connection.query(
        f"SELECT r.run_uuid FROM runs r{joins} WHERE {where} ORDER BY {order}{ending}", values
    )
    return [run_id for (run_id,) in rows]


def recorded_runs(connection: Connection, ids: Sequence[str]) -> list[RecordedRun]:
    """The runs with these ids, in the same order."""
    runs = {row[0]: row for row in _of_runs(connection, f"SELECT {', '.join(RUN)} FROM runs", ids)}
    params = _by_run(connection, "SELECT run_uuid, key, value FROM params", ids)
    tags = _by_run(connection, "SELECT run_uuid, key, value FROM tags", ids)
    select = "SELECT run_uuid, key, value, is_nan, timestamp, step FROM latest_metrics"
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    heard: dict[str, int] = defaultdict(int)
    epoch: dict[str, int] = defaultdict(int)
    for run_id, key, value, is_nan, timestamp, step in _of_runs(connection, select, ids):
        metrics[run_id][key] = math.nan if is_nan else float(value)
        heard[run_id] = max(heard[run_id], timestamp or 0)
        epoch[run_id] = max(epoch[run_id], step)
    return [
        RecordedRun(
            run_id=run_id,
            experiment_id=str(experiment),
            name=name or "",
            status=status,
            start_ms=start or 0,
            artifact_uri=uri or "",
            params=params[run_id],
            tags=tags[run_id],
            metrics=metrics[run_id],
            heard_ms=max(heard[run_id], start or 0),
            epoch=epoch[run_id],
        )
        for run_id, experiment, name, status, start, uri in map(runs.__getitem__, ids)
    ]


def curves(connection: Connection, ids: Sequence[str], name: str) -> dict[str, Points]:
    """The points of a metric by run."""
    points: dict[str, dict[int, float]] = defaultdict(dict)
    select = "SELECT run_uuid, step, value, is_nan FROM metrics"
    rows = _of_runs(connection, select, ids, "key = ? AND ", [name], " ORDER BY step, timestamp")
    for run_id, step, value, is_nan in rows:
        points[run_id][step] = math.nan if is_nan else float(value)
    return {run_id: points_of(values) for run_id, values in points.items()}


def points_of(values: Mapping[int, float]) -> Points:
    """Steps and values as arrays."""
    return np.array([*values], float), np.array([*values.values()], float)


def is_as_read(connection: Connection, run: RecordedRun) -> bool:
    """Whether a run still has the status and the owner with which it was read.

    Within a transaction, they then stay so: in PostgreSQL, the update locks the run's row.
    """
    connection.query("UPDATE runs SET status = status WHERE run_uuid = ?", (run.run_id,))
    rows = connection.query(
        "SELECT r.status, t.value FROM runs r "
        f"LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = '{PROCESS}' "
        "WHERE r.run_uuid = ?",
        (run.run_id,),
    )
    return rows == [(run.status, run.tags.get(PROCESS))]


def _by_run(connection: Connection, select: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for run_id, key, value in _of_runs(connection, select, ids):
        values[run_id][key] = value
    return values


def _of_runs(
    connection: Connection,
    select: str,
    ids: Sequence[str],
    where: str = "",
    values: Sequence[Any] = (),
    ending: str = "",
) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        marks = ", ".join("?" * len(part))
        yield from connection.query(
            f"{select} WHERE {where}run_uuid IN ({marks}){ending}", [*values, *part]
        )
