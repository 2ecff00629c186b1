"""What tests of ``python -m gdexp ui`` import by name: the command as a process of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import PATIENCE, clean_environment, required

WORKFLOW = "workflowType=machine_learning"
LAST = {"comparison", "run"}  # the address printed last
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# A panel covers the first page otherwise; a sandboxed frame has no storage.
WELCOMED = (
    "try { localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true') } catch {}"
)
STARTING = "starting MLflow's pages, which takes a few seconds; Ctrl-C stops them\n"


@contextmanager
def chromium() -> Iterator[Any]:
    """A real browser."""
    program = shutil.which("chromium") or required("Chromium (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program, args=FLAGS, timeout=PATIENCE * 1000
        )
        yield opened
        opened.close()


class Server(NamedTuple):
    process: subprocess.Popen[str]
    addresses: dict[str, str]
    port: int
    seconds: float  # that it took to come up

    def stop(self, signum: int) -> tuple[int, str]:
        """Exit code and stderr of a server that was told to end."""
        self.process.send_signal(signum)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@contextmanager
def started(folder: Path, *args: str, **env: str) -> Iterator[Server]:
    """The command, once it has printed its addresses."""
    command = [sys.executable, "-m", "gdexp", "ui", *args]
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environment() | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    began = time.monotonic()
    watchdog = threading.Timer(PATIENCE, server.kill)
    watchdog.start()
    try:
        assert server.stdout
        found = {}
        for line in server.stdout:
            what, _, address = line.partition(":")
            found[what] = address.strip()
            if what in LAST:
                break
        watchdog.cancel()
        if not LAST & found.keys():
            pytest.fail(f"no addresses: {server.communicate()[1]}")
        port = int(found["runs"].split(":")[2].split("/")[0])
        yield Server(server, found, port, time.monotonic() - began)
    finally:
        watchdog.cancel()
        if server.poll() is None:
            server.kill()
        server.communicate()


def group_members(group: int) -> list[int]:
    """The processes that a process and its children have started."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(int(entry.parent.name))
    return members


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
