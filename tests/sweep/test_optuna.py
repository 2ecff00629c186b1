"""Optuna's sweeper on our launcher: it learns from some runs before it asks for the next."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml
from helpers import client, process, required, runs
from omegaconf import DictConfig, OmegaConf
from sweep_helpers import gd, members, sweeps

from gdexp.sweep import generations

old_libraries = pytest.mark.filterwarnings("ignore")  # Optuna 2 imports what others deprecate
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
    assert ended.err.startswith("6 runs in outputs/here\n#0 ")
    opened = client(store)
    found = members(opened, "here")
    assert [int(r.data.tags["gdexp.job"]) for r in found] == list(range(6))
    assert {r.info.status for r in found} == {"FINISHED"}
    assert {r.data.tags["gdexp.together"] for r in found} == {"3"}
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


def swept(*words: str, n_jobs: int = 2, launcher: str = "VectorizedLauncher") -> DictConfig:
    """The configuration of a sweep by Optuna, with these overrides of Hydra's."""
    sweeper = {"n_trials": 50, "n_jobs": n_jobs}
    node = {"_target_": f"hydra_plugins.{launcher}"}
    return OmegaConf.create(
        {"hydra": {"sweeper": sweeper, "launcher": node, "overrides": {"hydra": [*words]}}}
    )


SIZES: list[tuple[DictConfig, int]] = [
    (swept("hydra/sweeper=optuna"), 8),
    (swept("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=2"), 2),
    (swept("hydra/sweeper=optuna", "++hydra.sweeper.n_jobs=2"), 2),
    (swept("hydra/sweeper=optuna", n_jobs=5), 5),
    (swept("hydra/sweeper=optuna", launcher="JoblibLauncher"), 2),
]


@pytest.mark.parametrize(("config", "size"), SIZES, ids=range(len(SIZES)))
def test_a_generation_is_the_square_root_of_all_runs_unless_it_is_set(
    config: DictConfig, size: int
) -> None:
    OmegaConf.set_readonly(config, True)
    generations.resize(config)
    assert config.hydra.sweeper.n_jobs == size


def test_a_sweeper_without_generations_is_left_as_it_is() -> None:
    config = swept("hydra/sweeper=basic")
    config.hydra.sweeper = {"max_batch_size": None}
    generations.resize(config)
    assert config.hydra.sweeper == {"max_batch_size": None}


@pytest.mark.slow
def test_each_generation_is_computed_as_one_program(store: Path) -> None:
    words = "lr=tag(log,interval(0.001,0.1))", "iters=int(interval(5,50))", "step=autograd"
    ended = process("-m", FAST[0], "hydra.sweeper.n_trials=9", *words, cwd=store)
    assert ended.code == 0, ended.err
    found = members(client(store))
    assert [r.data.tags["gdexp.together"] for r in found] == ["3"] * 9


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
        ("iters=interval(1,9)",): (
            "iters=interval(1,9): iters is a whole number. Type iters=int(interval(1,9))."
        ),
        ("lr=0.1,0.2", "hydra.sweeper.n_trials=2000000"): (
            "hydra.sweeper.n_trials: the sweep has 2000000 runs, and sweep.max_runs=1000000. "
            "Type sweep.max_runs=2000000 to run them all."
        ),
        ("lr=0.1,0.2", "hydra.sweeper.n_jobs=0"): (
            "hydra.sweeper.n_jobs: 0 is not a whole number >= 1. "
            "Type for example hydra.sweeper.n_jobs=20."
        ),
        ("lr=0.1",): (
            "hydra/sweeper=optuna: there is nothing to choose. "
            "Type for example 'lr=tag(log,interval(0.001,0.1))'."
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


OWN = {  # settings of the plugin, and what is said of them
    "direction=up": (
        "hydra.sweeper.direction: 'up' cannot be, since what is compared is the final loss. "
        "Type hydra.sweeper.direction=minimize."
    ),
    "direction=maximize": (
        "hydra.sweeper.direction: 'maximize' cannot be, since what is compared is the final loss. "
        "Type hydra.sweeper.direction=minimize."
    ),
    "max_failure_rate=2": (
        "hydra.sweeper.max_failure_rate: 2.0 is not a finite number from 0 to 1. "
        "Type for example hydra.sweeper.max_failure_rate=0.5."
    ),
    "sampler.seed=-1": "hydra/sweeper=optuna: Seed must be between 0 and 2**32 - 1.",
}


@pytest.mark.parametrize(("setting", "sentence"), OWN.items())
@old_libraries
@pytest.mark.slow
def test_what_optuna_itself_refuses_is_refused_before_anything_is_created(
    workdir: Path, setting: str, sentence: str
) -> None:
    ended = gd("-m", "hydra/sweeper=optuna", f"hydra.sweeper.{setting}", "lr=interval(0.01,0.1)")
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    assert not any(workdir.iterdir())


@old_libraries
@pytest.mark.slow
def test_an_optuna_that_cannot_use_a_database_is_named(workdir: Path) -> None:
    optuna = pytest.importorskip("optuna")
    storage = "hydra.sweeper.storage=sqlite:///study.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.storages, "get_storage", lambda url: 1 / 0)
        ended = gd("-m", "hydra/sweeper=optuna", storage, "lr=interval(0.01,0.1)")
    assert (ended.code, ended.err) == (
        2,
        f"gdexp: hydra.sweeper.storage: Optuna {optuna.__version__} cannot use a database: "
        "division by zero. Leave it out: the runs are recorded anyway.\n",
    )
    assert not any(workdir.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    {
        ("sweep.vectorize=required", "step=model", "updater=NAdam"): (
            "sweep.vectorize=required: 2 of 2 runs would be computed one after another: "
            "updater=NAdam cannot be vectorized. Type sweep.vectorize=auto."
        ),
        ("sweep.memory=1e-9",): (
            "sweep.memory=1e-09: the curves of one run of 20 epochs take 4.47e-07 GiB. "
            "Type sweep.memory=0.01 or more, or fewer iters."
        ),
    }.items(),
)
@old_libraries
@pytest.mark.slow
def test_a_search_is_computed_as_asked_or_refused(
    workdir: Path, words: tuple[str, ...], sentence: str
) -> None:
    ended = gd("-m", "hydra/sweeper=optuna", *words, "lr=interval(0.01,0.1)")
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    assert not any(workdir.iterdir())
