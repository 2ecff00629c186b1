"""A linear fit of any data, along any step, is scikit-learn's, in the data's own units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import Ended
from sklearn.linear_model import LinearRegression

from gdexp import data, run
from gdexp.experiment import Result
from gdexp.tracking.metric_names import metric_name

STEPS = {
    "manual": ("step=manual", "gradient=manual"),
    "autograd": ("step=autograd",),
    "optimizer": ("step=optimizer",),
    "model": ("step=model",),
}
FIRST_AND_LAST = ("manual", "model")  # where test_all_steps_take_the_same_way implies the others
ALIKE = ("tracking=off", "dtype=float64", "predictor.bias=true")
NEWTON = (
    *("updater=LBFGS", "updater.line_search_fn=strong_wolfe", "lr=1", "iters=10"),
    *("updater.tolerance_grad=1e-12", "updater.tolerance_change=1e-15"),
)
HEAVY_BALL = ("updater=manual_momentum", "updater.momentum=0.85", "lr=0.4", "iters=400")
MADE = ("data=synthetic", "data.rows=200", "data.features=3", "data.condition=3", "data.bias=-4")


def fit(*overrides: str) -> Result:
    result = run(*ALIKE, *overrides)
    assert result.outcome == "completed", result.reason
    return result


def regression(table: data.Dataset) -> dict[str, float]:
    x = table.x.reshape(len(table.y), table.width)
    found = LinearRegression().fit(x, table.y)
    return dict(zip(table.features, found.coef_, strict=True)) | {"intercept": found.intercept_}


@pytest.fixture
def table(workdir: Path) -> pd.DataFrame:
    """Two columns in units far apart, a third that is far from zero; in both formats."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"mass (kg)": rng.normal(70, 9, 150), "b": rng.normal(0, 1e-3, 150)})
    frame["year"] = rng.integers(1950, 2020, 150)
    frame["y"] = frame @ [2.0, 500.0, -0.1] + 7 + rng.normal(0, 0.5, 150)
    frame.to_csv("table.csv", index=False)
    frame.to_parquet("table.parquet")
    return frame


@pytest.mark.parametrize("step", STEPS)
def test_the_coefficients_of_diabetes_are_scikit_learns(step: str) -> None:
    newton = HEAVY_BALL if step == "manual" else NEWTON
    chosen = ("data=diabetes", "data.standardize=true", "data.compress=true")
    result = fit(*STEPS[step], *newton, *chosen)
    assert result.coefficients == pytest.approx(regression(data.diabetes()), rel=1e-6)


@pytest.mark.parametrize("step", FIRST_AND_LAST)
@pytest.mark.parametrize("standardize", ["true", "false"])
@pytest.mark.parametrize("compress", ["true", "false"])
def test_the_coefficients_of_made_data_are_scikit_learns(
    step: str, standardize: str, compress: str
) -> None:
    how = (f"data.standardize={standardize}", f"data.compress={compress}", "lr=0.3", "iters=600")
    made = data.synthetic(rows=200, features=3, condition=3, bias=-4)
    result = fit(*STEPS[step], *MADE, *how)
    assert result.coefficients == pytest.approx(regression(made), rel=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("step", FIRST_AND_LAST)
def test_the_coefficients_of_a_file_are_scikit_learns(
    step: str, kind: str, table: pd.DataFrame
) -> None:
    how = ("data.standardize=true", "lr=0.4", "iters=200")
    result = fit(*STEPS[step], f"data={kind}", f"data.path=table.{kind}", "data.target=y", *how)
    assert list(result.coefficients) == ["mass (kg)", "b", "year", "intercept"]
    expected = LinearRegression().fit(table.drop(columns="y").to_numpy(), table["y"])
    found = [*result.coefficients.values()]
    np.testing.assert_allclose(found, [*expected.coef_, expected.intercept_], rtol=1e-6)
    assert list(result.trajectory.parameters) == ["w/mass (kg)", "w/b", "w/year", "b"]


def test_without_a_bias_there_is_no_intercept_unless_features_are_centred() -> None:
    raw = fit(*STEPS["model"], *MADE, "predictor.bias=false", "lr=0.3", "iters=600")
    made = data.synthetic(rows=200, features=3, condition=3, bias=-4)
    expected = LinearRegression(fit_intercept=False).fit(made.x, made.y).coef_
    np.testing.assert_allclose([*raw.coefficients.values()], expected, rtol=1e-6)
    centred = fit(*STEPS["model"], *MADE, "predictor.bias=false", "data.standardize=true")
    assert "intercept" in centred.coefficients


@pytest.mark.parametrize("compress", ["true", "false"])
@pytest.mark.parametrize("chosen", ["data=diabetes data.standardize=true", " ".join(MADE)])
def test_all_steps_take_the_same_way(chosen: str, compress: str) -> None:
    how = (*chosen.split(), f"data.compress={compress}", "lr=0.1", "iters=20")
    first, *others = (fit(*step, *how).trajectory.columns() for step in STEPS.values())
    for other in others:
        assert list(other) == list(first)
        for name, values in first.items():
            scale = np.abs(values).max()
            np.testing.assert_allclose(other[name], values, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("step", FIRST_AND_LAST)
@pytest.mark.parametrize("standardize", ["true", "false"])
@pytest.mark.parametrize("bias", ["true", "false"])
def test_compressed_rows_take_the_way_of_all_rows(step: str, standardize: str, bias: str) -> None:
    how = (f"data.standardize={standardize}", f"predictor.bias={bias}", "lr=0.2", "iters=20")
    full, short = (
        fit(*STEPS[step], *MADE, *how, f"data.compress={compress}")
        for compress in ("false", "true")
    )
    for name, values in full.trajectory.columns().items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(short.trajectory.columns()[name], values, atol=1e-9 * scale)
    assert short.coefficients == pytest.approx(full.coefficients, rel=1e-9)
    assert short.prediction == pytest.approx(full.prediction, rel=1e-9)
    assert (short.scores, set(full.scores)) == ({}, {"final/mae", "final/r2"})


def test_a_feature_keeps_its_coefficient_whatever_it_is_called(workdir: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(50, 4)), columns=["a%", "a?", "intercept", "."])
    frame["y"] = frame @ [1.0, 2.0, 3.0, 4.0] + 5
    frame.to_csv("odd.csv", index=False)
    how = ("data=csv", "data.path=odd.csv", "data.target=y", "lr=0.3", "iters=500")
    found = fit(*STEPS["model"], *how).coefficients
    names = ["a%", "a?", "intercept", ".", "intercept (b)"]
    assert found == pytest.approx(dict(zip(names, [1, 2, 3, 4, 5], strict=True)), rel=1e-6)


def test_a_recorded_fit_has_its_curves_coefficients_and_scores(
    store: Path, table: pd.DataFrame
) -> None:
    from mlflow import MlflowClient

    chosen = ("data=csv", "data.path=table.csv", "data.target=y", "data.standardize=true")
    result = run("step=model", *chosen, "data.validation=0.2", "predictor.bias=true")
    assert result.run_id is not None
    client = MlflowClient(f"sqlite:///{store}/outputs/mlflow.db")
    metrics = client.get_run(result.run_id).data.metrics
    mass = metric_name("mass (kg)")
    assert mass.startswith("mass _kg_:")
    curves = {"train/loss", "validation/loss", f"param/w/{mass}", "grad/w/year", "param/b"}
    coefficients = {f"coef/{mass}", "coef/b", "coef/year", "coef/intercept"}
    scores = {f"{part}/{name}" for part in ("final", "validation") for name in ("mae", "r2")}
    assert curves | coefficients | scores < set(metrics)
    assert metrics["coef/year"] == pytest.approx(result.coefficients["year"], rel=1e-12)
    assert len(client.get_metric_history(result.run_id, "validation/loss")) == 20


def test_stderr_lists_what_the_transcript_does_not(
    workdir: Path, cli: Callable[..., Ended]
) -> None:
    many = ("tracking=off", "data=synthetic", "data.features=40", "data.rows=90", "step=model")
    ended, *lines = cli(*many, "lr=0.4", "iters=100").err.splitlines()
    assert ended.startswith("completed: 100 epochs; final loss 0.")
    assert lines[0] == "coefficients, in the data's own units:"
    assert lines[1].split()[0] == "x1"
    assert lines[31] == "  and 10 more"
    assert lines[32].startswith("final/mae ")
    few = ("tracking=off", "data=synthetic", "step=model", "data.metrics=false")
    few += ("lr=0.4", "iters=60")  # so that it converges
    assert len(cli(*few, "data.features=2").err.splitlines()) == 1
    assert len(cli(*few, "data.features=5").err.splitlines()) == 1 + 6
    assert len(cli(*few, "data.features=2", "data.standardize=true").err.splitlines()) == 1 + 4
    saved = cli(*few, "data.features=2", "checkpoint.every=10").err
    (folder,) = Path("outputs/checkpoints").iterdir()
    expected = f"continue from its newest checkpoint with: continue_from={folder.absolute()}\n"
    assert saved.partition("\n")[2] == expected


@pytest.mark.parametrize(("standardize", "said"), [(False, 1), (True, 0)])
def test_a_fit_that_diverged_is_told_of_standardizing(
    workdir: Path, cli: Callable[..., Ended], standardize: bool, said: int
) -> None:
    words = ("data=diabetes", "gradient=manual", "lr=10", "tracking=off")
    ended = cli(*words, f"data.standardize={str(standardize).lower()}")
    assert ended.code == 0
    assert "diverged: " in ended.err
    assert ended.err.count("note: data.standardize=true gives all features the same scale") == said
