"""The torch half of :mod:`gdexp.sweep.vectorized.stacks.loop`: ``torch.func.vmap`` over runs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, vmap

from gdexp.descent.trajectory import SMALL
from gdexp.pytorch import Autograd, Module, inference
from gdexp.sweep.vectorized.stacks.stack import Floats, Stack, unflatten
from gdexp.sweep.vectorized.stacks.torch_rows import Rows
from gdexp.sweep.vectorized.stacks.torch_updaters import UPDATERS
from gdexp.types import Parameters

WORKSPACE = 2**21  # bytes of the values of a layer, for all curves, so that they stay in the cache
ON_DEVICE = 2**30  # the same on another device, which holds them in its memory
CURVES = 4096  # at most
GRAIN = 32768  # numbers from which torch itself uses several threads


class TorchStack:
    """The parameters of each curve are a row of one tensor, in the data's precision.

    Args:
        stack: the stack.
        curves: the indices of the curves to compute.
    """

    def __init__(self, stack: Stack, curves: NDArray[np.intp]) -> None:
        self._stack, self._shapes, self.total = stack, stack.shapes, np.float64
        self._rows = Rows(stack, curves)
        start = [values[curves].reshape(len(curves), -1) for values in stack.start.values()]
        kind = self._rows.kind
        self._flat = torch.tensor(np.concatenate(start, axis=1), dtype=kind, device=stack.device)
        self._updater = UPDATERS[stack.updater](
            [stack.settings[i] for i in curves], kind, stack.device
        )
        self._schedules: Any = None
        if stack.schedules:
            from gdexp.sweep.vectorized.stacks.schedules import Schedules

            self._schedules = Schedules(stack, curves)
        self._evaluate = _Evaluation(stack)
        self._history: list[Tensor] = []

    @staticmethod
    def curves_at_once(stack: Stack) -> int:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        size = _widest(stack) * stack.tables[0].x.itemsize
        if stack.device != "cpu":
            return max(1, ON_DEVICE // size)
        return max(8, min(CURVES, WORKSPACE // size))

    def __call__(self, part: Floats) -> None:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        self._history = []
        is_here = self._stack.device == "cpu"
        out = torch.from_numpy(part)
        if not is_here:  # fetched in one transfer
            out = torch.empty(part.shape, dtype=self._rows.kind, device=self._stack.device)
        with _threads(self._stack), _without_advice():
            for row in out:
                self._epoch(row)
                self._history.append(self._flat)
        if not is_here:
            part[...] = out.cpu().numpy()

    def _epoch(self, row: Tensor) -> None:
        if self._schedules is not None:
            values = self._schedules.values
            self._updater.set(values)
        loss, gradients = self._descend()
        reads = self._stack.reads
        row[0] = loss
        self._read(self._flat, row[1 : 1 + reads])
        self._read(gradients, row[1 + reads : 1 + 2 * reads])
        measures = iter(row[1 + 2 * reads :])
        if self._rows.kept is not None:
            with inference(self._stack.predictor):
                next(measures).copy_(self._evaluate.loss(self._flat, *self._rows.kept))
        if self._schedules is not None:
            next(measures).copy_(torch.from_numpy(values["lr"]))
            self._schedules.step(lambda: row[0].cpu().numpy())

    def _descend(self) -> tuple[Tensor, Tensor]:
        """The updates of an epoch: its losses, (curves,), its last gradients, (curves, size)."""
        if self._stack.batch_size is None:
            return self._update(*self._rows.whole)
        total, count = torch.zeros((), dtype=self._rows.kind, device=self._stack.device), 0
        summed = getattr(self._stack.loss, "reduction", "mean") == "sum"
        for x, y, n in self._rows.batches():
            loss, gradients = self._update(x, y)
            total = total + (loss if summed else loss * n)
            count += n
        return total if summed else total / count, gradients

    def _update(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        loss, gradients = self._evaluate.gradients(self._flat, x, y)
        self._flat = self._updater(self._flat, gradients)
        return loss, gradients

    def _read(self, flat: Tensor, row: Tensor) -> None:
        """What a trajectory has of parameters, or of their gradients: all of a small one, a norm.

        Args:
            flat: shape (curves, size).
            row: receives it, shape (columns, curves).
        """
        if len(row) == flat.shape[1]:
            row.copy_(flat.T)
            return
        begin = 0
        for values in unflatten(flat, self._shapes).values():
            values = values.reshape(len(flat), -1)
            if values.shape[1] <= SMALL:
                row[begin : begin + values.shape[1]] = values.T
                begin += values.shape[1]
            else:
                row[begin] = torch.linalg.vector_norm(values, dim=1)
                begin += 1

    def parameters(self, epoch: int) -> Floats:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        return self._history[epoch].cpu().double().numpy()

    def keep(self, curves: NDArray[np.intp]) -> None:
        """See :class:`gdexp.sweep.vectorized.stacks.loop.Kernel`."""
        chosen = torch.from_numpy(curves).to(self._stack.device)
        self._flat, self._history = self._flat[chosen], []
        self._updater.keep(chosen)
        self._rows.keep(chosen)
        if self._schedules is not None:
            self._schedules.keep(curves)


def _widest(stack: Stack) -> int:
    """The number of values of the widest layer of a run, for all rows of an update."""
    n = len(stack.tables[0].y)
    sides = [side for shape in stack.shapes.values() for side in shape]
    return min(stack.batch_size or n, n) * max([1, *sides])


@contextmanager
def _threads(stack: Stack) -> Iterator[None]:
    """Compute small runs in one thread, as torch does alone: others would mostly wait."""
    former = torch.get_num_threads()
    is_small = _widest(stack) < GRAIN
    if is_small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if is_small:
            torch.set_num_threads(former)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Without torch's warning that an operation is computed curve by curve."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield


class _Evaluation:
    """Losses and gradients of many curves, each of its own parameters, by the run's components."""

    def __init__(self, stack: Stack) -> None:
        self._shapes, self._predict = stack.shapes, _prediction(stack)
        self._loss, self._gradient = stack.loss, stack.gradient

    def loss(self, flat: Tensor, x: Any, y: Any) -> Tensor:
        """The losses, shape (curves,); x and y are tensors, each with the axis of its curves."""
        dims = (0, x.axis, y.axis)
        return vmap(self._loss_of, in_dims=dims)(flat, x.rows, y.rows)

    def gradients(self, flat: Tensor, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        """The losses, and the gradients, shape (curves, size)."""
        if isinstance(self._gradient, Autograd):
            leaf = flat.detach().requires_grad_()
            loss = self.loss(leaf, x, y)
            # A curve's parameters affect only its own term of the sum.
            (gradients,) = torch.autograd.grad(loss.sum(), leaf)
            return loss.detach(), gradients
        dims = (0, x.axis, y.axis)
        return vmap(self._by_formula, in_dims=dims)(flat, x.rows, y.rows)

    def _loss_of(self, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = self._loss(self._predict(unflatten(flat, self._shapes), x), y)
        return loss

    def _by_formula(self, flat: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        parameters = unflatten(flat, self._shapes)
        y_pred = self._predict(parameters, x)
        loss = self._loss(y_pred, y)
        gradients = self._gradient(parameters, x, y, y_pred, loss)
        return loss, torch.cat([gradients[name].reshape(-1) for name in parameters])


def _prediction(stack: Stack) -> Callable[[Parameters, Tensor], Tensor]:
    """The predictor as a function of its parameters."""
    predictor: Any = stack.predictor
    if type(predictor).__call__ is not Module.__call__:

        def by_hand(parameters: Parameters, x: Tensor) -> Tensor:
            one = copy.copy(predictor)
            one.parameters = parameters
            by_formula: Tensor = one(x)
            return by_formula

        return by_hand
    names = {
        predictor.names.get(name, name): name for name, _ in predictor.module.named_parameters()
    }

    def by_module(parameters: Parameters, x: Tensor) -> Tensor:
        own = {names[name]: value for name, value in parameters.items()}
        y_pred = functional_call(predictor.module, own, (x.unsqueeze(-1) if x.ndim == 1 else x,))
        flat: Tensor = y_pred.view(-1) if y_pred.ndim == 2 and y_pred.shape[1] == 1 else y_pred
        return flat

    return by_module
