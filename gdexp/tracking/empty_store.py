"""A new SQLite store: a copy of an empty one that the installed MLflow has made.

MLflow takes seconds to make its tables, and never again opens a file in which it was interrupted.
So an empty store is made once for each version of MLflow, kept in the user's cache folder, and
copied. ``python -m gdexp.tracking.empty_store FILE`` makes one, in a process of its own.
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
    """Create a store, whole before it gets its name; the caller holds the store's lock.

    Raises:
        StoreError: MLflow cannot make one.
    """
    draft = path.with_name(f".{path.name}.new")
    for left in (draft, draft.with_name(f"{draft.name}-journal")):
        left.unlink(missing_ok=True)
    for stale in (f"{path.name}-journal", f"{path.name}-wal"):
        path.with_name(stale).unlink(missing_ok=True)  # of a file that is gone
    cached = _cached()
    if cached is None:
        _make(draft)
    else:
        shutil.copyfile(cached, draft)
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def _cached() -> Path | None:
    """The cached empty store, made if need be; None if the cache folder cannot be written."""
    from filelock import FileLock

    folder = _cache_folder()
    path = folder / f"mlflow-{_version()}.db"
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
    return Path(root if os.path.isabs(root) else Path.home() / ".cache", "gdexp")


def _version() -> str:
    """Of the installed MLflow, whichever of its distributions that is."""
    from importlib import metadata  # slow to import, and of use for a new store alone

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
        last = [*made.stderr.strip().splitlines(), "no reason given"][-1 if made.stderr else 0]
        raise StoreError(f"MLflow cannot make its tables: {last}.")


def _main(path: str) -> None:
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()


if __name__ == "__main__":
    _main(sys.argv[1])
