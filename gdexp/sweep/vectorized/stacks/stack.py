"""Runs of one structure on any data: what they share, and the numbers in which they differ."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.trajectory import SMALL, Trajectory
from gdexp.types import Gradient, Loss, Predictor

Floats = NDArray[np.float64]
Progress = Callable[[int], None]

SCHEDULED = ("lr", "momentum", "betas")  # the settings of an updater that schedulers change


class Table(NamedTuple):
    """The rows of one data set, in the runs' precision.

    Attributes:
        x: inputs, shape (n,) or (n, d).
        y: targets, shape (n,).
        kept: inputs and targets of the validation rows; None if there are none.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    kept: tuple[NDArray[Any], NDArray[Any]] | None


class End(NamedTuple):
    """Where a run ends, unless a rule or a number that is not finite ends it before.

    Runs that differ only in ``iters`` or ``predict_at`` are computed once, as one curve.

    Attributes:
        curve: the index of its curve.
        iters: its number of epochs.
    """

    curve: int
    iters: int


@dataclass(frozen=True)
class Stack:
    """Runs whose components are the same but for numbers, so that their parameters can be stacked.

    A curve is a descent; each run is the whole of one or its beginning.

    Attributes:
        predictor: the predictor of one run; its parameters are replaced.
        gradient: the gradient source.
        loss: the loss.
        updater: the form in which the updater is vectorized, see
            :data:`gdexp.config.capabilities.CAPABILITIES`.
        settings: the updater's settings of each curve.
        schedules: the scheduler of each curve, a partial of its class; empty if there are none.
        tables: the distinct data sets, of one shape.
        table: the index of each curve's data set, shape (curves,).
        start: the initial parameters by name, each of shape (curves, *shape).
        seeds: the seed of each curve, which orders its minibatches.
        batch_size: the rows of a minibatch; None for all rows.
        stops: the ``stop`` section of each curve's settings.
        ends: where each run ends.
        torch: whether parameters are tensors of the data's precision; else w of several features
            has the data's precision, and other parameters are in double precision, as in
            :mod:`gdexp.manual`.
        device: the device of the tensors.
    """

    predictor: Predictor
    gradient: Gradient
    loss: Loss
    updater: str
    settings: Sequence[Mapping[str, Any]]
    schedules: Sequence[Any]
    tables: Sequence[Table]
    table: NDArray[np.intp]
    start: Mapping[str, NDArray[Any]]
    seeds: Sequence[int]
    batch_size: int | None
    stops: Sequence[Mapping[str, Any]]
    ends: Sequence[End]
    torch: bool
    device: str = "cpu"

    def __len__(self) -> int:
        """The number of runs."""
        return len(self.ends)

    @property
    def epochs(self) -> int:
        """The number of epochs of all runs, though runs may share them."""
        return sum(end.iters for end in self.ends)

    def run(self, on_progress: Progress | None = None) -> StackResult:
        """Compute all runs; see :func:`gdexp.sweep.vectorized.stacks.loop.run_stack`."""
        from gdexp.sweep.vectorized.stacks.loop import run_stack

        return run_stack(self, on_progress)

    @functools.cached_property
    def iters(self) -> NDArray[np.int64]:
        """The number of epochs of each curve, shape (curves,)."""
        longest = np.zeros(len(self.settings), np.int64)
        for end in self.ends:
            longest[end.curve] = max(longest[end.curve], end.iters)
        return longest

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of a run, by name."""
        return {name: values.shape[1:] for name, values in self.start.items()}

    @property
    def size(self) -> int:
        """The number of numbers in the parameters of a run."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def reads(self) -> int:
        """The number of columns that the parameters take in a trajectory."""
        sizes = (math.prod(shape) for shape in self.shapes.values())
        return sum(size if size <= SMALL else 1 for size in sizes)

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the further curves, in the order of a trajectory's."""
        kept = ("validation/loss",) if self.tables[0].kept is not None else ()
        return (*kept, *(("train/lr",) if self.schedules else ()))

    @property
    def columns(self) -> int:
        """The number of curves of a trajectory: loss, parameters, gradients and measures."""
        return 1 + 2 * self.reads + len(self.measures)


@dataclass(frozen=True)
class StackResult:
    """How the runs of a stack ended.

    Attributes:
        tables: the curves of each descent, each of shape (columns, epochs).
        curve: the index of each run's descent.
        length: the number of finite epochs of each run, shape (runs,).
        diverged: whether each run reached an epoch that is not finite, shape (runs,).
        interrupted: whether a signal ended each run before, shape (runs,).
        final: the parameters after the last update of each run, each flat: all parameters, one
            after another; shape (runs, size).
        best: the same in the epoch of the smallest validation loss; None if that is not wanted.
        shapes: the shape of each parameter, by name.
    """

    tables: Sequence[Floats]
    curve: NDArray[np.intp]
    length: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    interrupted: NDArray[np.bool_]
    final: Floats
    best: Floats | None
    shapes: Mapping[str, tuple[int, ...]]

    def fill(self, trajectory: Trajectory, run: int) -> None:
        """Give an empty trajectory the epochs of a run; a view, not a copy."""
        table, length = self.tables[self.curve[run]], int(self.length[run])
        trajectory.take(table, length, diverged=bool(self.diverged[run]))

    def parameters(self, flat: Floats) -> dict[str, NDArray[Any]]:
        """The parameters by name, of one row of ``final`` or ``best``."""
        return unflatten(flat, self.shapes)


def unflatten(flat: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Split the last axis of an array or tensor into parameters of these shapes."""
    parameters, begin = {}, 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape)
        parameters[name] = flat[..., begin:end].reshape((*flat.shape[:-1], *shape))
        begin = end
    return parameters


def scheduled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an updater that schedulers change."""
    if "beta1" in settings:  # as gdexp.manual.Adam keeps them
        settings = {**settings, "betas": (settings["beta1"], settings["beta2"])}
    return {name: settings[name] for name in SCHEDULED if name in settings}
