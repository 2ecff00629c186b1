"""What happens to a table before it is fitted: it is split, scaled, and cut into minibatches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import data
from gdexp.data import Dataset
from gdexp.data.compress import compress
from gdexp.data.task import scores
from gdexp.data.transforms import Scaling, TargetScaling, batches, check_batch_size, split
from gdexp.errors import ConfigError


def numbered(n: int) -> Dataset:
    """A table whose rows can be told apart."""
    x = np.arange(2.0 * n).reshape(n, 2)
    return Dataset(x, x[:, 0] * 10, "numbered", ("a", "b"), "t")


@given(n=st.integers(2, 300), share=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1))
def test_a_split_keeps_every_row_once(n: int, share: float, seed: int) -> None:
    table, held = numbered(n), round(share * n)
    if not 0 < held < n:
        with pytest.raises(ConfigError, match=rf"^data\.validation: .* of {n} rows would hold "):
            split(table, share, seed)
        return
    train, validation = split(table, share, seed)
    assert validation is not None
    assert len(validation.y) == held
    for part in (train, validation):
        assert (part.name, part.features, part.target) == ("numbered", ("a", "b"), "t")
        assert np.all(np.diff(part.y) > 0)
        assert np.array_equal(part.x[:, 0] * 10, part.y)
    assert sorted([*train.y, *validation.y]) == table.y.tolist()
    again = split(table, share, seed)[0]
    assert np.array_equal(again.x, train.x)


def test_a_split_is_random_in_its_seed() -> None:
    held = [split(numbered(100), 0.3, seed)[1] for seed in range(50)]
    seen = [part.y for part in held if part is not None]
    assert len({tuple(y) for y in seen}) == 50
    assert np.mean(seen) == pytest.approx(990, abs=60)


def test_nothing_is_held_back_by_default() -> None:
    table = numbered(1)
    assert split(table, 0.0, 0) == (table, None)


@pytest.mark.parametrize(
    ("n", "share", "sentence"),
    [
        (4, 0.1, "data.validation: 0.1 of 4 rows would hold 0 back and leave 4 to train on; each "
        "part needs one. Type a share from 0.25 to 0.75, or 0."),
        (4, 0.9, "data.validation: 0.9 of 4 rows would hold 4 back and leave 0 to train on; each "
        "part needs one. Type a share from 0.25 to 0.75, or 0."),
        (1, 0.5, "data.validation: 0.5 of 1 row would hold 0 back and leave 1 to train on; each "
        "part needs one. Type 0."),
    ],
)  # fmt: skip
def test_a_split_that_leaves_nothing(n: int, share: float, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        split(numbered(n), share, 0)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaled_features_have_mean_0_and_deviation_1(dtype: str) -> None:
    full = data.diabetes()
    table = replace(full, x=full.x.astype(dtype), y=full.y.astype(dtype))
    scaled = Scaling.of(table).apply(table)
    assert scaled.x.dtype == dtype
    assert np.array_equal(scaled.y, table.y)
    assert scaled.x.mean(axis=0) == pytest.approx(np.zeros(10), abs=1e-5)
    assert scaled.x.std(axis=0) == pytest.approx(np.ones(10), rel=1e-5)


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_undone_weights_are_those_of_a_regression_on_the_raw_data(one: bool, bias: bool) -> None:
    from sklearn.linear_model import LinearRegression

    table = data.diabetes()
    if one:
        table = Dataset(table.x[:, 2], table.y, "bmi", ("bmi",))
    scaling = Scaling.of(table)
    fitted = scaling.apply(table)
    x, raw = (t.x.reshape(len(t.y), -1) for t in (fitted, table))
    model = LinearRegression(fit_intercept=bias).fit(x, table.y)
    w = float(model.coef_[0]) if one else model.coef_
    coefficients, intercept = scaling.undo(w, float(model.intercept_) if bias else None)
    assert raw @ coefficients + intercept == pytest.approx(model.predict(x), rel=1e-9)
    if bias:
        direct = LinearRegression().fit(raw, table.y)
        assert coefficients == pytest.approx(direct.coef_, rel=1e-8)
        assert intercept == pytest.approx(direct.intercept_, rel=1e-8)


@given(
    n=st.integers(1, 100), size=st.integers(1, 120), seed=st.integers(0, 99), torch=st.booleans()
)
@settings(max_examples=50, deadline=None)
def test_an_epoch_of_batches_holds_every_row_once(
    n: int, size: int, seed: int, torch: bool
) -> None:
    table = numbered(n)
    x, y = table.x, table.y
    if torch:
        from torch import from_numpy

        x, y = from_numpy(x), from_numpy(y)  # type: ignore[assignment]
    seen = []
    for epoch in (1, 2):
        pieces = list(batches(x, y, size, seed, epoch))
        assert all(type(part) is type(y) for _, part in pieces)
        assert [len(part) for _, part in pieces[:-1]] == [size] * (len(pieces) - 1)
        assert len(pieces) == -(-n // size)
        for inputs, targets in pieces:
            assert (inputs[:, 0] * 10 == targets).all()
        seen.append([float(v) for _, part in pieces for v in part])
    assert sorted(seen[0]) == sorted(seen[1]) == table.y.tolist()
    assert n < 20 or seen[0] != seen[1]
    again = [float(v) for _, part in batches(table.x, table.y, size, seed, 2) for v in part]
    assert again == seen[1]


def test_batches_differ_by_seed_and_take_one_feature() -> None:
    x = np.arange(50.0)
    orders = {
        tuple(float(v) for part, _ in batches(x, x, 7, seed, 1) for v in part) for seed in range(9)
    }
    assert len(orders) == 9


def test_a_batch_larger_than_the_table() -> None:
    check_batch_size(4, 4)
    with pytest.raises(ConfigError) as refused:
        check_batch_size(8, 4)
    assert str(refused.value) == (
        "data.batch_size: 8 is more than the 4 rows to train on. Type data.batch_size=4 or less, "
        "or null for all rows at once."
    )


@pytest.mark.parametrize("unit", [2.0**1000, 2.0**-700])
def test_the_size_of_numbers_does_not_matter(unit: float) -> None:
    table = numbered(5)
    same = replace(table, x=table.x * unit, y=table.y * unit)  # exact: a power of two
    assert np.array_equal(Scaling.of(same).apply(same).x, Scaling.of(table).apply(table).x)
    scaled, expected = (TargetScaling.of(each).apply(each).y for each in (same, table))
    assert np.array_equal(scaled, expected)
    short, expected_short = (
        compress(each.chunks(), ("a",), bias=True, standardize=True, scale_target="t")
        for each in (one_feature(same), one_feature(table))
    )
    assert short.x == pytest.approx(expected_short.x, rel=1e-12)
    assert short.y == pytest.approx(expected_short.y, rel=1e-12)
    y_pred = table.y[::-1].copy()
    assert (
        scores(same.y, y_pred * unit, "regression")["r2"]
        == (scores(table.y, y_pred, "regression")["r2"])
    )


def one_feature(table: Dataset) -> Dataset:
    return replace(table, x=table.x[:, 0], features=("a",))
