"""Creating a SQLite store: a copy of an empty store made by the installed MLflow.

MLflow takes seconds to create its tables, and cannot open a file if it was interrupted meanwhile.
So an empty store is made once per version of MLflow, cached in the user's cache folder, and copied.
``python -m gdexp.tracking.empty_store FILE`` makes one in a separate process.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from gdexp.errors import StoreError
from gdexp.tracking.artifacts import sync
from gdexp.tracking.sql_schema import is_sound, is_store


def create(path: Path) -> None:
    """Create a store atomically; the caller holds the store's lock.

    Raises:
        StoreError: MLflow cannot create its tables.
    """
    draft = path.with_name(f".{path.name}.new")
    for name in (draft.name, f"{draft.name}-journal", f"{path.name}-journal", f"{path.name}-wal"):
        path.with_name(name).unlink(missing_ok=True)  # left by an interrupted or deleted store
    cached = _cached()
    if cached is None:
        _make(draft)
    else:
        shutil.copyfile(cached, draft)
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def _cached() -> Path | None:
    """The cached empty store, created if missing; None if the cache folder cannot be written."""
    from filelock import FileLock

    folder = _cache_folder()
    path = folder / f"mlflow-{_version()}.db"
    if not path.is_absolute():  # the user has no home
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _is_usable(path):
            return path
        with FileLock(path.with_suffix(".lock"), timeout=120):
            if not _is_usable(path):
                with tempfile.TemporaryDirectory(dir=folder) as drafts:
                    draft = Path(drafts, path.name)
                    _make(draft)
                    draft.replace(path)
        return path
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        return None


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    return Path(root if os.path.isabs(root) else os.path.expanduser("~/.cache"), "gdexp")


def _version() -> str:
    """The version of the installed MLflow, as mlflow-skinny or mlflow."""
    from importlib import metadata  # slow to import, and only needed for a new store

    for name in ("mlflow-skinny", "mlflow"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise StoreError("MLflow is not installed. Type pip install mlflow.")


def _is_usable(path: Path) -> bool:
    try:
        return path.is_file() and is_store(path) and is_sound(path)
    except sqlite3.Error:  # damaged
        return False


def _make(path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "gdexp.tracking.empty_store", str(path)]
    made = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    if made.returncode:
        last = (made.stderr.strip() or "no reason given").splitlines()[-1]
        raise StoreError(f"MLflow cannot create its tables: {last}.")


def _main(path: str) -> None:
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    from gdexp.tracking.location import sqlite_uri

    engine = create_sqlalchemy_engine(sqlite_uri(Path(path)))
    _initialize_tables(engine)
    engine.dispose()


if __name__ == "__main__":
    _main(sys.argv[1])
