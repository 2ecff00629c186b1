"""Final metrics of runs that end in an unusual place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, client, last

from gdexp import run
from gdexp.descent.numbers import log10_loss


@pytest.mark.parametrize(
    ("first", "final", "expected"),
    [
        (30.0, 0.001, -3.0),
        (30.0, 30.0, math.log10(30)),
        (30.0, 31.0, math.log10(30)),
        (30.0, 1.7e308, math.log10(30)),
        (100.0, 0.0, -14.0),
        (100.0, 5e-324, -14.0),
        (1e-300, 0.0, -316.0),
        (0.0, 0.0, None),
        (-1.0, 1.0, None),
        (1.0, -1.0, None),
        (1.0, math.nan, None),
        (math.nan, 1.0, None),
    ],
)
def test_log10_loss_is_bounded(first: float, final: float, expected: float | None) -> None:
    assert log10_loss(first, final) == (expected if expected is None else pytest.approx(expected))
    assert log10_loss(np.float64(first), np.float64(final)) == log10_loss(first, final)


@pytest.mark.parametrize(("step", "together"), [("manual", False), ("model", True)])
def test_the_prediction_of_a_diverged_run_is_recorded(
    store: Path, step: str, together: bool, cli: CLI
) -> None:
    ended = cli(*(["-m"] if together else []), f"step={step}", "lr=10", "iters=500")
    assert ended.code == 0
    opened = client(store)
    if together:
        (found,) = opened.search_runs(["1"], "tags.`gdexp.kind` = 'run' AND tags.`gdexp.job` = '0'")
    else:
        found = last(opened)
    assert found.data.tags["gdexp.outcome"] == "diverged"
    result = run("tracking=off", f"step={step}", "lr=10", "iters=500")
    assert math.isfinite(result.prediction)
    assert abs(result.prediction) > 1e20
    rounding = 1e-5 if step == "model" else 0  # of a torch program for many runs
    for name, value in (("prediction", result.prediction), ("loss", result.trajectory.loss[-1])):
        assert found.data.metrics[f"final/{name}"] == pytest.approx(value, rel=rounding)


def test_a_prediction_that_is_not_finite_is_in_the_note_alone(store: Path) -> None:
    result = run("step=optimizer", "updater.momentum=0.9", "lr=1e30", "iters=500")
    assert math.isinf(result.prediction)
    found = last(client(store))
    assert "final/prediction" not in found.data.metrics
    assert "f(5) = -inf" in found.data.tags["mlflow.note.content"]


def test_a_run_that_failed_has_no_prediction_of_before_its_training(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdexp import manual

    update = manual.Updater.__call__
    calls = iter(range(3))  # one of them is the check's

    def fails(self: manual.Updater, *arguments: object) -> None:
        if next(calls, None) is None:
            raise ValueError("an update failed")
        update(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(manual.Updater, "__call__", fails)
    with pytest.raises(ValueError, match="an update failed"):
        run("step=manual", iters=9)
    metrics = last(client(store)).data.metrics
    assert "final/loss" in metrics
    assert "final/prediction" not in metrics
