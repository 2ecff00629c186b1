"""A SQLite file or a PostgreSQL database, through its own driver."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from gdexp.errors import StoreError

Row: TypeAlias = tuple[Any, ...]

PATIENCE = 60.0  # seconds to wait for other writers of a SQLite file
PAUSE = 0.02  # seconds between attempts
MANY = 1000  # rows per INSERT: a third faster than one by one


class Connection(Protocol):
    """An open connection, inside a transaction or not."""

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a statement; ``?`` is the placeholder of a value."""

    def insert(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        """Insert rows; the ending is the ON CONFLICT clause."""

    def analyze(self, tables: Sequence[str]) -> None:
        """Update the statistics of tables, so that the database picks fast plans."""


class Database(Protocol):
    """A database that gdexp writes without MLflow."""

    def reading(self) -> Any:
        """A context with a :class:`Connection` for queries."""

    def transaction(self) -> Any:
        """A context with a :class:`Connection`, committed as a whole or rolled back."""


class Sqlite:
    """A SQLite file. Each use opens a connection, so threads and forked processes may share this.

    Args:
        path: the file; it must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def reading(self) -> Iterator[_SqliteConnection]:
        """A connection outside a transaction.

        It must be able to write: after a crash, SQLite first rolls back the unfinished transaction.

        Raises:
            StoreError: this is needed, but the user may not write there.
        """
        with closing(self._connect()) as connection:
            try:
                yield _SqliteConnection(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                    raise
                raise StoreError(
                    f"{self.path} cannot be read: before, SQLite has to write beside it, to undo "
                    f"what a killed process left unfinished, but {self.path.parent} is read-only. "
                    "Type the command as a user who may write there."
                ) from error

    @contextmanager
    def transaction(self) -> Iterator[_SqliteConnection]:
        """A connection in a transaction; waits for other writers."""
        with closing(self._connect()) as connection:
            _patiently(connection, "PRAGMA foreign_keys = ON")
            _patiently(connection, "PRAGMA cache_size = -262144")  # 256 MiB, so nothing spills
            # IMMEDIATE: two deferred transactions could each wait for the other to stop reading.
            _patiently(connection, "BEGIN IMMEDIATE")
            try:
                yield _SqliteConnection(connection)
            except BaseException:
                if connection.in_transaction:  # a full disk has already ended it
                    connection.execute("ROLLBACK")
                raise
            _patiently(connection, "COMMIT")  # waits for readers

    def _connect(self) -> sqlite3.Connection:
        # mode=rw does not recreate a file that was deleted
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0
        )


def _patiently(
    connection: sqlite3.Connection, statement: str, values: Sequence[Any] = ()
) -> list[Row]:
    """Execute a statement, retrying while the file is locked; signals can interrupt it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)


class _SqliteConnection:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return _patiently(self._connection, sql, values)

    def insert(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        size = min(MANY, 32_000 // len(columns))  # SQLite takes 32,766 values at once
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            marks = ",".join([f"({','.join('?' * len(columns))})"] * len(part))
            flat = [value for row in part for value in row]
            self._connection.execute(_insert(table, columns, marks, ending), flat)

    def analyze(self, tables: Sequence[str]) -> None:
        self._connection.execute("PRAGMA analysis_limit = 1000")  # 0.1 s, not 5, for 3 million rows
        for table in tables:
            self._connection.execute(f"ANALYZE {table}")


class Postgres:
    """A PostgreSQL database, through psycopg.

    Args:
        uri: the database; SQLAlchemy's ``postgresql+driver://`` is accepted.
    """

    def __init__(self, uri: str) -> None:
        scheme, _, rest = uri.partition("://")
        self._uri = f"{scheme.partition('+')[0]}://{rest}"

    @contextmanager
    def reading(self) -> Iterator[_PostgresConnection]:
        """A connection that is rolled back at the end."""
        import psycopg

        with psycopg.connect(self._uri, connect_timeout=10) as connection:
            yield _PostgresConnection(connection)
            connection.rollback()

    @contextmanager
    def transaction(self) -> Iterator[_PostgresConnection]:
        """A connection in a transaction."""
        import psycopg

        with psycopg.connect(self._uri, connect_timeout=10) as connection:
            yield _PostgresConnection(connection)


class _PostgresConnection:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql.replace("?", "%s"), values)
        return list(cursor.fetchall()) if cursor.description else []

    def insert(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        """Insert by COPY, and through a temporary table if conflicts are possible."""
        if not rows:
            return
        names = ", ".join(columns)
        with self._connection.cursor() as cursor:
            if len(rows) < 50:
                marks = f"({','.join(['%s'] * len(columns))})"
                cursor.executemany(_insert(table, columns, marks, ending), rows)
                return
            source = table
            if ending:
                source = "rows_to_insert"
                cursor.execute(
                    f"CREATE TEMPORARY TABLE {source} ON COMMIT DROP AS "
                    f"SELECT {names} FROM {table} WITH NO DATA"
                )
            with cursor.copy(f"COPY {source} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            if ending:
                cursor.execute(
                    f"INSERT INTO {table} ({names}) SELECT {names} FROM {source}{ending}"
                )
                cursor.execute(f"DROP TABLE {source}")

    def analyze(self, tables: Sequence[str]) -> None:
        for table in tables:
            self._connection.execute(f"ANALYZE {table}")


def _insert(table: str, columns: Sequence[str], marks: str, ending: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks}{ending}"
