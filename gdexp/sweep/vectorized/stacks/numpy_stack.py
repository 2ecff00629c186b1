"""The NumPy half of :mod:`gdexp.sweep.vectorized.stacks.loop`: the families by hand on arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp import manual
from gdexp.descent.trajectory import SMALL
from gdexp.sweep.vectorized.stacks.numpy_pass import Pass
from gdexp.sweep.vectorized.stacks.numpy_rows import Batch, Rows
from gdexp.sweep.vectorized.stacks.numpy_updaters import Updaters
from gdexp.sweep.vectorized.stacks.stack import Floats, Stack
from gdexp.types import Gradient, Parameters

WORKSPACE = 3 * 2**19  # bytes of the residuals and their products, so that they stay in the cache
CURVES = 4096  # at most


class NumpyStack:
    """Each curve is an element of the first axis of every array.

    Every number is that of the run alone, bit for bit: w of several features has the data's
    precision, w of one feature and b are in double precision, like Python floats.

    Args:
        stack: the stack.
        curves: the indices of the curves to compute.

    Attributes:
        total: the precision in which a run alone adds up a row to see that it is finite: that of
            its loss, which is a Python float where the families are computed in one pass.
    """

    def __init__(self, stack: Stack, curves: NDArray[np.intp]) -> None:
        x = stack.tables[0].x
        self._stack, self._kind = stack, x.dtype
        self._rows, self._epoch, self._passes = Rows(stack, curves), 0, dict[Any, Pass]()
        in_one_pass = stack.batch_size is None and isinstance(stack.loss, manual.Loss)
        self.total: Any = np.float64 if in_one_pass else self._kind
        self._parameters: Parameters = {
            name: values[curves].astype(self._kind if values.ndim > 1 else np.float64)
            for name, values in stack.start.items()
        }
        settings = [stack.settings[curve] for curve in curves]
        numbers = {
            name: np.array([one[name] for one in settings], np.float64)
            for name, value in settings[0].items()
            if isinstance(value, int | float)
        }
        self._updaters = Updaters(stack.updater, numbers, self._parameters)
        self._schedules: Any = None
        if stack.schedules:
            from gdexp.sweep.vectorized.stacks.schedules import Schedules

            self._schedules = Schedules(stack, curves)
        self._history = np.empty((0, len(curves), stack.size))

    @staticmethod
    def curves_at_once(stack: Stack) -> int:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        x = stack.tables[0].x
        rows, terms = min(stack.batch_size or len(x), len(x)), 2 + (x.ndim == 1)
        needed = x.itemsize * (rows * (terms + ("b" in stack.start)) + stack.size)
        return max(1, min(CURVES, WORKSPACE // needed))

    def __call__(self, part: Floats) -> None:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        self._history = np.empty((len(part), part.shape[2], self._stack.size))
        reads = self._stack.reads
        for row, flat in zip(part, self._history, strict=True):
            if self._schedules is not None:
                rates = self._schedules.values
                self._updaters.set(rates)
            self._epoch += 1
            loss, gradients = self._descend()
            row[0] = loss
            self._record(row[1 : 1 + reads], self._parameters)
            self._record(row[1 + reads : 1 + 2 * reads], gradients)
            self._flatten(flat)
            measured = row[1 + 2 * reads :]
            if self._rows.kept is not None:
                measured[0], _ = self._pass(self._rows.kept, None)(
                    self._rows.kept, self._parameters
                )
            if self._schedules is not None:
                measured[-1] = rates["lr"]
                self._schedules.step(lambda row=row: row[0])

    def parameters(self, epoch: int) -> Floats:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        flat: Floats = self._history[epoch]
        return flat

    def keep(self, curves: NDArray[np.intp]) -> None:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        self._rows = self._rows.keep(curves)
        self._passes.clear()
        self._parameters = {name: values[curves] for name, values in self._parameters.items()}
        self._updaters.keep(curves)
        if self._schedules is not None:
            self._schedules.keep(curves)

    def _descend(self) -> tuple[NDArray[Any], Parameters]:
        """One epoch, as :mod:`gdexp.descent.loop` descends; the losses and the gradients."""
        total, rows, gradients = np.zeros((), self._kind), 0, Parameters()
        for batch in self._rows.batches(self._epoch):
            evaluate = self._pass(batch, self._stack.gradient)
            loss, gradients = evaluate(batch, self._parameters)
            self._updaters(self._parameters, gradients)
            if self._stack.batch_size is None:
                return loss, gradients
            total, rows = total + loss * len(batch), rows + len(batch)
        return total / rows, gradients

    def _pass(self, batch: Batch, gradient: Gradient | None) -> Pass:
        """What evaluates a batch; batches of one size share its buffers."""
        key, stack = (len(batch), gradient is None), self._stack
        if key not in self._passes:
            shared = self._parameters, len(batch), self._kind
            self._passes[key] = Pass(*shared, gradient, stack.loss)
        return self._passes[key]

    def _record(self, columns: Floats, values: Parameters) -> None:
        """All numbers of a small parameter, the norm of a larger one."""
        first = 0
        for name, shape in self._stack.shapes.items():
            size, value = math.prod(shape), values[name]
            if size > SMALL:
                size, value = 1, _norms(value)
            columns[first : first + size] = value.reshape(len(value), size).T
            first += size

    def _flatten(self, flat: Floats) -> None:
        first = 0
        for name, shape in self._stack.shapes.items():
            size, value = math.prod(shape), self._parameters[name]
            flat[:, first : first + size] = value.reshape(len(value), size)
            first += size


def _norms(values: NDArray[Any]) -> NDArray[Any]:
    """``np.linalg.norm`` of each row: the root of a product of BLAS."""
    norms: NDArray[Any] = np.sqrt(np.matmul(values[:, None, :], values[:, :, None])[:, 0, 0])
    return norms
