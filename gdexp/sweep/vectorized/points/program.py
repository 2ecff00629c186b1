"""A vectorized program, what its runs share and how they differ, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.trajectory import Trajectory

Floats: TypeAlias = NDArray[np.float64]

PAIRWISE = 8  # NumPy sums fewer numbers than this sequentially, more pairwise


@dataclass(frozen=True)
class Program:
    """Runs that share everything except some numbers.

    Args:
        x: the inputs, shape (n,), in the runs' precision: float32 or float64.
        y: the targets, shape (n,), of the same precision.
        gradient: "mean" (:class:`gdexp.manual.Gradient`), "sum"
            (:class:`gdexp.manual.GradientSum`) or "autograd".
        reduction: reduces the squared errors to the loss.
        torch: whether any of the four families is torch's, so that parameters are tensors of the
            data's precision; else they are in double precision, as in :mod:`gdexp.manual`.
        start: initial values by parameter, each of shape (runs,): ``w`` and, with a bias, ``b``.
        lr: the learning rates, shape (runs,).
        iters: the numbers of iterations, 1 or more, shape (runs,).
        predict_at: the inputs at which the runs predict, shape (runs,).
        sgd: the settings of :class:`torch.optim.SGD`, each of shape (runs,): momentum, dampening,
            weight_decay, nesterov and maximize; None: the updater by hand.

    Raises:
        ValueError: the program needs torch, and ``torch`` is False.
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

    device: ClassVar[str] = "cpu"

    def __len__(self) -> int:
        """The number of runs."""
        return len(self.lr)

    @property
    def epochs(self) -> int:
        """The number of epochs of all runs."""
        return int(self.iters.sum())

    def run(self, on_progress: Callable[[int], None] | None = None) -> ProgramResult:
        """Compute all runs; see :func:`gdexp.sweep.vectorized.points.loop.run_program`."""
        from gdexp.sweep.vectorized.points.loop import run_program

        return run_program(self, on_progress)

    def __post_init__(self) -> None:
        by_hand = self.gradient != "autograd" and self.reduction == "mean" and self.sgd is None
        if not (self.torch or by_hand):
            raise ValueError("autograd, a summed loss and SGD are torch's: torch must be True")


@dataclass(frozen=True)
class ProgramResult:
    """How the runs of a program ended.

    Attributes:
        before: f(predict_at) at the start of each run, shape (runs,).
        after: f(predict_at) after the last update of each run, shape (runs,).
        length: the number of finite epochs of each run, shape (runs,).
        diverged: whether each run reached a non-finite epoch, shape (runs,).
        interrupted: whether a signal ended each run before, shape (runs,).
        names: the names of the parameters.
        place: the index of each run among the computed curves, shape (runs,).
        size: the number of curves in a block.
        tables: the curves of each block, shape (runs, columns, epochs).
    """

    before: Floats
    after: Floats
    length: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    interrupted: NDArray[np.bool_]
    names: tuple[str, ...]
    place: NDArray[np.intp]
    size: int
    tables: list[Floats]

    def trajectory(self, run: int) -> Trajectory:
        """The curves of one run, as it would have recorded them alone; a view, not a copy."""
        block, row = divmod(int(self.place[run]), self.size)
        length, diverged = int(self.length[run]), bool(self.diverged[run])
        return Trajectory.of(self.tables[block][row], self.names, length, diverged)
