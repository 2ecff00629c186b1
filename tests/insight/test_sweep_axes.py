"""The axes of a sweep: which settings differ, which scale they have, where a number lies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_rows import row

from gdexp.errors import GdexpError
from gdexp.insight.pictures.axes import Axis, axis_of, chosen, swept


def keys(*rows: Any) -> list[str]:
    return [axis.key for axis in swept(rows)]


def test_lr_and_iters_come_first_and_the_seed_is_no_axis() -> None:
    rows = [
        row(i, step=s, iters=n, lr=v, seed=i, updater__momentum=m)
        for i, (s, n, v, m) in enumerate(
            [("manual", 5, 0.1, 0), ("model", 9, 0.2, 0.5), ("manual", 9, 0.1, 0.5)]
        )
    ]
    assert keys(*rows) == ["lr", "iters", "updater.momentum", "step"]


def test_what_the_step_or_an_option_determines_is_no_axis() -> None:
    one = row(0, step="manual", updater="manual", lr=0.1, updater__lr=0.1)
    two = row(1, step="model", updater="SGD", lr=0.2, updater__lr=0.2, updater__momentum=0)
    three = row(2, step="model", updater="SGD", lr=0.1, updater__lr=0.1, updater__momentum=0)
    assert keys(one, two, three) == ["lr", "step"]
    one, two = row(0, updater="Adam", updater__decay=0), row(1, updater="AdamW", updater__decay=1)
    assert keys(one, two) == ["updater"]
    assert keys(one, two, row(2, updater="AdamW", updater__decay=2)) == ["updater.decay", "updater"]


def test_settings_that_vary_together_are_both_axes() -> None:
    assert keys(row(0, lr=0.1, iters=5), row(1, lr=0.2, iters=9)) == ["lr", "iters"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ("0.1 0.2 0.3", "linear"),
        ("100 200 300 400", "linear"),
        ("0.001 0.01 0.1", "log"),
        ("1 2 4 8 16", "log"),
        ("10 100", "log"),
        ("10 20", "linear"),
        ("0 0.9", "linear"),
        ("-1 -10 -100", "linear"),
        ("5", "linear"),
        ("null 16 32", "category"),
        ("true false", "category"),
        ("nan 1", "category"),
        ("SGD Adam", "category"),
    ],
)
def test_the_scale_is_that_of_the_spacing(values: str, scale: str) -> None:
    assert axis_of([row(lr=value) for value in values.split()], "lr").scale == scale


def test_numbers_ascend_and_words_stand_in_the_order_of_their_runs() -> None:
    def values(key: str, *texts: str) -> tuple[object, ...]:
        return axis_of([row(**{key: text}) for text in texts], key).values

    assert values("lr", "0.3", "1e-2", "0.1", "0.10") == (0.01, 0.1, 0.3)
    assert values("step", "model", "manual") == ("model", "manual")
    momentum = axis_of([row(), row(updater__momentum=0.5)], "updater.momentum")
    assert momentum.values == ("none", "0.5")


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30, unique=True), st.booleans())
def test_values_have_their_centres_and_order_is_kept(values: list[float], log: bool) -> None:
    axis = Axis("lr", tuple(sorted(values)), "log" if log else "linear")
    if len(values) > 1:
        centres = [axis.position(v) for v in axis.values]
        assert centres == pytest.approx([*range(len(axis))], abs=1e-6)
    places = [axis.position(v) for v in (0.0 if log else -1e15, *axis.values, 1e15)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (-0.5, len(axis) - 0.5)


def test_a_number_between_two_values_lies_between_their_centres() -> None:
    assert Axis("lr", (0.1, 0.2, 0.4), "linear").position(0.3) == pytest.approx(1.5)
    assert Axis("lr", (0.01, 1.0), "log").position(0.1) == pytest.approx(0.5)
    assert Axis("lr", (0.1,), "linear").position(0.2) == 0.5
    far = Axis("lr", (1e200, 1e210), "log")
    assert [far.position(v) for v in (1 / 30, 1e205, 1e300)] == [-0.5, 0.5, 1.5]
    wide = Axis("lr", (1e-308, 1e308), "log")
    assert [wide.position(v) for v in (1e-308, 1.0, 1e308)] == pytest.approx([0, 0.5, 1])


def test_few_values_are_all_named_and_many_by_round_numbers() -> None:
    assert Axis("lr", (0.001, 0.003), "linear").ticks() == [(0, "0.001"), (1, "0.003")]
    many = Axis("iters", tuple(float(i) for i in range(1, 101)), "linear")
    assert {label: at for at, label in many.ticks()}["40"] == 39
    assert len(many.ticks()) < 12
    words = Axis("data.path", tuple(f"{'x' * 30}{i}" for i in range(100)), "category")
    assert len(words.ticks()) <= 12
    assert {len(label) for _, label in words.ticks()} == {18}


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (
            ["lr", "foo"],
            "--axes: no run has a setting 'foo'. The runs differ in: lr, iters.",
        ),
        (
            ["lr", "itres"],
            "--axes: no run has a setting 'itres'. Did you mean iters? "
            "The runs differ in: lr, iters.",
        ),
        (
            ["lr", "lr"],
            "--axes: a picture has one or two axes, not lr, lr. Type for example --axes lr,iters.",
        ),
        (
            ["lr", "iters", "step"],
            "--axes: a picture has one or two axes, not lr, iters, step. "
            "Type for example --axes lr,iters.",
        ),
    ],
)
def test_axes_that_cannot_be(axes: list[str], sentence: str) -> None:
    rows = [row(0, lr=0.1, iters=5), row(1, lr=0.2, iters=9)]
    with pytest.raises(GdexpError) as refused:
        chosen(rows, axes)
    assert str(refused.value) == sentence


def test_any_setting_can_be_an_axis() -> None:
    rows = [row(0, lr=0.1), row(1, lr=0.2)]
    assert [len(axis) for axis in chosen(rows, ["lr", "seed"])] == [2, 1]
    assert [axis.key for axis in chosen(rows, ["iters"])] == ["iters"]
