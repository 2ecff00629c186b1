"""The bridge from arrays to tensors, and torch's random draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator seeded for this block; the caller's state returns at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def tensors(*arrays: NDArray[Any]) -> tuple[torch.Tensor, ...]:
    """NumPy arrays as tensors of the same precision."""
    return tuple(torch.tensor(array) for array in arrays)
