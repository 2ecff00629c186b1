"""Python values as overrides: Hydra reads back what was given, whatever its characters."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.core.override_parser.types import Override
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdexp.config.keywords import overrides
from gdexp.config.overrides import parse
from gdexp.errors import ConfigError

STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(text: str) -> Any:
    return parse(text).value()


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


@RELAXED
@given(VALUES)
def test_hydra_reads_the_value_back(value: Any) -> None:
    (text,) = overrides([], {"data": {"target": value}})
    assert same(read(text), value)


@RELAXED
@given(st.lists(VALUES, min_size=2, max_size=3))
def test_hydra_reads_the_values_of_an_axis_back(values: list[Any]) -> None:
    (text,) = overrides([], {"data": {"target": values}}, axes=True)
    read_back = [Override._convert_value(one) for one in parse(text).sweep_iterator()]
    assert len(read_back) == len(values)
    assert all(map(same, read_back, values))


class Step(StrEnum):
    MODEL = "model"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "lr=0.1"),
        (True, "lr=true"),
        (None, "lr=null"),
        ("1.50", "lr='1.50'"),
        ("null", "lr='null'"),
        (Step.MODEL, "lr=model"),
        (np.float64(0.5), "lr=0.5"),
        (np.int64(3), "lr=3"),
        (np.bool_(True), "lr=true"),
        (np.arange(2), "lr=[0,1]"),
        (torch.tensor(0.5), "lr=0.5"),
        (pd.Series(["a", "b c"]), "lr=[a,b c]"),
        (range(2), "lr=[0,1]"),
        ((1, [2]), "lr=[1,[2]]"),
        (Path("a") / "b c.csv", "lr=a/b c.csv"),
    ],
)
def test_a_value_is_typed_as_one_would(value: Any, text: str) -> None:
    assert overrides([], {"lr": value}) == [text]


def test_the_settings_of_a_sweep_are_no_axes() -> None:
    settings = {"sweep": {"lists": {"lr": [0.1, 0.2], "step": ["model", "manual"]}}}
    assert overrides(["sweep=zip"], settings, axes=True) == [
        "sweep=zip",
        "sweep.lists={lr:[0.1,0.2],step:[model,manual]}",
    ]


def test_a_data_frame_is_told_where_it_goes() -> None:
    with pytest.raises(
        ConfigError, match=r"^data: a data frame is not a setting\. Save it, and ty"
    ):
        overrides([], {"data": pd.DataFrame({"x": [1.0, 2], "y": [2.0, 4]})})
