"""The stores that the soak writes to: a SQLite file, PostgreSQL, MLflow's own server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import soak_store
from soak_store import Query, Row

QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Store:
    """The SQLite file that gdexp makes in the working folder."""

    is_sqlite = is_atomic = True

    def prepare(self, folder: Path) -> dict[str, str]:
        """Set up the store of a round; returns the environment that names it."""
        return {}

    def query(self, folder: Path) -> AbstractContextManager[Query]:
        """A connection to the database itself, for one block."""
        path = folder / "outputs" / "mlflow.db"
        return soak_store.sqlite(path) if path.exists() else contextlib.nullcontext(lambda sql: [])

    def rows(self, query: Query, folder: Path) -> list[Row]:
        """All runs of the round."""
        return soak_store.rows(query)


class Postgres(Store):
    """A database for each round on a PostgreSQL server of our own.

    Args:
        port: the server's port on loopback.
    """

    is_sqlite = False

    def __init__(self, port: int) -> None:
        self._port = port

    def prepare(self, folder: Path) -> dict[str, str]:
        """Create the round's database."""
        import psycopg

        with psycopg.connect(self._uri("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{folder.name}"'.encode())
        return {"MLFLOW_TRACKING_URI": self._uri(folder.name)}

    def query(self, folder: Path) -> AbstractContextManager[Query]:
        """A connection to the round's database."""
        return soak_store.postgresql(self._uri(folder.name))

    def _uri(self, name: str) -> str:
        return f"postgresql://gdexp@127.0.0.1:{self._port}/{name}"


class Served(Store):
    """An MLflow server for each round, whose SQLite file is read behind its back.

    Args:
        servers: what ends the servers.
    """

    is_atomic = False

    def __init__(self, servers: contextlib.ExitStack) -> None:
        self._servers = servers

    def prepare(self, folder: Path) -> dict[str, str]:
        """Start the round's server."""
        self._servers.close()  # the former round's
        port = self._servers.enter_context(mlflow_server(folder))
        return {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}

    def query(self, folder: Path) -> AbstractContextManager[Query]:
        """A connection to the server's database."""
        return soak_store.sqlite(folder / "server.db")

    def rows(self, query: Query, folder: Path) -> list[Row]:
        """All runs of the round."""
        return soak_store.rows(query, folder / "mlartifacts")


@contextlib.contextmanager
def _postgres() -> Iterator[Store]:
    with postgresql_server() as port:
        yield Postgres(port)


@contextlib.contextmanager
def _served() -> Iterator[Store]:
    with contextlib.ExitStack() as servers:
        yield Served(servers)


@contextlib.contextmanager
def postgresql_server() -> Iterator[int]:
    """A PostgreSQL server on loopback, by its port."""
    told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
    programs, folder = told.stdout.strip(), tempfile.mkdtemp(prefix="gdexp-postgres-", dir="/tmp")
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    cluster, port = f"{folder}/cluster", free_port()
    initdb = [f"{programs}/initdb", "-A", "trust", "--no-sync", "-U", "gdexp", "-D", cluster]
    subprocess.run(initdb, check=True, cwd=folder, **QUIET, **user)
    words = f"{programs}/postgres -D {cluster} -p {port} -h 127.0.0.1 -c fsync=off"
    words += f" -c unix_socket_directories={folder}"
    server = subprocess.Popen(words.split(), cwd=folder, **QUIET, **user)
    try:
        _wait(lambda: socket.create_connection(("127.0.0.1", port)).close())
        yield port
    finally:
        server.send_signal(signal.SIGINT)  # its fast shutdown: it waits for no client
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """MLflow's own server on loopback, by its port; its files are in this folder."""
    port = free_port()
    words = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    words += ["--artifacts-destination", str(folder / "mlartifacts")]
    words += ["--port", str(port), "--host", "127.0.0.1", "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, **quiet},
        start_new_session=True,
        **QUIET,
    )
    try:
        _wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close())
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(answers: Callable[[], object]) -> None:
    while True:
        try:
            answers()
            return
        except OSError:
            time.sleep(0.05)


STORES: dict[str, Callable[[], AbstractContextManager[Store]]] = {
    "sqlite": lambda: contextlib.nullcontext(Store()),
    "postgresql": _postgres,
    "server": _served,
}
