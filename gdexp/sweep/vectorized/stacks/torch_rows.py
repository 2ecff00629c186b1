"""The rows of stacked runs as tensors: shared by all curves, or of each its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdexp.sweep.vectorized.stacks.stack import Stack


class Shared(NamedTuple):
    """Rows of one curve or of all, as ``vmap`` takes them.

    Attributes:
        rows: the tensor.
        axis: its axis of the curves; None if all have the same rows.
    """

    rows: Tensor
    axis: int | None


class Rows:
    """The training and the validation rows of some curves.

    Args:
        stack: the stack.
        curves: the indices of the curves.

    Attributes:
        kind: the precision of x.
    """

    def __init__(self, stack: Stack, curves: NDArray[np.intp]) -> None:
        self._size, device = stack.batch_size, stack.device
        used, inverse = np.unique(stack.table[curves], return_inverse=True)
        tables = [stack.tables[i] for i in used]
        self._x, self._y = (
            torch.from_numpy(np.stack([t[i] for t in tables])).to(device) for i in (0, 1)
        )
        self._kept = [
            torch.from_numpy(np.stack([t.kept[i] for t in tables if t.kept])).to(device)
            for i in (0, 1)
            if tables[0].kept is not None
        ]
        self.kind = self._x.dtype
        self._table = torch.from_numpy(inverse).to(device)
        seeds, order = np.unique([stack.seeds[i] for i in curves], return_inverse=True)
        self._seeds, self._order = seeds.tolist(), torch.from_numpy(order).to(device)
        self._epoch = 0

    @property
    def whole(self) -> tuple[Shared, Shared]:
        """All training rows."""
        return self._of_table(self._x), self._of_table(self._y)

    @property
    def kept(self) -> tuple[Shared, Shared] | None:
        """The validation rows; None if there are none."""
        if not self._kept:
            return None
        x, y = self._kept
        return self._of_table(x), self._of_table(y)

    def _of_table(self, rows: Tensor) -> Shared:
        return Shared(rows[0], None) if len(rows) == 1 else Shared(rows[self._table], 0)

    def batches(self) -> Iterator[tuple[Shared, Shared, int]]:
        """The minibatches of the next epoch (:func:`gdexp.data.transforms.batches`), of each seed.

        Yields:
            x, y and the number of rows.
        """
        assert self._size is not None
        self._epoch += 1
        n = self._y.shape[1]
        drawn = [np.random.default_rng((s, self._epoch)).permutation(n) for s in self._seeds]
        orders = torch.from_numpy(np.stack(drawn)).to(self._x.device)
        for start in range(0, n, self._size):
            rows = orders[:, start : start + self._size]
            yield self._taken(self._x, rows), self._taken(self._y, rows), rows.shape[1]

    def _taken(self, table: Tensor, rows: Tensor) -> Shared:
        if len(rows) == len(table) == 1:
            return Shared(table[0].index_select(0, rows[0]), None)
        if len(table) == 1:
            return Shared(table[0][rows][self._order], 0)
        return Shared(table[self._table[:, None], rows[self._order]], 0)

    def keep(self, curves: Tensor) -> None:
        """Keep the rows of these of the current curves."""
        self._table, self._order = self._table[curves], self._order[curves]
