"""The stores of the soak, and their rows as they are read without gdexp."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq

Query = Callable[[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Row:
    """A run as the store has it.

    Attributes:
        run_id: its id.
        status: RUNNING, FINISHED, FAILED or KILLED.
        is_deleted: whether it is marked as deleted.
        end_ms: when it ended; None if it has not.
        params: its params.
        tags: its tags.
        steps: the epochs of the points of its loss, in order.
        doubles: points of its metrics that have the same name and epoch as another.
        links: how many data sets it is linked to.
        folder: where its files are.
    """

    run_id: str
    status: str
    is_deleted: bool
    end_ms: int | None
    params: dict[str, str]
    tags: dict[str, str]
    steps: list[int]
    doubles: int
    links: int
    folder: Path

    @property
    def epochs(self) -> int | None:
        """The length of its trajectory; None if the file is missing or damaged."""
        with contextlib.suppress(OSError, ValueError):
            return int(pq.read_metadata(self.folder / "trajectory.parquet").num_rows)
        return None


def rows(query: Query, artifacts: Path | None = None) -> list[Row]:
    """Every run of a database, deleted ones included.

    Args:
        query: executes a SELECT.
        artifacts: the folder that a server gives out as ``mlflow-artifacts:/``.
    """
    params, tags = _pairs(query, "params"), _pairs(query, "tags")
    steps: dict[str, list[int]] = defaultdict(list)
    for run_id, step in query(
        "SELECT run_uuid, step FROM metrics WHERE key = 'train/loss' ORDER BY run_uuid, step"
    ):
        steps[run_id].append(step)
    doubles = query(
        "SELECT run_uuid, count(*) - count(DISTINCT step) FROM metrics GROUP BY run_uuid, key"
    )
    double: dict[str, int] = defaultdict(int)
    for run_id, count in doubles:
        double[run_id] += count
    linked = query("SELECT destination_id, count(*) FROM inputs GROUP BY destination_id")
    links = {str(run_id): int(count) for run_id, count in linked}
    runs = query("SELECT run_uuid, status, lifecycle_stage, end_time, artifact_uri FROM runs")
    return [
        Row(
            *(run_id, status, stage != "active", end, params[run_id], tags[run_id]),
            *(steps[run_id], double[run_id], links.get(run_id, 0), _folder(uri, artifacts)),
        )
        for run_id, status, stage, end, uri in runs
    ]


def _pairs(query: Query, table: str) -> dict[str, dict[str, str]]:
    pairs: dict[str, dict[str, str]] = defaultdict(dict)
    for run_id, key, value in query(f"SELECT run_uuid, key, value FROM {table}"):
        pairs[run_id][key] = value
    return pairs


def _folder(uri: str, artifacts: Path | None) -> Path:
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts":
        assert artifacts is not None
        return artifacts / unquote(parts.path).lstrip("/")
    return Path(unquote(parts.path) if parts.scheme == "file" else uri)


@contextlib.contextmanager
def sqlite(path: Path) -> Iterator[Query]:
    """Queries of a SQLite file."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        yield lambda sql: connection.execute(sql).fetchall()


@contextlib.contextmanager
def postgresql(uri: str) -> Iterator[Query]:
    """Queries of a PostgreSQL database; of tables that do not exist yet, no rows."""
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:

        def query(sql: str) -> Sequence[Sequence[Any]]:
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                return connection.execute(sql.encode()).fetchall()
            return []

        yield query
