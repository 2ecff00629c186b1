"""A SQLite file or a PostgreSQL database, spoken to by its own driver."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = tuple[Any, ...]

PATIENCE = 60.0  # seconds to wait for the other writers of a SQLite file
PAUSE = 0.02  # seconds between two tries
MANY = 1000  # rows in one INSERT: a third faster than one by one


class Connection(Protocol):
    """An open connection, within a transaction or not."""

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a SELECT; ``?`` marks a value."""

    def insert(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        """Insert rows; the ending says what a conflict does."""

    def analyze(self, tables: Sequence[str]) -> None:
        """Measure tables, so that the database picks fast plans."""


class Database(Protocol):
    """A database whose tables gdexp writes itself."""

    def reading(self) -> Any:
        """A context with a :class:`Connection`; what it changes is lost."""

    def transaction(self) -> Any:
        """A context with a :class:`Connection`: all that happens in it, or nothing."""


class Sqlite:
    """A SQLite file. A connection is opened for each use, so threads and forks may share this.

    Args:
        path: the file; it must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def reading(self) -> Iterator[_SqliteConnection]:
        """A connection that is not in a transaction.

        It may write all the same: after a crash, reading begins with undoing what was half done.
        """
        with closing(self._connect()) as connection:
            yield _SqliteConnection(connection)

    @contextmanager
    def transaction(self) -> Iterator[_SqliteConnection]:
        """All of it, or nothing; waits for other writers."""
        with closing(self._connect()) as connection:
            _patiently(connection, "PRAGMA foreign_keys = ON")
            _patiently(connection, "PRAGMA cache_size = -262144")  # 256 MiB, so nothing spills
            # At once, or two writers may each wait for the other to stop reading.
            _patiently(connection, "BEGIN IMMEDIATE")
            try:
                yield _SqliteConnection(connection)
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise
            _patiently(connection, "COMMIT")  # a reader may hold it up

    def _connect(self) -> sqlite3.Connection:
        # mode=rw: a file that has gone is not made again, empty
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0
        )


def _patiently(
    connection: sqlite3.Connection, statement: str, values: Sequence[Any] = ()
) -> list[Row]:
    """Execute it as soon as others let go; the waiting is done here, where signals are heard."""
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
    """A PostgreSQL database, by psycopg.

    Args:
        uri: the database; SQLAlchemy's ``postgresql+driver://`` is understood.
    """

    def __init__(self, uri: str) -> None:
        scheme, _, rest = uri.partition("://")
        self._uri = f"{scheme.partition('+')[0]}://{rest}"

    @contextmanager
    def reading(self) -> Iterator[_PostgresConnection]:
        """A connection whose changes are lost."""
        import psycopg

        with psycopg.connect(self._uri, connect_timeout=10) as connection:
            yield _PostgresConnection(connection)
            connection.rollback()

    @contextmanager
    def transaction(self) -> Iterator[_PostgresConnection]:
        """All of it, or nothing."""
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
        """By COPY where nothing may be there yet, else through a table of its own."""
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
