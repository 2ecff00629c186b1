"""What a notebook gets: run() with its outcome and its trajectory as arrays."""

from __future__ import annotations

import doctest
import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

import gdexp
from gdexp import run


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


def test_run_leaves_hydra_as_it_was() -> None:
    import hydra

    with hydra.initialize_config_module("gdexp", version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        run("tracking=off", "iters=1")
        assert GlobalHydra.instance().hydra is mine
    run("tracking=off", "iters=1")
    assert not GlobalHydra.instance().is_initialized()


def test_threads_may_run_at_once() -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda k: run("tracking=off", f"iters={k}"), range(1, 13)))
    assert [result.trajectory.length for result in results] == list(range(1, 13))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "gdexp",
            "gdexp.config.schema",
            "gdexp.data.categories",
            "gdexp.descent.loop",
            "gdexp.errors",
        ),
        *("gdexp.tracking.artifacts", "gdexp.tracking.curves", "gdexp.tracking.metric_names"),
        "gdexp.tracking.sql_rows",
    ],
)
def test_the_examples_in_docstrings(name: str) -> None:
    failures, examples = doctest.testmod(importlib.import_module(name))
    assert (failures, examples > 0) == (0, True)


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert version("gdexp") == gdexp.__version__
