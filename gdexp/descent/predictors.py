"""What any predictor can be asked for: predictions, and its state to write down and take up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.types import Array, Predictor


def judging(predictor: Predictor, x: Array) -> AbstractContextManager[None]:
    """Predictions that are only looked at; see :func:`gdexp.pytorch.judging`."""
    if not hasattr(x, "detach"):
        return nullcontext()
    from gdexp import pytorch

    return pytorch.judging(predictor)


def predict(predictor: Predictor, x: Array) -> Any:
    """What the predictor gives for inputs as the fit has them, as a NumPy array."""
    with judging(predictor, x):
        y_pred = predictor(x)
    return y_pred.cpu().numpy() if hasattr(y_pred, "cpu") else np.asarray(y_pred)


def state_of(predictor: Any) -> dict[str, Any]:
    """Everything its predictions depend on: its own account, or its parameters."""
    held = getattr(predictor, "state", None)
    return held() if held else dict(predictor.parameters)


def load(predictor: Any, state: Mapping[str, Any]) -> None:
    """Take a state; tensors keep their place in memory, which others share.

    Raises:
        ValueError: it is not of these parameters.
    """
    if hasattr(predictor, "load"):
        predictor.load(state)
        return
    _check_names(predictor, state)
    for name, value in state.items():
        array = _to_numpy(value)
        if array.shape != np.shape(predictor.parameters[name]):
            raise ValueError(f"{name} has shape {array.shape}")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"{name} does not hold finite numbers")
    for name, value in state.items():
        held = predictor.parameters[name]
        if hasattr(held, "detach"):
            held.detach().copy_(value)
        elif isinstance(held, np.ndarray):
            held[...] = value
        else:
            predictor.parameters[name] = value


def fill(predictor: Predictor, numbers: Mapping[str, float]) -> None:
    """Give each parameter, of one number, this value.

    Raises:
        ValueError: these are not the predictor's parameters.
    """
    _check_names(predictor, numbers)
    for name, number in numbers.items():
        held = predictor.parameters[name]
        if hasattr(held, "detach"):
            held.detach().fill_(number)
        else:
            predictor.parameters[name] = number


def _check_names(predictor: Predictor, values: Mapping[str, Any]) -> None:
    if set(values) != set(predictor.parameters):
        given, own = (", ".join(sorted(map(str, v))) for v in (values, predictor.parameters))
        raise ValueError(f"its parameters are {given or 'none'}, and the predictor's are {own}")


def _to_numpy(value: Any) -> NDArray[Any]:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def in_precision(predictor: Predictor, dtype: str) -> Predictor:
    """The predictor with parameters by hand in this precision; Python floats stay in double."""
    parameters = predictor.parameters
    parameters |= {name: cast(value, dtype) for name, value in parameters.items()}
    return predictor


def cast(value: Any, dtype: str) -> Any:
    """An array of floats in this precision; anything else as it is."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(dtype, copy=False) if is_float else value
