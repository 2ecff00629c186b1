"""Random generators: whether a computation draws from them, and their states restored."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gdexp.config.job import Job


class Generator(NamedTuple):
    """How the state of a random generator is read and restored."""

    read: Callable[[], Any]
    restore: Callable[[Any], Any]


@contextmanager
def preserved(job: Job) -> Iterator[None]:
    """Restore at the end every generator that a run may draw from."""
    kept = [(generator, generator.read()) for generator in _generators(job)]
    try:
        yield
    finally:
        for generator, state in kept:
            generator.restore(state)


def states(job: Job, *components: Any) -> list[Any]:
    """The states of every generator that a run may draw from, to be compared.

    That a computation draws shows in them for certain; what it returns may be equal by chance.

    Args:
        job: the run.
        components: objects that may hold generators of their own, as attributes.
    """
    held = [held for one in components for part in _parts(one) for held in _held_by(part)]
    return [_plain(generator.read()) for generator in [*_generators(job), *held]]


def _plain(state: Any) -> Any:
    """A state as numbers that can be compared."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_plain(value) for value in state]
    return state.tolist() if hasattr(state, "tolist") else state


def _parts(component: Any) -> list[Any]:
    """A component and, of a module, everything within it."""
    modules = getattr(getattr(component, "module", component), "modules", list)
    return [component, *modules()]


def _generators(job: Job) -> Iterator[Generator]:
    """The global ones of Python, NumPy and torch, and those of the run's own modules.

    The modules of the run's own components, or their classes, hold theirs by name.
    """
    yield Generator(random.getstate, random.setstate)
    yield Generator(np.random.get_state, np.random.set_state)
    torch = sys.modules.get("torch")
    if torch is not None:
        yield Generator(torch.get_rng_state, torch.set_rng_state)
        if torch.cuda.is_initialized():
            yield Generator(torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)
    yield from _own(job)


def _own(job: Job) -> Iterator[Generator]:
    targets = (node.get("_target_") for node in job.settings.values() if isinstance(node, dict))
    packages = {str(target).partition(".")[0] for target in targets if target}
    packages -= {"gdexp", "torch"}
    if not packages:
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            yield from _held_by(module)
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == name:
                    yield from _held_by(value)


def _held_by(owner: Any) -> Iterator[Generator]:
    """The generators among the attributes of a module, a class or an object."""
    for value in list(getattr(owner, "__dict__", {}).values()):
        yield from _as_generator(value)


def _as_generator(value: Any) -> Iterator[Generator]:
    """A generator; nothing for any other value."""
    torch = sys.modules.get("torch")
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        yield Generator(lambda: bits.state, lambda state: setattr(bits, "state", state))
    elif isinstance(value, np.random.RandomState):
        yield Generator(value.get_state, value.set_state)
    elif isinstance(value, random.Random):
        yield Generator(value.getstate, value.setstate)
    elif torch is not None and isinstance(value, torch.Generator):
        yield Generator(value.get_state, value.set_state)
