"""Sweeps whose tasks are processes: killed, started again, left behind; by submitit and Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    PATIENCE,
    Ended,
    children,
    client,
    command,
    eventually,
    of_session,
    process,
)
from record_helpers import assert_alike, recorded
from slurm_helpers import install
from sweep_helpers import members, start, sweeps

from gdexp.tracking import spool
from gdexp.tracking.tags import ENVIRONMENT

LOCAL = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=60")
SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=2")
LOSS = """
import time
from pathlib import Path

class Waiting:
    measures = "the mean squared error"
    def __init__(self, waits: bool = False) -> None:
        self.waits, self.calls = waits, 0
    def __call__(self, y_pred, y):
        self.calls += 1  # the first ones may be those of a trial or a check
        while self.waits and self.calls > 100 and Path("wait").exists():
            Path("waiting").touch()
            time.sleep(0.01)
        return ((y_pred - y) ** 2).mean()
"""
SWEEP = ("gradient=manual", "loss=waiting", "lr=0.01,0.02", "loss.waits=false,true", "iters=150")


def assert_once(folder: Path, words: tuple[str, ...], count: int) -> None:
    """The sweep is recorded as the same one computed in one process, every run once."""
    opened = client(folder)
    (there,) = (run.data.tags["gdexp.sweep_id"] for run in sweeps(folder))
    alone = process("-m", *words, "hydra.sweep.dir=outputs/alone", cwd=folder)
    assert alone.code == 0, alone.err
    ours, theirs = members(opened, "alone"), members(opened, there)
    assert [run.data.tags["gdexp.job"] for run in theirs] == [*map(str, range(count))]
    for one, other in zip(ours, theirs, strict=True):
        here, elsewhere = recorded(opened, one), recorded(opened, other)
        elsewhere["tags"][ENVIRONMENT] = here["tags"][ENVIRONMENT]  # tasks have fewer threads
        assert_alike(here, elsewhere, exactly=True)
    assert spool.files(folder / "outputs" / "spool") == []


def tasks_of(leader: int) -> list[int]:
    """The processes of submitit that compute."""
    return [pid for pid in children(leader) if "submitit.core._submit" in command(pid)]


@pytest.fixture
def waiting(store: Path) -> tuple[str, ...]:
    """A sweep of four runs, of which the second and the last wait for a file to disappear."""
    (store / "mine" / "loss").mkdir(parents=True)
    option = "# waiting\n_target_: my_waiting.Waiting\nwaits: false\n"
    (store / "mine" / "loss" / "waiting.yaml").write_text(option)
    (store / "my_waiting.py").write_text(LOSS)
    (store / "wait").touch()
    return ("--config-dir", "mine", *SWEEP)


def recorded_runs(folder: Path) -> list[Any]:
    return [run for run in members(client(folder)) if run.info.status == "FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["task", "leader"])
def test_what_is_killed_is_resumed_and_every_run_is_recorded_once(
    victim: str, waiting: tuple[str, ...], store: Path
) -> None:
    started = start(store, *waiting, *LOCAL)
    eventually(lambda: (store / "waiting").exists() and recorded_runs(store))
    os.kill(tasks_of(started.pid)[-1] if victim == "task" else started.pid, signal.SIGKILL)
    (store / "wait").unlink()
    err = started.communicate(timeout=PATIENCE)[1]
    assert started.returncode == (1 if victim == "task" else -9), err
    assert ("ended without it: it was killed" in err) == (victim == "task")
    assert len(recorded_runs(store)) < 4
    ended = process("-m", *waiting, *LOCAL, "sweep.resume=last", cwd=store)
    assert ended.code == 0, ended.err
    assert not of_session(started.pid)
    assert_once(store, waiting, 4)


@pytest.mark.slow
def test_a_signal_ends_the_tasks_here_and_keeps_what_they_have_done(
    waiting: tuple[str, ...], store: Path
) -> None:
    started = start(store, *waiting, *LOCAL)
    eventually(lambda: (store / "waiting").exists() and recorded_runs(store))
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    err = started.communicate(timeout=PATIENCE)[1]
    assert started.returncode == 130, err
    assert "Traceback" not in err
    assert not of_session(started.pid)
    (summary,) = sweeps(store)
    assert summary.info.status == "KILLED"
    assert {run.info.status for run in members(client(store))} == {"FINISHED"}
    assert not (Path(summary.data.tags["gdexp.sweep_dir"]) / "shards").exists()


@pytest.mark.slow
def test_a_task_out_of_time_is_started_again(waiting: tuple[str, ...], store: Path) -> None:
    started = start(store, *waiting, *LOCAL)
    eventually(lambda: (store / "waiting").exists() and recorded_runs(store))
    for task in tasks_of(started.pid):
        os.kill(task, signal.SIGUSR2)  # as submitit does
    (store / "wait").unlink()
    err = started.communicate(timeout=PATIENCE)[1]
    assert started.returncode == 0, err
    assert_once(store, waiting, 4)


@pytest.fixture
def slurm(
    tmp_path_factory: pytest.TempPathFactory, store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    place = install(tmp_path_factory.mktemp("slurm"), monkeypatch)
    yield place
    subprocess.run(["scancel", "77"], check=False)


@pytest.mark.slow
def test_the_tasks_of_slurm_go_on_without_the_leader(
    slurm: Path, waiting: tuple[str, ...], store: Path
) -> None:
    started = start(store, *waiting, *SLURM)
    eventually(lambda: (store / "waiting").exists() and recorded_runs(store))
    started.send_signal(signal.SIGTERM)
    err = started.communicate(timeout=PATIENCE)[1]
    assert started.returncode == 143, err
    assert "4 runs in 2 tasks (to cancel them: scancel 77)\n" in err
    assert "#SBATCH --array=0-1%2\n" in (slurm / "script").read_text()
    assert "the tasks go on; to cancel them: scancel 77. Later, python -m gdexp sync" in err
    again = ("-m", *waiting, *SLURM, "sweep.resume=last")
    ended = process(*again, cwd=store)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].endswith(
        "are still running. Wait for them, or cancel them: scancel 77."
    )
    (store / "wait").unlink()
    eventually(lambda: delivered(store).err and len(recorded_runs(store)) == 4)
    ended = process(*again, cwd=store)
    assert ended.code == 0, ended.err
    assert "4 finished, 0 to run\n" in ended.err
    assert_once(store, waiting, 4)


def delivered(folder: Path) -> Ended:
    return process("sync", cwd=folder)


@pytest.mark.slow
def test_a_node_that_fails_is_reported(slurm: Path, waiting: tuple[str, ...], store: Path) -> None:
    started = start(store, *waiting, *SLURM)
    eventually(lambda: (store / "waiting").exists() and recorded_runs(store))
    subprocess.run(["scancel", "77"], check=True)
    err = started.communicate(timeout=PATIENCE)[1]
    assert started.returncode == 1, err
    assert "ended without it: Slurm calls it NODE_FAIL\n" in err
    (store / "wait").unlink()
    ended = process("-m", *waiting, *SLURM, "sweep.resume=last", cwd=store)
    assert ended.code == 0, ended.err
    assert_once(store, waiting, 4)
