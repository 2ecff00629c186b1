"""Updaters on tensors: torch's optimizers, and updaters by hand that autograd does not track."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gdexp.pytorch.eager import lighten, without_dynamo
from gdexp.types import Array, Gradient, Loss, Parameters, Predictor, Updater


class Optimizer:
    """An optimizer of :mod:`torch.optim` as an updater.

    Args:
        optimizer: a torch optimizer over the predictor's parameters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        lighten(optimizer)
        self._form: Callable[[Tensor], Tensor] | None = None
        if isinstance(optimizer, torch.optim.SparseAdam):
            self._form = Tensor.to_sparse
        elif optimizer.defaults.get("nesterov"):
            self._form = torch.clone  # torch may add the momentum to the gradient itself

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One ``optimizer.step()`` with these gradients."""
        self._set_gradients(parameters, gradients)
        self.optimizer.step()
        _clear_gradients(parameters)

    def _set_gradients(self, parameters: Parameters, gradients: Parameters) -> None:
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if gradient.shape != parameter.shape:  # a gradient by hand has shape ()
                gradient = gradient.reshape(parameter.shape)
            parameter.grad = gradient if self._form is None else self._form(gradient)

    def state(self) -> dict[str, Any]:
        """A copy of torch's ``state_dict``."""
        with without_dynamo():
            return copy.deepcopy(self.optimizer.state_dict())

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        with without_dynamo():
            self.optimizer.load_state_dict(dict(state))
        # Torch has cast every tensor to the parameter's precision, which would round differently.
        for cast, saved in zip(self.optimizer.state.values(), state["state"].values(), strict=True):
            cast |= {key: _copy(value, cast[key]) for key, value in saved.items()}


class Repeatable:
    """A gradient source that can repeat its last call at other parameters.

    Args:
        source: the gradient source.
        predictor: the predictor whose parameters move.
        loss: the loss.
    """

    def __init__(self, source: Gradient, predictor: Predictor, loss: Loss) -> None:
        self._source, self._predictor, self._loss = source, predictor, loss

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The source's gradient."""
        self.value, self._x, self._y = loss, x, y
        return self._source(parameters, x, y, y_pred, loss)

    def again(self, parameters: Parameters) -> Parameters:
        """The gradient on the same rows, at the current parameters."""
        y_pred = self._predictor(self._x)
        return self(parameters, self._x, self._y, y_pred, self._loss(y_pred, self._y))


class QuasiNewton(Optimizer):
    """:class:`torch.optim.LBFGS`, which evaluates loss and gradient several times per update.

    Args:
        optimizer: the optimizer over the predictor's parameters.
        gradient: the gradient source of the loop.
    """

    def __init__(self, optimizer: torch.optim.LBFGS, gradient: Repeatable) -> None:
        super().__init__(optimizer)
        self._gradient = gradient

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One ``optimizer.step(closure)``; the loop's own evaluation is the closure's first."""
        first = [gradients]

        def closure() -> Tensor:
            _clear_gradients(parameters)
            current = first.pop() if first else self._gradient.again(parameters)
            self._set_gradients(parameters, current)
            value: Tensor = self._gradient.value.detach()
            return value

        self.optimizer.step(closure)  # type: ignore[arg-type]  # torch declares a float
        _clear_gradients(parameters)


class Untracked:
    """An updater by hand on parameters that autograd tracks, without tracking the update.

    It updates detached views of the parameters. This does what ``with torch.no_grad()`` does in the
    tutorial, and is faster than entering it in each iteration.

    Args:
        updater: the updater by hand.
        parameters: the tensors to update.
    """

    def __init__(self, updater: Any, parameters: Parameters) -> None:
        self.updater = updater
        self._views = {name: parameter.detach() for name, parameter in parameters.items()}

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One update of every parameter."""
        self.updater(self._views, gradients)

    def state(self) -> dict[str, Any]:
        """The updater's state."""
        state: dict[str, Any] = self.updater.state()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the updater's state."""
        self.updater.load(state)


def adapt(
    updater: Any, predictor: Predictor, gradient: Gradient, loss: Loss
) -> tuple[Updater, Gradient]:
    """Adapt any updater to the predictor's tensors, and return the gradient source it needs.

    A partial that makes a torch optimizer is applied to the parameters; an updater by hand is
    hidden from autograd.
    """
    if not _makes_an_optimizer(updater):
        return Untracked(updater, predictor.parameters), gradient
    with without_dynamo():
        optimizer = updater(list(predictor.parameters.values()))
    if isinstance(optimizer, torch.optim.LBFGS):
        repeatable = Repeatable(gradient, predictor, loss)
        return QuasiNewton(optimizer, repeatable), repeatable
    return Optimizer(optimizer), gradient


def _makes_an_optimizer(updater: Any) -> bool:
    """Whether an updater is a partial of an optimizer's class, or of a function of ``params``."""
    made = getattr(updater, "func", None)
    if isinstance(made, type):
        return issubclass(made, torch.optim.Optimizer)
    return made is not None and "params" in inspect.signature(made).parameters


def _copy(saved: Any, cast: Any) -> Any:
    """A copy of a saved value, on the device to which torch has moved it."""
    if isinstance(saved, Tensor):
        return saved.detach().clone().to(cast.device)
    return copy.deepcopy(saved)


def _clear_gradients(parameters: Parameters) -> None:
    for parameter in parameters.values():
        parameter.grad = None
