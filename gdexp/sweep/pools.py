"""Worker processes: joblib's on this machine, Ray's on this machine or a cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from gdexp.errors import ConfigError
from gdexp.sweep.batch import Batch
from gdexp.sweep.engines import Timed, timed

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning about a change to come
}


class JoblibPool:
    """Processes of this machine, held by loky, the library beneath joblib.

    When one of them dies, loky ends them all; the next shard starts new ones.

    Args:
        workers: how many; None: as many as this process may use cores.
    """

    def __init__(self, workers: int | None) -> None:
        from joblib.externals import loky

        self._loky = loky
        self.workers: int = workers or loky.cpu_count()
        self.lost: tuple[type[Exception], ...] = (loky.BrokenProcessPool,)
        self._executor: Any = self._start()

    def _start(self) -> Any:
        from joblib.externals.loky.backend import resource_tracker as lokys

        for tracker in (resource_tracker, lokys):  # starting one lets Ctrl-C through to children
            tracker.ensure_running()
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        return self._loky.ProcessPoolExecutor(self.workers, env=one)

    def submit(self, shard: Batch) -> Future[Timed]:
        """See :class:`gdexp.sweep.engines.Pool`."""
        with _deaf_children():
            try:
                future: Future[Timed] = self._executor.submit(timed, shard)
            except self.lost:
                self.close()
                self._executor = self._start()
                future = self._executor.submit(timed, shard)
            return future

    def close(self) -> None:
        """See :class:`gdexp.sweep.engines.Pool`."""
        self._executor.shutdown(wait=True, kill_workers=True)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started in this block never see the terminal's Ctrl-C: this process ends them."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class RayPool:
    """Ray's workers.

    Args:
        workers: how many; None: as many as there are cores.
        address: of a cluster that is left running; None: one of our own, ended with the pool.

    Raises:
        ConfigError: no cluster answers there.
    """

    def __init__(self, workers: int | None, address: str | None) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        self._ray = ray
        self._connect(workers, address)
        self.workers: int = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.lost: tuple[type[Exception], ...] = (_LostError,)
        # We try again ourselves, so that a shard is never computed twice unnoticed.
        self._timed = ray.remote(num_cpus=1, max_retries=0)(timed)

    def _connect(self, workers: int | None, address: str | None) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            settings |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
        else:
            settings |= {"address": address}
        try:
            # In a thread Ray cannot put its own signal handlers in the place of ours.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self._ray.init, **settings).result()
        except ConnectionError as error:
            raise ConfigError(
                f"hydra.launcher.address={address}: no Ray cluster answers there. Start one with "
                "ray start --head, or leave the address out."
            ) from error

    def submit(self, shard: Batch) -> Future[Timed]:
        """See :class:`gdexp.sweep.engines.Pool`."""
        inner: Future[Timed] = self._timed.remote(shard).future()
        outer: Future[Timed] = Future()
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        return outer

    def _pass_on(self, done: Future[Timed], outer: Future[Timed]) -> None:
        """The same outcome; a dead worker's error told from an error of the computation."""
        error = done.exception()
        if error is None:
            outer.set_result(done.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            outer.set_exception(error)
        else:
            outer.set_exception(_LostError(str(error)))

    def close(self) -> None:
        """See :class:`gdexp.sweep.engines.Pool`."""
        self._ray.shutdown()


class _LostError(Exception):
    """Ray has lost a worker, its machine or its result."""
