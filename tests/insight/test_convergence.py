"""A fit that ended before it converged says so, with numbers that hold; no other fit does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import Ended
from sweep_helpers import gd

from gdexp import run
from gdexp.data.bundled import diabetes
from gdexp.descent.result import Result

DIABETES = ("gradient=manual", "data=diabetes", "data.compress=true", "predictor.bias=true")
SCALED = (*DIABETES, "data.standardize=true", "lr=0.1", "dtype=float64")


def fit(*overrides: str) -> Result:
    return run("tracking=off", *overrides)


def exact() -> np.ndarray:
    """Coefficients and intercept of the whole table in its own units, by numpy."""
    data = diabetes().load()
    solution: np.ndarray = np.linalg.lstsq(
        np.column_stack([data.x, np.ones(len(data.y))]), data.y, rcond=None
    )[0]
    return solution


@pytest.mark.parametrize("epochs", [100, 2000, 5000])
def test_the_right_digits_are_those_of_the_printed_coefficients(epochs: int) -> None:
    result = fit(*SCALED, f"iters={epochs}")
    errors = np.abs(np.array([*result.coefficients.values()]) / exact() - 1)
    digits = int(np.floor(-np.log10(errors.max()))) if errors.max() < 1 else 0
    assert result.checks.pop("contraction") == pytest.approx(result.forecast["contraction"], 0.01)
    assert result.checks == {
        "condition": pytest.approx(470, abs=0.5),
        "digits": digits,
        "gradient_error": pytest.approx(0, abs=1e-6),
        "gradient_ratio": pytest.approx(1),
    }
    worst = [*result.coefficients][int(errors.argmax())]
    count = {0: "no right digit yet", 1: "1 right digit"}.get(digits, f"{digits} right digits")
    gradient = np.linalg.norm([*result.trajectory.gradients.values()], axis=0)
    ratio = f"{gradient[-1] / gradient[0]:.2g}"
    assert result.note.startswith(
        f"not converged: the gradient is {ratio} of its size at the "
        f"start, and {worst} has {count} (condition number 470); type iters="
    )


@pytest.mark.parametrize("start", ["iters=100", "iters=5000"])
def test_as_many_epochs_as_it_names_give_every_printed_digit(start: str) -> None:
    words = fit(*SCALED, start).note.rpartition("type ")[2].rstrip(".").split(", or ")
    result = fit(*SCALED, words[0])
    assert result.checks["digits"] == 6
    assert result.note == ""
    printed = [f"{value:.4g}" for value in result.coefficients.values()]
    assert printed == [f"{value:.4g}" for value in exact()]


@pytest.mark.parametrize(
    "words",
    [
        "step=manual lr=0.01",
        "step=manual lr=0.025 iters=100",
        "step=autograd lr=0.05 iters=60",
        "step=model lr=0.01 iters=100 predictor.bias=false",
        "step=model lr=0.1 iters=400 predictor.bias=true",
        "gradient=manual lr=0.1 iters=400 predictor.bias=true data.y=[3,3,3,3]",
        "gradient=manual lr=0.1 predictor.init=2",
        "gradient=manual lr=0.1 data.y=[0,0,0,0]",
    ],
)
def test_a_fit_that_converged_is_not_told_otherwise(words: str) -> None:
    result = fit(*words.split())
    assert result.checks["digits"] >= 4
    assert set(result.notes) <= {"gradient=manual_sum"}


@pytest.mark.parametrize(
    "words",
    [
        "step=model updater=AdamW updater.weight_decay=0.1",
        "step=model updater.weight_decay=0.1",
        "step=model stop.patience=3 data.validation=0.25",
        "step=model stop.tolerance=10",
        "step=model predictor=mlp",
        "step=model loss=L1Loss",
        "step=model loss=BCEWithLogitsLoss data.y=[0,1,0,1]",
    ],
)
def test_no_claim_is_made_of_a_fit_that_seeks_something_else(words: str) -> None:
    assert fit(*words.split(), "iters=9").note == ""


def test_a_gradient_that_is_nearly_as_large_is_not_rounded_to_that() -> None:
    words = ("gradient=manual", "dtype=float64", "lr=1e-8")  # by 1 - 15 lr per epoch
    assert "the gradient is 0.99999985 of its size at the start" in fit(*words, "iters=2").note
    assert "the gradient is as large as at the start, and w" in fit(*words, "iters=1").note


def test_float32_is_named_where_it_is_the_limit() -> None:
    years = "data.x=[1947,1948,1949,1950]", "data.y=[3,5,7,9.5]", "predictor.bias=true"
    words = ("gradient=manual", *years, "lr=1e-7", "iters=3000")
    ways = fit(*words).note.rpartition("; type ")[2]
    assert ways == "dtype=float64, or data.standardize=true, or run more epochs."
    ways = fit(*words, "dtype=float64").note.rpartition("; type ")[2]
    assert ways == "data.standardize=true, or run more epochs."


@pytest.mark.parametrize(
    ("words", "sentence"),
    {
        "gradient=manual lr=0.002 iters=200 stop.tolerance=1e-6": "not converged: the loss is "
        "0.000163 after 200 epochs, above stop.tolerance=1e-06; the gradient is 0.0023 of its size "
        "at the start, and w has 2 right digits; type iters=460, or lr=0.066.",
        "gradient=manual lr=0.1 iters=400 data.y=[2,4,6,9] stop.tolerance=1e-6": "not converged: "
        "the loss is 0.117 after 400 epochs, above stop.tolerance=1e-06, but cannot be below "
        "0.116667, unlike stop.watch=gradient.",
        "step=model predictor=mlp iters=1 stop.tolerance=1e-9 stop.watch=gradient": (
            "after 1 epoch, above stop.tolerance=1e-09."
        ),
    }.items(),
)
def test_a_tolerance_that_was_not_met_is_named(words: str, sentence: str) -> None:
    assert sentence in fit(*words.split()).notes["completed"]


def test_a_larger_step_and_standardizing_are_offered_where_they_help() -> None:
    note = fit("gradient=manual", "data=diabetes", "lr=1e-6", "iters=50").note
    assert note.rpartition("; type ")[2] == (
        "lr=6.7e-06, or data.standardize=true predictor.bias=true, or run more epochs."
    )


@pytest.mark.parametrize("compress", ["false", "true"])
def test_a_bias_that_is_missed_is_named(compress: str) -> None:
    words = ("gradient=manual", "data=diabetes", "lr=0.1", f"data.compress={compress}")
    missed = fit(*words, "data.standardize=true").notes["bias"]
    assert missed == (
        "without a bias, f(x) is 0 at the features' means, where the targets average 152.1: type "
        "predictor.bias=true."
    )
    assert "bias" not in fit(*words, "data.standardize=true", "predictor.bias=true").notes
    assert "bias" not in fit(*words, "lr=1e-6").notes


@pytest.mark.parametrize(
    ("words", "missed"),
    {
        "gradient=manual data.y=[-3,-1,1,3]": False,
        "gradient=manual data.y=[-3,-1,1,5]": True,
        "gradient=manual data.compress=true data.y=[1e9,1,1,-1e9]": False,
        "gradient=manual_logistic loss=manual_logistic data.y=[0,1,1,0]": False,
        "gradient=manual_logistic loss=manual_logistic data.y=[0,1,1,1]": True,
        "step=model predictor=mlp": False,
    }.items(),
)
def test_a_bias_is_missed_only_where_it_matters(words: str, missed: bool) -> None:
    result = fit(*words.split(), "data.standardize=true", "iters=2")
    assert ("bias" in result.notes) == missed


LR = {
    "updater.lr=0.02": "so lr=0.02 acts like lr=0.08;",
    "lr=0.5 updater.lr=0.02": "so lr=0.02 acts like lr=0.08;",
    "lr=0.02 updater=manual_momentum": "so lr=0.02 acts like lr=0.08;",
    "scheduler=StepLR": "so every lr acts like one 4 times as large;",
    "updater=SGD lr=0.02 updater.weight_decay=0.1": "so lr=0.02 updater.weight_decay=0.1 acts like "
    "lr=0.08 updater.weight_decay=0.025;",
    "updater=manual_adam": "is 4.000 times the derivative of the loss, n = 4: the mean's "
    "1/n is missing; gradient=manual",
}


@pytest.mark.parametrize(("words", "effect"), LR.items())
def test_the_gradients_multiple_is_told_by_the_lr_that_acts(words: str, effect: str) -> None:
    assert effect in fit("step=manual", "iters=2", *words.split()).notes["gradient=manual_sum"]


def test_the_lr_that_it_acts_like_gives_the_same_descent() -> None:
    """The claim itself, with a weight decay."""
    decay = "step=optimizer", "dtype=float64", "updater.momentum=0.5"
    one = fit(*decay, "gradient=manual_sum", "lr=0.005", "updater.weight_decay=0.1")
    other = fit(*decay, "gradient=manual", "lr=0.02", "updater.weight_decay=0.025")
    expected = other.trajectory.parameters["w"]
    np.testing.assert_allclose(one.trajectory.parameters["w"], expected, rtol=1e-12)


def notes(ended: Ended) -> list[str]:
    return [line for line in ended.err.splitlines() if line.startswith("note")]


@pytest.mark.parametrize("count", [4, 40])
def test_a_sweep_prints_a_note_of_each_kind_once(workdir: Path, count: int) -> None:
    grid = ("sweep=linear", "sweep.key=lr", "sweep.low=0.001", "sweep.high=0.3")
    ended = gd("-m", "tracking=off", "gradient=manual", *grid, f"sweep.num={count}")
    first, second = notes(ended)
    assert first.startswith("note (#0): not converged: the gradient is 0.75 of its size")
    assert "the largest that works for this problem: the loss will exceed 10 times its" in second
    assert second.endswith(" Type lr=0.066.")


def test_each_run_of_a_sweep_says_whether_it_has_converged(workdir: Path) -> None:
    lines = gd("-m", "tracking=off", "gradient=manual", "lr=0.001,0.002,0.06,0.2").err.splitlines()
    ends = [line.partition(": ")[2].partition(", loss ")[0] for line in lines if line[0] == "#"]
    assert ends == ["completed, not converged"] * 2 + ["completed", "diverged"]


def test_the_record_has_the_note_and_the_checks(store: Path) -> None:
    from helpers import client

    result = run("gradient=manual", "lr=0.002")
    data = client(store).get_run(str(result.run_id)).data
    assert data.metrics["check/digits"] == result.checks["digits"] == 0
    assert data.metrics["check/condition"] == 1
    assert data.tags["mlflow.note.content"].endswith(f". {result.note}")
