"""The rows of stacked runs in NumPy: shared by neighbouring curves, or of each its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp.sweep.vectorized.stacks.stack import Stack

Values = NDArray[Any]


class Piece(NamedTuple):
    """The rows of neighbouring curves.

    Attributes:
        curves: the curves.
        x: inputs, shape (n,) or (n, d), in the memory layout that a run alone has: BLAS adds the
            products of another layout in another order.
        y: targets, shape (n,).
    """

    curves: slice
    x: Values
    y: Values


class Batch:
    """The rows of one update, or those to measure a loss.

    Args:
        pieces: the rows of all curves, in their order.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        """The number of rows of each curve."""
        return len(self.pieces[0].y)

    @cached_property
    def x(self) -> Values:
        """Inputs of one feature, shape (1, n) if all curves share them, else (curves, n)."""
        return self._spread([piece.x for piece in self.pieces])

    @cached_property
    def y(self) -> Values:
        """Targets, shape (1, n) or (curves, n)."""
        return self._spread([piece.y for piece in self.pieces])

    @cached_property
    def doubled(self) -> Values:
        """``2 * x`` of one feature."""
        return 2 * self.x

    @cached_property
    def columns(self) -> list[Values]:
        """``x.T`` of each piece."""
        return [piece.x.T for piece in self.pieces]

    @cached_property
    def doubled_columns(self) -> list[Values]:
        """``2 * x.T`` of each piece."""
        return [2 * piece.x.T for piece in self.pieces]

    def _spread(self, values: Sequence[Values]) -> Values:
        if len(values) == 1:
            return values[0][None]
        counts = [piece.curves.stop - piece.curves.start for piece in self.pieces]
        return np.repeat(np.stack(values), counts, axis=0)


class Rows:
    """The training and the validation rows of some curves.

    Args:
        stack: the stack.
        curves: the indices of the curves.

    Attributes:
        kept: the validation rows; None if there are none.
    """

    def __init__(self, stack: Stack, curves: NDArray[np.intp]) -> None:
        self._stack, self._curves = stack, curves
        tables = _neighbours(stack.table[curves].tolist())
        used = [(curves, stack.tables[index]) for curves, index in tables]
        self._whole = Batch([Piece(curves, table.x, table.y) for curves, table in used])
        kept = [Piece(curves, *table.kept) for curves, table in used if table.kept is not None]
        self.kept = Batch(kept) if kept else None
        seeds = [stack.seeds[curve] for curve in curves]
        keys = list(zip(stack.table[curves].tolist(), seeds, strict=True))
        self._draws = _neighbours(keys) if stack.batch_size is not None else []

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The minibatches of an epoch; all rows if there are none.

        They are drawn as by :func:`gdexp.data.transforms.batches`, once for each seed.
        """
        size = self._stack.batch_size
        if size is None:
            yield self._whole
            return
        n, keys = len(self._whole), {key for _, key in self._draws}
        orders = {
            seed: np.random.default_rng((seed, epoch)).permutation(n)
            for seed in {s for _, s in keys}
        }
        tables = self._stack.tables
        for start in range(0, n, size):
            drawn = {}
            for table, seed in keys:
                rows = orders[seed][start : start + size]
                drawn[table, seed] = tables[table].x[rows], tables[table].y[rows]
            yield Batch([Piece(curves, *drawn[key]) for curves, key in self._draws])

    def keep(self, curves: NDArray[np.intp]) -> Rows:
        """The rows of these of the current curves."""
        return Rows(self._stack, self._curves[curves])


def _neighbours(keys: Sequence[Any]) -> list[tuple[slice, Any]]:
    """Where equal keys stand side by side, and each key."""
    pieces, start = [], 0
    for key, equal in itertools.groupby(keys):
        stop = start + len(list(equal))
        pieces.append((slice(start, stop), key))
        start = stop
    return pieces
