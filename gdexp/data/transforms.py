"""Transforms of a table: validation split, standardized features, minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.categories import Encoding
from gdexp.data.dataset import Dataset
from gdexp.data.moments import check_finite, check_range, deviations, means_of
from gdexp.errors import ConfigError
from gdexp.types import Array


def split(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """Hold random rows back for validation; both parts keep the order of the table.

    Args:
        dataset: the table, n rows.
        fraction: the share held back, rounded to whole rows; 0 for none.
        seed: the seed of the draw.

    Returns:
        The training rows, and the validation rows or None.

    Raises:
        ConfigError: if one of the two would be empty.
    """
    n = len(dataset.y)
    held = round(fraction * n)
    if fraction == 0:
        return dataset, None
    if not 0 < held < n:
        way_out = "Type 0."
        if n > 1:
            digits = len(str(n)) + 1  # enough for the bounds to differ from 0 and 1
            low, high = round(1 / n, digits), round(1 - 1 / n, digits)
            way_out = f"Type a share from {low} to {high}, or 0."
        raise ConfigError(
            f"data.validation: {fraction:g} of {n} row{'s' * (n > 1)} would hold {held} back and "
            f"leave {n - held} to train on; each part needs one. {way_out}"
        )
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(n)[:held]] = True
    train, validation = (
        replace(dataset, x=dataset.x[rows], y=dataset.y[rows]) for rows in (~chosen, chosen)
    )
    return train, validation


@dataclass(frozen=True)
class Scaling:
    """Standardization, ``(x - mean) / scale`` for each feature, of the training rows.

    Attributes:
        mean: shape (d,).
        scale: the standard deviation with denominator n, shape (d,); 1 for a category that no
            training row has.
        features: the features' names, for error messages.

    Raises:
        ConfigError: if a feature is constant, so that its scale is 0, or out of range.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    features: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, mean, scale in zip(self.features, self.mean, self.scale, strict=True):
            if scale == 0:
                raise ConfigError(
                    f"data.features: column {name!r} is {mean:g} in every row, so it cannot be "
                    "standardized. Leave it out of data.features, or type data.standardize=false."
                )
            check_range("data.standardize", name, mean, scale)

    @classmethod
    def of(cls, dataset: Dataset) -> Scaling:
        """The scaling that gives the features of this table mean 0 and standard deviation 1."""
        x = dataset.x.reshape(len(dataset.y), dataset.width).astype(np.float64)
        offset = x[0].copy()  # with it subtracted, a constant column is exactly 0
        with np.errstate(over="ignore", invalid="ignore"):  # refused by its range
            x -= offset
            mean = offset + means_of(x)
            scale = deviations(x, lambda columns: columns.std(axis=0))
        return cls.by(mean, scale, dataset.features, dataset.encoding)

    @classmethod
    def by(
        cls,
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
        features: tuple[str, ...],
        encoding: Encoding | None,
    ) -> Scaling:
        """The scaling by these means and standard deviations."""
        if encoding is not None:
            scale = np.where((scale == 0) & encoding.indicators, 1.0, scale)
        return cls(mean, scale, features)

    def apply(self, dataset: Dataset) -> Dataset:
        """The same table with scaled features, in its own precision."""
        x = dataset.x.reshape(len(dataset.y), dataset.width).astype(np.float64)
        with np.errstate(over="ignore"):
            x -= self.mean
            x /= self.scale
        check_finite(x, dataset.features, self.scale)
        return replace(dataset, x=x.reshape(dataset.x.shape).astype(dataset.x.dtype, copy=False))

    def undo(self, w: Any, b: float | None) -> tuple[NDArray[np.float64], float]:
        """Coefficients and intercept in the data's own units, from weights for scaled features.

        ``coefficient_j = w_j / scale_j`` and ``intercept = b - sum(w_j * mean_j / scale_j)``.

        Args:
            w: shape (d,), or one number.
            b: the bias; None if the predictor has none.
        """
        coefficients = np.asarray(w, dtype=np.float64).reshape(-1) / self.scale
        return coefficients, float((b or 0.0) - coefficients @ self.mean)


@dataclass(frozen=True)
class TargetScaling:
    """Standardization, ``(y - mean) / scale``, of the target by its training rows.

    Attributes:
        mean: the mean.
        scale: the standard deviation with denominator n.
    """

    mean: float
    scale: float

    @classmethod
    def of(cls, dataset: Dataset) -> TargetScaling:
        """The scaling that gives the target of this table mean 0 and standard deviation 1."""
        y = dataset.y.astype(np.float64)
        offset = y[0]  # with it subtracted, a constant target is exactly 0
        with np.errstate(over="ignore", invalid="ignore"):  # refused by its range
            y -= offset
            mean = offset + means_of(y)[0]
            scale = deviations(y[:, None], lambda columns: columns.std(axis=0))[0]
        return cls.by(mean, scale, dataset.target)

    @classmethod
    def by(cls, mean: float, scale: float, name: str) -> TargetScaling:
        """The scaling by this mean and standard deviation.

        Raises:
            ConfigError: if the target is constant, or out of range.
        """
        if scale == 0:
            raise ConfigError(
                f"data.standardize_target: column {name!r} is {mean:g} in every row, so it cannot "
                "be standardized. Type data.standardize_target=false."
            )
        check_range("data.standardize_target", name, mean, scale)
        return cls(float(mean), float(scale))

    def apply(self, dataset: Dataset) -> Dataset:
        """The same table with a scaled target, in its own precision."""
        with np.errstate(over="ignore"):
            y = (dataset.y.astype(np.float64) - self.mean) / self.scale
        check_finite(y[:, None], (dataset.target,), np.array([self.scale]))
        return replace(dataset, y=y.astype(dataset.y.dtype, copy=False))

    def undo(self, y: Any) -> Any:
        """Targets or predictions in the data's own units, in double precision."""
        return np.asarray(y, np.float64) * self.scale + self.mean

    def undo_coefficients(self, w: Any, b: float | None) -> tuple[NDArray[np.float64], float]:
        """Coefficients and intercept for the target in its own units."""
        return np.asarray(w, np.float64) * self.scale, (b or 0.0) * self.scale + self.mean


def check_batch_size(size: int, rows: int) -> None:
    """Refuse a minibatch that is larger than the table.

    Raises:
        ConfigError: if size > rows.
    """
    if size > rows:
        raise ConfigError(
            f"data.batch_size: {size} is more than the {rows} row{'s' * (rows > 1)} to train on. "
            f"Type data.batch_size={rows} or less, or null for all rows at once."
        )


def batches(x: Array, y: Array, size: int, seed: int, epoch: int) -> Iterator[tuple[Array, Array]]:
    """The minibatches of one epoch: every row once, in random order.

    The order of epoch k is drawn from (seed, k), so a continued run needs no history. The last
    batch may be smaller.

    Args:
        x: inputs, shape (n,) or (n, d), an array or a tensor on any device.
        y: targets, shape (n,).
        size: the rows of a batch.
        seed: the run's seed.
        epoch: k.
    """
    order: Array = np.random.default_rng((seed, epoch)).permutation(len(y))
    if not isinstance(y, np.ndarray):
        import torch

        order = torch.from_numpy(order).to(y.device)
    for start in range(0, len(y), size):  # taken batch by batch, the rows stay in the cache
        rows = order[start : start + size]
        if isinstance(y, np.ndarray):
            yield x[rows], y[rows]
        else:
            yield x.index_select(0, rows), y.index_select(0, rows)
