"""What an SQLite store in a folder holds, read by SQL: MLflow's client takes much longer."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from gdexp.tracking.artifacts import local_path


def rows(folder: Path, query: str, *values: str) -> list[tuple[str, ...]]:
    """What the store answers, or nothing when it is changed."""
    with closing(sqlite3.connect(folder / "outputs" / "mlflow.db")) as database, database:
        return database.execute(query, values).fetchall()


def move_artifacts(folder: Path, place: Path) -> None:
    """Give a copied store of one run artifacts of its own: it names those of the original."""
    ((uri,),) = rows(folder, "SELECT artifact_uri FROM runs")
    original = local_path(uri)
    assert original is not None
    root = original.parents[1]
    shutil.copytree(original.parent, place / original.parent.name)
    with closing(sqlite3.connect(folder / "outputs" / "mlflow.db")) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        for column in ("runs SET artifact_uri", "experiments SET artifact_location"):
            name = column.rpartition(" ")[2]
            words = f"UPDATE {column} = replace({name}, ?, ?)"
            database.execute(words, (root.as_uri(), place.as_uri()))


def newest(folder: Path) -> str:
    """The id of the run that started last."""
    return rows(folder, "SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1")[0][0]


def tags(folder: Path) -> dict[str, str]:
    """The newest run's."""
    pairs = rows(folder, "SELECT key, value FROM tags WHERE run_uuid = ?", newest(folder))
    return {key: value for key, value in pairs}  # noqa: C416  (mypy: a pair is any tuple)


def set_tag(folder: Path, key: str, value: str) -> None:
    """Change a tag of the newest run."""
    query = "UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?"
    rows(folder, query, value, key, newest(folder))


def artifact(folder: Path, name: str) -> Path:
    """The path of one of the newest run's artifacts."""
    uri = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
    place = local_path(rows(folder, uri, newest(folder))[0][0])
    assert place is not None
    return place / name
