"""A process that is killed while it commits leaves a journal: the next reader undoes the rest."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import CLI

from gdexp.errors import StoreError
from gdexp.tracking.connect import open_existing

KILLED = """
import os, signal, sqlite3
connection = sqlite3.connect("outputs/mlflow.db", isolation_level=None)
connection.execute("PRAGMA journal_mode = {mode}")
connection.execute("PRAGMA cache_size = 2")  # so that the file itself is written before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE runs SET status = 'FAILED', name = hex(zeroblob(100000))")
for number in range(500):
    connection.execute("INSERT INTO experiments (name) VALUES (hex(zeroblob(500)) || ?)", [number])
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(mode: str = "delete") -> None:
    """Leave a transaction half written."""
    script = KILLED.format(mode=mode)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9


@pytest.fixture
def hot(store: Path) -> Path:
    kill_a_writer()
    path = store / "outputs" / "mlflow.db"
    assert path.with_name("mlflow.db-journal").stat().st_size
    with (
        contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as half,
        pytest.raises(sqlite3.DatabaseError, match="malformed"),
    ):
        half.execute("PRAGMA integrity_check").fetchall()
    return store


def whole(folder: Path) -> None:
    """The store is as it was before the process that was killed."""
    assert not (folder / "outputs" / "mlflow.db-journal").exists()
    with contextlib.closing(sqlite3.connect(folder / "outputs" / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT DISTINCT status FROM runs").fetchall() == [("FINISHED",)]


@pytest.mark.parametrize("words", [("compare",), ("compare", "--json"), ("repair",), ("iters=1",)])
def test_a_command_recovers_the_store(words: tuple[str, ...], hot: Path, cli: CLI) -> None:
    ended = cli(*words, *(["tracking.experiment=other"] if words == ("iters=1",) else []))
    assert ended.code == 0, ended.err
    whole(hot)


def test_the_pages_recover_the_store(hot: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gdexp.commands.ui.serve", lambda *_: 0)
    assert cli("ui").code == 0
    whole(hot)


def test_predict_recovers_the_store(hot: Path, cli: CLI) -> None:
    (hot / "new.csv").write_text("x\n1\n")
    ended = cli("predict", "nosuchrun", "new.csv")
    assert ended.err.startswith("gdexp: there is no run 'nosuchrun'")
    whole(hot)


def test_a_log_that_is_left_in_wal_mode(store: Path, cli: CLI) -> None:
    kill_a_writer("wal")
    assert (store / "outputs" / "mlflow.db-wal").exists()
    assert cli("compare").code == 0
    whole(store)


def as_nobody(do: Callable[[], None]) -> int:
    """The exit code of a forked process that may write nothing here."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            do()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to become another user")
def test_who_may_not_write_cannot_recover_and_is_told_so(hot: Path) -> None:
    for folder in (hot, hot / "outputs", *list(hot.parents)[:-2]):
        folder.chmod(0o755)
    for file in (hot / "outputs").glob("mlflow.db*"):  # whatever the umask
        file.chmod(0o644)

    def read() -> None:
        with pytest.raises(StoreError, match=r"mlflow\.db cannot be read: before, SQLite has to"):
            open_existing(None, None)

    assert as_nobody(read) == 0
    assert (hot / "outputs" / "mlflow.db-journal").stat().st_size  # left for who may
    open_existing(None, None)
    whole(hot)
