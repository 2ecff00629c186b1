"""Random generators: seeded for a run, restored after it, and whether a computation draws.

A run that draws gives the same numbers whatever its process has computed before, and it leaves
every generator as it was.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based

_alone = threading.RLock()  # held by a thread that draws: the generators are those of all threads


class Generator(NamedTuple):
    """How the state of a random generator is read and restored."""

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any], Any]


@contextmanager
def seeded(job: Job, seed: int | None = None) -> Iterator[None]:
    """Seed the global generators; restore at the end all that the run may draw from.

    Other threads wait until the block ends.

    Args:
        job: the run.
        seed: the seed; None: that of the run.
    """
    seed = job.settings["seed"] if seed is None else seed
    with _alone:
        kept = [(generator, generator.read()) for generator in _generators(job)]
        try:
            random.seed(seed)
            np.random.seed(seed)
            if torch := sys.modules.get("torch"):
                torch.default_generator.manual_seed(seed)  # 20 times as fast as torch.manual_seed
                if torch.cuda.is_initialized():
                    torch.cuda.manual_seed_all(seed)
                if torch.backends.mps.is_available():
                    torch.mps.manual_seed(seed)
            yield
        finally:
            for generator, state in kept:
                generator.restore(state)


def drawing(job: Job) -> AbstractContextManager[None]:
    """:func:`seeded` around what may draw; nothing around what consists of our NumPy classes."""
    return seeded(job) if _may_draw(job) else nullcontext()


def _may_draw(job: Job) -> bool:
    return is_torch_based(job) or bool(_packages(job))


def saved(job: Job) -> dict[str, Any]:
    """The states of the generators that the user's own components may draw from, by name."""
    if not _packages(job):
        return {}
    return {generator.name: generator.read() for generator in _generators(job)}


def load(job: Job, states: Mapping[str, Any]) -> None:
    """Restore the states that :func:`saved` returned, of those generators that exist.

    Raises:
        Exception: whatever a generator raises if its state is damaged.
    """
    for generator in _generators(job):
        if generator.name in states:
            generator.restore(states[generator.name])


def states(job: Job, *components: Any) -> list[Any]:
    """The states of every generator that a run may draw from, to be compared.

    That a computation draws shows in them for certain; what it returns may be equal by chance.

    Args:
        job: the run.
        components: objects that may hold generators of their own, as attributes.
    """
    if not _may_draw(job):
        return []
    held = [held for one in components for part in _parts(one) for held in _held_by(part)]
    return [_plain(generator.read()) for generator in [*_generators(job), *held]]


def _plain(state: Any) -> Any:
    """A state as values that can be compared."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_plain(value) for value in state]
    state = state.numpy() if hasattr(state, "numpy") else state
    return state.tobytes() if hasattr(state, "tobytes") else state


def _parts(component: Any) -> list[Any]:
    """A component and, of a module, everything within it."""
    modules = getattr(getattr(component, "module", component), "modules", list)
    return [component, *modules()]


def _generators(job: Job) -> Iterator[Generator]:
    """The global ones of Python, NumPy and torch, and those of the run's own modules.

    The modules of the run's own components, or their classes, hold theirs by name.
    """
    yield Generator("random", random.getstate, random.setstate)
    yield Generator("numpy.random", np.random.get_state, np.random.set_state)
    torch = sys.modules.get("torch")
    if torch is not None:
        yield Generator("torch", torch.get_rng_state, torch.set_rng_state)
        if (cuda := torch.cuda).is_initialized():
            yield Generator("torch.cuda", cuda.get_rng_state_all, cuda.set_rng_state_all)
    yield from _own(job)


def _packages(job: Job) -> set[str]:
    """The packages of the user's own components."""
    targets = (node.get("_target_") for node in job.settings.values() if isinstance(node, dict))
    return {str(target).partition(".")[0] for target in targets if target} - {"gdexp", "torch"}


def _own(job: Job) -> Iterator[Generator]:
    if not (packages := _packages(job)):
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            yield from _held_by(module, name)
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    yield from _held_by(value, f"{name}.{key}")


def _held_by(owner: Any, place: str = "") -> Iterator[Generator]:
    """The generators among the attributes of a module, a class or an object."""
    for key, value in list(getattr(owner, "__dict__", {}).items()):
        yield from _as_generator(value, f"{place}.{key}")


def _as_generator(value: Any, name: str) -> Iterator[Generator]:
    """A generator; nothing for any other value."""
    torch = sys.modules.get("torch")
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        yield Generator(name, lambda: bits.state, lambda state: setattr(bits, "state", state))
    elif isinstance(value, np.random.RandomState):
        yield Generator(name, value.get_state, value.set_state)
    elif isinstance(value, random.Random):
        yield Generator(name, value.getstate, value.setstate)
    elif torch is not None and isinstance(value, torch.Generator):
        yield Generator(name, value.get_state, value.set_state)
