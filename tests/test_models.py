"""Fitted predictors: as MLflow models, served over HTTP, and asked for a file's rows."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import Ended, clean_environment, process
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from gdexp import predict, run
from gdexp.building import build, rebuild
from gdexp.experiment import Result
from gdexp.fitted import Fitted

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own
    import mlflow.pyfunc

ROWS = [[1, 20, -3], [2, 10, -1], [4, 40, -2], [3, 50, -5], [6, 30, -4], [5, 70, -7.5]]
NUMBERS = [3.5, 2.0, 7.25, 8.0, 6.5, 12.0]
TWO = [0, 0, 1, 0, 1, 1]
THREE = [0, 0, 1, 1, 2, 2]

FITS = {
    "line": ["step=manual", "iters=7"],
    "line-with-bias": ["step=manual", "iters=7", "predictor.bias=true", "dtype=float64"],
    "drawn": ["step=manual", "iters=7", "predictor.init=torch"],
    "autograd": ["step=autograd", "iters=7"],
    "standardized-line": ["step=manual", "iters=7", "data.standardize=true"],
    "three": ["step=manual", "iters=30", "data=csv", "data.standardize=true"],
    "compressed": [
        "step=manual",
        "iters=9",
        "data=csv",
        "data.standardize=true",
        "data.compress=true",
    ],
    "model": ["step=model", "iters=9", "data=csv", "data.standardize=true", "predictor.bias=true"],
    "mlp": ["step=model", "predictor=mlp", "iters=9", "data=csv", "data.standardize=true"],
    "two": ["step=model", "loss=BCEWithLogitsLoss", "iters=9", "data=csv", "data.target=two"],
    "by-hand": ["step=manual", "loss=manual_logistic", "gradient=manual_logistic", "data=csv"],
    "classes": ["step=model", "loss=CrossEntropyLoss", "iters=9", "data=csv", "data.target=three"],
}


def typed(name: str) -> list[str]:
    words = FITS[name]
    if "data=csv" in words:
        target = {"two": "two", "by-hand": "two", "classes": "three"}.get(name, "y")
        words = [word for word in words if not word.startswith("data.target")]
        words = [*words, f"data.target={target}", "data.path=table.csv", "data.features=[a,b,c]"]
        words += [] if "data.standardize=true" in words else ["lr=0.0001"]
    return words


@pytest.fixture
def table(store: Path) -> pd.DataFrame:
    """The folder's table.csv: three inputs, and a target of each kind."""
    columns = pd.DataFrame(np.array(ROWS, float), columns=["a", "b", "c"])
    frame = columns.assign(y=NUMBERS, two=TWO, three=THREE)
    frame.to_csv("table.csv", index=False)
    return frame


def inputs(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if "data=csv" in FITS[name]:
        return table[["a", "b", "c"]]
    return pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})


def expected(name: str, result: Result, x: pd.DataFrame) -> np.ndarray:
    """What f says, from the recorded parameters and the formulas alone; not for the MLP."""
    values = x.to_numpy()
    if "data.standardize=true" in FITS[name]:
        values = (values - values.mean(axis=0)) / values.std(axis=0)
    numbers = list(result.parameters.values())
    outputs = 3 if name == "classes" else 1
    d = values.shape[1]
    w = np.reshape(numbers[: d * outputs], (outputs, d))
    b = np.array(numbers[d * outputs :] or [0.0])
    z = values @ w.T + b
    if name == "classes":
        return z.argmax(axis=1)
    return 1 / (1 + np.exp(-z[:, 0])) if name in ("two", "by-hand") else z[:, 0]


def logged(result: Result) -> str:
    opened = MlflowClient("sqlite:///outputs/mlflow.db")
    (output,) = opened.get_run(result.run_id).outputs.model_outputs
    return str(output.model_id)


@pytest.fixture
def here(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own functions look into this folder's store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/outputs/mlflow.db")


def loaded(uri: str) -> mlflow.pyfunc.PyFuncModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        return mlflow.pyfunc.load_model(uri)


@pytest.mark.parametrize("name", FITS)
def test_a_loaded_model_says_what_the_formulas_say(
    name: str, table: pd.DataFrame, here: None
) -> None:
    result = run(*typed(name), "tracking.log_model=true")
    x = inputs(name, table)
    model = loaded(f"runs:/{result.run_id}/model")
    found = model.predict(x)
    if name != "mlp":
        assert found["prediction"].to_numpy() == pytest.approx(expected(name, result, x), rel=1e-5)
    same = loaded(f"models:/{logged(result)}").predict(x)
    pd.testing.assert_frame_equal(found, same)
    assert model.metadata.signature.inputs.input_names() == list(x)
    example = model.input_example
    rows = x.mean().to_frame().T if name == "compressed" else x[:5]
    assert example.to_numpy() == pytest.approx(rows.to_numpy())


@pytest.mark.parametrize("name", FITS)
def test_the_file_of_any_run_gives_the_run_s_own_predictions(
    name: str, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*typed(name))
    x = inputs(name, table)
    x.assign(text="as it is").to_csv("new.csv", index=False)
    assert predict.main([result.run_id or "", "new.csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["text"] for row in rows] == ["as it is"] * len(x)
    assert [[float(row[c]) for c in x] for row in rows] == x.to_numpy().tolist()
    said = [float(row["prediction"]) for row in rows]
    if name == "mlp":
        assert np.mean(np.abs(np.subtract(said, NUMBERS))) == pytest.approx(
            result.scores["final/mae"], rel=1e-5
        )
    else:
        assert said == pytest.approx(expected(name, result, x), rel=1e-5)
