"""A sweep whose store freezes and thaws, and which is killed and resumed: all of it is there.

SIGSTOP freezes every process of a real PostgreSQL or MLflow server, so that connections are taken
and nothing is answered; the sweep is one whose runs last, so that some are spooled.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import CHECKOUT, PATIENCE, clean_environment, eventually, process
from server_helpers import frozen, postmaster

sys.path.append(str(CHECKOUT / "scripts"))

import soak_store
from soak_audit import Problem, problems
from soak_log import Case, Log
from soak_store import Row

JOBS = 4
WORDS = ("-m", "hydra/launcher=basic", "lr=1e-6,2e-6", "iters=60000,60001")


class Store:
    """A store whose server can be frozen."""

    def __init__(self, uri: str, folder: Path, opened: Any, root: Path | None) -> None:
        self.uri, self.folder = uri, folder
        self._opened, self._root = opened, root
        self._before = {row.run_id for row in self._rows()}

    def _rows(self) -> list[Row]:
        with self._opened() as query:
            return soak_store.rows(query, self._root)

    def wrong(self, log: Log) -> list[Problem]:
        """What is wrong with the rows that were not there at first."""
        rows = [row for row in self._rows() if row.run_id not in self._before]
        return problems(log.cases, rows, atomic=self._root is None)

    def has(self, sweep_id: str) -> bool:
        """Whether the sweep's summary is there."""
        with self._opened() as query:
            return bool(query(f"SELECT 1 FROM tags WHERE value = '{sweep_id}'"))


@pytest.fixture
def store(request: pytest.FixtureRequest, workdir: Path, experiment: str) -> tuple[Store, int]:
    """A store and the first process of its server."""
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgres_store")()
        opened: Any = lambda: soak_store.postgresql(uri)  # noqa: E731
        return Store(uri, workdir, opened, None), postmaster(uri)
    server = request.getfixturevalue("served")
    opened = lambda: soak_store.sqlite(server.database)  # noqa: E731
    return Store(server.uri, workdir, opened, server.artifacts), server.group


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "dies"),
    [("postgresql", "frozen"), ("server", "thawed"), ("server", "never")],
    indirect=["store"],
)
def test_a_sweep_whose_store_freezes_and_which_is_killed_is_resumed_whole(
    dies: str,
    store: tuple[Store, int],
    experiment: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    place, server = store
    env = {"MLFLOW_TRACKING_URI": place.uri, "MLFLOW_EXPERIMENT_NAME": experiment}
    case = Case("", 7, (*WORDS, "seed=7", "hydra.sweep.dir=s7"), JOBS, "s7")
    log = Log(tmp_path / "log")
    log.started(case)
    err = place.folder / "err"
    with err.open("w") as stream:
        sweep = subprocess.Popen(
            [sys.executable, "-m", "gdexp", *case.words],
            cwd=place.folder,
            env=clean_environment() | env,
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    request.addfinalizer(sweep.kill)
    eventually(lambda: "#0" in err.read_text() or sweep.poll() is not None)
    with frozen(server):
        eventually(lambda: "cannot be written" in err.read_text() or sweep.poll() is not None)
        assert [*place.folder.glob("outputs/spool/*.npz")], err.read_text()
        if dies == "frozen":
            sweep.kill()
            sweep.wait()
    if dies == "thawed":
        sweep.kill()
    sweep.wait(timeout=PATIENCE)
    log.ended(case, sweep.returncode, "", err.read_text())
    assert "Traceback" not in err.read_text()
    assert sweep.returncode == (0 if dies == "never" else -signal.SIGKILL), err.read_text()
    if dies == "never":  # its table is complete, or said not to be
        told = ("4 runs: 4 completed", "sweep.resume=s7 to complete this table")
        assert any(text in err.read_text() for text in told), err.read_text()
    resumed = process(*case.words, "sweep.resume=s7", cwd=place.folder, **env)
    assert resumed.code == 0, resumed.err
    assert "4 runs: 4 completed" in resumed.err
    log.ended(case, resumed.code, resumed.out, resumed.err)
    synced = process("sync", cwd=place.folder, **env)
    assert synced.code == 0, synced.err
    assert place.wrong(log) == [], (err.read_text(), synced.err)
    assert [*place.folder.glob("outputs/spool/*.npz")] == []
    assert case.members == set(range(JOBS))
