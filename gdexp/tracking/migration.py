"""What MLflow's own code may be called on: a newer store never, an older SQLite file after a copy.

MLflow migrates some older databases as soon as it opens them. gdexp migrates none of a server's or
a team's, and a SQLite file only when MLflow is needed: gdexp's own SQL reads and writes the nine
tables of several versions as they are.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from gdexp.credentials import with_password, without_password
from gdexp.errors import StoreError, brief
from gdexp.tracking.artifacts import sync
from gdexp.tracking.database import Postgres, Sqlite
from gdexp.tracking.location import SERVERS, kind_of, lock, sqlite_path, sqlite_uri
from gdexp.tracking.sql_schema import heads, newest_revision, revisions


def refuse_newer(uri: str) -> NoReturn:
    """Refuse a database whose schema the installed MLflow does not know.

    Raises:
        StoreError: always; the installed MLflow must not touch it.
    """
    raise StoreError(
        f"tracking.uri: {without_password(uri)} was made by a newer MLflow than the installed "
        "one. Type pip install --upgrade mlflow, or name another store."
    )


def ready_for_mlflow(uri: str) -> None:
    """Make a store ready for MLflow's own code.

    An older SQLite file is migrated, after a copy has been made beside it; one line tells so.

    Raises:
        StoreError: a newer MLflow made the store, it is an older database of another kind, or it
            cannot be copied or migrated.
    """
    if _is_older(uri):
        path = sqlite_path(uri)
        with lock(uri):
            if not _is_older(uri):
                return
            copy = copied(path)
            print(
                f"gdexp: {path} was made by an older MLflow; it is migrated now, and kept as it "
                f"was in {copy}",
                file=sys.stderr,
            )
            _migrate(path, copy)


def _is_older(uri: str) -> bool:
    """Whether a store is a SQLite file that the installed MLflow would migrate."""
    kind = kind_of(uri)
    if kind in SERVERS or (versions := _heads(uri)) in (None, {newest_revision()}):
        return False
    if not versions <= revisions():
        refuse_newer(uri)
    if kind == "sqlite":
        return True
    bare = without_password(uri)
    raise StoreError(
        f"tracking.uri: {bare} was made by an older MLflow than the installed one. Back it up, "
        f"then type mlflow db upgrade {shlex.quote(bare)}"
    )


def _heads(uri: str) -> set[str] | None:
    """The schema revisions of a database; None if it has no tables of MLflow's."""
    kind = kind_of(uri)
    if kind == "sqlite":
        path = sqlite_path(uri)
        if not path.is_file() or not path.stat().st_size:
            return None
        with Sqlite(path).reading() as connection:
            return heads(connection, kind)
    if kind == "postgresql" and importlib.util.find_spec("psycopg"):
        with Postgres(uri).reading() as connection:
            return heads(connection, kind)
    import sqlalchemy as sa

    engine = sa.create_engine(with_password(uri))
    try:
        with engine.connect() as connected:
            if not sa.inspect(connected).has_table("alembic_version"):
                return None
            rows = connected.execute(sa.text("SELECT version_num FROM alembic_version"))
            return {str(version) for (version,) in rows}
    finally:
        engine.dispose()


def copied(path: Path) -> Path:
    """A consistent copy of a SQLite file beside it, synced to disk; never over another file.

    Raises:
        StoreError: it cannot be written.
    """
    number, copy = 1, path.with_name(f"{path.name}.backup")
    while True:
        try:
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, path.stat().st_mode))
            break
        except FileExistsError:
            number += 1
            copy = path.with_name(f"{path.name}.backup-{number}")
        except OSError as error:
            raise _not_copied(path, error) from error
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        sync(copy)
        sync(copy.parent)
    except (OSError, sqlite3.Error) as error:
        copy.unlink(missing_ok=True)
        raise _not_copied(path, error) from error
    return copy


def _not_copied(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"tracking.uri: {path} was made by an older MLflow and must be migrated, but it cannot be "
        f"copied before ({brief(error)}). It was left as it is."
    )


def _migrate(path: Path, copy: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "mlflow", "db", "upgrade", sqlite_uri(path)]
    # of its own session, so that a Ctrl-C does not stop it in the middle
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise StoreError(
            f"tracking.uri: MLflow could not migrate {path}: {last}. To go back, type "
            f"cp {shlex.quote(str(copy))} {shlex.quote(str(path))}"
        )
