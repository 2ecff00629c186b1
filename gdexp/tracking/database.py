"""A SQLite file or a PostgreSQL database, through its own driver."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from gdexp.credentials import with_password
from gdexp.descent.signals import signalled
from gdexp.errors import StoreError

Row: TypeAlias = tuple[Any, ...]

PATIENCE = 60.0  # seconds to wait for other writers of a SQLite file
STUCK = 4.0  # seconds to wait if nothing is written to the file meanwhile
HURRY = 1.0  # the same after a signal
# Seconds to wait for PostgreSQL's greeting, at each of its addresses; and text even from a server
# set up in the locale C, which otherwise hands out bytes.
SETTINGS: dict[str, Any] = {"connect_timeout": 4, "client_encoding": "UTF8"}
PAUSE = 0.02  # seconds between attempts
MANY = 5000  # rows per INSERT: 1.5 times faster than one by one


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
                yield _SqliteConnection(connection, self.path)
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
            opened = _SqliteConnection(connection, self.path)
            opened.query("PRAGMA foreign_keys = ON")
            opened.query("PRAGMA cache_size = -262144")  # 256 MiB, so nothing spills
            # IMMEDIATE: two deferred transactions could each wait for the other to stop reading.
            opened.query("BEGIN IMMEDIATE")
            try:
                yield opened
            except BaseException:
                if connection.in_transaction:  # a full disk has already ended it
                    connection.execute("ROLLBACK")
                raise
            opened.query("COMMIT")  # waits for readers

    def _connect(self) -> sqlite3.Connection:
        # mode=rw does not recreate a file that was deleted
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0
        )


class _Patience:
    """How long to wait for a locked SQLite file: longer while others write it, one after another.

    A signal shortens it: the process is to end.
    """

    def __init__(self, path: Path) -> None:
        self._files = [path, path.with_name(f"{path.name}-journal")]
        self._start = self._changed = time.monotonic()
        self._seen = self._state()

    def is_over(self) -> bool:
        """Whether to give up."""
        now = time.monotonic()
        if (state := self._state()) != self._seen:
            self._seen, self._changed = state, now
        stuck = HURRY if signalled() else STUCK
        return now - self._start > PATIENCE or now - self._changed > stuck

    def _state(self) -> list[tuple[int, int]]:
        """Size and modification time of the file and its journal."""
        state = []
        for file in self._files:
            with suppress(OSError):
                status = file.stat()
                state.append((status.st_size, status.st_mtime_ns))
        return state


class _SqliteConnection:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute a statement, retrying while the file is locked; signals can interrupt it."""
        patience = None
        while True:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                patience = patience or _Patience(self._path)
                if not busy or patience.is_over():
                    raise
                time.sleep(PAUSE)

    def insert(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        size = min(MANY, 32_000 // len(columns))  # SQLite takes 32,766 values at once
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            marks = ",".join([f"({','.join('?' * len(columns))})"] * len(part))
            flat = list(chain.from_iterable(part))
            self._connection.execute(_insert(table, columns, marks, ending), flat)

    def analyze(self, tables: Sequence[str]) -> None:
        self._connection.execute("PRAGMA analysis_limit = 1000")  # 0.1 s, not 5, for 3 million rows
        for table in tables:
            self._connection.execute(f"ANALYZE {table}")


class Postgres:
    """A PostgreSQL database, through psycopg.

    Args:
        uri: the database, without its password, if that is known to :mod:`gdexp.credentials`;
            SQLAlchemy's ``postgresql+driver://`` is accepted.
    """

    def __init__(self, uri: str) -> None:
        scheme, _, rest = with_password(uri).partition("://")
        self._uri = f"{scheme.partition('+')[0]}://{rest}"

    @contextmanager
    def reading(self) -> Iterator[_PostgresConnection]:
        """A connection that is rolled back at the end."""
        import psycopg

        with psycopg.connect(self._uri, **SETTINGS) as connection:
            yield _PostgresConnection(connection)
            connection.rollback()

    @contextmanager
    def transaction(self) -> Iterator[_PostgresConnection]:
        """A connection in a transaction."""
        import psycopg

        with psycopg.connect(self._uri, **SETTINGS) as connection:
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
