"""Gradient descent for all curves of a stack at once.

Curves do not affect each other: each is what it would be alone. One that has ended is computed no
further.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.signals import signalled
from gdexp.descent.stopping import Rules, best_epoch
from gdexp.descent.trajectory import Trajectory
from gdexp.sweep.vectorized.stack import Floats, Progress, Stack, StackResult

EPOCHS = 64  # per tile: computed, then judged
HISTORY = 32 * 2**20  # bytes of the parameters after each epoch of a tile


class Kernel(Protocol):
    """Descends some curves of a stack, all by one epoch at a time."""

    def __call__(self, part: Floats) -> None:
        """Compute the next epochs into an array of shape (epochs, columns, curves).

        The columns are those of :class:`gdexp.descent.trajectory.Trajectory`: the loss, the
        parameters after the update, the gradients before it, the measures.
        """

    def parameters(self, epoch: int) -> Floats:
        """All parameters after an epoch of the last part, counted from 0; (curves, size)."""

    def keep(self, curves: NDArray[np.intp]) -> None:
        """Compute only these of the current curves from now on."""


def run_stack(stack: Stack, on_progress: Progress | None = None) -> StackResult:
    """Gradient descent for every run of a stack.

    Within :func:`gdexp.descent.signals.shielded`, a signal ends all runs after the next tile, with
    the epochs that they have reached.

    Args:
        stack: the runs.
        on_progress: called with the share of the work that is done, as a number of runs.
    """
    descent = _Descent(stack)
    blocks = list(_blocks(stack))
    work = max(1, int(stack.iters.sum()))
    done = 0
    with np.errstate(all="ignore"):
        for block in blocks:
            for computed in descent.run(block):
                if on_progress is not None:
                    on_progress(len(stack) * (done + computed) // work)
            done += int(stack.iters[block].sum())
            if on_progress is not None:
                on_progress(len(stack) * done // work)
    return descent.result()


def _blocks(stack: Stack) -> Iterable[NDArray[np.intp]]:
    """The curves that are computed at once, so many that what an epoch needs stays in the cache."""
    order = np.argsort(stack.iters, kind="stable")
    size = _kernel_of(stack).curves_at_once(stack)
    return np.split(order, range(size, len(order), size))


def _kernel_of(stack: Stack):  # type: ignore[no-untyped-def]
    if stack.torch:
        from gdexp.sweep.vectorized.torch_stack import TorchStack

        return TorchStack
    from gdexp.sweep.vectorized.numpy_stack import NumpyStack

    return NumpyStack
