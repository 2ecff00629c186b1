"""The rules checked for all epochs at once, against a check after each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.descent.stopping import Rules, gradient_norm
from gdexp.descent.trajectory import Trajectory

NUMBERS = st.one_of(
    st.integers(0, 6).map(float),
    st.sampled_from([1e-200, 1e-9, 1 / 3, 1e200, float("inf"), float("nan")]),
)
EPOCHS, NAMES = 30, ("w/0", "w/1", "b")


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    table = np.ones((1 + 2 * len(NAMES) + 1, EPOCHS))
    table[[0, -1]] = [draw(st.lists(NUMBERS, min_size=EPOCHS, max_size=EPOCHS)) for _ in range(2)]
    slopes = [draw(st.lists(NUMBERS, min_size=EPOCHS, max_size=EPOCHS)) for _ in NAMES]
    table[1 + len(NAMES) : -1] = slopes
    return Trajectory.of(table, NAMES, draw(st.integers(0, EPOCHS)), False, ["validation/loss"])


@st.composite
def rules(draw: st.DrawFn, trajectory: Trajectory) -> Rules:
    norms = [gradient_norm(trajectory, row) for row in range(trajectory.length)]
    met = st.sampled_from([*norms, *trajectory.loss.tolist(), 1.0])
    tolerance = met.filter(lambda value: 0 < value < np.inf)
    return Rules(
        {
            "tolerance": draw(st.none() | tolerance),
            "watch": draw(st.sampled_from(["loss", "gradient"])),
            "patience": draw(st.none() | st.integers(1, 9)),
            "divergence": draw(st.none() | st.sampled_from([1.5, 3.0, 1e9])),
            "restore_best": False,
            "every": draw(st.integers(1, 8)),
        }
    )


@settings(max_examples=40)
@given(st.data())
def test_the_first_end_is_that_of_a_check_after_each_epoch(data: st.DataObject) -> None:
    trajectory = data.draw(trajectories())
    stop, after = data.draw(rules(trajectory)), data.draw(st.integers(0, EPOCHS))
    length, expected = trajectory.length, None
    for epoch in range(after + 1, length + 1):
        trajectory.length = epoch
        if stop.every is not None and epoch % stop.every == 0 and stop.ended(trajectory):
            expected = epoch
            break
    trajectory.length = length
    assert stop.first_end(trajectory, after) == expected
    assert trajectory.length == length


@settings(max_examples=10)
@given(trajectories())
def test_the_norm_of_a_gradient_is_that_of_its_numbers(trajectory: Trajectory) -> None:
    for row in range(-trajectory.length, trajectory.length):
        one_by_one = [values[row] for values in trajectory.gradients.values()]
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(
                gradient_norm(trajectory, row), np.linalg.norm(one_by_one)
            )
