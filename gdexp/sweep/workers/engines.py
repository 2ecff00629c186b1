"""Where programs are computed: in this process, in local worker processes, or on a Ray cluster.

Runs are split into shards, each a program. A worker turns the arrays of a shard into arrays of
results. It does not use jobs, Hydra or the store: only this process writes to the store.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from gdexp.console import say
from gdexp.descent.signals import shielded
from gdexp.errors import ConfigError, counted, did_you_mean
from gdexp.sweep.vectorized.points.program import Program, ProgramResult
from gdexp.sweep.vectorized.stacks.stack import Stack, StackResult
from gdexp.tracking.facts import facts

Progress: TypeAlias = Callable[[int], None]
Shard: TypeAlias = Program | Stack
Timed: TypeAlias = tuple[ProgramResult | StackResult, float, dict[str, Any]]

NAMES = ("local", "joblib", "ray")
ATTEMPTS = 3  # times that a shard's worker may die before this process computes the shard


@dataclass(frozen=True)
class Computed:
    """A computed shard.

    Attributes:
        number: the index of the shard, from 0.
        result: the result of its runs.
        started: when the computation started, in seconds since 1970.
        seconds: how long it took.
        computed_on: what may change the last digits, in the process that computed it.
    """

    number: int
    result: ProgramResult | StackResult
    started: float
    seconds: float
    computed_on: dict[str, Any]


class Engine(Protocol):
    """Computes shards."""

    @property
    def shards(self) -> int:
        """The number of shards to split runs into, and to compute at once."""

    def compute(self, shards: Iterable[Shard], on_progress: Progress) -> Iterator[Computed]:
        """Compute shards and yield them as they finish, in any order.

        Args:
            shards: the shards, consumed lazily.
            on_progress: called with the number of epochs computed so far, of all runs.
        """

    def close(self) -> None:
        """Stop the workers; computing again restarts them."""


class Pool(Protocol):
    """Running worker processes.

    Attributes:
        workers: their number.
        lost: the exceptions that a future raises if its worker died.
    """

    workers: int
    lost: tuple[type[Exception], ...]

    def submit(self, shard: Shard) -> Future[Timed]:
        """Let a worker call :func:`timed`."""

    def close(self) -> None:
        """Stop the processes, even if they are busy."""


def timed(shard: Shard) -> Timed:
    """Compute a shard; its result, the seconds it took, and what this process tells of itself."""
    start = time.perf_counter()
    result = shard.run()
    return result, time.perf_counter() - start, facts(torch=shard.torch, device=shard.device)


class Local:
    """Computes in this process."""

    shards = 1

    def compute(self, shards: Iterable[Shard], on_progress: Progress) -> Iterator[Computed]:
        """See :class:`Engine`."""
        done = 0

        def advance(epochs: int) -> None:
            on_progress(done + epochs)

        for number, shard in enumerate(shards):
            started = time.time()
            result = shard.run(advance)
            done += shard.epochs
            seconds, here = time.time() - started, facts(torch=shard.torch, device=shard.device)
            yield Computed(number, result, started, seconds, here)

    def close(self) -> None:
        """See :class:`Engine`."""


class Pooled:
    """Computes in worker processes, started on first use.

    A shard whose worker dies is retried, finally in this process.

    Args:
        start: starts the processes.
    """

    def __init__(self, start: Callable[[], Pool]) -> None:
        self._start = start
        self._pool: Pool | None = None
        self._has_told = False

    def _started(self) -> Pool:
        if self._pool is None:
            with shielded():  # a signal here would leave processes that nobody stops
                self._pool = self._start()
        return self._pool

    @property
    def shards(self) -> int:
        """Two per worker, so that no worker idles while another finishes a slow shard."""
        return 2 * self._started().workers

    def compute(self, shards: Iterable[Shard], on_progress: Progress) -> Iterator[Computed]:
        """See :class:`Engine`; errors raised by the computation itself are passed on."""
        waiting: Iterator[tuple[int, Shard]] = enumerate(shards)
        tried: Counter[int] = Counter()
        running: dict[Future[Timed], tuple[int, Shard]] = {}
        done = 0
        try:
            while True:
                for item in itertools.islice(waiting, self.shards - len(running)):
                    running[self._submit(*item, tried)] = item
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number, shard = running.pop(future)
                    try:
                        result, seconds, told = future.result()
                    except self._started().lost:
                        waiting = itertools.chain([(number, shard)], waiting)
                        continue
                    except pickle.PicklingError:
                        self._tell_unsent()
                        result, seconds, told = timed(shard)
                    done += shard.epochs
                    on_progress(done)
                    yield Computed(number, result, time.time() - seconds, seconds, told)
        finally:
            if running:  # the caller has stopped early
                self.close()

    def _submit(self, number: int, shard: Shard, tried: Counter[int]) -> Future[Timed]:
        tried[number] += 1
        if tried[number] <= ATTEMPTS:
            with shielded():
                return self._started().submit(shard)
        runs = counted(len(shard), "run")
        say(f"the worker of {runs} died {ATTEMPTS} times: computed in this process")
        here: Future[Timed] = Future()
        here.set_result(timed(shard))
        return here

    def _tell_unsent(self) -> None:
        """Say once that some shards cannot be pickled."""
        if not self._has_told:
            say("runs that cannot be sent to other processes are computed in this one")
        self._has_told = True

    def close(self) -> None:
        """See :class:`Engine`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with shielded():
                pool.close()


def check_engine(launcher: Any) -> None:
    """Check the engine settings of the node ``hydra.launcher``; other launchers are not checked.

    Raises:
        ConfigError: the engine is unknown or not installed, or its settings are out of range.
    """
    if str(launcher.get("_target_", "")).endswith(".VectorizedLauncher"):
        create(launcher.engine, launcher.workers, launcher.address)


def create(name: str, workers: int | None, address: str | None) -> Engine:
    """The engine with this name, not started yet.

    Args:
        name: one of :data:`NAMES`.
        workers: the number of processes; None: one per core.
        address: the address of a Ray cluster; None: start one.

    Raises:
        ConfigError: see :func:`check_engine`.
    """
    here = "hydra.launcher."
    if name not in NAMES:
        hint = did_you_mean(str(name), NAMES, prefix=f"{here}engine=")
        raise ConfigError(f"{here}engine={name}: it is one of: {', '.join(NAMES)}.{hint}")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ConfigError(
            f"{here}workers={workers}: a whole number of processes >= 1 is expected, "
            "or null for one per core."
        )
    if name == "local" and workers is not None:
        raise ConfigError(
            f"{here}workers={workers}: engine=local computes in this process alone. "
            f"Add {here}engine=joblib."
        )
    if name != "ray" and address is not None:
        raise ConfigError(f"{here}address={address}: only Ray has one. Add {here}engine=ray.")
    if name == "local":
        return Local()
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"{here}engine={name}: {name} is not installed. Type pip install 'gdexp[{name}]'."
        )
    from gdexp.sweep.workers import pools

    if name == "ray":
        if address is not None:
            pools.check_address(str(address))
        return Pooled(functools.partial(pools.RayPool, workers, address))
    return Pooled(functools.partial(pools.JoblibPool, workers))
