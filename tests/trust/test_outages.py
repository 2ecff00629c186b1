"""Real servers that are frozen, stopped and restarted in mid-run, and files that are locked."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from helpers import PATIENCE, Ended, children, clean_environment, eventually, process
from server_helpers import tracking_server
from tracking_helpers import client

from gdexp.tracking.connect import connect
from gdexp.tracking.store import Store

SLOW_RUN = Path(__file__).with_name("_slow_run.py")
EPOCHS = 200


class Lasting(NamedTuple):
    """A run that has ended."""

    code: int
    err: str
    longest: float  # seconds between two of its epochs


@contextlib.contextmanager
def lasting(uri: str, folder: Path) -> Iterator[Callable[[], Lasting]]:
    """A run that lasts, once it is open in the store; a function that waits for its end."""
    words = (str(SLOW_RUN), "0.01", f"iters={EPOCHS}", "lr=0.001", f"tracking.uri={uri}")
    started = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment(),
    )

    def ended() -> Lasting:
        out, err = started.communicate(timeout=PATIENCE)
        assert "Traceback" not in err
        return Lasting(started.returncode, err, float(out.split()[-1]))

    try:
        store = connect({"uri": uri})
        eventually(lambda: store.runs({"gdexp.process": None}))
        yield ended
    finally:
        started.kill()
        started.wait()


def assert_spooled(run: Lasting) -> None:
    """It has ended with 0, one line, and no untrue one."""
    assert run.code == 0, run.err
    assert run.err.count("the store cannot be written") == 1
    assert "recorded as run" not in run.err
    assert "kept in outputs/spool as run " in run.err


def sync(folder: Path, **env: str) -> Ended:
    return process("sync", cwd=folder, **env)


def assert_delivered(store: Store, first: int | None = 1) -> None:
    """The lasting run is there, each epoch once, from the first one if that is known."""
    (run,) = [run for run in store.runs() if run.params["iters"] == str(EPOCHS)]
    assert (run.status, run.outcome) == ("FINISHED", "completed")
    assert "gdexp.process" not in run.tags
    assert "trajectory.parquet" in store.files(run)
    points = client(store).get_metric_history(run.run_id, "train/loss")
    steps = sorted(point.step for point in points)
    assert steps == list(range(first or steps[0], EPOCHS + 1))


@pytest.fixture
def frozen(postgres: Callable[[], str]) -> Iterator[tuple[str, Callable[[int], None]]]:
    """A new PostgreSQL database, and what sends a signal to all of the server's processes."""
    uri = postgres()
    with psycopg.connect(uri) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    server = int(Path(row[0], "postmaster.pid").read_text().split()[0])

    def send(signum: int) -> None:
        for pid in {server} | children(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    yield uri, send
    send(signal.SIGCONT)


@pytest.mark.slow
def test_a_postgresql_that_is_frozen_in_mid_run(
    frozen: tuple[str, Callable[[int], None]], workdir: Path
) -> None:
    uri, send = frozen
    store = connect({"uri": uri})
    with lasting(uri, workdir) as end:
        send(signal.SIGSTOP)
        run = end()
    assert_spooled(run)
    refused = sync(workdir)
    assert refused.code == 2
    assert "no answer within" in refused.err or "does not answer" in refused.err
    send(signal.SIGCONT)
    delivered = sync(workdir)
    assert (delivered.code, delivered.err) == (0, "delivered 1 run\n")
    assert_delivered(store)
    assert sync(workdir).out == "nothing to deliver in outputs/spool\n"


@pytest.mark.slow
def test_a_tracking_server_that_is_frozen_in_mid_run(workdir: Path) -> None:
    with tracking_server(workdir) as (port, server):
        uri = f"http://127.0.0.1:{port}"
        store = connect({"uri": uri})
        with lasting(uri, workdir) as end:
            os.killpg(server, signal.SIGSTOP)
            time.sleep(8)  # the line comes while it is frozen; the process may deliver later
            os.killpg(server, signal.SIGCONT)
            run = end()
        assert run.code == 0, run.err
        assert run.err.count("the store cannot be written (no answer within") == 1
        sync(workdir)
        assert_delivered(store)
        (found,) = store.runs()
        assert found.tags["gdexp.run_key"] != found.run_id


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["locked", "deleted"])
def test_a_sqlite_file_that_cannot_be_written_in_mid_run(harm: str, store: Path) -> None:
    uri = "sqlite:///outputs/mlflow.db"
    path = store / "outputs" / "mlflow.db"
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(lasting(uri, store))
        if harm == "locked":
            other = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
            stack.enter_context(contextlib.closing(other))
            other.execute("BEGIN EXCLUSIVE")
        else:
            path.unlink()
        run = end()
        assert_spooled(run)
    ended = process("compare", "--all", cwd=store) if harm == "locked" else sync(store)
    assert ended.code == 0
    assert "delivered 1 run" in ended.err
    assert_delivered(connect({}), 1 if harm == "locked" else None)


@pytest.mark.slow
def test_a_refused_database_says_so_at_once(frozen: tuple[str, object], workdir: Path) -> None:
    uri, _ = frozen
    (workdir / "mlflow.db").mkdir()
    for refused, words in {
        uri.replace("store", "none"): "does not exist",
        "sqlite:///mlflow.db": "unable to open database file",
    }.items():
        ended = process("iters=1", f"tracking.uri={refused}", cwd=workdir)
        assert ended.code == 2
        assert words in ended.err
        assert len(ended.err.splitlines()) == 1
        assert not (workdir / "outputs").exists()
