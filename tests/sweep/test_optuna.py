"""Optuna's sweeper on our launcher: it learns from some runs before it asks for the next."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml
from helpers import client, process, required, runs
from sweep_helpers import members, sweeps

FAST = "hydra/sweeper=optuna", "tracking=off"
TRIALS = "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3", "hydra.sweeper.sampler.seed=1"


@pytest.mark.slow
def test_optuna_looks_for_the_best_lr(store: Path) -> None:
    if importlib.util.find_spec("optuna") is None:
        required("hydra-optuna-sweeper")
    words = "lr=range(0.001,0.06,step=0.001)", "iters=5", "hydra.sweep.dir=outputs/here"
    ended = process("-m", "hydra/sweeper=optuna", *TRIALS, *words, cwd=store)
    assert ended.code == 0, ended.err
    assert "one after another" not in ended.err
    opened = client(store)
    found = members(opened, "here")
    assert [int(r.data.tags["gdexp.job"]) for r in found] == list(range(6))
    assert {r.info.status for r in found} == {"FINISHED"}
    losses = {float(r.data.params["lr"]): r.data.metrics["final/loss"] for r in found}
    best = yaml.safe_load((store / "outputs" / "here" / "optimization_results.yaml").read_text())
    assert best["best_value"] == min(losses.values())
    assert losses[best["best_params"]["lr"]] == best["best_value"]
    value = min(losses.values())
    (name,) = [r.info.run_name for r in found if r.data.metrics["final/loss"] == value]
    assert f". Best: {name}, loss {value:.6g}. The sweep took " in ended.err
    assert len(runs(opened)) == 1 + 6 + 1
    (summary,) = sweeps(store)
    assert (summary.info.status, summary.data.metrics["best/loss"]) == ("FINISHED", value)
    typed = " ".join(["hydra/sweeper=optuna", *TRIALS, *words[:2]])
    assert summary.data.tags["gdexp.overrides"] == typed


@pytest.mark.slow
def test_an_interval_is_searched(workdir: Path) -> None:
    ended = process("-m", *FAST, "hydra.sweeper.n_trials=3", "lr=interval(0.001,0.05)", cwd=workdir)
    assert ended.code == 0, ended.err
    assert ended.err.count(", f(5) = ") == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    {
        ("lr=interval(-1,0.05)",): "lr: -1.0 is not a finite number > 0. Type for example lr=0.01.",
        ("sweep.dry_run=true", "lr=0.1,0.2"): (
            "sweep.dry_run: hydra/sweeper=optuna chooses the jobs itself. Drop one."
        ),
        ("sweep=zip", "lr=0.1,0.2"): (
            "sweep=zip: hydra/sweeper=optuna chooses the jobs itself. Drop one."
        ),
    }.items(),
)
@pytest.mark.slow
def test_what_another_sweeper_cannot_do_is_refused(
    workdir: Path, words: tuple[str, ...], sentence: str
) -> None:
    ended = process("-m", *FAST, *words, cwd=workdir)
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    assert not any(workdir.iterdir())
