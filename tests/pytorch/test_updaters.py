"""Updaters by hand against torch's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_helpers import BY_HAND, option, torchs

from gdexp import manual, pytorch
from gdexp.types import Parameters

gradients = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300)
updaters = st.one_of(
    st.builds(manual.Updater, lr=st.floats(1e-6, 1)),
    st.builds(manual.Momentum, lr=st.floats(1e-6, 1), momentum=st.floats(0, 0.99)),
    st.builds(manual.Nesterov, lr=st.floats(1e-6, 1), momentum=st.floats(0.01, 0.99)),
    st.builds(
        manual.Adam,
        lr=st.floats(1e-6, 1),
        beta1=st.floats(0, 0.99),
        beta2=st.floats(0.5, 0.9999),
        eps=st.floats(1e-12, 1e-2),
    ),
)


@settings(max_examples=30, deadline=None)
@given(updater=updaters, slopes=gradients, start=st.floats(-10, 10))
def test_an_updater_by_hand_is_torchs_in_every_step(
    updater: manual.Updater, slopes: list[float], start: float
) -> None:
    expected = torch.tensor(start, dtype=torch.float64)
    optimizer, parameters = torchs(updater, expected), {"w": start}
    for slope in slopes:
        expected.grad = torch.tensor(slope, dtype=torch.float64)
        optimizer.step()
        updater(parameters, {"w": slope})
        assert isinstance(parameters["w"], float)
        assert parameters["w"] == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["manual", *BY_HAND])
def test_by_hand_stays_torchs_over_hundreds_of_steps_towards_a_minimum(name: str) -> None:
    updater = option("updater", name)
    expected = torch.tensor([5.0, -3.0], dtype=torch.float64)
    optimizer, parameters = torchs(updater, expected), {"w": np.array([5.0, -3.0])}
    curvature = np.array([1.0, 20.0])
    for _ in range(500):
        expected.grad = torch.tensor(curvature) * expected
        optimizer.step()
        updater(parameters, {"w": curvature * parameters["w"]})
        np.testing.assert_allclose(parameters["w"], expected.numpy(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["manual", *BY_HAND])
@pytest.mark.parametrize("kind", [float, np.array, torch.tensor])
def test_by_hand_moves_arrays_in_place_and_keeps_no_hold_of_gradients(name: str, kind: Any) -> None:
    updater, fresh = option("updater", name), option("updater", name)
    start = 1.0 if kind is float else [1.0, 2.0]
    parameters, expected = {"w": kind(start)}, {"w": kind(start)}
    held, buffer = parameters["w"], kind(start)
    for factor in (0.5, -2.0, 3.0):
        if kind is float:
            buffer = factor
        else:
            buffer[:] = factor  # the loop's own memory, used again
        updater(parameters, {"w": buffer})
        fresh(expected, {"w": copy.deepcopy(buffer)})
    assert np.array_equal(parameters["w"], expected["w"])
    assert kind is float or parameters["w"] is held


@pytest.mark.parametrize("name", ["manual", *BY_HAND])
def test_a_diverging_update_by_hand_ends_in_inf_or_nan_not_in_an_exception(name: str) -> None:
    updater, parameters = option("updater", name), {"w": 1.0}
    for gradient in (1e200, 1e308, float("inf"), float("nan")):
        updater(parameters, {"w": gradient})
    assert not np.isfinite(parameters["w"])


def test_adam_refuses_a_mean_that_nothing_enters() -> None:
    with pytest.raises(ValueError, match=r"beta1 = 0\.9 and beta2 = 1\.0 must both be below 1\."):
        manual.Adam(0.1, beta2=1.0)


@pytest.mark.parametrize("kind", ["numpy", "tensors"])
@pytest.mark.parametrize("name", ["manual", *BY_HAND])
def test_an_updater_by_hand_goes_on_from_its_state_bit_for_bit(name: str, kind: str) -> None:
    def fresh() -> tuple[Any, Parameters]:
        updater = option("updater", name)
        if kind == "numpy":
            return updater, {"w": np.array([5.0, -3.0]), "b": 1.0}
        parameters = {"w": torch.tensor([5.0, -3.0]), "b": torch.tensor(1.0)}
        return pytorch.Untracked(updater, parameters), parameters

    def steps(updater: Any, parameters: Parameters, number: int) -> None:
        for _ in range(number):
            updater(parameters, {key: 3 * value for key, value in parameters.items()})

    whole, expected = fresh()
    steps(whole, expected, 20)
    first, parameters = fresh()
    steps(first, parameters, 8)
    state, saved = first.state(), copy.deepcopy(parameters)
    steps(first, parameters, 3)
    for _ in range(2):
        second, parameters = fresh()
        for key, value in saved.items():
            if isinstance(value, float):
                parameters[key] = value
            else:
                parameters[key][...] = value
        second.load(state)
        steps(second, parameters, 12)
        assert all(np.array_equal(parameters[key], expected[key]) for key in expected)
