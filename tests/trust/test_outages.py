"""Real servers that are frozen, stopped and restarted in mid-run, and files that are locked."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import PATIENCE, Ended, clean_environment, eventually, process
from server_helpers import Server, frozen, postmaster
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
def lasting(
    uri: str, folder: Path, experiment: str | None = None
) -> Iterator[Callable[[], Lasting]]:
    """A run that lasts, once it is open in the store; a function that waits for its end.

    Its stderr is the file ``err``.
    """
    words = (str(SLOW_RUN), "0.01", f"iters={EPOCHS}", "lr=0.001", f"tracking.uri={uri}")
    named = {"MLFLOW_EXPERIMENT_NAME": experiment} if experiment else {}
    with (folder / "err").open("w") as stderr:
        started = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
            env=clean_environment() | named,
        )

    def ended() -> Lasting:
        out, _ = started.communicate(timeout=PATIENCE)
        err = (folder / "err").read_text()
        assert "Traceback" not in err
        return Lasting(started.returncode, err, float(out.split()[-1]))

    try:
        store = connect({"uri": uri, "experiment": experiment})
        eventually(lambda: store.runs({"gdexp.process": None}) or started.poll() is not None)
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


@pytest.mark.slow
def test_a_postgresql_that_is_frozen_in_mid_run(
    postgres_store: Callable[[], str], workdir: Path
) -> None:
    store = connect({"uri": (uri := postgres_store())})
    with lasting(uri, workdir) as end, frozen(postmaster(uri)):
        run = end()
        assert_spooled(run)
        refused = sync(workdir)
        assert refused.code == 2
        assert "no answer within" in refused.err or "does not answer" in refused.err
    delivered = sync(workdir)
    assert (delivered.code, delivered.err) == (0, "delivered 1 run\n")
    assert_delivered(store)
    assert sync(workdir).out == "nothing to deliver in outputs/spool\n"


@pytest.mark.slow
def test_a_tracking_server_that_is_frozen_in_mid_run(
    workdir: Path, served: Server, experiment: str
) -> None:
    store = connect({"uri": served.uri, "experiment": experiment})
    with lasting(served.uri, workdir, experiment) as end:
        with frozen(served.group):  # it says so meanwhile, and may deliver later
            eventually(lambda: "cannot be written" in (workdir / "err").read_text())
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
def test_a_refused_database_says_so_at_once(postgres: Callable[[], str], workdir: Path) -> None:
    uri = postgres()
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
