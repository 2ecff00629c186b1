"""Many finished runs in one SQL transaction, row for row what MLflow's client would have written.

A run costs the client some forty statements and five commits. Here a chunk of runs costs one
statement a table and one commit, so that a run is in the database completely or not at all.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from mlflow.entities import DatasetInput
from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlRun
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils import validation
from mlflow.version import VERSION
from sqlalchemy import ColumnElement, Connection, Engine, Select, func, select

from gdexp.errors import StoreError
from gdexp.tracking.run_record import FinishedRun
from gdexp.tracking.sql_rows import COLUMNS, Row, Rows, rows_of
from gdexp.tracking.store import Store, hide_password

# MLflow and its schema for which the rows were compared with the client's; see test_bulk.py.
VERIFIED = {("3.17.2", "dc11669786a5")}
DIALECTS = ("sqlite", "postgresql")
PATIENCE = 60_000  # ms to wait for a SQLite file's other writers; MLflow itself waits 20 s
MANY = 1000  # runs from which a database without statistics picks slow plans


def database(store: Store) -> Engine | None:
    """The engine of a SQLite or PostgreSQL store; None for a server and for other databases."""
    opened = store.client._tracking_client.store
    # Exactly this class: the one with workspaces puts conditions on what may be written.
    if type(opened) is not SqlAlchemyStore or opened.engine.dialect.name not in DIALECTS:
        return None
    engine: Engine = opened.engine
    return engine


def is_verified(engine: Engine) -> bool:
    """Whether the rows of this MLflow and of this database's schema are known."""
    with engine.connect() as connection:
        head = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return (VERSION, head) in VERIFIED


def check_new(engine: Engine, runs: Sequence[FinishedRun]) -> None:
    """Make sure that no two runs have one id, in the database or among these.

    Raises:
        StoreError: it names the id.
    """
    ids = sorted(run.run_id for run in runs)
    twice = [one for one, next_ in itertools.pairwise(ids) if one == next_]
    with engine.connect() as connection:
        known: ColumnElement[bool] = SqlRun.run_uuid.in_(ids)
        twice += connection.execute(select(SqlRun.run_uuid).where(known)).scalars()
    if twice:
        raise StoreError(f"there is a run {twice[0]} already")


def insert(engine: Engine, experiment: int, location: str, runs: Sequence[FinishedRun]) -> None:
    """Write runs to the database, all of them or none.

    Args:
        engine: the database, as ``database`` gives it.
        experiment: the id of the experiment they belong to.
        location: where that experiment keeps its artifacts.
        runs: the runs; their ids must be new.

    Raises:
        MlflowException: MLflow does not allow a name or a value.
        sqlalchemy.exc.SQLAlchemyError: the database refuses.
    """
    runs = sorted(runs, key=operator.attrgetter("run_id"))  # neighbours in the indexes: 1.3x faster
    rows = rows_of(runs, experiment, location)  # before the lock is taken
    with _transaction(engine) as connection:
        for table in rows:
            _execute(connection, table, rows[table])
        for table, linked in _inputs(connection, experiment, runs).items():
            _execute(connection, table, linked)


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {PATIENCE}")
            connection.exec_driver_sql("PRAGMA cache_size = -262144")  # 256 MiB, so nothing spills
            # At once, or two writers may each wait for the other to stop reading.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def _execute(connection: Connection, table: str, rows: list[Row]) -> None:
    """One statement for all rows, given to the driver as tuples: SQLAlchemy's dicts cost half more.

    A conflict arises where MLflow keeps the first too: the same point twice, a known data set.
    """
    if not rows:
        return
    columns = COLUMNS[table]
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    values = ", ".join([mark] * len(columns))
    ending = " ON CONFLICT DO NOTHING" if table in ("metrics", "datasets") else ""
    connection.exec_driver_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}){ending}", rows
    )


def _inputs(connection: Connection, experiment: int, runs: Sequence[FinishedRun]) -> Rows:
    """The links from runs to data sets; a data set is stored once in an experiment."""
    given = [(run.run_id, run.dataset) for run in runs if run.dataset is not None]
    if not given:
        return {}
    uuids = _datasets(connection, experiment, [dataset for _, dataset in given])
    linked: Rows = {"inputs": [], "input_tags": []}
    for run_id, used in given:
        link, source = uuid4().hex, uuids[used.dataset.name, used.dataset.digest]
        linked["inputs"].append((link, "DATASET", source, "RUN", run_id))
        linked["input_tags"] += [(link, tag.key, tag.value) for tag in used.tags]
    return linked


def _datasets(
    connection: Connection, experiment: int, used: list[DatasetInput]
) -> dict[tuple[str, str], str]:
    """The ids of data sets by name and digest: of those that are there, whoever wrote them."""
    validation._validate_dataset_inputs(used)
    first = {(use.dataset.name, use.dataset.digest): use.dataset for use in reversed(used)}
    new = [
        (uuid4().hex, experiment, *key, d.source_type, d.source, d.schema, d.profile)
        for key, d in sorted(first.items())  # in one order, so that two writers cannot deadlock
    ]
    _execute(connection, "datasets", new)
    known: ColumnElement[bool] = SqlDataset.digest.in_({digest for _, digest in first})
    columns = (SqlDataset.name, SqlDataset.digest, SqlDataset.dataset_uuid)
    found: Select[Any] = select(*columns).filter_by(experiment_id=experiment).where(known)
    return {(name, digest): uuid for name, digest, uuid in connection.execute(found)}


def analyze(store: Store) -> None:
    """Let a database measure its tables, without which it searches thousands of runs slowly.

    A server is left to its owner: this does nothing there.

    Raises:
        StoreError: the database refuses.
    """
    engine = database(store)
    if engine is None:
        return
    try:
        with _transaction(engine) as connection:
            if engine.dialect.name == "sqlite":  # a sample does: 0.1 s, not 5, for 3 million rows
                connection.exec_driver_sql("PRAGMA analysis_limit = 1000")
            for table in COLUMNS:
                connection.exec_driver_sql(f"ANALYZE {table}")
    except Exception as error:
        raise StoreError(
            f"tracking.uri: {hide_password(store.uri)} cannot be analyzed: {reason(error)}"
        ) from error


def has_outgrown(engine: Engine, written: int) -> bool:
    """Whether the last runs make the database's statistics, if it has any, worthless."""
    with engine.connect() as connection:
        total: int = connection.execute(select(func.count()).select_from(SqlRun)).scalar_one()
    doubled = total.bit_length() > (total - written).bit_length()
    return written >= MANY or (total >= MANY and doubled)


def reason(error: Exception) -> str:
    """What went wrong, on one line and without SQL."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]
