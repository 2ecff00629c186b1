"""Sweeps on engines as commands: recorded whole, ended by signals, no process left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    PATIENCE,
    clean_environment,
    client,
    curve,
    eventually,
    of_session,
    process,
    runs,
    workers_of,
)
from mlflow import MlflowClient
from sweep_helpers import summary


def interrupted(folder: Path, signum: int, *words: str) -> tuple[int, str, list[str]]:
    """A sweep that gets a signal once its workers work; which of its processes are left."""
    sweep = ["-m", "sweep=log", "sweep.key=lr", "sweep.low=0.0001", "sweep.high=0.01"]
    started = subprocess.Popen(
        [sys.executable, "-m", "gdexp", *sweep, "sweep.num=4000", "iters=30000", *words],
        cwd=folder,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    eventually(lambda: workers_of(started.pid))
    time.sleep(1)
    if signum == signal.SIGINT:
        os.killpg(started.pid, signum)  # as a terminal does
    else:
        started.send_signal(signum)
    err = started.communicate(timeout=PATIENCE)[1]
    with contextlib.suppress(AssertionError):
        eventually(lambda: not of_session(started.pid))
    return started.returncode, err, of_session(started.pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "signum"),
    [("joblib", signal.SIGINT), ("joblib", signal.SIGTERM), ("ray", signal.SIGINT)],
)
def test_a_signal_leaves_no_process_behind(name: str, signum: int, workdir: Path) -> None:
    words = (f"hydra.launcher.engine={name}", "hydra.launcher.workers=2", "tracking=off")
    code, err, left = interrupted(workdir, signum, *words)
    assert (code, left) == (128 + signum, []), err
    cause = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
    lines = [line for line in err.splitlines() if line and not line.startswith("note")]
    assert lines[1:] == [f"interrupted by {cause}"]  # runs that had ended may have left a note


# The whole command


def recorded(opened: MlflowClient) -> dict[str, Any]:
    members = [r for r in runs(opened) if "gdexp.job" in r.data.tags]
    return {r.data.tags["gdexp.overrides"]: r for r in members}


def numbers(opened: MlflowClient, found: dict[str, Any]) -> dict[str, Any]:
    """What was recorded of each run: its numbers and its curve."""
    return {
        text: (run.data.metrics, run.data.params, curve(opened, run.info.run_id, "train/loss"))
        for text, run in found.items()
    }


def check_sweep(store: Path, *words: str) -> None:
    """A sweep is recorded once and whole, with the numbers of the same sweep in this process."""
    axes = ("-m", "step=manual", "lr=0.001,0.05", "iters=10,20")
    ended = process(*axes, *words)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert "4 runs: 2 completed, 2 diverged" in ended.err
    opened = client(store)
    found = recorded(opened)
    assert {int(r.data.tags["gdexp.job"]) for r in found.values()} == set(range(len(found)))
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert summary(opened).info.status == "FINISHED"
    there = numbers(opened, found)
    for run in runs(opened):
        opened.delete_run(run.info.run_id)
    alone = process(*axes)
    assert alone.code == 0, alone.err
    here = numbers(opened, recorded(opened))
    assert len(there) == 4
    assert there == here


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joblib", "ray"])
def test_a_sweep_computed_elsewhere_is_recorded_whole(name: str, store: Path) -> None:
    check_sweep(store, f"hydra.launcher.engine={name}", "hydra.launcher.workers=2")


@pytest.mark.slow
def test_hydras_joblib_launcher_runs_each_job_by_itself(store: Path) -> None:
    check_sweep(store, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.mark.slow
def test_a_cluster_is_used_and_left_running(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"start --head --block --port={port} --node-ip-address=127.0.0.1 --num-cpus=2"
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the path of a socket must be short
    cluster = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *words.split(), "--include-dashboard=false"],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: any("RuntimeEnvAgent" in one for one in of_session(cluster.pid)))
        word = f"hydra.launcher.address=127.0.0.1:{port}"
        for _ in range(2):
            ended = process("-m", "lr=0.01,0.02", "hydra.launcher.engine=ray", word, "tracking=off")
            assert ended.code == 0, ended.err
            assert any("raylet" in one for one in of_session(cluster.pid))
    finally:
        cluster.terminate()
        cluster.wait(timeout=PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)
    eventually(lambda: not of_session(cluster.pid))
