"""New stores are copies of an empty one; odd, damaged and newer ones are told apart."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import CLI, PATIENCE, clean_environment, client, last, process, python, runs
from left_helpers import left_in
from mlflow import MlflowClient

from gdexp.tracking import empty_store
from gdexp.tracking.sql_schema import is_sound, is_store

HEAVY = {"mlflow", "pandas", "torch", "sqlalchemy", "alembic", "matplotlib"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty store, made once for all tests."""
    path = tmp_path_factory.mktemp("made") / "empty.db"
    empty_store._make(path)
    return path.read_bytes()


@pytest.fixture
def cached(cache: Path, made: bytes) -> Path:
    """The cached empty store of this machine."""
    path = cache / "gdexp" / f"mlflow-{empty_store._version()}.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(made)
    return path


def cached_in(cache: Path) -> list[Path]:
    return [path for path in (cache / "gdexp").iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_the_second_store_of_a_machine_is_made_without_mlflow(cache: Path, workdir: Path) -> None:
    for name in ("first", "second"):
        (workdir / name).mkdir()
        words = ("-X", "importtime", "-m", "gdexp", "iters=5")
        ended = python(*words, cwd=workdir / name, XDG_CACHE_HOME=str(cache))
        assert ended.code == 0, ended.err
        lines = [line for line in ended.err.splitlines() if line.startswith("import time:")]
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
        assert {"gdexp", "hydra", "numpy", "pyarrow"} <= imported
        assert not imported & HEAVY
        assert [run.status for run in left_in(workdir / name)] == ["FINISHED"]
        (kept,) = cached_in(cache)
    assert is_sound(kept)
    with contextlib.closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_four_processes_make_the_first_store_once(same: bool, cache: Path, workdir: Path) -> None:
    folders = [workdir / ("one" if same else str(number)) for number in range(4)]
    started = []
    for folder in folders:
        folder.mkdir(exist_ok=True)
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "gdexp", "iters=5"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=clean_environment() | {"XDG_CACHE_HOME": str(cache)},
            )
        )
    errors = [one.communicate(timeout=PATIENCE)[1] for one in started]
    assert [one.returncode for one in started] == [0] * 4, errors
    left = [run.status for folder in set(folders) for run in left_in(folder)]
    assert left == ["FINISHED"] * 4
    assert len(cached_in(cache)) == 1


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch, cli: CLI
) -> None:
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli("iters=5").code == 0
    assert [run.status for run in left_in(workdir)] == ["FINISHED"]
    assert (tmp_path / "cache").read_text() == "in the way"


def test_a_user_without_a_home_has_no_cache(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for one who is unknown
    assert empty_store._cached() is None
    assert not any(workdir.iterdir())


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"x" * len(content),
    "cut in its first page": lambda content: content[:3000],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-4096],
    "with a page of zeros": lambda content: content[:8192] + bytes(4096) + content[12288:],
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_empty_store_is_made_anew(
    damage: str, cached: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, made = cached.read_bytes(), list[Path]()
    cached.write_bytes(DAMAGES[damage](whole))

    def make(path: Path) -> None:
        made.append(path)
        path.write_bytes(whole)

    monkeypatch.setattr(empty_store, "_make", make)
    for name in ("a.db", "b.db"):
        empty_store.create(workdir / name)
        assert is_store(workdir / name)
        assert (workdir / name).read_bytes() == cached.read_bytes() == whole
    assert len(made) == 1


def test_an_empty_file_becomes_a_store(cached: Path, workdir: Path, cli: CLI) -> None:
    (workdir / "outputs").mkdir()
    (workdir / "outputs" / "mlflow.db").touch()
    assert cli("iters=5").code == 0
    assert [run.status for run in left_in(workdir)] == ["FINISHED"]
    assert {path.name for path in (workdir / "outputs").iterdir()} == {
        *("mlflow.db", ".mlflow.db.lock", "artifacts", "runs")
    }


def test_what_is_not_a_store_is_refused(workdir: Path, cli: CLI) -> None:
    path = workdir / "outputs" / "mlflow.db"
    path.mkdir(parents=True)
    ended = cli("iters=5")
    assert ended.code == 2
    assert ended.err.endswith("as an MLflow store: unable to open database file.\n")
    path.rmdir()
    path.write_bytes(b"my diary " * 1000)
    ended = cli("iters=5")
    assert ended.code == 2
    assert ended.err.endswith("as an MLflow store: file is not a database.\n")
    assert path.read_bytes() == b"my diary " * 1000
    assert not (workdir / "outputs" / "runs").exists()


def execute(folder: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "outputs" / "mlflow.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_store_of_a_newer_mlflow_is_left_alone(store: Path, cli: CLI) -> None:
    execute(store, "UPDATE alembic_version SET version_num = 'fedcba987654'")
    before = (store / "outputs" / "mlflow.db").read_bytes()
    for words in (("iters=5",), ("-m", "lr=0.1,0.2"), ("compare",)):
        ended = cli(*words)
        assert ended.code == 2
        assert "mlflow.db was made by a newer MLflow than the installed one. Type" in ended.err
        assert ended.out == ""
    assert (store / "outputs" / "mlflow.db").read_bytes() == before
    assert [path.name for path in (store / "outputs").iterdir()] == ["mlflow.db"]


UNKNOWN = {
    "a column": "ALTER TABLE runs ADD COLUMN mood VARCHAR(9)",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON metrics BEGIN SELECT 1; END",
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_tables_that_gdexp_does_not_know_are_written_by_mlflow(
    what: str, store: Path, cli: CLI
) -> None:
    execute(store, UNKNOWN[what])
    ended = cli("iters=5")
    assert ended.code == 0, ended.err
    sentence = (
        "gdexp: the tables of this store have an unknown schema; MLflow's client writes them, "
        "which is slower\n"
    )
    assert ended.err.count(sentence) == 1
    assert ended.err.count("slower") == 1
    run = last(client(store))
    assert (run.info.status, run.data.tags["gdexp.outcome"]) == ("FINISHED", "completed")
    assert len(client(store).get_metric_history(run.info.run_id, "train/loss")) == 5


def test_mlflow_goes_on_with_a_store_that_gdexp_has_made(
    cached: Path, workdir: Path, cli: CLI
) -> None:
    assert cli("iters=5").code == 0
    opened = MlflowClient(f"sqlite:///{workdir}/outputs/mlflow.db")
    ours = last(opened)
    for experiment in ("0", opened.create_experiment("theirs"), ours.info.experiment_id):
        theirs = opened.create_run(experiment, run_name="theirs")
        opened.log_metric(theirs.info.run_id, "loss", 1.5, step=3)
        opened.log_param(theirs.info.run_id, "lr", 0.1)
        opened.log_text(theirs.info.run_id, "hello", "note.txt")
        opened.set_terminated(theirs.info.run_id)
        (read,) = opened.search_runs([experiment], "attributes.run_name = 'theirs'")
        assert read.data.metrics == {"loss": 1.5}
        path = opened.download_artifacts(read.info.run_id, "note.txt")
        assert Path(path).read_text() == "hello"
        if experiment == "0":
            place = (workdir / "outputs" / "artifacts" / "0").as_uri()
            assert read.info.artifact_uri.startswith(place)
    assert opened.get_experiment("0").name == "Default"
    assert cli("iters=6").code == 0
    assert [run.info.run_name for run in runs(opened)].count("theirs") == 1
    (found,) = opened.search_runs([ours.info.experiment_id], "params.iters = '5'")
    assert found.info.run_id == ours.info.run_id
    opened.delete_run(ours.info.run_id)
    opened.restore_run(ours.info.run_id)


@pytest.mark.slow
def test_the_first_run_of_a_machine_where_there_is_no_home(workdir: Path) -> None:
    ended = process("iters=1", cwd=workdir, XDG_CACHE_HOME="", HOME=str(workdir / "home"))
    assert ended.code == 0, ended.err
    assert [path.suffix for path in (workdir / "home" / ".cache" / "gdexp").glob("*.db")] == [".db"]
    assert os.listdir(workdir / "outputs" / "artifacts")
