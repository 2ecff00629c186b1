"""Watch one epoch of a descent: what its last update reads, and what it writes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy
from gdexp.types import Array, Gradient, Iteration, Loss, Parameters, Predictor

Values: TypeAlias = dict[str, Any]
"""By name: Python floats, or NumPy arrays in the precision of the run."""

STEPS = ("step", "t")  # what updaters call the number of their updates


@dataclass
class Update:
    """One update of the parameters.

    Attributes:
        number: its number within the epoch, from 1; with the full batch, there is only one.
        x: the inputs, shape (n,) or (n, d).
        y: the targets, shape (n,).
        y_pred: the predictions.
        loss: the loss of these rows.
        before: the parameters before the update.
        gradients: the gradients, by parameter.
        after: the parameters after the update.
        settings: the updater's own numbers during the update, such as lr and momentum.
        memory: what the updater remembers before the update: by name, then by parameter.
        remembered: the same after the update.
        steps: the number of updates that it had made before.
    """

    number: int
    x: Any
    y: Any
    y_pred: Any
    loss: float
    before: Values
    gradients: Values
    after: Values = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Values] = field(default_factory=dict)
    remembered: dict[str, Values] = field(default_factory=dict)
    steps: int = 0


@dataclass
class Watched(Components):
    """Components whose descent is watched in one epoch; they compute what others would.

    Attributes:
        epoch: the epoch to watch.
        update: the last update that it made; None before that epoch.
        is_watching: whether the descent is in that epoch.
    """

    epoch: int = 1
    update: Update | None = None
    is_watching: bool = False

    def iterations(self, iters: int, first: int = 1) -> Iterator[Iteration]:
        """Descend from epoch ``first`` to epoch ``iters``."""
        yield from super().iterations(min(iters, self.epoch - 1), first)
        updater, self.is_watching = self.updater, True
        self.updater = self._watched(updater)
        try:
            yield from super().iterations(iters, max(first, self.epoch))
        finally:
            self.updater, self.is_watching = updater, False

    def families(self) -> tuple[Predictor, Gradient, Loss]:
        """Predictor, gradient and loss as the loop calls them."""
        predictor, source, losses = super().families()
        if not self.is_watching:
            return predictor, source, losses

        def gradient(
            parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
        ) -> Parameters:
            # A pass over the whole table has no predictions, so they are computed once more.
            predictions = y_pred if hasattr(y_pred, "shape") else self.predictor(x)
            number = self.update.number + 1 if self.update else 1
            rows = _plain(x), _plain(y), _plain(predictions)
            before, loss_of_rows = _values(parameters), float(to_numpy(loss))
            gradients = source(parameters, x, y, y_pred, loss)
            self.update = Update(number, *rows, loss_of_rows, before, _values(gradients))
            return gradients

        return predictor, gradient, losses

    def _watched(self, updater: Any) -> Any:
        def watched(parameters: Parameters, gradients: Parameters) -> None:
            update = self.update
            assert update is not None
            update.settings = settings_of(updater)
            update.memory, update.steps = memory_of(updater, self.predictor.parameters)
            updater(parameters, gradients)
            update.remembered, _ = memory_of(updater, self.predictor.parameters)
            update.after = _values(parameters)

        return watched


def settings_of(updater: Any) -> dict[str, Any]:
    """The current settings of an updater, such as its lr, which a schedule may have changed."""
    optimizer, attributes = _inner(updater)
    settings = attributes if optimizer is None else optimizer.param_groups[0]
    kinds = (bool, int, float, tuple, list)
    own = {key: value for key, value in settings.items() if key != "params"}
    return {key: copy.copy(value) for key, value in own.items() if isinstance(value, kinds)}


def memory_of(updater: Any, parameters: Parameters) -> tuple[dict[str, Values], int]:
    """What an updater remembers of each parameter, and the number of updates it has made.

    Of an updater by hand these are its attributes that are dicts by parameter, of a torch optimizer
    the tensors of its state that have a parameter's shape.
    """
    optimizer, attributes = _inner(updater)
    if optimizer is None:
        dicts = {key: value for key, value in attributes.items() if isinstance(value, dict)}
        own = {key: v for key, v in dicts.items() if v and v.keys() <= parameters.keys()}
        steps = next((attributes[name] for name in STEPS if name in attributes), 0)
        return {key: _values(value) for key, value in own.items()}, int(steps)
    memory: dict[str, Values] = {}
    steps = 0
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if key in STEPS:
                steps = int(value)
            elif getattr(value, "shape", None) == parameter.shape:
                memory.setdefault(key, {})[name] = _plain(value)
    return memory, steps


def _inner(updater: Any) -> tuple[Any, Mapping[str, Any]]:
    """The torch optimizer of an updater, or None, and the attributes of an updater by hand."""
    inner = getattr(updater, "updater", updater)  # unwrap an Untracked one
    optimizer = getattr(inner, "optimizer", None)
    is_torch = hasattr(optimizer, "param_groups")
    return optimizer if is_torch else None, getattr(inner, "__dict__", {})


def _values(parameters: Parameters) -> Values:
    return {name: _plain(value) for name, value in parameters.items()}


def _plain(value: Any) -> Any:
    """A copy of a value, in NumPy; a Python number stays one."""
    return value if isinstance(value, int | float) else np.array(to_numpy(value))
