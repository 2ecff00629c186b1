"""Gradient descent for all curves of a stack at once.

Curves do not affect each other: each is what it would be alone. One that has ended is computed no
further.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.signals import signalled
from gdexp.descent.stopping import VALIDATION, Rules
from gdexp.descent.trajectory import Trajectory
from gdexp.sweep.vectorized.stacks.stack import Floats, Progress, Stack, StackResult
from gdexp.sweep.vectorized.tiles import EPOCHS, note_divergence, totals

HISTORY = 32 * 2**20  # bytes of the parameters after each epoch of a tile


class Kernel(Protocol):
    """Descends some curves of a stack, all by one epoch at a time."""

    @property
    def total(self) -> Any:
        """The precision in which :class:`Trajectory` adds up a row to see that it is finite."""

    def __init__(self, stack: Stack, curves: NDArray[np.intp]) -> None: ...

    @staticmethod
    def curves_at_once(stack: Stack) -> int:
        """The number of curves for which everything that an epoch needs stays in the cache."""

    def __call__(self, part: Floats) -> None:
        """Compute the next epochs into an array of shape (epochs, columns, curves).

        The columns are those of :class:`gdexp.descent.trajectory.Trajectory`: the loss, the
        parameters after the update, the gradients before it, the measures.
        """

    def parameters(self, epoch: int) -> Floats:
        """All parameters after an epoch of the last part, counted from 0; (curves, size)."""

    def keep(self, curves: NDArray[np.intp]) -> None:
        """Compute only these of the current curves from now on."""


def kernel_of(stack: Stack) -> type[Kernel]:
    """The class that computes a stack: in NumPy what is by hand, else in torch."""
    if stack.torch:
        from gdexp.sweep.vectorized.stacks.torch_stack import TorchStack

        return TorchStack
    from gdexp.sweep.vectorized.stacks.numpy_stack import NumpyStack

    return NumpyStack


def run_stack(stack: Stack, on_progress: Progress | None = None) -> StackResult:
    """Gradient descent for every run of a stack.

    Within :func:`gdexp.descent.signals.shielded`, a signal ends all runs after the next tile, with
    the epochs that they have reached.

    Args:
        stack: the runs.
        on_progress: called with the number of epochs computed so far, of all runs.
    """
    descent, kind = _Descent(stack), kernel_of(stack)
    work, done = max(1, int(stack.iters.sum())), 0
    # Curves that share their rows stand side by side, so that their rows are drawn once.
    order = np.lexsort((np.array(stack.seeds), stack.table, stack.iters))
    size = max(1, kind.curves_at_once(stack))
    with np.errstate(all="ignore"):
        for block in np.split(order, range(size, len(order), size)):
            for computed in descent.compute(kind, block):
                if on_progress is not None:
                    on_progress(stack.epochs * (done + computed) // work)
            done += int(stack.iters[block].sum())
    if on_progress is not None:
        on_progress(stack.epochs)
    return descent.result()


class _Descent:
    """What is known of the curves of a stack, and where its runs have ended.

    ``first`` is the first epoch of each curve that is not finite, counted from 0, and ``stop`` the
    number of epochs after which a rule has ended it; both are its ``iters`` if there is none.
    """

    def __init__(self, stack: Stack) -> None:
        runs, size = len(stack), stack.size
        self.stack = stack
        self.first, self.stop = stack.iters.copy(), stack.iters.copy()
        self.reached = np.zeros_like(stack.iters)
        self.tables: list[Floats] = [np.empty((stack.columns, 0)) for _ in stack.iters]
        self.rules = [Rules(stop) for stop in stack.stops]
        self.watched: dict[int, Trajectory] = {}  # by curve: those that a rule may end
        self.final = np.full((runs, size), np.nan)
        restores = any(rules.restores_best for rules in self.rules)
        self.best = np.full((runs, size), np.nan) if restores else None
        self.smallest = np.full(len(stack.iters), np.nan)
        self.at_smallest = np.full((len(stack.iters) if restores else 0, size), np.nan)
        self.waiting: dict[int, list[int]] = defaultdict(list)  # runs not ended, by curve
        for run, end in enumerate(stack.ends):
            self.waiting[end.curve].append(run)
        for waiting in self.waiting.values():
            waiting.sort(key=lambda run: stack.ends[run].iters)

    def compute(self, kind: type[Kernel], live: NDArray[np.intp]) -> Iterator[int]:
        """Descend some curves; yields the number of their epochs that need no more computing."""
        stack = self.stack
        if signalled():
            return
        kernel, epochs, begin, ended = kind(stack, live), int(stack.iters[live].max()), 0, 0
        block = np.empty((len(live), stack.columns, epochs))
        names = tuple(map(str, range(stack.reads)))
        for table, curve in zip(block, live, strict=True):
            self.tables[curve] = table
            if self.rules[curve].every is not None:
                self.watched[curve] = Trajectory.of(table, names, 0, False, stack.measures)
        rows = np.arange(len(live))
        while len(live):
            count = min(EPOCHS, epochs - begin, max(1, HISTORY // (8 * len(live) * stack.size)))
            if stack.schedules:  # some do not go on beyond their last epoch
                count = min(count, int(stack.iters[live].min()) - begin)
            part = np.empty((count, stack.columns, len(live)))
            kernel(part)
            block[rows, :, begin : begin + count] = part.transpose(2, 1, 0)
            self._judge(kernel, part, live, begin)
            self._snapshot(kernel, part, live, begin)
            begin += count
            self.reached[live] = begin
            limits = np.minimum(np.minimum(self.first, self.stop), stack.iters)[live]
            left = np.flatnonzero(limits > begin)
            if len(left) < len(live):
                ended += int(stack.iters[np.delete(live, left)].sum())
                live, rows = live[left], rows[left]
                kernel.keep(left)
            yield ended + begin * len(live)
            if signalled():
                return

    def _judge(self, kernel: Kernel, part: Floats, live: NDArray[np.intp], begin: int) -> None:
        """Where curves stop being finite, and where a rule ends them."""
        first = self.first[live]
        note_divergence(_totals(part, self.stack, kernel.total), first, begin)
        self.first[live] = first
        for curve in live:
            if (trajectory := self.watched.get(curve)) is not None:
                trajectory.length = min(begin + len(part), int(self.first[curve]))
                epoch = self.rules[curve].first_end(trajectory, begin)
                self.stop[curve] = min(epoch or self.stop[curve], self.stop[curve])

    def _snapshot(self, kernel: Kernel, part: Floats, live: NDArray[np.intp], begin: int) -> None:
        """Keep the parameters of the runs that end in this part, and of the best epochs."""
        end, read = begin + len(part), functools.cache(kernel.parameters)
        for row, curve in enumerate(live):
            first, stop = int(self.first[curve]), int(self.stop[curve])
            for run in [*self.waiting[curve]]:
                whole = min(self.stack.ends[run].iters, stop)
                length, last = min(whole, first), min(whole - 1, first)
                if last < end:
                    self.final[run] = read(last - begin)[row]
                    self._keep_best(read, part, row, curve, begin, length)
                    if self.best is not None:
                        self.best[run] = self.at_smallest[curve]
                    self.waiting[curve].remove(run)
            self._keep_best(read, part, row, curve, begin, min(end, first, stop))

    def _keep_best(
        self,
        read: Callable[[int], Floats],
        part: Floats,
        row: int,
        curve: int,
        begin: int,
        until: int,
    ) -> None:
        """Keep the parameters of the epoch of the smallest validation loss, up to an epoch."""
        if self.best is None or until <= begin:
            return
        column = 1 + 2 * self.stack.reads + self.stack.measures.index(VALIDATION)
        losses = part[: until - begin, column, row]
        losses = np.where(np.isnan(losses), np.inf, losses)
        epoch = int(losses.argmin())
        if not losses[epoch] >= self.smallest[curve]:  # also the first of all, whatever it is
            self.smallest[curve] = losses[epoch]
            self.at_smallest[curve] = read(epoch)[row]

    def result(self) -> StackResult:
        """How the runs have ended."""
        curve = np.array([end.curve for end in self.stack.ends], np.intp)
        iters = np.array([end.iters for end in self.stack.ends])
        first, stop, reached = self.first[curve], self.stop[curve], self.reached[curve]
        whole = np.minimum(np.minimum(first, stop), iters)
        return StackResult(
            tables=self.tables,
            curve=curve,
            length=np.minimum(whole, reached),
            diverged=(first < iters) & (first < stop) & (first < reached),
            interrupted=reached < np.where(first == whole, np.minimum(whole + 1, iters), whole),
            final=self.final,
            best=self.best,
            shapes=self.stack.shapes,
        )


def _totals(part: Floats, stack: Stack, kind: Any) -> NDArray[Any]:
    """The sum of each row, as a run alone adds it up: a longer row all at once."""
    if stack.size == len(stack.shapes):
        return totals(part, stack.reads, kind)
    total: NDArray[Any] = np.add.reduce(part[:, : 1 + 2 * stack.reads], axis=1)
    return total
