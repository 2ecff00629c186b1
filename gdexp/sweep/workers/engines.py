"""Where programs are computed: in this process, in processes of this machine, or by a Ray cluster.

The runs are cut into shards, each a program. A worker turns the arrays of a shard into the arrays
of its results. It knows nothing of jobs, of Hydra or of the store, which this process alone writes.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from gdexp.console import say
from gdexp.descent.signals import shielded
from gdexp.errors import ConfigError, did_you_mean
from gdexp.sweep.vectorized.loop import run_program
from gdexp.sweep.vectorized.program import Program, ProgramResult

Progress: TypeAlias = Callable[[int], None]
Timed: TypeAlias = tuple[ProgramResult, float]

NAMES = ("local", "joblib", "ray")
ATTEMPTS = 3  # of a shard whose worker dies, before it is computed in this process


@dataclass(frozen=True)
class Computed:
    """A shard that has been computed.

    Attributes:
        number: which of the shards, from 0.
        result: what came of its runs.
        started: when its computation started, in seconds since 1970.
        seconds: how long it took.
    """

    number: int
    result: ProgramResult
    started: float
    seconds: float


class Engine(Protocol):
    """Computes shards."""

    @property
    def shards(self) -> int:
        """Into how many shards the runs are best cut; so many are under way at once."""

    def compute(self, shards: Iterable[Program], on_progress: Progress) -> Iterator[Computed]:
        """The shards as they are finished, in any order.

        Args:
            shards: the shards; not listed before they are needed.
            on_progress: is told how many runs have been computed.
        """

    def close(self) -> None:
        """End what was started; needed again, it is started again."""


class Pool(Protocol):
    """Worker processes that have been started.

    Attributes:
        workers: how many.
        lost: what a future raises whose worker has died.
    """

    workers: int
    lost: tuple[type[Exception], ...]

    def submit(self, shard: Program) -> Future[Timed]:
        """Have a worker call :func:`timed`."""

    def close(self) -> None:
        """End the processes, in the middle of their work too."""


def timed(shard: Program) -> Timed:
    """What a worker does with a shard: its result, and the seconds it took."""
    start = time.perf_counter()
    return run_program(shard), time.perf_counter() - start


class Local:
    """Computes in this process."""

    shards = 1

    def compute(self, shards: Iterable[Program], on_progress: Progress) -> Iterator[Computed]:
        """See :class:`Engine`."""
        done = 0
        for number, shard in enumerate(shards):
            started = time.time()
            result = run_program(shard, functools.partial(_advance, on_progress, done))
            done += len(shard.lr)
            yield Computed(number, result, started, time.time() - started)

    def close(self) -> None:
        """Nothing was started."""


def _advance(on_progress: Progress, before: int, runs: int) -> None:
    on_progress(before + runs)


class Pooled:
    """Computes in worker processes, which are started when the first shard is to be computed.

    A shard whose worker dies is tried again, at last in this process.

    Args:
        start: starts the processes.
    """

    def __init__(self, start: Callable[[], Pool]) -> None:
        self._start = start
        self._pool: Pool | None = None

    def _started(self) -> Pool:
        if self._pool is None:
            with shielded():  # a signal in the middle would leave processes that no one knows of
                self._pool = self._start()
        return self._pool

    @property
    def shards(self) -> int:
        """Two for each worker, so that none waits while another's are slow."""
        return 2 * self._started().workers

    def compute(self, shards: Iterable[Program], on_progress: Progress) -> Iterator[Computed]:
        """See :class:`Engine`; an error of the computation itself is raised."""
        waiting: Iterator[tuple[int, Program]] = enumerate(shards)
        tried: Counter[int] = Counter()
        running: dict[Future[Timed], tuple[int, Program]] = {}
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
                        result, seconds = future.result()
                    except self._started().lost:
                        waiting = itertools.chain([(number, shard)], waiting)
                        continue
                    done += len(shard.lr)
                    on_progress(done)
                    yield Computed(number, result, time.time() - seconds, seconds)
        finally:
            if running:  # the rest is not wanted any more
                self.close()

    def _submit(self, number: int, shard: Program, tried: Counter[int]) -> Future[Timed]:
        tried[number] += 1
        if tried[number] <= ATTEMPTS:
            with shielded():
                return self._started().submit(shard)
        say(f"the worker of {len(shard.lr)} runs died {ATTEMPTS} times: computed in this process")
        here: Future[Timed] = Future()
        here.set_result(timed(shard))
        return here

    def close(self) -> None:
        """See :class:`Engine`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with shielded():
                pool.close()


def check_engine(launcher: Any) -> None:
    """Refuse what ``hydra.launcher`` says of the engine; other launchers' settings pass.

    Args:
        launcher: the node of the configuration.

    Raises:
        ConfigError: the engine is unknown or not installed, or its settings are out of range.
    """
    if str(launcher.get("_target_", "")).endswith(".VectorizedLauncher"):
        create(launcher.engine, launcher.workers, launcher.address)


def create(name: str, workers: int | None, address: str | None) -> Engine:
    """The engine of that name; nothing is started.

    Args:
        name: one of :data:`NAMES`.
        workers: how many processes; None: as many as there are cores.
        address: of a Ray cluster; None: one of our own.

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
            "or null for one on each core."
        )
    if name == "local" and workers is not None:
        raise ConfigError(
            f"{here}workers={workers}: engine=local computes in this process alone. "
            f"Add {here}engine=joblib."
        )
    if name != "ray" and address is not None:
        raise ConfigError(f"{here}address={address}: it is Ray's. Add {here}engine=ray.")
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
