"""A standardized target: losses without units, everything else in the data's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import CLI, newest_checkpoints
from sklearn import metrics
from sklearn.linear_model import LinearRegression

from gdexp import data, run
from gdexp.data.transforms import split
from gdexp.descent.fitted_files import read_fitted

DIABETES = ("data=diabetes", "data.standardize=true", "data.standardize_target=true")
LINEAR = ("predictor.bias=true", "dtype=float64", "lr=0.2", "updater.momentum=0.8", "iters=1500")
BY_HAND = ("step=manual", "gradient=manual", "updater=manual_momentum", *LINEAR)
STEPS = {
    "by hand": BY_HAND,
    "compressed": (*BY_HAND, "data.compress=true"),
    "model": (
        *("step=model", "predictor.bias=true", "dtype=float64", "updater=LBFGS", "lr=1"),
        *("updater.line_search_fn=strong_wolfe", "iters=10"),
    ),
}


def regression() -> tuple[np.ndarray, np.ndarray, LinearRegression]:
    table = data.diabetes()
    return table.x, table.y, LinearRegression().fit(table.x, table.y)


@pytest.mark.parametrize("step", STEPS)
def test_coefficients_scores_and_predictions_have_the_datas_units(step: str) -> None:
    result = run("tracking=off", *DIABETES, *STEPS[step])
    x, y, expected = regression()
    found = [*result.coefficients.values()]
    np.testing.assert_allclose(found, [*expected.coef_, expected.intercept_], rtol=2e-3)
    assert result.prediction == pytest.approx(y.mean(), rel=1e-9)  # f(means) is the targets' mean
    residuals = y - expected.predict(x)
    assert result.trajectory.loss[0] == pytest.approx(1)  # the variance of the scaled target
    assert result.trajectory.loss[-1] == pytest.approx((residuals**2).mean() / y.var(), rel=1e-6)
    if step != "compressed":
        assert result.scores["final/mae"] == pytest.approx(np.abs(residuals).mean(), rel=1e-3)
        assert result.scores["final/r2"] == pytest.approx(expected.score(x, y), rel=1e-6)
    assert result.fitted is not None
    for fitted in (result.fitted, read_fitted(result.fitted.packed())):
        np.testing.assert_allclose(fitted(x[:9]), expected.predict(x[:9]), rtol=1e-3)


@pytest.mark.parametrize("standardize", ["true", "false"])
def test_one_feature_without_a_bias_has_the_targets_mean_as_intercept(standardize: str) -> None:
    typed = ("data.x=[1,2,3,5]", "data.y=[10,30,20,80]", f"data.standardize={standardize}")
    how = ("tracking=off", "gradient=manual", "dtype=float64", "data.standardize_target=true")
    result = run(*typed, *how, "iters=50", "lr=0.02")
    slope, intercept = result.coefficients["x"], result.coefficients["intercept"]
    assert result.prediction == pytest.approx(5 * slope + intercept)
    x, y = np.array([1.0, 2, 3, 5]), np.array([10.0, 30, 20, 80])
    scaled, z = (x - x.mean()) / x.std() if standardize == "true" else x, (y - y.mean()) / y.std()
    w = 0.0
    for _ in range(50):
        w -= 0.02 * float((2 * scaled * (w * scaled - z)).mean())
    assert result.parameters["w"] == pytest.approx(w)
    predicted = w * scaled * y.std() + y.mean()
    np.testing.assert_allclose(slope * x + intercept, predicted)


def test_the_training_rows_decide_and_validation_rows_follow() -> None:
    result = run("tracking=off", *DIABETES, *BY_HAND, "data.validation=0.25", "seed=9")
    table = data.diabetes()
    fitted, kept = split(table, 0.25, seed=9)
    assert kept is not None
    said = kept.x @ [*result.coefficients.values()][:-1] + result.coefficients["intercept"]
    assert result.scores["validation/mae"] == pytest.approx(
        metrics.mean_absolute_error(kept.y, said)
    )
    assert result.scores["validation/r2"] == pytest.approx(metrics.r2_score(kept.y, said))
    squares = metrics.mean_squared_error(kept.y, said) / fitted.y.var()
    assert result.trajectory.measured["validation/loss"][-1] == pytest.approx(squares)


def test_a_network_on_raw_prices_works(workdir: Path) -> None:
    rng = np.random.default_rng(0)
    area = rng.uniform(40, 200, 200)
    frame = pd.DataFrame({"Wohnfläche [m²]": area, "price": 3000 * area + 2 * area**2 + 50_000})
    frame.to_csv("t.csv", index=False)
    csv = ("tracking=off", "data=csv", "data.path=t.csv", "data.target=price")
    how = ("step=model", "predictor=mlp", "updater=Adam", "lr=0.02", "iters=60")
    how = (*how, "data.standardize=true", "data.batch_size=50")
    assert run(*csv, *how, "data.standardize_target=true").scores["final/r2"] > 0.98
    assert run(*csv, *how).scores["final/r2"] < 0


def test_a_run_continues_in_the_same_units(workdir: Path) -> None:
    how = ("tracking=off", *DIABETES, "step=model", "predictor.bias=true")
    full = run(*how, "iters=20")
    run(*how, "iters=12", "checkpoint.every=6")
    rest = run(*how, "iters=20", f"continue_from={newest_checkpoints()}")
    assert rest.prediction == full.prediction
    assert rest.coefficients == full.coefficients
    assert rest.scores == full.scores


def test_a_sweep_and_a_single_run_agree(workdir: Path, cli: CLI) -> None:
    typed = ("tracking=off", "data.standardize_target=true", "gradient=manual", "iters=5")
    lines = [line for line in cli("-m", *typed, "lr=0.01,0.02").err.splitlines() if line[:1] == "#"]
    for lr, line in zip((0.01, 0.02), lines, strict=True):
        result = run(*typed, f"lr={lr}")
        assert line.endswith(f"f(5) = {result.prediction:.6g}"), line


def test_the_transcript_and_the_record_have_the_datas_units(store: Path, cli: CLI) -> None:
    from helpers import client, last

    ended = cli("data.standardize_target=true", "gradient=manual", "predictor.bias=true", "iters=3")
    assert ended.out.splitlines()[0] == " Prediction before training: f(5) = 5.000"
    recorded = last(client(store))
    after = recorded.data.metrics["final/prediction"]
    assert ended.out.splitlines()[-1] == f" Prediction after training: f(5) = {after:.3f}"
    assert f"f(5) = {after:.6g}" in recorded.data.tags["mlflow.note.content"]
    assert cli("predict", recorded.info.run_id, _points(store)).out == f"x,prediction\n5,{after}\n"


def _points(folder: Path) -> str:
    (folder / "new.csv").write_text("x\n5\n")
    return "new.csv"
