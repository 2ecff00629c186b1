"""Fixtures: an empty working folder, the command line, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def required(what: str) -> NoReturn:
    """Skip for want of a program, or fail where everything is said to be there."""
    if os.environ.get("GDEXP_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is missing, and GDEXP_REQUIRE_ALL=1 says that it must not be")
    pytest.skip(f"needs {what}")


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without the caller's MLflow settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its tables, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("migrated")
    ended = process("iters=1", cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "outputs" / "mlflow.db"


@pytest.fixture
def store(workdir: Path, migrated: Path) -> Path:
    """A working folder whose outputs/ has a store already, with one run of step=manual in it."""
    (workdir / "outputs").mkdir()
    shutil.copy(migrated, workdir / "outputs" / "mlflow.db")
    return workdir


def clean_environment() -> dict[str, str]:
    """The environment without MLflow's settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}


def process(*args: str, cwd: Path | None = None, module: str = "gdexp", **env: str) -> Ended:
    """``python -m gdexp ARGS`` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment() | env,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
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


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A PostgreSQL server on loopback; each call makes a new database and returns its URI."""
    config = shutil.which("pg_config")
    folder = subprocess.run(
        [config or "false", "--bindir"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not folder or not Path(folder, "initdb").exists():
        required("PostgreSQL's server (apt-get install postgresql)")
    data = tmp_path_factory.mktemp("postgres")
    for parent in [data, *data.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    user: dict[str, object] = {}
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(data, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster, sockets = str(data / "cluster"), f"unix_socket_directories={data}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    initdb = [f"{folder}/initdb", "-A", "trust", "--no-sync", "-U", "gdexp", "-D", cluster]
    subprocess.run(initdb, check=True, cwd=data, **quiet, **user)  # type: ignore[call-overload]
    server = subprocess.Popen(  # type: ignore[call-overload]
        f"{folder}/postgres -D {cluster} -p {port} -h 127.0.0.1 -c {sockets} -c fsync=off".split(),
        cwd=data,
        **quiet,
        **user,
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
        server.send_signal(signal.SIGINT)  # its fast shutdown: it waits for no client
        server.wait(timeout=30)


def _execute(port: int, statement: str) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            connection = psycopg.connect(
                f"postgresql://gdexp@127.0.0.1:{port}/postgres", autocommit=True
            )
            break
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    connection.execute(statement)
    connection.close()
