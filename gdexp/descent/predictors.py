"""Predictions and state of any predictor, whether its parameters are arrays or tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import ConfigError
from gdexp.types import Array, Predictor


def inference(predictor: Predictor, x: Array) -> AbstractContextManager[None]:
    """Predict without training, see :func:`gdexp.pytorch.inference`; nothing to do for arrays."""
    if not hasattr(x, "detach"):
        return nullcontext()
    from gdexp import pytorch

    return pytorch.inference(predictor)


def predict(predictor: Predictor, x: Array) -> NDArray[Any]:
    """Predictions as a NumPy array, for inputs prepared like those of the fit."""
    with inference(predictor, x):
        return to_numpy(predictor(x))


def state_of(predictor: Any) -> dict[str, Any]:
    """Everything the predictions depend on: ``predictor.state()`` if defined, or parameters."""
    return dict(predictor.state() if hasattr(predictor, "state") else predictor.parameters)


def load_state(predictor: Any, state: Mapping[str, Any]) -> None:
    """Restore a state; arrays and tensors are overwritten in place, because others share them.

    Raises:
        ValueError: if the state has other parameters.
    """
    if hasattr(predictor, "load"):
        predictor.load(state)
        return
    _check_names(predictor, state)
    for name, value in state.items():
        array = to_numpy(value)
        if array.shape != np.shape(predictor.parameters[name]):
            raise ValueError(f"{name} has shape {array.shape}")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"{name} does not hold finite numbers")
    overwrite(predictor, state)


def overwrite(predictor: Predictor, values: Mapping[str, Any]) -> None:
    """Give parameters these values of their shapes; arrays and tensors in place."""
    for name, value in values.items():
        parameter = predictor.parameters[name]
        if hasattr(parameter, "detach"):
            import torch

            new = value if hasattr(value, "detach") else torch.tensor(value, dtype=parameter.dtype)
            parameter.detach().copy_(new)
        elif isinstance(parameter, np.ndarray):
            parameter[...] = value
        else:
            predictor.parameters[name] = value.item() if isinstance(value, np.ndarray) else value


def set_parameters(predictor: Predictor, numbers: Mapping[str, float]) -> None:
    """Set parameters of one number each.

    Raises:
        ValueError: if these are not the predictor's parameters.
    """
    _check_names(predictor, numbers)
    for name, number in numbers.items():
        parameter = predictor.parameters[name]
        if hasattr(parameter, "detach"):
            parameter.detach().fill_(number)
        else:
            predictor.parameters[name] = number


def _check_names(predictor: Predictor, values: Mapping[str, Any]) -> None:
    if set(values) != set(predictor.parameters):
        given, expected = (", ".join(sorted(map(str, v))) for v in (values, predictor.parameters))
        raise ValueError(f"its parameters are {given or 'none'}, not {expected}")


def to_numpy(value: Array) -> NDArray[Any]:
    """A number, an array or a tensor as a NumPy array."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def in_precision(predictor: Predictor, dtype: str) -> Predictor:
    """The predictor with its arrays cast to this precision; Python floats stay double."""
    parameters = predictor.parameters
    parameters |= {name: cast(value, dtype) for name, value in parameters.items()}
    return predictor


def cast(value: Any, dtype: str) -> Any:
    """Cast an array of floats to this precision; return anything else unchanged."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(dtype, copy=False) if is_float else value


def check_linear(predictor: Predictor, option: str, features: int, outputs: int) -> None:
    """Refuse a user's class that declares ``linear`` without such parameters w and b.

    Args:
        predictor: the predictor.
        option: its option as typed, for the message.
        features: the number of features of x.
        outputs: the number of outputs of f(x).

    Raises:
        ConfigError: names the parameter.
    """
    parameters, declares = predictor.parameters, f"{option} declares linear = True, so"
    names = [*parameters]
    if names not in (["w"], ["w", "b"], ["b", "w"]):
        raise ConfigError(
            f"{declares} its parameters must be w and, with a bias, b, not "
            f"{', '.join(names) or 'none'}."
        )
    for name, inputs in (("w", features), ("b", 1)):
        shape = np.shape(parameters.get(name, np.zeros(outputs)))
        # The wrong number of outputs shows in the predictions, which are checked as well.
        if math.prod(shape) not in (inputs, inputs * outputs):
            each = f"each of the {features} features" if name == "w" else "each output"
            raise ConfigError(
                f"{declares} {name} must have one number for {each}, not shape {tuple(shape)}."
            )
