"""MLflow's own tracking server, as tests start it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers import children, clean_environment, eventually
from left_helpers import new_store


class Server(NamedTuple):
    """MLflow's own server, whose database and artifacts are in a folder."""

    port: int
    group: int  # of its processes
    folder: Path

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.folder / "outputs" / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.folder / "mlartifacts"


@contextlib.contextmanager
def tracking_server(folder: Path, migrated: Path) -> Iterator[Server]:
    """The server on a copy of a store with its tables, once it answers."""
    new_store(folder, migrated)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/outputs/mlflow.db"]
    words += ["--artifacts-destination", str(folder / "mlartifacts")]
    words += ["--port", str(port), "--host", "127.0.0.1", "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        start_new_session=True,
    )

    def answers() -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health"),
        ):
            return True
        return False

    try:
        eventually(answers)
        yield Server(port, server.pid, folder)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def postmaster(uri: str) -> int:
    """The first process of the PostgreSQL server of a database."""
    import psycopg

    with psycopg.connect(uri) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    return int(Path(row[0], "postmaster.pid").read_text().split()[0])


@contextlib.contextmanager
def frozen(server: int) -> Iterator[None]:
    """Stop all processes of a server for the length of a block."""
    pids = {server} | children(server)
    try:
        _send(pids, signal.SIGSTOP)
        yield
    finally:
        _send(pids, signal.SIGCONT)


def _send(pids: set[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
