"""A compressed table against the whole one: same loss, same gradients, same scaling."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gdexp.data import Dataset
from gdexp.data.compress import Digest, compress, digest
from gdexp.data.transforms import Scaling
from gdexp.errors import ConfigError

Array = NDArray[np.float64]


def names(d: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(d))


def table(n: int, d: int, seed: int) -> Dataset:
    """Random rows; the columns' scales and offsets lie decades apart."""
    rng = np.random.default_rng(seed)
    scales, offsets = 10.0 ** rng.integers(-6, 7, d), 10.0 ** rng.integers(-3, 4, d)
    x = (rng.standard_normal((n, d)) + offsets) * scales
    return Dataset(x if d > 1 else x[:, 0], rng.normal(3, 10, n), "random", names(d))


def loss_and_gradients(x: Array, y: Array, w: Array, b: float) -> tuple[float, Array, float]:
    residual = x.reshape(len(y), -1) @ w + b - y
    gradient = 2 * x.reshape(len(y), -1).T @ residual / len(y)
    return float(np.mean(residual**2)), gradient, float(2 * residual.mean())


def assert_same(full: Dataset, x: Array, y: Array, bias: bool, seed: int) -> None:
    """Loss and gradients agree at random w and b, to 1e-9 of what they are sums of."""
    wide = full.x.reshape(len(full.y), -1)
    rng = np.random.default_rng(seed)
    norms = np.sqrt((wide**2).mean(axis=0))
    for _ in range(3):
        w = rng.standard_normal(full.width) / np.where(norms > 0, norms, 1)
        b = float(rng.standard_normal()) if bias else 0.0
        loss, by_w, by_b = loss_and_gradients(full.x, full.y, w, b)
        short = loss_and_gradients(x, y, w, b)
        size = float(np.sqrt(loss))
        assert short[0] == pytest.approx(loss, rel=1e-9)
        assert np.all(np.abs(short[1] - by_w) <= 1e-9 * norms * size)
        assert not bias or abs(short[2] - by_b) <= 1e-9 * size


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3000),
    d=st.integers(1, 8),
    rows=st.integers(1, 4000),
    bias=st.booleans(),
    standardize=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_loss_and_gradients_are_those_of_the_whole_table(
    n: int, d: int, rows: int, bias: bool, standardize: bool, seed: int
) -> None:
    full = table(max(n, 2) if standardize else n, d, seed)
    n = len(full.y)
    short = compress(full.chunks(rows), full.features, bias=bias, standardize=standardize)
    assert short.rows == n
    assert len(short.y) == min(n, d + 1 + (bias or standardize))
    assert short.x.shape == (len(short.y), d)[: full.x.ndim]
    if standardize:
        scaling = Scaling.of(full)
        assert short.scaling is not None
        assert short.scaling.mean == pytest.approx(scaling.mean, rel=1e-9)
        assert short.scaling.scale == pytest.approx(scaling.scale, rel=1e-9)
        full = scaling.apply(full)
    else:
        assert short.scaling is None
    assert_same(full, short.x, short.y, bias, seed)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["duplicate", "zero", "dependent", "constant"])
def test_columns_that_depend_on_each_other(kind: str, bias: bool) -> None:
    full = table(1000, 3, 0)
    full.x[:, 2] = {
        "duplicate": full.x[:, 1],
        "zero": 0,
        "dependent": full.x[:, 0] + full.x[:, 1],
        "constant": 7,
    }[kind]
    short = compress(full.chunks(100), full.features, bias=bias, standardize=False)
    assert np.isfinite(short.x).all()
    assert_same(full, short.x, short.y, bias, 1)


def test_the_minimum_is_the_least_squares_solution() -> None:
    full = table(5000, 4, 3)
    short = compress(full.chunks(), full.features, bias=True, standardize=False)
    designs = [np.column_stack([np.ones(len(x)), x]) for x in (full.x, short.x)]
    whole = np.linalg.lstsq(designs[0], full.y)[0]
    assert np.linalg.lstsq(designs[1], short.y)[0] == pytest.approx(whole, rel=1e-7)


def test_a_loss_of_nearly_zero_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10_000, 3))
    w = np.array([1.0, 2.0, 3.0])
    full = Dataset(x, x @ w + 5 + 1e-8 * rng.standard_normal(10_000), "fine", names(3))
    short = compress(full.chunks(), full.features, bias=True, standardize=False)
    loss = loss_and_gradients(x, full.y, w, 5.0)[0]  # 1e-16; the normal equations have 1e-14 off
    assert short.x.shape == (5, 3)
    assert loss_and_gradients(short.x, short.y, w, 5.0)[0] == pytest.approx(loss, rel=1e-4)


def test_a_short_table_is_left_as_it_is() -> None:
    for n, d in ((1, 1), (3, 1), (4, 2)):
        full = table(n, d, 0)
        short = compress(full.chunks(1), full.features, bias=True, standardize=False)
        assert np.array_equal(short.x, full.x)
        assert np.array_equal(short.y, full.y)


def test_single_precision_is_read_exactly() -> None:
    double = table(5000, 2, 0)
    x, y = double.x.astype(np.float32), double.y.astype(np.float32)
    full = replace(double, x=x, y=y)
    short = compress(full.chunks(), full.features, bias=True, standardize=False)
    assert short.x.dtype == np.float64
    exact = replace(double, x=x.astype(np.float64), y=y.astype(np.float64))
    assert_same(exact, short.x, short.y, True, 0)


@pytest.mark.parametrize("n", [3, 5000])
def test_a_constant_feature_cannot_be_standardised(n: int) -> None:
    full = table(n, 2, 0)
    full.x[:, 1] = 0.1
    sentence = (
        r"data\.features: column 'x1' is 0\.1 in every row, so it cannot be standardized\. "
        r"Leave it out of data\.features, or type data\.standardize=false\."
    )
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        compress(full.chunks(7), full.features, bias=True, standardize=True)
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        Scaling.of(full)


def test_a_column_far_from_zero_is_standardised_to_all_digits() -> None:
    rng = np.random.default_rng(0)
    near = rng.integers(-1000, 1000, 20_000).astype(float)
    full = Dataset(near + 2.0**50, rng.standard_normal(20_000), "far", ("x",))
    short = compress(full.chunks(), full.features, bias=True, standardize=True)
    assert short.scaling is not None
    assert short.scaling.scale[0] == pytest.approx(near.std(), rel=1e-12)
    assert short.scaling.mean[0] - 2.0**50 == pytest.approx(near.mean(), abs=0.25)


def test_the_memory_needed_is_that_of_two_chunks() -> None:
    full, rows = table(200_000, 4, 0), 20_000
    tracemalloc.start()
    compress(full.chunks(rows), full.features, bias=True, standardize=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.1 * rows * 6 * 8


def test_the_digest_knows_every_number_and_not_the_chunks() -> None:
    full = table(1000, 3, 0)
    whole = digest(full)
    assert len(whole) == 8
    assert int(whole, 16) >= 0
    for rows in (1, 7, 5000):
        piecewise = Digest(3)
        passed = list(piecewise.reading(full.chunks(rows)))
        assert np.array_equal(np.concatenate([x for x, _ in passed]), full.x)
        assert str(piecewise) == whole
    assert digest(Dataset(full.x.copy(order="F"), full.y, "other", full.features)) == whole
    full.x[999, 2] = np.nextafter(full.x[999, 2], np.inf)
    assert digest(full) != whole


def test_the_digest_knows_the_shape() -> None:
    two = Dataset(np.arange(4.0).reshape(2, 2)[:, :1], np.array([1.0, 3.0]), "", ("a",))
    one = Dataset(np.array([[0.0, 1.0, 2.0]]), np.array([3.0]), "", names(3))
    assert digest(two) != digest(one)
