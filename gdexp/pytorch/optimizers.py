"""Updaters on tensors: torch's optimizers, and updaters by hand out of autograd's sight."""

from __future__ import annotations

import copy
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
        self._give(parameters, gradients)
        self.optimizer.step()
        _forget(parameters)

    def _give(self, parameters: Parameters, gradients: Parameters) -> None:
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if gradient.shape != parameter.shape:  # one by hand is a plain number
                gradient = gradient.reshape(parameter.shape)
            parameter.grad = gradient if self._form is None else self._form(gradient)

    def state(self) -> dict[str, Any]:
        """Torch's ``state_dict``, as it is now."""
        with without_dynamo():
            return copy.deepcopy(self.optimizer.state_dict())

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        with without_dynamo():
            self.optimizer.load_state_dict(dict(state))
        # Torch has brought every tensor to the parameter's precision, and would round differently.
        for held, saved in zip(self.optimizer.state.values(), state["state"].values(), strict=True):
            held |= {key: _beside(held[key], value) for key, value in saved.items()}


class Repeatable:
    """A gradient source that can be asked again, at other parameters, what it was asked last.

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
        """The gradient on the same rows, at the parameters as they are now."""
        y_pred = self._predictor(self._x)
        return self(parameters, self._x, self._y, y_pred, self._loss(y_pred, self._y))


class QuasiNewton(Optimizer):
    """:class:`torch.optim.LBFGS`, which evaluates loss and gradient many times in an update.

    Args:
        optimizer: the optimizer over the predictor's parameters.
        gradient: the gradient source that the loop uses.
    """

    def __init__(self, optimizer: torch.optim.LBFGS, gradient: Repeatable) -> None:
        super().__init__(optimizer)
        self._gradient = gradient

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One ``optimizer.step(closure)``; the loop's own evaluation is the closure's first."""
        at_hand = [gradients]

        def closure() -> Tensor:
            _forget(parameters)
            found = at_hand.pop() if at_hand else self._gradient.again(parameters)
            self._give(parameters, found)
            value: Tensor = self._gradient.value.detach()
            return value

        self.optimizer.step(closure)  # type: ignore[arg-type]  # torch means a number or a tensor
        _forget(parameters)


class Untracked:
    """An updater by hand on parameters that autograd tracks: the update is not differentiated.

    It moves views of the same memory that autograd does not see, which is what the tutorial's
    ``with torch.no_grad()`` is for, and quicker than entering it in each iteration.

    Args:
        updater: the updater by hand.
        parameters: the tensors it moves.
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
        """Go on from a state."""
        self.updater.load(state)


def adapt(
    updater: Any, predictor: Predictor, gradient: Gradient, loss: Loss
) -> tuple[Updater, Gradient]:
    """Any updater, made to work on the predictor's tensors, and the gradient source it needs.

    An optimizer class of torch (``_partial_: true`` in its YAML file) gets the parameters it moves;
    an updater by hand is kept out of what autograd tracks.
    """
    kind = getattr(updater, "func", None)
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        return Untracked(updater, predictor.parameters), gradient
    with without_dynamo():
        optimizer = updater(list(predictor.parameters.values()))
    if isinstance(optimizer, torch.optim.LBFGS):
        repeatable = Repeatable(gradient, predictor, loss)
        return QuasiNewton(optimizer, repeatable), repeatable
    return Optimizer(optimizer), gradient


def _beside(held: Any, saved: Any) -> Any:
    """A copy of what was saved, on the device of what torch has made of it."""
    if isinstance(saved, Tensor):
        return saved.detach().clone().to(held.device)
    return copy.deepcopy(saved)


def _forget(parameters: Parameters) -> None:
    for parameter in parameters.values():
        parameter.grad = None
