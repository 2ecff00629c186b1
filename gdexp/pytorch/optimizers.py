"""Updaters on tensors: torch's optimizers, and updaters by hand out of autograd's sight."""

from __future__ import annotations

from typing import Any

import torch

from gdexp.types import Parameters, Predictor, Updater


class Optimizer:
    """An optimizer of :mod:`torch.optim` as an updater.

    Args:
        optimizer: a torch optimizer over the predictor's parameters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One ``optimizer.step()`` with these gradients."""
        for name, parameter in parameters.items():
            gradient = gradients[name]
            fits = gradient.shape == parameter.shape  # one by hand is a plain number
            parameter.grad = gradient if fits else gradient.reshape(parameter.shape)
        self.optimizer.step()
        for parameter in parameters.values():
            parameter.grad = None


def adapt(updater: Any, predictor: Predictor) -> Updater:
    """Any updater, made to work on the predictor's tensors.

    An optimizer class of torch (``_partial_: true`` in its YAML file) gets the parameters it moves;
    an updater by hand is kept out of what autograd tracks.
    """
    kind = getattr(updater, "func", None)
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer):
        return Optimizer(updater(list(predictor.parameters.values())))
    return untracked(updater, predictor.parameters)


def untracked(updater: Updater, parameters: Parameters) -> Updater:
    """An updater by hand on parameters that autograd tracks: the update is not differentiated.

    It moves views of the same memory that autograd does not see, which is what the tutorial's
    ``with torch.no_grad()`` is for, and quicker than entering it in each iteration.
    """
    views = {name: parameter.detach() for name, parameter in parameters.items()}

    def update(parameters: Parameters, gradients: Parameters) -> None:
        updater(views, gradients)

    return update
