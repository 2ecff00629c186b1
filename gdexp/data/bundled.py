"""Tables that need no file: scikit-learn's diabetes data and a synthetic linear relation."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from gdexp.data.compress import triangular
from gdexp.data.dataset import CHUNK, Dataset
from gdexp.errors import ConfigError

DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
MOST = 200_000_000  # numbers in a synthetic table: 1.6 GB


def diabetes() -> Dataset:
    """442 diabetes patients: ten measurements in their own units, and the disease's progression.

    The features are age in years, sex as 1 and 2, body mass index, blood pressure and six blood
    serum values; the target measures the progression a year later (Efron et al. 2004). NumPy reads
    scikit-learn's files, because importing scikit-learn takes over a second.
    """
    package = importlib.util.find_spec("sklearn")  # without importing it
    folder = Path((package and package.origin) or "").parent / "datasets" / "data"
    files = [folder / f"diabetes_{name}.csv.gz" for name in ("data_raw", "target")]
    if all(file.is_file() for file in files):
        x, y = (np.loadtxt(file) for file in files)
    else:  # another version of scikit-learn may keep them elsewhere
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True, scaled=False)
    return Dataset(x, y, "diabetes", DIABETES, "progression")


def synthetic(
    rows: Annotated[int, Ge(2), Le(10_000_000)],
    features: Annotated[int, Ge(1), Le(1000)] = 1,
    noise: Annotated[float, Ge(0)] = 0.1,
    condition: Annotated[float, Ge(1)] = 1.0,
    bias: float = 0.0,
    seed: Annotated[int, Ge(0)] = 0,
) -> Dataset:
    """A linear relation with normal noise, ``y = X @ w + bias + noise``.

    The true weights are ``w_j = j``, j = 1 … d. The columns of X have mean 0, and ``X = sqrt(n) * U
    @ diag(s) @ V'`` with random orthonormal U and V, and s from 1 to ``1 / condition`` in geometric
    progression. So the second derivative of the mean squared error has the eigenvalues ``2 *
    s**2``, and gradient descent converges for every lr < 1.

    Args:
        rows: n.
        features: d, less than n.
        noise: the standard deviation of the noise.
        condition: the condition number of X, its largest singular value over its smallest.
        bias: the value of y at x = 0, without noise.
        seed: the seed of all draws.

    Raises:
        ConfigError: if X needs more rows or too much memory, or has one column and condition > 1.
    """
    if features >= rows:
        raise ConfigError(
            f"data.rows: {features} features need more than {features} rows, not {rows}. "
            f"Type data.rows={10 * features}."
        )
    if rows * features > MOST:
        raise ConfigError(
            f"data.rows: {rows} rows of {features} features are {rows * features} numbers, more "
            f"than {MOST}. Type data.rows={MOST // features} or less."
        )
    if features == 1 and condition != 1:
        raise ConfigError(
            f"data.condition: one feature has the condition number 1, not {condition:g}. Type "
            "data.features=2 or more, or data.condition=1."
        )
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features))
    x -= x.mean(axis=0)
    values = np.geomspace(1, 1 / condition, features)
    rotation = np.linalg.qr(rng.standard_normal((features, features)))[0]
    # X = Q R with a well-conditioned R, so X @ inverse(R) is orthonormal to nearly all digits.
    shape = np.linalg.solve(triangular(x), np.sqrt(rows) * values[:, None] * rotation.T)
    y = np.empty(rows)
    for start in range(0, rows, CHUNK):
        piece = slice(start, start + CHUNK)
        x[piece] = x[piece] @ shape
        y[piece] = x[piece] @ weights(features)
    y += bias
    y += noise * rng.standard_normal(rows)
    names = tuple(f"x{j}" for j in range(1, features + 1)) if features > 1 else ("x",)
    return Dataset(x if features > 1 else x[:, 0], y, "synthetic", names)


def weights(features: int) -> NDArray[np.float64]:
    """The true weights of a synthetic table, ``w_j = j``."""
    return np.arange(1.0, features + 1)
