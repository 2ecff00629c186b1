"""What a notebook gets: run() with its outcome and its trajectory as arrays."""

from __future__ import annotations

import doctest
import importlib
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import client, runs
from hydra.core.global_hydra import GlobalHydra

import gdexp
from gdexp import run, sweep
from gdexp.descent.signals import handled
from gdexp.errors import ConfigError, Interrupted


def test_run_returns_the_outcome_and_the_trajectory(
    store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run("step=autograd", "lr=0.05")
    assert capfd.readouterr() == ("", "")
    assert (result.outcome, result.reason) == ("completed", "20 epochs")
    trajectory = result.trajectory
    assert trajectory.loss.shape == trajectory.parameters["w"].shape == (20,)
    assert trajectory.gradients["w"].dtype == np.float64
    assert list(trajectory.epochs[:3]) == [1, 2, 3]
    assert result.parameters["w"] == trajectory.parameters["w"][-1]
    assert result.prediction == pytest.approx(5 * result.parameters["w"])
    assert result.run_id is not None
    assert result.transcript.startswith(" Prediction before training: f(5) = 0.000\nepoch 1: ")


def test_hydra_is_left_as_it_was() -> None:
    import hydra

    with hydra.initialize_config_module("gdexp", version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        run("tracking=off", "iters=1")
        sweep("tracking=off", iters=[1, 2])
        assert GlobalHydra.instance().hydra is mine
    run("tracking=off", "iters=1")
    assert not GlobalHydra.instance().is_initialized()


def test_threads_may_run_at_once() -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda k: run("tracking=off", f"iters={k}"), range(1, 13)))
    assert [result.trajectory.length for result in results] == list(range(1, 13))


def test_threads_may_record_at_once(store: Path) -> None:
    steps = ("manual", "autograd", "optimizer", "model")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda step: run(step=step, iters=3), steps))
    recorded = {r.info.run_id: r.data.params["step"] for r in runs(client(store))[1:]}
    assert recorded == {r.run_id: step for r, step in zip(results, steps, strict=True)}


@pytest.mark.slow
def test_threads_draw_the_same_random_numbers_as_alone() -> None:
    words = "step=model", "predictor=mlp", "data.batch_size=2", "iters=30", "tracking=off"

    def loss_of(seed: int) -> float:
        return float(run(*words, seed=seed).trajectory.loss[-1])

    alone = [loss_of(seed) for seed in range(2)] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(loss_of, (0, 1, 0, 1))) == alone
    assert alone[0] != alone[1]


def test_signals_stay_as_they_were_after_threads_have_recorded(store: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: run(iters=2, seed=seed), range(4)))
    with pytest.raises(Interrupted), handled():
        signal.raise_signal(signal.SIGINT)


def test_overrides_may_be_lists_and_keywords() -> None:
    expected = run("step=optimizer", "lr=0.02", "updater.momentum=0.5", "tracking=off")
    for alike in (
        run(["step=optimizer", "lr=0.02", "updater.momentum=0.5"], "tracking=off"),
        run(step="optimizer", lr=np.float64(0.02), updater={"momentum": 0.5}, tracking="off"),
        run("step=optimizer", lr=0.02, tracking="off", **{"updater.momentum": 0.5}),
    ):
        assert list(alike.trajectory.loss) == list(expected.trajectory.loss)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: run(5),  # type: ignore[arg-type]
            "5 is not an override. Type strings, as in 'lr=0.05', or keywords, as in lr=0.05.",
        ),
        (lambda: run(lr=-1), "lr: -1.0 is not a finite number > 0. Type for example lr=0.01."),
        (lambda: run(lrr=1), "lrr: a run has no setting 'lrr'. Did you mean lr?"),
        (
            lambda: run(lr=1j),
            "lr: 1j cannot be typed as a setting. Give a number, a string, True, False, None, or "
            "a list of them.",
        ),
        (lambda: sweep(lr=[]), "lr: the list is empty. Give it a value for each run."),
        (
            lambda: sweep(lr=[0.1, -1]),
            "lr: -1 is not a finite number > 0. Type for example lr=0.01.",
        ),
        (
            lambda: sweep("step=manul"),
            "step=manul: there is no such option. step is one of: autograd, manual, model, "
            "optimizer. Did you mean step=manual?",
        ),
    ],
)
def test_a_bad_setting_is_one_line(
    call: Callable[[], object], sentence: str, workdir: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value) == sentence
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value._render_traceback_() == [f"ConfigError: {sentence}"]
    assert not any(workdir.iterdir())


def with_examples() -> list[str]:
    """The modules of gdexp whose docstrings have examples."""
    root = Path(gdexp.__file__).parent
    files = [path for path in root.rglob("*.py") if ">>> " in path.read_text()]
    names = (".".join(path.relative_to(root.parent).with_suffix("").parts) for path in files)
    return sorted(name.removesuffix(".__init__") for name in names)


@pytest.mark.parametrize("name", with_examples())
def test_the_examples_in_docstrings(name: str) -> None:
    failures, examples = doctest.testmod(importlib.import_module(name))
    assert (failures, examples > 0) == (0, True)


def test_sweep_stays_a_function_after_the_folder_of_that_name_is_imported() -> None:
    from gdexp.sweep import grids

    again = importlib.import_module("gdexp")
    assert again.sweep is sweep
    assert len(again.sweep("tracking=off", iters=[1, 2])) == 2
    assert grids.__name__ == "gdexp.sweep.grids"
    assert importlib.import_module("gdexp.sweep").__path__


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert version("gdexp") == gdexp.__version__
