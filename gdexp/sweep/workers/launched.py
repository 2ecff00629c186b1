"""The processes that another launcher starts: they are interrupted with this one, and end with it.

Those of joblib and submitit know nothing of a signal that reaches only this process; they would
compute on, or be killed in the middle of their run.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gdexp.descent import signals
from gdexp.tracking.environment import command_line, ignores, process_stat

PATIENCE = 60.0  # seconds in which they may record the end of their runs
PAUSE = 0.02


@contextmanager
def ended() -> Iterator[Callable[[], None]]:
    """Pass a signal on to the processes started in this block; at the end, kill what is left.

    What tracks the resources of Python's own pools is left: it removes them, and ends by itself.

    Yields:
        What a signal does, to be called for another reason.
    """
    before = _descendants()
    started: dict[int, str] = {}

    def interrupt() -> None:
        started.update(_new(before))
        _interrupt(started)

    with signals.passing_on(interrupt):
        try:
            yield interrupt
        finally:
            with signals.shielded():
                for pid in _alive(started and started | _new(before)):
                    if "resource_tracker" not in command_line(pid):
                        with suppress(OSError):
                            os.kill(pid, signal.SIGKILL)


def _interrupt(started: dict[int, str]) -> None:
    """Interrupt the processes that have no children, the workers, and wait for them.

    One that ignores the signal from then on has recorded its end: see ``signals.in_worker``.
    """
    parents = {stat.parent for pid in started if (stat := process_stat(pid)) is not None}
    workers = {
        pid: start
        for pid, start in started.items()
        if pid not in parents and not ignores(pid, signal.SIGTERM)
    }
    for pid in workers:
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if all(ignores(pid, signal.SIGTERM) for pid in _alive(workers)):
            return
        time.sleep(PAUSE)


def _new(before: dict[int, str]) -> dict[int, str]:
    return dict(_descendants().items() - before.items())


def _alive(processes: dict[int, str]) -> list[int]:
    """Those that have not ended; a number may be used again."""
    stats = {pid: process_stat(pid) for pid in processes}
    return [pid for pid, stat in stats.items() if stat and stat.is_alive(processes[pid])]


def _descendants() -> dict[int, str]:
    """The start of each process that descends from this one, by its number."""
    children: dict[int, list[tuple[int, str]]] = {}
    with suppress(OSError):  # without /proc, there are none
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            if (stat := process_stat(pid)) is not None:
                children.setdefault(stat.parent, []).append((pid, stat.started))
    descendants: dict[int, str] = {}
    waiting = [os.getpid()]
    while waiting:
        for pid, start in children.get(waiting.pop(), []):
            descendants[pid] = start
            waiting.append(pid)
    return descendants
