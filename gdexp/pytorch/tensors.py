"""The bridge from arrays to tensors and back, and torch's random draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gdexp.errors import ConfigError
from gdexp.types import Array, Iteration


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator seeded for this block; the caller's state returns at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def random_state() -> torch.Tensor:
    """Where torch's generator is."""
    return torch.random.get_rng_state()


def set_random_state(state: torch.Tensor) -> None:
    """Put torch's generator where it was."""
    torch.random.set_rng_state(state)


def tensors(*arrays: NDArray[Any], device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """NumPy arrays as tensors of the same precision."""
    return tuple(torch.tensor(array, device=device) for array in arrays)


def device_of(name: str) -> str:
    """The device to use; "auto" is the fastest there is.

    Raises:
        ConfigError: this machine, or this build of torch, has none of that kind.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((kind for kind, there in found.items() if there), "cpu")
    if not found.get(name, True):
        raise ConfigError(
            f"device={name}: torch {torch.__version__} finds no such device here. "
            "Type device=cpu, or device=auto for the fastest there is."
        )
    return name


def norm(value: torch.Tensor) -> float:
    """The Euclidean norm of all numbers of a tensor, in its precision."""
    return float(torch.linalg.vector_norm(value.detach()))


def joined(
    iterations: Iterable[Iteration], measures: Iterable[Callable[[], Array]], small: int
) -> NDArray[np.float64]:
    """Loss, parameters, gradients and measures of each iteration, shape (iterations, columns).

    They are put together where they are, and fetched once for all iterations.

    Args:
        iterations: the iterations.
        measures: each gives one number.
        small: of a tensor with more numbers than this, the Euclidean norm is taken.
    """
    measures = list(measures)
    rows = []
    for _, loss, parameters, gradients in iterations:
        with torch.no_grad():
            values = [loss, *parameters.values(), *gradients.values()]
            values += [measure() for measure in measures]
            parts = [torch.as_tensor(v, dtype=loss.dtype, device=loss.device) for v in values]
            rows.append(torch.cat([_short(part, small).reshape(-1) for part in parts]))
    if not rows:
        return np.empty((0, 0))
    return torch.stack(rows).cpu().numpy().astype(np.float64)


def _short(value: torch.Tensor, small: int) -> torch.Tensor:
    return torch.linalg.vector_norm(value) if value.numel() > small else value
