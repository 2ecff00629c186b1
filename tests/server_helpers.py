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

from helpers import clean_environment, eventually


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[tuple[int, int]]:
    """MLflow's own server: its port, and its group of processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
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
        yield port, server.pid
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
