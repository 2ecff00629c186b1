"""All runs that differ only in numbers, computed as one program: one array element for each run.

A run's numbers never meet its neighbours', so that each run is what it would be alone: bit for bit
with NumPy, within rounding with torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.trajectory import Trajectory

Floats: TypeAlias = NDArray[np.float64]
Program: TypeAlias = Callable[[Floats], None]
"""Computes the next epochs of some runs into an array of shape (epochs, columns, runs).

The columns of an epoch are the loss and the gradients before the update and the parameters after
it, in the order of :class:`gdexp.descent.trajectory.Trajectory`.
"""

EPOCHS = 64  # computed before they are examined and filed, a run's in one piece
RUNS = 8 * 511  # in a block; 8 times an odd number spreads a tile's rows over the cache
WORKSPACE = 2**17  # bytes for the residuals of a block, a share of the cache
PAIRWISE = 8  # from this many numbers on, NumPy's sum is not sequential


@dataclass(frozen=True)
class Batch:
    """What the runs of a batch have in common, and the numbers in which they differ.

    Args:
        x: the inputs, shape (n,), in the runs' precision: float32 or float64.
        y: the targets, shape (n,), of the same precision.
        gradient: "mean" (:class:`gdexp.manual.Gradient`), "sum"
            (:class:`gdexp.manual.GradientSum`) or "autograd".
        reduction: of the squared errors to the loss.
        torch: whether parameters are tensors of the data's precision, as they are when any of the
            four families is torch's; else they are in double precision, as in :mod:`gdexp.manual`.
        start: the start values by parameter, each of shape (runs,): ``w`` and, with a bias, ``b``.
        lr: the learning rates, shape (runs,).
        iters: the numbers of iterations, 1 or more, shape (runs,).
        predict_at: where each run predicts, shape (runs,).
        sgd: the settings of :class:`torch.optim.SGD`, each of shape (runs,): momentum, dampening,
            weight_decay, nesterov and maximize; None: the updater by hand.

    Raises:
        ValueError: only torch can do what is asked for, and ``torch`` is False.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    gradient: Literal["mean", "sum", "autograd"]
    reduction: Literal["mean", "sum"]
    torch: bool
    start: Mapping[str, Floats]
    lr: Floats
    iters: NDArray[np.int64]
    predict_at: Floats
    sgd: Mapping[str, NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        by_hand = self.gradient != "autograd" and self.reduction == "mean" and self.sgd is None
        if not (self.torch or by_hand):
            raise ValueError("autograd, a summed loss and SGD are torch's: torch must be True")


@dataclass(frozen=True)
class BatchResult:
    """How the runs of a batch ended.

    Attributes:
        before: f(predict_at) at the start of each run, shape (runs,).
        after: f(predict_at) after the last update of each run, shape (runs,).
        length: how many epochs of each run are finite, shape (runs,).
        diverged: whether each run met an epoch that is not, shape (runs,).
        names: the parameters.
        layout: where each run's curves are.
        tables: the curves of each block, shape (runs, columns, epochs).
    """

    before: Floats
    after: Floats
    length: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    names: tuple[str, ...]
    layout: _Layout
    tables: list[Floats]

    def trajectory(self, run: int) -> Trajectory:
        """The curves of one run, as the run alone would have recorded them; nothing is copied."""
        block, row = self.layout.find(run)
        length, diverged = int(self.length[run]), bool(self.diverged[run])
        return Trajectory.of(self.tables[block][row], self.names, length, diverged)


def bytes_needed(batch: Batch) -> int:
    """The size of the curves that :func:`descend_batch` will hold, before it computes them."""
    columns = 1 + 2 * len(batch.start)
    return sum(8 * columns * len(runs) * batch.iters[runs[-1]] for runs in _Layout(batch).blocks)


def descend_batch(batch: Batch, on_progress: Callable[[int], None] | None = None) -> BatchResult:
    """Gradient descent for every run of the batch.

    Runs that differ in ``iters`` or ``predict_at`` alone are computed once: the shorter ones are
    prefixes of the longest.

    Args:
        batch: the runs.
        on_progress: is told now and then how many runs' share of the work is done.
    """
    layout = _Layout(batch)
    work = [len(runs) * int(batch.iters[runs[-1]]) for runs in layout.blocks]
    done = 0

    def advance(epochs: int) -> None:
        if on_progress is not None:
            on_progress(len(batch.lr) * (done + epochs) // sum(work))

    tables, first = [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for runs, size in zip(layout.blocks, work, strict=True):
            table, stop = _descend_block(batch, runs, advance)
            tables.append(table)
            first.append(stop)
            done += size
            advance(0)
        return _result(batch, layout, tables, np.concatenate(first))


class _Layout:
    """Which runs are computed together, and where the curves of each run are to be found.

    ``blocks`` holds the runs to compute. They are sorted by ``iters``, so that a block is about as
    long as each of its runs, and then by learning rate, so that diverging runs end their block
    early.
    """

    def __init__(self, batch: Batch) -> None:
        count, n = len(batch.lr), len(batch.x)
        numbers = [*batch.start.values(), *(batch.sgd or {}).values(), batch.lr]
        # Compared as bits, because -0.0 and 0.0 are equal and not the same start.
        keys = [np.asarray(v, np.float64).view(np.int64) for v in numbers]
        order = np.lexsort((batch.iters, *keys))
        new = np.ones(count, bool)
        new[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
        longest = order[np.roll(new, -1)]  # the last of each group of equal numbers
        by_iters = np.argsort(batch.iters[longest], kind="stable")
        rank = np.empty_like(by_iters)
        rank[by_iters] = np.arange(len(by_iters))
        self.place = np.empty(count, np.intp)
        self.place[order] = rank[np.cumsum(new) - 1]
        self.size = max(1, min(RUNS, WORKSPACE // (n * batch.x.itemsize)))
        cuts = range(self.size, len(longest), self.size)
        self.blocks = np.split(longest[by_iters], cuts) if count else []

    def find(self, run: int) -> tuple[int, int]:
        """The block of a run and its row in there."""
        block, row = divmod(int(self.place[run]), self.size)
        return block, row


def _descend_block(
    batch: Batch, runs: NDArray[np.intp], advance: Callable[[int], None]
) -> tuple[Floats, NDArray[np.int64]]:
    """The curves, shape (runs, columns, epochs), and the first epoch that is not finite."""
    epochs = int(batch.iters[runs[-1]])
    columns, kind = 1 + 2 * len(batch.start), np.float64 if batch.torch else batch.x.dtype
    program = _program(batch, runs)
    table = np.empty((len(runs), columns, epochs))
    first = np.full(len(runs), epochs)
    tile = np.empty((EPOCHS, columns, len(runs)))
    for begin in range(0, epochs, EPOCHS):
        part = tile[: epochs - begin]
        program(part)
        table[:, :, begin : begin + EPOCHS] = part.transpose(2, 1, 0)
        bad = _not_finite(part, kind)
        fresh = np.flatnonzero(bad.any(axis=0) & (first == epochs))
        first[fresh] = begin + bad[:, fresh].argmax(axis=0)
        if (first < epochs).all():
            break
        advance(len(runs) * (begin + len(part)))
    return table, first


def _not_finite(part: Floats, kind: Any) -> NDArray[np.bool_]:
    """The rule of :meth:`gdexp.descent.trajectory.Trajectory.extend`, shape (epochs, runs).

    The sum of a row is taken in the precision of its loss.
    """
    names = (part.shape[1] - 1) // 2
    total = part[:, 0].astype(kind)
    for i in range(1, 1 + names):
        total += (part[:, i] + part[:, i + names]).astype(kind, copy=False)
    bad: NDArray[np.bool_] = ~np.isfinite(total)
    return bad


def _program(batch: Batch, runs: NDArray[np.intp]) -> Program:
    if batch.torch:
        from gdexp.sweep.vectorized.torch_kernel import Tensors

        return Tensors(batch, runs)
    from gdexp.sweep.vectorized.numpy_kernel import Arrays

    return Arrays(batch, runs)


def _result(
    batch: Batch, layout: _Layout, tables: list[Floats], first: NDArray[np.int64]
) -> BatchResult:
    stop = first[layout.place]
    length = np.minimum(stop, batch.iters)
    last = np.minimum(stop, batch.iters - 1)  # also where that epoch is not finite
    final = {name: np.empty(len(last)) for name in batch.start}
    for block, table in enumerate(tables):
        here = np.flatnonzero(layout.place // layout.size == block)
        rows = layout.place[here] % layout.size
        for i, values in enumerate(final.values()):
            values[here] = table[rows, 1 + i, last[here]]
    return BatchResult(
        before=_predict(batch, batch.start),
        after=_predict(batch, final),
        length=length,
        diverged=stop < batch.iters,
        names=tuple(batch.start),
        layout=layout,
        tables=tables,
    )


def _predict(batch: Batch, parameters: Mapping[str, Floats]) -> Floats:
    """``f(predict_at)`` in the data's precision, shape (runs,)."""
    kind = batch.x.dtype
    y_pred: NDArray[Any] = parameters["w"].astype(kind) * batch.predict_at.astype(kind)
    if "b" in parameters:
        y_pred += parameters["b"].astype(kind)
    return y_pred.astype(np.float64)
