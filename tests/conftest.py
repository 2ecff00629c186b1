"""Fixtures: an empty working folder, the command line, recorded runs, servers."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import composition_helpers
import pytest
from helpers import CLI, PATIENCE, Ended, clean_environment, eventually, process, python, required
from server_helpers import Server, tracking_server
from store_helpers import move_artifacts
from sweep_helpers import TYPED

# Started in the background, a shell's commands ignore Ctrl-C, as do the processes they start;
# so it is with SIGHUP below nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

composition_helpers.remember()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the gate, print a failure when it happens: a run that is cut off has no summary."""
    if report.failed and os.environ.get("CI") and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid} failed:\n{report.longreprtext}", flush=True)


@pytest.fixture(autouse=True)
def _fresh_connections() -> Iterator[None]:
    """Connections are kept for a process; a test has a store of its own."""
    yield
    if opened := sys.modules.get("gdexp.tracking.connect"):
        opened._connect.cache_clear()
    if used := sys.modules.get("mlflow.tracking._tracking_service.utils"):
        used._tracking_store_registry._get_store_with_resolved_uri.cache_clear()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the caller's MLflow and Hydra settings."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)


@pytest.fixture
def workdir(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CLI:
    """The command line in this process: quick, and with coverage of what it does."""
    from gdexp.commands import main

    def run(*args: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["gdexp", *args])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


# Recorded runs


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables and one run, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("migrated")
    ended = process("iters=1", cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "outputs" / "mlflow.db"


@pytest.fixture
def store(workdir: Path, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose outputs/ has a store already, with one run of step=manual in it."""
    (workdir / "outputs").mkdir()
    shutil.copy(migrated, workdir / "outputs" / "mlflow.db")
    move_artifacts(workdir, tmp_path_factory.mktemp("of-store") / "outputs" / "artifacts")
    return workdir


@pytest.fixture(scope="session")
def recorded_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a sweep of four runs was started, once for all tests."""
    folder = tmp_path_factory.mktemp("sweep")
    ended = process(*TYPED, cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def sweep(recorded_sweep: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the recorded sweep, to be read from within."""
    monkeypatch.chdir(recorded_sweep)
    return recorded_sweep


MINE = """
import time
from pathlib import Path

class Loss:
    def __init__(self, waits: bool = False, breaks: bool = False) -> None:
        self.waits, self.breaks, self.calls = waits, breaks, 0
    def __call__(self, y_pred, y):
        self.calls += 1  # the first ones may be those of a trial or a check
        while self.waits and self.calls > 100 and Path("wait").exists():
            Path("waiting").touch()
            time.sleep(0.01)
        if self.breaks:
            raise RuntimeError("no more")
        return ((y_pred - y) ** 2).mean()
"""


@pytest.fixture
def mine(store: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A loss of the user's own, and the words that choose it.

    With loss.waits=true it waits for as long as there is a file called wait.
    """
    option = "# mine\n_target_: my_loss.Loss\nwaits: false\nbreaks: false\n"
    (store / "mine" / "loss").mkdir(parents=True)
    (store / "mine" / "loss" / "mine.yaml").write_text(option)
    (store / "my_loss.py").write_text(MINE)
    monkeypatch.syspath_prepend(store)
    return "--config-dir", "mine", "step=autograd", "loss=mine"


# Servers


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    """MLflow's own server, one for all tests: each names an experiment of its own."""
    with tracking_server(tmp_path_factory.mktemp("served"), migrated) as server:
        yield server


@pytest.fixture
def experiment(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an experiment of one's own, which the command line takes from now on."""
    name = f"{workdir.name} {secrets.token_hex(4)}"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """A PostgreSQL server on loopback; each call makes a new database and returns its URI.

    It asks only the role "guarded", which does not exist at first, for a password.
    """
    config = shutil.which("pg_config")
    programs = subprocess.run(
        [config or "false", "--bindir"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not programs or not Path(programs, "initdb").exists():
        required("PostgreSQL's server (apt-get install postgresql)")
    # Not below pytest's folder, which the server's user may be unable to enter.
    folder = tempfile.mkdtemp(prefix="gdexp-postgres-", dir="/tmp")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        quiet |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = f"{folder}/cluster"
    initdb = [f"{programs}/initdb", "-A", "trust", "--no-sync", "-U", "gdexp", "-D", cluster]
    initdb += ["-E", "UTF8", "--no-locale"]  # whatever the locale here
    subprocess.run(initdb, check=True, cwd=folder, **quiet)
    rules = Path(cluster, "pg_hba.conf")
    rules.write_text(f"host all guarded all scram-sha-256\n{rules.read_text()}")
    settings = f"-c unix_socket_directories={folder} -c fsync=off"
    server = subprocess.Popen(
        f"{programs}/postgres -D {cluster} -p {port} -h 127.0.0.1 {settings}".split(),
        cwd=folder,
        **quiet,
    )
    made = 0

    def database() -> str:
        nonlocal made
        made += 1
        _execute(port, f"CREATE DATABASE store{made}")
        return f"postgresql://gdexp@127.0.0.1:{port}/store{made}"

    try:
        yield database
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
        server.wait(timeout=PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_store(postgres: Callable[[], str]) -> Callable[[], str]:
    """Like ``postgres``, but each database has MLflow's tables: making them takes seconds."""
    create = "import sys; from gdexp.tracking.connect import client_of; client_of(sys.argv[1])"
    template = postgres()
    ended = python("-W", "ignore", "-c", create, template)
    assert ended.code == 0, ended.err
    server, _, name = template.rpartition("/")
    port, made = int(server.rpartition(":")[2]), 0

    def store() -> str:
        nonlocal made
        made += 1
        _execute(port, f"CREATE DATABASE copy{made} TEMPLATE {name}")
        return f"{server}/copy{made}"

    return store


def _execute(port: int, statement: str) -> None:
    import psycopg

    def connected() -> psycopg.Connection | None:
        address = f"postgresql://gdexp@127.0.0.1:{port}/postgres"
        try:
            return psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError:
            return None

    connection = eventually(connected)
    connection.execute(statement)
    connection.close()
