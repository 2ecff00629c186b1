"""Scores are those of scikit-learn, which is not imported for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from gdexp.data.task import scores

NUMBERS = st.floats(-1e6, 1e6).map(lambda v: round(v, 6))


@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=50))
def test_scores_of_numbers(pairs: list[tuple[float, float]]) -> None:
    y, y_pred = np.array(pairs).T
    measured = scores(y, y_pred, "regression")
    assert measured["mae"] == pytest.approx(metrics.mean_absolute_error(y, y_pred), rel=1e-12)
    assert measured["r2"] == pytest.approx(metrics.r2_score(y, y_pred), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("y", "y_pred", "r2"),
    [([3, 3], [3, 3], 1.0), ([3, 3], [3, 4], 0.0), ([1, 2, 3], [2, 2, 2], 0.0)],
    ids=["equal and exact", "equal and not exact", "the mean"],
)
def test_r2_where_it_is_a_convention(
    y: list[float], y_pred: list[float], r2: float, dtype: str
) -> None:
    targets, predictions = np.array(y, dtype), np.array(y_pred, dtype)
    assert scores(targets, predictions, "regression")["r2"] == r2
    assert metrics.r2_score(targets, predictions) == r2


def test_a_single_row_has_no_r2() -> None:
    assert scores(np.array([1.0]), np.array([3.0]), "regression") == {"mae": 2.0}


@given(rows=st.lists(st.tuples(st.integers(0, 1), st.floats(-50, 50)), min_size=1, max_size=50))
def test_accuracy_of_two_classes(rows: list[tuple[int, float]]) -> None:
    y, z = np.array(rows, float).T
    expected = metrics.accuracy_score(y, np.round(1 / (1 + np.exp(-z))))
    assert scores(y, z, "binary") == {"accuracy": pytest.approx(expected)}


@given(seed=st.integers(0, 999), n=st.integers(1, 40), k=st.integers(2, 5))
def test_accuracy_of_several_classes(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    y, z = rng.integers(0, k, n), rng.standard_normal((n, k))
    expected = metrics.accuracy_score(y, z.argmax(axis=1))
    assert scores(y, z, "classes") == {"accuracy": pytest.approx(expected)}


def test_diabetes_and_its_scores_import_neither_scikit_learn_nor_pandas() -> None:
    program = (
        "import sys; from gdexp import run\n"
        "result = run('gradient=manual', 'data=diabetes', 'lr=1e-6', 'tracking=off')\n"
        "assert set(result.scores) == {'final/mae', 'final/r2'}, result.scores\n"
        "sys.exit(' '.join({'sklearn', 'scipy', 'pandas', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stderr.strip() == ""
