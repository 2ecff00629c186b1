"""The best run: converged runs count, ties are told, and unlike losses are not ranked."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import client, process, required
from sweep_helpers import gd, members, summary

from gdexp.commands import compare
from gdexp.sweep.best import best_of, sentence


def rows(*losses: float | None, outcome: str = "completed") -> list[dict[str, Any]]:
    return [
        {
            "job": i,
            "run_id": f"{i}" * 32,
            "name": f"run {i}",
            "final/loss": loss,
            "outcome": outcome,
        }
        for i, loss in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (rows(3.0, 1.5, 2.0), "Best: run 1, loss 1.5"),
        (rows(1.0) + rows(0.5, outcome="converged"), "Best: run 0, loss 0.5"),
        (rows(1.0, 2.0) + rows(0.5, outcome="diverged"), "Best: run 0, loss 1"),
        (rows(1.0) + rows(0.5, outcome="interrupted"), "Best: run 0, loss 1"),
        (rows(1.0, 0.5, 0.5000001), "Best: 2 runs tie with loss 0.5: run 1; run 2"),
        (rows(*[2.0] * 6), "Best: 6 runs tie with loss 2: run 0; run 1; run 2; and 3 more"),
        (rows(float("nan"), float("inf"), 7.0), "Best: run 2, loss 7"),
        (rows(1.0, outcome="failed"), ""),
        ([], ""),
    ],
)
def test_the_sentence(given: list[dict[str, Any]], expected: str) -> None:
    assert sentence(given) == expected


def test_of_runs_that_tie_the_smallest_comes_first() -> None:
    assert [row["job"] for row in best_of(rows(1.0, 0.50000001, 0.5))] == [2, 1]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (rows(2.0, 1.0), "smallest final/loss: 1, run: 11111111"),
        (rows(1.0, 2.0, 1.0), "smallest final/loss: 1, 2 runs tie: 00000000 22222222"),
        (rows(3.0) + rows(2.0, outcome="converged"), "smallest final/loss: 2, run: 00000000"),
        (
            rows(1.0, 2.0, None) + rows(0.5, outcome="diverged"),
            "smallest final/loss: 1, run: 00000000",
        ),
        (rows(1.0, None), ""),
        (rows(1.0, 2.0, outcome="diverged"), ""),
    ],
)
def test_the_smallest_loss_is_named(given: list[dict[str, Any]], sentence: str) -> None:
    assert compare.smallest(given) == sentence


def test_a_run_that_converged_can_be_the_best(store: Path) -> None:
    ended = gd("-m", "gradient=manual", "lr=0.002,0.1", "iters=200", "stop.tolerance=1e-6")
    opened = client(store)
    best = members(opened)[1]
    assert best.data.tags["gdexp.outcome"] == "converged"
    data = summary(opened).data
    assert data.tags["gdexp.best_run"] == best.info.run_id
    assert data.metrics["best/loss"] == best.data.metrics["final/loss"] < 1e-6
    words = "step=manual gradient=manual lr=0.1 iters=200 stop.tolerance=1e-06"
    expected = rf": 2 runs: 1 completed, 1 converged\. Best: {words}, loss 4\.47035e-07\. "
    expected += r"The sweep took \d+\.\d s"
    assert re.search(expected + "\n", ended.err)
    assert re.search(expected + r"\.$", data.tags["mlflow.note.content"])


@pytest.mark.slow
def test_ties_and_singulars(store: Path) -> None:
    ended = gd("-m", "gradient=manual", "step=manual,autograd", "lr=0.1", "updater=manual")
    assert ": 2 runs: 2 completed. Best: 2 runs tie with loss " in ended.err
    ended = gd("-m", "lr=0.01")
    assert "1 run in outputs/sweeps/" in ended.err
    assert ": 1 run: 1 completed. Best: step=manual lr=0.01, loss " in ended.err


@pytest.mark.parametrize("axis", ["loss=MSELoss,L1Loss", "data.y=[2,4,6,8],[2,4,6,9]"])
def test_losses_of_different_things_are_not_ranked(store: Path, axis: str) -> None:
    ended = gd("-m", "step=autograd", "iters=3", axis)
    assert "Their losses measure different things, so none is the best. The sweep" in ended.err
    data = summary(client(store)).data
    assert "gdexp.best_run" not in data.tags
    assert "best/loss" not in data.metrics


def test_losses_by_hand_and_by_torch_measure_the_same(store: Path) -> None:
    ended = gd("-m", "step=autograd", "iters=3", "loss=manual,MSELoss", "lr=0.01,0.02")
    assert "Best: 2 runs tie" in ended.err


def test_a_sweep_that_is_not_recorded_names_its_best(workdir: Path) -> None:
    ended = gd("-m", "tracking=off", "gradient=manual", "lr=0.01,0.1,0.2")
    assert "\nBest: #1 tracking=off gradient=manual lr=0.1, loss " in ended.err
    assert "Best: " not in gd("-m", "tracking=off", "lr=0.01").err


@pytest.mark.slow
def test_optunas_sweep_ends_with_the_best_run(store: Path) -> None:
    if importlib.util.find_spec("optuna") is None:
        required("hydra-optuna-sweeper")
    trials = "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3", "hydra.sweeper.sampler.seed=1"
    words = "lr=range(0.001,0.06,step=0.001)", "iters=5"
    ended = process("-m", "hydra/sweeper=optuna", *trials, *words, cwd=store)
    losses = {r.data.metrics["final/loss"] for r in members(client(store))}
    (loss,) = re.findall(r" Best: .*\blr=\S+ iters=5, loss (\S+)\. The sweep took", ended.err)
    assert float(loss) == float(f"{min(losses):.6g}")
