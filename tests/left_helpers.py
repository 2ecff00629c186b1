"""What a store has of each run, read by SQL alone."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

from gdexp.tracking.artifacts import local_path

KILLED, FINISHED = ("KILLED", "interrupted"), ("FINISHED", "completed")


class Left(NamedTuple):
    """What a store has of a run."""

    kind: str
    status: str
    tags: dict[str, str]
    steps: list[int]
    end_ms: int | None
    files: set[str]


def new_store(folder: Path, migrated: Path) -> Path:
    """Give a folder a store without runs and experiments, as a new one is."""
    path = folder / "outputs" / "mlflow.db"
    path.parent.mkdir(parents=True)
    shutil.copy(migrated, path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in ("input_tags", "inputs", "datasets", "tags", "params", "latest_metrics"):
            connection.execute(f"DELETE FROM {table}")
        for table in ("metrics", "runs", "experiments"):
            connection.execute(f"DELETE FROM {table}")
        connection.commit()
        connection.execute("VACUUM")
    return folder


def left_in(folder: Path) -> list[Left]:
    with contextlib.closing(sqlite3.connect(folder / "outputs" / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        runs = connection.execute("SELECT run_uuid, status, end_time, artifact_uri FROM runs")
        return [_left(connection, *run) for run in runs.fetchall()]


def _left(
    connection: sqlite3.Connection, run_id: str, status: str, end: int | None, uri: str
) -> Left:
    tags = connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,))
    points = connection.execute(
        "SELECT step FROM metrics WHERE key = 'train/loss' AND run_uuid = ? ORDER BY step",
        (run_id,),
    )
    known, folder = dict(tags.fetchall()), local_path(uri)
    assert folder is not None
    files = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return Left(known["gdexp.kind"], status, known, [s for (s,) in points], end, files)
