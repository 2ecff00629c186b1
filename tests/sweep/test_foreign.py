"""Sweeps whose jobs another sweeper chooses, such as Hydra's own: they are summarised too."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import client
from sweep_helpers import gd, members, sweeps, table

BASIC = "-m", "hydra/sweeper=basic"


def test_such_a_sweep_ends_with_its_best_run(store: Path) -> None:
    ended = gd(*BASIC, "step=manual,autograd", "lr=0.01", "iters=5")
    assert ended.code == 0, ended.err
    lines = ended.err.splitlines()
    best = min(members(client(store)), key=lambda run: run.data.metrics["final/loss"])
    assert lines[0].startswith("runs in outputs/sweeps/")
    assert f"2 runs: 2 completed. Best: {best.info.run_name}, loss " in lines[-2]
    (summary,) = sweeps(store)
    assert summary.info.status == "FINISHED"
    assert summary.data.tags["gdexp.best_run"] == best.info.run_id
    typed = "hydra/sweeper=basic step=manual,autograd lr=0.01 iters=5"
    assert summary.data.tags["gdexp.overrides"] == typed
    assert [row["job"] for row in table(client(store))] == ["0", "1"]


def test_without_a_store_the_best_run_is_only_told(workdir: Path) -> None:
    ended = gd(*BASIC, "lr=0.01,0.02", "iters=5", "tracking=off")
    assert ended.code == 0, ended.err
    assert ended.err.splitlines()[-1].startswith("Best: #1 lr=0.02 iters=5 tracking=off, loss ")
    assert "sweep " not in ended.err
    assert not (workdir / "outputs" / "mlflow.db").exists()


def test_a_failed_run_leaves_the_summary_of_the_others(mine: tuple[str, ...], store: Path) -> None:
    folder, words = mine[:2], mine[2:]
    ended = gd(*folder, *BASIC, *words, "loss.breaks=false,true", "iters=2")
    assert ended.code == 1, ended.err
    (summary,) = sweeps(store)
    assert summary.data.metrics["sweep/completed"] == 1
    assert summary.data.metrics["sweep/failed"] == 1


@pytest.mark.slow
def test_it_cannot_be_resumed(store: Path) -> None:
    gd(*BASIC, "lr=0.01,0.02", "iters=1", "hydra.sweep.dir=outputs/here")
    ended = gd("-m", "lr=0.01,0.02", "iters=1", "sweep.resume=last")
    assert (ended.code, ended.err) == (
        2,
        "gdexp: sweep.resume: here had its jobs chosen by another sweeper, so it cannot be "
        "resumed. Name another sweep.\n",
    )
    ended = gd(*BASIC, "lr=0.01,0.02", "iters=1", "hydra.sweep.dir=outputs/other/here")
    assert (ended.code, ended.err) == (
        2,
        "gdexp: hydra.sweep.dir: a sweep 'here' is recorded already. Name another folder.\n",
    )
    assert len(members(client(store))) == 2
