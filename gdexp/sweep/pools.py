"""Worker processes of this machine: joblib's."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from gdexp.sweep.batch import Batch
from gdexp.sweep.engines import Timed, timed


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
