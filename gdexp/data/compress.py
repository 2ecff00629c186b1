"""A long table replaced by a short one that has the same mean squared error, everywhere.

The mean squared error of a linear predictor depends on the table A = [1, X, y] through A'A alone,
and the triangular factor R of A = QR has R'R = A'A in d + 2 rows. So every loss, every gradient and
every descent with the full batch is that of the whole table, at a cost that does not depend on n.
R is found by orthogonal transformations, piece by piece; A'A itself is never formed, as that would
lose half of the digits, and with them the loss near its minimum.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gdexp.data.dataset import CHUNK, Chunk, Dataset
from gdexp.data.transforms import Scaling

BLOCK = 512  # rows factored at once: few calls, and they fit into the processor's cache

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Compressed:
    """A table of m rows in place of n.

    Attributes:
        x: inputs, shape (m,) for one feature, (m, d) for d of them.
        y: targets, shape (m,).
        rows: n, the rows that these stand for.
        scaling: what the features were standardised with, or None.
    """

    x: Matrix
    y: Matrix
    rows: int
    scaling: Scaling | None


def compress(
    chunks: Iterable[Chunk], features: tuple[str, ...], *, bias: bool, standardize: bool
) -> Compressed:
    """The shortest table on which every linear predictor has the loss it has on the whole one.

    With R the triangular factor of the n rows, the m rows are ``sqrt(m / n) * R``: their mean is
    then the mean of the n. A bias is a column of ones, of which R leaves ``(sqrt(m), 0, …, 0)``; a
    reflection turns it back into ones and changes no scalar product, so ``x @ w + b`` is right as
    it stands.

    Args:
        chunks: the table in pieces, of finite numbers.
        features: the names of its d features.
        bias: whether the predictor has one; what is made without serves predictors without only.
        standardize: whether to give every feature mean 0 and standard deviation 1.

    Returns:
        d + 1 rows, or d + 2 with a bias or standardised; a table that has no more, as it is.

    Raises:
        ConfigError: a feature to standardise is constant.
    """
    d, ones = len(features), bias or standardize
    m, chunks = d + 1 + ones, iter(chunks)
    x, y = next(chunks)
    while len(y) <= m and (more := next(chunks, None)) is not None:
        x, y = np.concatenate([x, more[0]]), np.concatenate([y, more[1]])
    if len(y) <= m:
        return _as_it_is(_table((x, y)), features, standardize)
    # Less a typical value, a column far from 0 keeps its digits, and a constant one is exactly 0.
    typical = np.median(_table((x[:BLOCK], y[:BLOCK])), axis=0)
    offset = typical if ones else np.zeros(d + 1)
    r, n = _factor(itertools.chain([(x, y)], chunks), offset, ones)
    scaling = None
    if ones:
        r[0] *= np.sign(r[0, 0])  # now sqrt(n) times (1, means)
        r[0, 1:] += offset * r[0, 0]
    if standardize:
        inputs = r[:, 1:-1]
        scale = np.linalg.norm(inputs[1:], axis=0) / np.sqrt(n)
        scaling = Scaling(inputs[0] / r[0, 0], scale, features)
        inputs[0] = 0
        inputs[1:] /= scale
    rows = np.sqrt(m / n) * r[:, int(ones) :]
    if bias:
        rows = _reflected(rows)
    return Compressed(rows[:, :-1].reshape((m, d) if d > 1 else m), rows[:, -1], n, scaling)


def triangular(matrix: Matrix) -> Matrix:
    """R of a tall matrix, shape (n, d) to (d, d)."""
    pieces = (matrix[start : start + CHUNK] for start in range(0, len(matrix), CHUNK))
    columns = ((piece[:, :-1], piece[:, -1]) for piece in pieces)
    return _factor(columns, np.zeros(matrix.shape[1]), ones=False)[0]


def _as_it_is(table: Matrix, features: tuple[str, ...], standardize: bool) -> Compressed:
    """A table too short to be compressed."""
    n, d = len(table), len(features)
    dataset = Dataset(table[:, :-1].reshape((n, d) if d > 1 else n), table[:, -1], "", features)
    scaling = Scaling.of(dataset) if standardize else None
    x = scaling.apply(dataset).x if scaling else dataset.x
    return Compressed(x, dataset.y, n, scaling)


def _table(chunk: Chunk) -> Matrix:
    """[X, y] of some rows, shape (k, d + 1)."""
    x, y = chunk
    return np.column_stack([x, y]).astype(np.float64, copy=False)


def _factor(chunks: Iterator[Chunk], offset: Matrix, ones: bool) -> tuple[Matrix, int]:
    """The triangular factor of [1, X, y] or [X, y], less the offset, and the number of rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    r, n = np.empty((0, len(offset) + ones)), 0
    with threadpool_limits(1, user_api="blas"):  # in blocks this small, threads only wait
        for x, y in chunks:
            block = np.empty((len(y), r.shape[1]))
            block[:, : int(ones)] = 1
            inputs = x if x.ndim == 2 else x[:, None]
            np.subtract(inputs, offset[:-1], out=block[:, int(ones) : -1])
            np.subtract(y, offset[-1], out=block[:, -1])
            r, n = _r(np.concatenate([r, _reduced(block)])), n + len(y)
    return r, n


def _reduced(block: Matrix) -> Matrix:
    """Fewer rows with the same scalar products: R of every few hundred rows."""
    k, width = block.shape
    size = max(BLOCK, 4 * width)
    whole = k - k % size
    if whole <= size:
        return block
    blocks = _r(block[:whole].reshape(-1, size, width))
    return np.concatenate([blocks.reshape(-1, width), block[whole:]])


def _r(matrix: Matrix) -> Matrix:
    """R of a matrix, or of each in a stack."""
    found: Matrix = np.linalg.qr(matrix, mode="r")  # type: ignore[assignment]  # numpy's stub
    return found


def _reflected(rows: Matrix) -> Matrix:
    """H @ rows, with the reflection H that takes (sqrt(m), 0, …, 0) to (1, …, 1)."""
    v = np.full(len(rows), -1.0)
    v[0] += np.sqrt(len(rows))
    return rows - np.outer(2 / (v @ v) * v, v @ rows)


class Digest:
    """Eight hex digits of SHA-256 that tell one table from another.

    Every number counts as float64, row by row, so neither the format of a file nor the size of the
    pieces matters.

    Args:
        width: the number of features.
    """

    def __init__(self, width: int) -> None:
        self._sha = hashlib.sha256(f"{width} features\n".encode())

    def reading(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The same chunks, each taken into account as it passes."""
        for chunk in chunks:
            self._sha.update(np.ascontiguousarray(_table(chunk), dtype="<f8").data)
            yield chunk

    def __str__(self) -> str:
        return self._sha.hexdigest()[:8]


def digest(dataset: Dataset) -> str:
    """The digest of a table in memory."""
    found = Digest(dataset.width)
    for _ in found.reading(dataset.chunks()):
        pass
    return str(found)
