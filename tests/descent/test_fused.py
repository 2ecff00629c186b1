"""One pass over a table: of a big one close to the formulas, of a small one theirs bit for bit."""

from __future__ import annotations

import copy
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gdexp import manual
from gdexp.descent import fused
from gdexp.descent.fused import Exact, Fused, fuse
from gdexp.descent.loop import descend
from gdexp.types import Array

Floats = NDArray[np.float64]
ROWS = 64  # of a block, in the tests of borders
ACCURACY = {"float32": 1e-6, "float64": 1e-12}


def table(n: int, d: int, dtype: str, seed: int = 0) -> tuple[Array, Array]:
    """x of shape (n,) for d = 1 or else (n, d), and y that no parameters fit."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d) if d > 1 else n), rng.normal(1, 2, size=n)
    return x.astype(dtype), y.astype(dtype)


def predictor_of(d: int, bias: bool, seed: int = 1) -> manual.Predictor:
    predictor = manual.Predictor(bias=bias)
    drawn = np.random.default_rng(seed).normal(size=d + 1)
    predictor.parameters["w"] = drawn[1:] if d > 1 else float(drawn[1])
    if bias:
        predictor.parameters["b"] = float(drawn[0])
    return predictor


def assert_is_the_pass(
    x: Array, y: Array, predictor: manual.Predictor, reduction: str = "mean"
) -> None:
    """Loss and gradients are those of the formulas, as closely as their terms' sizes allow."""
    both = Fused(x, y, predictor, reduction)
    found = both(x)
    loss, gradients = both.loss(found, y), both.gradient(predictor.parameters, x, y, found, 0.0)

    columns, targets = x.reshape(len(y), -1).astype(np.float64), y.astype(np.float64)
    w, b = (np.asarray(predictor.parameters.get(k, 0.0), x.dtype).astype(float) for k in "wb")
    r = columns @ np.atleast_1d(w) + b - targets
    size = abs(columns) @ np.atleast_1d(abs(w)) + abs(b) + abs(targets)  # of what r is made of
    n, close = len(y), ACCURACY[x.dtype.name]
    share = n if reduction == "mean" else 1
    assert abs(loss - np.sum(r**2) / n) <= close * np.sum(size * abs(r)) / n
    assert gradients.keys() == predictor.parameters.keys()
    for name, by in {"w": columns, "b": np.ones((n, 1))}.items():
        if name in gradients:
            error = abs(gradients[name] - 2 * r @ by / share)
            assert np.shape(gradients[name]) == np.shape(predictor.parameters[name])
            assert np.all(error <= close * 2 * size @ abs(by) / share)


@pytest.mark.parametrize("dtype", ACCURACY)
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3 * ROWS + 1),
    d=st.integers(1, 5),
    bias=st.booleans(),
    reduction=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 1000),
)
@example(n=ROWS - 1, d=1, bias=True, reduction="mean", seed=0)
@example(n=ROWS, d=1, bias=True, reduction="mean", seed=0)
@example(n=ROWS + 1, d=1, bias=True, reduction="sum", seed=0)
@example(n=2 * ROWS, d=3, bias=False, reduction="mean", seed=0)
@example(n=2 * ROWS + 1, d=3, bias=True, reduction="sum", seed=0)
def test_small_blocks_add_up_to_the_formulas(
    dtype: str, n: int, d: int, bias: bool, reduction: str, seed: int
) -> None:
    x, y = table(n, d, dtype, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "BLOCK_BYTES", ROWS * (d + 2) * x.itemsize)
        assert_is_the_pass(x, y, predictor_of(d, bias, seed), reduction)


@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize(("n", "d"), [(300_001, 1), (100_003, 5), (2_001, 300), (3, 200_000)])
def test_blocks_of_the_real_size_add_up_to_the_formulas(dtype: str, n: int, d: int) -> None:
    x, y = table(n, d, dtype)
    assert_is_the_pass(x, y, predictor_of(d, bias=True))


def test_many_blocks_lose_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "BLOCK_BYTES", 128)
    x, y = table(200_000, 2, "float32")
    assert_is_the_pass(abs(x), y - 10, predictor_of(2, bias=True))


def test_columns_of_a_wider_table_need_no_copy() -> None:
    x, y = table(1000, 5, "float64")
    assert_is_the_pass(x[::2, 1], y[::2], predictor_of(1, bias=True))
    assert_is_the_pass(x[:, 1:4], y, predictor_of(3, bias=True))
    assert_is_the_pass(np.asfortranarray(x), y, predictor_of(5, bias=True))


def assert_same_descent(
    x: Array, y: Array, start: dict[str, Array], gradient: manual.Gradient, updater: manual.Updater
) -> None:
    """Ten epochs by passes are those of the families one by one, to the last bit."""
    epochs = []
    for fuses in (True, False):
        predictor = manual.Predictor(bias="b" in start)
        predictor.parameters |= copy.deepcopy(start)
        families = predictor, gradient, manual.Loss()
        if fuses:
            families = fuse(x, y, *families)
            assert type(families[0]) is Exact
        steps = descend(x, y, *families, copy.deepcopy(updater), iters=10)
        epochs.append([np.hstack([v, *p.values(), *g.values()]) for _, v, p, g in steps])
        assert all(type(v) is type(start[name]) for name, v in predictor.parameters.items())
    np.testing.assert_array_equal(*np.array(epochs, dtype=np.float64))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("dtype", ACCURACY)
@settings(max_examples=200, deadline=None)
@given(
    n=st.one_of(st.integers(1, 40), st.integers(1, 3000)),
    d=st.integers(0, 12),
    bias=st.booleans(),
    gradient=st.sampled_from([manual.Gradient(), manual.GradientSum()]),
    updater=st.sampled_from([manual.Updater(0.1), manual.Nesterov(0.01), manual.Adam(0.1)]),
    scale=st.sampled_from([1.0, 1e-3, 1e5, 1e20, 1e-25]),
    layout=st.sampled_from(["rows", "columns", "every other"]),
    seed=st.integers(0, 1000),
)
@example(4, 0, False, manual.GradientSum(), manual.Updater(0.01), 1.0, "rows", 0)
@example(442, 10, True, manual.Gradient(), manual.Adam(0.1), 1.0, "rows", 0)
@example(1, 1, True, manual.Gradient(), manual.Updater(0.1), 1.0, "rows", 0)
def test_a_small_table_is_the_formulas_bit_for_bit(
    dtype: str,
    n: int,
    d: int,
    bias: bool,
    gradient: manual.Gradient,
    updater: manual.Updater,
    scale: float,
    layout: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = (scale * rng.normal(size=(n, d) if d else n)).astype(dtype)
    y = rng.normal(1, 2, size=n).astype(dtype)
    if layout == "columns":
        x = np.asfortranarray(x)
    elif layout == "every other":
        x, y = np.repeat(x, 2, axis=0)[::2], np.repeat(y, 2)[::2]
    w = rng.normal(size=d).astype(dtype) if d else float(rng.normal())
    start = {"w": w, "b": float(rng.normal())} if bias else {"w": w}
    assert_same_descent(x, y, start, gradient, updater)


@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize("d", [0, 1, 7])
def test_the_largest_small_table_is_the_formulas_bit_for_bit(dtype: str, d: int) -> None:
    n = (fused.SMALLEST - 1) // max(d, 1)
    rng = np.random.default_rng(d)
    x, y = rng.normal(size=(n, d) if d else n).astype(dtype), rng.normal(size=n).astype(dtype)
    start = {"w": np.zeros(d, dtype) if d else 0.0, "b": 0.0}
    assert_same_descent(x, y, start, manual.Gradient(), manual.Updater(0.1))


class Replacing(manual.Updater):
    """It gives every parameter a new object, of NumPy's type in double precision."""

    def __call__(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        for name, gradient in gradients.items():
            parameters[name] = np.float64(1) * parameters[name] - self.lr * gradient


@pytest.mark.parametrize("d", [1, 3])
def test_parameters_of_another_type_are_computed_by_the_formulas(d: int) -> None:
    x, y = table(50, d, "float32")
    losses = []
    for fuses in (True, False):
        predictor = predictor_of(d, bias=True)
        predictor.parameters["w"] = np.float32(predictor.parameters["w"]) if d > 1 else 0.5
        families = predictor, manual.Gradient(), manual.Loss()
        families = fuse(x, y, *families) if fuses else families
        losses.append([v for _, v, _, _ in descend(x, y, *families, Replacing(0.1), iters=10)])
    assert losses[0] == losses[1]


def test_a_pass_over_a_small_table_leaves_the_last_ones_gradients_alone() -> None:
    x, y = table(20, 3, "float64")
    predictor = predictor_of(3, bias=True)
    predict, gradient, _ = fuse(x, y, predictor, manual.Gradient(), manual.Loss())
    first = gradient(predictor.parameters, x, y, predict(x), 0.0)
    kept = copy.deepcopy(first)
    predictor.parameters["w"] += 1
    predict(x)
    np.testing.assert_array_equal(first["w"], kept["w"])


def descent(families: tuple[Array, ...], x: Array, y: Array, lr: float) -> Floats:
    """Loss, parameters and gradients of twenty epochs, one row each."""
    predictor, gradient, loss = families
    steps = descend(x, y, predictor, gradient, loss, manual.Updater(lr), iters=20)
    return np.array([np.hstack([v, *p.values(), *g.values()]) for _, v, p, g in steps])


@pytest.mark.parametrize(
    ("dtype", "bias", "gradient"),
    [
        ("float32", False, manual.GradientSum()),
        ("float32", True, manual.Gradient()),
        ("float64", True, manual.GradientSum()),
    ],
)
def test_a_descent_is_that_of_the_formulas_one_by_one(
    dtype: str, bias: bool, gradient: manual.Gradient
) -> None:
    x, y = table(fused.SMALLEST + 7, 1, dtype)
    factor = 1 if gradient.reduction == "mean" else len(y)
    families = [(predictor_of(1, bias), gradient, manual.Loss()) for _ in range(2)]
    mine = descent(fuse(x, y, *families[0]), x, y, 0.1 / factor)
    theirs = descent(families[1], x, y, 0.1 / factor)
    sizes = np.ones(mine.shape[1])
    sizes[2 + bias :] = factor
    np.testing.assert_allclose(mine / sizes, theirs / sizes, rtol=0, atol=5 * ACCURACY[dtype])


@pytest.mark.parametrize("dtype", ACCURACY)
def test_a_descent_of_several_features_is_that_of_the_formulas(dtype: str) -> None:
    x, y = table(fused.SMALLEST // 4 + 1, 4, dtype)
    predictor = predictor_of(4, bias=True)
    wb = np.append(predictor.parameters["w"], predictor.parameters["b"])
    columns = np.column_stack([x, np.ones(len(y))]).astype(np.float64)
    theirs = []
    for _ in range(20):
        r = columns @ wb - y
        slopes = 2 / len(y) * columns.T @ r
        wb = wb - 0.1 * slopes
        theirs.append([np.mean(r**2), *wb, *slopes])
    families = fuse(x, y, predictor, manual.Gradient(), manual.Loss())
    mine = descent(families, x, y, 0.1)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=5 * ACCURACY[dtype])


def test_the_same_table_gives_the_same_bits() -> None:
    x, y = table(500_000, 1, "float32")
    predictor = predictor_of(1, bias=True)
    passes = [Fused(a, b, predictor)(a)[1:] for a, b in ((x, y), (x, y), (x.copy(), y.copy()))]
    assert passes[0] == passes[1] == passes[2]


@pytest.mark.parametrize("d", [1, 10])
def test_the_memory_needed_is_less_than_a_block(d: int) -> None:
    x, y = table(2_000_000 // d, d, "float32")
    predictor = predictor_of(d, bias=True)
    tracemalloc.start()
    both = Fused(x, y, predictor)
    both(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < fused.BLOCK_BYTES < x.nbytes / 4


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize(("bad", "loss"), [(np.nan, np.nan), (np.inf, np.inf), (1e30, np.inf)])
def test_what_is_not_finite_shows_in_loss_and_gradient(d: int, bad: float, loss: float) -> None:
    x, y = table(fused.SMALLEST, d, "float32")
    y[-5] = bad
    found = Fused(x, y, predictor_of(d, bias=True))(x)
    np.testing.assert_equal(found.loss, loss)
    assert np.all(np.isfinite(np.append(*found.gradients.values()))) == np.isfinite(bad)

    predictor = predictor_of(d, bias=False)
    predictor.parameters["w"] *= 1e300
    assert not np.isfinite(Fused(x, y, predictor)(x).loss)


def test_other_inputs_are_predicted_by_the_predictor() -> None:
    x, y = table(fused.SMALLEST, 1, "float32")
    predictor = predictor_of(1, bias=True)
    fused_predictor, _, _ = fuse(x, y, predictor, manual.Gradient(), manual.Loss())
    at = np.array([5.0], dtype=np.float32)
    assert fused_predictor(at) == predictor(at)
    assert fused_predictor.parameters is predictor.parameters


def test_a_pass_answers_for_its_own_table_alone() -> None:
    x, y = table(100, 1, "float64")
    both, other = (Fused(a, y, predictor_of(1, bias=False)) for a in (x, x.copy()))
    sentence = "a fused loss and gradient need the x and the y of their own table"
    small = Exact(x, y, predictor_of(1, bias=False), manual.Gradient(), manual.Loss())
    for mine in (both, small):
        for found, targets in ((mine(x), y.copy()), (other(other._x), y), (2 * x, y)):
            with pytest.raises(ValueError, match=sentence):
                mine.loss(found, targets)
            with pytest.raises(ValueError, match=sentence):
                mine.gradient(mine.parameters, x, targets, found, 0.0)


class Mine(manual.Loss):
    """A subclass may mean something else."""


def test_only_what_a_pass_is_derived_for_is_fused() -> None:
    x, y = table(fused.SMALLEST, 1, "float32")
    wide, targets = table(fused.SMALLEST // 2, 2, "float32")
    by_hand = manual.Predictor(), manual.Gradient(), manual.Loss()
    plane = predictor_of(2, bias=False), manual.GradientSum(), manual.Loss()
    assert fuse(x, y, *by_hand) is not None
    assert fuse(wide, targets, *plane) is not None
    assert type(fuse(x, y, *by_hand)[0]) is Fused
    assert type(fuse(x[:-1], y[:-1], *by_hand)[0]) is Exact

    refused = [
        (x[:0], y[:0], *by_hand),
        (x[0], y[0], *by_hand),
        (wide[:9].astype(np.float32), targets[:9], *plane),  # w is in double precision
        (x, y.astype(np.float64), *by_hand),
        (x.astype(np.float16), y.astype(np.float16), *by_hand),
        (np.ma.masked_array(x), y, *by_hand),
        (x, y[:, None], *by_hand),
        (wide, targets, *by_hand),  # w is one number
        (x, y, *plane),
        (x, y, manual.Predictor(), manual.Gradient(), Mine()),
        (x, y, manual.Predictor(), object(), manual.Loss()),
        (x, y, object(), manual.Gradient(), manual.Loss()),
    ]
    assert [fuse(*families) for families in refused] == [None] * len(refused)


def test_tensors_are_not_fused() -> None:
    torch = pytest.importorskip("torch")
    x = torch.zeros(fused.SMALLEST)
    assert fuse(x, x, manual.Predictor(), manual.Gradient(), manual.Loss()) is None
    mixed = itertools.permutations([x, x.numpy()])
    families = manual.Predictor(), manual.Gradient(), manual.Loss()
    assert [fuse(a, b, *families) for a, b in mixed] == [None, None]
