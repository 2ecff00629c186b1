"""One signal at any moment leaves KILLED runs with all their epochs, or none; never RUNNING.

A moment is any line of gdexp's own code; see ``_signalled.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, clean_environment, eventually, python
from left_helpers import FINISHED, KILLED, left_in, new_store
from server_helpers import Server

DRIVER = Path(__file__).with_name("_signalled.py")
RECORDER = "gdexp.tracking.recorder"
LASTS = {f"{RECORDER}.LASTING": 0, f"{RECORDER}.EVERY": 0}  # opened and fed at every block
COMMANDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "short": ({}, ("iters=40", "lr=1e-4")),
    "lasting": (LASTS, ("iters=40", "lr=1e-4")),
    "checkpoints": (LASTS, ("iters=40", "lr=1e-4", "checkpoint.every=7")),
    "vectorized": ({f"{RECORDER}.RUNS": 2}, ("-m", "lr=1e-4,2e-4,3e-4", "iters=40")),
    "one by one": (LASTS, ("-m", "lr=1e-4,2e-4", "iters=40", "checkpoint.every=20")),
}
START = 20  # lines until gdexp handles signals


@pytest.fixture
def empty(tmp_path: Path, migrated: Path) -> Path:
    """A folder with a store that has neither runs nor experiments."""
    return new_store(tmp_path / "empty", migrated)


def check(folder: Path, iters: int = 40) -> None:
    """Every run has ended, owned by no one, with every epoch that it had."""
    for run in left_in(folder):
        assert (run.status, run.tags.get("gdexp.outcome")) in (KILLED, FINISHED)
        assert "gdexp.process" not in run.tags
        assert run.end_ms is not None
        assert run.end_ms > 1e12  # it started in this millennium
        if run.kind == "run":
            epochs = len(run.steps)
            assert run.steps == list(range(1, epochs + 1))
            assert {"config.yaml", "trajectory.parquet", "transcript.txt"} <= run.files
            reason = f"{iters} epochs"
            if run.status == "KILLED":
                reason = f"after epoch {epochs} of {iters}"
            assert run.tags["gdexp.reason"] == reason
            assert run.status == "KILLED" or epochs == iters


def signalled(
    kind: str, moments: list[tuple[int, int]], source: Path, target: Path
) -> list[tuple[int, int, int | None, list[list[int]]]]:
    """Signals at moments: of each process the moment, exit code, lines and moments of each line."""
    patches, words = COMMANDS[kind]
    plan = {
        "words": words,
        "moments": moments,
        "source": str(source),
        "target": str(target),
        "patches": patches,
    }
    done = subprocess.run(
        [sys.executable, str(DRIVER)],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    told: list[tuple[int, int, int | None, list[list[int]]]] = json.loads(done.stdout)
    return told


def check_moments(kind: str, signums: list[int], empty: Path, target: Path) -> None:
    """Signals before as many lines, drawn from the first and last time each is executed."""
    target.mkdir()
    ((_, code, _, lines),) = signalled(kind, [(0, 0)], empty, target)
    assert code == 0, (target / "0" / "err").read_text()
    assert {run.status for run in left_in(target / "0")} == {"FINISHED"}
    moments = sorted({moment for line in lines for moment in line if moment > START})
    chosen = dict(zip(random.Random(kind).sample(moments, len(signums)), signums, strict=True))
    for moment, code, reached, _ in signalled(kind, [*chosen.items()], empty, target):
        if reached is not None and reached < moment:  # it had less to do than the first
            continue
        err = (target / str(moment) / "err").read_text()
        assert code == 128 + chosen[moment], f"{moment}: {err}"
        assert "Traceback" not in err, moment
        assert "Exception ignored" not in err, moment
        check(target / str(moment))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "signums"),
    {
        "short": [signal.SIGINT] * 2,
        "lasting": [signal.SIGINT] * 4 + [signal.SIGTERM, signal.SIGHUP] * 2,
        "checkpoints": [signal.SIGINT] * 3,
        "vectorized": [signal.SIGINT] * 3,
        "one by one": [signal.SIGINT] * 2,
    }.items(),
    ids=COMMANDS,
)
def test_a_signal_at_any_line(kind: str, signums: list[int], empty: Path, tmp_path: Path) -> None:
    check_moments(kind, signums, empty, tmp_path / "all")


LONG = ("iters=50000000", "lr=1e-9", "print_every=1000")


# The command line, which waits for the store as long after a signal as without one.
UNHURRIED = """
import sys
from gdexp.__main__ import main
from gdexp.tracking import database, patience
database.HURRY = patience.HURRY = 600
sys.argv[0] = "gdexp"
main()
"""


@contextlib.contextmanager
def running(
    folder: Path, *words: str, command: tuple[str, str] = ("-m", "gdexp"), **env: str
) -> Iterator[subprocess.Popen[str]]:
    """A command as a process of its own, dead at the end."""
    started = subprocess.Popen(
        [sys.executable, *command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment() | env,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def drained(started: subprocess.Popen[str]) -> None:
    """Wait for the first epoch, then read on, so that the command never waits for its reader."""
    assert started.stdout is not None
    assert any(line.startswith("epoch") for line in started.stdout)
    threading.Thread(target=started.stdout.read, daemon=True).start()


def ended_by_two(started: subprocess.Popen[str]) -> None:
    """A first Ctrl-C leaves an unhurried command waiting, a second one ends it."""
    started.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(timeout=1)
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=PATIENCE) == 130


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_a_locked_store(store: Path) -> None:
    with running(store, *LONG, command=("-c", UNHURRIED)) as started:
        drained(started)
        with contextlib.closing(sqlite3.connect(store / "outputs" / "mlflow.db")) as other:
            other.execute("PRAGMA busy_timeout = 60000")
            other.execute("BEGIN EXCLUSIVE")
            ended_by_two(started)


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has opened a file."""
    with contextlib.suppress(OSError):  # one that it is closing
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        return str(path) in links
    return False


def test_a_ctrl_c_does_not_wait_for_a_store_that_is_locked_at_the_start(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store / "outputs" / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with running(store, "iters=3") as started:
            eventually(lambda: has_open(started.pid, store / "outputs" / "mlflow.db"))
            started.send_signal(signal.SIGINT)
            assert started.wait(timeout=PATIENCE) == 130
            assert started.stderr is not None
            assert "Traceback" not in started.stderr.read()


@contextlib.contextmanager
def forgetful_proxy(port: int) -> Iterator[tuple[int, threading.Event]]:
    """Passes bytes on to a server until the event is set; from then on nothing is answered."""
    hung = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not hung.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    pumps.append(threading.Thread(target=pump, args=pair, daemon=True))
                    pumps[-1].start()

    pumps: list[threading.Thread] = []
    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listening.getsockname()[1], hung
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *pumps):
            thread.join(timeout=PATIENCE)
        listening.close()


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_postgresql(workdir: Path, postgres_store: Any) -> None:
    uri = postgres_store()
    port = int(uri.rpartition(":")[2].partition("/")[0])
    with forgetful_proxy(port) as (near, hung):
        words = (*LONG, f"tracking.uri={uri.replace(str(port), str(near))}")
        with running(workdir, *words, command=("-c", UNHURRIED)) as started:
            drained(started)
            hung.set()
            ended_by_two(started)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_a_server(workdir: Path, served: Server) -> None:
    with forgetful_proxy(served.port) as (near, hung):
        words = (*LONG, f"tracking.uri=http://127.0.0.1:{near}")
        with running(workdir, *words, command=("-c", UNHURRIED)) as started:
            drained(started)
            hung.set()
            ended_by_two(started)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_in_postgresql_is_killed_with_its_epochs(
    signum: signal.Signals, workdir: Path, postgres_store: Any
) -> None:
    from gdexp.tracking.connect import connect

    uri = postgres_store()
    with running(workdir, *LONG, f"tracking.uri={uri}") as started:
        drained(started)
        store = connect({"uri": uri})
        eventually(lambda: store.runs({"gdexp.process": None}))
        started.send_signal(signum)
        assert started.wait(timeout=PATIENCE) == 128 + signum
    (run,) = store.runs()
    assert (run.status, run.outcome) == KILLED
    assert "gdexp.process" not in run.tags
    assert "trajectory.parquet" in store.files(run)


@pytest.mark.slow
def test_a_process_is_signalled_at_random_times(empty: Path) -> None:
    chance = random.Random(0)
    script = (
        "import os, signal, subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'gdexp', 'iters=40', 'lr=1e-4'],"
        " stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)\n"
        "time.sleep(float(sys.argv[1])); p.send_signal(signal.SIGINT)\n"
        "err = p.communicate()[1]; print(p.returncode, 'Traceback' in err)"
    )
    for _ in range(4):
        ended = python("-c", script, str(chance.uniform(0.3, 2)), cwd=empty)
        # -2, without a traceback: before Python itself had started, or when it had ended.
        assert ended.out in ("130 False\n", "0 False\n", "-2 False\n"), ended.err
        check(empty)
