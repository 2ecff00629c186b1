"""Random generators whose states are restored after a trial."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gdexp.config.job import Job

Restore = Callable[[], Any]


@contextmanager
def preserved(job: Job) -> Iterator[None]:
    """Restore at the end every generator that a run may draw from.

    These are the global ones of Python, NumPy and torch, and those that the modules of the run's
    own components, or their classes, hold by name.
    """
    restores = [*_global(), *_own(job)]
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _global() -> Iterator[Restore]:
    python, numpy = random.getstate(), np.random.get_state()
    yield lambda: random.setstate(python)
    yield lambda: np.random.set_state(numpy)
    torch = sys.modules.get("torch")
    if torch is not None:
        cpu = torch.get_rng_state()
        yield lambda: torch.set_rng_state(cpu)
        if torch.cuda.is_initialized():
            devices = torch.cuda.get_rng_state_all()
            yield lambda: torch.cuda.set_rng_state_all(devices)


def _own(job: Job) -> Iterator[Restore]:
    targets = (node.get("_target_") for node in job.settings.values() if isinstance(node, dict))
    packages = {str(target).partition(".")[0] for target in targets if target}
    packages -= {"gdexp", "torch"}
    if not packages:
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            for value in list(vars(module).values()):
                yield from _restores(value)
                if isinstance(value, type) and value.__module__ == name:
                    for inner in list(vars(value).values()):
                        yield from _restores(inner)


def _restores(value: Any) -> Iterator[Restore]:
    """How to restore the state of a generator; nothing for any other value."""
    torch = sys.modules.get("torch")
    if isinstance(value, np.random.Generator):
        bits, state = value.bit_generator, value.bit_generator.state
        yield lambda: setattr(bits, "state", state)
    elif isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        yield lambda: value.set_state(legacy)
    elif isinstance(value, random.Random):
        python = value.getstate()
        yield lambda: value.setstate(python)
    elif torch is not None and isinstance(value, torch.Generator):
        tensor = value.get_state()
        yield lambda: value.set_state(tensor)
