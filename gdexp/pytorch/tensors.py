"""Conversion of arrays to tensors and back, and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gdexp.errors import ConfigError
from gdexp.types import Array, Iteration


def tensors(*arrays: NDArray[Any], device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """Convert NumPy arrays to tensors of the same precision."""
    return tuple(torch.tensor(array, device=device) for array in arrays)


def device_of(name: str) -> str:
    """The device to use; "auto" is the fastest available.

    Raises:
        ConfigError: if this machine, or this build of torch, has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((kind for kind, is_available in available.items() if is_available), "cpu")
    if not available.get(name, True):
        raise ConfigError(
            f"device={name}: torch {torch.__version__} finds no such device here. "
            "Type device=cpu, or device=auto for the fastest available."
        )
    return name


def norm(value: torch.Tensor) -> float:
    """The Euclidean norm of a tensor, in its precision."""
    return float(torch.linalg.vector_norm(value.detach()))


def joined(
    iterations: Iterable[Iteration], measures: Iterable[Callable[[], Array]], small: int
) -> NDArray[np.float64]:
    """Loss, parameters, gradients and measures of each iteration, shape (iterations, columns).

    They are joined on their device, and all iterations are fetched in one transfer.

    Args:
        iterations: the iterations.
        measures: functions that return one number each.
        small: a tensor with more numbers than this is replaced by its Euclidean norm.
    """
    measures = list(measures)
    rows = []
    for _, loss, parameters, gradients in iterations:
        with torch.no_grad():
            values = [loss, *parameters.values(), *gradients.values()]
            values += [measure() for measure in measures]
            parts = [torch.as_tensor(v, dtype=loss.dtype, device=loss.device) for v in values]
            rows.append(torch.cat([_small_or_norm(part, small).reshape(-1) for part in parts]))
    if not rows:
        return np.empty((0, 0))
    return torch.stack(rows).cpu().numpy().astype(np.float64)


def _small_or_norm(value: torch.Tensor, small: int) -> torch.Tensor:
    return torch.linalg.vector_norm(value) if value.numel() > small else value
