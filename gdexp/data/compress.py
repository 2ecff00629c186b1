"""Replace a long table by a short one with the same mean squared error for all parameters.

The mean squared error of a linear predictor depends on the table A = [1, X, y] only through A'A,
and the triangular factor R of A = QR has R'R = A'A in d + 2 rows. So every loss, every gradient and
every descent with the full batch is that of the whole table, at a cost that does not depend on n. R
is computed by orthogonal transformations, chunk by chunk. A'A itself is never formed: that would
lose half of the digits, and with them the loss near its minimum.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data.categories import Categories, Encoding
from gdexp.data.dataset import CHUNK, Chunk, Dataset
from gdexp.data.moments import LARGEST, deviations
from gdexp.data.transforms import Scaling, TargetScaling
from gdexp.errors import ConfigError

BLOCK = 512  # rows factored at once: few calls, small enough for the processor's cache

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Compressed:
    """A table of m rows that replaces one of n.

    Attributes:
        x: inputs, shape (m,) for one feature, (m, d) for d features.
        y: targets, shape (m,).
        rows: n.
        scaling: the standardization of the features, or None.
        target_scaling: the standardization of the target, or None.
    """

    x: Matrix
    y: Matrix
    rows: int
    scaling: Scaling | None
    target_scaling: TargetScaling | None = None


def compress(
    chunks: Iterable[Chunk],
    features: tuple[str, ...],
    *,
    bias: bool,
    standardize: bool,
    scale_target: str | None = None,
    encoding: Encoding | None = None,
) -> Compressed:
    """The shortest table on which every linear predictor has the same loss as on the whole table.

    With the triangular factor R of the n rows, the m rows are ``sqrt(m / n) * R``, so that their
    mean squared error is that of the n rows. A bias is a column of ones, which R turns into
    ``(sqrt(m), 0, …, 0)``. A reflection turns it back into ones and preserves all scalar products,
    so ``x @ w + b`` still holds.

    Args:
        chunks: the table in chunks of finite numbers.
        features: the names of its d features.
        bias: whether the predictor has a bias. A table made without is wrong for one that has.
        standardize: whether to give every feature mean 0 and standard deviation 1.
        scale_target: the name of the target, to do the same with it; None to leave it.
        encoding: how text among the inputs became numbers.

    Returns:
        d + 1 rows, or d + 2 with a bias or standardized; a table without more rows is unchanged.

    Raises:
        ConfigError: if a column to standardize is constant, or a number too large.
    """
    d, ones = len(features), bias or standardize or scale_target is not None
    m, chunks = d + 1 + ones, iter(chunks)
    x, y = next(chunks)
    while len(y) <= m and (more := next(chunks, None)) is not None:
        x, y = np.concatenate([x, more[0]]), np.concatenate([y, more[1]])
    if len(y) <= m:
        return _uncompressed(_table((x, y)), features, standardize, scale_target, encoding)
    # Minus the median, a column far from 0 keeps its digits, and a constant one is exactly 0.
    with np.errstate(over="ignore"):
        offset = np.median(_table((x[:BLOCK], y[:BLOCK])), axis=0) if ones else np.zeros(d + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        r, n = _factor(itertools.chain([(x, y)], chunks), offset, ones)
    if not np.abs(r).max() <= LARGEST * np.sqrt(n):
        raise ConfigError(
            f"data.compress: the table has numbers beyond {LARGEST:g}, whose sums do not fit in "
            "float64. Give their columns another unit, or type data.compress=false."
        )
    scaling = target_scaling = None
    if ones:
        r[0] *= np.sign(r[0, 0])  # now sqrt(n) times (1, means)
        r[0, 1:] += offset * r[0, 0]
        means = r[0, 1:] / r[0, 0]
        scales = deviations(r[1:, 1:], lambda columns: np.linalg.norm(columns, axis=0) / np.sqrt(n))
    if standardize:
        scaling = Scaling.by(means[:-1], scales[:-1], features, encoding)
        r[0, 1:-1] = 0
        r[1:, 1:-1] /= scaling.scale
    if scale_target is not None:
        target_scaling = TargetScaling.by(means[-1], scales[-1], scale_target)
        r[0, -1] = 0
        r[1:, -1] /= target_scaling.scale
    rows = np.sqrt(m / n) * r[:, int(ones) :]
    if bias:
        rows = _reflected(rows)
    x = rows[:, :-1].reshape((m, d) if d > 1 else m)
    return Compressed(x, rows[:, -1], n, scaling, target_scaling)


def triangular(matrix: Matrix) -> Matrix:
    """The triangular factor R of a tall matrix, shape (n, d) to (d, d)."""
    pieces = (matrix[start : start + CHUNK] for start in range(0, len(matrix), CHUNK))
    columns = ((piece[:, :-1], piece[:, -1]) for piece in pieces)
    return _factor(columns, np.zeros(matrix.shape[1]), ones=False)[0]


def factor(table: Dataset, *, ones: bool) -> Matrix:
    """The triangular factor R of a table [X, y], or [1, X, y] with a column of ones."""
    if len(table.y) > BLOCK:
        return _factor(table.chunks(), np.zeros(table.width + 1), ones)[0]
    rows = _table((table.x, table.y))
    return _r(np.insert(rows, 0, 1, axis=1) if ones else rows)


def _uncompressed(
    table: Matrix,
    features: tuple[str, ...],
    standardize: bool,
    scale_target: str | None,
    encoding: Encoding | None,
) -> Compressed:
    """A table too short to be compressed."""
    n, d = len(table), len(features)
    x, y = table[:, :-1].reshape((n, d) if d > 1 else n), table[:, -1]
    dataset = Dataset(x, y, "", features, scale_target or "", encoding)
    scaling = Scaling.of(dataset) if standardize else None
    target_scaling = TargetScaling.of(dataset) if scale_target is not None else None
    for transform in (scaling, target_scaling):
        dataset = dataset if transform is None else transform.apply(dataset)
    return Compressed(dataset.x, dataset.y, n, scaling, target_scaling)


def _table(chunk: Chunk) -> Matrix:
    """[X, y] of a chunk, shape (k, d + 1)."""
    x, y = chunk
    return np.column_stack([x, y]).astype(np.float64, copy=False)


def _factor(chunks: Iterator[Chunk], offset: Matrix, ones: bool) -> tuple[Matrix, int]:
    """R of [1, X, y] or [X, y], with X and y minus the offset, and the number of rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    r, n = np.empty((0, len(offset) + ones)), 0
    with threadpool_limits(1, user_api="blas"):  # threads only wait on blocks this small
        for x, y in chunks:
            block = np.empty((len(y), r.shape[1]))
            block[:, : int(ones)] = 1
            inputs = x if x.ndim == 2 else x[:, None]
            np.subtract(inputs, offset[:-1], out=block[:, int(ones) : -1])
            np.subtract(y, offset[-1], out=block[:, -1])
            r, n = _r(np.concatenate([r, _reduced(block)])), n + len(y)
    return r, n


def _reduced(block: Matrix) -> Matrix:
    """Fewer rows with the same scalar products: R of each few hundred rows."""
    k, width = block.shape
    size = max(BLOCK, 4 * width)
    whole = k - k % size
    if whole <= size:
        return block
    blocks = _r(block[:whole].reshape(-1, size, width))
    return np.concatenate([blocks.reshape(-1, width), block[whole:]])


def _r(matrix: Matrix) -> Matrix:
    """R of a matrix, or of each matrix in a stack."""
    r: Matrix = np.linalg.qr(matrix, mode="r")  # type: ignore[assignment]  # numpy's stub
    return r


def _reflected(rows: Matrix) -> Matrix:
    """H @ rows with the reflection H that maps (sqrt(m), 0, …, 0) to (1, …, 1)."""
    v = np.full(len(rows), -1.0)
    v[0] += np.sqrt(len(rows))
    return rows - np.outer(2 / (v @ v) * v, v @ rows)


class Digest:
    """Eight hex digits of SHA-256 that identify a table.

    It hashes every number as float64, row by row, so it depends neither on the file's format nor on
    the size of the chunks.

    Args:
        width: the number of features.
        names: the names of the categories and classes, whose numbers alone do not identify them.
    """

    def __init__(self, width: int, names: Sequence[Sequence[str]] = ()) -> None:
        self._sha = hashlib.sha256(f"{width} features\n".encode())
        for texts in names:
            self._sha.update(repr(texts).encode(errors="surrogatepass"))

    def reading(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield the same chunks, and hash them."""
        for chunk in chunks:
            self._sha.update(np.ascontiguousarray(_table(chunk), dtype="<f8").data)
            yield chunk

    def __str__(self) -> str:
        return self._sha.hexdigest()[:8]


def names_of(table: Any) -> list[Categories]:
    """The categories and the classes of a table, in memory or open."""
    inputs = [] if table.encoding is None else [*table.encoding.categories.values()]
    return [*inputs, table.classes] if table.classes else inputs


def digest(dataset: Dataset) -> str:
    """The digest of a table in memory."""
    sha = Digest(dataset.width, names_of(dataset))
    for _ in sha.reading(dataset.chunks()):
        pass
    return str(sha)
