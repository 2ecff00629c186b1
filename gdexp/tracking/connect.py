"""Opening the store that the settings name: made if need be, or as it is."""

# mypy: allow-untyped-calls
from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdexp.config.paths import OUTPUTS, absolute, check_writable
from gdexp.errors import GdexpError, StoreError, did_you_mean, first_line
from gdexp.tracking import empty_store, location
from gdexp.tracking.database import Connection, Database, Postgres, Sqlite
from gdexp.tracking.location import SERVERS, experiment_name, hide_password, kind_of, resolve
from gdexp.tracking.sql_schema import Schema, schema_of
from gdexp.tracking.sql_store import SqlStore
from gdexp.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient


def connect(settings: Mapping[str, Any]) -> Store:
    """The store that the tracking settings name, created if it is the embedded one.

    Args:
        settings: the tracking group: ``uri`` and ``experiment``, either may be None.

    Raises:
        StoreError: it is malformed, unreachable or cannot be written.
    """
    return _connect(resolve(settings.get("uri")), experiment_name(settings.get("experiment")))


@functools.cache
def _connect(uri: str, experiment: str) -> Store:
    kind = kind_of(uri)
    if kind == "sqlite":
        check_writable(location.sqlite_path(uri).parent, "tracking.uri")
    else:
        location.check_reachable(uri)
    if kind not in SERVERS:
        check_writable(absolute(OUTPUTS), "outputs")
        absolute(OUTPUTS).mkdir(parents=True, exist_ok=True)
    try:
        # Two processes that create the tables of one store at once break it for good.
        with _lock(uri, kind):
            return _open(uri, kind, experiment)
    except StoreError:
        raise
    except ModuleNotFoundError as error:
        raise StoreError(
            f"tracking.uri: {kind} needs the package {error.name}. For PostgreSQL: pip install "
            "'gdexp[postgres]'"
        ) from error
    except Exception as error:
        raise StoreError(
            f"tracking.uri: {hide_password(uri)} cannot be opened as an MLflow store: "
            f"{first_line(error)[:300].rstrip('.')}."
        ) from error


def _open(uri: str, kind: str, experiment: str) -> Store:
    database = database_of(uri)
    if database is not None:
        if isinstance(database, Sqlite) and is_missing(database.path):
            empty_store.create(database.path)
        schema = _schema(database, kind)
        if schema == "empty":
            client_of(uri)  # makes the tables
            schema = _schema(database, kind)
        if schema == "newer":
            raise StoreError(newer(uri))
        if schema == "known":
            return _sql_store(database, uri, experiment)
        print(
            "gdexp: the tables of this store are unknown to gdexp; MLflow's client writes them, "
            "which is slower",
            file=sys.stderr,
        )
    return _client_store(uri, kind, experiment)


def newer(uri: str) -> str:
    """The sentence about a store that the installed MLflow must not touch."""
    return (
        f"tracking.uri: {hide_password(uri)} was made by a newer MLflow than the installed one. "
        "Type pip install --upgrade mlflow, or name another store."
    )


def is_missing(path: Path) -> bool:
    """Whether there is no file, or an empty one."""
    return not path.exists() or (path.is_file() and not path.stat().st_size)


def database_of(uri: str) -> Database | None:
    """A database that gdexp can speak to by itself; None for any other store."""
    kind = kind_of(uri)
    if os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in ("true", "1"):
        return None  # conditions on what may be written, which MLflow knows
    if kind == "sqlite":
        return Sqlite(location.sqlite_path(uri))
    if kind == "postgresql" and importlib.util.find_spec("psycopg"):
        return Postgres(uri)
    return None


def _schema(database: Database, kind: str) -> Schema:
    with database.reading() as connection:
        return schema_of(connection, kind)


def _sql_store(database: Database, uri: str, name: str) -> SqlStore:
    with database.reading() as connection:
        rows = _experiment(connection, name)
    if not rows:
        with database.transaction() as connection:
            if not _experiment(connection, name):
                _create_experiment(connection, name)
            rows = _experiment(connection, name)
    ((experiment_id, place, stage),) = rows
    _check_active(name, str(experiment_id), stage)
    return SqlStore(database, uri, name, str(experiment_id), place)


def _experiment(connection: Connection, name: str) -> list[tuple[Any, ...]]:
    return connection.query(
        "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments WHERE name = ?",
        (name,),
    )


def _create_experiment(connection: Connection, name: str) -> None:
    """An experiment with its artifacts under ``outputs/``, beside MLflow's own "Default"."""
    now, place = int(time.time() * 1000), (absolute(OUTPUTS) / "artifacts").as_uri()
    columns = (
        *("name", "artifact_location", "lifecycle_stage", "creation_time"),
        "last_update_time",
    )
    if not connection.query("SELECT 1 FROM experiments LIMIT 1"):
        default = (0, "Default", f"{place}/0", "active", now, now)
        connection.insert("experiments", ("experiment_id", *columns), [default])
    connection.insert("experiments", columns, [(name, place, "active", now, now)])


def _check_active(name: str, experiment_id: str, stage: str) -> None:
    if stage != "active":
        raise StoreError(
            f"tracking.experiment: {name!r} has been deleted in this store. Restore it with "
            f"`mlflow experiments restore -x {experiment_id}`, or type another name."
        )


def client_of(uri: str) -> MlflowClient:
    """MLflow's own client, set up to be quiet."""
    from gdexp.tracking.client_store import quiet

    quiet()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)  # a database's tables are made now
    return client


def _client_store(uri: str, kind: str, name: str) -> Store:
    from gdexp.tracking.client_store import ClientStore

    client = client_of(uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A server keeps artifacts where it likes; ours belong under outputs/.
        place = None if kind in SERVERS else (absolute(OUTPUTS) / "artifacts").as_uri()
        return ClientStore(client, uri, name, client.create_experiment(name, place))
    _check_active(name, experiment.experiment_id, experiment.lifecycle_stage)
    return ClientStore(client, uri, name, str(experiment.experiment_id))


def _lock(uri: str, kind: str) -> AbstractContextManager[Any]:
    from filelock import FileLock

    if kind == "sqlite":
        path = location.sqlite_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path.with_name(f".{path.name}.lock"), timeout=120)
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir(), f"gdexp-{os.getuid()}-{digest}.lock"), timeout=120)


def open_existing(uri: str | None, experiment: str | None) -> Store:
    """The store that runs are recorded in, as it is: nothing is created by looking.

    Args:
        uri: the store; None: MLFLOW_TRACKING_URI, else ``outputs/mlflow.db``.
        experiment: its experiment; None: MLFLOW_EXPERIMENT_NAME, else gdexp.

    Raises:
        StoreError: it is malformed, unreachable or not an MLflow store.
        GdexpError: nothing is recorded in it yet, or it has no such experiment.
    """
    uri, name = resolve(uri), experiment_name(experiment)
    if kind_of(uri) != "sqlite":
        location.check_reachable(uri)
    try:
        return _existing(uri, name)
    except GdexpError:
        raise
    except Exception as error:
        raise StoreError(
            f"{hide_password(uri)} cannot be read as an MLflow store: "
            f"{first_line(error)[:300].rstrip('.')}."
        ) from error


def _existing(uri: str, name: str) -> Store:
    database, kind = database_of(uri), kind_of(uri)
    if isinstance(database, Sqlite) and not database.path.exists():
        path = database.path
        place = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        raise GdexpError(f"nothing recorded yet: {place} is not there; run python -m gdexp first.")
    schema = _schema(database, kind) if database is not None else "unknown"
    if schema == "empty":
        raise GdexpError(
            "nothing recorded yet: the store is an empty database; run python -m gdexp first."
        )
    if schema == "newer":
        raise StoreError(newer(uri))
    if database is None or schema == "unknown":
        from gdexp.tracking.client_store import ClientStore

        client = client_of(uri)
        known = {found.name: found.experiment_id for found in client.search_experiments()}
        _check_experiment(name, list(known))
        return ClientStore(client, uri, name, known[name])
    with database.reading() as connection:
        names = connection.query("SELECT name FROM experiments WHERE lifecycle_stage = 'active'")
        _check_experiment(name, [known for (known,) in names])
        ((experiment_id, place, _),) = _experiment(connection, name)
    return SqlStore(database, uri, name, str(experiment_id), place)


def _check_experiment(name: str, known: list[str]) -> None:
    if name not in known:
        raise GdexpError(
            f"--experiment: there is no experiment {name!r} in this store. It has: "
            f"{', '.join(sorted(known))}.{did_you_mean(name, known)}"
        )
