"""Several processes at once on a fresh store: made once, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import PATIENCE, clean_environment, runs
from mlflow import MlflowClient

PROCESSES = 4


def at_once(folder: Path, **environment: str) -> None:
    """Start the runs together and wait for all."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "gdexp", f"seed={seed}", "iters=30", "lr=0.001"],
            cwd=folder,
            env=clean_environment() | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(PROCESSES)
    ]
    errors = [one.communicate(timeout=PATIENCE)[1] for one in started]
    assert [one.returncode for one in started] == [0] * PROCESSES, errors


def check_nothing_lost(opened: MlflowClient) -> None:
    found = runs(opened)
    assert {r.data.params["seed"] for r in found} == {str(seed) for seed in range(PROCESSES)}
    assert len(found) == PROCESSES
    for r in found:
        assert r.info.status == "FINISHED"
        for name in ("train/loss", "param/w", "grad/w"):
            assert len(opened.get_metric_history(r.info.run_id, name)) == 30


@pytest.mark.slow
def test_four_processes_on_a_fresh_sqlite_store(workdir: Path) -> None:
    at_once(workdir)
    check_nothing_lost(MlflowClient(f"sqlite:///{workdir}/outputs/mlflow.db"))


@pytest.mark.slow
def test_four_processes_on_a_fresh_postgresql_store(
    workdir: Path, postgres: Callable[[], str]
) -> None:
    uri = postgres()
    at_once(workdir, MLFLOW_TRACKING_URI=uri)
    check_nothing_lost(MlflowClient(uri))
