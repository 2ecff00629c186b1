"""Worker processes: joblib's on this machine, Ray's on this machine or on a cluster."""

from __future__ import annotations

import copy
import importlib
import logging
import os
import pickle
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gdexp.errors import ConfigError
from gdexp.sweep.workers.engines import Shard, Timed, timed

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # suppresses a FutureWarning
}
SILENT = (
    "hydra.launcher.address={}: no Ray cluster answers there, or it requires a token (see "
    "RAY_AUTH_TOKEN). Start one with ray start --head, or leave the address out."
)


class JoblibPool:
    """Processes on this machine, managed by loky, the library beneath joblib.

    If one of them dies, loky stops them all; the next shard starts new ones. Results are passed in
    files: if a worker died while it wrote one into loky's pipe, loky would wait for the rest of it
    forever, but a file's name is written at once.

    Args:
        workers: the number of processes; None: one per core that this process may use.
    """

    def __init__(self, workers: int | None) -> None:
        from joblib.externals import loky

        self._loky = loky
        self.workers: int = workers or loky.cpu_count()
        self.lost: tuple[type[Exception], ...] = (loky.BrokenProcessPool,)
        self._folder = tempfile.TemporaryDirectory(prefix="gdexp-")
        self._executor: Any = self._start()

    def _start(self) -> Any:
        from joblib.externals.loky.backend import resource_tracker as lokys

        for tracker in (resource_tracker, lokys):  # starting a tracker unblocks SIGINT
            tracker.ensure_running()
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        return self._loky.ProcessPoolExecutor(self.workers, env=one)

    def submit(self, shard: Shard) -> Future[Timed]:
        """See :class:`gdexp.sweep.workers.engines.Pool`."""
        with deaf_children():
            try:
                written: Future[str] = self._executor.submit(_written, self._folder.name, shard)
            except self.lost:
                self._stop()
                self._executor = self._start()
                written = self._executor.submit(_written, self._folder.name, shard)
        future: Future[Timed] = Future()
        written.add_done_callback(lambda done: _read(done, future))
        return future

    def _stop(self) -> None:
        self._executor.shutdown(wait=True, kill_workers=True)

    def close(self) -> None:
        """See :class:`gdexp.sweep.workers.engines.Pool`."""
        self._stop()
        self._folder.cleanup()


def _written(folder: str, shard: Shard) -> str:
    """Compute a shard in a worker; returns the name of the file with what :func:`timed` returns."""
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        pickle.dump(timed(shard), file, pickle.HIGHEST_PROTOCOL)
    return file.name


def _read(written: Future[str], future: Future[Timed]) -> None:
    """Pass on what a worker has written, or its error."""
    try:
        path = Path(written.result())
        future.set_result(pickle.loads(path.read_bytes()))
        path.unlink()
    except BaseException as error:
        future.set_exception(error)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started in this block ignore the terminal's Ctrl-C: this process stops them."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class RayPool:
    """Ray's workers.

    Args:
        workers: the number of processes; None: one per core.
        address: the address of a running cluster; None: start one, and stop it with the pool.

    Raises:
        ConfigError: no cluster answers at the address.
    """

    def __init__(self, workers: int | None, address: str | None) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        self._ray = ray
        self._psutil = importlib.import_module("psutil")  # a dependency of Ray
        # In a thread, Ray cannot replace our signal handlers. Its processes are killed when the
        # thread that started them ends, so the thread lives as long as the pool.
        self._thread = ThreadPoolExecutor(1)
        before = set(self._psutil.Process().children())
        try:
            self._thread.submit(self._connect, workers, address).result()
        except ConnectionError as error:
            self._thread.shutdown()
            raise ConfigError(SILENT.format(address)) from error
        if threading.current_thread() is threading.main_thread():
            # Ray's compiled part replaces the SIGTERM handler all the same, and would abort.
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self._roots = set(self._psutil.Process().children()) - before
        self.workers: int = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.lost: tuple[type[Exception], ...] = (_LostError,)
        # No retries: Pooled retries itself, so that a shard is not computed twice unnoticed.
        self._timed = ray.remote(num_cpus=1, max_retries=0)(timed)

    def _connect(self, workers: int | None, address: str | None) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            settings |= {"num_cpus": workers, "include_dashboard": False}
        self._ray.init(address or "local", **settings)

    def submit(self, shard: Shard) -> Future[Timed]:
        """See :class:`gdexp.sweep.workers.engines.Pool`."""
        inner: Future[Timed] = self._timed.remote(shard).future()
        outer: Future[Timed] = Future()
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        return outer

    def _pass_on(self, done: Future[Timed], outer: Future[Timed]) -> None:
        """Copy the outcome; an error that is not the computation's own becomes _LostError."""
        error = done.exception()
        if error is None:
            outer.set_result(copy.deepcopy(done.result()))  # Ray frees its own memory
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            outer.set_exception(error)
        else:
            outer.set_exception(_LostError(str(error)))

    def close(self) -> None:
        """See :class:`gdexp.sweep.workers.engines.Pool`."""
        processes = self._processes()
        self._thread.submit(self._ray.shutdown).result()
        for process in processes:  # Ray's agents may survive its shutdown
            with suppress(self._psutil.NoSuchProcess):
                process.kill()
        self._thread.shutdown()

    def _processes(self) -> list[Any]:
        """The processes of the cluster that this pool started."""
        processes = list(self._roots)
        for root in self._roots:
            with suppress(self._psutil.NoSuchProcess):
                processes += root.children(recursive=True)
        return processes


def check_address(address: str) -> None:
    """Refuse the address of a Ray cluster if nothing listens there: Ray would retry for minutes.

    Raises:
        ConfigError: the address is malformed, or nothing listens there.
    """
    if address == "auto":
        return
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme != "ray":
        raise ConfigError(
            f"hydra.launcher.address={address}: auto, HOST:PORT or ray://HOST:PORT is expected."
        )
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise ConfigError(SILENT.format(address)) from error


class _LostError(Exception):
    """Ray lost a worker, its machine or its result."""
