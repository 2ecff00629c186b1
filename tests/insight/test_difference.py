"""The first difference of two trajectories, and ulps against NumPy's own neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gdexp.descent.trajectory import Trajectory
from gdexp.insight.comparison.difference import Pair, difference, farthest, is_rounding

INF, NAN = math.inf, math.nan
WIDTHS: dict[str, Any] = {"float32": 32, "float64": 64}


def trajectory(**curves: list[float]) -> Trajectory:
    """A run of one parameter; what is not given is 1 in every epoch."""
    epochs = len(next(iter(curves.values())))
    rows = {name: curves.pop(name, [1.0] * epochs) for name in ("loss", "w", "grad")} | curves
    return Trajectory.of(np.array([*rows.values()]), ("w",), epochs, False, [*rows][3:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data(), steps=st.integers(-40, 40))
def test_neighbours_are_one_ulp_apart(dtype: str, data: st.DataObject, steps: int) -> None:
    start = data.draw(st.floats(width=WIDTHS[dtype], allow_nan=False))
    kind: Any = np.dtype(dtype).type
    value, taken = kind(start), 0
    for _ in range(abs(steps)):
        with np.errstate(over="ignore", under="ignore"):
            after = np.nextafter(value, kind(math.copysign(INF, steps)))
        taken += after != value  # infinity has no neighbour beyond
        value = after
    pair = Pair(1, "param/w", start, float(value), dtype)
    assert pair.ulp == taken
    assert Pair(1, "param/w", float(value), start, dtype).ulp == taken


@given(
    st.floats(1, 2, exclude_max=True), st.floats(1, 2, exclude_max=True), st.integers(-1000, 1000)
)
def test_within_a_power_of_two_ulps_are_spacings(a: float, b: float, exponent: int) -> None:
    a, b = math.ldexp(a, exponent), math.ldexp(b, exponent)
    assert Pair(1, "param/w", a, b, "float64").ulp == abs(a - b) / np.spacing(min(a, b))


@pytest.mark.parametrize(
    ("a", "b", "ulp"),
    [
        (0.0, -0.0, 0),
        (-5e-324, 5e-324, 2),
        (math.nextafter(INF, 0), INF, 1),
        (-INF, INF, 2 * 0x7FF0000000000000),
        (1.0, NAN, None),
        (NAN, NAN, None),
        (None, 1.0, None),
    ],
)
def test_special_values(a: float | None, b: float, ulp: int | None) -> None:
    assert Pair(1, "train/loss", a, b, "float64").ulp == ulp
    assert Pair(1, "train/loss", b, a, "float64").ulp == ulp


@given(st.lists(st.lists(st.floats(), min_size=3, max_size=3), max_size=5))
def test_a_trajectory_equals_itself(rows: list[list[float]]) -> None:
    table = np.array(rows).reshape(-1, 3).T
    one, other = (Trajectory.of(table.copy(), ("w",), len(rows), False) for _ in range(2))
    assert difference(one, other) is None


values = st.floats(-2, 2) | st.sampled_from([0.0, -0.0, NAN, INF, 1.0])
tables = st.integers(0, 4).flatmap(
    lambda n: st.lists(st.lists(values, min_size=n, max_size=n), min_size=3, max_size=3)
)


@given(tables, tables)
@example([[1.0], [0.0], [2.0]], [[1.0], [-0.0], [2.0]])
def test_it_agrees_with_a_loop_and_is_symmetric(a: list[list[float]], b: list[list[float]]) -> None:
    one, other = (
        Trajectory.of(np.array(t).reshape(3, -1), ("w",), len(t[0]), False) for t in (a, b)
    )
    there, back = difference(one, other), difference(other, one)
    expected = next(
        (
            (epoch + 1, name)
            for epoch in range(min(len(a[0]), len(b[0])))
            for name, row in (("train/loss", 0), ("grad/w", 2), ("param/w", 1))
            if repr(a[row][epoch]) != repr(b[row][epoch])  # tells 0.0 from -0.0
        ),
        None,
    )
    if expected is None and len(a[0]) != len(b[0]):
        expected = min(len(a[0]), len(b[0])) + 1, "train/loss"
    if there is None or back is None:
        assert there is back is expected
        return
    assert (there.first.epoch, there.first.quantity) == expected
    swapped = Pair(*expected, there.first.b, there.first.a, there.first.dtype)
    assert repr(back.first) == repr(swapped)  # NaN is not equal to itself
    assert [p.quantity for p in there.ends] == [p.quantity for p in back.ends]


def test_what_is_computed_first_in_an_epoch_is_named() -> None:
    one = trajectory(loss=[3.0, 2.0], w=[1.0, 1.0], grad=[1.0, 1.0])
    other = trajectory(loss=[3.0, 2.0], w=[5.0, 1.0], grad=[4.0, 7.0])
    differs = difference(one, other)
    assert differs is not None
    assert differs.first == Pair(1, "grad/w", 1.0, 4.0, "float64")
    assert differs.ends == (Pair(2, "grad/w", 1.0, 7.0, "float64"),)
    assert differs.last_epoch == 2


def test_a_later_quantity_may_differ_in_an_earlier_epoch() -> None:
    one, other = trajectory(loss=[3.0, 2.0, 1.0]), trajectory(loss=[3.0, 2.0, 0.5], w=[1, 2, 1])
    differs = difference(one, other)
    assert differs is not None
    assert (differs.first.epoch, differs.first.quantity) == (2, "param/w")


def test_the_longer_one_differs_in_the_next_epoch() -> None:
    differs = difference(trajectory(loss=[3.0, 2.0, 1.0]), trajectory(loss=[3.0, 2.0]))
    assert differs is not None
    assert differs.first == Pair(3, "train/loss", 1.0, None, "float64")
    assert (differs.last_epoch, differs.ends) == (2, ())
    assert differs.first.words("recorded", "now") == "train/loss: recorded 1.0, now none"


def test_a_curve_that_only_one_has_counts_last() -> None:
    one = trajectory(loss=[3.0, 2.0], **{"validation/loss": [7.0, 6.0]})
    differs = difference(one, trajectory(loss=[3.0, 2.0]))
    assert differs is not None
    assert differs.first == Pair(1, "validation/loss", 7.0, None, "float64")
    differs = difference(one, trajectory(loss=[3.0, 2.5]))
    assert differs is not None
    assert differs.first == Pair(2, "train/loss", 2.0, 2.5, "float64")


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (1.0, float(np.nextafter(np.float32(1), np.float32(2))), "a 1.0, b 1.0000001 (1 ulp of "
         "float32)"),
        (1.0, 1.0 + 2**-52, "a 1.0, b 1.0000000000000002 (1 ulp of float64)"),
        (1.0, 1e300, "a 1.0, b 1e+300 (4487806502328890780 ulp of float64)"),
        (0.0, -0.0, "a 0.0, b -0.0 (only the sign)"),
        (1.0, NAN, "a 1.0, b nan"),
    ],
)  # fmt: skip
def test_ulps_are_those_of_the_precision_that_holds_both(a: float, b: float, words: str) -> None:
    differs = difference(trajectory(w=[a]), trajectory(w=[b]), "float32")
    assert differs is not None
    assert differs.first.words("a", "b") == f"param/w: {words}"


@given(
    st.lists(st.tuples(*[st.floats(0.5, 1, width=32)] * 4), min_size=1, max_size=5),
    st.sampled_from(["float32", "float64"]),
)
def test_the_farthest_values_are_those_with_most_steps_between(
    rows: list[tuple[float, ...]], dtype: str
) -> None:
    loss, w, other_loss, other_w = map(list, zip(*rows, strict=True))
    a, b = trajectory(loss=loss, w=w), trajectory(loss=other_loss, w=other_w)
    pair = farthest(a, b, dtype)
    assert pair is not None
    pairs = zip(loss + w, other_loss + other_w, strict=True)
    steps = [Pair(1, "", x, y, dtype).ulp for x, y in pairs]
    assert pair.ulp == max(step for step in steps if step is not None)


def test_values_that_have_vanished_and_gradients_do_not_count() -> None:
    a = trajectory(loss=[1.0, 1e-4], w=[2.0, 2.0], grad=[1.0, 1e-9])
    b = trajectory(loss=[1.0, 2e-4], w=[2.0, 2.5], grad=[1.0, 5e-9])
    pair = farthest(a, b, "float32")
    assert pair is not None
    assert (pair.epoch, pair.quantity) == (2, "param/w")
    empty = trajectory(loss=[])
    assert farthest(empty, empty, "float32") is None


@pytest.mark.parametrize(
    ("a", "b", "rounding"),
    [
        ([1.0, 3.0], [1.0, 3.0000002384185791], True),
        ([1.0, 3.0], [1.0, 3.001], False),
        ([1000.0, 0.001], [1000.0, 0.0010001], True),  # a sum of terms as large as the first
        ([0.001, 1000.0], [0.0011, 1000.0], False),
    ],
)
def test_what_rounding_can_do(a: list[float], b: list[float], rounding: bool) -> None:
    one, other = trajectory(loss=a), trajectory(loss=b)
    first = difference(one, other, "float32")
    assert first is not None
    assert is_rounding(one, other, first.first, "float32") is rounding


def test_a_pair_that_only_double_precision_tells_apart() -> None:
    pair = Pair(1, "param/w", 0.3, 0.30000000000000004, "float32")
    assert pair.distance == "less than 1 ulp of float32"
    assert pair.shown == "0.3 and 0.30000000000000004"
    assert Pair(1, "param/w", 0.0, -0.0, "float32").distance == "only the sign"
    assert Pair(1, "param/w", None, 1.0, "float32").distance == ""
