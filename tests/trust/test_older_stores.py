"""Stores of other versions of MLflow: a newer one is left alone, an older file copied first."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import CLI, client, process, python
from ui_helpers import free_port, started

from gdexp.errors import StoreError
from gdexp.tracking import migration
from gdexp.tracking.sql_schema import newest_revision, revisions

OLD = "f5a4f2784254"  # of 2022, before the tables had their present columns
BEFORE = "e1f2a3b4c5d6"  # of 2026, with the nine tables of today
MAKE = """
import sys
from alembic import command
from mlflow.store.db.utils import InitialBase, _get_alembic_config, create_sqlalchemy_engine
engine = create_sqlalchemy_engine(sys.argv[1])
InitialBase.metadata.create_all(engine)
config = _get_alembic_config(sys.argv[1])
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[2])
engine.dispose()
"""


def make(uri: str, revision: str) -> None:
    """A store as MLflow left it at a revision, by MLflow's own migrations."""
    ended = python("-W", "ignore", "-c", MAKE, uri, revision)
    assert ended.code == 0, ended.err


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of an old MLflow with one run of its own."""
    path = tmp_path_factory.mktemp("old") / "mlflow.db"
    make(f"sqlite:///{path}", OLD)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        place = f"{path.parent}/artifacts"
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (7, 'gdexp', ?, 'active')",
            (place,),
        )
        connection.execute(
            "INSERT INTO runs (run_uuid, name, source_type, status, start_time, end_time, "
            "lifecycle_stage, artifact_uri, experiment_id, user_id, source_name) "
            "VALUES ('abc', 'mine', 'LOCAL', 'FINISHED', 1, 2, 'active', ?, 7, 'me', '')",
            (place,),
        )
        connection.execute("INSERT INTO params VALUES ('lr', '0.5', 'abc')")
        connection.execute("INSERT INTO tags VALUES ('gdexp.kind', 'run', 'abc')")
        connection.commit()
    return path


@pytest.fixture
def older(old: Path, workdir: Path) -> Path:
    """That store, in the place of the working folder's own."""
    path = workdir / "outputs" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(old, path)
    return path


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def version(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_mlflows_revisions_form_one_line() -> None:
    """As MLflow itself reads them."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert newest_revision() == _get_latest_schema_revision()
    assert {OLD, BEFORE} <= revisions()


@pytest.mark.slow
@pytest.mark.parametrize("words", [("compare",), ("ui",)])
def test_an_older_file_is_copied_before_it_is_migrated(words: tuple[str, ...], older: Path) -> None:
    whole = dump(older)
    taken = older.with_name("mlflow.db.backup")
    taken.write_text("mine")
    if words == ("ui",):
        with started(older.parents[1], "--port", str(free_port())) as server:
            code, err = server.stop(signal.SIGINT)
        assert code == 0
    else:
        ended = process(*words, cwd=older.parents[1])
        assert ended.code == 0, ended.err
        err = ended.err
    copy = older.with_name("mlflow.db.backup-2")
    line = (
        f"gdexp: {older} was made by an older MLflow; it is migrated now, and kept as it was in "
        f"{copy}\n"
    )
    assert err.count(line) == err.count("older MLflow") == 1
    assert taken.read_text() == "mine"
    assert (version(copy), dump(copy)) == (OLD, whole)
    assert version(older) == newest_revision()
    mine = client(older.parents[1]).get_run("abc")
    assert mine.data.params == {"lr": "0.5"}
    ended = process("iters=1", cwd=older.parents[1])
    assert ended.code == 0
    assert "older MLflow" not in ended.err


def test_an_older_file_with_todays_tables_needs_no_migration(store: Path, cli: CLI) -> None:
    path = store / "outputs" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (BEFORE,))
        connection.commit()
    for words in (("iters=1",), ("-m", "iters=1,2"), ("compare",)):
        ended = cli(*words)
        assert ended.code == 0, ended.err
        assert "older MLflow" not in ended.err
    assert version(path) == BEFORE
    assert not list(path.parent.glob("*.backup*"))


@pytest.mark.parametrize("workspaces", ["", "true"])
def test_mlflow_is_never_called_on_a_newer_store(
    workspaces: str, store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store / "outputs" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
        connection.commit()
    whole = path.read_bytes()
    if workspaces:
        monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", workspaces)
    monkeypatch.setattr("mlflow.MlflowClient.__init__", lambda *_, **__: pytest.fail("called"))
    Path("t.csv").write_text("x\n1\n")
    for words in (
        ("iters=1",),
        ("-m", "lr=0.1,0.2"),
        ("continue_from=abc",),
        ("compare",),
        ("predict", "abc", "t.csv"),
        ("ui",),
    ):
        ended = cli(*words)
        assert (ended.code, ended.out) == (2, "")
        assert "mlflow.db was made by a newer MLflow than the installed one. Type" in ended.err
        assert ended.err.count("\n") == 1
    assert path.read_bytes() == whole
    assert [entry.name for entry in path.parent.iterdir()] == ["mlflow.db"]


def test_a_file_that_cannot_be_copied_is_left_as_it_is(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store / "outputs" / "mlflow.db"
    whole = path.read_bytes()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(migration, "sync", full)
    with pytest.raises(StoreError) as refused:
        migration.copied(path)
    assert str(refused.value) == (
        f"tracking.uri: {path} was made by an older MLflow and must be migrated, but it cannot be "
        "copied before ([Errno 28] No space left on device). It was left as it is."
    )
    assert path.read_bytes() == whole
    assert [entry.name for entry in path.parent.iterdir()] == ["mlflow.db"]


def test_a_migration_that_fails_names_the_copy(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store / "outputs" / "mlflow.db"
    broken = store / "python"
    broken.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'disk I/O error' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.setattr(migration, "newest_revision", lambda: BEFORE)
    whole = dump(path)
    with pytest.raises(StoreError) as refused:
        migration.ready_for_mlflow(f"sqlite:///{path}")
    copy = path.with_name("mlflow.db.backup")
    assert str(refused.value) == (
        f"tracking.uri: MLflow could not migrate {path}: disk I/O error. To go back, type "
        f"cp {shlex.quote(str(copy))} {shlex.quote(str(path))}"
    )
    assert capsys.readouterr().err.endswith(f"kept as it was in {copy}\n")
    assert dump(copy) == whole


@pytest.mark.slow
def test_an_older_postgresql_is_refused(
    postgres: Callable[[], str], workdir: Path, cli: CLI
) -> None:
    uri = postgres()
    make(uri, OLD)
    secret = uri.replace("gdexp@", "gdexp:secret@")
    for words in ((f"tracking.uri={secret}",), ("compare", "--uri", secret)):
        ended = cli(*words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            f"gdexp: tracking.uri: {uri} was made by an older MLflow than the installed one. Back "
            f"it up, then type mlflow db upgrade {uri}\n"
        )
    assert not (workdir / "outputs" / "runs").exists()
