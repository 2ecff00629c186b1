"""A logged model takes text as text, and names its classes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import client

from gdexp import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own
    import mlflow.pyfunc


@pytest.mark.parametrize("target", ["kind", "y", "y compressed"])
def test_a_logged_model_takes_the_tables_own_columns(
    target: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=30), "city": rng.choice(["Oslo", "Rome"], 30)})
    frame["y"] = 1000 * frame["x"] + 500 * (frame["city"] == "Rome")
    frame["kind"] = np.where(frame["x"] > 0, "large", "small")
    frame.to_csv("t.csv", index=False)
    name, _, compress = target.partition(" ")
    typed = [f"data.target={name}", "data.features=[x,city]", "tracking.log_model=true"]
    if name == "kind":
        typed += ["step=model", "loss=BCEWithLogitsLoss", "lr=1"]
    else:
        typed += ["gradient=manual", "data.standardize_target=true", "lr=0.1", "iters=300"]
    typed += ["data.compress=true"] if compress else []
    result = run("data=csv", "data.path=t.csv", "predictor.bias=true", "dtype=float64", *typed)
    uri = f"sqlite:///{store}/outputs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    try:
        (output,) = client(store).get_run(result.run_id).outputs.model_outputs
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    finally:
        mlflow.set_tracking_uri(None)
    schema = model.metadata.signature
    assert schema.inputs.to_dict() == [
        {"type": "double", "name": "x", "required": True},
        {"type": "string", "name": "city", "required": True},
    ]
    table = frame[["city", "x"]]
    answer = model.predict(table)
    if name == "kind":
        assert list(answer) == ["prediction", "probability_small"]
        assert [kind["type"] for kind in schema.outputs.to_dict()] == ["string", "double"]
        expected = np.where(answer["probability_small"] > 0.5, "small", "large")
        assert answer["prediction"].tolist() == expected.tolist()
        assert np.mean(answer["prediction"] == frame["kind"]) > 0.9
    else:
        np.testing.assert_allclose(answer["prediction"], frame["y"], atol=1)
    with pytest.raises(ValueError, match="'Paris' is not one of its categories"):
        model.predict(pd.DataFrame({"x": [1.0], "city": ["Paris"]}))
