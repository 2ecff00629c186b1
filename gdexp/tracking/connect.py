"""Opening the store that the settings name: for writing, created if need be, or for reading."""

# mypy: allow-untyped-calls
from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gdexp.config.paths import OUTPUTS, absolute, check_writable, relative
from gdexp.credentials import with_password, without_password
from gdexp.errors import GdexpError, StoreError, brief, did_you_mean
from gdexp.tracking import empty_store, location, sql_write
from gdexp.tracking.database import Database, Postgres, Sqlite
from gdexp.tracking.delivery import deliver_rest, first_step
from gdexp.tracking.liveness import close_dead
from gdexp.tracking.location import SERVERS, experiment_name, kind_of, resolve
from gdexp.tracking.migration import ready_for_mlflow, refuse_newer
from gdexp.tracking.patience import patiently
from gdexp.tracking.sql_schema import Schema, schema_of
from gdexp.tracking.sql_store import SqlStore
from gdexp.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

OPENING = 120.0  # seconds that creating the tables of a store may take


def connect(settings: Mapping[str, Any]) -> Store:
    """Open the store that the tracking settings name; a missing SQLite file is created.

    Args:
        settings: the tracking group: ``uri`` and ``experiment``, either may be None.

    Raises:
        StoreError: the URI is malformed, or the store is unreachable or cannot be written.
    """
    location.check_environment()
    address = with_password(resolve(settings.get("uri")))
    return _connect(address, experiment_name(settings.get("experiment")))


@functools.cache
def _connect(address: str, experiment: str) -> Store:
    store = opened(without_password(address), experiment)
    deliver_rest(store)
    return close_dead(store)


def opened(uri: str, experiment: str) -> Store:
    """Open a store; a missing SQLite file, tables and the experiment are created.

    Args:
        uri: its URI, resolved.
        experiment: the name of the experiment.

    Raises:
        StoreError: it is unreachable, refuses the user or cannot be written.
    """
    kind = kind_of(uri)
    if kind == "sqlite":
        check_writable(location.sqlite_path(uri).parent, "tracking.uri")
    else:
        location.check_reachable(uri)
    if kind not in SERVERS:
        check_writable(absolute(OUTPUTS), "outputs")
    try:
        store = patiently(partial(_open, uri, experiment), uri, OPENING)
        if kind not in SERVERS:
            absolute(OUTPUTS).mkdir(parents=True, exist_ok=True)
        return store
    except StoreError:
        raise
    except ModuleNotFoundError as error:
        raise StoreError(
            f"tracking.uri: {kind} needs the package {error.name}. For PostgreSQL: pip install "
            "'gdexp[postgres]'"
        ) from error
    except Exception as error:
        raise StoreError(
            f"tracking.uri: {without_password(uri)} cannot be opened as an MLflow store: "
            f"{brief(error)}."
        ) from error


def _open(uri: str, experiment: str) -> Store:
    database = _database(uri)
    if database is not None and _is_known(database, uri):
        return _sql_store(database, uri, experiment)  # the usual case needs no lock
    if database is None:
        ready_for_mlflow(uri)
    # Two processes that create the tables of one store at the same time break it for good.
    with location.lock(uri):
        if isinstance(database, Sqlite) and _is_missing(database.path):
            empty_store.create(database.path)
        if database is not None:
            if _schema(database, uri) == "empty":
                client_of(uri)  # creates the tables
            elif not _is_known(database, uri):
                ready_for_mlflow(uri)
            if _is_known(database, uri):
                return _sql_store(database, uri, experiment)
            print(
                "gdexp: the tables of this store have an unknown schema; MLflow's client writes "
                "them, which is slower",
                file=sys.stderr,
            )
        return _client_store(client_of(uri), uri, experiment)


def _is_known(database: Database, uri: str) -> bool:
    """Whether the database is there, with tables that gdexp can write."""
    is_there = not (isinstance(database, Sqlite) and _is_missing(database.path))
    return is_there and _schema(database, uri) == "known"


def _is_missing(path: Path) -> bool:
    """Whether the file does not exist or is empty."""
    return not path.exists() or (path.is_file() and not path.stat().st_size)


def _database(uri: str) -> Database | None:
    """The database, if gdexp can write it without MLflow; else None."""
    kind = kind_of(uri)
    if os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in ("true", "1"):
        return None  # workspaces restrict what may be written, by rules that only MLflow knows
    if kind == "sqlite":
        return Sqlite(location.sqlite_path(uri))
    if kind == "postgresql" and importlib.util.find_spec("psycopg"):
        return Postgres(uri)
    return None


def _schema(database: Database, uri: str) -> Schema:
    """The schema of a database.

    Raises:
        StoreError: a newer MLflow made it, so the installed one must not touch it.
    """
    with database.reading() as connection:
        schema = schema_of(connection, kind_of(uri))
    if schema == "newer":
        refuse_newer(uri)
    return schema


def _sql_store(database: Database, uri: str, name: str) -> SqlStore:
    with database.reading() as connection:
        rows = sql_write.experiment_of(connection, name)
    if not rows:
        with database.transaction() as connection:
            rows = sql_write.created_experiment(connection, name)
    ((experiment_id, place, stage),) = rows
    _check_active(name, str(experiment_id), stage)
    return SqlStore(database, uri, name, str(experiment_id), place)


def _check_active(name: str, experiment_id: str, stage: str) -> None:
    if stage != "active":
        raise StoreError(
            f"tracking.experiment: {name!r} has been deleted in this store. Restore it with "
            f"`mlflow experiments restore -x {experiment_id}`, or type another name."
        )


def client_of(uri: str) -> MlflowClient:
    """MLflow's own client, set up to be quiet; the tables of a database are created or migrated.

    Raises:
        StoreError: the database is of a newer MLflow, or cannot be migrated.
    """
    ready_for_mlflow(uri)
    from gdexp.tracking.mlflow_setup import set_up

    set_up()
    from mlflow import MlflowClient

    if kind_of(uri) not in SERVERS:
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 4  # attempts to connect: a second, not two minutes
    client = MlflowClient(tracking_uri=with_password(uri))
    client.search_experiments(max_results=1)  # creates the tables
    return client


def _client_store(client: MlflowClient, uri: str, name: str) -> Store:
    from gdexp.tracking.client_store import ClientStore

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A server decides where artifacts go; those of a database go under outputs/.
        is_server = kind_of(uri) in SERVERS
        place = None if is_server else (absolute(OUTPUTS) / "artifacts").as_uri()
        return ClientStore(client, uri, name, client.create_experiment(name, place))
    _check_active(name, experiment.experiment_id, experiment.lifecycle_stage)
    return ClientStore(client, uri, name, str(experiment.experiment_id))


def open_existing(uri: str | None, experiment: str | None) -> Store:
    """Open a store for reading; nothing is created.

    Args:
        uri: the store; None: MLFLOW_TRACKING_URI, else ``outputs/mlflow.db``.
        experiment: its experiment; None: MLFLOW_EXPERIMENT_NAME, else gdexp.

    Raises:
        StoreError: the URI is malformed, or the store is unreachable or not an MLflow store.
        GdexpError: nothing is recorded in it yet, or it has no such experiment.
    """
    uri, name = resolve(uri), experiment_name(experiment)
    if kind_of(uri) != "sqlite":
        location.check_reachable(uri)
    try:
        deliver_rest(store := patiently(partial(_existing, uri, name), uri, OPENING))
        return close_dead(store)
    except GdexpError:
        raise
    except Exception as error:
        raise StoreError(
            f"{without_password(uri)} cannot be read as an MLflow store: {brief(error)}."
        ) from error


def _existing(uri: str, name: str) -> Store:
    database = _database(uri)
    if isinstance(database, Sqlite) and not database.path.exists():
        file, advice = relative(database.path), first_step(uri, name)
        raise GdexpError(f"nothing recorded yet: {file} does not exist; {advice}.")
    schema = _schema(database, uri) if database is not None else "unknown"
    if schema == "empty":
        advice = first_step(uri, name)
        raise GdexpError(f"nothing recorded yet: the store is an empty database; {advice}.")
    if schema == "unknown":
        ready_for_mlflow(uri)
        schema = _schema(database, uri) if database is not None else "unknown"
    if database is None or schema == "unknown":
        client = client_of(uri)
        if client.get_experiment_by_name(name) is None:  # a deleted one is refused below
            _refuse_experiment(name, [each.name for each in client.search_experiments()])
        return _client_store(client, uri, name)
    with database.reading() as connection:
        stages = dict(connection.query("SELECT name, lifecycle_stage FROM experiments"))
    if name not in stages:  # a deleted one is refused below
        _refuse_experiment(name, [known for known, stage in stages.items() if stage == "active"])
    return _sql_store(database, uri, name)


def _refuse_experiment(name: str, known: list[str]) -> NoReturn:
    raise GdexpError(
        f"--experiment: there is no experiment {name!r} in this store. It has: "
        f"{', '.join(sorted(known))}.{did_you_mean(name, known)}"
    )
