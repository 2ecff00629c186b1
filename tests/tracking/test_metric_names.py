"""The names of features in metrics: as MLflow allows them, readable and never the same for two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import CLI, client, last, runs
from hypothesis import given
from hypothesis import strategies as st

from gdexp.tracking.metric_names import LONGEST, curve_name, metric_name

NAMES = st.text(st.sampled_from("ab19 =:_-.[](/)²ä\n") | st.characters(), min_size=1, max_size=12)


@given(NAMES)
def test_mlflow_accepts_every_name(feature: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(f"coef/{metric_name(feature)}")
    assert len(metric_name(feature * 40)) <= LONGEST


@given(st.lists(NAMES, min_size=2, max_size=8, unique=True))
def test_different_features_have_different_names(features: list[str]) -> None:
    features += [metric_name(feature) for feature in features]
    assert len({*map(metric_name, features)}) == len({*features})


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        ("body mass", "body mass"),
        ("größe.2", "größe.2"),
        ("m:s", "m:s"),
        ("city=New York", "city: New York"),
        ("intercept", "intercept"),
        ("Wohnfläche [m²]", "Wohnfläche _m²_:7b96627c"),
        ("a/b", "a_b:c14cddc0"),
        (".", "_:cdb4ee2a"),
    ],
)
def test_a_name_is_the_features_wherever_it_can_be(feature: str, name: str) -> None:
    assert metric_name(feature) == name


def test_only_the_last_part_of_a_curve_is_a_feature() -> None:
    assert curve_name("grad/w/a/b") == "grad/w/a_b:c14cddc0"
    for name in ("train/loss", "validation/loss", "param/w", "param/w.norm", "grad/0.bias/7"):
        assert curve_name(name) == name


def test_a_name_is_printed_as_in_the_file_and_recorded_as_mlflow_allows(
    store: Path, cli: CLI
) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    frame = pd.DataFrame(x, columns=["Wohnfläche [m²]", "a[1]", "a(1)"])
    frame.assign(y=x @ [1, 2, 3]).to_csv("t.csv", index=False)
    typed = ("data=csv", "data.path=t.csv", "data.target=y", "gradient=manual", "iters=200")
    ended = cli(*typed, "data.standardize=true", "lr=0.1")
    assert ended.out.splitlines()[1].startswith("epoch 1: w/Wohnfläche [m²] = ")
    lines = ended.err.partition("coefficients, in the data's own units:\n")[2].splitlines()
    assert [line.rsplit(maxsplit=1)[0].strip() for line in lines[:4]] == [
        *frame.columns, "intercept"
    ]  # fmt: skip
    recorded = last(client(store)).data.metrics
    for value, name in enumerate(("Wohnfläche _m²_:7b96627c", "a_1_:419b31a5", "a_1_:0fd084bc"), 1):
        assert recorded[f"coef/{name}"] == pytest.approx(value, rel=1e-4)
        assert f"param/w/{name}" in recorded
        assert f"grad/w/{name}" in recorded
    assert cli("-m", *typed, "lr=0.1,0.2").code == 0
    swept = [run for run in runs(client(store)) if "gdexp.job" in run.data.tags]
    assert [{*run.data.metrics} for run in swept] == [{*recorded} - {"coef/intercept"}] * 2
