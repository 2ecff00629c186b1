"""Gradient descent for all runs of a program at once, with one array element per run.

Runs do not affect each other: each gives what it would give alone, bit for bit with NumPy, within
rounding with torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.signals import signalled
from gdexp.sweep.vectorized.points.program import Floats, Program, ProgramResult
from gdexp.sweep.vectorized.tiles import EPOCHS, note_divergence, totals

Kernel: TypeAlias = Callable[[Floats], None]
"""Computes the next epochs of some runs into an array of shape (epochs, columns, runs).

The columns of an epoch are the loss and the gradients before the update and the parameters after
it, in the order of :class:`gdexp.descent.trajectory.Trajectory`.
"""

RUNS = 8 * 511  # per block; 8 times an odd number spreads a tile's rows over the cache
WORKSPACE = 2**17  # bytes for the residuals of a block, so that they fit in the cache


def run_program(
    program: Program, on_progress: Callable[[int], None] | None = None
) -> ProgramResult:
    """Gradient descent for every run of the program.

    Runs that differ only in ``iters`` or ``predict_at`` are computed once: the shorter ones are
    prefixes of the longest. Within :func:`gdexp.descent.signals.shielded`, a signal ends them all
    after the next tile, with the epochs that they have reached.

    Args:
        program: the runs.
        on_progress: called with the number of epochs computed so far, of all runs.
    """
    layout = _Layout(program)
    work = [len(runs) * int(program.iters[runs[-1]]) for runs in layout.blocks]
    done = 0

    def advance(epochs: int) -> None:
        if on_progress is not None:
            on_progress(program.epochs * (done + epochs) // sum(work))

    blocks = []
    with np.errstate(over="ignore", invalid="ignore"):
        for runs, size in zip(layout.blocks, work, strict=True):
            blocks.append(_descend_block(program, runs, advance))
            done += size
            advance(0)
        return _result(program, layout, blocks)


class _Block(NamedTuple):
    """What came of a block.

    Attributes:
        table: the curves, shape (runs, columns, epochs).
        first: the first non-finite epoch of each run, else the number of epochs, shape (runs,).
        reached: the number of epochs computed for each run, shape (runs,).
    """

    table: Floats
    first: NDArray[np.int64]
    reached: NDArray[np.int64]


class _Layout:
    """Which runs are computed together, and where the curves of each run are stored.

    ``blocks`` holds the runs to compute, sorted by ``iters``, so that the runs of a block have
    similar lengths, then by learning rate, so that a block of diverging runs ends early.
    """

    def __init__(self, program: Program) -> None:
        count, n = len(program.lr), len(program.x)
        numbers = [*program.start.values(), *(program.sgd or {}).values(), program.lr]
        # Compared as bits, because 0.0 == -0.0, but they are different starts.
        keys = [np.asarray(v, np.float64).view(np.int64) for v in numbers]
        order = np.lexsort((program.iters, *keys))
        new = np.ones(count, bool)
        new[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
        longest = order[np.roll(new, -1)]  # the last run of each group of equal numbers
        by_iters = np.argsort(program.iters[longest], kind="stable")
        rank = np.empty_like(by_iters)
        rank[by_iters] = np.arange(len(by_iters))
        self.place = np.empty(count, np.intp)
        self.place[order] = rank[np.cumsum(new) - 1]
        self.size = max(1, min(RUNS, WORKSPACE // (n * program.x.itemsize)))
        cuts = range(self.size, len(longest), self.size)
        self.blocks = np.split(longest[by_iters], cuts) if count else []


def _descend_block(
    program: Program, runs: NDArray[np.intp], advance: Callable[[int], None]
) -> _Block:
    """Compute a block of runs; none of their epochs once a signal has arrived."""
    epochs = int(program.iters[runs[-1]])
    columns = 1 + 2 * len(program.start)
    first = np.full(len(runs), epochs)
    if signalled():
        return _Block(np.zeros((len(runs), columns, 1)), first, np.zeros_like(first))
    kernel, reached = _kernel(program, runs), epochs
    table = np.empty((len(runs), columns, epochs))
    tile = np.empty((EPOCHS, columns, len(runs)))
    for begin in range(0, epochs, EPOCHS):
        part = tile[: epochs - begin]
        kernel(part)
        table[:, :, begin : begin + EPOCHS] = part.transpose(2, 1, 0)
        note_divergence(totals(part, len(program.start)), first, begin)
        if (first < epochs).all():
            break
        if signalled():
            reached = min(epochs, begin + len(part))
            break
        advance(len(runs) * (begin + len(part)))
    return _Block(table, first, np.full(len(runs), reached))


def _kernel(program: Program, runs: NDArray[np.intp]) -> Kernel:
    if program.torch:
        from gdexp.sweep.vectorized.points.torch_kernel import TorchKernel

        return TorchKernel(program, runs)
    from gdexp.sweep.vectorized.points.numpy_kernel import NumpyKernel

    return NumpyKernel(program, runs)


def _result(program: Program, layout: _Layout, blocks: list[_Block]) -> ProgramResult:
    stop = np.concatenate([block.first for block in blocks])[layout.place]
    reached = np.concatenate([block.reached for block in blocks])[layout.place]
    reached = np.minimum(reached, program.iters)
    last = np.maximum(np.minimum(stop, reached - 1), 0)  # even if that epoch is not finite
    final = {name: np.empty(len(last)) for name in program.start}
    tables = [block.table for block in blocks]
    for block, table in enumerate(tables):
        here = np.flatnonzero(layout.place // layout.size == block)
        rows = layout.place[here] % layout.size
        for i, values in enumerate(final.values()):
            values[here] = table[rows, 1 + i, last[here]]
    return ProgramResult(
        before=_predict(program, program.start),
        after=_predict(program, final),
        length=np.minimum(stop, reached),
        diverged=stop < program.iters,
        interrupted=(stop >= program.iters) & (reached < program.iters),
        names=tuple(program.start),
        place=layout.place,
        size=layout.size,
        tables=tables,
    )


def _predict(program: Program, parameters: Mapping[str, Floats]) -> Floats:
    """``f(predict_at)`` in the data's precision, shape (runs,)."""
    kind = program.x.dtype
    y_pred: NDArray[Any] = parameters["w"].astype(kind) * program.predict_at.astype(kind)
    if "b" in parameters:
        y_pred += parameters["b"].astype(kind)
    return y_pred.astype(np.float64)
